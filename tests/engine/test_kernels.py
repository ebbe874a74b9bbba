"""Every message kernel of every structure, against plain numpy on its dense table.

A run is laid out by hand, the way a compiled graph may lay it out: message rows in any order with gaps between them,
tables anywhere in the store, with the strides of a wider table, of a transposed one, or of a diagonal.
"""

from __future__ import annotations

import numpy as np
import pytest
from dense import message

from factorgraph_ebm.arrays import ALL, all_but
from factorgraph_ebm.factors.message_kernels import LARGEST, SMALLEST
from factorgraph_ebm.factors.pair_kernels import pair_min, pair_min_single, pair_sum
from factorgraph_ebm.factors.potts import potts_min, potts_sum
from factorgraph_ebm.factors.product import product_min, product_sum
from factorgraph_ebm.factors.sparse_kernels import sparse_min, sparse_mixed, sparse_sum
from factorgraph_ebm.factors.table_kernels import table_min, table_mixed, table_sum
from factorgraph_ebm.factors.truncated_linear import truncated_linear_min, truncated_linear_sum
from factorgraph_ebm.factors.truncated_quadratic import truncated_quadratic_min, truncated_quadratic_sum
from factorgraph_ebm.inference.passing import weights

PAIRS = [(2, 2), (2, 3), (5, 2), (1, 4), (3, 1), (1, 1), (7, 16), (45, 26)]
WIDER = [(3,), (1,), (2, 2, 2), (2, 3, 4), (4, 1, 3), (2, 2, 2, 3), (2, 1, 3, 2, 2)]
LAYOUTS = ["plain", "padded", "transposed", "diagonal"]
NAN = np.nan


class Run:
    """`n` factors over slots of `states`, their numbers in a store of `rows` and incoming messages, laid out."""

    def __init__(self, states, incoming, store, number, shared, strides, constants=(), soft=None):
        n = len(incoming[0])
        self.states, self.n, self.store = states, n, np.ascontiguousarray(store, float)
        start, size = [0] * len(states), 5
        for s in reversed(range(len(states))):  # slots in reverse, gaps between
            start[s], size = size, size + n * states[s] + 3
        self.to_factor = np.full(size, NAN)  # a gap that is read would show
        for s, rows in enumerate(incoming):
            self.to_factor[start[s] : start[s] + n * states[s]] = rows.ravel()
        header = [n, len(states), 0, 0, 0 if shared else -1, 2, 0, 0]
        if shared:
            header[4] = int(number[0])
        soft = soft or [0] * len(states)
        slots = [[k, strides[s], start[s], int(soft[s])] for s, k in enumerate(states)]
        self.field = np.array(header + sum(slots, []), np.int64)
        self.number = np.zeros(0, np.uint64) if shared else np.asarray(number, np.uint64)
        self.constants = np.array([NAN, NAN, *constants])
        self.weight = weights(self.store)

    def send(self, kernel, target, low, high):
        """{slot: (high - low, K) raw messages}; what is not a target must stay untouched."""
        width = sum(self.states)
        out = np.full((high - low) * width, NAN)
        scratch = np.full((high - low) * width + 4 * len(self.states) + 8, NAN)
        kernel(
            self.field, self.number, self.store, self.weight, self.constants, self.to_factor, out, scratch,
            low, high, target,
        )  # fmt: skip
        pieces = np.split(out, np.cumsum([(high - low) * k for k in self.states])[:-1])
        return {s: p.reshape(high - low, k) for s, (p, k) in enumerate(zip(pieces, self.states))}


def draw_messages(rng, n, states, kind):
    """Rows with minimum 0; `kind` as in `draw_energies`."""
    found = []
    for k in states:
        scale = {"wide": 1e4, "apart": 900.0}.get(kind, 3.0)
        rows = rng.uniform(0.0, scale, (n, k))
        rows[rng.random(n) < 0.2] = 0.0  # nothing known
        if kind == "forbidden":
            rows[rng.random((n, k)) < 0.3] = np.inf
            rows[0] = np.inf  # all states lost: the message to others is +inf, never NaN
            rows[1:, 0] = 0.0
        found.append(rows - np.where(np.isinf(rows.min(1)), 0.0, rows.min(1))[:, None])
    return found


