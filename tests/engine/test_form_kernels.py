"""Kernels of the forms weights, odds and differences, and the kernels that read mirrors, against plain numpy.

A run is laid out by hand as in `test_kernels`, with rows as wide as the form has them. Weights and odds are sums of
positive terms, so they are held to a few roundings of each number, however small it is.
"""

from __future__ import annotations

import numpy as np
import pytest
from dense import message
from form_runs import Run, lay_out, mirrored

from factorgraph_ebm.arrays import ALL
from factorgraph_ebm.engine.messages import SMALLEST
from factorgraph_ebm.factors.pair_kernels import pair_differences, pair_min, pair_odds, pair_sum, pair_weights
from factorgraph_ebm.factors.parity_forms import parity_differences, parity_odds, parity_weights
from factorgraph_ebm.factors.potts import potts_differences, potts_odds, potts_weights
from factorgraph_ebm.factors.table_kernels import table_weights
from factorgraph_ebm.factors.ternary_kernels import ternary_min, ternary_weights
from factorgraph_ebm.inference.mirrors import fill_columns
from factorgraph_ebm.inference.passing import weights

# Pairs of two states each have no mirrors: their kernels read all four numbers anyway.
PAIRS = [(1, 1), (1, 4), (3, 1), (2, 2), (2, 3), (5, 2), (3, 3), (4, 4), (6, 7), (7, 16), (45, 16)]
TRIPLES = [(2, 2, 2), (1, 3, 2), (3, 1, 1), (2, 3, 4), (4, 4, 4), (4, 5, 4), (7, 2, 6), (3, 16, 5)]
SIZES = [1, 2, 3, 257]
LAYOUTS = ["plain", "transposed"]
NAN = np.nan


def positive(rng, shape, kind):
    """Weights: of one size, some of them zero, or of all sizes that a form keeps."""
    if kind == "extreme":
        return 2.0 ** rng.integers(-239, 1, shape) * rng.uniform(1.0, 2.0, shape)
    found = rng.uniform(0.01, 1.0, shape)
    if kind == "zeros":
        found[rng.random(shape) < 0.3] = 0.0
    return found


