"""Expected indicators of tables, and of every structure without a statistics kernel through its table.

A pair of slots that read one shared table needs no array of joint marginals. With a = exp(-to_factor) of both slots,

    sum over f of share_f p_f(i, j) = exp(-T(i, j)) * sum over f of (share_f / z_f) a_f(i) b_f(j),
    z_f = sum over i, j of a_f(i) exp(-T(i, j)) b_f(j)

so that factors add products of two rows into one table, which is multiplied by the weights once, at the end.
"""

from __future__ import annotations

import math

import numpy as np

from factorgraph_ebm._jit import F8, NOTHING, READ_F8, READ_I8, READ_U8, SIZE, inlined, kernel
from factorgraph_ebm.factors.elementary import exp_minus
from factorgraph_ebm.factors.message_kernels import SMALLEST
from factorgraph_ebm.factors.statistics_kernels import SIGNATURE, StatisticsKernel

U8 = np.uint64
BLOCK = 64
"factors whose rows are worked on together"


def table_statistics_kernel(states: tuple[int, ...]) -> StatisticsKernel:
    """The kernel of tables over slots of so many states."""
    if len(states) == 2:
        return StatisticsKernel(pair_statistics, 2 * states[0] * states[1] + BLOCK * (states[0] + 2 * states[1]))
    return StatisticsKernel(table_statistics, 2 * math.prod(states))


@kernel(*SIGNATURE)
def pair_statistics(run, number, store, constants, to_factor, share, out, scratch, low, high):  # type: ignore[no-untyped-def]
    k0, s0, m0 = U8(run[8]), U8(run[9]), U8(run[10])
    k1, s1, m1 = U8(run[12]), U8(run[13]), U8(run[14])
    # scratch: weights of a table; sums of products of rows; of the factors of a block, a, b, and the weights times a
    sums = k0 * k1
    first = sums + sums
    second = first + U8(BLOCK) * k0
    third = second + U8(BLOCK) * k1
    shared = run[4]
    least = np.inf
    if shared >= 0:
        least = _weigh(store, U8(shared), s0, s1, k0, k1, scratch)
        for e in range(sums):
            scratch[sums + e] = 0.0
        if least == np.inf:
            return
    start = U8(low)
    while start < high:
        n = U8(high - start if high - start < U8(BLOCK) else BLOCK)
        for i in range(n * k0):
            scratch[first + i] = exp_minus(to_factor[m0 + start * k0 + i])
        for i in range(n * k1):
            scratch[second + i] = exp_minus(to_factor[m1 + start * k1 + i])
            scratch[third + i] = 0.0
        if shared >= 0:
            _add_product(scratch, first, k0, U8(1), n, k0, U8(0), third, k1)
        for f in range(start, start + n):
            a = first + (f - start) * k0
            b = second + (f - start) * k1
            u = third + (f - start) * k1
            scale = 0.0
            t = U8(shared) if shared >= 0 else number[f]
            if share[f] != 0.0:
                if shared < 0:
                    least = _weigh(store, t, s0, s1, k0, k1, scratch)
                    if least < np.inf:
                        _add_product(scratch, a, k0, U8(1), U8(1), k0, U8(0), u, k1)
                total = 0.0
                for j in range(k1):
                    total += scratch[u + j] * scratch[b + j]
                if total > SMALLEST:
                    scale = share[f] / total
                elif least < np.inf:
                    _add_shifted(store, t, s0, s1, k0, k1, to_factor, m0 + f * k0, m1 + f * k1, share[f], out)
            for i in range(k0):
                scratch[a + i] *= scale
            if shared < 0 and scale != 0.0:
                for i in range(k0):
                    c = scratch[a + i]
                    o = t + i * s0
                    for j in range(k1):
                        out[o + j * s1] += c * scratch[i * k1 + j] * scratch[b + j]
        if shared >= 0:
            _add_product(scratch, first, U8(1), k0, k0, n, second, sums, k1)
        start += n
    if shared >= 0:
        for i in range(k0):
            for j in range(k1):
                out[U8(shared) + i * s0 + j * s1] += scratch[i * k1 + j] * scratch[sums + i * k1 + j]


@inlined
def _weigh(store, t, s0, s1, k0, k1, out):  # type: ignore[no-untyped-def]
    """exp(-(table - its least entry)) in C order; returns that entry, +inf where all are forbidden."""
    least = np.inf
    for i in range(k0):
        e = t + i * s0
        for j in range(k1):
            x = store[e + j * s1]
            least = x if x < least else least
    if least < np.inf:
        for i in range(k0):
            e = t + i * s0
            for j in range(k1):
                out[i * k1 + j] = exp_minus(store[e + j * s1] - least)
    return least


