"""Storing messages: normalised, compared with the former ones, damped; NaN where a form would lose digits."""

from __future__ import annotations

import numpy as np
import pytest

from factorgraph_ebm._jit import F8, NOTHING, READ_F8, Kernel
from factorgraph_ebm.arrays import ALL, all_but
from factorgraph_ebm.engine.messages import (
    SMALLEST,
    store_differences,
    store_energies,
    store_odds,
    store_weights,
    total_of,
)
from factorgraph_ebm.factors.extremes import bits, greater, least_of, lesser, of_bits

NAN, INF = np.nan, np.inf
ONCE = -1.0  # damping of messages that are sent only once
TARGETS = [ALL, 0, 1, 2, all_but(0), all_but(1), all_but(2)]
WIDTHS = [(2, 2, 2), (2, 3, 1), (1, 7, 16), (45, 2, 4)]


def slots_of(target, arity=3):
    if target == ALL:
        return list(range(arity))
    return [target] if target >= 0 else [s for s in range(arity) if s != -2 - target]


class Rows:
    """Raw messages of the factors `low` to `low` + n of a run, and a message array with former rows and gaps."""

    def __init__(self, raw, former, low=2, zeros=None):
        """As odds, `raw` over `zeros`, which are 1 if not given."""
        self.widths, n = [x.shape[1] for x in raw], len(raw[0])
        self.low, self.n = low, n
        self.out = np.concatenate([x.ravel() for x in raw])
        self.zeros = np.ones_like(self.out) if zeros is None else np.concatenate([x.ravel() for x in zeros])
        self.first, size = [], 3
        for k in self.widths:
            self.first.append(size)
            size += (low + n + 1) * k + 2
        self.messages = np.full(size, 77.0)
        for s, rows in enumerate(former):
            self.rows(s)[:] = rows
        slots = [[k, 0, m, 0] for k, m in zip(self.widths, self.first)]
        self.field = np.array([low + n + 1, len(raw), 0, 0, -1, 0, 0, 0] + sum(slots, []), np.int64)

    def rows(self, s):
        k = self.widths[s]
        m = self.first[s] + self.low * k
        return self.messages[m : m + self.n * k].reshape(self.n, k)

    def store(self, keep, target, damping):
        """(largest change, shift); the rows beside those stored stay as they were."""
        before, shift = self.messages.copy(), np.full(self.n, NAN)
        out = self.out.copy() if keep is not store_odds else np.concatenate([self.out, self.zeros])
        change = keep(self.field, out, self.messages, shift, self.low, self.low + self.n, target, damping)
        for s in range(len(self.widths)):
            if s in slots_of(target, len(self.widths)):
                m = self.first[s] + self.low * self.widths[s]
                before[m : m + self.n * self.widths[s]] = self.rows(s).ravel()
        np.testing.assert_array_equal(self.messages, before)
        return change, shift


def drawn_energies(rng, widths, n, forbidden):
    found = [rng.normal(scale=5.0, size=(n, k)) for k in widths]
    for x in found:
        x[rng.random(x.shape) < forbidden] = INF
        if forbidden:
            x[0] = INF
    return found


def normal(x):
    least = x.min(axis=1, keepdims=True)
    return x - np.where(np.isinf(least), 0.0, least)


@pytest.mark.parametrize("damping", [ONCE, 0.0, 0.3, 0.9])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("forbidden", [0.0, 0.3])
def test_energies(widths, target, damping, forbidden, rng):
    raw = drawn_energies(rng, widths, 6, forbidden)
    former = [normal(x) for x in drawn_energies(rng, widths, 6, forbidden)]
    rows = Rows(raw, former)
    change, shift = rows.store(store_energies, target, damping)
    largest = 0.0
    for s in slots_of(target):
        new = normal(raw[s])
        with np.errstate(invalid="ignore"):
            largest = max(largest, np.where(new == former[s], 0.0, abs(new - former[s])).max())
            mixed = damping * former[s] + (1 - damping) * new
        keeps = damping <= 0.0 or (np.isinf(new) | np.isinf(former[s]))
        np.testing.assert_allclose(rows.rows(s), np.where(keeps, new, mixed), rtol=1e-14, atol=1e-14)
        assert (rows.rows(s).min(axis=1) >= 0.0).all()
    assert change == (0.0 if damping < 0.0 else pytest.approx(largest, rel=1e-14))
    if damping < 0.0 and target >= 0:
        np.testing.assert_array_equal(shift, raw[target].min(axis=1))
    else:
        assert np.isnan(shift).all()


