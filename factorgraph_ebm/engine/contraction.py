"""Contractions: sums, or minima, of products of two tensors, and trees of them up, down and along one assignment.

    out[kept] = (+) over what is taken out of x * y

in weights, where + is a sum and * a product, or in energies, where + is a minimum or -log sum exp(-) and * a sum. The
loops of a contraction were laid out beforehand (`compiler.contraction`): here is nothing but strides. The drivers call
the kernels of a semiring by address, so there is one of each.

Weights that leave the range in which two of them can be multiplied turn into NaN, and so does the answer: it is then
made in energies, which lose nothing.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import AT_F8, AT_I8, NOTHING, REAL, SIZE, inlined, kernel
from factorgraph_ebm.engine.addresses import after
from factorgraph_ebm.engine.ties import is_tied
from factorgraph_ebm.factors.elementary import exp_minus
from factorgraph_ebm.factors.extremes import bits, lesser
from factorgraph_ebm.factors.packs import added, element, filled, load, store, times, turned_square

U8 = np.uint64

CONTRACT = (NOTHING, AT_F8, AT_F8, AT_F8, AT_I8, AT_I8, AT_F8, SIZE)
"out, x, y, loops, counters of the loops, working space as large as out, elements of out"
SETTLE = (REAL, AT_F8, SIZE)
"a finished tensor, its elements"

RANGE = 500
"powers of two between the largest number of a tensor and the least that is not 0: two such factors never underflow"


@inlined
def step(loop, counter, depth):  # type: ignore[no-untyped-def]
    """Advance the loops from the third on; return the steps in out, x and y, or what takes them back to 0."""
    o, x, y = np.int64(0), np.int64(0), np.int64(0)
    for j in range(2, depth):
        f = 1 + 4 * j
        counter[j] += 1
        o += loop[f + 1]
        x += loop[f + 2]
        y += loop[f + 3]
        if counter[j] < loop[f]:
            break
        counter[j] = 0
        o -= loop[f] * loop[f + 1]
        x -= loop[f] * loop[f + 2]
        y -= loop[f] * loop[f + 3]
    return o, x, y


@inlined
def rounds(loop, counter, depth):  # type: ignore[no-untyped-def]
    """How often the two inner loops are run; sets the counters of the others to 0."""
    count = np.int64(1)
    for j in range(2, depth):
        counter[j] = 0
        count *= loop[1 + 4 * j]
    return count


@inlined
def written_once(loop, depth):  # type: ignore[no-untyped-def]
    """Whether none of the loops from the third on returns to elements that were written before."""
    once = True
    for j in range(2, depth):
        once &= loop[2 + 4 * j] != 0
    return once


@kernel(*CONTRACT)
def sum_products(out, x, y, loop, counter, mass, size):  # type: ignore[no-untyped-def]
    """In weights."""
    depth = loop[0]
    n0, o0, x0, y0 = U8(loop[1]), loop[2], loop[3], loop[4]
    n1, o1, x1, y1 = loop[5], loop[6], loop[7], loop[8]
    case = 9 * o0 + 3 * x0 + y0 if o0 <= 1 and x0 <= 1 and y0 <= 1 else -1
    # What is summed by one run of the two inner loops stays in registers, and is written over what was there.
    fresh = (case >= 10 or (case == 4 and o1 != 0)) and written_once(loop, depth)
    if not fresh:
        for i in range(size):
            out[i] = 0.0
    summed = case >= 10 and o1 == 0
    runs, terms = (np.int64(1), n1) if summed else (n1, np.int64(1))
    at, a, b = np.int64(0), np.int64(0), np.int64(0)
    for _ in range(rounds(loop, counter, depth)):
        o, p, q = after(out, at), after(x, a), after(y, b)
        if case == 12:
            for j in range(runs):
                add_rows(after(o, j * o1), after(p, j * x1), after(q, j * y1), n0, terms, x1, y1, fresh)
        elif case == 10:
            for j in range(runs):
                add_rows(after(o, j * o1), after(q, j * y1), after(p, j * x1), n0, terms, y1, x1, fresh)
        elif case == 13:
            for j in range(runs):
                add_products(after(o, j * o1), after(p, j * x1), after(q, j * y1), n0, terms, x1, y1, fresh)
        elif case == 4:
            if x1 == 0:
                add_dots(o, q, p, n0, n1, o1, y1, x1, fresh)
            else:
                add_dots(o, p, q, n0, n1, o1, x1, y1, fresh)
        else:
            for j in range(n1):
                add_row(after(o, j * o1), after(p, j * x1), after(q, j * y1), n0, o0, x0, y0)
        do, da, db = step(loop, counter, depth)
        at += do
        a += da
        b += db


@inlined
def add_row(out, x, y, n, o0, x0, y0):  # type: ignore[no-untyped-def]
    if o0 == 0 and x0 == 1 and y0 == 0:
        out[0] += total(x, n) * y[0]
    elif o0 == 0 and x0 == 0 and y0 == 1:
        out[0] += total(y, n) * x[0]
    else:
        for i in range(np.int64(n)):
            out[i * o0] += x[i * x0] * y[i * y0]


@inlined
def add_rows(out, x, y, n, terms, x1, y1, fresh):  # type: ignore[no-untyped-def]
    """out[i] += sum over j of x[j, i] * y[j], i below n and j below terms; = where it is fresh."""
    zero = filled(0.0)
    eights, fours = n & ~U8(7), n & ~U8(3)
    for i in range(U8(0), eights, U8(8)):
        s = zero if fresh else load(out, i)
        t = zero if fresh else load(out, i + U8(4))
        for j in range(terms):
            row, c = after(x, j * x1), filled(y[j * y1])
            s = added(s, times(load(row, i), c))
            t = added(t, times(load(row, i + U8(4)), c))
        store(out, i, s)
        store(out, i + U8(4), t)
    for i in range(eights, fours, U8(4)):
        s = zero if fresh else load(out, i)
        for j in range(terms):
            s = added(s, times(load(after(x, j * x1), i), filled(y[j * y1])))
        store(out, i, s)
    for i in range(fours, n):
        one = 0.0 if fresh else out[i]
        for j in range(terms):
            one += after(x, j * x1)[i] * y[j * y1]
        out[i] = one


@inlined
def add_products(out, x, y, n, terms, x1, y1, fresh):  # type: ignore[no-untyped-def]
    """out[i] += sum over j of x[j, i] * y[j, i]; = where it is fresh."""
    zero = filled(0.0)
    fours = n & ~U8(3)
    for i in range(U8(0), fours, U8(4)):
        s = zero if fresh else load(out, i)
        for j in range(terms):
            s = added(s, times(load(after(x, j * x1), i), load(after(y, j * y1), i)))
        store(out, i, s)
    for i in range(fours, n):
        one = 0.0 if fresh else out[i]
        for j in range(terms):
            one += after(x, j * x1)[i] * after(y, j * y1)[i]
        out[i] = one


@inlined
def add_dots(out, x, y, n, rows, o1, x1, y1, fresh):  # type: ignore[no-untyped-def]
    """out[j] += sum over i of x[j, i] * y[j, i], or of y[i] where y1 is 0; = where it is fresh."""
    zero = filled(0.0)
    fours = n & ~U8(3)
    whole = rows & ~np.int64(3) if y1 == 0 else np.int64(0)
    for j in range(np.int64(0), whole, np.int64(4)):
        x_0 = after(x, j * x1)
        x_1 = after(x_0, x1)
        x_2 = after(x_1, x1)
        x_3 = after(x_2, x1)
        s, t, u, v = zero, zero, zero, zero
        for i in range(U8(0), fours, U8(4)):
            c = load(y, i)
            s = added(s, times(load(x_0, i), c))
            t = added(t, times(load(x_1, i), c))
            u = added(u, times(load(x_2, i), c))
            v = added(v, times(load(x_3, i), c))
        s, t, u, v = turned_square(s, t, u, v)
        s = added(added(s, t), added(u, v))
        a, b, c, d = element(s, U8(0)), element(s, U8(1)), element(s, U8(2)), element(s, U8(3))
        for i in range(fours, n):
            a += x_0[i] * y[i]
            b += x_1[i] * y[i]
            c += x_2[i] * y[i]
            d += x_3[i] * y[i]
        o = after(out, j * o1)
        if not fresh:
            a += o[0]
            b += o[o1]
            c += o[2 * o1]
            d += o[3 * o1]
        o[0], o[o1], o[2 * o1], o[3 * o1] = a, b, c, d
    for j in range(whole, rows):
        one = dot(after(x, j * x1), after(y, j * y1), n)
        out[j * o1] = one if fresh else out[j * o1] + one


@inlined
def dot(x, y, n):  # type: ignore[no-untyped-def]
    """In four sums side by side, which is how a processor adds."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    whole = n & ~U8(3)
    for i in range(U8(0), whole, U8(4)):
        a += x[i] * y[i]
        b += x[i + U8(1)] * y[i + U8(1)]
        c += x[i + U8(2)] * y[i + U8(2)]
        d += x[i + U8(3)] * y[i + U8(3)]
    for i in range(whole, n):
        a += x[i] * y[i]
    return (a + b) + (c + d)


