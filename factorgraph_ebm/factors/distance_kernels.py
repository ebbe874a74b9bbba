"""What the kernels of a truncated distance of two states share.

    E(a, b) = weight * min(|a - b|, limit), or with (a - b)^2 in place of |a - b|

A recursion along the states of one row is a chain of dependent steps. So a block of rows is *turned*: element
s * lanes + i is state s of factor i, and each step of a walk along the states is one long loop over factors, which
vectorises. Sums only add numbers that are not negative, so nothing cancels.

Constants of the structure: the limit, and the *reach*, the largest distance of two states that is not truncated.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import inlined
from factorgraph_ebm.factors.elementary import exp_minus, minus_log
from factorgraph_ebm.factors.packs import load, store, turned_square

U8 = np.uint64

LANES = 64
"factors that are turned at once, at most"
TURNED = 2048
"elements that are turned at once, about: the messages and their results fill a first-level cache"
FEWEST = 8
"fewer factors than this are done one by one: turning them would cost more than it gains"
TRUSTED = 345.0
"-log of the sums that `message_kernels` trusts; -log of 0, as `minus_log` gives it, is 709"


@inlined
def lanes_of(k, left):  # type: ignore[no-untyped-def]
    """How many of the factors that are left to turn at once."""
    lanes = U8(TURNED) // k
    lanes = lanes if lanes < U8(LANES) else U8(LANES)
    lanes = lanes if lanes > U8(FEWEST) else U8(FEWEST)
    return lanes if lanes < left else left


@inlined
def turn(rows, m, k, turned, t, lanes):  # type: ignore[no-untyped-def]
    """Rows of k states at rows[m:] -> turned[t:]."""
    _turn(rows, m, lanes, k, turned, t)


@inlined
def turn_back(turned, t, k, rows, m, lanes):  # type: ignore[no-untyped-def]
    _turn(turned, t, k, lanes, rows, m)


@inlined
def _turn(x, m, height, width, y, n):  # type: ignore[no-untyped-def]
    """y[n:] (width, height) = x[m:] (height, width) turned, in squares of four."""
    one, two, three = U8(1), U8(2), U8(3)
    rows, columns = height & ~U8(3), width & ~U8(3)
    for i in range(U8(0), rows, U8(4)):
        for j in range(U8(0), columns, U8(4)):
            p = m + i * width + j
            q = n + j * height + i
            a, b, c, d = turned_square(
                load(x, p), load(x, p + width), load(x, p + two * width), load(x, p + three * width)
            )
            store(y, q, a)
            store(y, q + height, b)
            store(y, q + two * height, c)
            store(y, q + three * height, d)
        for j in range(columns, width):
            p = m + i * width + j
            q = n + j * height + i
            y[q], y[q + one] = x[p], x[p + width]
            y[q + two], y[q + three] = x[p + two * width], x[p + three * width]
    for i in range(rows, height):
        for j in range(width):
            y[n + j * height + i] = x[m + i * width + j]


@inlined
def add_farther(p, at, k, reach, turned, factor, total, lanes):  # type: ignore[no-untyped-def]
    """turned(b) += factor * sum of p over states farther from b than `reach`; `total` is room for one row of lanes."""
    for way in range(2):
        for i in range(lanes):
            turned[total + i] = 0.0
        for j in range(reach + U8(1), k):
            source = j - reach - U8(1)
            x = at + (source if way == 0 else k - U8(1) - source) * lanes
            y = (j if way == 0 else k - U8(1) - j) * lanes
            for i in range(lanes):
                turned[total + i] += p[x + i]
                turned[y + i] += turned[factor + i] * turned[total + i]


@inlined
def truncated(weight, distance, squared, limit):  # type: ignore[no-untyped-def]
    """The energy at a distance of states. A distance of 0 counts as 0 even where the weight is +inf."""
    d = np.float64(distance)
    d = d * d if squared else d
    d = d if d < limit else limit
    return weight * d if d > 0.0 else 0.0


@inlined
def sum_rows(squared, run, number, store, constants, x, m, out, o, scratch, low, n):  # type: ignore[no-untyped-def]
    """out(b) = sum over a of p(a) exp(-E(|a - b|)) of n factors one by one: O(states^2) each, for a few factors."""
    k = U8(run[8])
    limit = constants[U8(run[5])]
    factor = n * k
    for i in range(n * k):
        scratch[i] = exp_minus(x[m + i])
    for f in range(n):
        w = store[U8(run[4])] if run[4] >= 0 else store[number[low + f]]
        for d in range(k):
            scratch[factor + d] = exp_minus(truncated(w, d, squared, limit))
        for b in range(k):
            total = 0.0
            for a in range(k):
                total += scratch[factor + (a - b if a > b else b - a)] * scratch[f * k + a]
            out[o + f * k + b] = total


@inlined
def finish_sums(squared, run, number, store, constants, x, m, out, o, low, n):  # type: ignore[no-untyped-def]
    """Sums -> energies in place; what a double cannot hold safely is computed again as a shifted log-sum-exp."""
    k = U8(run[8])
    doubtful = U8(0)
    for i in range(n * k):
        energy = minus_log(out[o + i])
        out[o + i] = energy
        doubtful += U8(0) if -TRUSTED < energy < TRUSTED else U8(1)
    if doubtful == U8(0):
        return
    limit = constants[U8(run[5])]
    for f in range(n):
        w = store[U8(run[4])] if run[4] >= 0 else store[number[low + f]]
        for b in range(k):
            if not -TRUSTED < out[o + f * k + b] < TRUSTED:
                out[o + f * k + b] = _soft_minimum(w, squared, limit, x, m + f * k, k, b)


@inlined
def _soft_minimum(w, squared, limit, x, m, k, b):  # type: ignore[no-untyped-def]
    lowest = np.inf
    for a in range(k):
        value = x[m + a] + truncated(w, a - b if a > b else b - a, squared, limit)
        lowest = value if value < lowest else lowest
    if lowest == np.inf:
        return lowest
    total = 0.0
    for a in range(k):
        total += np.exp(lowest - (x[m + a] + truncated(w, a - b if a > b else b - a, squared, limit)))
    return lowest - np.log(total)
