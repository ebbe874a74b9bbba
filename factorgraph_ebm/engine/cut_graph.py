"""The graph of a cut: pair tables over two states each, as capacities in whole numbers.

    E(x, y) = constant + p x + q y + forward x (1 - y) + backward (1 - x) y,    forward, backward >= 0

exists exactly where E(0, 0) + E(1, 1) <= E(0, 1) + E(1, 0), that is where E is submodular (V. Kolmogorov and R. Zabih,
"What energy functions can be minimized via graph cuts?", IEEE Trans. Pattern Analysis and Machine Intelligence 26(2),
2004). State 1 is the side of the source: `forward` is the capacity of the arc from x to y, and what p and q make 1 pay
is what flows on to the sink.

Energies become whole numbers of units. A unit is a power of two for each connected component, so small that the largest
sum at a variable is just below 2**58 units. What is added after that is exact. An entry loses less than one unit.

A forbidden entry either takes a state away (`forced`), or is an arc that no flow can fill: where a component has one,
the sum over all of it is less than 2**58 units, and so is all flow, beside which `UNLIMITED` never runs out.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import (
    F8,
    I8,
    INTEGER,
    NOTHING,
    READ_F8,
    READ_U4,
    READ_U8,
    SIZE,
    U1,
    U4,
    U8,
    inlined,
    kernel,
)

U64 = np.uint64
ONE, TWO, THREE = U64(1), U64(2), U64(3)
BITS = 58
"of the largest sum of energies, in units"
UNLIMITED = np.int64(1 << 62)
TIE = 8 * 2.0**-53
"a table may miss the condition by as much, relative to its entries: they may be sums that were rounded"
MUST_BE_1, MUST_BE_0 = np.uint8(1), np.uint8(2)


@inlined
def magnitude_of(x):  # type: ignore[no-untyped-def]
    return abs(x) if x < np.inf else 0.0


@kernel(INTEGER, READ_F8, SIZE, SIZE, READ_U4, READ_U4, READ_U4, F8, F8, U1, SIZE, SIZE)
def measure_pairs(  # type: ignore[no-untyped-def]
    energies, row, column, left, right, component, magnitude, loss, unlimited, low, high
):  # fmt: skip
    """The first of the factors low to high that is not submodular, or -1; what the others weigh at their variables.

    `energies`: of factor f in states 00, 01, 10 and 11, in elements f * row to f * row + 3 * column. Adds magnitudes
    of entries to `magnitude` (V,) of their variables, and one unit for each factor to `loss` (V,). Notes in `unlimited`
    (V,) the components that have an arc that no flow can fill.
    """
    for f in range(low, high):
        t = U64(f) * row
        a, b, c, d = energies[t], energies[t + column], energies[t + TWO * column], energies[t + THREE * column]
        span = magnitude_of(a) + magnitude_of(b) + magnitude_of(c) + magnitude_of(d)
        if a + d > b + c + TIE * span:
            return np.int64(f)
        u, v = left[f], right[f]
        magnitude[u] += span
        magnitude[v] += span
        loss[u] += 1.0
        if b == np.inf or c == np.inf:
            unlimited[component[u]] = 1
    return np.int64(-1)


@kernel(NOTHING, READ_F8, READ_U4, F8)
def largest_of_components(magnitude, component, largest):  # type: ignore[no-untyped-def]
    """largest[c] = the largest magnitude (V,) of the variables of component c."""
    for v in range(len(magnitude)):
        c = component[v]
        largest[c] = magnitude[v] if magnitude[v] > largest[c] else largest[c]


@inlined
def units(x, half):  # type: ignore[no-untyped-def]
    """x in units; half * half may be more than a float can hold, and x times it never is."""
    return np.int64(x * half * half)


@kernel(NOTHING, READ_F8, SIZE, SIZE, READ_U4, READ_U4, READ_F8, U8, U4, U4, I8, I8, F8, U1, SIZE, SIZE)
def place_pairs(  # type: ignore[no-untyped-def]
    energies, row, column, left, right, half, cursor, head, sister, residual, excess, loss, forced, low, high,
):  # fmt: skip
    """Two arcs for each of the factors low to high, and what is left of their tables as excess of their variables.

    Arc a leads to head[a] and back by sister[a]; residual[2 a] of it is left, and residual[2 a + 1] of its sister.
    `cursor` (V,) is where the next arc of each variable goes.
    """
    for f in range(low, high):
        u, v = U64(left[f]), U64(right[f])
        out, back = cursor[u], cursor[v]
        cursor[u] = out + ONE
        cursor[v] = back + ONE
        head[out], head[back] = np.uint32(v), np.uint32(u)
        sister[out], sister[back] = np.uint32(back), np.uint32(out)
        t = U64(f) * row
        a, b, c, d = energies[t], energies[t + column], energies[t + TWO * column], energies[t + THREE * column]
        forward, backward = np.int64(0), np.int64(0)
        if not a + b + c + d < np.inf:
            if a == np.inf and b == np.inf:
                forced[u] |= MUST_BE_1
                a, b = c, d
            if c == np.inf and d == np.inf:
                forced[u] |= MUST_BE_0
                c, d = a, b
            if a == np.inf and c == np.inf:
                forced[v] |= MUST_BE_1
                a, c = b, d
            if b == np.inf and d == np.inf:
                forced[v] |= MUST_BE_0
                b, d = a, c
            if a == np.inf or d == np.inf:  # nothing is left, or nothing was
                a, b, c, d = 0.0, 0.0, 0.0, 0.0
            if b == np.inf:
                backward = UNLIMITED
            if c == np.inf:
                forward = UNLIMITED
            if b == np.inf and c == np.inf:
                b, c = a, d
            elif b == np.inf:
                b = a
            elif c == np.inf:
                c = a
        scale = half[u]
        i, j, k, l = units(a, scale), units(b, scale), units(c, scale), units(d, scale)  # noqa: E741
        if backward > 0 and forward > 0:
            j, k = i, l
        elif backward > 0:
            j = i + l - k
        elif forward > 0:
            k = i + l - j
        room = j + k - i - l
        if room < 0:
            loss[u] -= np.float64(room)
            room = np.int64(0)
        share = k - i
        share = share if share > 0 else np.int64(0)
        share = share if share < room else room
        excess[u] -= k - i - share
        excess[v] -= j - i - (room - share)
        forward += share
        backward += room - share
        residual[TWO * out], residual[TWO * out + ONE] = forward, backward
        residual[TWO * back], residual[TWO * back + ONE] = backward, forward


@kernel(NOTHING, READ_U8, READ_U4, READ_U4, READ_U4, I8, I8, U1, U1, U4)
def settle_forced(  # type: ignore[no-untyped-def]
    start, head, sister, component, residual, excess, forced, impossible, queue
):  # fmt: skip
    """Hand on what is forced along arcs that no flow can fill, and take the variables that are forced out of the graph.

    `impossible` (V,) notes the components in which a variable may have neither state.
    """
    last = U64(0)
    for v in range(len(forced)):
        if forced[v] > 0:
            queue[last] = v
            last += ONE
    first = U64(0)
    while first < last:
        w = U64(queue[first])
        first += ONE
        mine = forced[w]
        if mine == MUST_BE_0 | MUST_BE_1:
            impossible[component[w]] = 1
        for a in range(start[w], start[w + ONE]):
            out = mine == MUST_BE_1 and residual[TWO * a] == UNLIMITED
            into = mine == MUST_BE_0 and residual[TWO * a + ONE] == UNLIMITED
            if out or into:
                u = head[a]
                if forced[u] == 0:
                    queue[last] = u
                    last += ONE
                elif forced[u] != mine:
                    impossible[component[u]] = 1
                forced[u] |= mine
    for i in range(last):
        w = U64(queue[i])
        for a in range(start[w], start[w + ONE]):
            u, s = head[a], sister[a]
            if forced[u] == 0 and impossible[component[u]] == 0:
                if forced[w] == MUST_BE_1:
                    excess[u] += residual[TWO * a]
                else:
                    excess[u] -= residual[TWO * a + ONE]
            residual[TWO * a], residual[TWO * a + ONE] = 0, 0
            residual[TWO * U64(s)], residual[TWO * U64(s) + ONE] = 0, 0
        excess[w] = 0
