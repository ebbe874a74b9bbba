"""Messages in odds of parity checks over five to eight bits, as most codes have, in one walk over all slots of a check.

What is read and made for one check stays in registers, where a walk slot by slot writes and reads it again: that takes
twice as long. Fewer slots than eight are filled up with bits that are off for certain, which change no message. All
rows lie apart, which `read` and the writers promise, so the walk takes four checks at a time.
"""

import numpy as np

from factorgraph_ebm._jit import inlined
from factorgraph_ebm.factors.apart import (
    read,
    write_0,
    write_1,
    write_2,
    write_3,
    write_4,
    write_5,
    write_6,
    write_7,
    write_8,
    write_9,
    write_10,
    write_11,
    write_12,
    write_13,
    write_14,
    write_15,
)

U8 = np.uint64
FEWEST, MOST = U8(5), U8(8)
"slots for which it pays, and slots at most"


@inlined
def _row(run, to_factor, scratch, low, slot):  # type: ignore[no-untyped-def]
    """Where the messages of a slot lie; of a slot that there is not, in the neutral row of `scratch`."""
    return (to_factor, U8(run[10 + 4 * slot]) + low) if slot < run[1] else (scratch, U8(0))


@inlined
def _place(run, out, scratch, n, slot, row, dump):  # type: ignore[no-untyped-def]
    """Where a row of a slot is written; of a slot that there is not, to a row of `scratch`."""
    return (out, U8(row) * n) if slot < run[1] else (scratch, U8(dump) * n)


@inlined
def _times(even, odd, r):  # type: ignore[no-untyped-def]
    return even + odd * r, odd + even * r



@inlined
def few_odds(run, number, weight, to_factor, out, scratch, low, n):  # type: ignore[no-untyped-def]
    """As `parity_odds`, to all slots: p and q are even and odd over the slots before."""
    arity = run[1]
    for f in range(n):
        t = U8(run[4]) if run[4] >= 0 else number[low + f]
        scratch[f] = 0.0
        scratch[n + f] = weight[t]
        scratch[U8(2) * n + f] = weight[t + U8(1)]
    x0, m0 = to_factor, U8(run[10]) + low
    x1, m1 = to_factor, U8(run[14]) + low
    x2, m2 = to_factor, U8(run[18]) + low
    x3, m3 = to_factor, U8(run[22]) + low
    x4, m4 = to_factor, U8(run[26]) + low
    x5, m5 = _row(run, to_factor, scratch, low, 5)
    x6, m6 = _row(run, to_factor, scratch, low, 6)
    x7, m7 = _row(run, to_factor, scratch, low, 7)
    y0, o0 = out, U8(0) * n
    z0, b0 = out, U8(arity + 0) * n
    y1, o1 = out, U8(1) * n
    z1, b1 = out, U8(arity + 1) * n
    y2, o2 = out, U8(2) * n
    z2, b2 = out, U8(arity + 2) * n
    y3, o3 = out, U8(3) * n
    z3, b3 = out, U8(arity + 3) * n
    y4, o4 = out, U8(4) * n
    z4, b4 = out, U8(arity + 4) * n
    y5, o5 = _place(run, out, scratch, n, 5, 5, 3)
    z5, b5 = _place(run, out, scratch, n, 5, arity + 5, 4)
    y6, o6 = _place(run, out, scratch, n, 6, 6, 5)
    z6, b6 = _place(run, out, scratch, n, 6, arity + 6, 6)
    y7, o7 = _place(run, out, scratch, n, 7, 7, 7)
    z7, b7 = _place(run, out, scratch, n, 7, arity + 7, 8)
    for f in range(n):
        r0, r1, r2, r3 = read(x0, m0 + f), read(x1, m1 + f), read(x2, m2 + f), read(x3, m3 + f)
        r4, r5, r6, r7 = read(x4, m4 + f), read(x5, m5 + f), read(x6, m6 + f), read(x7, m7 + f)
        p1, q1 = 1.0, r0
        p2, q2 = _times(p1, q1, r1)
        p3, q3 = _times(p2, q2, r2)
        p4, q4 = _times(p3, q3, r3)
        p5, q5 = _times(p4, q4, r4)
        p6, q6 = _times(p5, q5, r5)
        p7, q7 = _times(p6, q6, r6)
        even, odd = read(scratch, n + f), read(scratch, U8(2) * n + f)
        write_7(y7, o7 + f, p7 * odd + q7 * even)
        write_15(z7, b7 + f, p7 * even + q7 * odd)
        even, odd = _times(even, odd, r7)
        write_6(y6, o6 + f, p6 * odd + q6 * even)
        write_14(z6, b6 + f, p6 * even + q6 * odd)
        even, odd = _times(even, odd, r6)
        write_5(y5, o5 + f, p5 * odd + q5 * even)
        write_13(z5, b5 + f, p5 * even + q5 * odd)
        even, odd = _times(even, odd, r5)
        write_4(y4, o4 + f, p4 * odd + q4 * even)
        write_12(z4, b4 + f, p4 * even + q4 * odd)
        even, odd = _times(even, odd, r4)
        write_3(y3, o3 + f, p3 * odd + q3 * even)
        write_11(z3, b3 + f, p3 * even + q3 * odd)
        even, odd = _times(even, odd, r3)
        write_2(y2, o2 + f, p2 * odd + q2 * even)
        write_10(z2, b2 + f, p2 * even + q2 * odd)
        even, odd = _times(even, odd, r2)
        write_1(y1, o1 + f, p1 * odd + q1 * even)
        write_9(z1, b1 + f, p1 * even + q1 * odd)
        even, odd = _times(even, odd, r1)
        write_0(y0, o0 + f, odd)
        write_8(z0, b0 + f, even)
