"""Penalties: values by hand, gradients by differences, every prox by minimising what it says it minimises."""

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from factorgraph_ebm.errors import ParameterError
from factorgraph_ebm.learning.oracle import UNREGULARIZED, Regularizer
from factorgraph_ebm.learning.regularizers import (
    Entries,
    VectorLayout,
    bind_regularizer,
    elastic_net,
    group,
    l1,
    l2,
)


class Two:
    """w = [emission (2, 3) without its last cell | transition (2, 2), symmetric], 5 + 3 entries."""

    n_free = 8
    names = ("emission", "transition")

    def entries(self, name):
        if name == "emission":
            return Entries(np.arange(5), np.arange(5), (2, 3))
        return Entries(np.array([5, 6, 6, 7]), np.arange(4), (2, 2))


W = np.array([1.0, -2.0, 0.0, 3.0, 4.0, -1.0, 0.5, 2.0])


def test_values_by_hand():
    layout = Two()
    assert l2(0.5).bind(layout).value(W) == 0.5 * np.sum(W**2)
    assert l1(2.0).bind(layout).value(W) == 2.0 * np.sum(abs(W))
    assert elastic_net(l1=2.0, l2=0.5).bind(layout).value(W) == 0.5 * np.sum(W**2) + 2.0 * np.sum(abs(W))
    # Rows of emission: (1, -2, 0) and (3, 4); the last cell is frozen.
    assert group(2.0, only="emission").bind(layout).value(W) == pytest.approx(2.0 * (np.sqrt(5.0) + 5.0))
    assert group(1.0, groups="parameters", only=["emission"]).bind(layout).value(W) == pytest.approx(np.sqrt(30.0))


def test_only_selects_and_tied_entries_count_once():
    layout = Two()
    one = l2(1.0, only="transition").bind(layout)
    assert one.value(W) == 1.0 + 0.25 + 4.0
    assert np.array_equal(one.gradient(W), [0, 0, 0, 0, 0, -2.0, 1.0, 4.0])
    assert np.array_equal(one.l2, [0, 0, 0, 0, 0, 1, 1, 1])
    with pytest.raises(ParameterError, match='only= names "emision".*Did you mean "emission"'):
        l1(1.0, only=("transition", "emision")).bind(layout)


def test_sums_of_several():
    layout = Two()
    both = bind_regularizer([l2(0.5, only="emission"), l2(0.25), l1(1.0, only="transition")], layout)
    assert both.value(W) == 0.5 * np.sum(W[:5] ** 2) + 0.25 * np.sum(W**2) + np.sum(abs(W[5:]))
    assert np.array_equal(both.gradient(W), 2.0 * np.where(np.arange(8) < 5, 0.75, 0.25) * W)
    assert np.array_equal(both.l1, [0, 0, 0, 0, 0, 1, 1, 1])
    assert both.l2 is None
    assert bind_regularizer(None, layout) is UNREGULARIZED
    assert bind_regularizer([], layout) is UNREGULARIZED
    nothing = bind_regularizer(l2(0.0), layout)
    assert nothing.gradient is None and nothing.prox is None and nothing.value(W) == 0.0


def test_what_each_offers():
    layout = Two()
    for penalty, gradient, prox, has_l1, has_l2 in [
        (l2(1.0), True, False, False, True),
        (l1(1.0), False, True, True, False),
        (elastic_net(1.0, 1.0), True, True, True, False),
        (group(1.0, only="emission"), False, True, False, False),
        ([l1(1.0), group(1.0, only="emission")], False, True, False, False),
    ]:
        found = bind_regularizer(penalty, layout)
        offered = (found.gradient is not None, found.prox is not None, found.l1 is not None, found.l2 is not None)
        assert offered == (gradient, prox, has_l1, has_l2)


@pytest.mark.parametrize("penalty", [l2(0.3), elastic_net(0.2, 0.4), [l2(0.1), group(0.5, only="emission")]])
def test_gradients_are_those_of_the_smooth_part(penalty):
    parts = penalty if isinstance(penalty, list) else [penalty]
    squares = bind_regularizer([part._replace(absolutes=0.0, lengths=0.0) for part in parts], Two())
    gradient = bind_regularizer(penalty, Two()).gradient(W)
    assert gradient == pytest.approx(scipy.optimize.approx_fprime(W, squares.value, 1e-7), abs=1e-5)


numbers = st.floats(-4.0, 4.0)


