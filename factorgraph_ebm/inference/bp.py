"""Belief propagation: exact in one sweep up and down on forests, loopy elsewhere, and honest about which it was.

    to_variable(v) = -log sum over the other variables of exp(-(energies + to_factor of the others))    (or min)
    to_factor(v)   = unary + sum of to_variable from v's other factors

J. Pearl, "Probabilistic Reasoning in Intelligent Systems", 1988; Kschischang, Frey and Loeliger, IEEE Trans. Inf.
Theory 47(2), 2001. A forbidden state found by messages that began uniform is a proof, so a variable with none left
proves that there is no answer.

Messages are passed in the fastest form that serves a sample (`inference.forms`), and where that loses digits, in
energies, which lose none.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Bool, Compiled, Messages, Numbers
from factorgraph_ebm.compiler.layout import variable_chunks
from factorgraph_ebm.compiler.schedules import sequential
from factorgraph_ebm.inference.bp_options import OPTIONS, check, refuse_singles
from factorgraph_ebm.inference.energies import assignment_energies
from factorgraph_ebm.inference.forests import Forests, joins_pairs
from factorgraph_ebm.inference.forms import Differences, Odds, Weights, served
from factorgraph_ebm.inference.kept import Kept, Part, copy_messages, rows_of
from factorgraph_ebm.inference.method import Answer, Method, Problem, Status
from factorgraph_ebm.inference.minimisers import count_minimisers
from factorgraph_ebm.inference.passing import Passing
from factorgraph_ebm.inference.polish import improve
from factorgraph_ebm.inference.progress import Progress
from factorgraph_ebm.inference.singles import Singles, gaining
from factorgraph_ebm.inference.summing import Summed, in_chunks, log_partitions, messages_of, started, sum_chunks


def best(problem: Problem, **options: Any) -> Answer:
    """Min-sum. Decodes from the last variable to the first, then improves by local search where it is not exact."""
    compiled = problem.compiled
    layout = problem.union.layout
    exact = compiled.sample_exact
    progress = Progress(problem, exact, options)
    n_chunks = len(progress.runs)
    quick = np.zeros(n_chunks, bool)
    forest = np.zeros(n_chunks, bool)
    narrow = np.zeros(n_chunks, bool)
    if not problem.any_soft:
        quick = served(layout, "differences", minimize=True)
        forest = progress.exact & joins_pairs(layout)
        if options["dtype"] == "float32":
            narrow = gaining(layout) & ~progress.exact
    rest = np.flatnonzero(~forest).tolist()
    repeated = not (progress.exact | narrow).all()
    passing = started(problem, Passing, minimize=True, silent=True, repeated=repeated)
    parts = []
    state = np.where(compiled.variable_soft == 1, -2, -1).astype(np.int64)
    infeasible = np.zeros(len(exact), bool)
    if forest.any():
        chunks = np.flatnonzero(forest).tolist()
        Forests(passing, chunks).states(state)
        progress.solve(chunks)
        lost_states = state == -1 if forest.all() else (state == -1) & np.isin(variable_chunks(compiled), chunks)
        infeasible[compiled.variable_sample[lost_states]] = True
        state[lost_states] = 0
    if quick.any():
        fast = started(problem, Differences, minimize=True)
        chunks = np.flatnonzero(quick).tolist()
        progress.iterate(fast, chunks)
        lost = []
        if np.isnan(fast.to_variable).any() or np.isnan(fast.to_factor).any():
            found = fast.energies()
            lost = [c for c in chunks if any(np.isnan(x[r]).any() for r in rows_of(layout, [c]) for x in found)]
        progress.restart(lost)
        parts.append(Part(fast, tuple(c for c in chunks if c not in lost)))
    if narrow.any():
        light = started(problem, Singles, minimize=True)
        chunks = np.flatnonzero(narrow).tolist()
        progress.iterate(light, chunks)
        parts.append(Part(light, tuple(chunks)))
    left = tuple(sorted(set(rest) - {c for part in parts for c in part.chunks}))
    satisfied = [c for c in rest if progress.runs[c].status is Status.FEASIBLE]
    finished = bool(rest) and satisfied == rest  # their messages as energies may be asked for later
    if finished:
        passing.to_variable = np.zeros(passing.message_size)
        np.copyto(state, progress.state, where=np.isin(variable_chunks(compiled), rest))
    elif rest:
        passing.begin(messages_of(problem))
        for part in parts:
            copy_messages(part.passing.energies(), passing.energies(), layout, part.chunks)
        progress.iterate(passing, left)
        parts.append(Part(passing, left))
        satisfied = [c for c in rest if progress.runs[c].status is Status.FEASIBLE]
        state = _decode(problem, passing, exact, sorted(set(rest) - set(satisfied)), state)
        if satisfied:
            np.copyto(state, progress.state, where=np.isin(variable_chunks(compiled), satisfied))
    again: list[int] = []
    for part in parts:
        damped = progress.damp(part.passing, part.chunks)
        if damped and part.passing is not passing:
            copy_messages(part.passing.energies(), passing.energies(), layout, damped)
        again += damped
    if again:
        state = _better(problem, state, _decode(problem, passing, exact, again, state), again)
    if rest and not finished:
        infeasible |= _infeasible(compiled, passing.beliefs()) & ~np.isin(compiled.sample_chunk, np.flatnonzero(forest))
    statuses = _statuses(compiled, progress, infeasible)
    state = np.where(state == -2, -1, state)
    free = bound = None
    if problem.any_soft:
        free = _clamped_free_energies(problem, state)
    else:
        bound = np.where(exact, np.inf, -np.inf)
        if not exact.all():
            hasty = problem.is_late() or options["stop"] == "feasible"
            least, slack = passing.lower_bounds((0.0,)) if hasty else passing.lower_bounds()
            bound = np.where(exact, np.inf, least - slack)
            proved = np.zeros(len(exact), bool)
            # Without messages the bound adds up the least energies of single variables: what these lose is a gap.
            if not hasty or not (_lost_alone(problem, state) > 4 * slack).all():
                energy = assignment_energies(problem.union, problem.numbers, state)
                # Equal up to the rounding of both sums: nothing better can exist.
                proved = ~exact & np.isfinite(energy) & (energy <= least + slack)
            statuses = [Status.OPTIMAL if p else s for p, s in zip(proved, statuses)]
            bound = np.where(proved, np.inf, bound)
    kept = parts if finished else (Part(passing, tuple(rest)),)
    messages: Any = Kept(problem, kept, progress, minimize=True)
    return _answer(problem, messages, progress, statuses, states=state, free_energy=free, lower_bound=bound)


def marginals(problem: Problem, **options: Any) -> Answer:
    """Sum-product; at beta = inf min-sum, and then a count of the minimisers (forests) or the tied states (loops)."""
    refuse_singles(options, "marginals")
    if problem.beta == np.inf:
        return _ground_states(problem, options)
    compiled = problem.compiled
    layout = problem.union.layout
    progress = Progress(problem, compiled.sample_forest, options)
    left = set(range(len(progress.runs)))
    later: tuple[Passing, Bool] | None = None
    summed: tuple[Forests, Bool] | None = None
    parts: list[Part] = []
    answered: Summed | None = None
    unanswered = np.ones(len(compiled.sample_chunk), bool)
    for form in (Odds, Weights, Passing):
        serves = np.ones(len(progress.runs), bool) if form is Passing else served(layout, form.form, minimize=False)
        chunks = sorted(c for c in left if serves[c])
        if not chunks:
            continue
        passing, found = sum_chunks(problem, form, chunks, progress)
        # In a chunk of several samples those that lost nothing keep this answer, whoever is beside them.
        taken = unanswered & ~found.lost(compiled) & in_chunks(compiled, chunks)
        unanswered &= ~taken
        answered = found if answered is None else answered.with_others(found, taken, compiled)
        again = set(chunks) & set(compiled.sample_chunk[unanswered].tolist())
        progress.restart(again)
        left = left - set(chunks) | again
        parts.append(Part(passing, tuple(c for c in chunks if c not in again)))
        if found.later:
            later = passing, taken
        if found.forests is not None and found.forests.has_sums:
            summed = found.forests, taken & in_chunks(compiled, found.forests.chunks)
    if answered is None:  # no sample at all
        answered = Summed(np.zeros(compiled.unary_size), np.zeros(0), np.zeros(0))
    infeasible = np.zeros(len(unanswered), bool)
    infeasible[compiled.variable_sample[answered.variable_free == np.inf]] = True
    known = answered.log_partition
    known[infeasible] = -np.inf

    @functools.cache
    def sums() -> F64:
        if later is not None:
            passing, taken = later
            assert isinstance(passing, Odds)
            np.copyto(known, log_partitions(problem, passing), where=taken)
        return known

    def statistics(weight: F64, out: Numbers) -> Bool:
        assert summed is not None
        forests, taken = summed
        forests.add_statistics(np.where(taken, weight, 0.0), out)
        return taken

    return _answer(
        problem, Kept(problem, parts, progress, minimize=False), progress, _statuses(compiled, progress, infeasible),
        marginals=answered.probability, log_partition=None if later is not None else known, sums=sums,
        statistics=None if summed is None else statistics,
    )  # fmt: skip


def _ground_states(problem: Problem, options: Mapping[str, Any]) -> Answer:
    """Marginals at beta = inf."""
    compiled = problem.compiled
    progress = Progress(problem, compiled.sample_forest, options)
    passing = started(problem, Passing, minimize=True)
    chunks = range(len(progress.runs))
    progress.iterate(passing, chunks)
    progress.damp(passing, chunks)
    passing.send()
    belief = passing.beliefs()
    statuses = _statuses(compiled, progress, _infeasible(compiled, belief))
    state = _decode(problem, passing, compiled.sample_forest, chunks, np.full(len(compiled.variable_cell), -1))
    least = assignment_energies(problem.union, problem.numbers, state)
    probabilities, count, joint = count_minimisers(problem, passing, belief, least)
    return _answer(
        problem, passing.energies(), progress, statuses, marginals=probabilities, least_energy=least,
        log_count=np.where(compiled.sample_forest, count, np.nan), states=state, joint=joint,
    )  # fmt: skip


def _better(problem: Problem, one: I64, two: I64, chunks: Sequence[int]) -> I64:
    """Of two answers, in these chunks the second where its energy is no higher; where sums are involved, the second."""
    compiled = problem.compiled
    taken = np.isin(compiled.sample_chunk, chunks)
    if not problem.any_soft:
        first, second = (assignment_energies(problem.union, problem.numbers, s) for s in (one, two))
        taken &= second <= first
    return np.where(taken[compiled.variable_sample], two, one)


def _decode(problem: Problem, passing: Passing, exact: Bool, chunks: Iterable[int], state: I64) -> I64:
    """Decode the variables of these chunks (-2 where summed out), and improve by local search where not exact."""
    compiled = problem.compiled
    state = state.copy()
    to_factor = passing.to_factor.copy()
    for chunk in chunks:
        first, stop = (int(v) for v in compiled.chunk_variable_start[chunk : chunk + 2])
        np.copyto(state[first:stop], -1, where=state[first:stop] != -2)
        passing.choose(state, to_factor, first, stop, local=False)
        if not problem.any_soft and not exact[compiled.sample_chunk == chunk].all():
            improve(problem, passing, state, to_factor, first, stop)
    return state


def _infeasible(compiled: Compiled, belief: F64) -> Bool:
    """Samples with a variable all of whose states are forbidden."""
    found = np.zeros(len(compiled.sample_chunk), bool)
    if len(belief):
        least = np.minimum.reduceat(belief, compiled.variable_start[:-1].astype(np.int64))
        found[compiled.variable_sample[least == np.inf]] = True
    return found


def _statuses(compiled: Compiled, progress: Progress, infeasible: Bool) -> list[Status]:
    of_chunk = [run.status for run in progress.runs]
    statuses = [of_chunk[chunk] for chunk in compiled.sample_chunk.tolist()]
    for sample in np.flatnonzero(infeasible).tolist():
        statuses[sample] = Status.INFEASIBLE
    return statuses


def _lost_alone(problem: Problem, state: I64) -> F64:
    """What single variables lose to their least energies in these states, summed by sample, (N,)."""
    compiled, unary = problem.compiled, problem.numbers.unary
    start = compiled.variable_start[:-1].astype(np.int64)
    with np.errstate(invalid="ignore"):  # inf - inf where every state is forbidden
        lost = unary[start + state] - np.minimum.reduceat(unary, start)
        found: F64 = np.bincount(compiled.variable_sample, lost, len(compiled.sample_chunk)).astype(float)
    return found


def _clamped_free_energies(problem: Problem, state: I64) -> F64:
    """Free energy at beta of what is summed out, given the answer: sum-product with the answer clamped."""
    compiled = problem.compiled
    scaled = problem.scaled
    start = compiled.variable_start.astype(np.int64)
    owner = np.repeat(np.arange(len(state)), np.diff(start))
    excluded = (state[owner] >= 0) & (np.arange(len(owner)) - start[owner] != state[owner])
    unary = np.where(excluded, np.inf, scaled.unary)
    passing = Passing(problem.union.layout, Numbers(unary, scaled.store), minimize=False)
    steps = sequential(problem.union.layout, passing.operators)
    rounds = 1 if compiled.sample_forest.all() else 200
    for chunk in range(len(compiled.chunk_variable_start) - 1):
        for _ in range(rounds):
            if passing.run(steps, int(steps.start[chunk]), int(steps.start[chunk + 1]), 0.0) <= 1e-8:
                break
    passing.send()
    free = passing.free_energies(passing.beliefs())
    return free / problem.beta


def _answer(
    problem: Problem, messages: Messages | Kept, progress: Progress, statuses: list[Status], **found: Any
) -> Answer:
    runs = progress.runs
    chunk = problem.compiled.sample_chunk
    traces = [{"residual": np.array(r.residuals, np.float64), "seconds": np.array(r.seconds, np.float64)} for r in runs]
    scaled = problem.scaled is not problem.numbers
    return Answer(
        method="bp",
        status=tuple(statuses),
        iterations=np.array([r.iterations for r in runs], np.int64)[chunk],
        residual=np.array([r.residual for r in runs], np.float64)[chunk],
        messages=messages,
        message_beta=problem.beta if scaled else 1.0,
        trace=tuple([traces[c] for c in chunk.tolist()]),
        **found,
    )


METHOD = Method(
    name="bp",
    summary="belief propagation: exact on forests, loopy elsewhere",
    best=best,
    marginals=marginals,
    options=OPTIONS,
    check=check,
)
