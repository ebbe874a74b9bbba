"""Min-marginals in arrays: the least energy with one variable held in each of its states.

    m(v, s) = min over assignments with v = s of E = least energy + (belief(v, s) - min over states of belief(v))

with the beliefs of min-sum at rest, on forests; on loops these are estimates. What is least over the states that differ
from a right answer is the energy of the best wrong one.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.engine.variables import sum_beliefs
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.inference.energies import assignment_energies
from factorgraph_ebm.inference.method import Answer, Problem


def min_marginals(problem: Problem, answer: Answer) -> F64:
    """Least energy with each state of each variable, (unary_size,), +inf where forbidden.

    Parameters
    ----------
    answer : of `best`, without sums, from a method that has messages or knows better

    Raises
    ------
    MethodError : the method has no min-marginals.
    """
    if problem.any_soft or answer.states is None:
        raise MethodError("min-marginals are of a minimisation over all variables. Sum none of them out.")
    compiled = problem.compiled
    above = excess(problem, answer)
    least = assignment_energies(problem.union, problem.numbers, answer.states)
    start = compiled.variable_start.astype(np.int64)
    total: F64 = above + np.repeat(least[compiled.variable_sample], start[1:] - start[:-1])
    return total


def excess(problem: Problem, answer: Answer) -> F64:
    """Energy above the least with each state of each variable, (unary_size,). Raises MethodError as `min_marginals`."""
    if answer.excess is not None:
        return answer.excess()
    if answer.messages is None:
        raise MethodError(f'method "{answer.method}" has no min-marginals. Write method="bp" or "enumerate".')
    compiled = problem.compiled
    start = compiled.variable_start.astype(np.int64)
    belief = np.empty(compiled.unary_size)
    sum_beliefs(
        problem.numbers.unary, compiled.variable_start, compiled.variable_slot_start, compiled.slot_message,
        answer.messages.to_variable, belief, 0, len(start) - 1,
    )  # fmt: skip
    low = np.minimum.reduceat(belief, start[:-1]) if len(belief) else belief
    above: F64 = belief - np.repeat(np.where(np.isfinite(low), low, 0.0), start[1:] - start[:-1])
    return above
