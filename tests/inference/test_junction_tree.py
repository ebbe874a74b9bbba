"""The tree of contractions beyond what the conformance suites ask of every method."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal as assert_same
from oracle import brute

import factorgraph_ebm as fg
from factorgraph_ebm.compiler import parts
from factorgraph_ebm.inference import contracting, joints, trees
from factorgraph_ebm.inference.trees import shape_of


def thin_grid(rng: np.random.Generator, shape: tuple[int, int], k: int, scale: float = 1.0) -> fg.FactorGraph:
    h, w = shape
    y = fg.output("y", shape=shape, n_states=k)
    return fg.FactorGraph(
        [
            fg.Table([y], energies=scale * rng.normal(size=(h, w, k)), name="unary"),
            fg.Table([y[1:], y[:-1]], energies=scale * rng.normal(size=(h - 1, w, k, k)), name="down"),
            fg.Table([y[:, 1:], y[:, :-1]], energies=scale * rng.normal(size=(h, w - 1, k, k)), name="across"),
        ]
    )


def columns_of(graph: fg.FactorGraph, h: int, w: int, k: int) -> tuple[list, list]:
    """Energies of the configurations of each column, and of those of each two neighbouring columns."""
    unary, down, across = (np.asarray(graph.factor(name).table()) for name in ("unary", "down", "across"))
    states = np.indices((k,) * h).reshape(h, -1)
    rows = np.arange(h)[:, None]
    own = [
        unary[:, c][rows, states].sum(axis=0)
        + down[:, c][rows[:-1], states[1:], states[:-1]].sum(axis=0)
        for c in range(w)
    ]  # fmt: skip
    right, left = states[:, :, None], states[:, None, :]
    both = [across[:, c][rows[:, :, None], right, left].sum(axis=0) for c in range(w - 1)]
    return own, both


@pytest.mark.parametrize("scale", [1.0, 2000.0])
def test_a_thin_grid_is_summed_as_by_columns(scale):
    h, w, k = 4, 9, 3
    graph = thin_grid(np.random.default_rng(0), (h, w), k, scale)
    own, both = columns_of(graph, h, w, k)
    row, least = -own[0], own[0]
    for c in range(1, w):
        joint = row[None, :] - both[c - 1]
        high = joint.max(axis=1)
        row = high + np.log(np.exp(joint - high[:, None]).sum(axis=1)) - own[c]
        least = (least[None, :] + both[c - 1]).min(axis=1) + own[c]
    expected = row.max() + np.log(np.exp(row - row.max()).sum())
    belief = fg.marginals(graph, method="junction_tree")
    best = fg.minimize(graph, method="junction_tree")
    assert belief.exact and best.status == "optimal"
    np.testing.assert_allclose(belief.log_partition, expected, rtol=1e-12)
    np.testing.assert_allclose(best.energy, least.min(), rtol=1e-12)
    shares = np.exp(row - row.max())
    shares = (shares / shares.sum()).reshape((k,) * h)
    for i in range(h):
        last = shares.sum(axis=tuple(j for j in range(h) if j != i))
        np.testing.assert_allclose(belief["y"][i, -1], last, atol=1e-11)


def test_each_of_many_large_components_has_its_parts(monkeypatch):
    """The nodes of the last components lie further on than any of them is long."""
    graphs = [thin_grid(np.random.default_rng(seed), (3, 4), 2) for seed in range(5)]
    alone = [fg.minimize(graph, method="junction_tree") for graph in graphs]
    monkeypatch.setattr(contracting, "LARGE", 1)
    for found, expected in zip(fg.minimize(graphs, method="junction_tree"), alone, strict=True):
        assert found.energy == pytest.approx(expected.energy, rel=1e-12)
        assert_same(found["y"], expected["y"])


def test_parts_of_one_component_give_the_same_whoever_runs_them(monkeypatch):
    graph = thin_grid(np.random.default_rng(1), (5, 12), 2)
    whole = fg.marginals(graph, method="junction_tree"), fg.minimize(graph, method="junction_tree")
    monkeypatch.setattr(contracting, "LARGE", 1)
    monkeypatch.setattr(contracting, "ENOUGH", 0)
    monkeypatch.setattr(contracting, "SLICE", 500)
    for threads in (1, 2, 5):
        belief = fg.marginals(graph, method="junction_tree", threads=threads)
        best = fg.minimize(graph, method="junction_tree", threads=threads)
        assert_same(belief["y"], whole[0]["y"])
        assert_same(best["y"], whole[1]["y"])
        np.testing.assert_allclose(belief.log_partition, whole[0].log_partition, rtol=1e-14)
        for name in ("unary", "down"):
            assert_same(belief.factor_marginals[name], whole[0].factor_marginals[name])
    drawn = fg.sample(graph, 50, rng=0, method="junction_tree", threads=2)["y"]
    monkeypatch.undo()
    assert_same(drawn, fg.sample(graph, 50, rng=0, method="junction_tree")["y"])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_a_list_is_answered_as_one_by_one(seed):
    rng = np.random.default_rng(seed)
    shapes = rng.integers(2, 5, size=(5, 2)).tolist()
    graphs = [thin_grid(rng, (h, w), 2, float(rng.choice([1.0, 900.0]))) for h, w in shapes]
    for alone, among in zip(graphs, fg.marginals(graphs, method="junction_tree")):
        belief = fg.marginals(alone, method="junction_tree")
        assert_same(belief["y"], among["y"])
        assert belief.log_partition == among.log_partition


def test_evidence_that_contradicts_itself_loses_no_digit():
    y = fg.output("y", shape=(2, 60), n_states=2)
    far = np.zeros((2, 60, 2))
    far[0, 0, 1] = far[1, -1, 0] = 1e4
    graph = fg.FactorGraph(
        [
            fg.Table([y], energies=far),
            fg.Potts([y[:, 1:], y[:, :-1]], penalty=300.0),
            fg.Potts([y[1:], y[:-1]], penalty=1.0),
        ]
    )
    belief = fg.marginals(graph, method="junction_tree")
    found = fg.minimize(graph, method="junction_tree")
    assert np.isfinite(belief.log_partition) and belief["y"].sum() == pytest.approx(120.0)
    # -log Z lies below the least energy by at most the log of the number of assignments.
    assert found.energy - 120 * np.log(2.0) <= -belief.log_partition <= found.energy


def test_what_is_too_wide_is_refused_before_anything_is_made():
    y = fg.output("y", shape=(60, 60), n_states=3)
    graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.0), fg.Potts([y[:, 1:], y[:, :-1]], penalty=1.0)])
    with pytest.raises(fg.WidthTooLargeError, match='write method="bp"'):
        fg.minimize(graph, method="junction_tree")
    small = thin_grid(np.random.default_rng(0), (4, 4), 2)
    with pytest.raises(fg.WidthTooLargeError, match="bytes"):
        fg.marginals(small, method="junction_tree", max_bytes=100)
    assert fg.marginals(small, method="junction_tree", max_bytes=10**6).exact
    with pytest.raises(fg.MethodError, match="max_bytes= is a number of bytes"):
        fg.marginals(small, method="junction_tree", max_bytes=0)


def test_a_plan_says_what_it_takes():
    graph = thin_grid(np.random.default_rng(0), (4, 6), 2)
    said = str(fg.plan(graph, "marginals", method="junction_tree"))
    assert said.startswith("junction_tree (exact): as was asked for") and "bytes" in said


def test_the_tree_of_a_union_is_grown_once():
    graph = thin_grid(np.random.default_rng(0), (3, 4), 2)
    first = fg.marginals(graph, method="junction_tree")
    second = fg.minimize(graph, method="junction_tree")
    unions = [r._answered.problem.union for r in (first, second)]
    assert shape_of(unions[0]) is shape_of(unions[1])


def test_sums_inside_a_minimisation_go_first():
    rng = np.random.default_rng(3)
    y, z = fg.output("y", shape=4, n_states=2), fg.latent("z", shape=4, n_states=3)
    graph = fg.FactorGraph(
        [
            fg.Table([y[:, None], z[None, :]], energies=rng.normal(size=(4, 4, 2, 3))),
            fg.Table([y[1:], y[:-1]], energies=rng.normal(size=(3, 2, 2))),
        ]
    )
    by_tree = fg.minimize(graph, method="junction_tree", latent="marginalize", beta=0.7)
    by_table = fg.minimize(graph, method="enumerate", latent="marginalize", beta=0.7)
    assert_same(by_tree["y"], by_table["y"])
    np.testing.assert_allclose(by_tree.energy, by_table.energy, rtol=1e-12)


def wide_graph(rng: np.random.Generator, n: int) -> fg.FactorGraph:
    y = fg.output("y", shape=n, n_states=2)
    return fg.FactorGraph(
        [
            fg.Table([y], energies=rng.normal(size=(n, 2))),
            fg.Cardinality(y, energies=rng.normal(size=n + 1)),
            fg.Parity(y[::2]),
            fg.Or(y[::3]),
            fg.Table([y[1:], y[:-1]], energies=rng.normal(size=(2, 2))),
        ]
    )


def test_structures_over_many_variables_are_read_slot_by_slot(monkeypatch):
    monkeypatch.setattr(trees, "SMALL_TABLE", 0)
    for seed in range(3):
        graph = wide_graph(np.random.default_rng(seed), 17)
        by_tree, by_table = (fg.marginals(graph, method=m) for m in ("junction_tree", "enumerate"))
        assert shape_of(by_tree._answered.problem.union).chains
        np.testing.assert_allclose(by_tree.log_partition, by_table.log_partition, rtol=1e-12)
        np.testing.assert_allclose(by_tree["y"], by_table["y"], atol=1e-12)
        best = fg.minimize(graph, method="junction_tree")
        assert best.energy == pytest.approx(fg.minimize(graph, method="enumerate").energy, rel=1e-12)
        asked = graph["y"][:4]
        soft = [
            fg.minimize(graph, method=m, asked=asked, latent="marginalize") for m in ("junction_tree", "enumerate")
        ]
        assert soft[0].energy == pytest.approx(soft[1].energy, rel=1e-12)


@pytest.mark.parametrize("beta", [0.6, np.inf])
def test_marginals_of_factors_that_are_read_slot_by_slot(beta, monkeypatch):
    monkeypatch.setattr(trees, "SMALL_TABLE", 0)
    monkeypatch.setattr(parts, "LARGEST_MERGED", 1)
    graph = wide_graph(np.random.default_rng(0), 9)
    given = {graph["y"][4]: 1}
    belief = fg.marginals([graph, graph], [{}, given], method="junction_tree", beta=beta)
    assert shape_of(belief[0]._answered.problem.union).chains
    for found, held in zip(belief, ({}, {("y", 4): 1})):
        expected = brute(graph, held).factor_marginals(beta)
        for position in range(5):
            tables = np.asarray(found.factor_marginals[position])
            size = graph.factors[position].size
            for place, table in enumerate(tables.reshape(size, *tables.shape[len(graph.factors[position].shape) :])):
                np.testing.assert_allclose(table, expected[position, place], atol=1e-11)


def test_marginals_that_are_too_wide_say_what_they_would_take(monkeypatch):
    monkeypatch.setattr(trees, "SMALL_TABLE", 0)
    monkeypatch.setattr(parts, "LARGEST_MERGED", 1)
    monkeypatch.setattr(joints, "LARGEST", 1 << 10)
    belief = fg.marginals(wide_graph(np.random.default_rng(0), 14), method="junction_tree")
    with pytest.raises(fg.WidthTooLargeError, match="over 14 variables would need 131,072 bytes.*joint="):
        belief.factor_marginals[1]


def test_two_hundred_variables_that_are_counted_and_checked():
    graph = wide_graph(np.random.default_rng(0), 200)
    belief = fg.marginals(graph, method="junction_tree")
    best = fg.minimize(graph, method="junction_tree")
    assert best.energy == pytest.approx(fg.energy(graph, best), rel=1e-12)
    assert best["y"][::2].sum() % 2 == 0
    drawn = fg.sample(graph, 20, rng=0, method="junction_tree")["y"]
    assert (drawn[:, ::2].sum(axis=1) % 2 == 0).all()
    assert best.energy - 200 * np.log(2.0) <= -belief.log_partition <= best.energy
    with pytest.raises(fg.MethodError, match="too large"):
        belief.factor_marginals[2]


def test_the_best_paths_of_a_long_chain_are_in_order():
    rng = np.random.default_rng(0)
    y = fg.output("y", shape=300, n_states=4)
    tables = [fg.Table([y], energies=rng.normal(size=(300, 4))), fg.Table([y[1:], y[:-1]], rng.normal(size=(4, 4)))]
    graph = fg.FactorGraph(tables)
    found = fg.k_best(graph, 40)
    energies = [each.energy for each in found]
    assert energies == sorted(energies)
    assert energies[0] == pytest.approx(fg.minimize(graph).energy, rel=1e-12)
    assert len({each["y"].tobytes() for each in found}) == 40
    # The second best differs from the best where forbidding one of its states costs least.
    above = fg.min_marginals(graph)["y"]
    best = found[0]["y"]
    rest = np.where(np.arange(4) == best[:, None], np.inf, above - above.min(axis=1, keepdims=True))
    assert energies[1] - energies[0] == pytest.approx(rest.min(), rel=1e-9)


def test_totals_of_a_tree_are_those_of_its_nodes():
    rng = np.random.default_rng(5)
    graphs = [thin_grid(rng, (2, 7), 3), fg.FactorGraph([], variables=[fg.output("z", shape=3, n_states=2)])]
    for chosen in (graphs, graphs[:1], [fg.FactorGraph([], variables=[fg.output("c", shape=2, n_states=1)])]):
        union = fg.marginals(chosen, method="junction_tree")[0]._answered.problem.union
        tree = shape_of(union).tree
        first, work = tree.component, tree.work
        assert tree.total.work.tolist() == [work[a:b].sum() for a, b in zip(first[:-1], first[1:])]
        assert (tree.total.products, tree.total.widest) == (work.sum(), work.max(initial=1.0))
        assert (tree.total.largest, tree.total.room) == (tree.size.max(initial=1), tree.room.max(initial=0))


def test_where_numbers_lie_is_found_once(monkeypatch):
    """Tables read in place, shared or own, tables of structures, steps of a chain, and constants: then new numbers."""
    y, one = fg.output("y", shape=12, n_states=2), fg.output("one", shape=2, n_states=1)
    cost = fg.Parameter("cost", shape=(2, 2))
    graph = fg.FactorGraph(
        [
            fg.Table([y[1:], y[:-1]], energies=cost),
            fg.Table([y[0], y[11]], energies=[[0.0, 1.0], [2.0, 0.5]]),
            fg.Cardinality(y, energies=np.linspace(0.0, 1.0, 13) ** 2, name="many"),
            fg.AtMostOne(y[:3]),
            fg.Table([one[0], one[1]], energies=[[0.25]]),
        ]
    )
    found = trees._find_places
    calls = []
    monkeypatch.setattr(trees, "_find_places", lambda *a: (calls.append(1), found(*a))[1])
    for seed in range(3):
        energies = np.random.default_rng(seed).normal(size=(2, 2))
        belief = fg.marginals(graph, parameters={"cost": energies}, method="junction_tree")
        expected = fg.marginals(graph, parameters={"cost": energies}, method="enumerate")
        np.testing.assert_allclose(belief.log_partition, expected.log_partition, rtol=1e-12)
        np.testing.assert_allclose(belief["y"], expected["y"], atol=1e-12)
        assert fg.minimize(graph, parameters={"cost": energies}, method="junction_tree").exact
    assert len(calls) <= 1
