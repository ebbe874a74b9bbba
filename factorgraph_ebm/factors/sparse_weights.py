"""Lists of configurations of two variables in rows of weights: messages, and expected indicators from rows at hand.

    m(j) = sum over rows r = (i, j) of W_r x(i)
    sum over f of share_f p_f(r) = W_r * sum over f of (share_f / z_f) a_f(i) b_f(j)

A list takes as long as it has rows, whatever the number of states; where it is shared, it is read once for four
factors.
See `pair_products` for z, of which the sums of the list by state of the last variable are all that is needed.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import AT_F8, AT_I8, AT_U4, NOTHING, SIZE, inlined, kernel
from factorgraph_ebm.factors.message_kernels import SIGNATURE, is_target

U8 = np.uint64


@kernel(*SIGNATURE)
def sparse_weights(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    n = U8(high - low)
    k0, k1 = U8(run[8]), U8(run[12])
    if is_target(0, target):
        for e in range(n * k0):
            out[e] = 0.0
        x, m = U8(0), U8(run[14]) + U8(low) * k1
        _send(run, number, weight, constants, to_factor, m, k1, out, x, k0, low, n, U8(0))
    if is_target(1, target):
        for e in range(n * k0, n * (k0 + k1)):
            out[e] = 0.0
        x, m = n * k0, U8(run[10]) + U8(low) * k0
        _send(run, number, weight, constants, to_factor, m, k0, out, x, k1, low, n, U8(1))


@inlined
def _send(run, number, weight, constants, to_factor, m, kf, out, o, kt, low, n, slot):  # type: ignore[no-untyped-def]
    """To one slot of n factors from `low` on: rows of the other one from element m on, those of `out` from o on."""
    c = U8(run[5])
    rows = U8(constants[c + U8(1)])
    which = c + U8(2)
    there, here = which + rows + U8(1) - slot, which + rows + slot
    fours = n & ~U8(3) if run[4] >= 0 else U8(0)
    for f in range(U8(0), fours, U8(4)):
        p, a = m + f * kf, o + f * kt
        q, s, t = p + kf, p + U8(2) * kf, p + U8(3) * kf
        b, d, e = a + kt, a + U8(2) * kt, a + U8(3) * kt
        for r in range(rows):
            w = weight[U8(run[4]) + U8(constants[which + r])]
            i, j = U8(constants[there + U8(2) * r]), U8(constants[here + U8(2) * r])
            out[a + j] += w * to_factor[p + i]
            out[b + j] += w * to_factor[q + i]
            out[d + j] += w * to_factor[s + i]
            out[e + j] += w * to_factor[t + i]
    for f in range(fours, n):
        first = U8(run[4]) if run[4] >= 0 else number[U8(low) + f]
        for r in range(rows):
            w = weight[first + U8(constants[which + r])]
            i, j = U8(constants[there + U8(2) * r]), U8(constants[here + U8(2) * r])
            out[o + f * kt + j] += w * to_factor[m + f * kf + i]


def room_for_sparse(k0: int, k1: int) -> int:
    """Elements of working space that `add_sparse_products` needs for lists of k0 by k1 states."""
    return max(k0, k1) + 4


@kernel(NOTHING, AT_I8, AT_F8, AT_F8, AT_F8, AT_F8, AT_U4, AT_U4, AT_F8, AT_F8, AT_F8, SIZE, SIZE)
def add_sparse_products(  # type: ignore[no-untyped-def]
    run, weight, constants, to_variable, to_factor, scope, variable_sample, share, sums, scratch, low, high
):  # fmt: skip
    """Add the products of factors low to high to `sums`, one for each row of the list; `share` is by sample."""
    c = U8(run[5])
    rows = U8(constants[c + U8(1)])
    which, listed = c + U8(2), c + U8(2) + rows
    k0, m0, k1, m1 = U8(run[8]), U8(run[10]), U8(run[12]), U8(run[14])
    last = U8(1) if run[6] == 1 else U8(0)
    k, m = (k1, m1) if last == U8(1) else (k0, m0)
    k_other, m_other = (k0, m0) if last == U8(1) else (k1, m1)
    for e in range(k):
        scratch[e] = 0.0
    for r in range(rows):
        scratch[U8(constants[listed + U8(2) * r + last])] += weight[U8(run[4]) + U8(constants[which + r])]
    start = U8(low)
    while start < high:
        n = U8(min(high - start, U8(4)))
        for g in range(n):
            f = start + g
            w = share[variable_sample[scope[U8(run[2]) + f]]]
            above, below = 0.0, 0.0
            if w != 0.0:
                for e in range(k):
                    above += scratch[e] * to_factor[m + f * k + e]
                for e in range(k_other):
                    below += to_factor[m_other + f * k_other + e] * to_variable[m_other + f * k_other + e]
            z = above * below
            scratch[k + g] = w / z if z > 0.0 else 0.0
        a, b = m0 + start * k0, m1 + start * k1
        if n == U8(4) and _all_there(scratch, k):
            s, t, u, v = scratch[k], scratch[k + U8(1)], scratch[k + U8(2)], scratch[k + U8(3)]
            for r in range(rows):
                i = a + U8(constants[listed + U8(2) * r])
                j = b + U8(constants[listed + U8(2) * r + U8(1)])
                found = s * to_factor[i] * to_factor[j]
                found += t * to_factor[i + k0] * to_factor[j + k1]
                found += u * to_factor[i + U8(2) * k0] * to_factor[j + U8(2) * k1]
                found += v * to_factor[i + U8(3) * k0] * to_factor[j + U8(3) * k1]
                sums[r] += found
        else:
            for g in range(n):
                scale = scratch[k + g]
                if scale == 0.0:  # its rows may be NaN
                    continue
                for r in range(rows):
                    i = a + g * k0 + U8(constants[listed + U8(2) * r])
                    j = b + g * k1 + U8(constants[listed + U8(2) * r + U8(1)])
                    sums[r] += scale * to_factor[i] * to_factor[j]
        start += n


@inlined
def _all_there(scratch, k):  # type: ignore[no-untyped-def]
    return scratch[k] != 0.0 and scratch[k + U8(1)] != 0.0 and scratch[k + U8(2)] != 0.0 and scratch[k + U8(3)] != 0.0