@inlined
def total(x, n):  # type: ignore[no-untyped-def]
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    whole = n & ~U8(3)
    for i in range(U8(0), whole, U8(4)):
        a += x[i]
        b += x[i + U8(1)]
        c += x[i + U8(2)]
        d += x[i + U8(3)]
    for i in range(whole, n):
        a += x[i]
    return (a + b) + (c + d)


@kernel(*CONTRACT)
def least_sums(out, x, y, loop, counter, mass, size):  # type: ignore[no-untyped-def]
    """In energies, minimising."""
    for i in range(size):
        out[i] = np.inf
    depth = loop[0]
    n0, o0, x0, y0 = U8(loop[1]), loop[2], loop[3], loop[4]
    n1, o1, x1, y1 = loop[5], loop[6], loop[7], loop[8]
    case = 9 * o0 + 3 * x0 + y0 if o0 <= 1 and x0 <= 1 and y0 <= 1 else -1
    at, a, b = np.int64(0), np.int64(0), np.int64(0)
    for _ in range(rounds(loop, counter, depth)):
        for j in range(n1):
            o, p, q = after(out, at + j * o1), after(x, a + j * x1), after(y, b + j * y1)
            if case == 13:
                for i in range(n0):
                    o[i] = lesser(p[i] + q[i], o[i])
            elif case == 12:
                c = q[0]
                for i in range(n0):
                    o[i] = lesser(p[i] + c, o[i])
            elif case == 10:
                c = p[0]
                for i in range(n0):
                    o[i] = lesser(q[i] + c, o[i])
            elif case == 4:
                least = o[0]
                for i in range(n0):
                    least = lesser(p[i] + q[i], least)
                o[0] = least
            else:
                for i in range(np.int64(n0)):
                    o[i * o0] = lesser(p[i * x0] + q[i * y0], o[i * o0])
        do, da, db = step(loop, counter, depth)
        at += do
        a += da
        b += db


