"""The variable's side where messages are rows of weights, probabilities up to scale: products instead of sums.

    to_factor of a slot = weights of the unary times to_variable over the variable's other slots

Stored weights are at least SMALLEST or zero, so products of four are normal numbers; where more are multiplied, each
product is scaled by a power of two, which is exact. What then comes too near to the end of the number range becomes NaN
(see `engine.messages`), zero stays zero: a zero in these arrays is a zero in exact arithmetic.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import inlined, kernel
from factorgraph_ebm.engine.forest import JOIN, WEIGH
from factorgraph_ebm.engine.messages import SMALLEST, energy_of, is_kept, total_of
from factorgraph_ebm.engine.variables import SEND
from factorgraph_ebm.factors.elementary import exp_minus
from factorgraph_ebm.factors.extremes import bits, least_of
from factorgraph_ebm.factors.prefetching import prefetch

U8 = np.uint64
I8 = np.int64
AHEAD = U8(24)
"slots between the one at work and the one whose rows are asked for: those of eight variables of degree three"


@kernel(*WEIGH)
def weigh_unaries(energy, start, unary, least, low, high):  # type: ignore[no-untyped-def]
    """exp(least - energy) by variable; `least` is 0 for a variable of which every state is forbidden.

    NaN where that is not forbidden and yet too small to multiply with.
    """
    # exp runs over the rows of several variables at once: no remainders of rows, and still in cache.
    for first in range(low, high, U8(32)):
        stop = min(first + U8(32), high)
        for v in range(first, stop):
            w = start[v]
            k = start[v + U8(1)] - w
            found = least_of(energy, w, k)
            found = found if found < np.inf else 0.0
            least[v] = found
            for s in range(k):
                unary[w + s] = energy[w + s] - found
        for i in range(start[first], start[stop]):
            e = unary[i]
            x = exp_minus(e)
            unary[i] = x if (x >= SMALLEST) | (e == np.inf) else np.nan


@inlined
def _scale(row, m, k):  # type: ignore[no-untyped-def]
    """Scale a row by a power of two until its largest entry lies in [1, 2); return the exponent taken off."""
    largest = I8(0)
    for s in range(k):
        b = bits(row[m + s])
        largest = b if b > largest else largest
    if largest == I8(0) or largest >= I8(0x7FF0000000000000):
        return 0.0
    exponent = (largest >> I8(52)) - I8(1023)
    scale = np.int64((I8(1023) - exponent) << I8(52)).view(np.float64)
    for s in range(k):
        row[m + s] *= scale
    return np.float64(exponent)


@inlined
def _lose(row, m, k):  # type: ignore[no-untyped-def]
    """Make a row NaN if an entry is too small to be multiplied with."""
    lost = I8(0)
    for s in range(k):
        x = row[m + s]
        lost += I8(0) if x == 0.0 or x >= SMALLEST else I8(1)
    if lost > 0:
        for s in range(k):
            row[m + s] = np.nan


@inlined
def _times(row, r, x, m, k):  # type: ignore[no-untyped-def]
    """Multiply by one more row among many: scaled, and NaN where digits are lost."""
    for s in range(k):
        row[r + s] *= x[m + s]
    exponent = _scale(row, r, k)
    _lose(row, r, k)
    return exponent


@inlined
def _four(x, m):  # type: ignore[no-untyped-def]
    return x[m], x[m + U8(1)], x[m + U8(2)], x[m + U8(3)]


@inlined
def _product(x, y):  # type: ignore[no-untyped-def]
    return x[0] * y[0], x[1] * y[1], x[2] * y[2], x[3] * y[3]


@inlined
def _write(to_factor, m, x):  # type: ignore[no-untyped-def]
    a, b, c, d = x
    if not (is_kept(a) & is_kept(b) & is_kept(c) & is_kept(d)):
        a, b, c, d = np.nan, np.nan, np.nan, np.nan
    to_factor[m], to_factor[m + U8(1)], to_factor[m + U8(2)], to_factor[m + U8(3)] = a, b, c, d


@inlined
def _send_fours(  # type: ignore[no-untyped-def]
    unary, start, slot_start, slot_split, slot_message, to_variable, to_factor, shift, begin, low, high, target
):  # fmt: skip
    """From `low` to the first variable that has not four states or has more than four factors; return which that is.

    In registers, since a loop over four states costs more than what it does.
    """
    one, two, three = U8(1), U8(2), U8(3)
    end = U8(slot_start[high])
    for v in range(low, high):
        a, b = U8(slot_start[v]), U8(slot_start[v + one])
        w = start[v]
        if start[v + one] - w != U8(4) or b - a > U8(4):
            return v
        first = U8(slot_split[v]) if target == 1 else a
        stop = U8(slot_split[v]) if target == 0 else b
        shift[v - begin] = 0.0
        if first >= stop:
            continue
        for i in range(a, b):
            ahead = slot_message[i + AHEAD if i + AHEAD < end else i]
            prefetch(to_variable, ahead)
            prefetch(to_factor, ahead)
        u = _four(unary, w)
        p = slot_message[a]
        x = _four(to_variable, p)
        if b - a == three:
            q, r = slot_message[a + one], slot_message[a + two]
            y, z = _four(to_variable, q), _four(to_variable, r)
            if first == a:
                _write(to_factor, p, _product(u, _product(y, z)))
            if first <= a + one and stop > a + one:
                _write(to_factor, q, _product(u, _product(x, z)))
            if stop == b:
                _write(to_factor, r, _product(u, _product(x, y)))
        elif b - a == two:
            q = slot_message[a + one]
            y = _four(to_variable, q)
            if first == a:
                _write(to_factor, p, _product(u, y))
            if stop == b:
                _write(to_factor, q, _product(u, x))
        elif b - a == one:
            _write(to_factor, p, u)
        else:
            q, r, s = slot_message[a + one], slot_message[a + two], slot_message[a + three]
            y, z, t = _four(to_variable, q), _four(to_variable, r), _four(to_variable, s)
            xy, zt = _product(_product(u, x), y), _product(z, t)
            if first == a:
                _write(to_factor, p, _product(_product(u, y), zt))
            if first <= a + one and stop > a + one:
                _write(to_factor, q, _product(_product(u, x), zt))
            if first <= a + two and stop > a + two:
                _write(to_factor, r, _product(xy, t))
            if stop == b:
                _write(to_factor, s, _product(xy, z))
    return high


@inlined
def _send_few(  # type: ignore[no-untyped-def]
    unary, start, slot_start, slot_split, slot_message, to_variable, to_factor, shift, begin, low, high, target
):  # fmt: skip
    """From `low` to the first variable that has four states or more than four factors; return which that is.

    Up to three messages and the unary are multiplied at once, since their product is a normal number.
    """
    one = U8(1)
    for v in range(low, high):
        a, b = U8(slot_start[v]), U8(slot_start[v + one])
        w = start[v]
        k = start[v + one] - w
        if k == U8(4) or b - a > U8(4):
            return v
        first = U8(slot_split[v]) if target == 1 else a
        stop = U8(slot_split[v]) if target == 0 else b
        for i in range(first, stop):
            m = slot_message[i]
            lost = I8(0)
            if b - a == U8(2):
                x = slot_message[a if i != a else a + one]
                for s in range(k):
                    value = unary[w + s] * to_variable[x + s]
                    to_factor[m + s] = value
                    lost += I8(0) if is_kept(value) else I8(1)
            elif b - a == one:
                for s in range(k):
                    to_factor[m + s] = unary[w + s]
            elif b - a == U8(3):
                x = slot_message[a if i != a else a + one]
                y = slot_message[a + U8(2) if i != a + U8(2) else a + one]
                for s in range(k):
                    value = unary[w + s] * (to_variable[x + s] * to_variable[y + s])
                    to_factor[m + s] = value
                    lost += I8(0) if is_kept(value) else I8(1)
            else:
                x = slot_message[a if i != a else a + U8(3)]
                y = slot_message[a + one if i != a + one else a + U8(3)]
                z = slot_message[a + U8(2) if i != a + U8(2) else a + U8(3)]
                for s in range(k):
                    value = (unary[w + s] * to_variable[x + s]) * (to_variable[y + s] * to_variable[z + s])
                    to_factor[m + s] = value
                    lost += I8(0) if is_kept(value) else I8(1)
            if lost > 0:
                for s in range(k):
                    to_factor[m + s] = np.nan
            shift[v - begin] = 0.0
    return high


@inlined
def _send_many(  # type: ignore[no-untyped-def]
    unary, start, slot_start, slot_split, slot_message, to_variable, to_factor, scratch, shift, begin, v, target
):  # fmt: skip
    one = U8(1)
    a, b = U8(slot_start[v]), U8(slot_start[v + one])
    first = U8(slot_split[v]) if target == 1 else a
    stop = U8(slot_split[v]) if target == 0 else b
    w = start[v]
    k = start[v + one] - w
    taken = 0.0
    for s in range(k):
        scratch[s] = unary[w + s]
    for i in range(a, first):
        taken += _times(scratch, U8(0), to_variable, slot_message[i], k)
    for i in range(stop, b):
        taken += _times(scratch, U8(0), to_variable, slot_message[i], k)
    if stop - first == one:
        shift[v - begin] = -taken * 0.6931471805599453
    for i in range(first, stop):
        m = slot_message[i]
        for s in range(k):
            to_factor[m + s] = scratch[s]
        _times(scratch, U8(0), to_variable, m, k)
    for s in range(k):
        scratch[s] = 1.0
    for j in range(stop - first):
        m = slot_message[stop - one - j]
        if j > 0:
            _times(to_factor, m, scratch, U8(0), k)
        _times(scratch, U8(0), to_variable, m, k)


@kernel(*SEND)
def send_weights(  # type: ignore[no-untyped-def]
    unary, start, slot_start, slot_split, slot_message, to_variable, to_factor, scratch, shift, low, high, target
):  # fmt: skip
    """Send messages of the variables low to high; see `variables.send_to_factors`. Shifts are energies."""
    at = low
    while at < high:
        at = _send_fours(
            unary, start, slot_start, slot_split, slot_message, to_variable, to_factor, shift, low, at, high, target
        )
        at = _send_few(
            unary, start, slot_start, slot_split, slot_message, to_variable, to_factor, shift, low, at, high, target
        )
        if at < high and slot_start[at + U8(1)] - slot_start[at] > 4:
            _send_many(
                unary, start, slot_start, slot_split, slot_message, to_variable, to_factor, scratch, shift, low, at,
                target,
            )  # fmt: skip
            at += U8(1)


@kernel(*JOIN)
def join_weights(unary, start, slot_start, slot_message, to_variable, probability, free_energy, low, high):  # type: ignore[no-untyped-def]
    """Probabilities of the variables low to high and the free energies of their beliefs: 0 and +inf if forbidden.

    A variable that was lost has NaN.
    """
    one, many = U8(1), False
    for v in range(low, high):
        w = start[v]
        k = start[v + one] - w
        a, b = U8(slot_start[v]), U8(slot_start[v + one])
        if b - a == U8(2):
            x, y = slot_message[a], slot_message[a + one]
            for s in range(k):
                probability[w + s] = unary[w + s] * (to_variable[x + s] * to_variable[y + s])
        elif b - a == one:
            x = slot_message[a]
            for s in range(k):
                probability[w + s] = unary[w + s] * to_variable[x + s]
        elif b - a == U8(3):
            x, y, z = slot_message[a], slot_message[a + one], slot_message[a + U8(2)]
            for s in range(k):
                probability[w + s] = (unary[w + s] * to_variable[x + s]) * (to_variable[y + s] * to_variable[z + s])
        elif b == a:
            for s in range(k):
                probability[w + s] = unary[w + s]
        else:
            many = True
            continue
        p, q, r, t = 0.0, 0.0, 0.0, 0.0
        whole = k & ~U8(3)
        for i in range(w, w + whole, U8(4)):
            p += probability[i]
            q += probability[i + one]
            r += probability[i + U8(2)]
            t += probability[i + U8(3)]
        for i in range(w + whole, w + k):
            p += probability[i]
        total = (p + q) + (r + t)
        free_energy[v] = total
        scale = 1.0 / total if total != 0.0 else 0.0
        for s in range(k):
            probability[w + s] *= scale
    for v in range(low, high):
        free_energy[v] = energy_of(free_energy[v])
    if many:
        for v in range(low, high):
            if slot_start[v + one] - slot_start[v] > 3:
                _join_many(unary, start, slot_start, slot_message, to_variable, probability, free_energy, v)


@inlined
def _join_many(unary, start, slot_start, slot_message, to_variable, probability, free_energy, v):  # type: ignore[no-untyped-def]
    w = start[v]
    k = start[v + U8(1)] - w
    taken = 0.0
    for s in range(k):
        probability[w + s] = unary[w + s]
    for i in range(U8(slot_start[v]), U8(slot_start[v + U8(1)])):
        taken += _times(probability, w, to_variable, slot_message[i], k)
    total = total_of(probability, w, k)
    free_energy[v] = -np.log(total) - taken * 0.6931471805599453
    scale = 1.0 / total if total != 0.0 else 0.0
    for s in range(k):
        probability[w + s] *= scale