def draw_energies(rng, shape, kind):
    if kind == "wide":
        return rng.uniform(-1e4, 1e4, shape)
    if kind == "apart":  # about where exp(-energy) leaves the range of a double, on both sides
        return rng.choice([-800.0, -700.0, -345.0, 0.0, 345.0, 700.0, 800.0], shape) + rng.normal(size=shape)
    if kind == "huge":
        return rng.choice([1e300, -1e300, 0.0, 1.0, -2.5], shape)
    energies = rng.normal(scale=2.0, size=shape)
    if kind == "forbidden":
        energies[rng.random(shape) < 0.3] = np.inf
    return energies


def lay_out(rng, tables, layout):
    """Put tables (m, *states) in a store: (store, element of each, strides, the tables as they will be read)."""
    m, *states = tables.shape
    wide = [k + (2 if layout == "padded" else 0) for k in states]
    if layout == "diagonal":  # the first variable stands twice in the scope: only equal states are read
        wide = [states[0], *states]
    if layout == "transposed":
        wide = states[::-1]
    entries = int(np.prod(wide))
    start = 4 + rng.permutation(m) * (entries + 1)
    store = np.full(4 + m * (entries + 1), NAN)
    step = [int(np.prod(wide[s + 1 :])) for s in range(len(wide))]
    if layout == "transposed":
        step = step[::-1]
    if layout == "diagonal":
        step = [step[0] + step[1], *step[2:]]
    place = sum((np.indices(states)[s] * step[s] for s in range(len(states))), np.zeros(states, int))
    store[start.reshape(-1, *[1] * len(states)) + place] = tables
    return store, start, step


def check(run, kernel, tables, incoming, summed, low=0, high=None):
    """All targets, all factors from `low` to `high`, to rounding; `tables` (n, *states)."""
    high = run.n if high is None else high
    arity = len(run.states)
    targets = {ALL: range(arity)} | {s: [s] for s in range(arity)}
    targets |= {all_but(s): [t for t in range(arity) if t != s] for s in range(arity)}
    rows = [x[low:high] for x in incoming]
    expected = {s: message(tables[low:high], rows, s, summed) for s in range(arity)}
    # Rounding of the sums energy + messages; an energy of 1e300 decides alone or not at all.
    sizes = [np.abs(t[np.abs(t) < 1e200]).max(initial=1.0) for t in [tables, *incoming]]
    rounding = 4 * np.finfo(float).eps * sum(sizes)
    for target, slots in targets.items():
        found = run.send(kernel, target, low, high)
        for s in range(arity):
            if s not in slots:
                assert np.isnan(found[s]).all(), "wrote to a slot that is not a target"
                continue
            np.testing.assert_array_equal(np.isinf(found[s]), np.isinf(expected[s]))
            np.testing.assert_allclose(found[s], expected[s].astype(float), rtol=1e-15, atol=rounding)


def table_kernels(states):
    yield "min", table_min, False
    yield "sum", table_sum, True
    if len(states) == 2:
        yield "pair min", pair_min, False
        yield "pair sum", pair_sum, True


@pytest.mark.parametrize("kind", ["normal", "forbidden", "wide", "apart", "huge"])
@pytest.mark.parametrize("states", PAIRS + WIDER, ids=str)
def test_tables(states, kind, rng):
    """Every layout, shared and own tables, minimum and sum."""
    n = 6
    for layout in LAYOUTS:
        for shared in (True, False):
            tables = draw_energies(rng, (1 if shared else n, *states), kind)
            store, start, strides = lay_out(rng, tables, layout)
            incoming = draw_messages(rng, n, states, kind)
            run = Run(states, incoming, store, start, shared, strides)
            each = np.broadcast_to(tables, (n, *states))
            for _, kernel, sums in table_kernels(states):
                check(run, kernel, each, incoming, [sums] * len(states))


@pytest.mark.parametrize("kind", ["normal", "forbidden", "wide", "apart"])
@pytest.mark.parametrize("states", PAIRS, ids=str)
def test_tables_in_single_precision(states, kind, rng):
    """The kernel is exact in what it reads: a store of numbers of half the width."""
    n = 6
    for layout in LAYOUTS:
        for shared in (True, False):
            tables = draw_energies(rng, (1 if shared else n, *states), kind).astype(np.float32).astype(float)
            store, start, strides = lay_out(rng, tables, layout)
            incoming = draw_messages(rng, n, states, kind)
            narrow = np.append(store, [NAN] * (len(store) % 2)).astype(np.float32).view(float)
            run = Run(states, incoming, narrow, start, shared, strides)
            check(run, pair_min_single, np.broadcast_to(tables, (n, *states)), incoming, [False, False])


