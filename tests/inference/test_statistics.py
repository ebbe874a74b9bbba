"""Statistics of assignments and of beliefs against brute force, on drawn unions of samples that share tables.

A gradient g with respect to the numbers is right if its product with any other numbers n is what n itself says:
<g, n> = sum of weight * E_n(assignment), or of weight * the mean of E_n under the Gibbs distribution.
"""

from __future__ import annotations

import numpy as np
import pytest
from bound import bind
from checks import conditioned, rounding
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import brute
from strategies import case_of, cases
from unions import bind_cases, dot

import factorgraph_ebm as fg
from factorgraph_ebm.arrays import Numbers
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.selection import select_samples
from factorgraph_ebm.compiler.union import compile_union
from factorgraph_ebm.inference import METHODS, number_maps, run, trees
from factorgraph_ebm.inference.energies import assignment_energies
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.inference.number_maps import numbers_of
from factorgraph_ebm.inference.solving import solve_free
from factorgraph_ebm.inference.statistics import add_assignment, add_beliefs, zeros
from factorgraph_ebm.inference.tables import run_of
from factorgraph_ebm.inference.trees import shape_of

KINDS = ["normal", "integer", "forbidden", "integer forbidden", "tied", "denormal", "cold"]
SEEDS = range(60)


def unions(seed, *, forest, limit=48, share=0.3, kinds=KINDS):
    """Two drawn graphs, the first in two samples with different cells given."""
    rng = np.random.default_rng(seed)
    first = case_of(seed, forest=forest, limit=limit, kinds=kinds, prefix="a")
    second = case_of(seed + 10_000, forest=forest, limit=limit, kinds=kinds, prefix="b")
    return bind_cases([first, second, first], rng, share), rng


def problem_of(bound, beta=1.0, minimize=False):
    return Problem(bound.union, bound.numbers, beta, minimize, None, np.inf, None)


def check_assignment(bound, rng):
    state = bound.draw_states(rng)
    energy = assignment_energies(bound.union, bound.numbers, state)
    weight = np.where(rng.random(bound.n) < 0.3, 0.0, rng.normal(size=bound.n))
    out = zeros(bound.union)
    add_assignment(bound.union, bound.numbers, state, weight, out)
    other = bound.draw_numbers(rng)
    counted = np.where(energy < np.inf, weight, 0.0)
    there = assignment_energies(bound.union, other, state)
    expected = counted @ np.where(counted != 0.0, there, 0.0)
    assert dot(out, other) == pytest.approx(expected, rel=1e-12, abs=1e-11)
    for gradient, numbers in zip(out, bound.numbers):
        assert np.isfinite(gradient).all()
        assert not gradient[numbers == np.inf].any()
    if not counted.any():
        assert not out.unary.any() and not out.store.any()