def rows_of_weights(rng, n, states, kind):
    found = [positive(rng, (n, k), kind) for k in states]
    if kind == "zeros":
        found[-1][n // 2] = 0.0  # every state forbidden
    return found


def products(tables, incoming, slot):
    """Sum over all other slots of weights times incoming rows, in extended precision."""
    total = tables.astype(np.longdouble)
    for t, rows in enumerate(incoming):
        if t != slot:
            total = total * rows.reshape(len(rows), *[rows.shape[1] if a == t else 1 for a in range(tables.ndim - 1)])
    return total.sum(axis=tuple(1 + t for t in range(tables.ndim - 1) if t != slot))


def check_weights(run, kernel, tables, incoming, **options):
    expected = [products(tables, incoming, s) for s in range(len(incoming))]
    for s, low, high, found in run.sent(kernel, **options):
        np.testing.assert_array_equal(found == 0.0, expected[s][low:high] == 0.0)
        np.testing.assert_allclose(found, expected[s][low:high].astype(float), rtol=2e-14, atol=0.0)


@pytest.mark.parametrize("kind", ["plain", "zeros", "extreme"])
@pytest.mark.parametrize("states", PAIRS + TRIPLES + [(2, 2, 2, 2), (1, 3, 2, 2), (4, 2, 3, 5)], ids=str)
def test_weights_of_tables(states, kind, rng):
    kernels = {2: [pair_weights], 3: [ternary_weights, table_weights], 4: [table_weights]}[len(states)]
    for n in SIZES if np.prod(states) < 300 else SIZES[:3]:
        for shared in (True, False):
            for layout in LAYOUTS:
                tables = positive(rng, (1 if shared else n, *states), kind)
                weight, start, strides = lay_out(rng, tables, layout)
                incoming = rows_of_weights(rng, n, states, kind)
                each = np.broadcast_to(tables, (n, *states))
                for kernel in kernels:
                    check_weights(Run(states, incoming, start, shared, strides, weight=weight), kernel, each, incoming)
                if len(states) == 2 and states != (2, 2) and layout == "plain":
                    double = mirrored(weight, start, states)
                    run = Run(states, incoming, start, shared, strides, weight=double, mirror=len(weight))
                    check_weights(run, pair_weights, each, incoming)


@pytest.mark.parametrize("kernel", [pair_weights, pair_min, pair_sum])
@pytest.mark.parametrize("states", [(k, k) for k in range(2, 20)] + [(3, 5), (7, 2), (26, 45)], ids=str)
def test_a_message_does_not_depend_on_what_is_beside_it(kernel, states, rng):
    """To the last bit, of factors that share a table: an answer in a list is the answer alone."""
    tables = positive(rng, (1, *states), "plain")
    store, start, strides = lay_out(rng, tables, "plain")
    double, mirror = (store, 0) if states == (2, 2) else (mirrored(store, start, states), len(store))
    one = rows_of_weights(rng, 1, states, "plain")
    alike = [np.repeat(rows, 7, axis=0) for rows in one]
    run = Run(states, alike, start, True, strides, store=double, weight=double, mirror=mirror)
    alone = Run(states, one, start, True, strides, store=double, weight=double, mirror=mirror).send(kernel, ALL, 0, 1)
    for low, high in ((0, 7), (0, 6), (3, 4)):
        for s, found in run.send(kernel, ALL, low, high).items():
            np.testing.assert_array_equal(found, np.broadcast_to(alone[s], found.shape))


def least_check(run, kernel, tables, incoming, summed=False):
    expected = [message(tables, incoming, s, [summed] * len(incoming)) for s in range(len(incoming))]
    finite = [abs(x[np.isfinite(x)]).max(initial=1.0) for x in [tables, *incoming]]
    for s, low, high, found in run.sent(kernel):
        np.testing.assert_array_equal(np.isinf(found), np.isinf(expected[s][low:high]))
        np.testing.assert_allclose(
            found, expected[s][low:high].astype(float), rtol=1e-15, atol=4 * np.finfo(float).eps * sum(finite)
        )


def energies(rng, shape, kind):
    found = rng.normal(scale=2.0, size=shape)
    if kind == "forbidden":
        found[rng.random(shape) < 0.3] = np.inf
    return found


def rows_of_energies(rng, n, states, kind):
    found = [energies(rng, (n, k), kind) for k in states]
    if kind == "forbidden":
        found[0][n // 2] = np.inf
    low = [np.where(np.isinf(x.min(1)), 0.0, x.min(1))[:, None] for x in found]
    return [x - y for x, y in zip(found, low)]


@pytest.mark.parametrize("kind", ["plain", "forbidden"])
@pytest.mark.parametrize("states", [states for states in PAIRS if states != (2, 2)], ids=str)
def test_pairs_with_mirrors_in_energies(states, kind, rng):
    for n in SIZES if np.prod(states) < 300 else SIZES[:3]:
        for shared in (True, False):
            tables = energies(rng, (1 if shared else n, *states), kind)
            store, start, strides = lay_out(rng, tables, "plain")
            incoming = rows_of_energies(rng, n, states, kind)
            double = mirrored(store, start, states)
            run = Run(states, incoming, start, shared, strides, store=double, weight=weights(double), mirror=len(store))
            each = np.broadcast_to(tables, (n, *states))
            least_check(run, pair_min, each, incoming)
            least_check(run, pair_sum, each, incoming, True)


@pytest.mark.parametrize("rows", range(1, 34))
def test_minima_over_any_number_of_rows(rows, rng):
    """Without a mirror, too: there the number of rows decides whether the last partial minimum lies in `out`."""
    for n in (1, 2, 5):
        for shared in (True, False):
            tables = energies(rng, (1 if shared else n, rows, 3), "forbidden")
            store, start, strides = lay_out(rng, tables, "plain")
            incoming = rows_of_energies(rng, n, (rows, 3), "forbidden")
            double = mirrored(store, start, (rows, 3))
            for mirror in (len(store), 0):
                run = Run((rows, 3), incoming, start, shared, strides, store=double, mirror=mirror)
                least_check(run, pair_min, np.broadcast_to(tables, (n, rows, 3)), incoming)


@pytest.mark.parametrize("kind", ["plain", "forbidden"])
@pytest.mark.parametrize("states", TRIPLES, ids=str)
def test_three_variables_in_energies(states, kind, rng):
    for n in SIZES:
        for shared in (True, False):
            for layout in LAYOUTS:
                tables = energies(rng, (1 if shared else n, *states), kind)
                store, start, strides = lay_out(rng, tables, layout)
                incoming = rows_of_energies(rng, n, states, kind)
                run = Run(states, incoming, start, shared, strides, store=store)
                least_check(run, ternary_min, np.broadcast_to(tables, (n, *states)), incoming)


@pytest.mark.parametrize("kind", ["plain", "zeros", "extreme"])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 6, 7, 16, 45])
def test_weights_of_potts(k, kind, rng):
    """Penalties of any sign: weights below 1, of 1, above 1, and 0."""
    for n in SIZES:
        for shared in (True, False):
            m = 1 if shared else n
            penalty = rng.choice([-160.0, -1.5, 0.0, 1e-9, 0.7, 40.0, 160.0, np.inf], m)
            w = np.exp(-penalty)
            incoming = rows_of_weights(rng, n, (k, k), kind)
            run = Run((k, k), incoming, 1 + np.arange(m), shared, (0, 0), weight=[9.0, *w])
            tables = np.where(np.eye(k, dtype=bool), 1.0, np.broadcast_to(w, n)[:, None, None])
            check_weights(run, potts_weights, tables, incoming)