def drawn_weights(rng, widths, n, zeros):
    found = [rng.uniform(0.1, 3.0, (n, k)) * 2.0 ** rng.integers(-600, 600, (n, 1)) for k in widths]
    for x in found:
        x[rng.random(x.shape) < zeros] = 0.0
        if zeros:
            x[0] = 0.0
    return found


def shares(x):
    total = x.sum(axis=1, keepdims=True)
    return x / np.where(total == 0.0, 1.0, total)


@pytest.mark.parametrize("damping", [ONCE, 0.0, 0.3, 0.9])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("zeros", [0.0, 0.3])
def test_weights(widths, target, damping, zeros, rng):
    """Zeros that are new count as an infinite change; a row of zeros stays."""
    raw = drawn_weights(rng, widths, 6, zeros)
    former = [shares(np.where(x == 0.0, 0.0, rng.uniform(0.1, 1.0, x.shape))) for x in raw]
    rows = Rows(raw, former)
    change, shift = rows.store(store_weights, target, damping)
    largest = 0.0
    for s in slots_of(target):
        new = shares(raw[s])
        with np.errstate(divide="ignore", invalid="ignore"):
            largest = max(largest, abs(np.where(new == former[s], 0.0, np.log(new / former[s]))).max())
        expected = new if damping <= 0.0 else damping * former[s] + (1 - damping) * new
        np.testing.assert_allclose(rows.rows(s), expected, rtol=1e-14, atol=0.0)
    assert change == (0.0 if damping < 0.0 else pytest.approx(largest, rel=1e-12, abs=1e-14))
    if damping < 0.0 and target >= 0:
        with np.errstate(divide="ignore"):
            np.testing.assert_allclose(shift, -np.log(raw[target].sum(axis=1)), rtol=1e-13, atol=1e-14)
    else:
        assert np.isnan(shift).all()


@pytest.mark.parametrize("damping", [0.0, 0.4])
@pytest.mark.parametrize("states", [3, 4])
@pytest.mark.parametrize("store", [store_energies, store_weights])
def test_a_state_newly_forbidden_is_so_at_once(store, states, damping):
    new, former = np.array([[0.0, INF, 1.0, 2.0][:states]]), np.zeros((1, states))
    if store is store_weights:
        new, former = shares(np.exp(-new)), shares(np.exp(-former))
    rows = Rows([new], [former])
    change, _ = rows.store(store, ALL, damping)
    assert change == INF
    assert rows.rows(0)[0, 1] == new[0, 1]


@pytest.mark.parametrize("damping", [ONCE, 0.0, 0.4])
@pytest.mark.parametrize("more", [0, 2])
def test_weights_too_small_to_keep_are_lost_with_their_row(more, damping):
    raw = np.array([[1.0, 1.01 * SMALLEST], [1.0, 0.99 * SMALLEST], [NAN, 1.0], [1.0, 0.0], [0.0, 0.0], [5.0, 5.0]])
    raw = np.hstack([np.zeros((6, more)), raw])
    rows = Rows([raw], [np.full(raw.shape, 0.5)])
    change, _ = rows.store(store_weights, ALL, damping)
    np.testing.assert_array_equal(np.isnan(rows.rows(0)).all(axis=1), [False, True, True, False, False, False])
    assert np.isfinite(rows.rows(0)[[0, 3, 4, 5]]).all()
    assert damping < 0.0 or np.isnan(change)


