"""Joint marginals of any cells by trees of contractions, against brute force and against holding cells."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from checks import betas_of, conditioned, joint_of, rounding
from oracle import brute
from strategies import case_of

import factorgraph_ebm as fg
from factorgraph_ebm.inference import contracting, joints, trees


def cells_of(graph):
    """Every discrete cell, in the oracle's order."""
    found = []
    for variable in graph.variables.values():
        if variable.dim is None:
            found += [variable[i] if variable.shape else variable for i in np.ndindex(variable.shape)]
    return found


def ask(graph, chosen):
    cells = cells_of(graph)
    return [tuple(cells[c] for c in each) for each in chosen]


def drawn_sets(rng, n):
    """Pairs, triples, single cells, cells that repeat, and nothing."""
    sizes = [0, 1, 2, 2, 2, 3, 3, int(rng.integers(1, 5))]
    return [tuple(rng.integers(0, n, size).tolist()) for size in sizes if n or not size]


@pytest.mark.parametrize("making", [0, joints.MAKING], ids=["many trees", "few trees"])
@pytest.mark.parametrize("block", range(4))
def test_drawn_graphs(block, making, monkeypatch):
    monkeypatch.setattr(joints, "MAKING", making)
    monkeypatch.setattr(trees, "SMALL_TABLE", 0 if block % 2 else 1 << 10)
    for seed in range(90_000 + 25 * block, 90_025 + 25 * block):
        rng = np.random.default_rng(seed)
        case = case_of(seed, forest=seed % 3 == 0)
        joint = joint_of(case)
        if not conditioned(joint):
            continue
        chosen = drawn_sets(rng, len(joint.where.cell_states))
        beta = betas_of(case)[seed % len(betas_of(case))]
        keys = ask(case.graph, chosen)
        for method in ("junction_tree", "auto"):
            belief = fg.marginals(
                case.graph, case.given, parameters=case.parameters, beta=beta, joint=keys, method=method
            )
            if not joint.feasible:
                with pytest.raises(fg.InfeasibleError):
                    belief.joint  # noqa: B018
                continue
            for key, cells in zip(keys, chosen):
                expected = joint.joint_marginal(cells, beta)
                np.testing.assert_allclose(belief.joint[key], expected, atol=1e-10 + 10 * rounding(joint, beta))


def test_each_sample_of_a_list_has_its_joints():
    y = fg.output("both", shape=4, n_states=2)
    rng = np.random.default_rng(0)
    graphs = [fg.FactorGraph([fg.Table([y[1:], y[:-1]], energies=rng.normal(size=(3, 2, 2)))]) for _ in range(4)]
    keys = [(y[0], y[3]), (y[2], y[0], y[1])]
    given = [{}, {y[0]: 1}, {y[3]: 0, y[2]: 1}, {}]
    for graph, known, belief in zip(graphs, given, fg.marginals(graphs, given, joint=keys, method="junction_tree")):
        joint = brute(graph, {("both", int(v.cells.reshape(-1)[0])): s for v, s in known.items()})
        np.testing.assert_allclose(belief.joint[keys[0]], joint.joint_marginal([0, 3], 1.0), atol=1e-12)
        np.testing.assert_allclose(belief.joint[keys[1]], joint.joint_marginal([2, 0, 1], 1.0), atol=1e-12)


def grid(seed, shape=(4, 5), k=2, scale=1.0):
    rng = np.random.default_rng(seed)
    h, w = shape
    y = fg.output("y", shape=shape, n_states=k)
    return fg.FactorGraph([
        fg.Table([y], energies=scale * rng.normal(size=(h, w, k))),
        fg.Table([y[1:], y[:-1]], energies=scale * rng.normal(size=(h - 1, w, k, k))),
        fg.Table([y[:, 1:], y[:, :-1]], energies=scale * rng.normal(size=(h, w - 1, k, k))),
    ])  # fmt: skip


