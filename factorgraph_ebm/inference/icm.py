"""Iterated conditional modes: local search from the unary minima, or from `start=`. Fast, and only locally best."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Compiled
from factorgraph_ebm.inference.energies import assignment_energies
from factorgraph_ebm.inference.method import Answer, Method, Problem, Status, check_limits
from factorgraph_ebm.inference.passing import Passing
from factorgraph_ebm.inference.polish import improve

OPTIONS = {"max_iterations": 1000}


def best(problem: Problem, **options: Any) -> Answer:
    """Local search, chunk by chunk. CONVERGED means that no single variable can improve the answer."""
    compiled = problem.compiled
    passing = Passing(problem.union.layout, problem.numbers, minimize=True)
    state = passing.lowest(problem.numbers.unary)
    if problem.start is not None and problem.start.states is not None:
        state = np.where(problem.start.states >= 0, problem.start.states, state)
    to_factor = clamped(compiled, state)
    n_chunks = len(compiled.chunk_variable_start) - 1
    chunk_start = compiled.chunk_variable_start.astype(np.int64)
    limit = OPTIONS["max_iterations"] if options["max_iterations"] is None else options["max_iterations"]
    iterations = np.zeros(n_chunks, np.int64)
    rested = np.zeros(n_chunks, bool)
    settled = np.zeros(len(state), np.uint8)
    began = time.perf_counter()
    energies: list[F64] = []
    seconds: list[float] = []
    # All chunks sweep in turn; one that rests is left alone.
    while not rested.all() and len(seconds) < limit and not (seconds and problem.is_late()):
        for chunk in np.flatnonzero(~rested):
            first, stop = int(chunk_start[chunk]), int(chunk_start[chunk + 1])
            _, rested[chunk] = improve(problem, passing, state, to_factor, first, stop, sweeps=1, settled=settled)
            iterations[chunk] += 1
        energies.append(assignment_energies(problem.union, problem.numbers, state))
        seconds.append(time.perf_counter() - began)
        if problem.progress is not None:
            problem.progress(len(seconds), 0.0)
    chunks = compiled.sample_chunk.tolist()
    bound, slack = passing.lower_bounds()
    energy = assignment_energies(problem.union, problem.numbers, state)
    statuses = []
    for sample, chunk in enumerate(chunks):
        if bound[sample] == np.inf:  # some variable or factor allows nothing
            statuses.append(Status.INFEASIBLE)
        elif energy[sample] <= bound[sample] + slack[sample]:
            statuses.append(Status.OPTIMAL)
        elif rested[chunk]:
            statuses.append(Status.CONVERGED)
        else:
            statuses.append(Status.TIME_LIMIT if problem.is_late() else Status.ITERATION_LIMIT)
    return Answer(
        method="icm",
        status=tuple(statuses),
        iterations=iterations[chunks],
        residual=np.zeros(len(chunks)),
        states=state,
        lower_bound=bound - slack,
        trace=tuple(
            {
                "energy": np.array([e[sample] for e in energies[: iterations[chunk]]]),
                "seconds": np.array(seconds[: iterations[chunk]]),
            }
            for sample, chunk in enumerate(chunks)
        ),
    )


def clamped(compiled: Compiled, state: I64) -> F64:
    """Messages of variables that are in these states: 0 at the state, +inf elsewhere, (message_size,)."""
    to_factor = np.full(compiled.message_size, np.inf)
    slot_start = compiled.variable_slot_start.astype(np.int64)
    degree = slot_start[1:] - slot_start[:-1]
    owner = np.repeat(np.arange(len(state)), degree)
    to_factor[compiled.slot_message.astype(np.int64) + state[owner]] = 0.0
    return to_factor


METHOD = Method(
    name="icm",
    summary="local search from the unary minima or from start=",
    best=best,
    marginals=None,
    options=OPTIONS,
    check=check_limits,
    needs_soft_free=True,
    min_marginals=False,
)
