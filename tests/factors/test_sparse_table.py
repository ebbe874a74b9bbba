"""SparseTable: listed configurations, given in part, of a few variables and of dozens, and what it refuses."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.sparse
from checks import quietly
from oracle import brute
from same import assert_equal_graphs

import factorgraph_ebm as fg
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.union import compile_union
from factorgraph_ebm.factors.sparse_table import SparseTable
from factorgraph_ebm.graph.declaration import Factor
from factorgraph_ebm.inference.tables import run_of, run_tables


def test_listed_rows_else_otherwise():
    y = fg.output("y", shape=(2, 2), n_states=3)
    rows = [[0, 2], [1, 1]]
    factor = fg.SparseTable([y[:, 0], y[:, 1]], rows, energies=[[0.5, np.inf], [2.0, -1.0]], otherwise=7.0)
    expected = np.full((2, 3, 3), 7.0)
    expected[:, 0, 2], expected[:, 1, 1] = [0.5, 2.0], [np.inf, -1.0]
    np.testing.assert_array_equal(factor.table(), expected)
    np.testing.assert_array_equal(factor.energies({}, np.array([[1, 2], [1, 2]])), [np.inf, 7.0])
    hard = fg.SparseTable(y, [[0, 0, 1, 2]], energies=[3.0])
    assert np.isinf(hard.table()).sum() == 80 and hard.table()[0, 0, 1, 2] == 3.0
    assert hard.otherwise == np.inf and hard.configurations.tolist() == [[0, 0, 1, 2]]
    with pytest.raises(ValueError, match="read-only"):
        hard.configurations[0] = 1


def test_rows_speak_labels(tmp_path):
    """Of several kinds side by side, in and out of a file."""
    tag = fg.output("tag", states=["NOUN", "VERB"])
    spin = fg.output("spin", states=[-1, 1])
    on, number = fg.output("on", states=[False, True]), fg.output("number", n_states=3)
    rows = [["VERB", -1, True, 2], ["NOUN", 1, True, 0], ["NOUN", 1, False, 0]]
    graph = fg.FactorGraph([fg.SparseTable([tag, spin, on, number], rows, [1.0, 0.0, 3.0], name="rule")])
    assert graph.factors[0].configurations.tolist() == [[1, 0, 1, 2], [0, 1, 1, 0], [0, 1, 0, 0]]
    best = fg.minimize(graph, given={"number": 2})
    assert (best["tag"], best["spin"], best["on"], best.energy) == ("VERB", -1, True, 1.0)
    path = tmp_path / "m.fgz"
    fg.write(graph, path)
    assert_equal_graphs(graph, fg.read(path))
    words = fg.output("w", shape=2, states=["a", "b"])
    listed = fg.SparseTable(words, np.array([["a", "b"], ["b", "b"]]), [0.0, 1.0], 2.0)
    np.testing.assert_array_equal(listed.table(), [[2.0, 0.0], [2.0, 1.0]])


@pytest.mark.parametrize("otherwise", [np.inf, 2.0])
def test_files_keep_what_is_constant(otherwise, tmp_path, rng):
    y = fg.output("y", shape=(4, 3), n_states=2)
    graph = fg.FactorGraph([
        fg.SparseTable(y, np.eye(3, dtype=int), rng.normal(size=(4, 3)), otherwise, axis=1),
        fg.TruncatedLinear([y[1:], y[:-1]], rng.exponential(size=(3, 3)), [0.5, np.inf, 2.0]),
    ])  # fmt: skip
    fg.write(graph, tmp_path / "m.fgz")
    again = fg.read(tmp_path / "m.fgz")
    assert_equal_graphs(graph, again)
    for one, two in zip(graph.factors, again.factors, strict=True):
        np.testing.assert_array_equal(one.table(), two.table())


def test_scopes_of_every_form(rng):
    y = fg.output("y", shape=5, n_states=2)
    rows, energies = [[0, 1, 1], [1, 0, 0], [1, 1, 1]], rng.normal(size=(2, 3))
    members = [[0, 1, 2], [4, 1, 3]]
    matrix = scipy.sparse.csr_matrix(([1] * 6, [0, 1, 2, 1, 3, 4], [0, 3, 6]), (2, 5))
    listed = fg.SparseTable(y, rows, energies, members=members)
    along = fg.SparseTable(y[np.array(members)], rows, energies, axis=1)
    paired = fg.SparseTable([y[[0, 4]], y[[1, 1]], y[[2, 3]]], rows, energies)
    unary = fg.Table([y], rng.normal(size=(5, 2)))
    found = [fg.marginals(fg.FactorGraph([f, unary]))["y"] for f in (listed, along, paired)]
    np.testing.assert_allclose(found[1], found[0], atol=1e-14)
    np.testing.assert_allclose(found[2], found[0], atol=1e-14)
    assert fg.SparseTable(y, rows, energies, members=matrix).size == 2
    with pytest.raises(fg.ScopeError, match=r"over 3 variables; members\[1\] has 2"):
        fg.SparseTable(y, rows, energies, members=[[0, 1, 2], [0, 1]])
    empty = fg.SparseTable([y[:0], y[:0]], [[0, 1]], np.zeros((0, 1)))
    assert fg.minimize(fg.FactorGraph([empty], variables=[y])).energy == 0.0


def test_cells_of_fewer_states_lose_rows(rng):
    """Rows that a cell cannot have are no rows of its factor; the numbers of the others stay where they are."""
    y = fg.output("y", shape=(4, 2), n_states=np.array([[3, 3], [2, 3], [3, 2], [2, 2]]))
    rows = np.array([[2, 2], [0, 1], [2, 0], [1, 2], [1, 1]])
    energies = rng.normal(size=(4, 5))
    unary = fg.Table([y], rng.normal(size=(4, 2, 3)))
    for otherwise in (np.inf, 0.3):
        graph = fg.FactorGraph([fg.SparseTable(y, rows, energies, otherwise, axis=1), unary])
        joint = brute(graph)
        assert fg.minimize(graph).energy == pytest.approx(joint.minimum, rel=1e-12)
        assert fg.log_partition(graph) == pytest.approx(joint.log_partition(1.0), rel=1e-12)


def listed_sum(rows, energies, unary, held):
    """Minimum, log Z and marginals of one factor over many two-state variables, row by row."""
    agree = np.array([all(row[v] == s for v, s in held.items()) for row in rows])
    total = energies + sum(unary[v][rows[:, v]] for v in range(rows.shape[1]) if v not in held)
    total = np.where(agree, total, np.inf)
    low = total.min()
    if low == np.inf:
        return np.inf, -np.inf, None
    p = np.exp(low - total)
    on = (p[:, None] * rows).sum(0) / p.sum()
    return low, np.log(p.sum()) - low, on


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.97, 1.0])
def test_thirty_variables_and_fifty_rows(share, rng):
    """Far beyond any table; what is given leaves the rows that agree with it."""
    n, m, groups = 30, 50, 3
    y = fg.output("y", shape=(groups, n), n_states=2)
    rows = np.unique((rng.random((m, n)) < 0.2).astype(int), axis=0)
    energies = rng.normal(size=(groups, len(rows))) * 3
    energies[rng.random(energies.shape) < 0.1] = np.inf
    unary = rng.normal(size=(groups, n, 2))
    graph = fg.FactorGraph([fg.SparseTable(y, rows, energies, axis=1), fg.Table([y], unary)])
    value = np.full((groups, n), -1)
    for g in range(groups):
        held = rng.permutation(n)[: int(share * n + 0.5)]
        value[g, held] = rows[rng.integers(len(rows)), held]
    given = {"y": value}
    expected = []
    for g in range(groups):
        held = {int(v): int(value[g, v]) for v in np.flatnonzero(value[g] >= 0)}
        base = sum(unary[g, v, s] for v, s in held.items())
        low, log_z, on = listed_sum(rows, energies[g], unary[g], held)
        expected.append((low + base, log_z - base, on))
    low, log_z = sum(e[0] for e in expected), sum(e[1] for e in expected)
    if share == 1.0:
        assert fg.energy(graph, {"y": value}) == pytest.approx(low, rel=1e-12)
        return
    best = fg.minimize(graph, given=given)
    if low == np.inf:
        assert best.status is fg.Status.INFEASIBLE
        return
    assert best.exact and best.energy == pytest.approx(low, rel=1e-12)
    assert fg.energy(graph, best) == pytest.approx(best.energy, rel=1e-12)
    assert fg.factor_energies(graph, best)[0].shape == (groups,)
    belief = fg.marginals(graph, given=given)
    assert belief.exact and belief.log_partition == pytest.approx(log_z, rel=1e-12)
    for g in range(groups):
        np.testing.assert_allclose(belief["y"][g, :, 1], expected[g][2], atol=1e-12)


def test_given_in_part_equals_the_table(rng):
    """Just above and below the size from which rows are picked instead of entries of a table; every number of holes."""
    for n, k in [(10, 2), (11, 2), (7, 3), (6, 3)]:
        y = fg.output("y", shape=n, n_states=k)
        rows = rng.integers(0, k, (40, n))
        rows = np.unique(rows, axis=0)[: 2 * n]
        energies = rng.normal(size=len(rows))
        sparse = fg.SparseTable(y, rows, energies)
        unary, pair = fg.Table([y], rng.normal(size=(n, k))), fg.Potts([y[:1], y[1:2]], penalty=0.5)
        mine = fg.FactorGraph([sparse, unary, pair])
        twin = fg.FactorGraph([fg.Table(y, sparse.table()), unary, pair])
        for holes in range(n + 1):
            value = rows[rng.integers(len(rows))].copy()
            value[rng.permutation(n)[:holes]] = -1
            given = {"y": value}
            if not holes:
                a, b = fg.energy(mine, given), fg.energy(twin, given)
                assert a == pytest.approx(b, rel=1e-12)
                continue
            a, b = quietly(fg.marginals, mine, given=given), quietly(fg.marginals, twin, given=given)
            assert a.status == b.status
            np.testing.assert_allclose(a["y"], b["y"], atol=1e-12)
            assert a.log_partition == pytest.approx(b.log_partition, rel=1e-12)
            best, other = quietly(fg.minimize, mine, given=given), quietly(fg.minimize, twin, given=given)
            assert best.energy == pytest.approx(other.energy, rel=1e-12)


def test_sums_inside_minima_over_many_variables(rng):
    """Latents summed out of a minimisation: rows that differ in them only are added up."""
    y, z = fg.output("y", shape=20, n_states=2), fg.latent("z", shape=4, n_states=2)
    outer = np.unique(rng.integers(0, 2, (6, 20)), axis=0)
    rows = np.array([[*a, *b] for a in outer for b in itertools.product([0, 1], repeat=4) if rng.random() < 0.7])
    energies = rng.normal(size=len(rows))
    scope = [*y, *z]
    graph = fg.FactorGraph([fg.SparseTable(scope, rows, energies), fg.Table([y], rng.normal(size=(20, 2)))])
    unary = np.asarray(graph.factors[1].table())
    totals = {}
    for row, energy in zip(rows, energies, strict=True):
        totals.setdefault(tuple(row[:20]), []).append(energy)
    free = {o: -np.log(np.exp(-np.array(e)).sum()) + unary[np.arange(20), o].sum() for o, e in totals.items()}
    expected = min(free, key=free.get)
    best = fg.minimize(graph, latent="marginalize")
    assert tuple(best["y"]) == expected
    assert best.energy == pytest.approx(free[expected], rel=1e-12)


def test_a_gradient_reaches_the_rows_that_agree(rng):
    """What is left of a large factor reads declared numbers, and a gradient goes back to them."""
    n = 24
    y = fg.output("y", shape=n, n_states=2)
    theta = fg.Parameter("theta", shape=5)
    rows = np.unique(rng.integers(0, 2, (40, n)), axis=0)[:5]
    rows[:3, :-2] = rows[0, :-2]
    rows[:3, -2:] = [[0, 1], [1, 1], [1, 0]]
    graph = fg.FactorGraph([fg.SparseTable(y, rows, energies=theta)], variables=[y])
    values = {"theta": rng.normal(size=5)}
    for held in (n - 2, n - 1, n):
        known = np.arange(n) < held
        union = compile_union([Sample(graph, known)])
        states = rows[1].astype(np.int64)
        bound = union.bind([values], states)
        slope = bound._replace(
            unary=np.where(np.isfinite(bound.unary), rng.normal(size=bound.unary.shape), 0.0),
            store=np.where(np.isfinite(bound.store), rng.normal(size=bound.store.shape), 0.0),
        )
        into = {"theta": np.zeros(5)}
        union.pullback([values], states, slope, [into])
        for r in range(5):
            up = {"theta": values["theta"] + 1e-6 * (np.arange(5) == r)}
            moved = union.bind([up], states)
            with np.errstate(invalid="ignore"):
                change = [
                    np.where(s == 0, 0.0, s * (a - b)).sum()
                    for s, a, b in [(slope.unary, moved.unary, bound.unary), (slope.store, moved.store, bound.store)]
                ]
            assert into["theta"][r] == pytest.approx(sum(change) / 1e-6, rel=1e-6, abs=1e-8)


def test_configurations_alike_in_what_is_free_are_one(rng):
    """Of those that differ only in given variables at most one agrees: kernels read one row for all of them."""
    y = fg.output("y", shape=12, n_states=2)
    free = np.unique(rng.integers(0, 2, (5, 9)), axis=0)
    rows = np.array([[*a, *b] for a in free for b in itertools.product([0, 1], repeat=3)])
    factor = fg.SparseTable(y, rows, rng.normal(size=len(rows)))
    for states in itertools.product([0, 1], repeat=3):
        union = compile_union([Sample(fg.FactorGraph([factor]), np.arange(12) >= 9)])
        numbers = union.bind([{}], np.array([*[0] * 9, *states]))
        fields = run_of(union.compiled, 0)
        assert union.layout.kinds == ("SparseTable",)
        assert SparseTable.row_size(fields.states, union.compiled.constants[fields.constant :]) == len(free)
        np.testing.assert_array_equal(run_tables(union, numbers, 0)[0], factor.table()[(..., *states)])


def test_energies_of_assignments_make_no_tables(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a table was made")

    y = fg.output("y", shape=40, n_states=4)
    rows = np.array([np.arange(40) % 4, np.arange(40) // 10])
    graph = fg.FactorGraph([fg.SparseTable(y, rows, [1.0, 2.0])])
    monkeypatch.setattr(fg.SparseTable, "table_map", refuse)
    monkeypatch.setattr(Factor, "bound_table", refuse)
    assert fg.energy(graph, {"y": rows[1]}) == 2.0
    assert fg.energy(graph, {"y": rows[0][::-1]}) == np.inf
    assert fg.factor_energies(graph, {"y": rows[0]})[0] == 1.0
    best = fg.minimize(graph)
    assert best.energy == 1.0 and best.exact
    assert best.messages.to_variable[0][0].tolist() == [0.0, np.inf, np.inf, np.inf]
    assert fg.minimize(graph, given={y[1]: 0}).energy == 2.0


def test_tables_that_would_not_fit_are_refused():
    y = fg.output("y", shape=30, n_states=2)
    rows = np.eye(30, dtype=int)
    with pytest.raises(fg.FactorError, match=r"SparseTable\(y\) is over 30 variables at once"):
        fg.SparseTable(y, rows, np.zeros(30)).table()
    finite = fg.FactorGraph([fg.SparseTable(y, rows, np.zeros(30), otherwise=1.0)])
    with pytest.raises(fg.FactorError, match="tables in its place"):
        fg.minimize(finite)
    assert fg.energy(finite, {"y": np.ones(30, int)}) == 1.0


def test_what_is_refused():
    y, named = fg.output("y", shape=3, n_states=2), fg.output("n", shape=2, states=["a", "b"])
    for rows, message in [
        ([[0, 1, 0], [1, 1, 1], [0, 1, 0]], r"configurations\[0\] and \[2\] of SparseTable\(y\) are the same"),
        ([[0, 1, 0], [1, 2, 1]], r"configurations\[1\] .* gives y the state 2, which has states 0-1"),
        ([[0, -1, 0]], r"the state -1"),
        ([[0.0, 1.0, 0.0]], "column 0 must hold integer states"),
        ([0, 1, 0], r"has shape \(3,\), and must be \(m, 3\)"),
        ([[0, 1], [0, 1, 1]], r"must be \(m, 3\)"),
        (fg.Parameter("p", shape=(2, 3)), "must be an array of states"),
    ]:
        with pytest.raises(fg.FactorError, match=message):
            fg.SparseTable(y, rows, np.zeros(len(rows) if isinstance(rows, list) else 2))
    with pytest.raises(fg.FactorError, match=r"the state 1, which has states 'a', 'b'"):
        fg.SparseTable(named, [["a", 1]], [0.0])
    with pytest.raises(fg.ScopeError, match="are over 2 variables. SparseTable.* is ONE factor over 3 variables"):
        fg.SparseTable(y, [[0, 1]], [0.0])
    with pytest.raises(fg.FactorError, match=r"shape \(3,\), and must end with the number of configurations \(2,\)"):
        fg.SparseTable(y, [[0, 1, 0], [1, 1, 1]], np.zeros(3))
    with pytest.raises(fg.FactorError, match="energies of SparseTable is nan"):
        fg.SparseTable(y, [[0, 1, 0]], [np.nan])
    for otherwise in (np.nan, -np.inf):
        with pytest.raises(fg.FactorError, match="otherwise of SparseTable.* Energies are above -inf"):
            fg.SparseTable(y, [[0, 1, 0]], [0.0], otherwise)
    with pytest.raises(fg.FactorError, match="must be one number"):
        fg.SparseTable(y, [[0, 1, 0]], [0.0], [1.0, 2.0])


def test_no_rows_and_no_variables():
    y = fg.output("y", shape=3, n_states=2)
    nothing = fg.FactorGraph([fg.SparseTable(y, [], np.zeros(0))])
    assert fg.minimize(nothing).status is fg.Status.INFEASIBLE
    assert fg.log_partition(nothing) == -np.inf
    rest = fg.FactorGraph([fg.SparseTable(y, np.zeros((0, 3), int), np.zeros(0), otherwise=1.5)])
    assert fg.minimize(rest).energy == 1.5
    assert fg.log_partition(rest) == pytest.approx(math.log(8) - 1.5)
    constant = fg.FactorGraph([fg.SparseTable([], [[]], [2.5])], variables=[y])
    assert fg.minimize(constant).energy == 2.5


def test_a_variable_twice():
    """Rows that contradict themselves never apply."""
    y = fg.output("y", shape=2, n_states=2)
    graph = fg.FactorGraph([fg.SparseTable([y[0], y[1], y[0]], [[0, 1, 1], [1, 0, 1], [0, 0, 0]], [-9.0, 1.0, 2.0])])
    best = fg.minimize(graph)
    assert best["y"].tolist() == [1, 0] and best.energy == 1.0
    assert fg.log_partition(graph) == pytest.approx(np.log(np.exp(-1.0) + np.exp(-2.0)))


def test_what_is_printed():
    y = fg.output("y", shape=3, n_states=2)
    assert str(fg.SparseTable(y, [[0, 1, 0]], [0.0])) == "SparseTable(y) 1 factor, 1 configurations, energies"
    assert str(fg.SparseTable(y, [[0, 1, 0]], [0.0], 2.0)).endswith("energies, otherwise 2")
