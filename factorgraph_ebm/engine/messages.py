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
from factorgraph_ebm.factors.elementary import minus_log
from factorgraph_ebm.factors.extremes import bits, greater, of_bits
from factorgraph_ebm.factors.message_kernels import is_target
from factorgraph_ebm.factors.packs import (
    added,
    filled,
    finite,
    greaters,
    greatest_in,
    least_in,
    least_of_row,
    less,
    lessers,
    load,
    magnitude,
    store,
    times,
)  # fmt: skip

U8 = np.uint64
I8_ = np.int64

STORE = (REAL, AT_I8, AT_F8, AT_F8, AT_F8, SIZE, SIZE, INTEGER, REAL)
"run, out, to_variable, shift, low, high, target, damping -> largest change"

SMALLEST = 2.0**-240
"stored weights lie in [SMALLEST, 1] or are 0, odds in [SMALLEST, 1 / SMALLEST]: products of four are normal numbers"
FAR = 2.0**-760
"a sum from which on odds as small as SMALLEST are of normal numbers"


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
        if k == U8(16):
            change = _keep_sixteens(out, o, to_variable, m, n, shift, target >= 0, damping, change)
        else:
            change = _keep_rows(out, o, to_variable, m, n, k, shift, target >= 0, damping, change)
        o += n * k
    return change


@inlined
def _keep_rows(out, o, to_variable, m, n, k, shift, shifted, damping, change):  # type: ignore[no-untyped-def]
    """Normalise, compare, damp and store n rows of energies; the larger change."""
    fours = k & ~U8(3)
    moved = filled(change)
    for f in range(n):
        least = least_of_row(out, o, k)
        if damping < 0.0 and shifted:
            shift[f] = least
        least = least if least < np.inf else 0.0
        off = filled(least)
        for s in range(U8(0), fours, U8(4)):
            moved = _keep_four(less(load(out, o + s), off), to_variable, m + s, damping, moved)
        for s in range(fours, k):
            value = out[o + s] - least
            if damping >= 0.0:
                former = to_variable[m + s]
                change = greater(abs(value - former) if value != former else 0.0, change)
                mixed = damping * former + (1.0 - damping) * value
                value = mixed if damping > 0.0 and mixed < np.inf else value
            to_variable[m + s] = value
        o += k
        m += k
    return greater(greatest_in(moved), change)


@inlined
def _keep_sixteens(out, o, to_variable, m, n, shift, shifted, damping, change):  # type: ignore[no-untyped-def]
    """The same for rows of sixteen, which stay in registers."""
    moved = filled(change)
    for f in range(n):
        x, y, z, t = load(out, o), load(out, o + U8(4)), load(out, o + U8(8)), load(out, o + U8(12))
        least = least_in(lessers(lessers(x, y), lessers(z, t)))
        if damping < 0.0 and shifted:
            shift[f] = least
        off = filled(least if least < np.inf else 0.0)
        moved = _keep_four(less(x, off), to_variable, m, damping, moved)
        moved = _keep_four(less(y, off), to_variable, m + U8(4), damping, moved)
        moved = _keep_four(less(z, off), to_variable, m + U8(8), damping, moved)
        moved = _keep_four(less(t, off), to_variable, m + U8(12), damping, moved)
        o += U8(16)
        m += U8(16)
    return greatest_in(moved)


@inlined
def _keep_four(value, to_variable, m, damping, moved):  # type: ignore[no-untyped-def]
    if damping >= 0.0:
        former = load(to_variable, m)
        # inf - inf is NaN where nothing moved, and NaN is not greater than anything
        moved = greaters(magnitude(less(value, former)), moved)
        if damping > 0.0:
            # Infinite where one of the two is: then the new energy is right, infinite or not.
            value = finite(added(times(filled(damping), former), times(filled(1.0 - damping), value)), value)
    store(to_variable, m, value)
    return moved


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


@inlined
def is_kept(x):  # type: ignore[no-untyped-def]
    """Whether a weight is zero or large enough to be multiplied with; NaN is neither."""
    return (x == 0.0) | (x >= SMALLEST)


@inlined
def _store_fours(out, o, to_variable, m, n, damping, largest):  # type: ignore[no-untyped-def]
    """n rows of four weights, in registers; `largest` is the largest ratio of new and former so far, as bits."""
    one, two, three = U8(1), U8(2), U8(3)
    go = 1.0 - damping
    for _ in range(n):
        a, b, c, d = out[o], out[o + one], out[o + two], out[o + three]
        p, q, r, s = to_variable[m], to_variable[m + one], to_variable[m + two], to_variable[m + three]
        total = (a + b) + (c + d)
        scale = 1.0 / total if total != 0.0 else 0.0
        a, b, c, d = a * scale, b * scale, c * scale, d * scale
        if not (is_kept(a) & is_kept(b) & is_kept(c) & is_kept(d)):
            a, b, c, d = np.nan, np.nan, np.nan, np.nan
        # Quotients cost as much as all the rest: they are made only where one may be the largest.
        bound = of_bits(largest)
        if not (_within(a, p, bound) & _within(b, q, bound) & _within(c, r, bound) & _within(d, s, bound)):
            largest = max(largest, max(max(_ratio(a, p), _ratio(b, q)), max(_ratio(c, r), _ratio(d, s))))
        if damping > 0.0:
            a, b = 0.0 if a == 0.0 else damping * p + go * a, 0.0 if b == 0.0 else damping * q + go * b
            c, d = 0.0 if c == 0.0 else damping * r + go * c, 0.0 if d == 0.0 else damping * s + go * d
        to_variable[m], to_variable[m + one], to_variable[m + two], to_variable[m + three] = a, b, c, d
        o += U8(4)
        m += U8(4)
    return largest