@kernel(*CONTRACT)
def free_sums(out, x, y, loop, counter, mass, size):  # type: ignore[no-untyped-def]
    """In energies, summing: -log sum exp(-(x + y))."""
    least_sums(out, x, y, loop, counter, mass, size)
    for i in range(size):
        mass[i] = 0.0
    depth = loop[0]
    n0, o0, x0, y0 = loop[1], loop[2], loop[3], loop[4]
    n1, o1, x1, y1 = loop[5], loop[6], loop[7], loop[8]
    at, a, b = np.int64(0), np.int64(0), np.int64(0)
    for _ in range(rounds(loop, counter, depth)):
        for j in range(n1):
            e, m = at + j * o1, a + j * x1
            f = b + j * y1
            for i in range(n0):
                least = out[e + i * o0]
                if least < np.inf:
                    mass[e + i * o0] += exp_minus(x[m + i * x0] + y[f + i * y0] - least)
        do, da, db = step(loop, counter, depth)
        at += do
        a += da
        b += db
    for i in range(size):
        if out[i] < np.inf:
            out[i] -= np.log(mass[i])


SECOND = 63
"counter that holds how far behind an energy the -log of a number of assignments lies"

@kernel(*CONTRACT)
def tied_sums(out, x, y, loop, counter, mass, size):  # type: ignore[no-untyped-def]
    """Least energies, and behind them -log of how many assignments of what is taken out have them."""
    least_sums(out, x, y, loop, counter, mass, size)
    second = counter[SECOND]
    for i in range(size):
        mass[i] = np.inf
    for turn in range(2):
        depth = loop[0]
        n0, o0, x0, y0 = loop[1], loop[2], loop[3], loop[4]
        n1, o1, x1, y1 = loop[5], loop[6], loop[7], loop[8]
        at, a, b = np.int64(0), np.int64(0), np.int64(0)
        for _ in range(rounds(loop, counter, depth)):
            for j in range(n1):
                for i in range(n0):
                    e, m, f = at + j * o1 + i * o0, a + j * x1 + i * x0, b + j * y1 + i * y0
                    if out[e] < np.inf and is_tied(x[m] + y[f], out[e]):
                        count = x[second + m] + y[second + f]
                        if turn == 0:
                            mass[e] = min(mass[e], count)
                        else:
                            out[second + e] += exp_minus(count - mass[e])
            do, da, db = step(loop, counter, depth)
            at += do
            a += da
            b += db
        for i in range(size):
            if turn == 0:
                out[second + np.int64(i)] = 0.0
            elif out[i] < np.inf:
                out[second + np.int64(i)] = mass[i] - np.log(out[second + np.int64(i)])


@kernel(*SETTLE)
def scale_weights(out, size):  # type: ignore[no-untyped-def]
    """Multiply by a power of two, so that the largest lies in [1, 2); return what the exponent was.

    -inf where all are 0; NaN where any is NaN, or where two that are not 0 lie more than RANGE powers of two apart.
    """
    greatest = np.int64(0)
    least = np.int64(0x7FFFFFFFFFFFFFFF)
    for i in range(size):
        b = bits(out[i])
        greatest = max(greatest, b)
        least = min(least, (b - np.int64(1)) & np.int64(0x7FFFFFFFFFFFFFFF))  # 0 becomes the largest
    if greatest == 0:
        return -np.inf
    exponent = greatest >> np.int64(52)
    if exponent >= 2047 or least + np.int64(1) < greatest - (np.int64(RANGE) << np.int64(52)):
        return np.nan
    factor = np.int64((np.int64(2046) - exponent) << np.int64(52)).view(np.float64)
    for i in range(size):
        out[i] *= factor
    return np.float64(exponent - 1023)


@kernel(*SETTLE)
def leave_energies(out, size):  # type: ignore[no-untyped-def]
    return 0.0
