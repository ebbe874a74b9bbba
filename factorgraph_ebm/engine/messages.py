"""What becomes of the raw messages of factors: normalised, compared with the former ones, damped, stored.

One kernel for each form of messages (see `inference.forms`). Each returns the largest change in nats, measured before
damping, so that damping never makes a run look converged. With `damping` < 0 nothing is compared: messages that are
sent only once have no former ones, and where then one slot is the target, `shift[f - low]` receives the energy that was
taken off its row, in nats.

    energies     minimum 0;              damping * former + (1 - damping) * new
    weights      sum 1;                  the same, in probabilities
    odds         p(1) / p(0);            the same, in probabilities
    differences  E(1) - E(0);            the same, in energies

A weight or odds that comes too near to the ends of the number range becomes NaN, which spreads to all that depends on
it and is found in the beliefs: those samples are answered again in energies, which lose nothing.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import AT_F8, AT_I8, INTEGER, REAL, SIZE, inlined, kernel
from factorgraph_ebm.factors.apart import read, write
from factorgraph_ebm.factors.extremes import bits, greater, least_of, of_bits
from factorgraph_ebm.factors.message_kernels import is_target

U8 = np.uint64
I8_ = np.int64

STORE = (REAL, AT_I8, AT_F8, AT_F8, AT_F8, SIZE, SIZE, INTEGER, REAL)
"run, out, to_variable, shift, low, high, target, damping -> largest change"

SMALLEST = 2.0**-240
"stored weights lie in [SMALLEST, 1] or are 0, odds in [SMALLEST, 1 / SMALLEST]: products of four are normal numbers"
_LOW = int(np.float64(SMALLEST).view(np.int64))
_HIGH = int(np.float64(1 / SMALLEST).view(np.int64))


@kernel(*STORE)
def store_energies(run, out, to_variable, shift, low, high, target, damping):  # type: ignore[no-untyped-def]
    """Rows of energies. A state that is or was forbidden takes the new energy, whatever the damping."""
    n = high - low
    one = U8(1)
    change = 0.0
    o = U8(0)
    for slot in range(run[1]):
        k = U8(run[8 + 4 * slot])
        if not is_target(slot, target):
            o += n * k
            continue
        m = U8(run[8 + 4 * slot + 2]) + low * k
        if k == U8(2):
            for f in range(n):
                x, y = out[o], out[o + one]
                least = x if x < y else y
                if damping < 0.0 and target >= 0:
                    shift[f] = least
                if least < np.inf:
                    x -= least
                    y -= least
                if damping >= 0.0:
                    p, q = to_variable[m], to_variable[m + one]
                    moved = abs(x - p) if x != p else 0.0
                    change = moved if moved > change else change
                    moved = abs(y - q) if y != q else 0.0
                    change = moved if moved > change else change
                    if damping > 0.0:
                        if x < np.inf and p < np.inf:
                            x = damping * p + (1.0 - damping) * x
                        if y < np.inf and q < np.inf:
                            y = damping * q + (1.0 - damping) * y
                to_variable[m] = x
                to_variable[m + one] = y
                o += U8(2)
                m += U8(2)
            continue
        for f in range(n):
            least = least_of(out, o + f * k, k)
            if damping < 0.0 and target >= 0:
                shift[f] = least
            if least < np.inf:
                for s in range(k):
                    out[o + f * k + s] -= least
        change = _store_all(out, o, to_variable, m, n * k, damping, change)
        o += n * k
    return change


@inlined
def _store_all(out, o, to_variable, m, size, damping, change):  # type: ignore[no-untyped-def]
    """Compare, damp and store rows that lie one after another, as one long row; the larger change."""
    if damping < 0.0:
        for i in range(size):
            write(to_variable, m + i, read(out, o + i))
    elif damping > 0.0:
        for i in range(size):
            value, former = read(out, o + i), to_variable[m + i]
            # inf - inf is NaN where nothing moved
            change = greater(abs(value - former) if value != former else 0.0, change)
            mixed = damping * former + (1.0 - damping) * value
            write(to_variable, m + i, mixed if value < np.inf and former < np.inf else value)
    else:
        for i in range(size):
            value, former = read(out, o + i), to_variable[m + i]
            change = greater(abs(value - former) if value != former else 0.0, change)
            write(to_variable, m + i, value)
    return change


@inlined
def total_of(x, first, k):  # type: ignore[no-untyped-def]
    """Sum of k numbers from `first` on, in four chains: one chain waits four cycles for each addition."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    whole = k & ~U8(3)
    for i in range(U8(0), whole, U8(4)):
        a += x[first + i]
        b += x[first + i + U8(1)]
        c += x[first + i + U8(2)]
        d += x[first + i + U8(3)]
    for i in range(whole, k):
        a += x[first + i]
    return (a + b) + (c + d)


