"""The oracle against sums done by hand, and the drawn graphs against what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from oracle import brute, cells_of, is_forest, layout
from strategies import Case, case_of, cases

import factorgraph_ebm as fg


def two_variables():
    a, b = fg.output("a", states=["cold", "hot"]), fg.output("b", states=["off", "on"])
    return fg.FactorGraph([fg.Table([a], energies=[0.0, 1.0]), fg.Table([a, b], energies=[[0.0, 2.0], [2.0, 0.0]])])


def test_two_variables_by_hand():
    joint = brute(two_variables())
    assert joint.states.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert joint.energies.tolist() == [0.0, 2.0, 3.0, 1.0]
    z = 1 + math.exp(-2) + math.exp(-3) + math.exp(-1)
    assert joint.log_partition(1.0) == pytest.approx(math.log(z), rel=1e-15)
    assert joint.marginals(1.0)["a"][0] == pytest.approx((1 + math.exp(-2)) / z, rel=1e-15)
    assert joint.marginals(0.0)["b"].tolist() == [0.5, 0.5]
    assert joint.marginals(math.inf)["b"].tolist() == [1.0, 0.0]
    assert joint.log_partition(math.inf) == 0.0
    assert joint.free_energy(0.0) == -math.inf
    assert joint.min_marginals()["b"].tolist() == [0.0, 1.0]
    rows, free = joint.eliminate([1], 1.0)
    assert rows.tolist() == [[0], [1]]
    assert free == pytest.approx([-math.log(1 + math.exp(-3)), -math.log(math.exp(-2) + math.exp(-1))])


def test_known_cells_are_held():
    joint = brute(two_variables(), {("b", 0): 1})
    assert joint.states.tolist() == [[0, 1], [1, 1]]
    assert joint.minimum == 1.0
    assert joint.marginals(1.0)["b"].tolist() == [0.0, 1.0]


def test_an_infeasible_graph_and_an_empty_one():
    y = fg.output("y", n_states=2)
    nothing = brute(fg.FactorGraph([fg.Table([y], energies=[np.inf, np.inf])]))
    assert not nothing.feasible and nothing.log_partition(1.0) == -math.inf and nothing.minimum == math.inf
    empty = brute(fg.FactorGraph([]))
    assert empty.minimum == 0.0 and empty.log_partition(1.0) == 0.0


def test_forests_are_seen_through_equal_and_nested_scopes():
    y = fg.output("y", shape=3, n_states=2)
    pair, triple = np.zeros((2, 2)), np.zeros((2, 2, 2))
    chain = [fg.Table([y[1:], y[:-1]], energies=pair)]
    assert is_forest(fg.FactorGraph(chain))
    assert is_forest(fg.FactorGraph([*chain, fg.Table([y[0], y[1]], energies=pair)]))
    assert is_forest(fg.FactorGraph([*chain, fg.Table(y, energies=triple)]))
    cycle = fg.FactorGraph([*chain, fg.Table([y[0], y[2]], energies=pair)])
    assert not is_forest(cycle)
    assert is_forest(cycle, {("y", 1): 0})


def check_drawing(case: Case, forest: bool) -> None:
    total = len(layout(case.graph).cell_states)
    assert all(0 <= c < total for scope in cells_of(case.graph) for c in scope)
    assert is_forest(case.graph, case.known) or not forest
    joint = brute(case.graph, case.known, case.values)
    assert not np.isnan(joint.rest).any()
    if joint.feasible:
        assert joint.probabilities(1.0).sum() == pytest.approx(1.0)


@given(cases(forest=True))
def test_drawn_forests_are_forests(case):
    check_drawing(case, forest=True)


@given(cases(forest=False))
def test_drawn_graphs_can_be_enumerated(case):
    check_drawing(case, forest=False)


def test_plain_draws_cover_what_they_should():
    """The long runs use the plain draw: it must reach the odd corners, and both forests and loops."""
    drawn = [case_of(seed, forest=seed % 2 == 0) for seed in range(600)]
    for seed, case in enumerate(drawn):
        check_drawing(case, forest=seed % 2 == 0)
    loopy = [not is_forest(c.graph, c.known) for c in drawn]
    assert sum(loopy) > 40
    kinds = {f.kind for c in drawn for f in c.graph.factors}
    assert kinds >= {"Table", "Potts", "Product", "SparseTable", "TruncatedLinear", "TruncatedQuadratic"}
    assert any(not c.graph.variables for c in drawn)
    assert any(f.size == 0 for c in drawn for f in c.graph.factors)
    assert any(f.scope.ragged for c in drawn for f in c.graph.factors)
    assert any(len(set(s)) < len(s) for c in drawn for s in cells_of(c.graph))
    assert any(not brute(c.graph, c.known, c.values).feasible for c in drawn)
    assert sum(bool(c.known) for c in drawn) > 60
