"""Answers from the rows that are not forbidden, forced where tables would do, against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from checks import quietly
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal as assert_same
from oracle import brute
from strategies import cases

import factorgraph_ebm as fg
from factorgraph_ebm.compiler import parts, row_checks
from factorgraph_ebm.inference import choosing, forbidden, trees, ways
from factorgraph_ebm.inference.sparse_trees import SparseTrees


class Forced:
    """Within it, whatever has an entry of +inf is answered sparsely; `used` counts how often."""

    def __enter__(self) -> Forced:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(ways, "DEAR", -1.0)
        self.patch.setattr(ways, "MUCH", 1e-30)
        self.patch.setattr(row_checks, "FEW", 0)
        self.used = 0

        def counted(*arguments):
            self.used += 1
            return SparseTrees(*arguments)

        self.patch.setattr(ways, "SparseTrees", counted)
        return self

    def __exit__(self, *_) -> None:
        self.patch.undo()


def mostly_forbidden(rng: np.random.Generator, n: int, share: float, *, states=(2, 3), planted: bool = True):
    """A random graph of n variables with tables of two and three of them in which most entries are +inf."""
    counts = rng.choice(states, n)
    y = fg.output("y", shape=n, n_states=counts)
    right = [int(rng.integers(k)) for k in counts]
    factors = [fg.Table([y[i]], energies=rng.normal(size=counts[i])) for i in range(n)]
    for _ in range(2 * n):
        scope = sorted(rng.choice(n, int(rng.integers(2, 4)), replace=False).tolist())
        energies = rng.normal(size=counts[scope])
        gone = rng.random(energies.shape) < share
        if planted:
            gone[tuple(right[v] for v in scope)] = False
        energies[gone] = np.inf
        factors.append(fg.Table([y[v] for v in scope], energies=energies))
    return fg.FactorGraph(factors)


def check(graph, known, values, given, parameters, betas=(1.0, 0.0, 0.7, np.inf)) -> int:
    """All answers against the oracle; how many were made sparsely."""
    joint = brute(graph, known, values)
    how = {"given": given, "parameters": parameters, "method": "junction_tree"}
    with Forced() as forced:
        for beta in betas:
            belief = quietly(fg.marginals, graph, beta=beta, **how)
            if not joint.feasible:
                assert belief.status is fg.Status.INFEASIBLE and belief.log_partition == -math.inf
                continue
            assert belief.exact
            slack = 1e-10 * max(1.0, joint.mass * beta if beta < np.inf else joint.mass)
            if beta < np.inf:
                assert belief.log_partition == pytest.approx(joint.log_partition(beta), rel=1e-10, abs=slack)
            for name, expected in joint.marginals(beta).items():
                np.testing.assert_allclose(belief[name], expected, atol=1e-10, rtol=0)
            for (key, place), expected in joint.factor_marginals(beta).items():
                tables = belief.factor_marginals[key]
                factor = next(f for k, f in zip(graph.keys, graph.factors) if k == key)
                if factor.scope.ragged:
                    continue
                tables = np.asarray(tables).reshape(factor.size, -1)
                np.testing.assert_allclose(tables[place].sum(), 1.0, atol=1e-10)
                if tables[place].size == expected.size:
                    np.testing.assert_allclose(tables[place], expected.ravel(), atol=1e-10, rtol=0)
        best = quietly(fg.minimize, graph, **how)
        if not joint.feasible:
            assert best.status is fg.Status.INFEASIBLE
            return forced.used
        assert best.status is fg.Status.OPTIMAL
        assert best.energy == pytest.approx(joint.minimum, rel=1e-10, abs=1e-10 * max(1.0, joint.mass))
        for name, expected in joint.min_marginals().items():
            found = quietly(fg.min_marginals, graph, **how)[name]
            assert_same(np.isinf(found), np.isinf(expected))
            finite = np.isfinite(expected)
            np.testing.assert_allclose(found[finite], expected[finite], atol=1e-9 * max(1.0, joint.mass), rtol=1e-9)
        return forced.used


@settings(max_examples=60)
@given(cases(forest=False, kinds=["forbidden", "integer forbidden"]))
def test_drawn_graphs_of_all_structures(case):
    check(case.graph, case.known, case.values, case.given, case.parameters)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([0.02, 0.3, 0.6, 0.8]), st.booleans(), st.integers(0, 2))
def test_mostly_forbidden_graphs(seed, share, planted, held):
    rng = np.random.default_rng(seed)
    graph = mostly_forbidden(rng, 8, share, planted=planted)
    states = np.asarray(graph["y"].n_states)
    known = {("y", int(v)): int(rng.integers(states[v])) for v in rng.choice(8, held, replace=False)}
    given = {graph["y"][v]: s for (_, v), s in known.items()}
    some = any(np.isinf(np.asarray(f.table())).any() for f in graph.factors)
    assert check(graph, known, None, given, None, betas=(1.0, np.inf)) > 0 or not some or held


def test_everything_is_forbidden_in_one_of_two_components():
    y = fg.output("y", shape=6, n_states=2)
    unlike, never = np.array([[np.inf, 0.3], [0.1, np.inf]]), np.array([[np.inf, np.inf], [0.0, np.inf]])
    loop = [fg.Table([y[a], y[b]], energies=unlike) for a, b in ((0, 1), (1, 2), (2, 0))]
    rest = [fg.Table([y[a], y[b]], energies=unlike) for a, b in ((3, 4), (4, 5))]
    for graph in (fg.FactorGraph(loop + rest), fg.FactorGraph([*rest, fg.Table([y[3], y[5]], energies=never)])):
        assert check(graph, {}, None, None, None) > 0
    assert check(fg.FactorGraph(rest), {}, None, None, None) > 0


def test_where_nothing_is_forbidden_tables_are_used():
    y = fg.output("y", shape=6, n_states=2)
    graph = fg.FactorGraph([fg.Potts([y, y[[1, 2, 3, 4, 5, 0]]], penalty=1.0)])
    with Forced() as forced:
        fg.marginals(graph, method="junction_tree")
    assert forced.used == 0


def test_weights_that_leave_their_range_are_summed_as_energies():
    rng = np.random.default_rng(4)
    y = fg.output("y", shape=9, n_states=2)
    energies = 900.0 * rng.normal(size=(9, 2, 2))
    energies[rng.random(energies.shape) < 0.2] = np.inf
    graph = fg.FactorGraph([fg.Table([y, y[[*range(1, 9), 0]]], energies=energies)])
    assert check(graph, {}, None, None, None, betas=(1.0,)) > 2


@settings(max_examples=15)
@given(st.integers(0, 10**6))
def test_sums_inside_a_minimisation(seed):
    rng = np.random.default_rng(seed)
    y, z = fg.output("y", shape=4, n_states=2), fg.latent("z", shape=4, n_states=3)
    both, pairs = rng.normal(size=(4, 4, 2, 3)), rng.normal(size=(3, 2, 2))
    both[rng.random(both.shape) < 0.1] = np.inf
    pairs[rng.random(pairs.shape) < 0.2] = np.inf
    graph = fg.FactorGraph(
        [fg.Table([y[:, None], z[None, :]], energies=both), fg.Table([y[1:], y[:-1]], energies=pairs)]
    )
    by_table = fg.minimize(graph, method="enumerate", latent="marginalize", beta=0.7)
    with Forced() as forced:
        by_rows = fg.minimize(graph, method="junction_tree", latent="marginalize", beta=0.7)
    assert forced.used == 1 and by_rows.status == by_table.status
    if by_table.status is fg.Status.OPTIMAL:
        assert_same(by_rows["y"], by_table["y"])
        np.testing.assert_allclose(by_rows.energy, by_table.energy, rtol=1e-12)


def test_ties_go_to_the_lowest_state():
    y = fg.output("y", shape=7, n_states=3)
    unlike = np.where(np.eye(3) == 1, np.inf, 0.0)
    graph = fg.FactorGraph([fg.Table([y, y[[*range(1, 7), 0]]], energies=unlike)])
    tables = fg.minimize(graph, method="junction_tree")["y"]
    with Forced() as forced:
        rows = fg.minimize(graph, method="junction_tree")["y"]
    assert forced.used == 1
    assert_same(rows, tables)


def gates(rng: np.random.Generator, n: int) -> tuple[fg.FactorGraph, list[list[int]], np.ndarray]:
    """n free bits, and 6 n more that are each the parity or the product of three before them, with their scopes.

    Tables are wide, and 2^n configurations allowed.
    """
    y = fg.output("y", shape=7 * n, n_states=2)
    unary = 0.5 * rng.normal(size=(7 * n, 2))
    scopes = [[*rng.choice(v, 3, replace=False).tolist(), v] for v in range(n, 7 * n)]
    a, b, c, out = np.indices((2, 2, 2, 2))
    tables = [np.where(RULES[v % 2](a, b, c) == out, 0.0, np.inf) for _, _, _, v in scopes]
    factors = [fg.Table([y[u] for u in scope], energies=table) for scope, table in zip(scopes, tables)]
    return fg.FactorGraph([fg.Table([y], energies=unary), *factors]), scopes, unary


RULES = (lambda a, b, c: a * b * c, lambda a, b, c: (a + b + c) % 2)


def test_what_is_too_wide_for_tables_is_answered():
    n = 14
    graph, scopes, unary = gates(np.random.default_rng(1), n)
    states = np.empty((7 * n, 1 << n), np.int64)
    states[:n] = np.indices((2,) * n).reshape(n, -1)
    for a, b, c, v in scopes:
        states[v] = RULES[v % 2](states[a], states[b], states[c])
    energy = unary[np.arange(7 * n)[:, None], states].sum(axis=0)
    weight = np.exp(-(energy - energy.min()))
    plan = fg.plan(graph, "marginals", method="junction_tree")
    assert plan.exact and 27 < plan.width <= 62 and "entries that are not forbidden" in plan.reason
    belief, best = (ask(graph, method="junction_tree") for ask in (fg.marginals, fg.minimize))
    assert belief.exact and best.status is fg.Status.OPTIMAL
    assert belief.log_partition == pytest.approx(-energy.min() + np.log(weight.sum()), rel=1e-10)
    np.testing.assert_allclose(belief["y"][:, 1], states @ (weight / weight.sum()), atol=1e-10)
    assert best.energy == pytest.approx(energy.min(), rel=1e-12)
    assert_same(best["y"], states[:, energy.argmin()])
    above = fg.min_marginals(graph, method="junction_tree")["y"]
    expected = [energy[states[3] == s].min() for s in range(2)]
    np.testing.assert_allclose(above[3], expected, rtol=1e-10)
    both = belief.factor_marginals[1]
    a, b, c, v = states[scopes[0]]
    shares = np.bincount(8 * a + 4 * b + 2 * c + v, weight, 16) / weight.sum()
    np.testing.assert_allclose(shares, both.ravel(), atol=1e-10)
    with pytest.raises(fg.WidthTooLargeError, match="would need tables of more than"):
        fg.sample(graph, 1, rng=0, method="junction_tree")
    with pytest.raises(fg.WidthTooLargeError, match="what is not forbidden of them, by a guess .* bytes"):
        fg.marginals(graph, method="junction_tree", max_bytes=10_000)


def test_other_questions_where_tables_do_not_fit():
    graph, _, _ = gates(np.random.default_rng(1), 14)
    y = graph["y"]
    small = mostly_forbidden(np.random.default_rng(0), 6, 0.3)
    alone = [fg.marginals(each, method="junction_tree") for each in (graph, small)]
    for belief, among in zip(alone, fg.marginals([graph, small], method="junction_tree")):
        assert among.log_partition == pytest.approx(belief.log_partition, rel=1e-12)
        np.testing.assert_allclose(among["y"], belief["y"], atol=1e-12)
    pair = fg.marginals(graph, joint=[(y[0], y[20])], method="junction_tree").joint[(y[0], y[20])]
    np.testing.assert_allclose(pair.sum(axis=0), alone[0]["y"][20], atol=1e-10)
    np.testing.assert_allclose(pair.sum(axis=1), alone[0]["y"][0], atol=1e-10)
    with pytest.raises(fg.WidthTooLargeError):
        fg.k_best(graph, 2, method="junction_tree")
    cold = fg.marginals(graph, method="junction_tree", beta=np.inf)
    assert_same(cold["y"].argmax(axis=-1), fg.minimize(graph, method="junction_tree")["y"])


def test_factors_that_are_read_slot_by_slot(monkeypatch):
    monkeypatch.setattr(trees, "SMALL_TABLE", 0)
    monkeypatch.setattr(parts, "LARGEST_MERGED", 1)
    rng = np.random.default_rng(0)
    y = fg.output("y", shape=9, n_states=2)
    graph = fg.FactorGraph(
        [
            fg.Table([y], energies=rng.normal(size=(9, 2))),
            fg.Cardinality(y, energies=np.where(np.arange(10) % 3 == 1, np.inf, rng.normal(size=10))),
            fg.Parity(y[::2]),
            fg.Or(y[::3]),
            fg.Table([y[1:], y[:-1]], energies=rng.normal(size=(2, 2))),
        ]
    )
    assert check(graph, {}, None, None, None) > 0


def test_auto_takes_what_is_mostly_forbidden_and_says_so():
    graph, _, _ = gates(np.random.default_rng(1), 14)
    plan = fg.plan(graph, "marginals")
    assert plan.method == "junction_tree" and plan.exact and plan.seconds < choosing.PATIENCE
    assert "not a forest, and mostly forbidden" in plan.reason
    assert fg.marginals(graph).method == "junction_tree" and fg.minimize(graph).exact
    late = fg.plan(graph, "marginals", time_limit=plan.seconds / 100)
    assert late.method == "bp" and "not forbidden" in late.ruled_out[1]


def test_parameters_are_planned_as_if_nothing_were_forbidden():
    graph, _, _ = gates(np.random.default_rng(1), 14)
    y = graph["y"]
    more = fg.FactorGraph([*graph.factors, fg.Table([y[0]], energies=fg.Parameter("w", (2,)))])
    assert fg.plan(more).method == "bp"
    assert fg.minimize(more, parameters={"w": np.zeros(2)}).method == "junction_tree"


def test_supports_are_found_once_for_all_numbers_that_forbid_the_same(monkeypatch):
    monkeypatch.setattr(forbidden, "_held", {})
    found = []
    join_rows = forbidden.join_rows
    monkeypatch.setattr(forbidden, "join_rows", lambda *a, **k: found.append(1) or join_rows(*a, **k))
    graph, _, unary = gates(np.random.default_rng(1), 14)
    fg.marginals(graph, method="junction_tree")
    once = len(found)  # each order up to some pairs, until one is through
    assert once > 0
    fg.minimize(graph, method="junction_tree")
    warmer = fg.FactorGraph([fg.Table([graph["y"]], energies=2.0 * unary), *graph.factors[1:]])
    fg.marginals(warmer, method="junction_tree")
    assert len(found) == once
    held = unary.copy()
    held[0, 1] = np.inf
    stricter = fg.FactorGraph([fg.Table([graph["y"]], energies=held), *graph.factors[1:]])
    assert fg.marginals(stricter, method="junction_tree")["y"][0, 1] == 0.0
    assert len(found) > once
