"""The variable's side in weights, odds and differences: products and sums over all other slots, and beliefs."""

from __future__ import annotations

import numpy as np
import pytest

from factorgraph_ebm.arrays import ALL
from factorgraph_ebm.engine.binary import (
    LONG,
    decide_differences,
    decide_odds,
    measure_rows,
    send_differences,
    send_odds,
    share_odds,
)
from factorgraph_ebm.engine.messages import SMALLEST
from factorgraph_ebm.engine.weights import join_weights, send_weights

BELOW, ABOVE = 0, 1  # slots before the split; from it on
NAN = np.nan
DEGREES = list(range(13))


class Star:
    """Variables with rows of `widths`, `degree` slots each, `split` of them below; rows scattered, gaps NaN."""

    def __init__(self, rng, widths, degree, split, draw):
        self.widths, self.degree, self.split = np.array(widths), degree, split
        self.start = np.concatenate([[0], np.cumsum(widths)]).astype(np.uint64)
        self.slot_start = np.concatenate([[0], np.cumsum(degree)]).astype(np.uint32)
        self.slot_split = (self.slot_start[:-1] + split).astype(np.uint32)
        rows = np.repeat(self.widths, degree)
        order = rng.permutation(len(rows))
        place = np.empty(len(rows), np.int64)
        place[order] = np.concatenate([[0], np.cumsum(rows[order])[:-1]]) + 2 * np.arange(len(rows))
        self.slot_message = place.astype(np.uint64)
        self.to_variable = np.full(int(rows.sum()) + 2 * len(rows), NAN)
        self.incoming = [draw(rng, (d, k)) for d, k in zip(degree, widths)]
        for v, mine in enumerate(self.incoming):
            for i, row in enumerate(mine):
                self.row(self.to_variable, v, i)[:] = row
        self.own = [draw(rng, (1, k))[0] for k in widths]
        self.unary = np.concatenate(self.own)

    def row(self, messages, v, i):
        m = int(self.slot_message[self.slot_start[v] + i])
        return messages[m : m + self.widths[v]]

    def send(self, kernel, target, low=0, high=None):
        """(to_factor, shift), the shift of variable v at its place."""
        n = len(self.widths)
        to_factor, shift = np.full(len(self.to_variable), NAN), np.full(n, NAN)
        high = n if high is None else high
        # Messages lie apart: where they are single numbers, each variable is a row of its own.
        start = self.start if kernel is send_weights else np.ones(n, np.uint64)
        kernel(
            self.unary, start, self.slot_start, self.slot_split, self.slot_message, self.to_variable, to_factor,
            np.full(max(self.widths), NAN), shift[low:], low, high, target,
        )  # fmt: skip
        return to_factor, shift

    def sent(self, kernel, target):
        """(v, its slot, message, shift) of every slot that is a target."""
        to_factor, shift = self.send(kernel, target)
        for v in range(len(self.widths)):
            for i in range(self.degree[v]):
                found = self.row(to_factor, v, i)
                if target == ALL or (i < self.split[v]) == (target == BELOW):
                    yield v, i, found, shift[v]
                else:
                    assert np.isnan(found).all(), "sent to a slot that is not a target"


