"""Statistics kernels on runs laid out by hand: strides of wider, transposed and diagonal tables, numbers anywhere.

Expected: the indicators of every table, in extended precision, with the energies shifted by their least.
"""

from __future__ import annotations

import numpy as np
import pytest

from factorgraph_ebm.factors.table_statistics import (
    BLOCK,
    mapped_statistics,
    pair_statistics,
    table_statistics,
    table_statistics_kernel,
)

PAIRS = [(2, 2), (2, 3), (5, 2), (1, 4), (3, 1), (1, 1), (7, 16), (26, 9)]
WIDER = [(3,), (1,), (2, 2, 2), (2, 3, 4), (4, 1, 3), (2, 2, 2, 3), (2, 1, 3, 2, 2)]
LAYOUTS = ["plain", "padded", "transposed", "diagonal"]
KINDS = ["normal", "forbidden", "wide", "apart", "huge"]


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


def draw_messages(rng, n, k, kind):
    rows = rng.uniform(0.0, {"wide": 1e4, "apart": 900.0}.get(kind, 3.0), (n, k))
    if kind == "forbidden":
        rows[rng.random((n, k)) < 0.3] = np.inf
        rows[0] = np.inf
        rows[1:, 0] = 0.0
    return rows - np.where(np.isinf(rows.min(1)), 0.0, rows.min(1))[:, None]


def lay_out(rng, tables, layout):
    """Tables (m, *states) in a store: its size, the element of each, the place of each entry after it, strides."""
    m, *states = tables.shape
    wide = [k + (2 if layout == "padded" else 0) for k in states]
    if layout == "diagonal":  # the first variable stands twice in the scope: only equal states are read
        wide = [states[0], *states]
    if layout == "transposed":
        wide = states[::-1]
    entries = int(np.prod(wide))
    start = 4 + rng.permutation(m) * (entries + 1)
    step = [int(np.prod(wide[s + 1 :])) for s in range(len(wide))]
    if layout == "transposed":
        step = step[::-1]
    if layout == "diagonal":
        step = [step[0] + step[1], *step[2:]]
    place = sum((np.indices(states)[s] * step[s] for s in range(len(states))), np.zeros(states, int))
    store = np.full(4 + m * (entries + 1), np.nan)  # a gap that is read would show
    store[start[:, None] + place.ravel()] = tables.reshape(m, -1)
    return store, start, place.ravel(), step


def expected(tables, incoming, share):
    """share * the probabilities of the entries, (n, entries)."""
    n, *states = tables.shape
    energy = tables.astype(np.longdouble)
    for s, rows in enumerate(incoming):
        energy = energy + rows.reshape(n, *[states[s] if axis == s else 1 for axis in range(len(states))])
    energy = energy.reshape(n, -1)
    low = energy.min(axis=1, keepdims=True)
    weight = np.exp(np.where(np.isinf(low), 0.0, low) - energy)
    total = weight.sum(axis=1, keepdims=True)
    return (share[:, None] * weight / np.where(total > 0, total, 1)).astype(float)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("states", PAIRS + WIDER, ids=str)
def test_tables(states, kind, rng):
    n = 2 * BLOCK + 7 if states in ((2, 3), (7, 16)) else 9
    for layout in LAYOUTS:
        for shared in (True, False):
            m = 1 if shared else n
            tables = draw_energies(rng, (m, *states), kind)
            store, start, place, strides = lay_out(rng, tables, layout)
            incoming = [draw_messages(rng, n, k, kind) for k in states]
            share = np.where(rng.random(n) < 0.3, 0.0, rng.normal(size=n))
            to_factor = np.concatenate([r.ravel() for r in incoming])
            messages = np.cumsum([0, *(n * k for k in states)])
            header = [n, len(states), 0, 0, int(start[0]) if shared else -1, 0, 0, 0]
            slots = [[k, strides[s], messages[s], 0] for s, k in enumerate(states)]
            run = np.array(header + sum(slots, []), np.int64)
            number = np.zeros(0, np.uint64) if shared else start.astype(np.uint64)
            each = np.broadcast_to(tables, (n, *states))
            # Rounding of the sums energy + messages moves probabilities.
            sizes = [np.abs(t[np.abs(t) < 1e200]).max(initial=1.0) for t in [tables, *incoming]]
            slack = 8 * np.finfo(float).eps * sum(sizes) * n
            for kernel in (table_statistics, pair_statistics) if len(states) == 2 else (table_statistics,):
                for low, high in ((0, n), (2, n - 1)):
                    want = np.zeros_like(store)
                    np.add.at(
                        want, (start[:, None] + place), combined(expected(each, incoming, share), low, high, shared)
                    )
                    out = np.zeros_like(store)
                    size = max(table_statistics_kernel(states).scratch, 2 * int(np.prod(states)))
                    scratch = np.full(size, np.nan)
                    kernel(run, number, store, np.zeros(0), to_factor, share, out, scratch, low, high)
                    if kind == "huge":  # which of the small energies beside 1e300 still counts is rounding: only sums
                        assert out.sum() == pytest.approx(want.sum(), rel=1e-9, abs=1e-12)
                    else:
                        np.testing.assert_allclose(out, want, rtol=1e-12, atol=slack)
                    assert not out[np.isposinf(store)].any()


def combined(each, low, high, shared):
    """What is added to every table by the factors low to high."""
    counted = np.where(((np.arange(len(each)) >= low) & (np.arange(len(each)) < high))[:, None], each, 0.0)
    return counted.sum(axis=0, keepdims=True) if shared else counted


@pytest.mark.parametrize("kind", ["normal", "forbidden", "apart"])
def test_a_map_from_entries_to_numbers(kind, rng):
    """Two numbers a factor, some entries without any, a coefficient of 0 before a number of +inf."""
    states, n = (2, 3), 6
    index = np.array([0, 1, -1, 0, 1, 1])
    coefficient = np.array([1.0, 2.0, 0.0, 0.5, 0.0, 1.0])
    constant = np.array([0.0, 0.5, -0.5, 1.0, 0.0, np.inf])
    numbers = draw_energies(rng, (n, 2), kind)
    numbers[1, 1] = np.inf
    start = 3 + 4 * rng.permutation(n)
    store = np.full(3 + 4 * n, np.nan)
    store[start[:, None] + np.arange(2)] = numbers
    used = (index >= 0) & (coefficient != 0)
    tables = constant + np.where(used, coefficient * np.where(used, numbers[:, index], 0.0), 0.0)
    incoming = [draw_messages(rng, n, k, kind) for k in states]
    share = rng.normal(size=n)
    each = expected(tables.reshape(n, *states), incoming, share)
    want = np.zeros_like(store)
    for e in np.flatnonzero(used):
        np.add.at(want, start + index[e], coefficient[e] * each[:, e])
    run = np.array([n, 2, 0, 0, -1, 0, 0, 6, 2, 0, 0, 0, 3, 0, 2 * n, 0], np.int64)
    out = np.zeros_like(store)
    mapped_statistics(
        run, start.astype(np.uint64), store, index, coefficient, constant,
        np.concatenate([r.ravel() for r in incoming]), share, out, np.full(6, np.nan), 0, n,
    )  # fmt: skip
    np.testing.assert_allclose(out, want, rtol=1e-12, atol=1e-13)