@given(cases(forest=False, limit=300), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_assignments_of_drawn_graphs(case, seed):
    rng = np.random.default_rng(seed)
    for rewrite in (True, False):
        check_assignment(bind_cases([case, case], rng, rewrite=rewrite), rng)


@pytest.mark.parametrize("seed", SEEDS)
def test_assignments_of_drawn_unions(seed):
    bound, rng = unions(seed, forest=False)
    check_assignment(bound, rng)


def check_beliefs(bound, answer, beta, rng, exact):
    problem = problem_of(bound, beta)
    weight = np.where(rng.random(bound.n) < 0.3, 0.0, rng.normal(size=bound.n))
    out = zeros(bound.union)
    add_beliefs(problem, answer, weight, out)
    for gradient, numbers in zip(out, bound.numbers):
        assert np.isfinite(gradient).all()
        assert not gradient[numbers == np.inf].any()
    joints = [bound.joint(s) for s in range(bound.n)]
    if not (exact and all(conditioned(j) for j in joints)):
        return
    other = bound.draw_numbers(rng)
    expected = weight @ bound.expected_energies(beta, other)
    slack = sum(1e-10 + rounding(j, beta) for j in joints) * (1.0 + np.abs(other.store).sum())
    assert dot(out, other) == pytest.approx(expected, rel=1e-9, abs=slack)


@pytest.mark.parametrize("beta", [0.5, 1.0, 20.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_beliefs_of_forests(seed, beta):
    bound, rng = unions(seed, forest=True)
    answer = run("bp", problem_of(bound, beta), {})
    check_beliefs(bound, answer, beta, rng, bool(bound.union.compiled.sample_forest.all()))


@pytest.mark.parametrize("method", ["bp", "enumerate"])
@pytest.mark.parametrize("seed", range(30))
def test_beliefs_at_zero_temperature(seed, method):
    """Ties decide there, so integer energies only; joint marginals come from the counting run."""
    bound, rng = unions(seed, forest=True, kinds=["integer", "integer forbidden", "tied"])
    answer = run(method, problem_of(bound, np.inf), {})
    check_beliefs(bound, answer, np.inf, rng, bool(bound.union.compiled.sample_forest.all()))


@pytest.mark.parametrize("largest", [0, 1 << 16])
@pytest.mark.parametrize("seed", SEEDS)
def test_beliefs_of_loopy_graphs_by_enumeration(seed, largest, monkeypatch):
    """Also where the map of a structure would be too large, and every entry is asked for its number."""
    monkeypatch.setattr(number_maps, "LARGEST_MAP", largest)
    beta = 0.5 if seed % 2 else 1.0
    bound, rng = unions(seed, forest=False)
    check_beliefs(bound, run("enumerate", problem_of(bound, beta), {}), beta, rng, True)


@pytest.mark.parametrize("small", [0, 1 << 10])
@pytest.mark.parametrize("seed", SEEDS)
def test_beliefs_of_loopy_graphs_by_trees(seed, small, monkeypatch):
    """Also where structures are read slot by slot: what is expected of them is known by the ends of their automata."""
    monkeypatch.setattr(trees, "SMALL_TABLE", small)
    beta = [0.5, 1.0, np.inf][seed % 3]
    kinds = KINDS if beta < np.inf else ["integer", "integer forbidden", "tied"]
    bound, rng = unions(seed, forest=False, limit=300, kinds=kinds)
    check_beliefs(bound, run("junction_tree", problem_of(bound, beta), {}), beta, rng, True)


def chained(rng, n):
    """Structures with numbers over n variables, which meet each other and a chain."""
    y = fg.output("y", shape=n, n_states=2)
    rows = np.unique(rng.integers(0, 2, (12, n)), axis=0)
    numeric = fg.output("x", shape=4, n_states=3)
    graph = fg.FactorGraph([
        fg.Table([y], energies=rng.normal(size=(n, 2))),
        fg.Table([numeric], energies=rng.normal(size=(4, 3))),
        fg.Table([y[1:], y[:-1]], energies=0.3 * rng.normal(size=(n - 1, 2, 2))),
        fg.Cardinality(y, energies=fg.Parameter("count", n + 1)),
        fg.Parity(y[::2]),
        fg.Product([numeric[0], numeric[1], numeric[2], numeric[3]], weight=fg.Parameter("weight", ())),
        fg.Table([y[0], numeric[0]], energies=rng.normal(size=(2, 3))),
    ])  # fmt: skip
    sparse = fg.FactorGraph([
        fg.Table([y], energies=rng.normal(size=(n, 2))),
        fg.SparseTable([y[i] for i in range(n)], rows, fg.Parameter("listed", len(rows))),
        fg.Table([y[1:], y[:-1]], energies=0.3 * rng.normal(size=(n - 1, 2, 2))),
    ])  # fmt: skip
    values = {"count": rng.normal(size=n + 1), "weight": np.array(0.4)}
    return (graph, values), (sparse, {"listed": rng.normal(size=len(rows))})


@pytest.mark.parametrize("seed", range(4))
def test_structures_read_slot_by_slot_have_the_slope_of_the_free_energy(seed, monkeypatch):
    """Through `solve_free`, against differences of brute force; the number that is on does not split into messages."""
    monkeypatch.setattr(trees, "SMALL_TABLE", 0)
    rng = np.random.default_rng(seed)
    for graph, values in chained(rng, 7):
        union = compile_union([Sample(graph)], rewrite=False)
        assert shape_of(union).chains
        states = np.zeros(graph.n_cells, np.int64)
        for beta in (0.6, 1.0):
            out, into = zeros(union), {name: np.zeros(np.shape(array)) for name, array in values.items()}
            chosen = select_samples(union, np.array([0]))
            free = solve_free(chosen, union.bind([values], states), beta=beta, method="junction_tree")
            assert free.energy[0] == pytest.approx(brute(graph, {}, values).free_energy(beta), rel=1e-11)
            free.accumulate(np.array([1.7]), out)
            union.pullback([values], states, out, [into])
            for name, array in values.items():
                for place in np.ndindex(array.shape):
                    ends = []
                    for step in (1e-5, -1e-5):
                        moved = array.copy()
                        moved[place] += step
                        ends.append(brute(graph, {}, {**values, name: moved}).free_energy(beta))
                    assert into[name][place] == pytest.approx(1.7 * (ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-7)


def test_the_expected_number_that_is_on_of_two_hundred():
    rng = np.random.default_rng(0)
    y = fg.output("y", shape=200, n_states=2)
    graph = fg.FactorGraph([
        fg.Cardinality(y, energies=0.01 * (np.arange(201.0) - 60.0) ** 2),
        fg.Table([y[1:], y[:-1]], energies=rng.normal(size=(199, 2, 2))),
    ])  # fmt: skip
    union, numbers = bind(graph)
    problem = Problem(union, numbers, 1.0, False, None, np.inf, None)
    answer = run("junction_tree", problem, {})
    out = zeros(union)
    add_beliefs(problem, answer, np.ones(1), out)
    first = int(numbers_of(union, run_of(union.compiled, union.layout.kinds.index("Cardinality")))[0])
    share = out.store[first : first + 201]
    assert share.sum() == pytest.approx(1.0, rel=1e-12)
    start = union.compiled.variable_start.astype(np.int64)
    on = answer.marginals[start[1:][np.diff(start) == 2] - 1].sum()
    assert share @ np.arange(201) == pytest.approx(on, rel=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_messages_and_enumeration_say_the_same(seed):
    """One statistics kernel after another, against the joint marginals of enumeration."""
    bound, rng = unions(seed, forest=True, limit=400)
    if not bound.union.compiled.sample_forest.all() or not all(conditioned(bound.joint(s)) for s in range(bound.n)):
        return
    weight = rng.normal(size=bound.n)
    found = []
    for method in ("bp", "enumerate"):
        out = zeros(bound.union)
        add_beliefs(problem_of(bound), run(method, problem_of(bound), {}), weight, out)
        found.append(out)
    slack = sum(1e-10 + rounding(bound.joint(s)) for s in range(bound.n))
    for one, two in zip(*found):
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=slack * 10)


@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(80))
def test_parameters_get_the_slope_of_the_free_energy(seed, share):
    """Through `Union.pullback` to parameters and observed reals, against differences of brute force."""
    bound, rng = unions(seed, forest=True, kinds=["normal", "forbidden", "integer"], share=share)
    weight = rng.normal(size=bound.n)
    method = "bp" if bound.union.compiled.sample_forest.all() else "enumerate"
    out = zeros(bound.union)
    add_beliefs(problem_of(bound), run(method, problem_of(bound), {}), weight, out)
    into = [{name: np.zeros(np.shape(array)) for name, array in values.items()} for values in bound.values]
    bound.union.pullback(bound.values, bound.states, out, into)
    for name in {name for values in bound.values for name in values}:
        owners = [s for s in range(bound.n) if name in bound.values[s]]
        array = bound.values[owners[0]][name]
        direction = np.where(np.isfinite(array), rng.normal(size=array.shape), 0.0)
        found = sum(float((into[s][name] * direction).sum()) for s in owners)
        ends = []
        for step in (1e-5, -1e-5):
            free = 0.0
            for s in owners:
                moved = {**bound.values[s], name: array + step * direction}
                free += weight[s] * (bound.joint(s, moved).free_energy(1.0) if bound.joint(s).feasible else 0.0)
            ends.append(free)
        assert found == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-6), name


def grid(rng, k):
    """A loopy graph with a shared table, tables each, penalties and weights."""
    y = fg.output("y", shape=(3, 3), n_states=k)
    return fg.FactorGraph(
        [
            fg.Table([y], energies=rng.normal(size=(3, 3, k))),
            fg.Table([y[1:, :2], y[:-1, :2]], energies=0.4 * rng.normal(size=(k, k))),
            fg.Table([y[1:, 2], y[:-1, 2]], energies=0.4 * rng.normal(size=(2, k, k))),
            fg.Potts([y[:2, 1:], y[:2, :-1]], penalty=0.3 * rng.normal(size=(2, 2))),
            fg.Product([y[2, 1:], y[2, :-1]], weight=0.1 * rng.normal(size=2)),
            fg.Table([y[0, 0], y[1, 1], y[2, 2]], energies=0.3 * rng.normal(size=(k, k, k))),
        ]
    )


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("beta", [0.7, 1.0])
def test_loopy_statistics_are_the_slope_of_the_bethe_free_energy(k, beta, rng):
    union, numbers = bind(grid(rng, k), grid(rng, k))
    assert {"Table", "Potts"} <= set(union.layout.kinds)
    options = {"tolerance": 1e-13, "max_iterations": 3000}
    weight = rng.normal(size=2)

    def answer_of(moved):
        return run("bp", Problem(union, moved, beta, False, None, np.inf, None), options)

    out = zeros(union)
    add_beliefs(Problem(union, numbers, beta, False, None, np.inf, None), answer_of(numbers), weight, out)
    direction = Numbers(rng.normal(size=numbers.unary.shape), rng.normal(size=numbers.store.shape))
    step, ends = 1e-5, []
    for sign in (1.0, -1.0):
        moved = Numbers(*(n + sign * step * d for n, d in zip(numbers, direction)))
        ends.append(float(weight @ -answer_of(moved).log_partition / beta))
    assert dot(out, direction) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-7, abs=1e-8)


def test_an_infeasible_sample_adds_exact_zeros():
    y = fg.output("y", shape=3, n_states=2)
    chain = fg.Table([y[1:], y[:-1]], energies=[[0.0, 1.0], [2.0, np.inf]])
    closed = fg.FactorGraph([chain, fg.Table([y[0]], energies=[np.inf, np.inf])])
    union, numbers = bind(fg.FactorGraph([chain]), closed)
    problem = Problem(union, numbers, 1.0, False, None, np.inf, None)
    for method in (name for name in METHODS if METHODS[name].marginals is not None):
        answer = run(method, problem, {})
        out = zeros(union)
        add_beliefs(problem, answer, np.array([0.0, 5.0]), out)
        assert not out.unary.any() and not out.store.any()


def test_counts_of_a_shared_table_sum_to_the_number_of_factors(rng):
    """Ten thousand factors on one table of 26 states, and no array of joint marginals."""
    y = fg.output("y", shape=10_001, n_states=26)
    graph = fg.FactorGraph(
        [fg.Table([y[:-1], y[1:]], energies=rng.normal(size=(26, 26))), fg.Table([y], rng.normal(size=(10_001, 26)))]
    )
    union, numbers = bind(graph)
    problem = Problem(union, numbers, 1.0, False, None, np.inf, None)
    answer = run("bp", problem, {})
    out = zeros(union)
    add_beliefs(problem, answer, np.ones(1), out)
    table = out.store[: 26 * 26].reshape(26, 26)
    assert table.sum() == pytest.approx(10_000, rel=1e-12)
    rows = out.unary[union.compiled.variable_start[union.compiled.cell_variable].astype(int)[:, None] + np.arange(26)]
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(table.sum(axis=1), rows[:-1].sum(axis=0), rtol=1e-10)
    np.testing.assert_allclose(table.sum(axis=0), rows[1:].sum(axis=0), rtol=1e-10)


def test_who_has_no_marginals_is_named():
    y = fg.output("y", shape=3, n_states=2)
    union, numbers = bind(fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.0)]))
    problem = Problem(union, numbers, 1.0, True, None, np.inf, None)
    with pytest.raises(fg.MethodError, match='"icm" has no marginals'):
        add_beliefs(problem, run("icm", problem, {}), np.ones(1), zeros(union))
    marginals = np.full(union.compiled.unary_size, 0.5)
    alone = run("icm", problem, {})._replace(marginals=marginals)
    with pytest.raises(fg.MethodError, match="no marginals of factors"):
        add_beliefs(problem, alone, np.ones(1), zeros(union))
