"""Solving some samples: energies against brute force, and gradients against those of the whole union."""

from __future__ import annotations

import numpy as np
import pytest
from bound import bind
from checks import conditioned, rounding
from strategies import case_of
from unions import bind_cases, dot

import factorgraph_ebm as fg
from factorgraph_ebm.arrays import Numbers
from factorgraph_ebm.compiler.selection import select_samples
from factorgraph_ebm.inference import run
from factorgraph_ebm.inference.energies import assignment_energies
from factorgraph_ebm.inference.method import Problem, Start, Status
from factorgraph_ebm.inference.solving import clamp, solve_best, solve_free
from factorgraph_ebm.inference.statistics import add_assignment, add_beliefs, zeros

KINDS = ["normal", "integer", "forbidden", "integer forbidden", "tied", "denormal", "cold"]


def unions(seed, *, forest, kinds=KINDS, limit=80):
    rng = np.random.default_rng(seed)
    first = case_of(seed, forest=forest, limit=limit, kinds=kinds, prefix="a")
    second = case_of(seed + 10_000, forest=forest, limit=limit, kinds=kinds, prefix="b")
    bound = bind_cases([first, second, first, second], rng)
    samples = rng.permutation(bound.n)[: rng.integers(1, bound.n + 1)]
    return bound, samples, rng


def accumulated(solved, weight, union):
    out = zeros(union)
    solved.accumulate(weight, out)
    return out


@pytest.mark.parametrize("seed", range(60))
def test_best_of_some_samples(seed):
    bound, samples, rng = unions(seed, forest=True)
    chosen = select_samples(bound.union, samples)
    best = solve_best(chosen, bound.numbers)
    exact = bound.union.compiled.sample_exact
    for i, s in enumerate(samples):
        joint = bound.joint(s)
        if best.status[i] is Status.INFEASIBLE:
            assert not joint.feasible and best.energy[i] == np.inf
        elif exact[s]:
            assert best.energy[i] == pytest.approx(joint.minimum, rel=1e-12, abs=1e-12 + rounding(joint))
    weight = np.where(rng.random(len(samples)) < 0.3, 0.0, rng.normal(size=len(samples)))
    # the same assignment in the whole union, with weight 0 on all other samples
    state = bound.draw_states(rng)
    state[chosen.variables] = best.answer.states
    expected, everywhere = zeros(bound.union), np.zeros(bound.n)
    everywhere[samples] = weight
    add_assignment(bound.union, bound.numbers, state, everywhere, expected)
    for one, two in zip(accumulated(best, weight, bound.union), expected):
        np.testing.assert_allclose(one, two, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("beta", [0.5, 1.0, np.inf])
@pytest.mark.parametrize("method", ["bp", "enumerate"])
@pytest.mark.parametrize("seed", range(30))
def test_free_energy_of_some_samples(seed, method, beta):
    kinds = ["integer", "integer forbidden", "tied"] if beta == np.inf else KINDS
    bound, samples, rng = unions(seed, forest=method == "bp", kinds=kinds)
    chosen = select_samples(bound.union, samples)
    free = solve_free(chosen, bound.numbers, beta=beta, method=method)
    exact = bound.union.compiled.sample_forest
    for i, s in enumerate(samples):
        joint = bound.joint(s)
        if (exact[s] or method == "enumerate") and conditioned(joint):
            assert free.status[i] is (Status.OPTIMAL if joint.feasible else Status.INFEASIBLE)
            expected = joint.free_energy(beta)
            assert free.energy[i] == expected or free.energy[i] == pytest.approx(
                expected, rel=1e-10, abs=1e-10 + rounding(joint)
            )
    weight = np.where(rng.random(len(samples)) < 0.3, 0.0, rng.normal(size=len(samples)))
    problem = Problem(bound.union, bound.numbers, beta, False, None, np.inf, None)
    expected, everywhere = zeros(bound.union), np.zeros(bound.n)
    everywhere[samples] = weight
    add_beliefs(problem, run(method, problem, {}), everywhere, expected)
    for one, two in zip(accumulated(free, weight, bound.union), expected):
        np.testing.assert_allclose(one, two, rtol=1e-11, atol=1e-11)


def latent(rng, k=3):
    """A chain of outputs, each with a latent variable of its own, which sums go first on."""
    y = fg.output("y", shape=4, n_states=k)
    z = fg.latent("z", shape=4, n_states=2)
    graph = fg.FactorGraph(
        [
            fg.Table([y[1:], y[:-1]], energies=rng.normal(size=(k, k))),
            fg.Table([y, z], energies=rng.normal(size=(4, k, 2))),
            fg.Table([z], energies=rng.normal(size=(4, 2))),
        ]
    )
    return graph, z


@pytest.mark.parametrize("beta", [0.6, 1.0])
@pytest.mark.parametrize("method", ["bp", "enumerate"])
def test_best_with_latent_variables_summed_out(method, beta, rng):
    """The energy is the free energy of what is summed out, given the answer; its slope by differences."""
    graph, z = latent(rng)
    other, _ = latent(rng)
    union, numbers = bind(graph, other, graph, soft=[z])
    chosen = select_samples(union, [2, 1])
    best = solve_best(chosen, numbers, beta=beta, method=method)
    expected = [fg.minimize(g, latent="marginalize", beta=beta) for g in (graph, other)]
    np.testing.assert_allclose(best.energy, [e.energy for e in expected], rtol=1e-10)
    weight = rng.normal(size=2)
    out = accumulated(best, weight, union)
    direction = Numbers(*(rng.normal(size=n.shape) for n in numbers))
    ends = []
    for step in (1e-5, -1e-5):
        moved = chosen.take(Numbers(*(n + step * d for n, d in zip(numbers, direction))))
        held = clamp(chosen.union, moved, best.answer.states)
        problem = Problem(chosen.union, held, beta, False, None, np.inf, None)
        ends.append(weight @ -run("enumerate", problem, {}).log_partition / beta)
    assert dot(out, direction) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-7, abs=1e-8)