@pytest.mark.parametrize("kind", ["normal", "forbidden", "wide", "huge"])
@pytest.mark.parametrize("states", [(2, 2), (3, 4), (2, 3, 2), (2, 2, 3, 2)], ids=str)
def test_mixed_tables(states, kind, rng):
    """Sum over the soft slots, then minimise over the others, whichever those are."""
    n = 4
    for code in range(2 ** len(states)):
        soft = [bool(code >> s & 1) for s in range(len(states))]
        tables = draw_energies(rng, (n, *states), kind)
        store, start, strides = lay_out(rng, tables, "transposed")
        incoming = draw_messages(rng, n, states, kind)
        run = Run(states, incoming, store, start, False, strides, soft=soft)
        check(run, table_mixed, tables, incoming, soft)


@pytest.mark.parametrize("kind", ["normal", "forbidden", "wide", "apart", "huge"])
@pytest.mark.parametrize("k", [1, 2, 3, 8, 26])
@pytest.mark.parametrize("shared", [True, False])
def test_potts(k, kind, shared, rng):
    for _ in range(5):
        n = 7
        penalty = draw_energies(rng, 1 if shared else n, kind)
        incoming = draw_messages(rng, n, (k, k), kind)
        run = Run((k, k), incoming, [9.0, *penalty], 1 + np.arange(len(penalty)), shared, (0, 0))
        tables = np.where(np.eye(k, dtype=bool), 0.0, np.broadcast_to(penalty, n)[:, None, None])
        check(run, potts_min, tables, incoming, [False] * 2)
        check(run, potts_sum, tables, incoming, [True] * 2)