@inlined
def _add_product(x, left, row, column, n, m, right, target, k):  # type: ignore[no-untyped-def]
    """x[target + g k + j] += sum over i < m of x[left + g row + i column] * x[right + i k + j], for g < n, j < k.

    Four rows on the right times two on the left: each row that is loaded is used twice, each sum is stored once in
    four products. The loop along a row is what vectorises: 0.12 ns a product at 45 states, 0.2 at 20.
    """
    one, two, three, four = U8(1), U8(2), U8(3), U8(4)
    g = U8(0)
    while g + one < n:
        o = target + g * k
        o2 = o + k
        i = U8(0)
        while i + four <= m:
            a = left + g * row + i * column
            b = a + row
            w = right + i * k
            w1, w2, w3 = w + k, w + two * k, w + three * k
            p, q, r, s = x[a], x[a + column], x[a + two * column], x[a + three * column]
            p2, q2, r2, s2 = x[b], x[b + column], x[b + two * column], x[b + three * column]
            for j in range(k):
                c, d, e, f = x[w + j], x[w1 + j], x[w2 + j], x[w3 + j]
                x[o + j] += p * c + q * d + r * e + s * f
                x[o2 + j] += p2 * c + q2 * d + r2 * e + s2 * f
            i += four
        while i < m:
            a = left + g * row + i * column
            w = right + i * k
            p, p2 = x[a], x[a + row]
            for j in range(k):
                c = x[w + j]
                x[o + j] += p * c
                x[o2 + j] += p2 * c
            i += one
        g += two
    if g < n:
        o = target + g * k
        for last in range(m):
            p = x[left + g * row + last * column]
            w = right + last * k
            for j in range(k):
                x[o + j] += p * x[w + j]


@inlined
def _add_shifted(store, t, s0, s1, k0, k1, to_factor, x, y, share, out):  # type: ignore[no-untyped-def]
    """One factor from its energies above the least: nothing underflows that counts."""
    least = np.inf
    for i in range(k0):
        for j in range(k1):
            value = store[t + i * s0 + j * s1] + to_factor[x + i] + to_factor[y + j]
            least = value if value < least else least
    if least == np.inf:
        return
    total = 0.0
    for i in range(k0):
        for j in range(k1):
            total += np.exp(least - (store[t + i * s0 + j * s1] + to_factor[x + i] + to_factor[y + j]))
    for i in range(k0):
        for j in range(k1):
            e = t + i * s0 + j * s1
            out[e] += share * (np.exp(least - (store[e] + to_factor[x + i] + to_factor[y + j])) / total)


@kernel(*SIGNATURE)
def table_statistics(run, number, store, constants, to_factor, share, out, scratch, low, high):  # type: ignore[no-untyped-def]
    """Any arity, entry by entry in C order. scratch: energies, then the place of each entry in the table."""
    entries = U8(1)
    for slot in range(run[1]):
        entries *= U8(run[8 + 4 * slot])
    scratch[entries] = 0.0
    size = U8(1)
    for slot in range(run[1]):
        k = U8(run[8 + 4 * slot])
        stride = run[8 + 4 * slot + 1]
        for back in range(size):
            last = size - U8(1) - back
            place = scratch[entries + last]
            for i in range(k):
                scratch[entries + last * k + i] = place + np.float64(np.int64(i) * stride)
        size *= k
    for f in range(low, high):
        if share[f] == 0.0:
            continue
        t = U8(run[4]) if run[4] >= 0 else number[f]
        _add_messages(run, to_factor, f, scratch)
        for e in range(entries):
            scratch[e] += store[t + U8(scratch[entries + e])]
        total = _to_weights(scratch, entries)
        if total > 0.0:
            scale = share[f] / total
            for e in range(entries):
                out[t + U8(scratch[entries + e])] += scale * scratch[e]


@kernel(
    NOTHING, READ_I8, READ_U8, READ_F8, READ_I8, READ_F8, READ_F8, READ_F8, READ_F8, F8, F8, SIZE, SIZE
)  # fmt: skip
def mapped_statistics(  # type: ignore[no-untyped-def]
    run, number, store, index, coefficient, constant, to_factor, share, out, scratch, low, high
):  # fmt: skip
    """Any structure, through its table: entry e is constant[e] + coefficient[e] * number[index[e]]."""
    entries = U8(len(index))
    for f in range(low, high):
        if share[f] == 0.0:
            continue
        t = U8(run[4]) if run[4] >= 0 else number[f]
        _add_messages(run, to_factor, f, scratch)
        for e in range(entries):
            scratch[e] += constant[e]
            # A coefficient of 0 is a plain 0, whatever the number: 0 * inf would be NaN.
            if coefficient[e] != 0.0 and index[e] >= 0:
                scratch[e] += coefficient[e] * store[t + U8(index[e])]
        total = _to_weights(scratch, entries)
        if total > 0.0:
            scale = share[f] / total
            for e in range(entries):
                if coefficient[e] != 0.0 and index[e] >= 0:
                    out[t + U8(index[e])] += scale * scratch[e] * coefficient[e]


@inlined
def _add_messages(run, to_factor, f, out):  # type: ignore[no-untyped-def]
    """out(x) = sum over the slots of their incoming energies, for all entries in C order."""
    out[0] = 0.0
    size = U8(1)
    for slot in range(run[1]):
        k = U8(run[8 + 4 * slot])
        m = U8(run[8 + 4 * slot + 2]) + U8(f) * k
        # From the last entry on: entry e is read before its place is written.
        for back in range(size):
            e = size - U8(1) - back
            before = out[e]
            for i in range(k):
                out[e * k + i] = before + to_factor[m + i]
        size *= k


@inlined
def _to_weights(energy, entries):  # type: ignore[no-untyped-def]
    """exp(-(energy - least)) in place; returns their sum, 0 where all are forbidden."""
    least = np.inf
    for e in range(entries):
        least = energy[e] if energy[e] < least else least
    if least == np.inf:
        return 0.0
    for e in range(entries):
        energy[e] = exp_minus(energy[e] - least)
    total = 0.0
    for e in range(entries):
        total += energy[e]
    return total
