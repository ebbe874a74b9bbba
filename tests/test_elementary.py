"""exp(-x) and -log(x) of the kernels, against numpy in extended precision."""

import numba
import numpy as np
import pytest

from factorgraph_ebm.factors.elementary import LARGEST, exp_minus, minus_log

PRECISE = pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="no extended precision on this processor")
TINY, HUGE = np.finfo(float).tiny, np.finfo(float).max


def over(function, x):
    """`function` in a loop that is vectorised, as kernels use it."""
    scalar = function.compiled

    @numba.njit(error_model="numpy", fastmath={"contract", "nsz", "arcp"})
    def loop(x, out):
        for i in range(len(x)):
            out[i] = scalar(x[i])

    out = np.empty(len(x))
    loop(np.asarray(x, float), out)
    return out


def largest_error(found, exact):
    return float(np.max(np.abs((found - exact) / exact)))


@PRECISE
def test_exp_minus_over_its_range(rng):
    x = np.concatenate(
        [
            np.linspace(-700.0, np.nextafter(LARGEST, 0.0), 200_001),
            rng.uniform(-1.0, 1.0, 100_000),
            np.arange(-1009, 1021) * np.log(2.0) + rng.uniform(-1e-9, 1e-9, 2030),  # results about a power of two
            (np.arange(-1009, 1021) + 0.5) * np.log(2.0),  # where k rounds either way
            [0.0, -0.0, 5e-324, -5e-324, 1e-300, 1e-17, -1e-17],
        ]
    )
    assert largest_error(over(exp_minus, x), np.exp(-x.astype(np.longdouble))) < 3e-16


def test_exp_minus_at_its_edges():
    assert over(exp_minus, [0.0, -0.0]).tolist() == [1.0, 1.0]
    assert over(exp_minus, [LARGEST, 1e4, 1e300, HUGE, np.inf]).tolist() == [0.0] * 5
    assert over(exp_minus, [np.nextafter(LARGEST, 0.0)])[0] >= TINY  # the last value is still a normal number


@PRECISE
def test_minus_log_over_its_range(rng):
    powers = 2.0 ** np.arange(-1022, 1024)
    x = np.concatenate(
        [
            np.exp(rng.uniform(np.log(TINY), np.log(HUGE), 200_000)),
            rng.uniform(0.5, 2.0, 200_000),
            powers,
            np.nextafter(powers[1:], 0.0),
            np.nextafter(powers, HUGE),
            powers[1:] * np.sqrt(0.5),  # where the exponent steps
            1.0 + rng.uniform(-1e-6, 1e-6, 10_000),  # a small logarithm keeps its digits
            1.0 + np.array([-1, 1, 2, 3]) * np.finfo(float).eps,
            [TINY, HUGE],
        ]
    )
    x = x[x != 1.0]
    assert largest_error(over(minus_log, x), -np.log(x.astype(np.longdouble))) < 3e-16
    assert over(minus_log, [1.0]).tolist() == [0.0]


def test_minus_log_undoes_exp_minus():
    x = np.linspace(-700.0, 707.0, 20_001)
    np.testing.assert_allclose(over(minus_log, over(exp_minus, x)), x, rtol=3e-16, atol=5e-16)