@pytest.mark.parametrize("scale", [1.0, 1000.0])
@pytest.mark.parametrize("beta", [0.0, 0.7, np.inf])
def test_all_pairs_of_a_grid(beta, scale, monkeypatch):
    graph = grid(0, (3, 4), 2, scale)
    joint = brute(graph)
    chosen = list(itertools.combinations(range(12), 2))
    keys = ask(graph, chosen)
    for large in (contracting.LARGE, 1):
        monkeypatch.setattr(contracting, "LARGE", large)
        belief = fg.marginals(graph, joint=keys, beta=beta, method="junction_tree")
        for key, cells in zip(keys, chosen):
            np.testing.assert_allclose(belief.joint[key], joint.joint_marginal(cells, beta), atol=1e-10)


def test_a_tree_and_held_cells_say_the_same():
    graph = grid(1, (6, 12), 3)
    y = graph["y"]
    keys = [(y[0, 0], y[5, 11]), (y[3, 2], y[3, 3]), (y[5, 0], y[0, 6], y[2, 11]), (y[0, 11], y[0, 11])]
    belief = fg.marginals(graph, joint=keys, method="junction_tree")
    plain = fg.marginals(graph, method="junction_tree")
    np.testing.assert_array_equal(belief["y"], plain["y"])
    for key in keys:
        first = key[0]
        for state in range(3):
            held = fg.marginals(graph, {first: state}, joint=[key[1:]], method="junction_tree")
            share = np.exp(held.log_partition - plain.log_partition)
            np.testing.assert_allclose(belief.joint[key][state], share * held.joint[key[1:]], atol=1e-12)


def test_variables_that_nothing_connects_are_independent():
    y = fg.output("y", shape=30, n_states=2)
    rng = np.random.default_rng(2)
    graph = fg.FactorGraph([fg.Table([y], energies=rng.normal(size=(30, 2)))])
    key = tuple(y[i] for i in range(12))
    belief = fg.marginals(graph, joint=[key], method="junction_tree")
    expected = np.ones(())
    for row in belief["y"][:12]:
        expected = np.multiply.outer(expected, row)
    np.testing.assert_allclose(belief.joint[key], expected, rtol=1e-12)


def test_a_joint_of_too_many_variables_is_refused():
    graph = grid(3, (6, 6))
    key = tuple(cells_of(graph))
    with pytest.raises(fg.WidthTooLargeError, match="joint of 36 variables would need [0-9,]+ bytes"):
        fg.marginals(graph, joint=[key], method="junction_tree")
    y = fg.output("y", shape=60, n_states=2)
    apart = fg.FactorGraph([fg.Table([y], energies=[0.0, 1.0])])
    with pytest.raises(fg.WidthTooLargeError, match="joint of 30 variables would need 8,589,934,592 bytes"):
        fg.marginals(apart, joint=[tuple(y[i] for i in range(30))], method="junction_tree")


def test_where_no_tree_fits_cells_are_held():
    graph = grid(4, (5, 5))
    y = graph["y"]
    pair = y[0, 0], y[4, 4]
    expected = fg.marginals(graph, joint=[pair], method="junction_tree").joint[pair]
    most = fg.plan(graph, "marginals", method="junction_tree").bytes
    belief = fg.marginals(graph, joint=[pair], method="junction_tree", max_bytes=most)
    (layers,) = joints._kept[id(belief._answered.problem.union.compiled.variable_start)].values()
    assert len(layers.wide) == 1 and not layers.layers
    np.testing.assert_allclose(belief.joint[pair], expected, rtol=1e-12)


@pytest.mark.parametrize("method", ["junction_tree", "auto"])
def test_the_trees_of_joints_are_kept(method):
    graph = grid(5)
    key = graph["y"][0, 0], graph["y"][3, 4]
    first, second = (fg.marginals(graph, joint=[key], method=method) for _ in range(2))
    assert first.method == "junction_tree"
    kept = joints._kept[id(first._answered.problem.union.compiled.variable_start)]
    assert len(kept) == 1
    np.testing.assert_array_equal(first.joint[key], second.joint[key])
