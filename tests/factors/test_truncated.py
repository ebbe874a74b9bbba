"""TruncatedLinear and TruncatedQuadratic: their tables, limits of each factor, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse
from checks import quietly
from oracle import brute

import factorgraph_ebm as fg

BOTH = [(fg.TruncatedLinear, np.positive), (fg.TruncatedQuadratic, np.square)]
both = pytest.mark.parametrize("structure, distance", BOTH, ids=["linear", "quadratic"])


def table_of(distance, k, weight, limit):
    steps = distance(abs(np.subtract.outer(np.arange(float(k)), np.arange(k))))
    reach = np.minimum(steps, limit)
    return np.where(reach == 0, 0.0, weight * np.where(reach == 0, 1.0, reach))


@both
def test_tables_grow_with_the_distance_up_to_the_limit(structure, distance):
    y = fg.output("y", shape=4, n_states=5)
    weight, limit = np.array([2.0, np.inf, 0.0]), np.array([2.5, 1.0, np.inf])
    factor = structure([y[1:], y[:-1]], weight, limit)
    assert (factor.size, factor.kind) == (3, structure.__name__)
    for table, w, most in zip(factor.table(), weight, limit, strict=True):
        np.testing.assert_array_equal(table, table_of(distance, 5, w, most))
    states = np.array([[0, 4, 1], [4, 4, 2]])
    expected = [t[tuple(s)] for t, s in zip(factor.table(), states.T, strict=True)]
    np.testing.assert_array_equal(factor.energies({}, states), expected)
    for w, most in [(1.5, 0.0), (np.inf, 0.0), (np.inf, np.inf)]:
        table = structure([y[0], y[1]], w, most).table()
        np.testing.assert_array_equal(table, table_of(distance, 5, w, most))


@both
def test_states_are_counted_whatever_their_labels(structure, distance):
    y = fg.output("y", shape=2, states=[10.0, -3.0, 0.5])
    np.testing.assert_array_equal(structure(y, 1.0, 9.0).table(), table_of(distance, 3, 1.0, 9.0))


@both
def test_edge_lists_and_members_say_the_same(structure, distance):
    y = fg.output("y", shape=4, n_states=[3, 3, 4, 4])
    edges = np.array([[0, 1], [2, 3], [3, 2]])
    weight, limit = [1.0, 2.0, 3.0], [0.5, 3.0, 1.0]
    matrix = scipy.sparse.csr_matrix(([1] * 4, [0, 1, 2, 3], [0, 2, 4]), (2, 4))
    one = structure(y[edges], weight, limit, axis=1)
    two = structure(y, weight, limit, members=edges.tolist())
    three = structure(y, weight[:2], limit[:2], members=matrix)
    states = np.array([2, 0, 1, 3])
    expected = [table_of(distance, 4, w, m)[tuple(states[e])] for w, m, e in zip(weight, limit, edges, strict=True)]
    np.testing.assert_array_equal(one.energies({}, states[edges].T), expected)
    np.testing.assert_array_equal(two.energies({}, states[edges].ravel()), expected)
    np.testing.assert_array_equal(three.energies({}, states[edges[:2]].ravel()), expected[:2])
    for table, k, w, m in zip(two.table(), (3, 4, 4), weight, limit, strict=True):
        np.testing.assert_array_equal(table, table_of(distance, k, w, m))
    for factor in (one, two, three):
        assert_answers(fg.FactorGraph([factor, fg.Table([y], np.random.default_rng(0).normal(size=(4, 4)))]))


def assert_answers(graph, given=None, known=None):
    joint = brute(graph, known or {}, {})
    best = quietly(fg.minimize, graph, given=given)
    assert fg.energy(graph, best) == best.energy
    if best.exact:
        assert best.energy == pytest.approx(joint.minimum, rel=1e-12)
    belief = quietly(fg.marginals, graph, given=given)
    if belief.exact:
        assert belief.log_partition == pytest.approx(joint.log_partition(1.0), rel=1e-12)
    return best, belief


@both
@pytest.mark.parametrize("how", ["scalar", "each", "rows", "equal"])
def test_limits_of_each_factor(structure, distance, how, rng):
    """Factors with different limits are compiled apart, also where cells are given, and answer as their tables."""
    y = fg.output("y", shape=(2, 5), n_states=4)
    limit = {
        "scalar": 1.5,
        "each": rng.choice([0.0, 1.0, 1.5, np.inf], (2, 4)),
        "rows": np.array([[0.5], [4.0]]),
        "equal": np.full((2, 4), 2.0),
    }[how]
    weight = rng.exponential(size=(2, 4))
    pair = [y[:, 1:], y[:, :-1]]
    factor = structure(pair, weight, limit)
    unary = fg.Table([y], rng.normal(size=(2, 5, 4)))
    each = np.broadcast_to(limit, (2, 4))
    tables = [[table_of(distance, 4, weight[i, j], each[i, j]) for j in range(4)] for i in range(2)]
    np.testing.assert_array_equal(factor.table(), tables)
    mine, twin = fg.FactorGraph([factor, unary]), fg.FactorGraph([fg.Table(pair, tables), unary])
    for given in ({}, {y[0, 2]: 3}, {y[1, 0]: 1, y[1, 2]: 2}, {y[1]: [3, 2, 1, 0, 0]}):
        a, b = fg.marginals(mine, given=given), fg.marginals(twin, given=given)
        np.testing.assert_allclose(a["y"], b["y"], atol=1e-13)
        assert a.log_partition == pytest.approx(b.log_partition, rel=1e-13)
        np.testing.assert_allclose(a.factor_marginals[0], b.factor_marginals[0], atol=1e-13)
        best = fg.minimize(mine, given=given)
        assert best.energy == pytest.approx(fg.minimize(twin, given=given).energy, rel=1e-13)
        states = np.array(best["y"])
        np.testing.assert_array_equal(
            fg.factor_energies(mine, {"y": states})[0],
            [[tables[i][j][states[i, j + 1], states[i, j]] for j in range(4)] for i in range(2)],
        )


@both
def test_graphs_that_differ_in_a_limit_are_not_confused(structure, distance):
    """The limit is part of the declaration that compiled graphs are kept by."""
    y = fg.output("y", shape=2, n_states=6)
    unary = fg.Table([y], [[0, 9, 9, 9, 9, 9], [9, 9, 9, 9, 9, 0]])
    graphs = [fg.FactorGraph([structure(y, 1.0, limit), unary]) for limit in (1.0, 2.0, [[3.0]][0][0], np.inf)]
    assert len({graph.key for graph in graphs}) == 4
    expected = [min(distance(5.0), limit, 9.0) for limit in (1.0, 2.0, 3.0, np.inf)]
    assert [fg.minimize(graph).energy for graph in graphs] == expected
    assert [best.energy for best in fg.minimize(graphs)] == expected


@both
def test_a_variable_twice_and_one_state(structure, distance):
    y = fg.output("y", shape=3, n_states=3)
    single = fg.output("s", shape=2, n_states=1)
    graph = fg.FactorGraph([structure([y[0], y[0]], 5.0, 2.0), structure(single, 3.0, 1.0), structure(y[:2], 1.0, 1.0)])
    best = fg.minimize(graph)
    assert best.energy == 0.0 and best.exact
    assert fg.log_partition(graph) == pytest.approx(math.log(9 * np.exp(-table_of(distance, 3, 1.0, 1.0)).mean() * 3))


@both
def test_no_factors(structure, distance):
    y = fg.output("y", shape=1, n_states=3)
    factor = structure([y[1:], y[:-1]], np.zeros(0), np.zeros(0))
    assert factor.table().shape == (0, 3, 3)
    assert fg.minimize(fg.FactorGraph([factor], variables=[y])).energy == 0.0


@both
def test_negative_weights_are_refused_by_name(structure, distance):
    y = fg.output("y", shape=4, n_states=3)
    pair = [y[1:], y[:-1]]
    with pytest.raises(fg.FactorError, match=rf"weight of {structure.__name__}\(y, y\) is -1 at \[1\].*at least 0"):
        structure(pair, [0.0, -1.0, 2.0], 1.0)
    lam = fg.Parameter("lam", shape=1)
    features = np.array([[1.0], [2.0], [0.5]])
    graph = fg.FactorGraph([structure(pair, fg.Linear(features, lam), 1.0)])
    assert fg.minimize(graph, parameters={"lam": [2.0]}).energy == 0.0
    for ask in (fg.minimize, fg.marginals):
        with pytest.raises(fg.FactorError, match=r'is -2 at \[0\], from "lam".*bounds=\(0, np.inf\)'):
            ask(graph, parameters={"lam": [-2.0]})
    for read in (
        lambda: graph.factors[0].table({"lam": [-2.0]}),
        lambda: fg.energy(graph, {"y": [0, 1, 2, 0]}, parameters={"lam": [-2.0]}),
        lambda: fg.factor_energies(graph, {"y": [0, 1, 2, 0]}, parameters={"lam": [-2.0]}),
    ):
        with pytest.raises(fg.FactorError, match='from "lam"'):
            read()
    weight = fg.observed("w", shape=3, dim=())
    observed = fg.FactorGraph([structure(pair, weight, 1.0)])
    with pytest.raises(fg.FactorError, match=r'is -1e-09 at \[2\], from "w"'):
        fg.minimize(observed, given={"w": [0.0, 1.0, -1e-9]})


@both
def test_what_is_refused(structure, distance):
    y, named = fg.output("y", shape=3, n_states=2), fg.output("n", shape=3, states=["a", "b"])
    pair = [y[1:], y[:-1]]
    for limit in (fg.Parameter("m", shape=2), fg.Linear(np.ones((2, 1)), fg.Parameter("m", shape=1))):
        with pytest.raises(fg.FactorError, match="limit of .* must be an array of constants"):
            structure(pair, 1.0, limit)
    for limit, message in [
        (-1.0, r"is -1\.0: a limit is at least 0"),
        ([1.0, -0.5], r"is -0\.5 at \[1\]"),
        (np.nan, "limit of .* is nan"),
        (np.ones(3), r"\(3,\) does not broadcast to the group shape \(2,\)"),
    ]:
        with pytest.raises(fg.FactorError, match=message):
            structure(pair, 1.0, limit)
    with pytest.raises(fg.FactorError, match="weight of .* is nan"):
        structure(pair, np.nan, 1.0)
    with pytest.raises(fg.FactorError, match="does not broadcast"):
        structure(pair, np.ones(3), 1.0)
    with pytest.raises(fg.VariableError, match="one domain"):
        structure([y, named], 1.0, 1.0)
    with pytest.raises(fg.ScopeError, match="ONE factor over 3 variables"):
        structure(y, 1.0, 1.0)
    big = fg.output("big", shape=2, n_states=2000)
    unlimited = fg.FactorGraph([structure(big, 1e304, np.inf)])
    with pytest.raises(fg.FactorError, match="could overflow"):
        fg.minimize(unlimited)


@both
def test_what_is_printed(structure, distance):
    y = fg.output("y", shape=3, n_states=2)
    one = fg.FactorGraph([structure([y[1:], y[:-1]], 1.0, 2.0, name="smooth")])
    assert str(one) == f"smooth  {structure.__name__}(y, y) 2 factors, weight, limit 2"
    assert str(structure([y[1:], y[:-1]], [1.0, 2.0], [2.0, 1.0])).endswith("weight, 2 rows, limit of each")


@both
@pytest.mark.parametrize("k", [2, 5, 40, 300])
def test_chains_of_many_states(structure, distance, k, rng):
    """Forward in plain numpy: minimum and sum along a chain, narrow and wide limits, weights of each."""
    n = 30
    y = fg.output("y", shape=n, n_states=k)
    unary, weight = rng.normal(size=(n, k)) * 3, rng.exponential(size=n - 1)
    for limit in (0.7, 3.5, float(distance(k // 2)), np.inf):
        forward, least, shift = np.exp(-unary[0]), unary[0], 0.0
        for t in range(1, n):
            table = table_of(distance, k, weight[t - 1], limit)
            forward = (forward @ np.exp(-table)) * np.exp(-unary[t])
            shift, forward = shift + np.log(forward.sum()), forward / forward.sum()
            least = (least[:, None] + table).min(0) + unary[t]
        graph = fg.FactorGraph([structure([y[:-1], y[1:]], weight, limit), fg.Table([y], unary)])
        belief, best = fg.marginals(graph), fg.minimize(graph)
        assert best.exact and belief.exact
        assert best.energy == pytest.approx(least.min(), rel=1e-12)
        assert belief.log_partition == pytest.approx(shift, rel=1e-12)
        np.testing.assert_allclose(belief["y"][-1], forward, atol=1e-12)
