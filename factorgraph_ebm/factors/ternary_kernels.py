"""Messages of tables over three variables, all three in one walk over the table.

For each pair of states (a, b) of the first two slots, with row T(a, b, .) of the table:

    to the third       out(c) += x(a) y(b) T(a, b, c)
    to the other two   d = sum over c of T(a, b, c) z(c);  out(a) += y(b) d,  out(b) += x(a) d

and the same with minima and sums. An entry is read once for its three messages.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import inlined, kernel
from factorgraph_ebm.factors.message_kernels import SIGNATURE, MessageKernels, is_target
from factorgraph_ebm.factors.prefetching import prefetch_row
from factorgraph_ebm.factors.table_kernels import table_forbids, table_mixed, table_sum

U8 = np.uint64


@kernel(*SIGNATURE)
def ternary_weights(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    k0, k1, k2 = U8(run[8]), U8(run[12]), U8(run[16])
    s0, s1, s2 = U8(run[9]), U8(run[13]), U8(run[17])
    n = high - low
    if k0 == U8(4) and k1 == U8(4) and k2 == U8(4) and s0 == U8(16) and s1 == U8(4) and s2 == U8(1):
        _weigh_fours(run, number, weight, to_factor, out, scratch, low, n, target)
        return
    last = is_target(2, target)
    others = is_target(0, target) or is_target(1, target)
    for f in range(low, high):
        t = U8(run[4]) if run[4] >= 0 else number[f]
        x, y, z = U8(run[10]) + f * k0, U8(run[14]) + f * k1, U8(run[18]) + f * k2
        # What is no target is written to working space.
        oa, ob, oc = U8(0), k0, k0 + k1
        for i in range(k0 + k1 + k2):
            scratch[i] = 0.0
        for a in range(k0):
            xa = to_factor[x + a]
            total = 0.0
            for b in range(k1):
                e = t + a * s0 + b * s1
                yb = to_factor[y + b]
                dot = 0.0
                if others:
                    for c in range(k2):
                        dot += weight[e + c * s2] * to_factor[z + c]
                if last:
                    xy = xa * yb
                    for c in range(k2):
                        scratch[oc + c] += xy * weight[e + c * s2]
                total += yb * dot
                scratch[ob + b] += xa * dot
            scratch[oa + a] = total
        if is_target(0, target):
            _write(scratch, oa, out, (f - low) * k0, k0)
        if is_target(1, target):
            _write(scratch, ob, out, n * k0 + (f - low) * k1, k1)
        if last:
            _write(scratch, oc, out, n * (k0 + k1) + (f - low) * k2, k2)


@inlined
def _weigh_fours(run, number, weight, to_factor, out, scratch, low, n, target):  # type: ignore[no-untyped-def]
    """Tables of 4 x 4 x 4, written out: loops over four states cost more than what they do.

    r(b, c) = sum over a of x(a) T(a, b, c);  out(b) = sum over c of z(c) r(b, c);  out(c) = sum over b of y(b) r(b, c)
    """
    first, second, third = is_target(0, target), is_target(1, target), is_target(2, target)
    x, y, z = U8(run[10]) + U8(4) * low, U8(run[14]) + U8(4) * low, U8(run[18]) + U8(4) * low
    oa, ob, oc = U8(0), U8(4) * n, U8(8) * n
    for f in range(n):
        t = U8(run[4]) if run[4] >= 0 else number[low + f]
        if run[4] < 0:
            prefetch_row(weight, number[min(low + f + U8(4), U8(run[0]) - U8(1))], U8(64))
        y0, y1, y2, y3 = to_factor[y], to_factor[y + U8(1)], to_factor[y + U8(2)], to_factor[y + U8(3)]
        z0, z1, z2, z3 = to_factor[z], to_factor[z + U8(1)], to_factor[z + U8(2)], to_factor[z + U8(3)]
        if first:
            for a in range(U8(4)):
                e = t + U8(16) * a
                total = y0 * _dot(weight, e, z0, z1, z2, z3) + y1 * _dot(weight, e + U8(4), z0, z1, z2, z3)
                total += y2 * _dot(weight, e + U8(8), z0, z1, z2, z3) + y3 * _dot(weight, e + U8(12), z0, z1, z2, z3)
                out[oa + a] = total
        if second or third:
            x0, x1, x2, x3 = to_factor[x], to_factor[x + U8(1)], to_factor[x + U8(2)], to_factor[x + U8(3)]
            for r in range(U8(16)):
                e = t + r
                scratch[r] = (weight[e] * x0 + weight[e + U8(16)] * x1) + (
                    weight[e + U8(32)] * x2 + weight[e + U8(48)] * x3
                )
        if second:
            for b in range(U8(4)):
                out[ob + b] = _dot(scratch, U8(4) * b, z0, z1, z2, z3)
        if third:
            for c in range(U8(4)):
                out[oc + c] = (scratch[c] * y0 + scratch[c + U8(4)] * y1) + (
                    scratch[c + U8(8)] * y2 + scratch[c + U8(12)] * y3
                )
        x, y, z = x + U8(4), y + U8(4), z + U8(4)
        oa, ob, oc = oa + U8(4), ob + U8(4), oc + U8(4)


@inlined
def _dot(x, i, a, b, c, d):  # type: ignore[no-untyped-def]
    return (x[i] * a + x[i + U8(1)] * b) + (x[i + U8(2)] * c + x[i + U8(3)] * d)


@inlined
def _write(scratch, first, out, o, k):  # type: ignore[no-untyped-def]
    for s in range(k):
        out[o + s] = scratch[first + s]


@kernel(*SIGNATURE)
def ternary_min(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    k0, k1, k2 = U8(run[8]), U8(run[12]), U8(run[16])
    s0, s1, s2 = U8(run[9]), U8(run[13]), U8(run[17])
    n = high - low
    last = is_target(2, target)
    others = is_target(0, target) or is_target(1, target)
    for f in range(low, high):
        t = U8(run[4]) if run[4] >= 0 else number[f]
        x, y, z = U8(run[10]) + f * k0, U8(run[14]) + f * k1, U8(run[18]) + f * k2
        oa, ob, oc = U8(0), k0, k0 + k1
        for i in range(k0 + k1 + k2):
            scratch[i] = np.inf
        for a in range(k0):
            xa = to_factor[x + a]
            best = np.inf
            for b in range(k1):
                e = t + a * s0 + b * s1
                yb = to_factor[y + b]
                low_of_row = np.inf
                if others:
                    for c in range(k2):
                        value = store[e + c * s2] + to_factor[z + c]
                        low_of_row = value if value < low_of_row else low_of_row
                if last:
                    xy = xa + yb
                    for c in range(k2):
                        value = xy + store[e + c * s2]
                        scratch[oc + c] = value if value < scratch[oc + c] else scratch[oc + c]
                value = yb + low_of_row
                best = value if value < best else best
                value = xa + low_of_row
                scratch[ob + b] = value if value < scratch[ob + b] else scratch[ob + b]
            scratch[oa + a] = best
        if is_target(0, target):
            _write(scratch, oa, out, (f - low) * k0, k0)
        if is_target(1, target):
            _write(scratch, ob, out, n * k0 + (f - low) * k1, k1)
        if last:
            _write(scratch, oc, out, n * (k0 + k1) + (f - low) * k2, k2)


TERNARY = MessageKernels(ternary_min, table_sum, table_mixed, ternary_weights, forbids=table_forbids)
