"""Messages of tables over two variables, in every form of messages (`engine.messages` says what the forms are).

    energies     m(j) = min over i of T(i, j) + x(i);   m(j) = -log sum over i of exp(-(T(i, j) + x(i)))
    weights      m(j) = sum over i of W(i, j) x(i),     W = exp(-T)
    odds         m = (W(0, 1) + W(1, 1) r) / (W(0, 0) + W(1, 0) r), the two sums by themselves
    differences  m = min(T(0, 1), T(1, 1) + h) - min(T(0, 0), T(1, 0) + h)

Row after row of the table is added, since that vectorises and adding along a row does not; so a kernel wants the states
it sends to side by side in memory. Where a run has a mirror, its tables lie in the store a second time, transposed,
`run[7]` elements further on.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import inlined, kernel
from factorgraph_ebm.factors.elementary import exp_minus, minus_log
from factorgraph_ebm.factors.extremes import lesser
from factorgraph_ebm.factors.message_kernels import LARGEST, SIGNATURE, SMALLEST, MessageKernels, is_target
from factorgraph_ebm.factors.packed import EIGHT, FOUR, least_of_eight, least_of_four
from factorgraph_ebm.factors.pair_weights import pair_weights, sides, weigh_pairs
from factorgraph_ebm.factors.prefetching import LINE, prefetch_lines
from factorgraph_ebm.factors.singles import singles
from factorgraph_ebm.factors.table_kernels import table_forbids, table_mixed

U8 = np.uint64


AHEAD = 64
"cache lines of own tables that are asked for before their turn, about"


@inlined
def _along(run, slot):  # type: ignore[no-untyped-def]
    """For messages to a slot: states and stride of the other slot and of this one, start of its rows, table offset.

    The copy of the table in which the states of the other slot lie side by side, if there is one.
    """
    if slot == 1 and run[7] > 0:  # the mirror
        return U8(run[8]), U8(1), U8(run[12]), U8(run[8]), U8(run[10]), U8(run[7])
    if slot == 1:
        return U8(run[8]), U8(run[9]), U8(run[12]), U8(run[13]), U8(run[10]), U8(0)
    return U8(run[12]), U8(run[13]), U8(run[8]), U8(run[9]), U8(run[14]), U8(0)


@kernel(*SIGNATURE)
def pair_min(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    _send_least(run, number, store, LINE, to_factor, out, scratch, low, high, target)


@kernel(*SIGNATURE)
def pair_min_single(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    """The same where `store` is of numbers in single precision, and `number` and the mirror count those."""
    _send_least(run, number, singles(store), 2 * LINE, to_factor, out, scratch, low, high, target)


@inlined
def _send_least(run, number, store, line, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    n = high - low
    base = U8(0)
    for slot in range(2):
        kf, sf, kt, st, m, mirror = sides(run, slot)
        # From memory, wide tables arrive faster row after row, where there are rows.
        rows = run[4] < 0 and kf * kt > U8(AHEAD * line) and (slot == 0 or run[7] > 0)
        packed = st == U8(1) and kt >= U8(FOUR) and not rows
        if packed and is_target(slot, target):
            _send_packed(run, number, store, line, to_factor, out, base, low, n, slot)
        kf, sf, kt, st, m, mirror = _along(run, slot)
        if is_target(slot, target) and not packed:
            if kf == U8(2) and kt == U8(2):
                m += U8(2) * low
                for f in range(n):
                    t = U8(run[4]) if run[4] >= 0 else number[low + f]
                    p, q = to_factor[m + U8(2) * f], to_factor[m + U8(2) * f + U8(1)]
                    x, y = store[t] + p, store[t + sf] + q
                    out[base + U8(2) * f] = x if x < y else y
                    x, y = store[t + st] + p, store[t + sf + st] + q
                    out[base + U8(2) * f + U8(1)] = x if x < y else y
            elif sf != U8(1):
                for f in range(n):
                    t = U8(run[4]) if run[4] >= 0 else number[low + f]
                    _least_apart(store, t, sf, st, kf, kt, to_factor, m + (low + f) * kf, out, base + f * kt)
            elif run[4] >= 0:
                t = mirror + U8(run[4])
                for f in range(U8(0), n & ~U8(1), U8(2)):
                    _least_of_two(store, t, st, kf, kt, to_factor, m + (low + f) * kf, out, base + f * kt)
                if n & U8(1):
                    f = n - U8(1)
                    _least_of_rows(store, t, st, kf, kt, to_factor, m + (low + f) * kf, out, base + f * kt)
            else:
                ahead = U8(1) + U8(AHEAD * line) // (kf * kt)
                last = U8(run[0]) - U8(1) if U8(1) < n and kf * kt <= U8(AHEAD * line) else U8(0)
                for f in range(n):
                    if low + f + ahead <= last:
                        prefetch_lines(store, mirror + number[low + f + ahead], kf * kt, line)
                    t = mirror + number[low + f]
                    _least_of_rows(store, t, st, kf, kt, to_factor, m + (low + f) * kf, out, base + f * kt)
        base += n * kt


@inlined
def _send_packed(run, number, store, line, to_factor, out, base, low, n, slot):  # type: ignore[no-untyped-def]
    """Messages to a slot of four states or more, four or eight at a time; the last may overlap those before them."""
    kf, sf, kt, _, m, mirror = sides(run, slot)
    ahead = U8(1) + U8(AHEAD * line) // (kf * kt)
    for f in range(n):
        t = mirror + (U8(run[4]) if run[4] >= 0 else number[low + f])
        if run[4] < 0:
            following = min(low + f + ahead, U8(run[0]) - U8(1))
            prefetch_lines(store, mirror + number[following], kf * kt, line)
        x, o = m + (low + f) * kf, base + f * kt
        if kt < U8(EIGHT):
            least_of_four(store, t, sf, kf, to_factor, x, out, o)
            c = kt - U8(FOUR)
            least_of_four(store, t + c, sf, kf, to_factor, x, out, o + c)
        else:
            for j in range(U8(0), kt, U8(EIGHT)):
                c = min(j, kt - U8(EIGHT))
                least_of_eight(store, t + c, sf, kf, to_factor, x, out, o + c)


@inlined
def _least_of_rows(store, t, st, kf, kt, x, m, out, o):  # type: ignore[no-untyped-def]
    """out[j] = min over i of store(i, j) + x[i], where store(., j) is a row; beyond the last is the last again."""
    last = kt - U8(1)
    for j in range(U8(0), kt, U8(4)):
        j1, j2, j3 = min(j + U8(1), last), min(j + U8(2), last), min(j + U8(3), last)
        e0, e1, e2, e3 = t + j * st, t + j1 * st, t + j2 * st, t + j3 * st
        a, b, c, d = np.inf, np.inf, np.inf, np.inf
        for i in range(kf):
            y = x[m + i]
            a = lesser(store[e0 + i] + y, a)
            b = lesser(store[e1 + i] + y, b)
            c = lesser(store[e2 + i] + y, c)
            d = lesser(store[e3 + i] + y, d)
        out[o + j] = a
        out[o + j1] = b
        out[o + j2] = c
        out[o + j3] = d


@inlined
def _least_of_two(store, t, st, kf, kt, x, m, out, o):  # type: ignore[no-untyped-def]
    """The same for two factors side by side that share a table: each row of it is read once for both."""
    last = kt - U8(1)
    n, p = m + kf, o + kt
    for j in range(U8(0), kt, U8(2)):
        j1 = min(j + U8(1), last)
        e0, e1 = t + j * st, t + j1 * st
        a, b, c, d = np.inf, np.inf, np.inf, np.inf
        for i in range(kf):
            y, z = x[m + i], x[n + i]
            v, w = store[e0 + i], store[e1 + i]
            a = lesser(v + y, a)
            b = lesser(w + y, b)
            c = lesser(v + z, c)
            d = lesser(w + z, d)
        out[o + j] = a
        out[o + j1] = b
        out[p + j] = c
        out[p + j1] = d


@inlined
def _least_apart(store, t, sf, st, kf, kt, x, m, out, o):  # type: ignore[no-untyped-def]
    """The same, numbers lying anywhere."""
    for j in range(kt):
        low = np.inf
        for i in range(kf):
            low = _less(store[t + i * sf + j * st] + x[m + i], low)
        out[o + j] = low


@inlined
def _less(a, b):  # type: ignore[no-untyped-def]
    return a if a < b else b


@kernel(*SIGNATURE)
def pair_sum(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    """Three passes over a block, so that exp and log run over long contiguous rows: exp, products, log."""
    n = high - low
    base = U8(0)
    for slot in range(2):
        kf, sf, kt, st, m, mirror = sides(run, slot)
        if is_target(slot, target):
            for i in range(n * kf):
                scratch[i] = exp_minus(to_factor[m + low * kf + i])
            weigh_pairs(run, number, weight, scratch, U8(0), out, base, low, n, slot)
            doubtful = False
            for i in range(n * kt):
                if not SMALLEST < out[base + i] < LARGEST:
                    doubtful = True
            if doubtful:
                for f in range(n):
                    t = mirror + (U8(run[4]) if run[4] >= 0 else number[low + f])
                    for j in range(kt):
                        total = out[base + f * kt + j]
                        if SMALLEST < total < LARGEST:
                            out[base + f * kt + j] = -np.log(total)
                        else:
                            out[base + f * kt + j] = _soft_minimum(
                                store, t + j * st, sf, kf, to_factor, m + (low + f) * kf
                            )
            else:
                for i in range(n * kt):
                    out[base + i] = minus_log(out[base + i])
        base += n * kt


@inlined
def _soft_minimum(store, t, stride, k, x, m):  # type: ignore[no-untyped-def]
    """-log sum over i of exp(-(store[t + i stride] + x[m + i])), shifted by its smallest term."""
    lowest = np.inf
    for i in range(k):
        value = store[t + i * stride] + x[m + i]
        lowest = value if value < lowest else lowest
    if lowest == np.inf:
        return lowest
    total = 0.0
    for i in range(k):
        total += np.exp(lowest - (store[t + i * stride] + x[m + i]))
    return lowest - np.log(total)


@inlined
def _turned(run, slot):  # type: ignore[no-untyped-def]
    """Strides of the other slot and of this one, and where messages of one number from the other begin."""
    if slot == 0:
        return U8(run[13]), U8(run[9]), U8(run[14])
    return U8(run[9]), U8(run[13]), U8(run[10])


@inlined
def _entry(run, slot, first, second):  # type: ignore[no-untyped-def]
    """Where the columns of an entry begin, state `first` in the other slot and `second` in this one (`add_columns`)."""
    return U8(run[7]) + U8(run[0]) * (U8(2 * second + first) if slot == 0 else U8(2 * first + second))


@kernel(*SIGNATURE)
def pair_odds(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    n = high - low
    for slot in range(2):
        if not is_target(slot, target):
            continue
        sf, st, m = _turned(run, slot)
        m += low
        base = U8(slot) * n
        below = base + U8(2) * n
        if run[4] >= 0:
            t = U8(run[4])
            a, b, c, d = weight[t], weight[t + sf], weight[t + st], weight[t + sf + st]
            for f in range(n):
                r = to_factor[m + f]
                out[base + f] = c + d * r
                out[below + f] = a + b * r
        else:
            a0, b0 = _entry(run, slot, 0, 0) + low, _entry(run, slot, 1, 0) + low
            a1, b1 = _entry(run, slot, 0, 1) + low, _entry(run, slot, 1, 1) + low
            for f in range(n):
                r = to_factor[m + f]
                out[base + f] = weight[a1 + f] + weight[b1 + f] * r
                out[below + f] = weight[a0 + f] + weight[b0 + f] * r


@kernel(*SIGNATURE)
def pair_differences(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    n = high - low
    for slot in range(2):
        if not is_target(slot, target):
            continue
        sf, st, m = _turned(run, slot)
        m += low
        base = U8(slot) * n
        if run[4] >= 0:
            t = U8(run[4])
            a, b, c, d = store[t], store[t + sf], store[t + st], store[t + sf + st]
            for f in range(n):
                h = to_factor[m + f]
                out[base + f] = _less(c, d + h) - _less(a, b + h)
        else:
            a0, b0 = _entry(run, slot, 0, 0) + low, _entry(run, slot, 1, 0) + low
            a1, b1 = _entry(run, slot, 0, 1) + low, _entry(run, slot, 1, 1) + low
            for f in range(n):
                h = to_factor[m + f]
                out[base + f] = _less(store[a1 + f], store[b1 + f] + h) - _less(store[a0 + f], store[b0 + f] + h)


PAIR = MessageKernels(
    pair_min, pair_sum, table_mixed, pair_weights, pair_odds, pair_differences, table_forbids, pair_min_single
)
