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
from factorgraph_ebm.engine.addresses import after
from factorgraph_ebm.factors.extremes import least_of, lesser
from factorgraph_ebm.factors.packs import added, filled, least_in, less, lessers, load, store

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
            # Two at a time: what both hear is added up once. Where fewer than three rows are heard, zeros stand in.
            if b - a < U8(4):
                for s in range(k):
                    scratch[s] = 0.0
            for i in range(first, stop, U8(2)):
                pair = i + one < stop
                beyond = i + U8(2) if pair else i + one
                c = a if a < i else beyond
                x = after(to_variable, slot_message[c]) if c < b else scratch
                d = c + one if c + one != i else beyond
                y = after(to_variable, slot_message[d]) if d < b else scratch
                m = slot_message[i]
                if pair:
                    n = slot_message[i + one]
                    _send_two(
                        after(unary, w), x, y, after(to_variable, m), after(to_variable, n), after(to_factor, m),
                        after(to_factor, n), k,
                    )  # fmt: skip
                else:
                    e = d + one if d + one != i else beyond
                    z = after(to_variable, slot_message[e]) if e < b else scratch
                    least = _send_one(after(unary, w), x, y, z, after(to_factor, m), k)
                    if stop - first == one:
                        shift[v - low] = least
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
def _send_one(u, x, y, z, out, k):  # type: ignore[no-untyped-def]
    """out = u + x + y + z, normalised; what was its least."""
    whole = k & ~U8(3)
    low = filled(np.inf)
    for s in range(U8(0), whole, U8(4)):
        row = added(added(load(u, s), added(load(x, s), load(y, s))), load(z, s))
        store(out, s, row)
        low = lessers(row, low)
    least = least_in(low)
    for s in range(whole, k):
        total = (u[s] + (x[s] + y[s])) + z[s]
        out[s] = total
        least = lesser(total, least)
    off = least if least < np.inf else 0.0
    for s in range(U8(0), whole, U8(4)):
        store(out, s, less(load(out, s), filled(off)))
    for s in range(whole, k):
        out[s] -= off
    return least


@inlined
def _both(u, x, y, p, q, s):  # type: ignore[no-untyped-def]
    both = added(load(u, s), added(load(x, s), load(y, s)))
    return added(both, load(q, s)), added(both, load(p, s))


@inlined
def _send_two(u, x, y, p, q, to_p, to_q, k):  # type: ignore[no-untyped-def]
    """to_p = u + x + y + q and to_q = u + x + y + p, normalised."""
    if k == U8(16):
        a, b = _both(u, x, y, p, q, U8(0))
        c, d = _both(u, x, y, p, q, U8(4))
        e, f = _both(u, x, y, p, q, U8(8))
        g, h = _both(u, x, y, p, q, U8(12))
        one_least = least_in(lessers(lessers(a, c), lessers(e, g)))
        least = least_in(lessers(lessers(b, d), lessers(f, h)))
        one = filled(one_least if one_least < np.inf else 0.0)
        other = filled(least if least < np.inf else 0.0)
        store(to_p, U8(0), less(a, one))
        store(to_p, U8(4), less(c, one))
        store(to_p, U8(8), less(e, one))
        store(to_p, U8(12), less(g, one))
        store(to_q, U8(0), less(b, other))
        store(to_q, U8(4), less(d, other))
        store(to_q, U8(8), less(f, other))
        store(to_q, U8(12), less(h, other))
        return
    whole = k & ~U8(3)
    low, high = filled(np.inf), filled(np.inf)
    for s in range(U8(0), whole, U8(4)):
        both = added(load(u, s), added(load(x, s), load(y, s)))
        one, other = added(both, load(q, s)), added(both, load(p, s))
        store(to_p, s, one)
        store(to_q, s, other)
        low, high = lessers(one, low), lessers(other, high)
    one_least, least = least_in(low), least_in(high)
    for s in range(whole, k):
        total = u[s] + (x[s] + y[s])
        first, second = total + q[s], total + p[s]
        to_p[s] = first
        to_q[s] = second
        one_least, least = lesser(first, one_least), lesser(second, least)
    one_least = one_least if one_least < np.inf else 0.0
    least = least if least < np.inf else 0.0
    for s in range(U8(0), whole, U8(4)):
        store(to_p, s, less(load(to_p, s), filled(one_least)))
        store(to_q, s, less(load(to_q, s), filled(least)))
    for s in range(whole, k):
        to_p[s] -= one_least
        to_q[s] -= least


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
