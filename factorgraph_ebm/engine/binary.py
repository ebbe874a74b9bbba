"""The variable's side where every variable has two states and a message is one number.

    odds r = p(1) / p(0)            to_factor = odds of the unary times all other messages
    differences h = E(1) - E(0)     to_factor = difference of the unary plus all other messages

Half the memory of rows of two, nothing to normalise, and in a factor's kernel long loops over contiguous numbers.

Regular graphs, grids above all, have long *rows* of variables of as many messages each, every one of which lies as far
behind that of the variable before: beside it, which vectorises, or with a stride, as in the levels of a sweep over a
grid, where two factors of each variable alternate. A row is sent in loops that look up nothing and branch nowhere;
what is computed is the same to the last bit.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import (
    AT_F8,
    AT_I8,
    AT_U4,
    AT_U8,
    F8,
    NOTHING,
    READ_F8,
    READ_U4,
    READ_U8,
    SIZE,
    inlined,
    kernel,
)
from factorgraph_ebm._jit import U8 as U8S
from factorgraph_ebm.engine.messages import FAR, SMALLEST
from factorgraph_ebm.engine.variables import SEND
from factorgraph_ebm.factors.apart import read, write

U8 = np.uint64
SHORT = 8
"variables of a row below which it is not worth it"
LONG = 256
"variables of a row that are sent at once: all that they read and write stays in the first cache"


@kernel(NOTHING, READ_U4, READ_U4, READ_U8, U8S)
def measure_rows(slot_start, slot_split, slot_message, row):  # type: ignore[no-untyped-def]
    """For each variable, how many from it on are sent alike, with one stride from message to message of all slots."""
    one = U8(1)
    n = U8(len(row))
    later = U8(0)  # stride from the next variable to the one behind it; 0 where they are not alike
    for i in range(n):
        v = n - one - i
        row[v] = one
        if i == U8(0):
            continue
        a, b = U8(slot_start[v]), U8(slot_start[v + one])
        k = b - a
        alike = k > U8(0) and U8(slot_start[v + U8(2)]) - b == k
        alike = alike and U8(slot_split[v]) - a == U8(slot_split[v + one]) - b
        stride = slot_message[b] - slot_message[a] if alike else U8(0)
        for s in range(k if alike else U8(0)):
            if slot_message[b + s] != slot_message[a + s] + stride or slot_message[b + s] <= slot_message[a + s]:
                alike = False
        if alike:
            row[v] += row[v + one] if stride == later else one
        later = stride if alike else U8(0)


@inlined
def _join(a, b, multiply):  # type: ignore[no-untyped-def]
    return a * b if multiply else a + b


@inlined
def _kept(x, multiply):  # type: ignore[no-untyped-def]
    """The number itself, or NaN where odds of many messages come near to the ends of the number range."""
    return x if not multiply or (x > SMALLEST and x < 1.0 / SMALLEST) else np.nan


@inlined
def _send_many(unary, v, n, stride, a, first, stop, b, slot_message, x, y, p, multiply):  # type: ignore[no-untyped-def]
    """Send the slots first to stop (of a to b, more than four) of n variables; n elements of p are working space."""
    for i in range(n):
        p[i] = unary[v + i]
    for s in range(a, b):
        if s < first or s >= stop:
            _join_all(p, x, slot_message[s], n, stride, multiply)
    for s in range(first, stop):
        m = slot_message[s]
        for i in range(n):
            y[m + i * stride] = p[i]
        _join_all(p, x, m, n, stride, multiply)
    for i in range(n):
        p[i] = 1.0 if multiply else 0.0
    for j in range(stop - first):
        m = slot_message[stop - U8(1) - j]
        for i in range(n):
            y[m + i * stride] = _join(y[m + i * stride], p[i], multiply)
        _join_all(p, x, m, n, stride, multiply)


@inlined
def _join_all(p, x, m, n, stride, multiply):  # type: ignore[no-untyped-def]
    """Join n messages from m on to the numbers p."""
    for i in range(n):
        p[i] = _kept(_join(p[i], x[m + i * stride], multiply), multiply)


@inlined
def _send_row(unary, v, n, stride, a, first, stop, b, slot_message, x, y, p, multiply):  # type: ignore[no-untyped-def]
    """Send the slots first to stop (of a to b) of n variables from v on; n elements of p are working space."""
    one, two = U8(1), U8(2)
    if b - a > U8(4):
        _send_many(unary, v, n, stride, a, first, stop, b, slot_message, x, y, p, multiply)
        return
    count = stop - first
    others = b - a - count
    c = a if first > a else stop
    if others == U8(0):
        for i in range(n):
            write(p, i, read(unary, v + i))
    elif others == one:
        k = slot_message[c]
        for i in range(n):
            write(p, i, _join(read(unary, v + i), read(x, k + i * stride), multiply))
    elif others == two:
        k, m = slot_message[c], slot_message[c + one]
        for i in range(n):
            q = _join(read(unary, v + i), read(x, k + i * stride), multiply)
            write(p, i, _join(q, read(x, m + i * stride), multiply))
    else:
        k, m, o = slot_message[c], slot_message[c + one], slot_message[c + two]
        for i in range(n):
            q = _join(read(unary, v + i), read(x, k + i * stride), multiply)
            q = _join(q, read(x, m + i * stride), multiply)
            write(p, i, _join(q, read(x, o + i * stride), multiply))
    m0 = slot_message[first]
    if count == one:
        for i in range(n):
            write(y, m0 + i * stride, p[i])
        return
    m1 = slot_message[first + one]
    if count == two:
        for i in range(n):
            write(y, m0 + i * stride, _join(p[i], read(x, m1 + i * stride), multiply))
            write(y, m1 + i * stride, _join(p[i], read(x, m0 + i * stride), multiply))
        return
    m2 = slot_message[first + two]
    if count == U8(3):
        for i in range(n):
            x0, x1, x2 = read(x, m0 + i * stride), read(x, m1 + i * stride), read(x, m2 + i * stride)
            write(y, m0 + i * stride, _join(p[i], _join(x1, x2, multiply), multiply))
            write(y, m1 + i * stride, _join(p[i], _join(x0, x2, multiply), multiply))
            write(y, m2 + i * stride, _join(p[i], _join(x0, x1, multiply), multiply))
        return
    m3 = slot_message[first + U8(3)]
    for i in range(n):
        x0, x1 = read(x, m0 + i * stride), read(x, m1 + i * stride)
        x2, x3 = read(x, m2 + i * stride), read(x, m3 + i * stride)
        p01 = _join(p[i], _join(x0, x1, multiply), multiply)
        p23 = _join(p[i], _join(x2, x3, multiply), multiply)
        write(y, m0 + i * stride, _join(p23, x1, multiply))
        write(y, m1 + i * stride, _join(p23, x0, multiply))
        write(y, m2 + i * stride, _join(p01, x3, multiply))
        write(y, m3 + i * stride, _join(p01, x2, multiply))


@inlined
def _send(  # type: ignore[no-untyped-def]
    unary, row, slot_start, slot_split, slot_message, to_variable, to_factor, scratch, low, high, target, multiply
):  # fmt: skip
    one = U8(1)
    v = low
    while v < high:
        a = U8(slot_start[v])
        b = U8(slot_start[v + one])
        first = U8(slot_split[v]) if target == 1 else a
        stop = U8(slot_split[v]) if target == 0 else b
        count = stop - first
        n = min(row[v], high - v)
        if n >= U8(SHORT):
            if count > U8(0):
                n = min(n, U8(LONG))
                stride = slot_message[b] - slot_message[a]
                _send_row(
                    unary, v, n, stride, a, first, stop, b, slot_message, to_variable, to_factor, scratch, multiply
                )  # fmt: skip
            v += n
            continue
        u = v
        v += one
        if count == U8(0):
            continue
        p = unary[u]
        if b - a <= U8(4):
            # Products of the unary and up to three messages stay in range: nothing to look at.
            for i in range(a, first):
                p = _join(p, to_variable[slot_message[i]], multiply)
            for i in range(stop, b):
                p = _join(p, to_variable[slot_message[i]], multiply)
            m0 = slot_message[first]
            if count == one:
                to_factor[m0] = p
                continue
            m1 = slot_message[first + one]
            x0, x1 = to_variable[m0], to_variable[m1]
            if count == U8(2):
                to_factor[m0] = _join(p, x1, multiply)
                to_factor[m1] = _join(p, x0, multiply)
                continue
            m2 = slot_message[first + U8(2)]
            x2 = to_variable[m2]
            if count == U8(3):
                to_factor[m0] = _join(p, _join(x1, x2, multiply), multiply)
                to_factor[m1] = _join(p, _join(x0, x2, multiply), multiply)
                to_factor[m2] = _join(p, _join(x0, x1, multiply), multiply)
                continue
            m3 = slot_message[first + U8(3)]
            x3 = to_variable[m3]
            p01 = _join(p, _join(x0, x1, multiply), multiply)
            p23 = _join(p, _join(x2, x3, multiply), multiply)
            to_factor[m0] = _join(p23, x1, multiply)
            to_factor[m1] = _join(p23, x0, multiply)
            to_factor[m2] = _join(p01, x3, multiply)
            to_factor[m3] = _join(p01, x2, multiply)
            continue
        for i in range(a, first):
            p = _kept(_join(p, to_variable[slot_message[i]], multiply), multiply)
        for i in range(stop, b):
            p = _kept(_join(p, to_variable[slot_message[i]], multiply), multiply)
        for i in range(first, stop):
            m = slot_message[i]
            to_factor[m] = p
            p = _kept(_join(p, to_variable[m], multiply), multiply)
        q = 1.0 if multiply else 0.0
        for j in range(count):
            m = slot_message[stop - one - j]
            to_factor[m] = _join(to_factor[m], q, multiply)
            q = _kept(_join(q, to_variable[m], multiply), multiply)


@kernel(*SEND)
def send_odds(  # type: ignore[no-untyped-def]
    unary, start, slot_start, slot_split, slot_message, to_variable, to_factor, scratch, shift, low, high, target
):  # fmt: skip
    _send(
        unary, start, slot_start, slot_split, slot_message, to_variable, to_factor, scratch, low, high, target, True
    )  # fmt: skip


@kernel(*SEND)
def send_differences(  # type: ignore[no-untyped-def]
    unary, start, slot_start, slot_split, slot_message, to_variable, to_factor, scratch, shift, low, high, target
):  # fmt: skip
    _send(
        unary, start, slot_start, slot_split, slot_message, to_variable, to_factor, scratch, low, high, target, False
    )  # fmt: skip


DECIDE = (NOTHING, AT_F8, AT_U4, AT_U8, AT_F8, AT_U4, AT_I8, SIZE, SIZE)
"unary, slot_start, slot_message, to_variable, variables, state, low, high"


@kernel(*DECIDE)
def decide_odds(unary, slot_start, slot_message, to_variable, variables, state, low, high):  # type: ignore[no-untyped-def]
    """Likelier states of variables[low:high]; 0 where odds were lost, which compare with nothing."""
    for i in range(low, high):
        v = U8(variables[i])
        p = unary[v]
        for j in range(U8(slot_start[v]), U8(slot_start[v + U8(1)])):
            p = _kept(p * to_variable[slot_message[j]], True)
        state[v] = 1 if p > 1.0 else 0


@kernel(*DECIDE)
def decide_differences(unary, slot_start, slot_message, to_variable, variables, state, low, high):  # type: ignore[no-untyped-def]
    """Likelier states of variables[low:high]."""
    for i in range(low, high):
        v = U8(variables[i])
        p = unary[v]
        for j in range(U8(slot_start[v]), U8(slot_start[v + U8(1)])):
            p += to_variable[slot_message[j]]
        state[v] = 1 if p < 0.0 else 0


@kernel(NOTHING, READ_F8, READ_U8, READ_F8, READ_U4, READ_U8, READ_F8, F8, F8)
def share_odds(  # type: ignore[no-untyped-def]
    energy, start, unary, slot_start, slot_message, to_variable, probability, lost
):  # fmt: skip
    """Probabilities of the beliefs, (unary_size,), from `energy` where there are not two states, or no messages.

    lost (V,) becomes 0, +inf where no state is allowed, or NaN where odds were lost.
    """
    for v in range(U8(len(lost))):
        w = start[v]
        k = start[v + U8(1)] - w
        a, b = U8(slot_start[v]), U8(slot_start[v + U8(1)])
        if k != U8(2) or a == b:
            low = np.inf
            for s in range(k):
                low = energy[w + s] if energy[w + s] < low else low
            lost[v] = np.inf if low == np.inf else 0.0
            total = 0.0
            for s in range(k):
                probability[w + s] = np.exp(low - energy[w + s]) if low < np.inf else 0.0
                total += probability[w + s]
            for s in range(k):
                probability[w + s] /= total if total > 0.0 else 1.0
            continue
        p = unary[v]
        for i in range(a, b):
            p *= to_variable[slot_message[i]]
            # One more message is in range still.
            p = p if p > FAR and p < 1.0 / FAR else np.nan
        off = 1.0 / (1.0 + p)
        probability[w] = off
        probability[w + U8(1)] = p * off
        lost[v] = 0.0 * off
