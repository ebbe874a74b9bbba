"""Message passing as a whole: what one iteration does, where it comes to rest, what is read off."""

from __future__ import annotations

import numpy as np
import pytest
from bound import bind, passing_of
from dense import message, soft_minimum
from oracle import brute

import factorgraph_ebm as fg
from factorgraph_ebm.compiler.schedules import flooding, sequential
from factorgraph_ebm.inference.energies import assignment_energies
from factorgraph_ebm.inference.firing import Firing
from factorgraph_ebm.inference.passing import Passing
from factorgraph_ebm.inference.tables import run_of, run_tables, scope_of


class Book:
    """Flooding by the book over the dense tables of a compiled union: {(run, slot): rows (n, K)}."""

    def __init__(self, union, numbers, *, minimize):
        compiled = union.compiled
        self.runs = [run_of(compiled, r) for r in range(len(union.layout.kinds))]
        self.scopes = [scope_of(compiled, run) for run in self.runs]
        self.tables = [run_tables(union, numbers, r) for r in range(len(self.runs))]
        start = compiled.variable_start.astype(int)
        self.unary = [numbers.unary[a:b] for a, b in zip(start[:-1], start[1:])]
        self.soft = [s == 1 if minimize else True for s in compiled.variable_soft]
        self.to_variable = {
            (r, s): np.zeros((run.size, k)) for r, run in enumerate(self.runs) for s, k in enumerate(run.states)
        }
        self.to_factor = self.sent()

    def sent(self):
        belief = [np.zeros_like(u) for u in self.unary]
        inbox = [[] for _ in self.unary]
        for (r, s), rows in self.to_variable.items():
            for f, v in enumerate(self.scopes[r][s]):
                inbox[v].append((r, s, f, rows[f]))
        found = {key: np.empty_like(rows) for key, rows in self.to_variable.items()}
        for v, received in enumerate(inbox):
            for i, (r, s, f, _) in enumerate(received):
                belief = sum((row for j, (*_, row) in enumerate(received) if j != i), self.unary[v])
                found[r, s][f] = belief - min(belief.min(), 1e308)
        return found

    def iterate(self, damping):
        change = 0.0
        for (r, s), former in list(self.to_variable.items()):
            incoming = [self.to_factor[r, t] for t in range(self.runs[r].arity)]
            # All factors of a run sum over the same slots.
            summed = [self.soft[v] for v in self.scopes[r][:, 0]]
            new = message(self.tables[r], incoming, s, summed).astype(float)
            new -= np.minimum(new.min(1, keepdims=True), 1e308)
            with np.errstate(invalid="ignore"):
                change = max(change, np.where(new == former, 0.0, np.abs(new - former)).max())
                mixed = damping * former + (1 - damping) * new
            both = np.isfinite(former) & np.isfinite(new)
            self.to_variable[r, s] = np.where(both, mixed, new) if damping else new
        self.to_factor = self.sent()
        return change


def drawn_graph(rng, *, forbidden=0.0):
    """Two states, three and sixteen; pairs of both kinds of table, Potts, Product, three-way factors, a hub."""
    x = fg.output("x", shape=(20, 20), n_states=2)
    y = fg.output("y", shape=8, n_states=3)
    z = fg.output("z", shape=5, n_states=16)

    def energies(*shape):
        found = rng.normal(size=shape)
        found[rng.random(shape) < forbidden] = np.inf
        return found

    return fg.FactorGraph(
        [
            fg.Table([x], energies=energies(20, 20, 2)),
            fg.Table([x[1:], x[:-1]], energies=energies(2, 2)),  # 380 factors: more than one block
            fg.Potts([x[:, 1:], x[:, :-1]], penalty=energies(20, 19)),
            fg.Table([x[0, :8], y], energies=energies(8, 2, 3)),
            fg.Table([y[1:-1], y[2:], y[:-2]], energies=energies(6, 3, 3, 3)),
            fg.Product([z[1:], z[:-1]], weight=rng.normal(size=4) / 50),
            fg.Potts([z[1:], z[:1]], penalty=energies(4)),
            fg.Table([y[:1], z], energies=energies(3, 16)),
        ]
    )


