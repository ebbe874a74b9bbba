"""Inner products in one fixed order: BLAS would split them by its number of threads, and round differently for each.

`np.einsum` of two vectors is one vectorised loop of NumPy's own on the calling thread. `pieces.by_pieces` shares the
others among threads.
"""

import numpy as np

from factorgraph_ebm._jit import F8, READ_F8, READ_U1, REAL, kernel
from factorgraph_ebm.arrays import F64


def dot(x: F64, y: F64) -> float:
    """Sum of x * y.

    Examples
    --------
    >>> dot(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    11.0
    """
    return float(np.einsum("i,i->", x, y))


def norm(x: F64) -> float:
    """Euclidean length of x."""
    return float(np.sqrt(np.einsum("i,i->", x, x)))


# The two loops of L-BFGS are bound by memory: in one pass instead of two they take half the time. Eight sums, because
# one would wait for itself at every element, and the compiler may not reorder it.
@kernel(REAL, F8, REAL, READ_F8, READ_F8)
def add_and_dot(q, share, x, y):  # type: ignore[no-untyped-def]
    """q += share * x, then the sum of q * y."""
    a = b = c = d = e = f = g = h = 0.0
    blocks = len(q) // 8
    for block in range(np.uint64(blocks)):
        i = np.uint64(8) * block
        q[i] += share * x[i]
        q[i + 1] += share * x[i + 1]
        q[i + 2] += share * x[i + 2]
        q[i + 3] += share * x[i + 3]
        q[i + 4] += share * x[i + 4]
        q[i + 5] += share * x[i + 5]
        q[i + 6] += share * x[i + 6]
        q[i + 7] += share * x[i + 7]
        a += q[i] * y[i]
        b += q[i + 1] * y[i + 1]
        c += q[i + 2] * y[i + 2]
        d += q[i + 3] * y[i + 3]
        e += q[i + 4] * y[i + 4]
        f += q[i + 5] * y[i + 5]
        g += q[i + 6] * y[i + 6]
        h += q[i + 7] * y[i + 7]
    for j in range(np.uint64(8 * blocks), np.uint64(len(q))):
        q[j] += share * x[j]
        a += q[j] * y[j]
    return ((a + e) + (c + g)) + ((b + f) + (d + h))


# A choice of numbers, not of instructions: where half of the entries are held, a branch would be guessed wrong.
@kernel(REAL, F8, REAL, READ_F8, READ_F8, READ_U1)
def add_and_dot_free(q, share, x, y, held):  # type: ignore[no-untyped-def]
    """As `add_and_dot` over the entries that are not held; those of q that are must be 0, and stay so."""
    total = 0.0
    for i in range(np.uint64(len(q))):
        q[i] += (share if held[i] == 0 else 0.0) * x[i]
        total += q[i] * y[i]
    return total


@kernel(REAL, READ_F8, READ_F8, READ_U1)
def dot_free(x, y, held):  # type: ignore[no-untyped-def]
    """Sum of x * y over the entries that are not held."""
    total = 0.0
    for i in range(np.uint64(len(x))):
        total += (x[i] if held[i] == 0 else 0.0) * y[i]
    return total


@kernel(REAL, READ_F8, READ_F8, F8)
def subtract_and_square(x, y, out):  # type: ignore[no-untyped-def]
    """out = x - y, then the sum of its squares."""
    total = 0.0
    for i in range(np.uint64(len(x))):
        difference = x[i] - y[i]
        out[i] = difference
        total += difference * difference
    return total


@kernel(REAL, READ_F8, REAL, READ_F8, F8)
def step_along(w, step, direction, out):  # type: ignore[no-untyped-def]
    """out = w + step * direction; returns 0."""
    for i in range(np.uint64(len(w))):
        out[i] = w[i] + step * direction[i]
    return 0.0


@kernel(REAL, READ_F8, READ_F8)
def scaled_square(x, scale):  # type: ignore[no-untyped-def]
    """Sum of scale * x^2."""
    total = 0.0
    for i in range(np.uint64(len(x))):
        total += scale[i] * x[i] * x[i]
    return total


@kernel(REAL, READ_F8, READ_F8)
def unscaled_square(x, scale):  # type: ignore[no-untyped-def]
    """Sum of x^2 / scale."""
    total = 0.0
    for i in range(np.uint64(len(x))):
        total += x[i] * x[i] / scale[i]
    return total


@kernel(REAL, READ_F8, READ_F8, READ_F8, REAL, REAL, REAL, F8)
def rescale(scale, step, change, ratio, product, length, out):  # type: ignore[no-untyped-def]
    """out = 1 / (ratio / scale + change^2 / product - ratio (step / scale)^2 / length); returns 0."""
    for i in range(np.uint64(len(scale))):
        before = ratio / scale[i]
        taken = step[i] / scale[i]
        now = before - ratio * taken * taken / length
        # Nothing but rounding takes it below 0; a thousandth is kept, so that one pair never decides alone.
        now = now if now > 1e-3 * before else 1e-3 * before
        out[i] = 1.0 / (now + change[i] * change[i] / product)
    return 0.0
