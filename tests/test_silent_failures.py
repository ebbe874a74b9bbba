"""The five silent failures that the API exists to prevent (top of the contract), one named test each."""

from __future__ import annotations

import math

import numpy as np
import pytest
from oracle import brute

import factorgraph_ebm as fg


def test_1_labels_minus_one_and_plus_one_against_minus_one_as_not_given():
    """With states [-1, +1], -1 is a label and never a hole; without labels -1 is a hole."""
    spin = fg.output("y", shape=3, states=[-1, +1])
    graph = fg.FactorGraph([fg.Potts([spin[1:], spin[:-1]], penalty=1.0), fg.Table([spin[0]], energies=[0.0, 5.0])])
    given = fg.marginals(graph, given={"y": [+1, -1, -1]})
    assert given["y", +1].tolist() == [1.0, 0.0, 0.0]
    assert given.log_partition == -(5.0 + 1.0)
    holes = fg.minimize(graph, given={"y": [+1, None, None]})
    assert holes["y"].tolist() == [1, 1, 1]
    masked = fg.minimize(graph, given={"y": np.ma.masked_array([+1, -1, -1], mask=[0, 1, 1])})
    assert masked["y"].tolist() == [1, 1, 1]
    assert masked.indices["y"].tolist() == [1, 1, 1]
    assert fg.minimize(graph)["y"].tolist() == [-1, -1, -1]

    plain = fg.output("y", shape=3, n_states=2)
    graph = fg.FactorGraph([fg.Potts([plain[1:], plain[:-1]], penalty=1.0)])
    assert fg.minimize(graph, given={"y": [1, -1, -1]})["y"].tolist() == [1, 1, 1]
    with pytest.raises(fg.EvidenceError, match="y"):
        fg.minimize(graph, given={"y": [1, -2, -1]})
    labelled = fg.FactorGraph([fg.Table([fg.output("t", n_states=2)], energies=[0.0, 0.0])])
    with pytest.raises(fg.EvidenceError):
        fg.minimize(labelled, given={"t": "yes"})


def test_2_one_row_in_a_list_is_not_one_factor_per_variable():
    """A list pairs elementwise, a bare array is the scope: said aloud where they are likely mistaken."""
    row = fg.output("row", shape=3, n_states=2)
    assert fg.Table([row], energies=[0.0, 1.0]).size == 3
    assert fg.Table(row, energies=np.zeros((2, 2, 2))).size == 1
    assert fg.Table(list(row), energies=np.zeros((2, 2, 2))).size == 1
    wide = fg.output("wide", shape=(64, 64), n_states=2)
    with pytest.raises(fg.ScopeError, match=r"ONE factor over 4,096 variables.*\[.*\].*one factor per variable"):
        fg.Table(wide, energies=[0.0, 1.0])
    with pytest.raises(fg.ScopeError):
        fg.Potts([row], penalty=1.0)
    for structure in (fg.ExactlyOne, fg.AtMostOne, fg.AtLeastOne, fg.Parity, fg.Or, fg.And):
        with pytest.raises(fg.ScopeError, match=r"elementwise.*3 factors over 1 variable"):
            structure([row])
    with pytest.raises(fg.ScopeError, match=r"Write row itself for one factor"):
        fg.Cardinality([row], energies=[0.0, 1.0])


def test_3_a_forgotten_given_never_minimises_over_x():
    """An observed variable must be given, unless asked for."""
    x, y = fg.observed("x", shape=2, n_states=2), fg.output("y", shape=2, n_states=2)
    graph = fg.FactorGraph([fg.Table([x, y], energies=[[0.0, 2.2], [2.2, 0.0]])])
    said = r'observed variable "x" is not given\. Give it, or ask for it: asked=\["x", "y"\]'
    for verb in (fg.minimize, fg.marginals, fg.log_partition):
        with pytest.raises(fg.EvidenceError, match=said):
            verb(graph)
        with pytest.raises(fg.EvidenceError, match='"x"'):
            verb(graph, given={"x": [1, -1]})
    assert fg.minimize(graph, given={"x": [1, 0]})["y"].tolist() == [1, 0]
    assert fg.minimize(graph, asked=["x", "y"]).energy == 0.0
    assert fg.minimize(graph, given={"y": [1, 0]})["x"].tolist() == [1, 0]  # all outputs given: X is asked
    u = fg.observed("u", shape=2, dim=2)
    real = fg.FactorGraph([fg.Table([y], energies=u)])
    with pytest.raises(fg.EvidenceError, match='"u"'):
        fg.minimize(real)


def test_4_two_factors_on_one_scope_do_not_make_a_loop_of_a_chain():
    """Equal scopes are merged, nested ones absorbed, before the graph is called a forest."""
    rng = np.random.default_rng(4)
    y = fg.output("y", shape=4, n_states=2)
    chain = fg.Table([y[:-1], y[1:]], energies=rng.normal(size=(3, 2, 2)) * 2)
    second = fg.Potts([y[1:], y[:-1]], penalty=rng.normal(size=3) * 2)
    triple = fg.Table([y[0], y[1], y[2]], energies=rng.normal(size=(2, 2, 2)))
    unary = fg.Table([y], energies=rng.normal(size=(4, 2)))
    for factors in (
        [chain, second, unary],
        [unary, chain, fg.Table([y[:-1], y[1:]], energies=np.eye(2))],
        [triple, fg.Table([y[2], y[0]], energies=rng.normal(size=(2, 2))), unary],
        [chain, triple, unary],
    ):
        graph = fg.FactorGraph(factors)
        joint, belief, best = brute(graph), fg.marginals(graph, method="bp"), fg.minimize(graph, method="bp")
        assert belief.exact and best.exact
        np.testing.assert_allclose(belief["y"], joint.marginals(1.0)["y"], atol=1e-12)
        assert math.isclose(belief.log_partition, joint.log_partition(1.0), rel_tol=1e-12)
        assert best.energy == joint.minimum or math.isclose(best.energy, joint.minimum, rel_tol=1e-12)
    twice = fg.FactorGraph(
        [
            fg.Table([y[0], y[1]], energies=[[0, 1.5], [1.5, 0]]),
            fg.Table([y[1], y[0]], energies=[[0, 1.5], [1.5, 0]]),
            fg.Table([y[0]], energies=[0.0, 3.0]),
        ]
    )
    truth = brute(twice).marginals(1.0)["y"]
    assert fg.marginals(twice)["y"] == pytest.approx(truth, abs=1e-12)


def test_5_a_transposed_conditional_table_is_refused():
    """from_probabilities is P(last | others): rows sum to 1; a table whose columns do is asked about."""
    a, b = fg.output("a", n_states=2), fg.output("b", n_states=2)
    rows = np.array([[0.9, 0.1], [0.3, 0.7]])
    with pytest.raises(fg.FactorError, match="transposed"):
        fg.Table.from_probabilities([a, b], rows.T)
    with pytest.raises(fg.FactorError, match="row"):
        fg.Table.from_probabilities([a, b], [[0.9, 0.2], [0.3, 0.7]])
    prior = fg.Table.from_probabilities([a], [0.25, 0.75])
    graph = fg.FactorGraph([prior, fg.Table.from_probabilities([a, b], rows)])
    np.testing.assert_allclose(fg.marginals(graph)["b"], [0.25, 0.75] @ rows, atol=1e-15)
    assert fg.log_partition(graph) == pytest.approx(0.0, abs=1e-15)
    fg.Table.from_potentials([a, b], rows.T)  # unnormalised numbers stay possible
