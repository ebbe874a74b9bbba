"""The variable's side where messages are rows of weights, probabilities up to scale: products instead of sums.

    to_factor of a slot = weights of the unary times to_variable over the variable's other slots

Stored weights are at least SMALLEST or zero, so products of four are normal numbers; where more are multiplied, each
product is scaled by a power of two, which is exact. What then comes too near to the end of the number range becomes NaN
(see `engine.messages`), zero stays zero: a zero in these arrays is a zero in exact arithmetic.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import inlined, kernel
from factorgraph_ebm.engine.forest import JOIN
from factorgraph_ebm.engine.messages import SMALLEST, total_of
from factorgraph_ebm.engine.variables import SEND
from factorgraph_ebm.factors.extremes import bits

U8 = np.uint64
I8 = np.int64


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


@kernel(*SEND)
def send_weights(  # type: ignore[no-untyped-def]
    unary, start, slot_start, slot_split, slot_message, to_variable, to_factor, scratch, shift, low, high, target
):  # fmt: skip
    """Send messages of the variables low to high; see `variables.send_to_factors`. Shifts are energies."""
    one = U8(1)
    for v in range(low, high):
        a = U8(slot_start[v])
        b = U8(slot_start[v + one])
        first = U8(slot_split[v]) if target == 1 else a
        stop = U8(slot_split[v]) if target == 0 else b
        w = start[v]
        k = start[v + one] - w
        if b - a <= U8(4):
            # Up to three messages and the unary: multiplied at once, since their product is a normal number.
            for i in range(first, stop):
                m = slot_message[i]
                if b - a == one:
                    for s in range(k):
                        to_factor[m + s] = unary[w + s]
                elif b - a == U8(2):
                    x = slot_message[a if i != a else a + one]
                    for s in range(k):
                        to_factor[m + s] = unary[w + s] * to_variable[x + s]
                elif b - a == U8(3):
                    x = slot_message[a if i != a else a + one]
                    y = slot_message[a + U8(2) if i != a + U8(2) else a + one]
                    for s in range(k):
                        to_factor[m + s] = unary[w + s] * (to_variable[x + s] * to_variable[y + s])
                else:
                    x = slot_message[a if i != a else a + U8(3)]
                    y = slot_message[a + one if i != a + one else a + U8(3)]
                    z = slot_message[a + U8(2) if i != a + U8(2) else a + U8(3)]
                    for s in range(k):
                        to_factor[m + s] = (unary[w + s] * to_variable[x + s]) * (
                            to_variable[y + s] * to_variable[z + s]
                        )
                _lose(to_factor, m, k)
                shift[v - low] = 0.0
            continue
        taken = 0.0
        for s in range(k):
            scratch[s] = unary[w + s]
        for i in range(a, first):
            taken += _times(scratch, U8(0), to_variable, slot_message[i], k)
        for i in range(stop, b):
            taken += _times(scratch, U8(0), to_variable, slot_message[i], k)
        if stop - first == one:
            shift[v - low] = -taken * 0.6931471805599453
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


@kernel(*JOIN)
def join_weights(unary, start, slot_start, slot_message, to_variable, probability, free_energy, low, high):  # type: ignore[no-untyped-def]
    """Probabilities of the variables low to high and the free energies of their beliefs: 0 and +inf if forbidden.

    A variable that was lost has NaN.
    """
    for v in range(low, high):
        w = start[v]
        k = start[v + U8(1)] - w
        a = U8(slot_start[v])
        b = U8(slot_start[v + U8(1)])
        taken = 0.0
        for s in range(k):
            probability[w + s] = unary[w + s]
        for i in range(a, b):
            if b - a <= U8(3):
                m = slot_message[i]
                for s in range(k):
                    probability[w + s] *= to_variable[m + s]
            else:
                taken += _times(probability, w, to_variable, slot_message[i], k)
        total = total_of(probability, w, k)
        free_energy[v] = -np.log(total) - taken * 0.6931471805599453
        scale = 1.0 / total if total != 0.0 else 0.0
        for s in range(k):
            probability[w + s] *= scale