def odds_of(rng, n, slots, kind):
    scale = 200.0 if kind == "extreme" else 3.0
    return [np.exp2(rng.uniform(-scale, scale, (n, 1))) for _ in range(slots)]


def check_odds(run, kernel, tables, incoming, **options):
    """Odds of what weights say; where every weight of a state is 0 they are 0, +inf or NaN."""
    rows = [np.concatenate([np.ones_like(r), r], axis=1) for r in incoming]
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = [np.divide(x[:, 1:], x[:, :1]) for x in (products(tables, rows, s) for s in range(len(rows)))]
    for s, low, high, found in run.sent(kernel, odds=True, **options):
        np.testing.assert_allclose(found, expected[s][low:high].astype(float), rtol=2e-14, atol=0.0)


@pytest.mark.parametrize("kind", ["plain", "zeros", "extreme"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_odds_of_tables(layout, kind, rng):
    for n in SIZES:
        for shared in (True, False):
            tables = positive(rng, (1 if shared else n, 2, 2), kind)
            weight, start, strides = lay_out(rng, tables, layout)
            first = len(weight)
            if not shared:
                weight = np.concatenate([weight, np.full(4 * n, NAN)])
                fill_columns(weight, start.astype(np.uint64), *strides, weight, first)
            incoming = odds_of(rng, n, 2, kind)
            run = Run((1, 1), incoming, start, shared, strides, weight=weight, mirror=0 if shared else first)
            check_odds(run, pair_odds, np.broadcast_to(tables, (n, 2, 2)), incoming)


@pytest.mark.parametrize("kind", ["plain", "extreme"])
@pytest.mark.parametrize("shared", [True, False])
def test_odds_of_potts(shared, kind, rng):
    for n in SIZES:
        m = 1 if shared else n
        for _ in range(5):
            w = np.exp(-rng.choice([-160.0, -1.5, 0.0, 0.7, 40.0, 160.0, np.inf], m))
            incoming = odds_of(rng, n, 2, kind)
            run = Run((1, 1), incoming, 1 + np.arange(m), shared, (0, 0), weight=[9.0, *w])
            tables = np.where(np.eye(2, dtype=bool), 1.0, np.broadcast_to(w, n)[:, None, None])
            check_odds(run, potts_odds, tables, incoming)


def differences_of(rng, n, slots, kind):
    found = [rng.normal(scale=3.0, size=(n, 1)) for _ in range(slots)]
    if kind == "certain":
        for x in found:
            x[rng.random((n, 1)) < 0.3] = rng.choice([-np.inf, np.inf])
    return found


def check_differences(run, kernel, tables, incoming, *, lossy):
    """E(1) - E(0) of the least energies; NaN where both are +inf, or `lossy` kernels hear of a certain 1 (-inf)."""
    rows = [np.concatenate([np.maximum(-h, 0.0), np.maximum(h, 0.0)], axis=1) for h in incoming]
    with np.errstate(invalid="ignore"):
        least = [message(tables, rows, s, [False] * len(rows)) for s in range(len(rows))]
        expected = [(x[:, 1:] - x[:, :1]).astype(float) for x in least]
    sizes = [abs(x[np.isfinite(x)]).max(initial=1.0) for x in [tables, *incoming]]
    rounding = 4 * np.finfo(float).eps * sum(sizes)
    for s, low, high, found in run.sent(kernel):
        truth = expected[s][low:high]
        ones = np.any([h == -np.inf for t, h in enumerate(incoming) if t != s], axis=0)[low:high]
        lost = np.isnan(found)
        assert not (lost & ~np.isnan(truth) & ~(ones & lossy)).any()
        np.testing.assert_allclose(found[~lost], truth[~lost], rtol=1e-14, atol=rounding)


@pytest.mark.parametrize("kind", ["plain", "forbidden", "certain"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_differences_of_tables(layout, kind, rng):
    for n in SIZES:
        for shared in (True, False):
            tables = energies(rng, (1 if shared else n, 2, 2), kind)
            store, start, strides = lay_out(rng, tables, layout)
            first = len(store)
            if not shared:
                store = np.concatenate([store, np.full(4 * n, NAN)])
                fill_columns(store, start.astype(np.uint64), *strides, store, first)
            incoming = differences_of(rng, n, 2, kind)
            run = Run((1, 1), incoming, start, shared, strides, store=store, mirror=0 if shared else first)
            each = np.broadcast_to(tables, (n, 2, 2))
            check_differences(run, pair_differences, each, incoming, lossy=True)


@pytest.mark.parametrize("kind", ["plain", "certain"])
@pytest.mark.parametrize("shared", [True, False])
def test_differences_of_potts(shared, kind, rng):
    for n in SIZES:
        m = 1 if shared else n
        for _ in range(5):
            penalty = rng.choice([-1e4, -1.5, 0.0, 0.7, 40.0, np.inf], m)
            incoming = differences_of(rng, n, 2, kind)
            run = Run((1, 1), incoming, 1 + np.arange(m), shared, (0, 0), store=[9.0, *penalty])
            tables = np.where(np.eye(2, dtype=bool), 0.0, np.broadcast_to(penalty, n)[:, None, None])
            check_differences(run, potts_differences, tables, incoming, lossy=True)


ROWS = {"plain": [0.0, np.inf], "flipped": [np.inf, 0.0], "soft": [0.3, 2.0], "odd is likelier": [1.0, -2.5]}


def parity_tables(rng, arity, n, shared, row):
    """(store, element of each, tables as energies)."""
    rows = np.array([ROWS[row if i % 2 == 0 else "plain"] for i in range(1 if shared else n)])
    rows = rows[rng.permutation(len(rows))]
    odd = np.indices((2,) * arity).sum(axis=0) % 2
    each = np.broadcast_to(rows, (n, 2))
    return [9.0, *rows.ravel()], 1 + 2 * np.arange(len(rows)), each[:, odd]


@pytest.mark.parametrize("row", list(ROWS))
@pytest.mark.parametrize("arity", [2, 3, 4, 5, 6, 7, 8, 9])
@pytest.mark.parametrize("kind", ["plain", "extreme", "zeros"])
def test_parity_of_few(arity, kind, row, rng):
    for n in (1, 2, 3, 9 if arity > 4 else 257):
        for shared in (True, False):
            store, start, tables = parity_tables(rng, arity, n, shared, row)
            w = np.exp(-np.array(store))
            slots = [0] * arity
            if kind != "extreme":  # products of extreme weights become NaN, see below
                incoming = rows_of_weights(rng, n, (2,) * arity, kind)
                run = Run((2,) * arity, incoming, start, shared, slots, weight=w)
                check_weights(run, parity_weights, np.exp(-tables), incoming, uses_out=True)
            if kind != "extreme" or arity <= 5:  # as many as stay in the number range
                incoming = odds_of(rng, n, arity, kind)
                run = Run((1,) * arity, incoming, start, shared, slots, weight=w)
                check_odds(run, parity_odds, np.exp(-tables), incoming, uses_out=5 <= arity <= 8)
            incoming = differences_of(rng, n, arity, "certain" if kind == "zeros" else kind)
            run = Run((1,) * arity, incoming, start, shared, slots, store=store)
            check_differences(run, parity_differences, tables, incoming, lossy=False)


@pytest.mark.parametrize("kernel", [parity_odds, parity_differences])
@pytest.mark.parametrize("arity", [3, 5, 6, 7, 8, 9])
def test_a_check_does_not_depend_on_what_is_beside_it(kernel, arity, rng):
    """To the last bit: checks one at a time, and in blocks of any length."""
    n = 13
    incoming = (odds_of if kernel is parity_odds else differences_of)(rng, n, arity, "plain")
    numbers = {"weight": [9.0, 0.75, 0.25]} if kernel is parity_odds else {"store": [9.0, 0.0, 1.5]}
    run = Run((1,) * arity, incoming, [1], True, [0] * arity, **numbers)
    alone = [run.send(kernel, ALL, f, f + 1, odds=kernel is parity_odds) for f in range(n)]
    for low, high in ((0, n), (0, 8), (3, 8), (1, 12)):
        for s, found in run.send(kernel, ALL, low, high, odds=kernel is parity_odds).items():
            np.testing.assert_array_equal(found, np.concatenate([alone[f][s] for f in range(low, high)]))


@pytest.mark.parametrize("row", list(ROWS))
@pytest.mark.parametrize("arity", [20, 45])
def test_parity_of_many_odds_by_tanh(arity, row, rng):
    """(1 - r') / (1 + r') = t * product of (1 - r) / (1 + r) over the other slots, t that of the row.

    R. Gallager, "Low-Density Parity-Check Codes", 1963.
    """
    n = 7
    w = np.exp(-np.array(ROWS[row]))
    incoming = [np.exp2(rng.choice([-1.0, 1.0], (n, 1)) * rng.uniform(1.0, 6.0, (n, 1))) for _ in range(arity)]
    share = np.array([(1 - r) / (1 + r) for r in incoming], np.longdouble)
    run = Run((1,) * arity, incoming, [1], True, [0] * arity, weight=[9.0, *w])
    rows = [np.concatenate([1 / (1 + r), r / (1 + r)], axis=1) for r in incoming]
    wide = Run((2,) * arity, rows, [1], True, [0] * arity, weight=[9.0, *w])
    for s in range(arity):
        t = (w[0] - w[1]) / (w[0] + w[1]) * np.delete(share, s, axis=0).prod(axis=0)
        expected = ((1 - t) / (1 + t)).astype(float)
        np.testing.assert_allclose(run.send(parity_odds, ALL, 0, n, odds=True)[s], expected, rtol=1e-13)
        found = wide.send(parity_weights, ALL, 0, n)[s]
        np.testing.assert_allclose(found[:, 1:] / found[:, :1], expected, rtol=1e-13)


@pytest.mark.parametrize("arity", [6, 12])
@pytest.mark.parametrize("row", list(ROWS))
def test_parity_of_extreme_messages_is_right_or_lost(arity, row, rng):
    """No product leaves the number range unseen: what a form would keep is right."""
    n = 60
    w = np.exp(-np.array(ROWS[row]))
    odd = np.indices((2,) * arity).sum(axis=0) % 2
    tables = np.broadcast_to(w[odd], (n, *odd.shape))
    incoming = odds_of(rng, n, arity, "extreme")
    incoming = [np.where(rng.random((n, 1)) < 0.5, r, 1.0 + rng.random((n, 1))) for r in incoming]
    rows = [np.concatenate([1 / (1 + r), r / (1 + r)], axis=1) for r in incoming]
    one = Run((1,) * arity, incoming, [1], True, [0] * arity, weight=[9.0, *w]).send(parity_odds, ALL, 0, n, odds=True)
    two = Run((2,) * arity, rows, [1], True, [0] * arity, weight=[9.0, *w]).send(parity_weights, ALL, 0, n)
    tiny = rows_of_weights(rng, n, (2,) * arity, "plain")
    tiny = [x * np.exp2(rng.integers(-50, 1, (n, 1))) for x in tiny]
    three = Run((2,) * arity, tiny, [1], True, [0] * arity, weight=[9.0, *w]).send(parity_weights, ALL, 0, n)
    kept = 0
    for s in (0, 1, arity // 2, arity - 1):
        truth = products(tables, rows, s)
        odds = (truth[:, 1] / truth[:, 0]).astype(float)
        found = one[s][:, 0]
        inside = (found > SMALLEST) & (found < 1 / SMALLEST)
        np.testing.assert_allclose(found[inside], odds[inside], rtol=1e-13)
        for sent, of in ((two[s], truth), (three[s], products(tables, tiny, s))):
            whole = ~np.isnan(sent).any(axis=1)
            np.testing.assert_allclose(sent[whole], of[whole].astype(float), rtol=1e-13)
            kept += whole.sum()
        kept += inside.sum()
    assert kept > 100