def stars(rng, draw, width=None):
    """One star for each place of the split: a variable of every degree, with rows of one width or of several."""
    for many in ([0] * 13, [d // 2 for d in DEGREES], [max(0, d - 1) for d in DEGREES], DEGREES):
        widths = [width or k for k in rng.choice([1, 2, 3, 4, 7, 16], len(DEGREES))]
        yield Star(rng, widths, DEGREES, many, draw)


def plain(rng, shape):
    rows = rng.uniform(0.2, 1.0, shape)
    return rows / rows.sum(axis=1, keepdims=True)


def zeros(rng, shape):
    rows = plain(rng, shape)
    rows[rng.random(shape) < 0.15] = 0.0
    return rows


def uneven(rng, shape):
    """One state of each row as it is, the others as small as messages of a dozen neighbours may be."""
    rows = np.exp2(rng.uniform(-15.0, 0.0, shape))
    rows[:, 0] = 1.0
    return rows


def extreme(rng, shape):
    return np.exp2(rng.uniform(-239.0, 0.0, shape))


@pytest.mark.parametrize("draw", [plain, zeros, uneven])
@pytest.mark.parametrize("target", [ALL, BELOW, ABOVE])
def test_weights_are_products_of_all_the_others(draw, target, rng):
    """Up to a power of two; where one slot is the target, `shift` says which, as an energy."""
    for star in stars(rng, draw):
        for v, i, found, shift in star.sent(send_weights, target):
            others = np.delete(star.incoming[v], i, axis=0).astype(np.longdouble)
            expected = star.own[v] * others.prod(axis=0)
            targets = star.degree[v] if target == ALL else abs(star.split[v] - (target == ABOVE) * star.degree[v])
            scale = 1.0
            if star.degree[v] > 4 and expected.any():
                scale = found.max() / expected.max()
                assert np.log2(scale) == pytest.approx(np.round(np.log2(scale)), abs=1e-12)
                if targets == 1:
                    assert float(np.log(scale)) == pytest.approx(shift, rel=1e-13, abs=1e-13)
            elif targets == 1 and star.degree[v] <= 4:
                assert shift == 0.0
            np.testing.assert_array_equal(found == 0.0, expected == 0.0)
            np.testing.assert_allclose(found, (expected * scale).astype(float), rtol=1e-14, atol=0.0)


@pytest.mark.parametrize("target", [ALL, BELOW, ABOVE])
def test_extreme_weights_are_right_or_lost(target, rng):
    """What is kept can be multiplied by three more; a row that loses a digit is lost as a whole."""
    kept = lost = 0
    for star in stars(rng, extreme):
        for v, i, found, _ in star.sent(send_weights, target):
            if np.isnan(found).any():
                assert np.isnan(found).all()
                lost += 1
                continue
            kept += 1
            assert (found >= SMALLEST).all()
            expected = star.own[v] * np.delete(star.incoming[v], i, axis=0).astype(np.longdouble).prod(axis=0)
            scale = found.max() / expected.max()
            np.testing.assert_allclose(found, (expected * scale).astype(float), rtol=1e-14)
    assert kept > 20 and lost > 20


@pytest.mark.parametrize("draw", [plain, zeros, uneven, extreme])
def test_beliefs_of_weights(draw, rng):
    for star in stars(rng, draw):
        n = len(star.widths)
        probability, free = np.full(len(star.unary), NAN), np.full(n, NAN)
        scattered = star.start, star.slot_start, star.slot_message, star.to_variable
        join_weights(star.unary, *scattered, probability, free, 0, n)
        for v in range(n):
            found = probability[int(star.start[v]) : int(star.start[v + 1])]
            joint = star.own[v] * star.incoming[v].astype(np.longdouble).prod(axis=0)
            if np.isnan(found).any():
                assert draw is extreme and star.degree[v] > 3 and np.isnan(free[v])
            elif not joint.any():
                assert free[v] == np.inf and not found.any()
            else:
                np.testing.assert_allclose(found, (joint / joint.sum()).astype(float), rtol=2e-14)
                assert free[v] == pytest.approx(float(-np.log(joint.sum())), rel=1e-13, abs=1e-13)


def odds(rng, shape):
    return np.exp2(rng.normal(scale=3.0, size=shape))


def extreme_odds(rng, shape):
    return np.exp2(rng.uniform(-200.0, 200.0, shape))


@pytest.mark.parametrize("draw", [odds, extreme_odds])
@pytest.mark.parametrize("target", [ALL, BELOW, ABOVE])
def test_odds_are_products_of_all_the_others(draw, target, rng):
    """Right, or NaN where a product on the way came near to the ends of the number range."""
    kept = 0
    for star in stars(rng, draw, width=1):
        for v, i, found, _ in star.sent(send_odds, target):
            expected = star.own[v] * np.delete(star.incoming[v], i, axis=0).astype(np.longdouble).prod(axis=0)
            if np.isnan(found).any():
                assert draw is extreme_odds and star.degree[v] > 4
                continue
            np.testing.assert_allclose(found, expected.astype(float), rtol=1e-14)
            kept += 1
    assert kept > 40


def differences(rng, shape):
    return rng.normal(scale=4.0, size=shape)


def certain(rng, shape):
    """Some bits certain, all of them alike: what contradicts is NaN, and tested by itself."""
    rows = rng.normal(scale=4.0, size=shape)
    rows[rng.random(shape) < 0.2] = np.inf
    return rows


@pytest.mark.parametrize("draw", [differences, certain])
@pytest.mark.parametrize("target", [ALL, BELOW, ABOVE])
def test_differences_are_sums_of_all_the_others(draw, target, rng):
    for star in stars(rng, draw, width=1):
        for v, i, found, _ in star.sent(send_differences, target):
            expected = star.own[v] + np.delete(star.incoming[v], i, axis=0).sum(axis=0)
            np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-13)


@pytest.mark.parametrize("send, draw", [(send_differences, differences), (send_odds, odds), (send_weights, plain)])
def test_a_number_that_was_lost_spreads_to_all_others(send, draw, rng):
    for degree in range(2, 13):
        star = Star(rng, [1], [degree], [degree // 2], draw)
        lost = degree // 3
        star.row(star.to_variable, 0, lost)[:] = NAN
        to_factor, _ = star.send(send, ALL)
        for i in range(degree):
            assert np.isnan(star.row(to_factor, 0, i)).all() == (i != lost)


@pytest.mark.parametrize("send, draw", [(send_differences, differences), (send_odds, odds), (send_weights, plain)])
def test_only_the_range_asked_for_is_sent(send, draw, rng):
    star = Star(rng, [1] * 13, DEGREES, [d // 2 for d in DEGREES], draw)
    whole, some = star.send(send, ALL)[0], star.send(send, ALL, 3, 9)[0]
    for v in range(13):
        for i in range(star.degree[v]):
            if 3 <= v < 9:
                np.testing.assert_array_equal(star.row(some, v, i), star.row(whole, v, i))
            else:
                assert np.isnan(star.row(some, v, i)).all()


class Stretch:
    """Variables of `degree` slots, `split` below, the messages of each `stride` behind those of the last; then more."""

    def __init__(self, rng, n, degree, split, draw, stride):
        self.n = n
        self.slot_start = np.append(np.arange(n + 2) * degree, (n + 2) * degree + 1).astype(np.uint32)
        self.slot_split = self.slot_start[:-1] + np.append(np.full(n + 1, split), 1).astype(np.uint32)
        room = (n + 9) * stride
        first = rng.permutation(degree) * (1 if stride >= degree else room)
        row = (first + stride * np.arange(n + 2)[:, None]).ravel()
        row[-degree:] += 3
        self.slot_message = np.append(row, degree * room).astype(np.uint64)
        self.to_variable = np.full(degree * room + 1, NAN)
        self.to_variable[self.slot_message.astype(int)] = draw(rng, len(self.slot_message))
        self.unary = draw(rng, n + 2)
        self.row = np.zeros(n + 2, np.uint64)
        measure_rows(self.slot_start, self.slot_split, self.slot_message, self.row)

    def send(self, kernel, row, target, low, high):
        to_factor = np.full(len(self.to_variable), NAN)
        kernel(
            self.unary, row, self.slot_start, self.slot_split, self.slot_message, self.to_variable, to_factor,
            np.full(2 * LONG, NAN), np.zeros(0), low, high, target,
        )  # fmt: skip
        return to_factor


@pytest.mark.parametrize("send, draw", [(send_odds, odds), (send_odds, extreme_odds), (send_differences, certain)])
@pytest.mark.parametrize("degree", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("stride", [1, 2, 5])
def test_rows_of_variables_are_sent_as_each_of_them(stride, degree, send, draw, rng):
    for n in (1, 7, 8, 9, 50, LONG + 13):
        for split in {0, degree // 2, degree - 1, degree}:
            stretch = Stretch(rng, n, degree, split, draw, stride)
            np.testing.assert_array_equal(stretch.row, [*range(n + 1, 0, -1), 1])
            alone = np.ones(n + 2, np.uint64)
            for target in (ALL, BELOW, ABOVE):
                for low, high in [(0, n + 2), (n // 3, n), (n // 2, n // 2)]:
                    found = stretch.send(send, stretch.row, target, low, high)
                    np.testing.assert_array_equal(found, stretch.send(send, alone, target, low, high))


def test_rows_end_where_variables_differ():
    """In degree, in which slots come before the split, or in how far behind a message lies; or without messages."""
    degree, split = np.array([0, 0, 2, 2, 2, 2, 1, 1, 1, 1]), np.array([0, 0, 1, 1, 1, 2, 1, 1, 1, 1])
    slot_start = np.append(0, np.cumsum(degree)).astype(np.uint32)
    message = np.array([0, 20, 1, 21, 2, 22, 3, 23, 4, 6, 8, 5], np.uint64)
    row = np.zeros(10, np.uint64)
    measure_rows(slot_start, slot_start[:-1] + split.astype(np.uint32), message, row)
    np.testing.assert_array_equal(row, [1, 1, 3, 2, 1, 1, 3, 2, 1, 1])
    # Slots that lie differently far behind, and a stride that changes: the first two are alike still.
    row, message = np.zeros(3, np.uint64), np.array([0, 10, 1, 12, 2, 14], np.uint64)
    measure_rows(np.arange(0, 8, 2).astype(np.uint32), np.arange(0, 6, 2).astype(np.uint32), message, row)
    np.testing.assert_array_equal(row, [1, 1, 1])
    row = np.zeros(4, np.uint64)
    measure_rows(np.arange(5, dtype=np.uint32), np.arange(4, dtype=np.uint32), np.array([0, 1, 3, 5], np.uint64), row)
    np.testing.assert_array_equal(row, [2, 3, 2, 1])
    measure_rows(np.zeros(1, np.uint32), np.zeros(0, np.uint32), np.zeros(0, np.uint64), row[:0])


@pytest.mark.parametrize(
    "decide, draw",
    [(decide_odds, odds), (decide_odds, extreme_odds), (decide_differences, differences)],
)
def test_states_of_some_variables_are_those_of_their_beliefs(decide, draw, rng):
    """Of a part of a list, in which one may stand twice; a belief in odds that was lost decides for state 0."""
    found = []
    for star in stars(rng, draw, width=1):
        n = len(star.widths)
        state = np.full(n, -1)
        chosen = rng.integers(n, size=12).astype(np.uint32)
        decide(star.unary, star.slot_start, star.slot_message, star.to_variable, chosen, state, 2, 9)
        expected = np.full(n, -1)
        for v in chosen[2:9].tolist():
            rows = np.append(star.own[v], star.incoming[v]).astype(np.longdouble)
            one = rows.prod() > 1.0 if decide is decide_odds else rows.sum() < 0.0
            size = abs(np.log2(rows.cumprod()))[1:] if decide is decide_odds else np.zeros(1)
            expected[v] = int(one) if (size < -np.log2(SMALLEST)).all() else 0
            found.append(expected[v])
        np.testing.assert_array_equal(state, expected)
    assert 0.1 < np.mean(found) < 0.9


@pytest.mark.parametrize("draw", [odds, extreme_odds])
def test_probabilities_of_odds(draw, rng):
    """Of two states with messages by the odds; of one state, of more, and without messages by the energies."""
    for star in stars(rng, draw, width=1):
        states = np.where((np.array(star.degree) == 0) | (rng.random(13) < 0.2), rng.integers(1, 4, 13), 2)
        star.slot_start = np.append(0, np.cumsum(np.where(states == 2, star.degree, 0))).astype(np.uint32)
        star.slot_message = star.slot_message[np.repeat(states == 2, star.degree)]
        start = np.append(0, np.cumsum(states)).astype(np.uint64)
        energy = rng.normal(size=int(start[-1]))
        energy[int(start[0]) : int(start[1])] = np.inf
        probability, lost = np.full(len(energy), NAN), np.full(13, NAN)
        share_odds(energy, start, star.unary, star.slot_start, star.slot_message, star.to_variable, probability, lost)
        for v in range(13):
            found, row = (x[int(start[v]) : int(start[v + 1])] for x in (probability, energy))
            if v == 0:
                assert lost[v] == np.inf and (found == 0.0).all()
            elif states[v] != 2 or not star.degree[v]:
                np.testing.assert_allclose(found, np.exp(-row) / np.exp(-row).sum(), rtol=1e-14)
                assert lost[v] == 0.0
            elif np.isnan(lost[v]):
                assert draw is extreme_odds and np.isnan(found).all()
            else:
                on = star.own[v][0] * star.incoming[v].astype(np.longdouble).prod()
                np.testing.assert_allclose(found, [float(1 / (1 + on)), float(on / (1 + on))], rtol=1e-14)
                assert lost[v] == 0.0