@pytest.mark.parametrize("damping", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("target", TARGETS)
def test_odds(target, damping, rng):
    """Damping is linear in probabilities, with the digits of the odds kept at both ends."""
    raw, former = (
        [np.exp2(rng.choice([1.0, 239.0], (257, 1)) * rng.uniform(-1.0, 1.0, (257, 1))) for _ in range(3)]
        for _ in range(2)
    )
    raw[1][5], former[2][7] = former[1][5], raw[2][7]
    rows = Rows(raw, former)
    change, shift = rows.store(store_odds, target, damping)
    largest = 0.0
    for s in slots_of(target):
        x, m = raw[s].astype(np.longdouble), former[s].astype(np.longdouble)
        largest = max(largest, abs(np.log(x / m)).max())
        on = damping * m / (1 + m) + (1 - damping) * x / (1 + x)
        off = damping / (1 + m) + (1 - damping) / (1 + x)
        np.testing.assert_allclose(rows.rows(s), (on / off).astype(float), rtol=4e-15)
    assert change == pytest.approx(float(largest), rel=1e-12)
    assert np.isnan(shift).all()


@pytest.mark.parametrize("damping", [0.0, 0.5])
def test_odds_at_the_ends_of_the_number_range_are_lost(damping):
    raw = np.array([[1 / SMALLEST], [INF], [NAN], [0.9 / SMALLEST], [1.1 * SMALLEST], [1.0]])
    rows = Rows([raw], [raw.copy()])
    change, _ = rows.store(store_odds, ALL, damping)
    np.testing.assert_array_equal(np.isnan(rows.rows(0))[:, 0], [True, True, True, False, False, False])
    assert np.isnan(change)
    low = np.array([[SMALLEST], [0.0]])
    rows = Rows([low], [low.copy()])
    rows.store(store_odds, ALL, damping)
    assert np.isnan(rows.rows(0)).all()


@pytest.mark.parametrize("damping", [0.0, 1e-3, 0.5, 0.99])
def test_odds_of_any_size_are_right_or_lost(damping, rng):
    """Odds come as two numbers up to scale: none, of whatever size, makes a message that is wrong."""
    ends = np.array([0.0, INF, NAN, 5e-324, 2.0**-1000, 2.0**-761, 2.0**-759, 2.0**1000, 2.0**1023])
    on, off = (
        np.where(rng.random((4000, 1)) < 0.2, rng.choice(ends, (4000, 1)), np.exp2(rng.uniform(-700, 900, (4000, 1))))
        for _ in range(2)
    )
    near = rng.random((4000, 1)) < 0.7
    with np.errstate(all="ignore"):
        on = np.where(near, off * np.exp2(rng.uniform(-241.0, 241.0, (4000, 1))), on)
    former = np.exp2(rng.choice([1.0, 239.9], (4000, 1)) * rng.uniform(-1.0, 1.0, (4000, 1)))
    former[rng.random((4000, 1)) < 0.05] = NAN
    rows = Rows([on], [former], zeros=[off])
    change, _ = rows.store(store_odds, ALL, damping)
    q, p, m = (x.astype(np.longdouble) for x in (on, off, former))
    with np.errstate(all="ignore"):
        x, y = q / (q + p), p / (q + p)
        expected = (damping * m / (1 + m) + (1 - damping) * x) / (damping / (1 + m) + (1 - damping) * y)
        expected = expected if damping > 0.0 else q / p
    found = rows.rows(0)
    kept = ~np.isnan(found)
    np.testing.assert_allclose(found[kept], expected[kept].astype(float), rtol=4e-15)
    assert ((found[kept] > SMALLEST) & (found[kept] < 1 / SMALLEST)).all()
    inside = (expected > 1.01 * SMALLEST) & (expected < 0.99 / SMALLEST) & (off > 2.0**-750) & (q + p < 2.0**780)
    assert kept[inside].all() and inside.sum() > 1000
    assert np.isnan(change)


@pytest.mark.parametrize("damping", [0.0, 0.5])
def test_change_of_odds(damping):
    """Of the new odds from the former, in nats, either way; infinite where one of the two numbers is 0."""
    for on, off, former, expected in [
        (3.0, 1.5, 2.0, 0.0), (4.0, 1.0, 2.0, np.log(2.0)), (1.0, 1.0, 2.0, np.log(2.0)), (0.0, 1.0, 2.0, INF),
        (1.0, 0.0, 2.0, INF), (2.0**-500, 2.0**-500, 0.25, np.log(4.0)), (2.0**700, 2.0**690, 1.0, np.log(1024.0)),
    ]:  # fmt: skip
        numbers = (np.full((1, 1), x) for x in (on, former, off))
        raw, before, zeros = numbers
        change, _ = Rows([raw], [before], zeros=[zeros]).store(store_odds, ALL, damping)
        assert change == pytest.approx(expected, rel=1e-14, abs=1e-15)
    for on, off, former in [(NAN, 1.0, 1.0), (1.0, NAN, 1.0), (1.0, 1.0, NAN), (0.0, 0.0, 1.0), (INF, INF, 1.0)]:
        raw, before, zeros = (np.array([[x], [1.0]]) for x in (on, former, off))
        assert np.isnan(Rows([raw], [before], zeros=[zeros]).store(store_odds, ALL, damping)[0])


@pytest.mark.parametrize("damping", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("target", TARGETS)
def test_differences(target, damping, rng):
    raw, former = ([rng.normal(scale=9.0, size=(257, 1)) for _ in range(3)] for _ in range(2))
    rows = Rows(raw, former)
    change, shift = rows.store(store_differences, target, damping)
    for s in slots_of(target):
        expected = damping * former[s] + (1 - damping) * raw[s]
        np.testing.assert_allclose(rows.rows(s), expected, rtol=1e-14, atol=1e-14)
    assert change == max(abs(raw[s] - former[s]).max() for s in slots_of(target))
    assert np.isnan(shift).all()


@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_differences_of_certain_bits(damping):
    """A bit that stays certain has not moved, whatever the damping; one that becomes so moved infinitely far."""
    raw = np.array([[INF], [-INF], [2.0], [-0.0]])
    rows = Rows([raw], [raw.copy()])
    assert rows.store(store_differences, ALL, damping)[0] == 0.0
    np.testing.assert_array_equal(rows.rows(0), raw)
    rows = Rows([raw], [np.array([[1.0], [2.0], [INF], [0.0]])])
    assert rows.store(store_differences, ALL, damping)[0] == INF
    np.testing.assert_array_equal(rows.rows(0), raw)
    rows = Rows([np.array([[NAN], [1.0]])], [np.array([[1.0], [1.0]])])
    assert np.isnan(rows.store(store_differences, ALL, damping)[0])
    assert np.isnan(rows.rows(0)[0, 0]) and rows.rows(0)[1, 0] == 1.0


def _extremes_of(x, found):
    k = np.uint64(len(x) - 1)
    found[0] = least_of(x, np.uint64(1), k)
    found[1] = total_of(x, np.uint64(1), k)
    largest = np.int64(0)
    for s in range(len(x) - 1):
        b = bits(x[s + 1])
        largest = b if b > largest else largest
    found[2] = of_bits(largest)


# Not declared by the decorator: those are the kernels of the library, which `warmup` compiles.
_extremes = Kernel(_extremes_of, (NOTHING, READ_F8, F8))


def extremes(row):
    """Least, sum and largest magnitude of a row that does not begin at element 0."""
    found = np.zeros(3)
    _extremes(np.array([-1e9, *row]), found)
    return found


@pytest.mark.parametrize("k", list(range(1, 10)) + [16, 45])
def test_least_largest_and_sum_of_rows(k, rng):
    for scale in (1.0, 1e-320, 1e300):
        row = scale * rng.uniform(-1.0, 1.0, k)
        least, total, largest = extremes(row)
        assert least == row.min() and largest == abs(row).max()
        assert total == pytest.approx(row.sum(), rel=1e-12, abs=1e-14 * scale)
    forbidden = np.where(rng.random(k) < 0.5, INF, rng.normal(size=k))
    assert extremes(forbidden)[0] == forbidden.min() and extremes(forbidden)[2] == abs(forbidden).max()


def _chosen_of(x, found):
    found[0] = lesser(x[0], x[1])
    found[1] = greater(x[0], x[1])


_chosen = Kernel(_chosen_of, (NOTHING, READ_F8, F8))


@pytest.mark.parametrize("one", [-INF, -1e300, -1.0, 0.0, 5e-324, 2.0, INF])
def test_lesser_and_greater_of_two(one):
    for other in (-INF, -3.0, 0.0, 1e300, INF):
        found = np.zeros(2)
        _chosen(np.array([one, other]), found)
        assert found.tolist() == [min(one, other), max(one, other)]


def test_least_of_odd_numbers():
    assert extremes([INF, INF])[0] == INF
    assert extremes([])[0] == INF and extremes([])[1] == 0.0
    assert extremes([1.0, -INF, -3.0])[0] == -INF
    assert extremes([0.0, 1.0])[0] == 0.0
    assert extremes([0.0, -0.0, 1.0])[0] == 0.0  # either zero: they are equal
    assert extremes([-1.0, -2.0, 5e-324])[0] == -2.0
    assert extremes([-0.0, 5e-324])[0] == 0.0 and extremes([-5e-324, 0.0])[0] == -5e-324
    assert np.isnan(extremes([1.0, NAN, INF])[2])  # NaN is the largest of all
