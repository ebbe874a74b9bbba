"""Sums over tables of two variables: m(j) = sum over i of W(i, j) x(i), W = exp(-T), for rows of weights.

Row after row of the table is added, since that vectorises and adding along a row does not; so a kernel wants the states
it sends to side by side in memory. Where a run has a mirror, its tables lie in the store a second time, transposed,
`run[7]` elements further on.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import inlined, kernel
from factorgraph_ebm.factors.message_kernels import SIGNATURE, is_target
from factorgraph_ebm.factors.prefetching import prefetch_row
from factorgraph_ebm.factors.register_sums import sum_one, sum_two

U8 = np.uint64


@inlined
def sides(run, slot):  # type: ignore[no-untyped-def]
    """For messages to a slot: states and stride of the other slot and of this one, start of its rows, table offset."""
    if slot == 0 and run[7] > 0:  # the mirror
        return U8(run[12]), U8(run[8]), U8(run[8]), U8(1), U8(run[14]), U8(run[7])
    if slot == 0:
        return U8(run[12]), U8(run[13]), U8(run[8]), U8(run[9]), U8(run[14]), U8(0)
    return U8(run[8]), U8(run[9]), U8(run[12]), U8(run[13]), U8(run[10]), U8(0)


@kernel(*SIGNATURE)
def pair_weights(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    n = high - low
    if run[8] == 4 and run[12] == 4 and run[9] == 4 and run[13] == 1:
        _weigh_fours(run, number, weight, to_factor, out, low, n, target)
        return
    base = U8(0)
    for slot in range(2):
        kf, _, kt, _, m, _ = sides(run, slot)
        if is_target(slot, target):
            weigh_pairs(run, number, weight, to_factor, m + low * kf, out, base, low, n, slot)
        base += n * kt


# Over a few states a loop costs more than what it does, most of it asking whether its arrays overlap: tables of 4 x 4
# are written out, which asks for no mirror, and makes both messages while the table is at hand.


@inlined
def _weigh_fours(run, number, weight, to_factor, out, low, n, target):  # type: ignore[no-untyped-def]
    one, two, three = U8(1), U8(2), U8(3)
    first, second = is_target(0, target), is_target(1, target)
    x, y = U8(run[10]) + U8(4) * low, U8(run[14]) + U8(4) * low
    for f in range(n):
        t = U8(run[4]) if run[4] >= 0 else number[low + f]
        if run[4] < 0:
            prefetch_row(weight, number[min(low + f + U8(8), U8(run[0]) - one)], U8(16))
        if first:
            o = U8(4) * f
            m = y + o
            a, b, c, d = to_factor[m], to_factor[m + one], to_factor[m + two], to_factor[m + three]
            for i in range(U8(4)):
                e = t + U8(4) * i
                out[o + i] = (weight[e] * a + weight[e + one] * b) + (weight[e + two] * c + weight[e + three] * d)
        if second:
            o = U8(4) * (n + f)
            m = x + U8(4) * f
            a, b, c, d = to_factor[m], to_factor[m + one], to_factor[m + two], to_factor[m + three]
            for j in range(U8(4)):
                e = t + j
                out[o + j] = (weight[e] * a + weight[e + U8(4)] * b) + (
                    weight[e + U8(8)] * c + weight[e + U8(12)] * d
                )


@inlined
def weigh_pairs(run, number, weight, x, m, out, base, low, n, slot):  # type: ignore[no-untyped-def]
    """out(f, j) = sum over i of W(i, j) x(f, i) for n factors from `low` on; rows of x from element m on."""
    kf, sf, kt, st, _, mirror = sides(run, slot)
    if kf == U8(2) and kt == U8(2):
        for f in range(n):
            t = U8(run[4]) if run[4] >= 0 else number[low + f]
            p, q = x[m + U8(2) * f], x[m + U8(2) * f + U8(1)]
            out[base + U8(2) * f] = weight[t] * p + weight[t + sf] * q
            out[base + U8(2) * f + U8(1)] = weight[t + st] * p + weight[t + sf + st] * q
        return
    if st != U8(1):
        for f in range(n):
            t = U8(run[4]) if run[4] >= 0 else number[low + f]
            o = base + f * kt
            for j in range(kt):
                out[o + j] = 0.0
            for i in range(kf):
                a = x[m + f * kf + i]
                e = t + i * sf
                for j in range(kt):
                    out[o + j] += weight[e + j * st] * a
        return
    # Two factors of a shared table at a time: each row of it is read once for both. One after another, to the same
    # bits: what a factor sends does not depend on what is beside it.
    paired = (n & ~U8(1)) if run[4] >= 0 else U8(0)
    for f in range(U8(0), paired, U8(2)):
        o, p = base + f * kt, base + (f + U8(1)) * kt
        for j in range(kt):
            out[o + j] = 0.0
            out[p + j] = 0.0
        sum_two(out, o, p, x, m + f * kf, m + (f + U8(1)) * kf, U8(1), weight, mirror + U8(run[4]), sf, kf, kt)
    for f in range(paired, n):
        t = mirror + (U8(run[4]) if run[4] >= 0 else number[low + f])
        o = base + f * kt
        for j in range(kt):
            out[o + j] = 0.0
        sum_one(out, o, x, m + f * kf, U8(1), weight, t, sf, kf, kt)
