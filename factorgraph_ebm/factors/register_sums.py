"""Sums of rows times numbers, for one or two results at once, that stay in registers.

    out_r[j] += sum over i < count of x_r[i step] * w[i stride + j],      j < k,  r = 1, 2

Up to 20 columns at a time (`graph.vector_sums`); what is over a multiple of four is left to single numbers.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import inlined
from factorgraph_ebm.graph.vector_sums import LANES, summing

U8 = np.uint64

_one_1, _one_2, _one_3, _one_4, _one_5 = (summing(vectors, "1") for vectors in "12345")
_two_1, _two_2, _two_3, _two_4, _two_5 = (summing(vectors, "2") for vectors in "12345")


@inlined
def sum_one(out, o, x, y, step, w, e, stride, n, k):  # type: ignore[no-untyped-def]
    """out[o + j] += sum over i < n of x[y + i step] * w[e + i stride + j], j < k; all are addresses."""
    vectors = k // U8(LANES)
    done = U8(0)
    while done < vectors:
        left = vectors - done
        at = U8(LANES) * done
        if left >= U8(5):
            _one_5(out, o + at, o, x, y, y, step, w, e + at, stride, n)
            done += U8(5)
        elif left == U8(4):
            _one_4(out, o + at, o, x, y, y, step, w, e + at, stride, n)
            done += U8(4)
        elif left == U8(3):
            _one_3(out, o + at, o, x, y, y, step, w, e + at, stride, n)
            done += U8(3)
        elif left == U8(2):
            _one_2(out, o + at, o, x, y, y, step, w, e + at, stride, n)
            done += U8(2)
        else:
            _one_1(out, o + at, o, x, y, y, step, w, e + at, stride, n)
            done += U8(1)
    for j in range(U8(LANES) * vectors, k):
        total = out[o + j]
        for i in range(n):
            total += x[y + i * step] * w[e + i * stride + j]
        out[o + j] = total


@inlined
def sum_two(out, o, p, x, y, z, step, w, e, stride, n, k):  # type: ignore[no-untyped-def]
    """The same for o and y, and for p and z, to the same bits: what is read of w is read once."""
    vectors = k // U8(LANES)
    done = U8(0)
    while done < vectors:
        left = vectors - done
        at = U8(LANES) * done
        if left >= U8(5):
            _two_5(out, o + at, p + at, x, y, z, step, w, e + at, stride, n)
            done += U8(5)
        elif left == U8(4):
            _two_4(out, o + at, p + at, x, y, z, step, w, e + at, stride, n)
            done += U8(4)
        elif left == U8(3):
            _two_3(out, o + at, p + at, x, y, z, step, w, e + at, stride, n)
            done += U8(3)
        elif left == U8(2):
            _two_2(out, o + at, p + at, x, y, z, step, w, e + at, stride, n)
            done += U8(2)
        else:
            _two_1(out, o + at, p + at, x, y, z, step, w, e + at, stride, n)
            done += U8(1)
    for j in range(U8(LANES) * vectors, k):
        first, second = out[o + j], out[p + j]
        for i in range(n):
            first += x[y + i * step] * w[e + i * stride + j]
            second += x[z + i * step] * w[e + i * stride + j]
        out[o + j], out[p + j] = first, second
