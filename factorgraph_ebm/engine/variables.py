"""The variable's side of message passing: leave-one-out sums, beliefs, probabilities.

    to_factor of a slot = unary + the sum of to_variable over the variable's other slots

Sums over all but one are made from both ends, never by taking one message away from the total: no inf - inf, and no
digits lost where one message is 1e300 larger than the rest.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import (
    AT_F8,
    AT_U4,
    AT_U8,
    F8,
    I8,
    INTEGER,
    NOTHING,
    READ_F8,
    READ_U4,
    READ_U8,
    SIZE,
    inlined,
    kernel,
)
from factorgraph_ebm.factors.apart import read, write
from factorgraph_ebm.factors.extremes import least_of, lesser

U8 = np.uint64

SEND = (NOTHING, AT_F8, AT_U8, AT_U4, AT_U4, AT_U8, AT_F8, AT_F8, AT_F8, AT_F8, SIZE, SIZE, INTEGER)
"""unary, start, slot_start, slot_split, slot_message, to_variable, to_factor, scratch, shift, low, high, target

Where a variable sends to one slot, `shift[v - low]` receives what was taken off its row, in nats."""


@kernel(*SEND)
def send_to_factors(  # type: ignore[no-untyped-def]
    unary, start, slot_start, slot_split, slot_message, to_variable, to_factor, scratch, shift, low, high, target
):  # fmt: skip
    """Send messages of the variables low to high: all (-1), to the slots before the split (0), or from it on (1)."""
    one = U8(1)
    for v in range(low, high):
        a = U8(slot_start[v])
        b = U8(slot_start[v + one])
        first = U8(slot_split[v]) if target == 1 else a
        stop = U8(slot_split[v]) if target == 0 else b
        if first == stop:
            continue
        w = start[v]
        k = start[v + one] - w
        if k == U8(2):
            p, q = unary[w], unary[w + one]
            for i in range(a, first):
                m = slot_message[i]
                p += to_variable[m]
                q += to_variable[m + one]
            for i in range(stop, b):
                m = slot_message[i]
                p += to_variable[m]
                q += to_variable[m + one]
            for i in range(first, stop):
                m = slot_message[i]
                to_factor[m] = p
                to_factor[m + one] = q
                p += to_variable[m]
                q += to_variable[m + one]
            p, q = 0.0, 0.0
            for j in range(stop - first):
                m = slot_message[stop - one - j]
                x = to_factor[m] + p
                y = to_factor[m + one] + q
                least = x if x < y else y
                if stop - first == one:
                    shift[v - low] = least
                if least < np.inf:
                    x -= least
                    y -= least
                to_factor[m] = x
                to_factor[m + one] = y
                p += to_variable[m]
                q += to_variable[m + one]
            continue
        if b - a <= U8(4):
            for i in range(first, stop):
                m = slot_message[i]
                least = _send_row(unary, w, slot_message, a, b, i, to_variable, to_factor, m, k)
                if stop - first == one:
                    shift[v - low] = least
                if least < np.inf:
                    for s in range(k):
                        to_factor[m + s] -= least
            continue
        for s in range(k):
            scratch[s] = unary[w + s]
        for i in range(a, first):
            m = slot_message[i]
            for s in range(k):
                scratch[s] += to_variable[m + s]
        for i in range(stop, b):
            m = slot_message[i]
            for s in range(k):
                scratch[s] += to_variable[m + s]
        if stop - first == one:
            m = slot_message[first]
            least = least_of(scratch, U8(0), k)
            shift[v - low] = least
            least = least if least < np.inf else 0.0
            for s in range(k):
                to_factor[m + s] = scratch[s] - least
            continue
        for i in range(first, stop):
            m = slot_message[i]
            for s in range(k):
                to_factor[m + s] = scratch[s]
                scratch[s] += to_variable[m + s]
        for s in range(k):
            scratch[s] = 0.0
        for j in range(stop - first):
            m = slot_message[stop - one - j]
            for s in range(k):
                to_factor[m + s] += scratch[s]
                scratch[s] += to_variable[m + s]
            least = least_of(to_factor, m, k)
            if least < np.inf:
                for s in range(k):
                    to_factor[m + s] -= least


@inlined
def _send_row(unary, w, slot_message, a, b, i, to_variable, to_factor, m, k):  # type: ignore[no-untyped-def]
    """to_factor of slot i of up to four, a to b, not normalised: the other rows are read at once. Its least."""
    one, two, three = U8(1), U8(2), U8(3)
    least = np.inf
    if b - a == one:
        for s in range(k):
            total = read(unary, w + s)
            write(to_factor, m + s, total)
            least = lesser(total, least)
        return least
    first = a if i > a else a + one
    x = slot_message[first]
    if b - a == two:
        for s in range(k):
            total = read(unary, w + s) + read(to_variable, x + s)
            write(to_factor, m + s, total)
            least = lesser(total, least)
        return least
    second = a + one if i > a + one else a + two
    y = slot_message[second]
    if b - a == three:
        for s in range(k):
            total = read(unary, w + s) + read(to_variable, x + s) + read(to_variable, y + s)
            write(to_factor, m + s, total)
            least = lesser(total, least)
        return least
    z = slot_message[a + two if i > a + two else a + three]
    for s in range(k):
        total = (read(unary, w + s) + read(to_variable, x + s)) + (read(to_variable, y + s) + read(to_variable, z + s))
        write(to_factor, m + s, total)
        least = lesser(total, least)
    return least


@kernel(NOTHING, READ_F8, READ_U8, READ_U4, READ_U8, READ_F8, F8, SIZE, SIZE)
def sum_beliefs(unary, start, slot_start, slot_message, to_variable, belief, low, high):  # type: ignore[no-untyped-def]
    """Unary plus all incoming messages, not normalised, for the variables low to high."""
    one = U8(1)
    for v in range(low, high):
        w = start[v]
        k = start[v + one] - w
        for s in range(k):
            belief[w + s] = unary[w + s]
        for i in range(U8(slot_start[v]), U8(slot_start[v + one])):
            m = slot_message[i]
            for s in range(k):
                belief[w + s] += to_variable[m + s]


@kernel(NOTHING, READ_U8, READ_F8, F8)
def to_probabilities(start, belief, out):  # type: ignore[no-untyped-def]
    """exp(-belief), normalised over the states of each variable; zeros where every state is forbidden."""
    for v in range(len(start) - 1):
        a, b = start[v], start[v + 1]
        least = np.inf
        for s in range(a, b):
            least = belief[s] if belief[s] < least else least
        total = 0.0
        for s in range(a, b):
            out[s] = 0.0 if least == np.inf else np.exp(least - belief[s])
            total += out[s]
        if total > 0.0:
            for s in range(a, b):
                out[s] /= total


@kernel(NOTHING, READ_U8, READ_F8, I8)
def lowest_states(start, belief, state):  # type: ignore[no-untyped-def]
    """State of least belief energy of each variable; the lowest state where several are."""
    for v in range(len(start) - 1):
        best = start[v]
        for s in range(start[v], start[v + 1]):
            if belief[s] < belief[best]:
                best = s
        state[v] = best - start[v]
