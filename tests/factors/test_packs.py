import numpy as np
import pytest

from factorgraph_ebm._jit import F8, NOTHING, READ_F8, SIZE, Kernel
from factorgraph_ebm.factors.packs import (
    added,
    filled,
    finite,
    greaters,
    greatest_in,
    least_in,
    least_of_row,
    less,
    lessers,
    load,
    magnitude,
    store,
    times,
    turned_square,
)

U8 = np.uint64
INF = np.inf


def _each(x, out):
    p, q = load(x, U8(1)), load(x, U8(5))
    store(out, U8(0), added(p, q))
    store(out, U8(4), less(p, q))
    store(out, U8(8), times(p, q))
    store(out, U8(12), lessers(p, q))
    store(out, U8(16), greaters(p, q))
    store(out, U8(20), finite(p, q))
    store(out, U8(24), magnitude(p))
    store(out, U8(28), filled(x[U8(0)]))
    out[U8(32)], out[U8(33)] = least_in(q), greatest_in(q)


each = Kernel(_each, (NOTHING, READ_F8, F8))


def _turn(x, out):
    a, b, c, d = turned_square(load(x, U8(0)), load(x, U8(4)), load(x, U8(8)), load(x, U8(12)))
    store(out, U8(0), a)
    store(out, U8(4), b)
    store(out, U8(8), c)
    store(out, U8(12), d)


turn = Kernel(_turn, (NOTHING, READ_F8, F8))


def _least(x, out, first, k):
    out[U8(0)] = least_of_row(x, first, k)


least = Kernel(_least, (NOTHING, READ_F8, F8, SIZE, SIZE))


def test_four_numbers_at_once():
    p, q = np.array([1.0, -3.0, INF, np.nan]), np.array([2.0, -4.0, 0.5, 7.0])
    out = np.zeros(34)
    each(np.array([9.0, *p, *q]), out)
    expected = [p + q, p - q, p * q, [1.0, -4.0, 0.5, 7.0], [2.0, -3.0, INF, 7.0], [1.0, -3.0, 0.5, 7.0]]
    np.testing.assert_array_equal(out[:32], np.concatenate([*expected, np.abs(p), np.full(4, 9.0)]))
    assert out[32:].tolist() == [-4.0, 7.0]


def test_a_square_is_turned(rng):
    square, out = rng.normal(size=(4, 4)), np.zeros(16)
    turn(square.ravel(), out)
    np.testing.assert_array_equal(out.reshape(4, 4), square.T)


@pytest.mark.parametrize("k", [0, 1, 3, 4, 7, 15, 16, 17, 20, 39])
def test_least_of_a_row_of_any_length(k, rng):
    row, out = rng.normal(size=k + 4), np.zeros(1)
    row[rng.integers(k + 4, size=2)] = INF
    least(row, out, 2, k)
    assert out[0] == row[2 : k + 2].min(initial=INF)
