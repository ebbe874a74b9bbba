"""The variable's side where every variable has two states and a message is one number.

    odds r = p(1) / p(0)            to_factor = odds of the unary times all other messages
    differences h = E(1) - E(0)     to_factor = difference of the unary plus all other messages

Half the memory of rows of two, nothing to normalise, and in a factor's kernel long loops over contiguous numbers.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import F8, NOTHING, READ_F8, READ_U4, READ_U8, SIZE, inlined, kernel
from factorgraph_ebm.engine.messages import SMALLEST
from factorgraph_ebm.engine.variables import SEND

U8 = np.uint64


@inlined
def _join(a, b, multiply):  # type: ignore[no-untyped-def]
    return a * b if multiply else a + b


@inlined
def _kept(x, multiply):  # type: ignore[no-untyped-def]
    """The number itself, or NaN where odds of many messages come near to the ends of the number range."""
    return x if not multiply or (x > SMALLEST and x < 1.0 / SMALLEST) else np.nan


@inlined
def _send(unary, slot_start, slot_split, slot_message, to_variable, to_factor, low, high, target, multiply):  # type: ignore[no-untyped-def]
    one = U8(1)
    for v in range(low, high):
        a = U8(slot_start[v])
        b = U8(slot_start[v + one])
        first = U8(slot_split[v]) if target == 1 else a
        stop = U8(slot_split[v]) if target == 0 else b
        count = stop - first
        if count == U8(0):
            continue
        p = unary[v]
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
    _send(unary, slot_start, slot_split, slot_message, to_variable, to_factor, low, high, target, True)


@kernel(*SEND)
def send_differences(  # type: ignore[no-untyped-def]
    unary, start, slot_start, slot_split, slot_message, to_variable, to_factor, scratch, shift, low, high, target
):  # fmt: skip
    _send(unary, slot_start, slot_split, slot_message, to_variable, to_factor, low, high, target, False)


@kernel(NOTHING, READ_F8, READ_U4, READ_U8, READ_F8, F8, SIZE, SIZE)
def join_odds(unary, slot_start, slot_message, to_variable, belief, low, high):  # type: ignore[no-untyped-def]
    """Odds of the beliefs of the variables low to high; NaN where they, or a message, were lost."""
    for v in range(low, high):
        p = unary[v]
        for i in range(U8(slot_start[v]), U8(slot_start[v + U8(1)])):
            p = _kept(p * to_variable[slot_message[i]], True)
        belief[v - low] = p


@kernel(NOTHING, READ_F8, READ_U4, READ_U8, READ_F8, F8, SIZE, SIZE)
def join_differences(unary, slot_start, slot_message, to_variable, belief, low, high):  # type: ignore[no-untyped-def]
    """Differences of the beliefs of the variables low to high."""
    for v in range(low, high):
        p = unary[v]
        for i in range(U8(slot_start[v]), U8(slot_start[v + U8(1)])):
            p += to_variable[slot_message[i]]
        belief[v - low] = p