@settings(max_examples=40)
@given(
    st.lists(numbers, min_size=8, max_size=8),
    st.floats(0.0, 2.0),
    st.floats(0.0, 3.0),
    st.lists(st.floats(0.01, 3.0), min_size=8, max_size=8),
    st.booleans(),
    st.sampled_from(["rows", "parameters"]),
)
def test_prox_minimises_what_it_says(w, absolute, length, steps, one_step, groups):
    w, step = np.array(w), steps[0] if one_step else np.array(steps)
    rest = bind_regularizer([l1(absolute), group(length, groups, only="emission")], Two())
    if rest.prox is None:
        return

    def total(v):
        return rest.value(v) + np.sum((v - w) ** 2 / (2.0 * step))

    found = rest.prox(w, step)
    least = total(found)
    # It is strongly convex: what is least among small changes in many directions is least.
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-1, 1.0):
        for direction in [*np.eye(8), *-np.eye(8), *rng.normal(size=(8, 8)), -found, found - w]:
            assert total(found + size * direction) >= least - 1e-12 * max(1.0, least)


def test_prox_of_groups_is_exact():
    rows = group(1.0, only="emission").bind(Two())
    # (3, 4) has length 5: a step of 2.5 halves it. (1, -2, 0) has length sqrt 5 < 2.5: it goes to 0.
    assert rows.prox(W, 2.5)[:5] == pytest.approx([0.0, 0.0, 0.0, 1.5, 2.0], rel=1e-14)
    assert np.array_equal(rows.prox(W, 2.5)[5:], W[5:])
    # A step for each entry: the stationarity of the group, (v - w) / step + v / |v| = 0.
    steps = np.linspace(0.1, 2.0, 8)
    v = rows.prox(W, steps)
    for row in (slice(0, 3), slice(3, 5)):
        if v[row].any():
            length = np.sqrt(np.sum(v[row] ** 2))
            assert (v[row] - W[row]) / steps[row] + v[row] / length == pytest.approx(np.zeros(row.stop - row.start))
    for scale in (1e-200, 1e200):
        assert np.isfinite(rows.prox(scale * W, 1.0)).all()


def test_groups_that_overlap_are_refused():
    with pytest.raises(ParameterError, match='an entry of "transition" belongs to two groups'):
        group(1.0).bind(Two())  # symmetric: entry 6 lies in both rows
    assert group(1.0, groups="parameters").bind(Two()).value(W) == pytest.approx(np.sqrt(30.0) + np.sqrt(5.25))
    with pytest.raises(ParameterError, match='an entry of "emission" belongs to two groups'):
        bind_regularizer([group(1.0, only="emission"), group(2.0, only="emission")], Two())


def test_ones_own_regularizer():
    def value(w):
        return float(np.sum(np.cosh(w)))

    mine = Regularizer(value, np.sinh, None)
    assert bind_regularizer(mine, Two()) is mine
    both = bind_regularizer([l1(1.0), mine], Two())
    assert both.value(W) == pytest.approx(value(W) + np.sum(abs(W)))
    assert np.array_equal(both.gradient(W), np.sinh(W)) and both.l1 is not None and both.l2 is None
    assert bind_regularizer([l2(1.0), mine], Two()).gradient(W) == pytest.approx(2.0 * W + np.sinh(W))
    kinked = Regularizer(value, None, lambda w, step: w)
    with pytest.raises(ParameterError, match="the prox of their sum is not known"):
        bind_regularizer([l1(1.0), kinked], Two())


@pytest.mark.parametrize(
    "make", [lambda: l2(-1.0), lambda: l1(np.nan), lambda: elastic_net(1.0, np.inf), lambda: group(1.0, "columns")]
)
def test_bad_strengths_and_words(make):
    with pytest.raises(ParameterError, match="must be"):
        make()
    with pytest.raises(ParameterError, match="a regularizer is"):
        bind_regularizer([3.0], VectorLayout(1))


def test_a_single_number_and_an_empty_layout():
    class Scalar:
        n_free, names = 1, ("scale",)

        def entries(self, name):
            return Entries(np.zeros(1, np.int64), np.zeros(1, np.int64), ())

    assert group(2.0).bind(Scalar()).value(np.array([-3.0])) == 6.0
    empty = bind_regularizer([l1(1.0), group(1.0)], VectorLayout(0))
    assert empty.value(np.zeros(0)) == 0.0
