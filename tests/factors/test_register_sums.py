"""Sums in registers equal matrix products, for every width, and two at once have the bits of one alone."""

import numpy as np
import pytest

from factorgraph_ebm._jit import AT_F8, NOTHING, SIZE, Kernel
from factorgraph_ebm.factors.register_sums import sum_one, sum_two


def declare(*arguments):
    """A kernel that is not counted among those of the library."""
    return lambda function: Kernel(function, (NOTHING, *arguments))


@declare(AT_F8, SIZE, AT_F8, SIZE, SIZE, AT_F8, SIZE, SIZE, SIZE, SIZE)
def one(out, o, x, y, step, w, e, stride, n, k):
    sum_one(out, o, x, y, step, w, e, stride, n, k)


@declare(AT_F8, SIZE, SIZE, AT_F8, SIZE, SIZE, SIZE, AT_F8, SIZE, SIZE, SIZE, SIZE)
def two(out, o, p, x, y, z, step, w, e, stride, n, k):
    sum_two(out, o, p, x, y, z, step, w, e, stride, n, k)


@pytest.mark.parametrize("k", [*range(1, 30), 45])
@pytest.mark.parametrize(("n", "step"), [(0, 1), (1, 1), (7, 3)])
def test_sums(rng, k, n, step):
    out, x, w = rng.normal(size=2 * k + 3), rng.normal(size=2 * 7 * 3 + 1), rng.normal(size=(8, k + 2))
    first = out[1 : 1 + k] + x[1 : 1 + n * step : step] @ w[:n, 2:]
    second = out[k + 2 : 2 * k + 2] + x[21 : 21 + n * step : step] @ w[:n, 2:]
    both, alone = out.copy(), out.copy()
    two(both, 1, k + 2, x, 1, 21, step, w.ravel(), 2, k + 2, n, k)
    one(alone, 1, x, 1, step, w.ravel(), 2, k + 2, n, k)
    one(alone, k + 2, x, 21, step, w.ravel(), 2, k + 2, n, k)
    expected = out.copy()
    expected[1 : 1 + k], expected[k + 2 : 2 * k + 2] = first, second
    np.testing.assert_allclose(both, expected, rtol=0, atol=1e-13)
    assert np.array_equal(both, alone)
