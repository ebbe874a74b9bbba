"""The variable's side: leave-one-out sums, beliefs, probabilities, lowest states."""

from __future__ import annotations

import numpy as np
import pytest

from factorgraph_ebm.arrays import ALL
from factorgraph_ebm.engine.variables import lowest_states, send_to_factors, sum_beliefs, to_probabilities

BELOW, ABOVE = 0, 1  # slots before the split; from it on


class Star:
    """Variables of `states` with so many slots each, `split` of them below; rows scattered over the message array."""

    def __init__(self, rng, states, degree, split, draw):
        self.states, self.degree, self.split = states, degree, split
        self.start = np.concatenate([[0], np.cumsum(states)]).astype(np.uint64)
        self.slot_start = np.concatenate([[0], np.cumsum(degree)]).astype(np.uint32)
        self.slot_split = (self.slot_start[:-1] + split).astype(np.uint32)
        rows = np.repeat(states, degree)
        order = rng.permutation(len(rows))
        place = np.empty(len(rows), np.int64)
        place[order] = np.concatenate([[0], np.cumsum(rows[order])[:-1]]) + 2 * np.arange(len(rows))
        self.slot_message = place.astype(np.uint64)
        self.to_variable = np.full(int(rows.sum()) + 2 * len(rows), np.nan)
        self.incoming = []
        for v, k in enumerate(states):
            mine = draw(rng, (degree[v], k))
            for i, row in enumerate(mine):
                m = place[self.slot_start[v] + i]
                self.to_variable[m : m + k] = row
            self.incoming.append(mine)
        self.unary = np.concatenate([draw(rng, (1, k))[0] for k in states])

    def row(self, messages, v, i):
        m = int(self.slot_message[self.slot_start[v] + i])
        return messages[m : m + self.states[v]]

    def unary_of(self, v):
        return self.unary[int(self.start[v]) : int(self.start[v + 1])]

    def send(self, target, low=0, high=None):
        to_factor = np.full(len(self.to_variable), np.nan)
        scratch = np.full(max(self.states), np.nan)
        high = len(self.states) if high is None else high
        send_to_factors(
            self.unary, self.start, self.slot_start, self.slot_split, self.slot_message, self.to_variable, to_factor,
            scratch, np.full(len(self.states), np.nan), low, high, target,
        )  # fmt: skip
        return to_factor


def finite(rng, shape):
    return rng.normal(size=shape)


def forbidden(rng, shape):
    rows = rng.normal(size=shape)
    rows[rng.random(shape) < 0.3] = np.inf
    return rows


def huge(rng, shape):
    return rng.choice([0.0, 1.0, -2.5, 1e300], shape)


SIZES = {"states": [2, 2, 3, 1, 16, 2, 4], "degree": [0, 3, 4, 2, 5, 1, 1], "split": [0, 1, 4, 0, 3, 1, 0]}


@pytest.mark.parametrize("draw", [finite, forbidden, huge])
@pytest.mark.parametrize("target", [ALL, BELOW, ABOVE])
def test_a_message_is_the_sum_of_all_the_others(draw, target, rng):
    star = Star(rng, draw=draw, **SIZES)
    to_factor = star.send(target)
    for v, k in enumerate(star.states):
        for i in range(star.degree[v]):
            found = star.row(to_factor, v, i)
            if target != ALL and (i < star.split[v]) != (target == BELOW):
                assert np.isnan(found).all(), "sent to a slot that is not a target"
                continue
            others = np.delete(star.incoming[v], i, axis=0).astype(np.longdouble)
            expected = star.unary_of(v) + others.sum(axis=0)
            if expected.min() < np.inf:  # a row without an allowed state has no minimum to take away
                expected = expected - expected.min()
            assert found.shape == (k,)
            np.testing.assert_allclose(found, expected.astype(float), rtol=1e-15, atol=1e-14)
            assert found.min() in (0.0, np.inf)


def test_one_huge_message_costs_the_others_no_digits(rng):
    """belief - own message would give 1e300 - 1e300 here."""
    star = Star(rng, [2, 3], [3, 3], [1, 1], finite)
    for v in (0, 1):
        star.row(star.to_variable, v, 1)[:] = np.array([0.0, 1e300, 1e300])[: star.states[v]]
    to_factor = star.send(ALL)
    for v in (0, 1):
        expected = star.unary_of(v) + star.incoming[v][0] + star.incoming[v][2]
        np.testing.assert_allclose(star.row(to_factor, v, 1), expected - expected.min(), rtol=1e-14, atol=1e-15)


def test_only_the_range_asked_for_is_sent(rng):
    star = Star(rng, draw=finite, **SIZES)
    whole, some = star.send(ALL), star.send(ALL, 2, 5)
    for v in range(len(star.states)):
        for i in range(star.degree[v]):
            if 2 <= v < 5:
                np.testing.assert_array_equal(star.row(some, v, i), star.row(whole, v, i))
            else:
                assert np.isnan(star.row(some, v, i)).all()


@pytest.mark.parametrize("draw", [finite, forbidden, huge])
def test_beliefs_probabilities_and_lowest_states(draw, rng):
    star = Star(rng, draw=draw, **SIZES)
    n = len(star.states)
    belief, probability, state = np.empty(len(star.unary)), np.empty(len(star.unary)), np.empty(n, np.int64)
    sum_beliefs(star.unary, star.start, star.slot_start, star.slot_message, star.to_variable, belief, 0, n)
    to_probabilities(star.start, belief, probability)
    lowest_states(star.start, belief, state)
    for v in range(n):
        row = slice(int(star.start[v]), int(star.start[v + 1]))
        expected = star.unary_of(v) + star.incoming[v].sum(axis=0)
        np.testing.assert_allclose(belief[row], expected, rtol=1e-14, atol=1e-14)
        assert state[v] == np.argmin(belief[row])  # the lowest of several
        if expected.min() < np.inf:
            weight = np.exp(belief[row].min() - belief[row])
            np.testing.assert_allclose(probability[row], weight / weight.sum(), rtol=1e-14)
        else:
            assert (probability[row] == 0.0).all()