@pytest.mark.parametrize("kind", ["normal", "forbidden", "wide", "apart", "huge"])
@pytest.mark.parametrize("states", [(2, 2), (3, 4), (2, 3, 2), (1, 3, 1), (2, 2, 3, 2), (4,)], ids=str)
def test_sparse_tables(states, kind, rng):
    """Rows in any order, of a longer row of numbers, some of them repeated; what is not listed is forbidden."""
    entries = int(np.prod(states))
    for shared, m in [(True, entries), (False, entries // 2 + 1), (False, 1), (True, 0)]:
        n = 5
        listed = rng.integers(0, entries, m)
        rows = np.array(np.unravel_index(listed, states)).T.reshape(m, len(states))
        which = rng.permutation(m + 3)[:m]
        energies = draw_energies(rng, (1 if shared else n, m + 3), kind)
        for r in range(m):  # of equal rows all but one are forbidden
            energies[:, which[np.flatnonzero(listed[:r] == listed[r])]] = np.inf
        tables = np.full((len(energies), entries), np.inf)
        for r in range(m):
            tables[:, listed[r]] = energies[:, which[r]]
        tables = np.broadcast_to(tables.reshape(-1, *states), (n, *states))
        incoming = draw_messages(rng, n, states, kind)
        constants = [m + 3, m, *which, *rows.ravel()]
        start = 1 + (m + 3) * np.arange(len(energies))
        for code in range(2 ** len(states)):
            soft = [bool(code >> s & 1) for s in range(len(states))]
            run = Run(states, incoming, [9.0, *energies.ravel()], start, shared, [0] * len(states), constants, soft)
            check(run, sparse_mixed, tables, incoming, soft)
        check(run, sparse_min, tables, incoming, [False] * len(states))
        check(run, sparse_sum, tables, incoming, [True] * len(states))


TRUNCATED = [
    (truncated_linear_min, truncated_linear_sum, np.positive),
    (truncated_quadratic_min, truncated_quadratic_sum, np.square),
]


@pytest.mark.parametrize("kind", ["normal", "forbidden", "wide", "apart", "huge"])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 8, 16, 33, 70])
@pytest.mark.parametrize("least, summed, distance", TRUNCATED, ids=["linear", "quadratic"])
def test_truncated_distances(least, summed, distance, k, kind, rng):
    """Few factors and many, limits of every reach: none, next to none, a band, all but the corners, all."""
    steps = distance(abs(np.subtract.outer(np.arange(float(k)), np.arange(k))))
    for reach in sorted({0, 1, 2, k // 2, k - 3, k - 2, k - 1, k} & set(range(k + 1))):
        for n, shared in [(5, True), (7, False), (70, False), (9, True)]:
            least_limit = float(distance(reach))
            limit = rng.choice([least_limit, least_limit + 0.5, np.inf if reach >= k - 1 else 0.3])
            weight = abs(draw_energies(rng, 1 if shared else n, kind))
            weight[rng.random(len(weight)) < 0.1] = 0.0
            incoming = draw_messages(rng, n, (k, k), kind)
            constants = [limit, np.count_nonzero(steps[0] <= limit) - 1]
            run = Run((k, k), incoming, [9.0, *weight], 1 + np.arange(len(weight)), shared, (0, 0), constants)
            truncated = np.minimum(steps, limit)
            with np.errstate(invalid="ignore"):
                tables = np.broadcast_to(weight, n)[:, None, None] * truncated
            tables[:, truncated == 0.0] = 0.0
            check(run, least, tables, incoming, [False] * 2)
            check(run, summed, tables, incoming, [True] * 2)


@pytest.mark.parametrize("kind", ["normal", "forbidden", "wide", "apart", "huge"])
@pytest.mark.parametrize(
    "values", [([-1.0, 1.0], [-1.0, 1.0]), ([0.0, 1.0, 2.0], [0.0, 1.0]), ([0.0, 0.5] * 9, [-2.0])]
)
@pytest.mark.parametrize("shared", [True, False])
def test_product(values, kind, shared, rng):
    n, states = 7, tuple(len(v) for v in values)
    weight = draw_energies(rng, 1 if shared else n, kind)
    if min(map(min, values)) < 0:
        weight[np.isinf(weight)] = 1.0  # +inf times a negative state is refused when declared
    incoming = draw_messages(rng, n, states, kind)
    run = Run(states, incoming, [9.0, *weight], 1 + np.arange(len(weight)), shared, (0, 0), sum(values, []))
    product = np.multiply.outer(*values)
    with np.errstate(invalid="ignore"):
        tables = np.broadcast_to(weight, n)[:, None, None] * product
    tables[:, product == 0.0] = 0.0
    check(run, product_min, tables, incoming, [False] * 2)
    check(run, product_sum, tables, incoming, [True] * 2)


def test_blocks_start_anywhere_and_are_longer_than_the_engine_asks(rng):
    """A block's rows begin at 0 in `out`, whatever `low` is; 700 factors at once are no different from 1."""
    n, states = 700, (3, 2)
    tables = draw_energies(rng, (n, *states), "normal")
    store, start, strides = lay_out(rng, tables, "plain")
    incoming = draw_messages(rng, n, states, "normal")
    run = Run(states, incoming, store, start, False, strides)
    for kernel, sums in [(pair_min, False), (pair_sum, True), (table_min, False), (table_sum, True)]:
        for low, high in [(0, n), (1, 2), (256, 513), (n - 1, n), (4, 4)]:
            check(run, kernel, tables, incoming, [sums] * 2, low, high)


def test_contradicting_evidence_is_weighed_and_not_lost(rng):
    """400 nats for one state against 399 for the other through a link of 1000: plain products are 0 / 0."""
    incoming = [np.array([[0.0, 400.0], [399.0, 0.0]]), np.array([[0.0, 1200.0], [0.0, 800.0]])]
    link = np.array([[0.0, 1000.0], [1000.0, 0.0]])
    for kernel in (pair_sum, table_sum):
        run = Run((2, 2), incoming, link.ravel(), [0], True, (2, 1))
        check(run, kernel, np.broadcast_to(link, (2, 2, 2)), incoming, [True] * 2)
    run = Run((2, 2), incoming, [1000.0], [0], True, (0, 0))
    check(run, potts_sum, np.broadcast_to(link, (2, 2, 2)), incoming, [True] * 2)


@pytest.mark.parametrize("edge", [-np.log(SMALLEST), -np.log(LARGEST)])
def test_both_sides_of_the_fallback_agree(edge, rng):
    """Sums just inside and just outside what is trusted, some rows of one factor on either side."""
    for shift in (-1e-9, 0.0, 1e-9, -1.0, 1.0):
        table = edge + shift + np.array([[0.0, 0.5, 3.0], [0.0, 1.0, -3.0]])
        incoming = [np.zeros((1, 2)), np.array([[0.0, 2.0, 700.0]])]
        run = Run((2, 3), incoming, table.ravel(), [0], True, (3, 1))
        for kernel in (pair_sum, table_sum):
            check(run, kernel, table[None], incoming, [True] * 2)
