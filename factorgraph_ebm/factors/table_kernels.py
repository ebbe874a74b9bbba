"""Messages of tables of energies, of any arity and any strides: also the fallback of every other structure.

    min-sum      m_s(i) = min over x with x_s = i of  T(x) + sum over t != s of m_t(x_t)
    sum-product  m_s(i) = -log sum over the same x of exp of minus that

Kschischang, Frey and Loeliger, "Factor graphs and the sum-product algorithm", IEEE Trans. Inf. Theory 47(2), 2001.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import inlined, kernel
from factorgraph_ebm.factors.elementary import exp_minus
from factorgraph_ebm.factors.message_kernels import (
    FORBIDS,
    LARGEST,
    SIGNATURE,
    SMALLEST,
    MessageKernels,
    is_target,
)

U8 = np.uint64


# Any arity. The entries of a table are walked in C order of the slots; `digit`, `partial` and `place` live in scratch:
# partial[s + 1] is the sum of the incoming energies of slots up to s, and place[s + 1] the element of the table.


@kernel(*SIGNATURE)
def table_min(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    arity = run[1]
    base = 0
    for slot in range(arity):
        k = run[8 + 4 * slot]
        if is_target(slot, target):
            for f in range(low, high):
                _table_min_to(run, number, store, to_factor, out, scratch, f, slot, U8(base) + (f - low) * U8(k))
        base += np.int64(high - low) * k


@inlined
def _table_min_to(run, number, store, to_factor, out, scratch, f, slot, o):  # type: ignore[no-untyped-def]
    arity = run[1]
    t = run[4] if run[4] >= 0 else np.int64(number[f])
    for j in range(run[8 + 4 * slot]):
        out[o + U8(j)] = np.inf
    # digit s: scratch[s], partial: scratch[arity + s], place: scratch[2 * arity + 1 + s]
    for s in range(arity):
        scratch[s] = 0.0
    scratch[arity] = 0.0
    scratch[2 * arity + 1] = t
    depth = 0
    while depth >= 0:
        k = run[8 + 4 * depth]
        i = int(scratch[depth])
        if i == k:
            scratch[depth] = 0.0
            depth -= 1
            if depth >= 0:
                scratch[depth] += 1.0
            continue
        x = 0.0 if depth == slot else to_factor[run[8 + 4 * depth + 2] + np.int64(f) * k + i]
        total = scratch[arity + depth] + x
        place = int(scratch[2 * arity + 1 + depth]) + i * run[8 + 4 * depth + 1]
        if depth == arity - 1:
            value = total + store[place]
            j = o + U8(int(scratch[slot]))
            out[j] = value if value < out[j] else out[j]
            scratch[depth] += 1.0
        else:
            scratch[arity + depth + 1] = total
            scratch[2 * arity + 2 + depth] = place
            depth += 1


@kernel(*SIGNATURE)
def table_sum(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    arity = run[1]
    base = 0
    for slot in range(arity):
        k = run[8 + 4 * slot]
        if is_target(slot, target):
            for f in range(low, high):
                _table_sum_to(
                    run, number, store, weight, to_factor, out, scratch, f, slot, U8(base) + (f - low) * U8(k)
                )
        base += np.int64(high - low) * k


@inlined
def _add_products(run, number, weight, to_factor, out, scratch, f, slot, o, are_energies):  # type: ignore[no-untyped-def]
    """Sum of weight times products of the incoming rows, which are energies or weights."""
    arity = run[1]
    k_to = run[8 + 4 * slot]
    t = run[4] if run[4] >= 0 else np.int64(number[f])
    for j in range(k_to):
        out[o + U8(j)] = 0.0
    for s in range(arity):
        scratch[s] = 0.0
    scratch[arity] = 1.0
    scratch[2 * arity + 1] = t
    # exp(-x) of each slot's row, after the three stacks
    rows = 3 * arity + 2
    at = rows
    for s in range(arity):
        k = run[8 + 4 * s]
        for i in range(k):
            x = to_factor[run[8 + 4 * s + 2] + np.int64(f) * k + i]
            scratch[at + i] = 1.0 if s == slot else (exp_minus(x) if are_energies else x)
        at += k
    depth = 0
    at = rows
    while depth >= 0:
        k = run[8 + 4 * depth]
        i = int(scratch[depth])
        if i == k:
            scratch[depth] = 0.0
            depth -= 1
            if depth >= 0:
                at -= run[8 + 4 * depth]
                scratch[depth] += 1.0
            continue
        product = scratch[arity + depth] * scratch[at + i]
        place = int(scratch[2 * arity + 1 + depth]) + i * run[8 + 4 * depth + 1]
        if depth == arity - 1:
            out[o + U8(int(scratch[slot]))] += product * weight[place]
            scratch[depth] += 1.0
        else:
            scratch[arity + depth + 1] = product
            scratch[2 * arity + 2 + depth] = place
            at += k
            depth += 1


@inlined
def _table_sum_to(run, number, store, weight, to_factor, out, scratch, f, slot, o):  # type: ignore[no-untyped-def]
    """-log of the sums; those out of range again as log-sum-exp around their minimum."""
    k_to = run[8 + 4 * slot]
    t = run[4] if run[4] >= 0 else np.int64(number[f])
    _add_products(run, number, weight, to_factor, out, scratch, f, slot, o, True)
    for j in range(k_to):
        total = out[o + U8(j)]
        if SMALLEST < total < LARGEST:
            out[o + U8(j)] = -np.log(total)
        else:
            out[o + U8(j)] = _soft_minimum_of_table(run, store, to_factor, scratch, f, slot, j, t)


@inlined
def _soft_minimum_of_table(run, store, to_factor, scratch, f, slot, state, t):  # type: ignore[no-untyped-def]
    """-log sum of exp(-energy) over the entries with this state in this slot, in two walks: minimum, then sum."""
    arity = run[1]
    lowest = np.inf
    total = 0.0
    for walk in range(2):
        if walk == 1 and lowest == np.inf:
            break
        count = 1
        for s in range(arity):
            if s != slot:
                count *= run[8 + 4 * s]
        for entry in range(count):
            left = entry
            value = 0.0
            place = t + state * run[8 + 4 * slot + 1]
            for r in range(arity):
                s = arity - 1 - r
                if s == slot:
                    continue
                k = run[8 + 4 * s]
                i = left % k
                left //= k
                value += to_factor[run[8 + 4 * s + 2] + np.int64(f) * k + i]
                place += i * run[8 + 4 * s + 1]
            value += store[place]
            if walk == 0:
                lowest = value if value < lowest else lowest
            else:
                total += np.exp(lowest - value)
    return lowest if lowest == np.inf else lowest - np.log(total)


@kernel(*SIGNATURE)
def table_mixed(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    """Sum over the soft slots first, then minimise over the others; plain and slow, used in three-way factors only."""
    arity = run[1]
    base = 0
    for slot in range(arity):
        k_to = run[8 + 4 * slot]
        if is_target(slot, target):
            for f in range(low, high):
                t = run[4] if run[4] >= 0 else np.int64(number[f])
                for j in range(k_to):
                    out[U8(base) + (f - low) * U8(k_to) + U8(j)] = _mixed_entry(run, store, to_factor, f, slot, j, t)
        base += np.int64(high - low) * k_to


@inlined
def _mixed_entry(run, store, to_factor, f, slot, state, t):  # type: ignore[no-untyped-def]
    arity = run[1]
    n_hard = 1
    n_soft = 1
    for s in range(arity):
        if s != slot:
            if run[8 + 4 * s + 3] == 1:
                n_soft *= run[8 + 4 * s]
            else:
                n_hard *= run[8 + 4 * s]
    best = np.inf
    for hard in range(n_hard):
        fixed = 0.0
        place = t + state * run[8 + 4 * slot + 1]
        left = hard
        for s in range(arity):
            if s != slot and run[8 + 4 * s + 3] == 0:
                k = run[8 + 4 * s]
                i = left % k
                left //= k
                fixed += to_factor[run[8 + 4 * s + 2] + np.int64(f) * k + i]
                place += i * run[8 + 4 * s + 1]
        lowest = np.inf
        total = 0.0
        for walk in range(2):
            for soft in range(n_soft):
                left = soft
                value = fixed
                at = place
                for s in range(arity):
                    if s != slot and run[8 + 4 * s + 3] == 1:
                        k = run[8 + 4 * s]
                        i = left % k
                        left //= k
                        value += to_factor[run[8 + 4 * s + 2] + np.int64(f) * k + i]
                        at += i * run[8 + 4 * s + 1]
                value += store[at]
                if walk == 0:
                    lowest = value if value < lowest else lowest
                elif lowest < np.inf:
                    total += np.exp(lowest - value)
        value = lowest if lowest == np.inf else lowest - np.log(total)
        best = value if value < best else best
    return best


@kernel(*SIGNATURE)
def table_weights(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    base = 0
    for slot in range(run[1]):
        k = run[8 + 4 * slot]
        if is_target(slot, target):
            for f in range(low, high):
                o = U8(base) + (f - low) * U8(k)
                _add_products(run, number, weight, to_factor, out, scratch, f, slot, o, False)
        base += np.int64(high - low) * k


@kernel(*FORBIDS)
def table_forbids(run, number, store, scope, state, group, allowed, low, high):  # type: ignore[no-untyped-def]
    n = U8(run[0])
    for f in range(low, high):
        first = U8(run[2]) + f
        e = U8(run[4]) if run[4] >= 0 else number[f]
        for s in range(U8(run[1])):
            e += U8(run[U8(9) + U8(4) * s]) * U8(state[scope[first + s * n]])
        if store[e] == np.inf:
            allowed[group[scope[first]]] = 0


ANY = MessageKernels(table_min, table_sum, table_mixed, forbids=table_forbids)
FOUR = ANY._replace(weights=table_weights)
"products of more than four weights could leave the number range"
