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
from factorgraph_ebm.inference.min_marginals import min_marginals
from factorgraph_ebm.inference.solving import Solved, clamp, solve_best, solve_free
from factorgraph_ebm.inference.statistics import add_assignment
from factorgraph_ebm.learning.asking import Asking, Statuses, Term
from factorgraph_ebm.learning.batch import Batch
from factorgraph_ebm.losses.loss import Query


class Chosen(NamedTuple):
    """An assignment for each sample, and its energy."""

    energy: F64
    states: I64
    status: Statuses


def target(asking: Asking, query: Query) -> Term:
    """The right answer, what is latent eliminated."""
    batch, how = asking.batch, asking.how
    beta = how.latent_beta if query.beta is None else how.beta if query.beta == "model" else query.beta
    if not batch.latent.any() or beta == math.inf:
        return _point(asking, asking.numbers, right_states(asking))
    held = clamp(batch.union, asking.numbers, batch.target)
    solved = solve_free(batch.whole, held, beta=beta, **asking.settings(minimize=False))
    return Term(solved.energy, solved.accumulate, solved.status, batch)


def right_states(asking: Asking) -> Chosen:
    """The right answer, with the best states for what is latent."""

    def find() -> Chosen:
        batch = asking.batch
        if not batch.latent.any():
            energy = assignment_energies(batch.union, asking.numbers, batch.target)
            return Chosen(energy, batch.target, (Status.OPTIMAL,) * batch.n)
        held = clamp(batch.union, asking.numbers, batch.target)
        found = solve_best(batch.whole, held, **asking.settings(minimize=True))
        return Chosen(found.energy, _states(found.answer), found.status)

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
        found: Solved = asking.once(("solved", cost), lambda: _solve(asking, numbers))
        right = right_states(asking)  # costs nothing, so its energy is the same
        better = right.energy < found.energy
        states = np.where(better[asking.batch.compiled.variable_sample], right.states, _states(found.answer))
        return Chosen(np.minimum(right.energy, found.energy), states, found.status)

    chosen: Chosen = asking.once(("best", cost), find)
    return chosen


def _solve(asking: Asking, numbers: Numbers) -> Solved:
    return solve_best(asking.batch.whole, numbers, **asking.settings(minimize=True))


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
    cells = np.full(len(batch.compiled.cell_variable), -1)
    there = summed.compiled.cell_variable >= 0
    cells[there] = _states(answer)[summed.compiled.cell_variable[there]]
    said = batch.target.copy()
    variable = batch.compiled.variable_cell[batch.labelled]
    said[batch.labelled] = cells[variable]
    settings = asking.settings(minimize=False)
    free = [
        solve_free(batch.whole, clamp(batch.union, numbers, held), beta=how.latent_beta, **settings)
        for held in (said, batch.target)
    ]
    right_is_better = free[1].energy < free[0].energy

    def accumulate(slope: F64, out: Numbers) -> None:
        free[0].accumulate(np.where(right_is_better, 0.0, slope), out)
        free[1].accumulate(np.where(right_is_better, slope, 0.0), out)

    return Term(np.minimum(free[0].energy, free[1].energy), accumulate, answer.status, batch)


def sample(asking: Asking, query: Query) -> Term:
    """The energy of an answer that sweeps of Gibbs sampling reach from the right one; for its slope that is held fixed.

    G. Hinton, "Training products of experts by minimizing contrastive divergence", Neural Computation 14(8), 2002.
    """
    batch, how = asking.batch, asking.how
    key = sample_keys(how.seed, asking.update, batch.chosen)
    begin = right_states(asking).states
    drawn = gibbs_sweeps(batch.union, asking.numbers, begin, how.beta, query.sweeps, key, threads=how.threads)
    if how.latent_beta < math.inf and batch.latent.any():
        said = np.where(batch.target >= 0, drawn, -1)
        held = clamp(batch.union, asking.numbers, said)
        solved = solve_free(batch.whole, held, beta=how.latent_beta, **asking.settings(minimize=False))
        return Term(solved.energy, solved.accumulate, solved.status, batch)
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
        raise MethodError(
            'the best wrong answer is not known where latent variables are summed out. Write latent="minimize", or '
            'loss="softmax_margin".'
        )
    first = best_states(asking, False, asking.numbers)
    sample = batch.compiled.variable_sample
    states, energy = first.states.copy(), first.energy.copy()
    differs = batch.by_sample(states[batch.labelled] != batch.target[batch.labelled]) > 0
    if not differs.all():
        again = _second_best(asking, ~differs)
        other = ~differs[sample]
        states[other], energy[~differs] = again.states[other], again.energy[~differs]
    return _point(asking, asking.numbers, Chosen(energy, states, first.status))


def _second_best(asking: Asking, wanted: Bool) -> Chosen:
    """The best answer that differs from the right one, for the `wanted` samples (n,)."""
    batch, compiled = asking.batch, asking.batch.compiled
    solved: Solved = asking.once(("solved", False), lambda: _solve(asking, asking.numbers))
    problem = Problem(batch.union, asking.numbers, 1.0, True, None, math.inf, None)
    least = min_marginals(problem, solved.answer)
    start = compiled.variable_start.astype(np.int64)
    # Nothing but wrong states of labelled variables of these samples is a candidate.
    candidate = np.full(len(least), np.inf)
    here = batch.labelled[wanted[batch.owner]]
    k = start[here + 1] - start[here]
    places = np.repeat(start[here] - np.concatenate([[0], np.cumsum(k)[:-1]]), k) + np.arange(int(k.sum()))
    owner = np.repeat(here, k)
    state = places - start[owner]
    is_wrong = state != batch.target[owner]
    candidate[places[is_wrong]] = least[places[is_wrong]]
    of_sample = compiled.variable_sample.astype(np.int64)
    held, energy = np.full(len(start) - 1, -1), np.full(batch.n, np.inf)
    order = np.lexsort((places[is_wrong], candidate[places[is_wrong]], of_sample[owner[is_wrong]]))
    rows = of_sample[owner[is_wrong]][order]
    lowest = order[np.flatnonzero(np.diff(rows, prepend=-1))]
    v, s = owner[is_wrong][lowest], state[is_wrong][lowest]
    possible = candidate[start[v] + s] < np.inf
    v, s = v[possible], s[possible]
    held[v] = s
    right = right_states(asking)
    flipped = right.states.copy()
    flipped[v] = s
    again = solve_best(batch.whole, clamp(batch.union, asking.numbers, held), **asking.settings(minimize=True))
    energy[of_sample[v]] = again.energy[of_sample[v]]
    beside = np.full(batch.n, np.inf)
    beside[of_sample[v]] = assignment_energies(batch.union, asking.numbers, flipped)[of_sample[v]]
    # The clamped answer may fail to be wrong where it is infeasible.
    found = np.where((beside < energy)[of_sample], flipped, _states(again.answer))
    found = np.where(found < 0, right.states, found)
    return Chosen(np.minimum(energy, beside), found, again.status)


def _states(answer: Answer) -> I64:
    assert answer.states is not None
    return answer.states


def _point(asking: Asking, numbers: Numbers, chosen: Chosen) -> Term:
    """The energy of an assignment."""
    union = asking.batch.union

    def accumulate(slope: F64, out: Numbers) -> None:
        add_assignment(union, numbers, chosen.states, slope, out, chosen.energy)

    return Term(chosen.energy, accumulate, chosen.status, asking.batch)
