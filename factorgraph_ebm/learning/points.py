"""Point terms: choose an answer for what is labelled, then eliminate the rest, at the beta of the latents.

    target   the right answer          best   the best one          wrong   the best one that is wrong
    sample   one drawn by sweeps of Gibbs sampling, which begin at the right one

Each is the energy of one assignment, or the free energy of what is latent given it; its slope is the indicators of that
assignment, or their expectation. `best` has the right answer among its candidates, and energies are evaluated at the
assignment that is returned, so that differences from the right answer keep their sign under any inference.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Bool, Numbers
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.inference import run
from factorgraph_ebm.inference.energies import assignment_energies
from factorgraph_ebm.inference.gibbs import gibbs_sweeps, sample_keys
from factorgraph_ebm.inference.method import Answer, Problem, Status
from factorgraph_ebm.inference.min_marginals import excess, min_marginals
from factorgraph_ebm.inference.solving import Solved, clamp, solve_free
from factorgraph_ebm.inference.statistics import add_assignment
from factorgraph_ebm.learning.asking import Asking, Statuses, Term
from factorgraph_ebm.learning.batch import Batch
from factorgraph_ebm.losses.loss import Query


class Chosen(NamedTuple):
    """An assignment for each sample, and its energy."""

    energy: F64
    states: I64
    status: Statuses
    missed: Bool | None = None
    "(n,) samples whose right answer is better than what inference found"


def target(asking: Asking, query: Query) -> Term:
    """The right answer, what is latent eliminated."""
    batch, how = asking.batch, asking.how
    beta = how.latent_beta if query.beta is None else how.beta if query.beta == "model" else query.beta
    if not batch.latent.any() or beta == math.inf:
        return _point(asking, asking.numbers, right_states(asking))
    return _summed(asking, batch.target, beta)


def _summed(asking: Asking, said: I64, beta: float) -> Term:
    """The free energy of what is latent, given the answers `said` (V,), -1 where latent."""
    batch = asking.batch
    if batch.compiled.sample_forest.all():
        held = clamp(batch.union, asking.numbers, said)
        solved = solve_free(batch.whole, held, beta=beta, **asking.settings(minimize=False))
        return Term(solved.energy, solved.accumulate, solved.status, batch)
    given = batch.answered(said)
    numbers, settings = given.bind(asking.values, asking.how.threads), asking.settings(minimize=False, batch=given)
    solved = solve_free(given.whole, numbers, beta=beta, **settings)
    return Term(solved.energy, solved.accumulate, solved.status, given)


def right_states(asking: Asking) -> Chosen:
    """The right answer, with the best states for what is latent."""

    def find() -> Chosen:
        batch = asking.batch
        if not batch.latent.any():
            energy = assignment_energies(batch.union, asking.numbers, batch.target)
            return Chosen(energy, batch.target, (Status.OPTIMAL,) * batch.n)
        if batch.compiled.sample_exact.all():
            found = asking.solve_best(clamp(batch.union, asking.numbers, batch.target))
            return Chosen(found.energy, _states(found.answer), found.status)
        given = batch.answered(batch.target)
        found = asking.solve_best(given.bind(asking.values, asking.how.threads), batch=given)
        states = batch.with_latents(given, _states(found.answer))
        energy = assignment_energies(batch.union, asking.numbers, states)
        return Chosen(np.where(found.energy < np.inf, energy, np.inf), states, found.status)

    chosen: Chosen = asking.once("right", find)
    return chosen


def best(asking: Asking, query: Query) -> Term:
    """The best of all answers, the right one among the candidates; with a cost, energies less that."""
    batch, numbers = asking.batch, asking.less_cost(query)
    if asking.how.latent_beta < math.inf and batch.latent.any():
        return _best_summed(asking, query, numbers)
    return _point(asking, numbers, best_states(asking, query.cost, numbers))


def best_states(asking: Asking, cost: bool, numbers: Numbers) -> Chosen:
    """The best assignment that is found, or the right answer where that is strictly lower."""

    def find() -> Chosen:
        found: Solved = asking.once(("solved", cost), lambda: asking.solve_best(numbers))
        right = right_states(asking)  # costs nothing, so its energy is the same
        better = right.energy < found.energy
        states = np.where(better[asking.batch.compiled.variable_sample], right.states, _states(found.answer))
        return Chosen(np.minimum(right.energy, found.energy), states, found.status, _missed(better, found.status))

    chosen: Chosen = asking.once(("best", cost), find)
    return chosen


def _missed(better: Bool, status: Statuses) -> Bool:
    """Where the right answer is better than the best one found; if that is proved, they are tied but for rounding."""
    missed: Bool = better & np.array([each is not Status.OPTIMAL for each in status], bool)
    return missed


def _best_summed(asking: Asking, query: Query, numbers: Numbers) -> Term:
    """The answer whose free energy, all that is latent summed, is least."""
    batch, how = asking.batch, asking.how
    summed: Batch = batch.summed
    bound = summed.bind(asking.values)
    if query.cost:
        bound = Numbers(bound.unary - summed.cost(asking.cost), bound.store)
    problem = Problem(summed.union, bound, how.latent_beta, True, None, math.inf, None, how.threads)
    settings = asking.settings(minimize=True, batch=summed)
    answer = run(settings["method"], problem, settings["options"])
    free = [_given_answer(asking, numbers, said) for said in (_said(batch, _states(answer)), batch.target)]
    right_is_better = free[1].energy < free[0].energy

    def accumulate(slope: F64, out: Numbers) -> None:
        free[0].accumulate(np.where(right_is_better, 0.0, slope), out)
        free[1].accumulate(np.where(right_is_better, slope, 0.0), out)

    missed = _missed(right_is_better, answer.status)
    return Term(np.minimum(free[0].energy, free[1].energy), accumulate, answer.status, batch, missed)


def _said(batch: Batch, states: I64) -> I64:
    """The answers in these states of `batch.summed`, as states of the batch: (V,), -1 where latent."""
    summed = batch.summed.compiled
    cells = np.full(len(batch.compiled.cell_variable), -1)
    there = summed.cell_variable >= 0
    cells[there] = states[summed.cell_variable[there]]
    said = batch.target.copy()
    said[batch.labelled] = cells[batch.compiled.variable_cell[batch.labelled]]
    return said


def _given_answer(asking: Asking, numbers: Numbers, said: I64) -> Solved:
    """The free energy of what is latent, given answers."""
    held = clamp(asking.batch.union, numbers, said)
    settings = asking.settings(minimize=False)
    return solve_free(asking.batch.whole, held, beta=asking.how.latent_beta, **settings)


def sample(asking: Asking, query: Query) -> Term:
    """The energy of an answer that sweeps of Gibbs sampling reach from the right one; for its slope that is held fixed.

    G. Hinton, "Training products of experts by minimizing contrastive divergence", Neural Computation 14(8), 2002.
    """
    batch, how = asking.batch, asking.how
    key = sample_keys(how.seed, asking.update, batch.chosen)
    begin = right_states(asking).states
    drawn = gibbs_sweeps(batch.union, asking.numbers, begin, how.beta, query.sweeps, key, threads=how.threads)
    if how.latent_beta < math.inf and batch.latent.any():
        return _summed(asking, np.where(batch.target >= 0, drawn, -1), how.latent_beta)
    energy = assignment_energies(batch.union, asking.numbers, drawn)
    return _point(asking, asking.numbers, Chosen(energy, drawn, (Status.CONVERGED,) * batch.n))


def wrong(asking: Asking, query: Query) -> Term:
    """The best of all answers that differ from the right one where that is labelled; +inf where there is none.

    Where the best answer is wrong, it is that. Otherwise the wrong answer of least energy differs in some variable v,
    and has the least of all min-marginals m_v(s) over states s that are not right; v is held at s, and all else is
    found by minimising again. On loops min-marginals are estimates, and what is found is some wrong answer: an upper
    bound.
    """
    batch = asking.batch
    if asking.how.latent_beta < math.inf and batch.latent.any():
        return _wrong_summed(asking)
    first = best_states(asking, False, asking.numbers)
    sample = batch.compiled.variable_sample
    states, energy = first.states.copy(), first.energy.copy()
    differs = batch.by_sample(states[batch.labelled] != batch.target[batch.labelled]) > 0
    if not differs.all():
        again = _second_best(asking, ~differs)
        other = ~differs[sample]
        states[other], energy[~differs] = again.states[other], again.energy[~differs]
    return _point(asking, asking.numbers, Chosen(energy, states, first.status, first.missed))


def _second_best(asking: Asking, wanted: Bool) -> Chosen:
    """The best answer that differs from the right one, for the `wanted` samples (n,)."""
    batch, compiled = asking.batch, asking.batch.compiled
    solved: Solved = asking.once(("solved", False), lambda: asking.solve_best(asking.numbers))
    if solved.answer.method == "cut":  # which knows the best answer only
        solved = asking.solve_best(asking.numbers, messages=True)
    problem = Problem(batch.union, asking.numbers, 1.0, True, None, math.inf, None)
    least = min_marginals(problem, solved.answer)
    held = _least_wrong(batch, least, wanted)
    v = np.flatnonzero(held >= 0)
    of_sample = compiled.variable_sample.astype(np.int64)
    energy = np.full(batch.n, np.inf)
    right = right_states(asking)
    flipped = right.states.copy()
    flipped[v] = held[v]
    again = asking.solve_best(clamp(batch.union, asking.numbers, held))
    energy[of_sample[v]] = again.energy[of_sample[v]]
    beside = np.full(batch.n, np.inf)
    beside[of_sample[v]] = assignment_energies(batch.union, asking.numbers, flipped)[of_sample[v]]
    # The clamped answer may fail to be wrong where it is infeasible.
    found = np.where((beside < energy)[of_sample], flipped, _states(again.answer))
    found = np.where(found < 0, right.states, found)
    return Chosen(np.minimum(energy, beside), found, again.status)


def _least_wrong(batch: Batch, least: F64, wanted: Bool) -> I64:
    """For each wanted sample the wrong state of least energy, of all its labelled variables: (V,), -1 elsewhere.

    `least`: energies of all states of all variables, (unary_size,). What is forbidden is never held.
    """
    start = batch.compiled.variable_start.astype(np.int64)
    here = batch.labelled[wanted[batch.owner]]
    k = start[here + 1] - start[here]
    owner = np.repeat(here, k)
    state = np.arange(len(owner)) - np.repeat(np.cumsum(k) - k, k)
    candidate = (state != batch.target[owner]) & (least[start[owner] + state] < np.inf)
    owner, state = owner[candidate], state[candidate]
    place, sample = start[owner] + state, batch.compiled.variable_sample.astype(np.int64)[owner]
    order = np.lexsort((place, least[place], sample))
    lowest = order[np.flatnonzero(np.diff(sample[order], prepend=-1))]
    held = np.full(len(start) - 1, -1)
    held[owner[lowest]] = state[lowest]
    return held


def _wrong_summed(asking: Asking) -> Term:
    """The best wrong answer by its free energy, all that is latent summed: as `wrong`, by a junction tree alone."""
    batch, summed, how = asking.batch, asking.batch.summed, asking.how
    if how.method not in ("auto", "junction_tree"):
        raise MethodError(
            f'method "{how.method}" does not know the best wrong answer where latent variables are summed out. Write '
            'method="junction_tree", latent="minimize", or loss="softmax_margin".'
        )
    options = how.options if how.method == "junction_tree" else {}
    numbers = summed.bind(asking.values)

    def solve(numbers: Numbers) -> tuple[Problem, Answer]:
        problem = Problem(summed.union, numbers, how.latent_beta, True, None, math.inf, None, how.threads)
        return problem, run("junction_tree", problem, options)

    problem, first = solve(numbers)
    states, sample = _states(first), summed.compiled.variable_sample
    there = summed.by_sample(states[summed.labelled] != summed.target[summed.labelled]) > 0
    if not there.all():
        assert first.free_energy is not None
        held = _least_wrong(summed, excess(problem, first), ~there & (first.free_energy < np.inf))
        _, again = solve(clamp(summed.union, numbers, held))
        states = np.where(there[sample], states, _states(again))
        there[sample[held >= 0]] = True
    solved = _given_answer(asking, asking.numbers, _said(batch, states))

    def accumulate(slope: F64, out: Numbers) -> None:
        solved.accumulate(np.where(there, slope, 0.0), out)

    return Term(np.where(there, solved.energy, np.inf), accumulate, first.status, batch)


def _states(answer: Answer) -> I64:
    assert answer.states is not None
    return answer.states


def _point(asking: Asking, numbers: Numbers, chosen: Chosen) -> Term:
    """The energy of an assignment."""
    union = asking.batch.union

    def accumulate(slope: F64, out: Numbers) -> None:
        # Where there is no such assignment, the states are those of some other.
        there = np.where(chosen.energy < np.inf, slope, 0.0)
        add_assignment(union, numbers, chosen.states, there, out, chosen.energy)

    return Term(chosen.energy, accumulate, chosen.status, asking.batch, chosen.missed, chosen.states)
