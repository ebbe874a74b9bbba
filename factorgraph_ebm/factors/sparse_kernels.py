"""Messages of a list of configurations: each is walked once, whatever the number of states.

    min-sum      m_s(i) = min over rows r with x_rs = i of  E_r + sum over t != s of m_t(x_rt)
    sum-product  m_s(i) = -log sum over the same rows of exp of minus that

All slots of a row together cost O(arity): what the others add is a sum over the slots before times one over those
after. Constants: numbers of a factor, rows, then the number that each row reads, then its states.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import inlined, kernel
from factorgraph_ebm.factors.elementary import exp_minus, minus_log
from factorgraph_ebm.factors.message_kernels import LARGEST, SIGNATURE, SMALLEST, is_target

U8 = np.uint64


@inlined
def _read(run, constants, r, slot):  # type: ignore[no-untyped-def]
    """State of a slot in row r."""
    c = U8(run[5])
    return U8(constants[c + U8(2) + U8(constants[c + U8(1)]) + r * U8(run[1]) + U8(slot)])


@inlined
def _number(run, number, constants, f, r):  # type: ignore[no-untyped-def]
    """Element of the store with the energy of row r of factor f."""
    first = U8(run[4]) if run[4] >= 0 else number[f]
    return first + U8(constants[U8(run[5]) + U8(2) + r])


@inlined
def _message(run, f, slot, state):  # type: ignore[no-untyped-def]
    return U8(run[8 + 4 * slot + 2]) + f * U8(run[8 + 4 * slot]) + state


@inlined
def _clear(run, out, low, high, f, target, value):  # type: ignore[no-untyped-def]
    o = U8(0)
    for s in range(run[1]):
        k = U8(run[8 + 4 * s])
        if is_target(s, target):
            for i in range(k):
                out[o + (f - low) * k + i] = value
        o += (high - low) * k


@kernel(*SIGNATURE)
def sparse_min(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    for f in range(low, high):
        _clear(run, out, low, high, f, target, np.inf)
        _lowest(run, number, store, constants, to_factor, out, scratch, low, high, f, target)


@inlined
def _lowest(run, number, store, constants, to_factor, out, scratch, low, high, f, target):  # type: ignore[no-untyped-def]
    """Lower out[state of each target] to the energy of each row without that slot's own message."""
    arity = run[1]
    for r in range(U8(constants[U8(run[5]) + U8(1)])):
        energy = store[_number(run, number, constants, f, r)]
        if energy == np.inf:
            continue
        # scratch[s]: sum of the messages of the slots after s
        after = 0.0
        for j in range(arity):
            s = arity - 1 - j
            scratch[s] = after
            after += to_factor[_message(run, f, s, _read(run, constants, r, s))]
        before = energy
        o = U8(0)
        for s in range(arity):
            k = U8(run[8 + 4 * s])
            state = _read(run, constants, r, s)
            if is_target(s, target):
                value = before + scratch[s]
                at = o + (f - low) * k + state
                out[at] = value if value < out[at] else out[at]
            before += to_factor[_message(run, f, s, state)]
            o += (high - low) * k