@kernel(*STORE)
def store_weights(run, out, to_variable, shift, low, high, target, damping):  # type: ignore[no-untyped-def]
    """Rows of weights, of sum 1; a row of zeros says that every state is forbidden, and stays."""
    n = high - low
    largest = bits(1.0)
    o = U8(0)
    for slot in range(run[1]):
        k = U8(run[8 + 4 * slot])
        if not is_target(slot, target):
            o += n * k
            continue
        m = U8(run[8 + 4 * slot + 2]) + low * k
        for f in range(n):
            total = total_of(out, o, k)
            scale = 1.0 / total if total != 0.0 else 0.0
            if damping < 0.0 and target >= 0:
                shift[f] = -np.log(total)
            lost = I8_(0)
            for s in range(k):
                x = out[o + s] * scale
                out[o + s] = x
                lost += I8_(0) if x == 0.0 or x >= SMALLEST else I8_(1)
            if lost > 0:
                for s in range(k):
                    out[o + s] = np.nan
            if damping < 0.0:
                for s in range(k):
                    to_variable[m + s] = out[o + s]
            else:
                for s in range(k):
                    x = out[o + s]
                    former = to_variable[m + s]
                    ratio = 1.0 if x == former else (x / former if x > former else former / x)
                    b = bits(ratio)
                    largest = b if b > largest else largest
                if damping > 0.0:
                    for s in range(k):
                        x = out[o + s]
                        to_variable[m + s] = 0.0 if x == 0.0 else damping * to_variable[m + s] + (1.0 - damping) * x
                else:
                    for s in range(k):
                        to_variable[m + s] = out[o + s]
            o += k
            m += k
    return np.log(of_bits(largest))


@kernel(*STORE)
def store_odds(run, out, to_variable, shift, low, high, target, damping):  # type: ignore[no-untyped-def]
    """One number a message, p(1) / p(0).

    With probabilities former m / (1 + m) and new x / (1 + x), damped odds are (m S + x W) / (S + W),
    S = damping (1 + x), W = (1 - damping) (1 + m): sums of positive terms, as precise as their terms.
    """
    n = high - low
    largest = bits(1.0)
    o = U8(0)
    for slot in range(run[1]):
        if not is_target(slot, target):
            o += n
            continue
        m = U8(run[8 + 4 * slot + 2]) + low
        if damping > 0.0:
            for f in range(n):
                x = out[o + f]
                former = to_variable[m + f]
                b = bits(x / former if x > former else former / x)
                largest = b if b > largest else largest
                stay = damping * (1.0 + x)
                go = (1.0 - damping) * (1.0 + former)
                x = (former * stay + x * go) / (stay + go)
                inside = bits(x)
                to_variable[m + f] = x if inside > _LOW and inside < _HIGH else np.nan
        else:
            for f in range(n):
                x = out[o + f]
                former = to_variable[m + f]
                b = bits(x / former if x > former else former / x)
                largest = b if b > largest else largest
                inside = bits(x)
                to_variable[m + f] = x if inside > _LOW and inside < _HIGH else np.nan
        o += n
    return np.log(of_bits(largest))


@kernel(*STORE)
def store_differences(run, out, to_variable, shift, low, high, target, damping):  # type: ignore[no-untyped-def]
    """One number a message, E(1) - E(0). A certain bit, +-inf, is or was: it takes the new number undamped."""
    n = high - low
    largest = I8_(0)
    o = U8(0)
    for slot in range(run[1]):
        if not is_target(slot, target):
            o += n
            continue
        m = U8(run[8 + 4 * slot + 2]) + low
        if damping > 0.0:
            for f in range(n):
                x = out[o + f]
                former = to_variable[m + f]
                b = bits(abs(x - former) if x != former else 0.0)
                largest = b if b > largest else largest
                certain = abs(x) == np.inf or abs(former) == np.inf
                to_variable[m + f] = x if certain else damping * former + (1.0 - damping) * x
        else:
            for f in range(n):
                x = out[o + f]
                # inf - inf is NaN where nothing moved, and so is 0 * inf in the formula of damping
                b = bits(abs(x - to_variable[m + f]) if x != to_variable[m + f] else 0.0)
                largest = b if b > largest else largest
                to_variable[m + f] = x
        o += n
    return of_bits(largest)