def test_a_next_solve_may_start_from_the_last(rng):
    """On a loopy grid: from its own messages the fixed point is found at once."""
    y = fg.output("y", shape=(5, 5), n_states=3)
    graphs = [
        fg.FactorGraph(
            [
                fg.Table([y], energies=rng.normal(size=(5, 5, 3))),
                fg.Potts([y[1:], y[:-1]], penalty=0.5),
                fg.Potts([y[:, 1:], y[:, :-1]], penalty=0.5),
            ]
        )
        for _ in range(3)
    ]
    union, numbers = bind(*graphs)
    chosen = select_samples(union, [2, 0])
    cold = solve_free(chosen, numbers)
    warm = solve_free(chosen, numbers, start=Start(None, cold.answer.messages))
    assert (cold.iterations > 3).all() and (warm.iterations <= 2).all()
    assert set(cold.status) == set(warm.status) == {Status.CONVERGED}
    np.testing.assert_allclose(warm.energy, cold.energy, rtol=1e-8)
    assert (cold.residual <= 1e-8).all()


def test_infeasible_samples_have_energy_inf_and_add_nothing():
    y = fg.output("y", shape=3, n_states=2)
    chain = fg.Table([y[1:], y[:-1]], energies=[[0.0, 1.0], [2.0, np.inf]])
    closed = fg.FactorGraph([chain, fg.Table([y[0]], energies=[np.inf, np.inf])])
    union, numbers = bind(fg.FactorGraph([chain]), closed)
    chosen = select_samples(union, [1])
    for solved in (solve_best(chosen, numbers), solve_free(chosen, numbers), solve_free(chosen, numbers, beta=np.inf)):
        assert solved.energy.tolist() == [np.inf] and solved.status == (Status.INFEASIBLE,)
        out = accumulated(solved, np.array([3.0]), union)
        assert not out.unary.any() and not out.store.any()


def test_clamped_variables_keep_their_state(rng):
    y = fg.output("y", shape=5, n_states=4)
    graph = fg.FactorGraph([fg.Table([y[1:], y[:-1]], energies=rng.normal(size=(4, 4)))])
    union, numbers = bind(graph)
    state = np.array([2, -1, 0, -1, 3, -1])
    best = solve_best(select_samples(union), clamp(union, numbers, state))
    held = state >= 0
    np.testing.assert_array_equal(best.answer.states[held], state[held])
    given = {y[int(c)]: int(s) for c, s in zip(union.compiled.variable_cell[held], state[held]) if c >= 0}
    assert best.energy[0] == pytest.approx(fg.minimize(graph, given).energy, rel=1e-12)


def test_beta_zero_has_no_free_energy():
    y = fg.output("y", shape=3, n_states=2)
    union, numbers = bind(fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.0)]))
    with pytest.raises(fg.MethodError, match="needs beta above 0"):
        solve_free(select_samples(union), numbers, beta=0.0)


def test_local_search_solves_too(rng):
    """Any method that can, by its name: the energy is that of the assignment it returns."""
    y = fg.output("y", shape=(4, 4), n_states=3)
    graph = fg.FactorGraph([fg.Table([y], rng.normal(size=(4, 4, 3))), fg.Potts([y[1:], y[:-1]], penalty=1.0)])
    union, numbers = bind(graph, graph)
    chosen = select_samples(union, [1])
    found = solve_best(chosen, numbers, method="icm")
    part = chosen.take(numbers)
    np.testing.assert_array_equal(found.energy, assignment_energies(chosen.union, part, found.answer.states))
    with pytest.raises(fg.MethodError, match="cannot answer marginals"):
        solve_free(chosen, numbers, method="icm")