@kernel(*SIGNATURE)
def sparse_sum(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    arity = run[1]
    for f in range(low, high):
        _clear(run, out, low, high, f, target, 0.0)
        # scratch: products after each slot, then exp(-x) of each slot's message
        p = U8(arity)
        for s in range(arity):
            m = _message(run, f, s, U8(0))
            for i in range(U8(run[8 + 4 * s])):
                scratch[p + i] = exp_minus(to_factor[m + i])
            p += U8(run[8 + 4 * s])
        rows = p
        for r in range(U8(constants[U8(run[5]) + U8(1)])):
            w = weight[_number(run, number, constants, f, r)]
            if w == 0.0:
                continue
            after = 1.0
            p = rows
            for j in range(arity):
                s = arity - 1 - j
                p -= U8(run[8 + 4 * s])
                scratch[s] = after
                after *= scratch[p + _read(run, constants, r, s)]
            before = w
            o = U8(0)
            for s in range(arity):
                k = U8(run[8 + 4 * s])
                state = _read(run, constants, r, s)
                if is_target(s, target):
                    out[o + (f - low) * k + state] += before * scratch[s]
                before *= scratch[p + state]
                p += k
                o += (high - low) * k
        doubtful = False
        o = U8(0)
        for s in range(arity):
            k = U8(run[8 + 4 * s])
            if is_target(s, target):
                for i in range(k):
                    total = out[o + (f - low) * k + i]
                    out[o + (f - low) * k + i] = minus_log(total)
                    if not SMALLEST < total < LARGEST:
                        out[o + (f - low) * k + i] = np.nan
                        doubtful = True
            o += (high - low) * k
        if doubtful:
            _again(run, number, store, constants, to_factor, out, scratch, low, high, f, target)


@inlined
def _again(run, number, store, constants, to_factor, out, scratch, low, high, f, target):  # type: ignore[no-untyped-def]
    """Entries that are NaN as log-sum-exp around their smallest term, which is +inf where no row has that state."""
    arity = run[1]
    o = U8(0)
    for s in range(arity):
        k = U8(run[8 + 4 * s])
        if is_target(s, target):
            for i in range(k):
                at = o + (f - low) * k + i
                if not out[at] == out[at]:
                    out[at] = _soft_minimum(run, number, store, constants, to_factor, f, s, i)
        o += (high - low) * k


@inlined
def _soft_minimum(run, number, store, constants, to_factor, f, slot, state):  # type: ignore[no-untyped-def]
    lowest = np.inf
    total = 0.0
    for walk in range(2):
        if walk == 1 and lowest == np.inf:
            return lowest
        for r in range(U8(constants[U8(run[5]) + U8(1)])):
            if _read(run, constants, r, slot) != state:
                continue
            value = _others(run, number, store, constants, to_factor, f, slot, r)
            if walk == 0:
                lowest = value if value < lowest else lowest
            else:
                total += np.exp(lowest - value)
    return lowest - np.log(total)


@inlined
def _others(run, number, store, constants, to_factor, f, slot, r):  # type: ignore[no-untyped-def]
    """Energy of row r with the messages of all slots but one."""
    value = store[_number(run, number, constants, f, r)]
    for s in range(run[1]):
        if s != slot:
            value += to_factor[_message(run, f, s, _read(run, constants, r, s))]
    return value


@kernel(*SIGNATURE)
def sparse_mixed(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    """Sum rows that differ in soft slots only, then minimise: O(rows^2 * arity), every sum as log-sum-exp."""
    arity = run[1]
    rows = U8(constants[U8(run[5]) + U8(1)])
    for f in range(low, high):
        _clear(run, out, low, high, f, target, np.inf)
        o = U8(0)
        for slot in range(arity):
            k = U8(run[8 + 4 * slot])
            if is_target(slot, target):
                for r in range(rows):
                    lowest = _others(run, number, store, constants, to_factor, f, slot, r)
                    first = True
                    for q in range(rows):
                        if q != r and _alike(run, constants, slot, r, q):
                            if q < r:
                                first = False
                                break
                            value = _others(run, number, store, constants, to_factor, f, slot, q)
                            lowest = value if value < lowest else lowest
                    if not first or lowest == np.inf:
                        continue
                    total = 0.0
                    for q in range(r, rows):
                        if _alike(run, constants, slot, r, q):
                            value = _others(run, number, store, constants, to_factor, f, slot, q)
                            total += np.exp(lowest - value)
                    value = lowest - np.log(total)
                    at = o + (f - low) * k + _read(run, constants, r, slot)
                    out[at] = value if value < out[at] else out[at]
            o += (high - low) * k


@inlined
def _alike(run, constants, slot, r, q):  # type: ignore[no-untyped-def]
    """Whether two rows agree in the target slot and in all slots that are minimised."""
    for s in range(run[1]):
        if (s == slot or run[8 + 4 * s + 3] == 0) and _read(run, constants, r, s) != _read(run, constants, q, s):
            return False
    return True
