"""Solve some samples of a union: their energies or free energies, and the slopes of these, ready to be weighted.

A loss needs two things of an answer: one number a sample, and a way to add weight * its slope with respect to the
numbers, once the weights are known. `Solved` is both. Units are samples: what a sample is made of is not told apart.

    selection = select_samples(union, [4, 0, 7])           # once
    free = solve_free(selection, union.bind(...), beta=1.0)   # whenever the numbers have changed
    free.accumulate(weight, gradient)                     # gradient of sum of weight * free.energy
    union.pullback(values, states, gradient, into)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Numbers
from factorgraph_ebm.compiler.selection import Selection
from factorgraph_ebm.compiler.union import Union
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.inference import run
from factorgraph_ebm.inference.energies import assignment_energies
from factorgraph_ebm.inference.method import Answer, Problem, Start, Status
from factorgraph_ebm.inference.statistics import add_assignment, add_beliefs, zeros


class Solved(NamedTuple):
    """The answer for n samples. Arrays over samples are in the order of the selection."""

    energy: F64
    "(n,) energy of the answer, or free energy; +inf where every assignment is forbidden, or the one found"
    status: tuple[Status, ...]
    residual: F64
    "(n,) nats"
    iterations: I64
    accumulate: Callable[[F64, Numbers], None]
    """(weight (n,), out): add the gradient of sum of weight * energy with respect to the whole union's numbers.
    Samples of weight 0, and those of energy +inf, are skipped."""
    answer: Answer
    "over the selection's union: states or marginals, and messages, from which a next solve may start"


def solve_best(
    selection: Selection,
    numbers: Numbers,
    *,
    beta: float = 1.0,
    method: str = "bp",
    start: Start | None = None,
    deadline: float = np.inf,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Solved:
    """The best assignment of each chosen sample, and its energy as evaluated, not as messages estimate it.

    Where variables are summed out of the minimisation, its energy is their free energy at `beta`, given the rest.

    Parameters
    ----------
    numbers : of the whole union
    start, deadline, threads, method, options : as in `Problem`, and of the method

    Raises
    ------
    MethodError : the method cannot answer this question.
    """
    part = selection.take(numbers)
    problem = Problem(selection.union, part, beta, True, start, deadline, None, threads)
    answer = run(method, problem, dict(options or {}))
    assert answer.states is not None
    if problem.any_soft:
        held = clamp(selection.union, part, answer.states)
        rest = _free(selection, held, beta, method, None, deadline, threads, options)
        return rest._replace(
            energy=_unless_infeasible(rest.energy, answer), status=answer.status, residual=answer.residual,
            iterations=answer.iterations, answer=answer,
        )  # fmt: skip
    states = answer.states
    energy = _unless_infeasible(assignment_energies(selection.union, part, states), answer)

    def accumulate(weight: F64, out: Numbers) -> None:
        whole = selection.unary is None
        gradient = out if whole else zeros(selection.union)
        add_assignment(selection.union, part, states, weight, gradient)
        if not whole:
            selection.add(gradient, out)

    return Solved(energy, answer.status, answer.residual, answer.iterations, accumulate, answer)


def solve_free(
    selection: Selection,
    numbers: Numbers,
    *,
    beta: float = 1.0,
    method: str = "bp",
    start: Start | None = None,
    deadline: float = np.inf,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    expected: F64 | None = None,
) -> Solved:
    """The free energy of each chosen sample, -(1/beta) log sum exp(-beta E), with its marginals.

    At beta = inf the least energy. Parameters and errors as in `solve_best`, and:

    Parameters
    ----------
    expected : (n,) weights that `accumulate` will probably be called with, which saves time; None: not known

    Raises
    ------
    MethodError : beta is 0, where the free energy is minus infinity.
    """
    return _free(selection, selection.take(numbers), beta, method, start, deadline, threads, options, expected)


def clamp(union: Union, numbers: Numbers, state: I64) -> Numbers:
    """The numbers with every variable held in its state: +inf on all others. -1 holds nothing."""
    start = union.compiled.variable_start.astype(np.int64)
    owner = np.repeat(np.arange(len(state)), np.diff(start))
    excluded = (state[owner] >= 0) & (np.arange(len(owner)) - start[owner] != state[owner])
    return Numbers(np.where(excluded, np.inf, numbers.unary), numbers.store)


def _free(
    selection: Selection,
    part: Numbers,
    beta: float,
    method: str,
    start: Start | None,
    deadline: float,
    threads: int | None,
    options: Mapping[str, Any] | None,
    expected: F64 | None = None,
) -> Solved:
    if not beta > 0.0:
        raise MethodError(f"a free energy needs beta above 0, not {beta:g}.")
    problem = Problem(selection.union, part, beta, False, start, deadline, None, threads, expected=expected)
    answer = run(method, problem, dict(options or {}))
    if beta == np.inf:
        assert answer.least_energy is not None
        energy = answer.least_energy
    else:
        energy = -answer.log_partitions() / beta

    def accumulate(weight: F64, out: Numbers) -> None:
        whole = selection.unary is None
        gradient = out if whole else zeros(selection.union)
        add_beliefs(problem, answer, weight, gradient)
        if not whole:
            selection.add(gradient, out)

    return Solved(
        _unless_infeasible(energy, answer), answer.status, answer.residual, answer.iterations, accumulate, answer
    )


def _unless_infeasible(energy: F64, answer: Answer) -> F64:
    if Status.INFEASIBLE not in set(answer.status):
        return energy
    return np.where([status is Status.INFEASIBLE for status in answer.status], np.inf, energy)
