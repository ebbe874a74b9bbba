"""Largest and least numbers of a row, found through their bits.

A minimum of floats does not vectorise, since it must know what to do with NaN; one of integers does. The bits of a
double, read as an integer, are in the order of its magnitude; with the lower bits of negative numbers turned over, in
the order of the numbers themselves.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import inlined

I8 = np.int64
_MAGNITUDE = 0x7FFFFFFFFFFFFFFF


@inlined
def bits(x):  # type: ignore[no-untyped-def]
    """The bits of |x| as an integer: in the order of |x|, NaN last."""
    return np.float64(x).view(np.int64) & I8(_MAGNITUDE)


@inlined
def of_bits(b):  # type: ignore[no-untyped-def]
    return np.int64(b).view(np.float64)


@inlined
def least_of(x, first, k):  # type: ignore[no-untyped-def]
    """Least of the k numbers from element `first` on, none of them NaN; +inf where k is 0."""
    least = I8(0x7FF0000000000000)
    for s in range(k):
        b = np.float64(x[first + s]).view(np.int64)
        b ^= (b >> I8(63)) & I8(_MAGNITUDE)
        least = b if b < least else least
    least ^= (least >> I8(63)) & I8(_MAGNITUDE)
    return np.int64(least).view(np.float64)