@inlined
def _store_once(out, o, to_variable, m, n, k, shift, shifted):  # type: ignore[no-untyped-def]
    """n rows that have no former ones, in one walk over each; where `shifted`, their energies go to `shift`."""
    one = U8(1)
    for f in range(n):
        a, b, c, d = 0.0, 0.0, 0.0, 0.0
        whole = k & ~U8(3)
        for i in range(o, o + whole, U8(4)):
            a += out[i]
            b += out[i + one]
            c += out[i + U8(2)]
            d += out[i + U8(3)]
        for i in range(o + whole, o + k):
            a += out[i]
        total = (a + b) + (c + d)
        scale = 1.0 / total if total != 0.0 else 0.0
        lost = I8_(0)
        for s in range(k):
            x = out[o + s] * scale
            to_variable[m + s] = x
            lost += I8_(0) if is_kept(x) else I8_(1)
        if lost > 0:
            for s in range(k):
                to_variable[m + s] = np.nan
        if shifted:
            shift[f] = total
        o += k
        m += k
    if shifted:
        for f in range(n):
            shift[f] = energy_of(shift[f])


@inlined
def energy_of(weight):  # type: ignore[no-untyped-def]
    """-log, +inf for zero; NaN, which says that digits were lost, stays."""
    found = minus_log(weight if weight > 0.0 else 1.0)
    return found if weight > 0.0 else (np.inf if weight == 0.0 else np.nan)


@inlined
def _within(x, former, bound):  # type: ignore[no-untyped-def]
    return (x <= former * bound) & (former <= x * bound)


@inlined
def _ratio(x, former):  # type: ignore[no-untyped-def]
    return bits(1.0 if x == former else (x / former if x > former else former / x))


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
        if damping < 0.0:
            _store_once(out, o, to_variable, m, n, k, shift, target >= 0)
            o += n * k
            continue
        if k == U8(4):
            largest = _store_fours(out, o, to_variable, m, n, damping, largest)
            o += n * k
            continue
        for _ in range(n):
            total = total_of(out, o, k)
            scale = 1.0 / total if total != 0.0 else 0.0
            lost = I8_(0)
            for s in range(k):
                x = out[o + s] * scale
                out[o + s] = x
                lost += I8_(0) if is_kept(x) else I8_(1)
            if lost > 0:
                for s in range(k):
                    out[o + s] = np.nan
            for s in range(k):
                largest = max(largest, _ratio(out[o + s], to_variable[m + s]))
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


@inlined
def _kept(x, off):  # type: ignore[no-untyped-def]
    """Odds x of something over `off`; NaN beyond SMALLEST, and where numbers so small have lost digits."""
    return x if (x > SMALLEST) & (x < 1.0 / SMALLEST) & (off > FAR) else np.nan


@inlined
def _moved(on, off):  # type: ignore[no-untyped-def]
    """Bits of the larger of two positive numbers over the smaller; of NaN where one of them is NaN."""
    return bits((on if on > off else off) / (off if off < on else on))


@kernel(*STORE)
def store_odds(run, out, to_variable, shift, low, high, target, damping):  # type: ignore[no-untyped-def]
    """One number a message, p(1) / p(0): the kernels give p(1), and behind those of all slots p(0), up to scale.

    With q = p(1) and p = p(0), and odds m before, damped odds are

        (damping m (q + p) + (1 - damping) q (1 + m)) / (damping (q + p) + (1 - damping) p (1 + m)):

    sums of positive terms, as precise as their terms.
    """
    n = high - low
    behind = U8(run[1]) * n
    go = 1.0 - damping
    largest = bits(1.0)
    o = U8(0)
    for slot in range(run[1]):
        if not is_target(slot, target):
            o += n
            continue
        m = U8(run[8 + 4 * slot + 2]) + low
        if damping > 0.0:
            for f in range(n):
                q, p = out[o + f], out[behind + o + f]
                former = to_variable[m + f]
                b = _moved(q, p * former)
                largest = b if b > largest else largest
                stay = damping * (q + p)
                new = go + go * former
                off = stay + p * new
                to_variable[m + f] = _kept((former * stay + q * new) / off, off)
        else:
            for f in range(n):
                q, p = out[o + f], out[behind + o + f]
                b = _moved(q, p * to_variable[m + f])
                largest = b if b > largest else largest
                to_variable[m + f] = _kept(q / p, p)
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