def check_rows(passing, book):
    for (r, s), rows in book.to_variable.items():
        run = book.runs[r]
        at = slice(run.messages[s], run.messages[s] + rows.size)
        for found, expected in ((passing.to_variable, rows), (passing.to_factor, book.to_factor[r, s])):
            np.testing.assert_allclose(found[at].reshape(rows.shape), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("damping", [0.0, 0.4])
@pytest.mark.parametrize("forbidden", [0.0, 0.05])
@pytest.mark.parametrize("question", ["min", "sum", "mixed"])
def test_three_iterations_of_flooding_equal_the_book(question, forbidden, damping, rng):
    graph = drawn_graph(rng, forbidden=forbidden)
    soft = [graph["y"][::2], graph["x"][3:]] if question == "mixed" else []
    union, numbers = bind(graph, soft=soft)
    minimize = question != "sum"
    passing = Passing(union.layout, numbers, minimize=minimize)
    book = Book(union, numbers, minimize=minimize)
    steps = flooding(union.layout, passing.operators)
    check_rows(passing, book)
    for _ in range(3):
        moved = passing.run(steps, 0, int(steps.start[-1]), damping)
        expected = book.iterate(damping)
        assert moved == pytest.approx(expected, rel=1e-9)
        check_rows(passing, book)


def until_rest(passing, schedule, damping, tolerance=1e-12, limit=3000):
    layout = passing.layout
    if schedule == "residual":
        firing = Firing(passing, 0, damping, tolerance)
        for _ in range(limit):
            if firing.iterate(1)[-1] <= tolerance:
                firing.settle()
                return
    else:
        steps = {"sequential": sequential, "flooding": flooding}[schedule](layout, passing.operators)
        for _ in range(limit):
            if passing.run(steps, 0, int(steps.start[-1]), damping) <= tolerance:
                return
    raise AssertionError(f"{schedule} does not come to rest")


def small_loop(seed):
    """A grid with weak couplings, one ternary factor and one three-state corner: one fixed point of sum-product."""
    rng = np.random.default_rng(seed)
    y = fg.output("y", shape=(4, 5), n_states=2)
    z = fg.output("z", shape=2, n_states=3)
    return fg.FactorGraph(
        [
            fg.Table([y], energies=rng.normal(size=(4, 5, 2))),
            fg.Table([z], energies=rng.normal(size=(2, 3))),
            fg.Potts([y[1:], y[:-1]], penalty=rng.normal(size=(3, 5)) / 3),
            fg.Table([y[:, 1:], y[:, :-1]], energies=rng.normal(size=(4, 4, 2, 2)) / 3),
            fg.Table([y[0, 0], z[0], z[1]], energies=rng.normal(size=(2, 3, 3)) / 3),
            fg.Table([y[3, 4], z[0]], energies=rng.normal(size=(2, 3)) / 3),
        ]
    )


@pytest.mark.parametrize("seed", range(5))
def test_every_schedule_comes_to_rest_in_one_place(seed):
    graph = small_loop(seed)
    found = {}
    for schedule in ("sequential", "flooding", "residual"):
        for damping in (0.0, 0.5):
            passing = passing_of(graph, minimize=False)
            until_rest(passing, schedule, damping)
            passing.send()
            belief = passing.beliefs()
            found[schedule, damping] = np.append(passing.probabilities(belief), passing.free_energies(belief))
    first = found.pop(("sequential", 0.0))
    for other in found.values():
        np.testing.assert_allclose(other, first, atol=1e-10)


@pytest.mark.parametrize("schedule", ["sequential", "flooding", "residual"])
def test_min_sum_at_rest_is_at_rest_for_every_schedule(schedule):
    """Min-sum may have several fixed points; each belongs to all schedules."""
    rested = 0
    for seed in range(10):
        passing = passing_of(small_loop(seed), minimize=True)
        try:
            until_rest(passing, schedule, 0.5, limit=500)
        except AssertionError:
            continue
        rested += 1
        before = passing.to_variable.copy()
        passing.send()
        steps = flooding(passing.layout, passing.operators)
        assert passing.run(steps, 0, int(steps.start[-1]), 0.0) <= 1e-9
        np.testing.assert_allclose(passing.to_variable, before, atol=1e-9)
    assert rested >= 5


def logsum(rows):
    return soft_minimum(rows, (rows.ndim - 1,))


def test_chain_of_ten_thousand_with_energies_of_ten_thousand(rng):
    """Against recursions in extended precision: log Z, marginals, the minimum and where it is."""
    n, k = 10_000, 3
    unary, pair = rng.uniform(-1e4, 1e4, (n, k)), rng.uniform(-1e4, 1e4, (n - 1, k, k))
    y = fg.output("y", shape=n, n_states=k)
    graph = fg.FactorGraph([fg.Table([y], energies=unary), fg.Table([y[:-1], y[1:]], energies=pair)])
    union, numbers = bind(graph)
    exact, table = unary.astype(np.longdouble), pair.astype(np.longdouble)

    up, best = [exact[0]], [exact[0]]
    for i in range(1, n):
        up.append(logsum((up[-1][:, None] + table[i - 1]).T) + exact[i])
        best.append((best[-1][:, None] + table[i - 1]).min(axis=0) + exact[i])
    down = [np.zeros(k, np.longdouble)]
    for i in range(n - 2, -1, -1):
        down.append(logsum(table[i] + exact[i + 1] + down[-1]))
    free, least = float(logsum(up[-1])), float(best[-1].min())
    belief = np.array(up) + np.array(down[::-1])

    summing = Passing(union.layout, numbers, minimize=False)
    steps = sequential(union.layout, summing.operators)
    summing.run(steps, 0, int(steps.start[-1]), 0.0)
    summing.send()
    found = summing.beliefs()
    assert summing.free_energies(found)[0] == pytest.approx(free, rel=1e-12)
    probability = np.append(summing.probabilities(found), 0.0)
    start = union.compiled.variable_start[union.compiled.cell_variable].astype(int)
    expected = np.exp(-(belief - belief.min(axis=1, keepdims=True)))
    expected = (expected / expected.sum(axis=1, keepdims=True)).astype(float)
    # Messages of 1e4 nats are rounded to 2e-12, at each of 10,000 steps, as a random walk.
    np.testing.assert_allclose(probability[start[:, None] + np.arange(k)], expected, atol=1e-8)

    minimizing = Passing(union.layout, numbers, minimize=True)
    steps = sequential(union.layout, minimizing.operators)
    minimizing.run(steps, 0, int(steps.start[-1]), 0.0)
    state = decode(minimizing)
    assert assignment_energies(union, numbers, state)[0] == pytest.approx(least, rel=1e-12)


def decode(passing):
    n = len(passing.compiled.variable_cell)
    state = np.where(passing.compiled.variable_soft == 1, -2, -1).astype(np.int64)
    passing.choose(state, passing.to_factor.copy(), 0, n, local=False)
    return state


def test_ties_never_contradict_each_other():
    """Every configuration that is allowed has energy 0: a tie everywhere, and most pairs of minimisers clash."""
    y = fg.output("y", shape=40, n_states=3)
    differ = np.where(np.eye(3, dtype=bool), np.inf, 0.0)
    tree = (np.arange(1, 40) - 1) // 2
    for links in (
        fg.Potts([y[1:], y[:-1]], penalty=np.inf),
        fg.Table([y[1:], y[:-1]], energies=differ),
        fg.Table([y[1:], y[tree]], energies=differ),
        fg.Table([y[2:], y[1:-1], y[tree[1:] % 2]], energies=np.zeros((3, 3, 3))),
    ):
        union, numbers = bind(fg.FactorGraph([links]))
        passing = Passing(union.layout, numbers, minimize=True)
        steps = sequential(union.layout, passing.operators)
        passing.run(steps, 0, int(steps.start[-1]), 0.0)
        assert assignment_energies(union, numbers, decode(passing)).tolist() == [0.0]


def test_local_search_only_ever_improves(rng):
    union, numbers = bind(drawn_graph(rng))
    passing = Passing(union.layout, numbers, minimize=True)
    n = len(union.compiled.variable_cell)
    to_factor = passing.to_factor.copy()
    state = np.full(n, -1, np.int64)
    passing.choose(state, to_factor, 0, n, local=False)  # a greedy answer: messages of nobody
    energy = assignment_energies(union, numbers, state)[0]
    for _ in range(100):
        changed = passing.choose(state, to_factor, 0, n, local=True)
        now = assignment_energies(union, numbers, state)[0]
        assert now < energy if changed else now == energy
        energy = now
        if not changed:
            break
    start = union.compiled.variable_start.astype(int)
    for v in rng.choice(n, 60, replace=False):  # no single change is better
        for s in range(start[v + 1] - start[v]):
            other = state.copy()
            other[v] = s
            assert assignment_energies(union, numbers, other)[0] >= energy - 1e-9


def test_local_search_makes_the_same_moves_where_it_looks_at_neighbours_of_movers_only(rng):
    union, numbers = bind(drawn_graph(rng))
    passing = Passing(union.layout, numbers, minimize=True)
    n = len(union.compiled.variable_cell)
    sent = passing.to_factor.copy()
    one = np.full(n, -1, np.int64)
    passing.choose(one, sent, 0, n, local=False)
    another, sent_too, settled = one.copy(), sent.copy(), np.zeros(n, np.uint8)
    changed, looked = 1, []
    while changed:
        looked.append(n - int(settled.sum()))
        changed = passing.choose(one, sent, 0, n, local=True)
        assert passing.choose(another, sent_too, 0, n, local=True, settled=settled) == changed
        np.testing.assert_array_equal(one, another)
        np.testing.assert_array_equal(sent, sent_too)
    assert looked[0] == n and len(looked) > 2 and looked[1] < n // 2 and settled.all()



@pytest.mark.parametrize("seed", range(5))
def test_any_messages_whatever_give_a_lower_bound(seed):
    rng = np.random.default_rng(seed)
    y = fg.output("y", shape=(3, 3), n_states=2)
    graphs = [
        fg.FactorGraph(
            [
                fg.Table([y], energies=rng.normal(size=(3, 3, 2))),
                fg.Potts([y[1:], y[:-1]], penalty=rng.normal(size=(2, 3))),
                fg.Table([y[:, 0], y[:, 1], y[:, 2]], energies=rng.normal(size=(3, 2, 2, 2))),
            ]
        )
        for _ in range(3)
    ]
    passing = passing_of(*graphs, minimize=True)
    least = np.array([brute(graph).minimum for graph in graphs])
    for scale in (3.0, 0.3, 0.0):
        passing.to_variable[:] = rng.normal(scale=scale, size=passing.to_variable.shape)
        bound, slack = passing.lower_bounds()
        assert (bound - slack <= least).all()
        assert (slack < 1e-10).all()


@pytest.mark.parametrize("own", [(), (3, 1)])
@pytest.mark.parametrize("wide", [False, True])
def test_what_underflows_may_still_decide(own, wide):
    """y1 = 0 costs 766 - 700 nats through y0 = 1, and 345 through y0 = 0: the first, too small for exp, is not lost."""
    y = fg.output("y", shape=(3, 2), n_states=2)
    z = fg.output("z", shape=(3, 1), n_states=2)
    unary = np.array([[0.0, 766.0], [0.0, 1e4]])
    pair = np.array([[345.0, 0.0], [-700.0, 1e5]])
    scope, pair = ([z, y[:, :1], y[:, 1:]], np.stack([pair, pair])) if wide else ([y[:, :1], y[:, 1:]], pair)
    links = fg.Table(scope, energies=np.broadcast_to(pair, own + pair.shape))
    passing = passing_of(fg.FactorGraph([fg.Table([y], energies=unary), links]), minimize=False)
    steps = sequential(passing.layout, passing.operators)
    passing.run(steps, 0, int(steps.start[-1]), 0.0)
    expected = 3 * 66.0 - 3 * np.log(2.0) * wide
    assert passing.free_energies(passing.beliefs())[0] == pytest.approx(expected, rel=1e-13)
