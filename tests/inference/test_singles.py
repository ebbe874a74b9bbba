"""Tables in single precision, `dtype="float32"`: what it may cost, what it may not, and who is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import factorgraph_ebm as fg
from factorgraph_ebm import Status
from factorgraph_ebm import arrays as a
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.schedules import flooding, sequential
from factorgraph_ebm.compiler.union import compile_union
from factorgraph_ebm.factors.pair_kernels import pair_min_single
from factorgraph_ebm.inference import singles
from factorgraph_ebm.inference.passing import Passing
from factorgraph_ebm.inference.singles import Singles, gaining

pytestmark = pytest.mark.filterwarnings("ignore::factorgraph_ebm.ConvergenceWarning")

OPTIONS = {"method": "bp", "max_iterations": 20}
BOTH = Passing, Singles
LARGEST = float(np.finfo(np.float32).max)


@pytest.fixture
def always(monkeypatch):
    """Graphs of any size have their tables read in single precision."""
    monkeypatch.setattr(singles, "MANY", 1)
    monkeypatch.setattr(singles, "WIDE", 1)


def own(rng, size, n_states, forbidden=0.0, scale=1.0, rounded=False):
    """A grid with a table for each edge; `rounded` to single precision or not."""
    y = fg.output("y", shape=(size, size), n_states=n_states)
    down = scale * rng.normal(size=(size - 1, size, n_states, n_states)).clip(-4.5, 4.5)
    right = scale * rng.normal(size=(size, size - 1, n_states, n_states)).clip(-4.5, 4.5)
    for table in (down, right):
        table[rng.random(table.shape) < forbidden] = np.inf
    unary = fg.Table([y], energies=rng.normal(size=(size, size, n_states)))
    if rounded:
        down, right = (table.astype(np.float32).astype(float) for table in (down, right))
    return fg.FactorGraph([unary, fg.Table([y[:-1], y[1:]], down), fg.Table([y[:, :-1], y[:, 1:]], right)])


def many_kinds(rng, size):
    """Own tables, a shared one, tables by turns, other structures, wider tables, and one of two states."""
    y = fg.output("y", shape=(size, size), n_states=9)
    z = fg.output("z", shape=(size, size), n_states=3)
    x = fg.output("x", shape=size, n_states=2)
    by_turns = rng.normal(size=(3, 9, 3))
    tables = rng.normal(size=(size - 1, size, 9, 9))
    tables[rng.random(tables.shape) < 0.02] = np.inf
    return fg.FactorGraph(
        [
            fg.Table([y], energies=rng.normal(size=(size, size, 9))),
            fg.Table([y[:-1], y[1:]], energies=tables),
            fg.Table([y[:, :-1], y[:, 1:]], energies=rng.normal(size=(9, 9))),
            fg.Table([y, z], energies=by_turns[rng.integers(3, size=(size, size))]),
            fg.Potts([z[:-1], z[1:]], penalty=rng.normal(size=(size - 1, size))),
            fg.Table([x[:-1], x[1:]], energies=rng.normal(size=(size - 1, 2, 2))),
            fg.Table([x, y[0], z[0]], energies=rng.normal(size=(size, 2, 9, 3))),
        ]
    )


def after_sweeps(form, graph, sweeps, known=None, damping=0.0, order=sequential):
    union = compile_union([Sample(graph, known)])
    numbers = union.bind([{}], np.zeros(graph.n_cells, np.int64))
    passing = form(union.layout, numbers, minimize=True, repeated=True)
    steps = order(passing.layout, passing.operators)
    for _ in range(sweeps):
        passing.run(steps, 0, len(steps.kernel), damping)
    return passing


@pytest.mark.parametrize("order", [sequential, flooding])
def test_only_entries_are_rounded(order):
    """Messages are those of a graph whose entries were declared in single precision, to the last bit."""
    for n_states in (5, 16, 23, 40):
        graph, rounded = (own(np.random.default_rng(7), 5, n_states, 0.02, rounded=r) for r in (False, True))
        single = after_sweeps(Singles, graph, 5, damping=0.25, order=order)
        double = after_sweeps(Passing, rounded, 5, damping=0.25, order=order)
        assert_array_equal(single.to_variable, double.to_variable)
        assert_array_equal(single.to_factor, double.to_factor)


@pytest.mark.parametrize("damping", [0.0, 0.25])
def test_messages_lose_no_more_than_entries_and_what_came_in(damping, rng):
    """Spreads of errors: at most 2 2^-24 |T| from the table, and those of the three messages that came in."""
    graph = own(rng, 6, 7, scale=10.0)
    entry = 45.0 * 2.0**-24  # four and a half deviations: no entry is larger
    spread = 0.0
    for sweeps in (1, 2, 3, 4, 5):
        spread = 2 * entry + 3 * spread
        double, single = (after_sweeps(form, graph, sweeps, damping=damping, order=flooding) for form in BOTH)
        error = np.abs(single.to_variable - double.to_variable).max()
        assert 0 < error <= spread + 1e-12


@pytest.mark.parametrize("mirrors", [True, False])
@pytest.mark.parametrize("given_cells", [False, True])
def test_structures_beside_such_tables_read_their_own_numbers(given_cells, mirrors, monkeypatch, rng):
    if not mirrors:
        monkeypatch.setattr(singles, "LARGEST", 0)
    graph = many_kinds(rng, 5)
    known = np.zeros(graph.n_cells, bool)
    known[graph.cell_offset["x"] :][: 5 * given_cells] = True  # cuts strides: a part of a wider table
    for sweeps in (1, 2, 3):
        double, single = (after_sweeps(form, graph, sweeps, known, 0.25) for form in BOTH)
        assert pair_min_single in single.operators.kernels
        assert pair_min_single not in double.operators.kernels
        finite = np.isfinite(double.to_variable)
        assert_array_equal(np.isfinite(single.to_variable), finite)
        assert_allclose(single.to_variable[finite], double.to_variable[finite], atol=1e-5, rtol=0)
        assert (single.to_variable[finite] != double.to_variable[finite]).any()


def test_tables_are_rounded_and_mirrored_once_each(rng):
    y = fg.output("y", shape=(4, 4), n_states=3)
    tables = rng.normal(size=(3, 1, 3, 3))  # one for each row of the grid
    passing = after_sweeps(Singles, fg.FactorGraph([fg.Table([y[:-1], y[1:]], energies=tables)]), 0)
    store = passing.store.view(np.float32)
    assert len(store) == 2 * 27 + len(store) % 2
    field, start, number, *_ = passing.runs
    found = set()
    for row in np.split(field, start[1:-1]):
        places = number[row[a.RUN_FACTOR] : row[a.RUN_FACTOR] + row[a.RUN_SIZE]]
        for place in [int(row[a.RUN_SHARED])] if row[a.RUN_SHARED] >= 0 else places.tolist():
            table = store[place : place + 9].reshape(3, 3)
            assert_array_equal(store[place + row[a.RUN_MIRROR] :][:9].reshape(3, 3), table.T)
            found.add(table.tobytes())
    each = tables[:, 0].astype(np.float32)
    assert found <= {t.tobytes() for t in each} | {np.ascontiguousarray(t.T).tobytes() for t in each}
    assert len(found) == 3


def test_what_is_too_large_stays_allowed_and_what_is_forbidden_stays_forbidden(rng):
    y = fg.output("y", shape=(2, 2), n_states=3)
    table = np.array([[1e300, np.inf, -1e300], [0.0, 1e-300, LARGEST], [4e38, -4e38, 1.0 + 2.0**-30]])
    passing = after_sweeps(Singles, fg.FactorGraph([fg.Table([y[:-1], y[1:]], energies=table)]), 0)
    expected = [[LARGEST, np.inf, -LARGEST], [0.0, 0.0, LARGEST], [LARGEST, -LARGEST, 1.0]]
    assert_array_equal(passing.store.view(np.float32)[:9].reshape(3, 3), np.float32(expected))


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("schedule", ["sequential", "flooding", "residual"])
@pytest.mark.parametrize("forbidden", [0.0, 0.3])
def test_answers_are_of_the_numbers_as_declared(schedule, forbidden, rng):
    for _ in range(5):
        graph = own(rng, 3, 3, forbidden)
        exact = fg.minimize(graph, method="enumerate")
        best = fg.minimize(graph, schedule=schedule, dtype="float32", **OPTIONS)
        if exact.status is Status.INFEASIBLE:
            assert best.energy == np.inf
            continue
        assert best.status is not Status.INFEASIBLE
        assert exact.energy <= best.energy + 1e-12
        assert best.lower_bound <= exact.energy + 1e-12
        if np.isfinite(best.energy):
            assert best.energy == pytest.approx(fg.energy(graph, {"y": best["y"]}), abs=1e-12)
        if best.status is Status.OPTIMAL:
            assert best.energy == pytest.approx(exact.energy, abs=1e-12)


@pytest.mark.usefixtures("always")
def test_huge_entries_decide_as_they_do_in_double_precision(rng):
    y = fg.output("y", shape=(3, 3), n_states=3)
    tables = rng.choice([1e300, 0.0, 1.0, np.inf], size=(3, 2, 3, 3))
    tables[..., 0, 0] = 2.0
    unary = fg.Table([y], energies=rng.normal(size=(3, 3, 3)))
    graph = fg.FactorGraph([unary, fg.Table([y[:-1], y[1:]], tables[0, 0]), fg.Table([y[:, :-1], y[:, 1:]], tables)])
    exact = fg.minimize(graph, method="enumerate").energy
    best = fg.minimize(graph, dtype="float32", damping=0.5, **OPTIONS)
    assert exact - 1e-9 <= best.energy < 1e300
    assert best.lower_bound <= exact + 1e-9


def test_large_graphs_gain_and_others_are_left_alone(rng):
    def gains(*graphs):
        return gaining(compile_union([Sample(graph, None) for graph in graphs]).layout).tolist()

    large = own(rng, 12, 24)
    y = fg.output("y", shape=(30, 30), n_states=16)
    shared = fg.FactorGraph([fg.Table([y[:-1], y[1:]], energies=rng.normal(size=(16, 16)))])
    narrow = own(rng, 40, 8)
    small = own(rng, 5, 16)
    for graph, wanted in [(large, True), (shared, False), (narrow, False), (small, False), (own(rng, 9, 2), False)]:
        assert gains(graph) == [wanted]
    assert gains(large, shared, narrow, small) == [True, False, False, False]


def test_who_is_left_alone_gets_the_same_answer(rng):
    chain = fg.output("y", shape=40, n_states=20)
    forest = fg.FactorGraph([fg.Table([chain[:-1], chain[1:]], energies=rng.normal(size=(39, 20, 20)))])
    large = own(rng, 12, 24)
    for graph in (forest, own(rng, 4, 3)):
        alone = fg.minimize(graph, **OPTIONS)
        beside = fg.minimize([graph, large], dtype="float32", **OPTIONS)[0]
        assert (alone.energy, alone.status, alone.residual) == (beside.energy, beside.status, beside.residual)
        assert_array_equal(alone["y"], beside["y"])


def test_what_does_not_minimise_refuses_single_precision(rng):
    large = own(rng, 12, 24)
    summed = [fg.marginals(large, dtype=d, **OPTIONS)["y"] for d in ("float64", None)]
    assert_array_equal(*summed)
    for ask in (fg.marginals, fg.log_partition, fg.steps):
        with pytest.raises(fg.MethodError, match='double precision: dtype="float32" serves minimize alone'):
            ask(large, dtype="float32")
    one = fg.FactorGraph([fg.Table([fg.output("y", shape=2, n_states=2)], energies=[0.0, 1.0])])
    with pytest.raises(fg.MethodError, match="marginals reads all tables in double precision"):
        fg.marginals(one, dtype="float32")


@pytest.mark.usefixtures("always")
def test_an_answer_does_not_depend_on_what_it_was_asked_with(rng):
    y = fg.output("y", shape=(6, 6), n_states=5)
    shared = [
        fg.FactorGraph(
            [fg.Table([y], rng.normal(size=(6, 6, 5))), fg.Table([y[:-1], y[1:]], rng.normal(size=(5, 6, 5, 5)))]
            + [fg.Table([y[:, :-1], y[:, 1:]], rng.normal(size=(5, 5)))]
        )
        for _ in range(3)
    ]
    together = fg.minimize(shared, dtype="float32", **OPTIONS)
    for graph, found in zip(shared, together):
        alone = fg.minimize(graph, dtype="float32", **OPTIONS)
        assert (alone.energy, alone.residual) == (found.energy, found.residual)
        assert_allclose(alone.lower_bound, found.lower_bound, rtol=1e-12)
        assert_array_equal(alone["y"], found["y"])


def test_threads_change_nothing(rng):
    graph = own(rng, 24, 16)
    one, two = (fg.minimize(graph, dtype="float32", threads=t, **OPTIONS) for t in (1, 2))
    assert_array_equal(one["y"], two["y"])
    assert_array_equal(one.trace["residual"], two.trace["residual"])
    double = fg.minimize(graph, **OPTIONS)
    assert one.trace["residual"][0] != double.trace["residual"][0]
    assert_allclose(one.trace["residual"][0], double.trace["residual"][0], rtol=1e-5)


def test_a_former_answer_is_where_the_next_begins(rng):
    graph = own(rng, 12, 16, scale=0.05)
    first = fg.minimize(graph, method="bp", dtype="float32")
    again = fg.minimize(graph, method="bp", dtype="float32", start=first)
    assert first.status is Status.CONVERGED and again.status is Status.CONVERGED
    assert again.iterations < first.iterations
    double = fg.minimize(graph, method="bp", start=first)
    assert_allclose(double.energy, first.energy, atol=1e-9)
    assert_array_equal(double["y"], first["y"])


@pytest.mark.usefixtures("always")
def test_stopping_where_nothing_is_violated(rng):
    graph = own(rng, 5, 4, forbidden=0.2)
    best = fg.minimize(graph, method="bp", stop="feasible", dtype="float32")
    assert best.status is Status.FEASIBLE and np.isfinite(best.energy)


@pytest.mark.parametrize("value", ["float16", "single", 32, np.float32, True])
def test_other_precisions_are_refused(value, rng):
    with pytest.raises(fg.MethodError, match=r"dtype= .*'float64', 'float32' or None"):
        fg.minimize(own(rng, 3, 3), method="bp", dtype=value)
    with pytest.raises(fg.MethodError, match='Did you mean "float32"'):
        fg.minimize(own(rng, 3, 3), method="bp", dtype="float 32")
