"""Messages of a linear constraint over whole numbers: dynamic programming over its partial sums.

    E = c(sum over j of a_j y_j),     a_j >= 0,    y_j = x_j or its mirror image K_j - 1 - x_j

    F_j(t) = join over y of F_(j-1)(t - a_j y) + x_j(y)        G_j(t) = join over y of x_j(y) + G_(j+1)(t + a_j y)
    m_j(y) = join over t of F_(j-1)(t) + G_(j+1)(t + a_j y),        G_(n+1) = c

(Dantzig, Oper. Res. 5(2), 1957, for knapsacks; the same recursion counts.) Sums run over 0 .. B, where c has its last
entry: larger ones are dropped, as for "at most", or count as B, as for "at least".

The numbers of a factor are c(0) .. c(B). The constants of a run are

    B + 1, 1 where larger sums count as B, then for each slot a_j, negative where y_j is the mirror image
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import inlined, kernel
from factorgraph_ebm.factors.elementary import exp_minus, minus_log
from factorgraph_ebm.factors.message_kernels import SIGNATURE, is_target

U8 = np.uint64


@inlined
def _pass(  # type: ignore[no-untyped-def]
    scratch, source, into, totals, sums, low, high, a, saturate, forward, to_factor, m, k, turned, soft
):
    """One slot more: into(t + a y) joins source(t) + x(y), or back, into(t) joins source(t + a y) + x(y).

    `low` sums can be reached before the slot and `high` after it: the others are not looked at.
    """
    for t in range(high if forward else low):
        scratch[into + t] = np.inf
        scratch[totals + t] = 0.0
    for summing in range(2 if soft else 1):
        for y in range(k):
            x = to_factor[m + (k - U8(1) - y if turned else y)]
            if x == np.inf:
                continue
            shift = U8(min(a * y, np.float64(sums)))
            within = min(low, sums - shift)
            read = source if forward else source + shift
            write = shift if forward else U8(0)
            if summing == 0:
                for t in range(within):
                    value = scratch[read + t] + x
                    o = into + write + t
                    scratch[o] = value if value < scratch[o] else scratch[o]
            else:
                for t in range(within):
                    value = scratch[read + t] + x
                    least = scratch[into + write + t]
                    scratch[totals + write + t] += exp_minus(value - (least if least < np.inf else 0.0))
            if saturate:
                final = sums - U8(1)
                for t in range(within, low):
                    value = scratch[source + (t if forward else final)] + x
                    o = final if forward else t
                    least = scratch[into + o]
                    if summing == 0:
                        scratch[into + o] = value if value < least else least
                    elif value < np.inf:
                        scratch[totals + o] += exp_minus(value - least)
    if soft:
        for t in range(high if forward else low):
            total = scratch[totals + t]
            scratch[into + t] += minus_log(total if total > 0.0 else 1.0)


@inlined
def _meet(scratch, before, after, sums, low, shift, saturate, soft):  # type: ignore[no-untyped-def]
    """Join over t of before(t) + after(t + shift), of the first `low` sums."""
    final = sums - U8(1)
    within = min(low, sums - shift)
    least = np.inf
    for t in range(within):
        value = scratch[before + t] + scratch[after + shift + t]
        least = value if value < least else least
    if saturate:
        for t in range(within, low):
            value = scratch[before + t] + scratch[after + final]
            least = value if value < least else least
    if not soft or least == np.inf:
        return least
    total = 0.0
    for t in range(within):
        total += exp_minus(scratch[before + t] + scratch[after + shift + t] - least)
    if saturate:
        for t in range(within, low):
            total += exp_minus(scratch[before + t] + scratch[after + final] - least)
    return least + minus_log(total)


@inlined
def _only_state(to_factor, m, k):  # type: ignore[no-untyped-def]
    """The one state that a message allows, or -1."""
    only = -1
    for s in range(np.int64(k)):
        if to_factor[m + U8(s)] < np.inf:
            if only >= 0:
                return -1
            only = s
    return only


@inlined
def _count(reach, sums):  # type: ignore[no-untyped-def]
    """How many sums from 0 on can be reached."""
    return U8(min(reach, np.float64(sums) - 1.0)) + U8(1)


@inlined
def _send(run, store, c, constants, to_factor, out, scratch, f, place, n, target, soft):  # type: ignore[no-untyped-def]
    """All messages of one factor: partial sums from the first slot on in scratch, from the last slot back beside.

    Decoding asks for one slot at a time, with most of the others decided: their part of the sum is known.
    """
    arity = run[1]
    first, last = arity, -1
    for slot in range(arity):
        if is_target(slot, target):
            first = min(first, slot)
            last = slot
    sums = U8(constants[U8(run[5])])
    saturate = constants[U8(run[5]) + U8(1)] == 1.0
    weights = U8(run[5]) + U8(2)
    reach, energy = 0.0, 0.0
    if first == last:
        for j in range(arity):
            k = U8(run[8 + 4 * j])
            m = U8(run[8 + 4 * j + 2]) + f * k
            state = _only_state(to_factor, m, k)
            if j != first and state >= 0:
                a = constants[weights + U8(j)]
                reach += abs(a) * (np.int64(k) - 1 - state if a < 0.0 else state)
                energy += to_factor[m + U8(state)]
    if reach >= sums:
        energy = energy if saturate else np.inf
        reach = np.float64(sums) - 1.0
    after, spare, totals, rows = U8(0), sums, U8(2) * sums, U8(3) * sums
    for t in range(sums):
        scratch[rows + t] = energy if t == U8(reach) else np.inf
        scratch[after + t] = store[c + t]
    row = rows
    for j in range(arity):
        k = U8(run[8 + 4 * j])
        m = U8(run[8 + 4 * j + 2]) + f * k
        if first == last and j != first and _only_state(to_factor, m, k) >= 0:
            continue
        a = constants[weights + U8(j)]
        further = reach + abs(a) * (np.float64(k) - 1.0)
        if j < last:
            _pass(
                scratch, row, row + sums, totals, sums, _count(reach, sums), _count(further, sums), abs(a), saturate,
                True, to_factor, m, k, a < 0.0, soft,
            )  # fmt: skip
            row += sums
        reach = further
    # `row` is where the sums before the last target are
    end = n * _width(run, arity)
    for i in range(arity - first):
        j = arity - 1 - i
        k = U8(run[8 + 4 * j])
        m = U8(run[8 + 4 * j + 2]) + f * k
        end -= n * k
        if first == last and j != first and _only_state(to_factor, m, k) >= 0:
            continue
        a = constants[weights + U8(j)]
        further = reach
        reach -= abs(a) * (np.float64(k) - 1.0)
        low = _count(reach, sums)
        if is_target(j, target):
            o = end + place * k
            for y in range(k):
                shift = U8(min(abs(a) * y, np.float64(sums)))
                out[o + (k - U8(1) - y if a < 0.0 else y)] = _meet(
                    scratch, row, after, sums, low, shift, saturate, soft
                )
        if j > first:
            _pass(
                scratch, after, spare, totals, sums, low, _count(further, sums), abs(a), saturate, False, to_factor,
                m, k, a < 0.0, soft,
            )  # fmt: skip
            after, spare = spare, after
        if j <= last:
            row -= sums


@inlined
def _width(run, slots):  # type: ignore[no-untyped-def]
    """States of so many slots together."""
    width = U8(0)
    for slot in range(slots):
        width += U8(run[8 + 4 * slot])
    return width


@kernel(*SIGNATURE)
def linear_constraint_min(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    for f in range(low, high):
        c = U8(run[4]) if run[4] >= 0 else number[f]
        _send(run, store, c, constants, to_factor, out, scratch, f, f - low, high - low, target, False)


@kernel(*SIGNATURE)
def linear_constraint_sum(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    for f in range(low, high):
        c = U8(run[4]) if run[4] >= 0 else number[f]
        _send(run, store, c, constants, to_factor, out, scratch, f, f - low, high - low, target, True)


@kernel(*SIGNATURE)
def linear_constraint_mixed(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    """Soft slots from the end on, then hard ones: what is left is a function of the target's own part of the sum."""
    arity = run[1]
    n = high - low
    sums = U8(constants[U8(run[5])])
    saturate = constants[U8(run[5]) + U8(1)] == 1.0
    weights = U8(run[5]) + U8(2)
    for f in range(low, high):
        c = U8(run[4]) if run[4] >= 0 else number[f]
        for slot in range(arity):
            if not is_target(slot, target):
                continue
            after, spare = U8(0), sums
            for t in range(sums):
                scratch[after + t] = store[c + t]
            for hard in range(2):
                for j in range(arity):
                    if j == slot or (run[8 + 4 * j + 3] == 0) != (hard == 1):
                        continue
                    k = U8(run[8 + 4 * j])
                    a = constants[weights + U8(j)]
                    _pass(
                        scratch, after, spare, U8(2) * sums, sums, sums, sums, abs(a), saturate, False, to_factor,
                        U8(run[8 + 4 * j + 2]) + f * k, k, a < 0.0, hard == 0,
                    )  # fmt: skip
                    after, spare = spare, after
            k = U8(run[8 + 4 * slot])
            a = constants[weights + U8(slot)]
            o = n * _width(run, slot) + (f - low) * k
            for y in range(k):
                end = U8(min(abs(a) * y, np.float64(sums)))
                beyond = end == sums and not saturate
                value = np.inf if beyond else scratch[after + min(end, sums - U8(1))]
                out[o + (k - U8(1) - y if a < 0.0 else y)] = value
