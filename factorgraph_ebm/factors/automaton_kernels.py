"""Messages of structures that a small automaton decides, over any number of variables of two states.

The automaton reads the states of the slots in order, and the energy of a factor is the number of its row at the state
that it ends in. With forward[s](k) over what was read before slot s, and backward[s](k) over what is read from slot s,

    m_s(j) = sum over k of forward[s](k) backward[s + 1](next_j(k))

in probabilities, or min of sums in energies: O(slots) for all messages of a factor, without a subtraction, so no digit
is lost where one piece of evidence is far stronger than the rest. The forward-backward sums of hidden Markov models on
the automata of Pesant, "A regular language membership constraint for finite sequences of variables", CP 2004.

What leaves the range of the probability domain is summed again in energies. The order of reading does not matter here
(the automata count, up to a limit), so where some slots are summed and others minimised, those are taken out first.

The constants of a run: number of automaton states W, then four rows of W: the next state after reading 0 and after
reading 1, and the same two for the last slot (the output of a gate).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm._jit import inlined, kernel
from factorgraph_ebm.factors.elementary import exp_minus, minus_log
from factorgraph_ebm.factors.message_kernels import LARGEST, SIGNATURE, SMALLEST, MessageKernels, is_target
from factorgraph_ebm.graph.parametrisation import Floats

U8 = np.uint64


def automaton(
    next_0: Sequence[int],
    next_1: Sequence[int],
    last_0: Sequence[int] | None = None,
    last_1: Sequence[int] | None = None,
) -> tuple[float, ...]:
    """Return the constants of an automaton that begins in state 0."""
    rows = [*next_0, *next_1, *(next_0 if last_0 is None else last_0), *(next_1 if last_1 is None else last_1)]
    return (float(len(next_0)), *map(float, rows))


def rows_of(constants: Floats) -> npt.NDArray[np.int64]:
    """Return the next states, (inner slots or the last one, read state, automaton state)."""
    width = int(constants[0])
    return constants[1 : 1 + 4 * width].astype(np.int64).reshape(2, 2, width)


def end_states(constants: Floats, chosen: Sequence[npt.NDArray[np.integer[Any]]]) -> npt.NDArray[np.intp]:
    """Return the state in which the automaton ends, for arrays of states of each slot."""
    rows = rows_of(constants)
    state = np.zeros(np.shape(chosen[0]) if len(chosen) else (), np.intp)
    for s, each in enumerate(chosen):
        after = rows[int(s == len(chosen) - 1)]
        state = np.where(np.asarray(each) == 1, after[1][state], after[0][state])
    return state


def automaton_tables(rows: Floats, states: tuple[int, ...], constants: Floats) -> Floats:
    """Return the tables of factors with these rows (n, W), (n, *states)."""
    return rows[:, end_states(constants, list(np.indices(states)))]


def automaton_energies(rows: Floats, chosen: npt.NDArray[np.integer[Any]], constants: Floats) -> Floats:
    """Return the energies of factors with these rows in the `chosen` states (slots, n)."""
    energies: Floats = rows[np.arange(len(rows)), end_states(constants, list(chosen))]
    return energies


def automaton_scratch(states: tuple[int, ...], constants: Floats) -> int:
    """Return the working space of one factor: forward, two steps of backward, three numbers of each slot, and two."""
    width = int(constants[0])
    return len(states) * (width + 3) + 2 * width + 2


@inlined
def first_target(arity, target):  # type: ignore[no-untyped-def]
    """The lowest slot that `target` names, or the arity where it names none."""
    for s in range(arity):
        if is_target(s, target):
            return U8(s)
    return U8(arity)


@inlined
def last_target(arity, target):  # type: ignore[no-untyped-def]
    """The slot above the highest that `target` names."""
    for i in range(arity):
        if is_target(arity - 1 - i, target):
            return U8(arity - i)
    return U8(0)


@inlined
def _add(u, v, soft):  # type: ignore[no-untyped-def]
    """The lower of two energies, or -log of the sum of exp of minus both."""
    least = u if u < v else v
    return least + minus_log(1.0 + exp_minus(abs(u - v))) if soft else least


@inlined
def in_energies(run, number, store, constants, to_factor, out, scratch, low, n, target, soft):  # type: ignore[no-untyped-def]
    """The recursions in energies: all messages, or with `soft` those sums that are marked NaN."""
    one, two = U8(1), U8(2)
    arity = U8(run[1])
    at = U8(run[5]) + one
    width = U8(constants[U8(run[5])])
    first, stop = first_target(run[1], target), last_target(run[1], target)
    for i in range(width * n):
        scratch[i] = 0.0 if i < n else np.inf
    for j in range(stop - one if stop > U8(0) else U8(0)):
        s = U8(j)
        m = U8(run[U8(10) + U8(4) * s]) + two * low
        source, aim = s * width * n, (s + one) * width * n
        for i in range(width * n):
            scratch[aim + i] = np.inf
        for k in range(width):
            from_k = source + k * n
            for x in range(two):
                to = aim + U8(constants[at + x * width + k]) * n
                for f in range(n):
                    scratch[to + f] = _add(scratch[from_k + f] + to_factor[m + two * f + x], scratch[to + f], soft)
    here = arity * width * n
    other = here + width * n
    found = other + width * n
    for k in range(width):
        for f in range(n):
            scratch[here + k * n + f] = store[(U8(run[4]) if run[4] >= 0 else number[low + f]) + k]
    for j in range(arity - first):
        s = arity - one - j
        m = U8(run[U8(10) + U8(4) * s]) + two * low
        a = at + two * width if s == arity - one else at
        if is_target(np.int64(s), target):
            for x in range(two):
                for f in range(n):
                    scratch[found + f] = np.inf
                for k in range(width):
                    from_k = (s * width + k) * n
                    to = here + U8(constants[a + x * width + k]) * n
                    for f in range(n):
                        scratch[found + f] = _add(scratch[from_k + f] + scratch[to + f], scratch[found + f], soft)
                o = two * n * s + x
                for f in range(n):
                    if not soft or out[o + two * f] != out[o + two * f]:
                        out[o + two * f] = scratch[found + f]
        for k in range(width):
            p = here + U8(constants[a + k]) * n
            q = here + U8(constants[a + width + k]) * n
            for f in range(n):
                off, on = to_factor[m + two * f], to_factor[m + two * f + one]
                scratch[other + k * n + f] = _add(scratch[p + f] + off, scratch[q + f] + on, soft)
        here, other = other, here


@kernel(*SIGNATURE)
def automaton_min(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    in_energies(run, number, store, constants, to_factor, out, scratch, low, high - low, target, False)


@kernel(*SIGNATURE)
def automaton_sum(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    one, two = U8(1), U8(2)
    n = high - low
    arity = U8(run[1])
    at = U8(run[5]) + one
    width = U8(constants[U8(run[5])])
    first, stop = first_target(run[1], target), last_target(run[1], target)
    shares = (arity + two) * width * n
    to_shares(run, to_factor, scratch, shares, low, n)
    masses = shares + two * arity * n
    logs = masses + arity * n
    for i in range(width * n):
        scratch[i] = 1.0 if i < n else 0.0
    for j in range(stop - one if stop > U8(0) else U8(0)):
        s = U8(j)
        m = shares + two * s * n
        source, aim = s * width * n, (s + one) * width * n
        for i in range(width * n):
            scratch[aim + i] = 0.0
        for k in range(width):
            from_k = source + k * n
            for x in range(two):
                to = aim + U8(constants[at + x * width + k]) * n
                for f in range(n):
                    scratch[to + f] += scratch[from_k + f] * scratch[m + x * n + f]
    here = arity * width * n
    other = here + width * n
    for k in range(width):
        for f in range(n):
            scratch[here + k * n + f] = weight[(U8(run[4]) if run[4] >= 0 else number[low + f]) + k]
    doubtful = False
    for j in range(arity - first):
        s = arity - one - j
        m = shares + two * s * n
        a = at + two * width if s == arity - one else at
        if is_target(np.int64(s), target):
            o = two * n * s
            for i in range(two * n):
                out[o + i] = 0.0
            for k in range(width):
                from_k = (s * width + k) * n
                for x in range(two):
                    to = here + U8(constants[a + x * width + k]) * n
                    for f in range(n):
                        out[o + two * f + x] += scratch[from_k + f] * scratch[to + f]
            doubtful |= to_messages(out, o, scratch, masses + s * n, logs, n)
        for k in range(width):
            p = here + U8(constants[a + k]) * n
            q = here + U8(constants[a + width + k]) * n
            for f in range(n):
                scratch[other + k * n + f] = scratch[p + f] * scratch[m + f] + scratch[q + f] * scratch[m + n + f]
        here, other = other, here
    if doubtful:
        in_energies(run, number, store, constants, to_factor, out, scratch, low, n, target, True)


@kernel(*SIGNATURE)
def automaton_mixed(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    """Sum over the soft slots first, then minimise over the others: O(slots) for each message."""
    n = high - low
    for s in range(run[1]):
        if is_target(s, target):
            for f in range(n):
                o = U8(2) * (n * U8(s) + f)
                t = U8(run[4]) if run[4] >= 0 else number[low + f]
                out[o], out[o + U8(1)] = _eliminate(run, store, constants, to_factor, scratch, low + f, s, t)


@inlined
def to_shares(run, to_factor, scratch, shares, low, n):  # type: ignore[no-untyped-def]
    """Write probabilities of off and on of each slot, the masses that they were divided by, and log of all masses."""
    one, two = U8(1), U8(2)
    arity = U8(run[1])
    masses = shares + two * arity * n
    logs = masses + arity * n
    product = logs + n
    for f in range(n):
        scratch[logs + f] = 0.0
        scratch[product + f] = 1.0
    for j in range(arity):
        s = U8(j)
        m = U8(run[U8(10) + U8(4) * s]) + two * low
        to = shares + two * s * n
        # exp runs over whole rows, as they lie; the shares of off and of on are kept apart.
        for i in range(two * n):
            scratch[i] = exp_minus(to_factor[m + i])
        for f in range(n):
            off, on = scratch[two * f], scratch[two * f + one]
            mass = off + on
            inverse = 1.0 / mass if mass > 0.0 else 0.0
            scratch[to + f] = off * inverse
            scratch[to + n + f] = on * inverse
            scratch[masses + s * n + f] = inverse
            scratch[product + f] *= mass
        # Each mass is within [1, 2]: one log serves many.
        if s % U8(512) == U8(511) or s == arity - one:
            for f in range(n):
                scratch[logs + f] -= np.log(scratch[product + f])
                scratch[product + f] = 1.0


@inlined
def to_messages(out, o, scratch, inverse, logs, n):  # type: ignore[no-untyped-def]
    """Turn sums into energies; NaN marks those that must be computed again, and True says that there are some."""
    two = U8(2)
    doubtful = 0
    for f in range(n):
        out[o + two * f] *= scratch[inverse + f]
        out[o + two * f + U8(1)] *= scratch[inverse + f]
    for i in range(two * n):
        total = out[o + i]
        good = SMALLEST < total < LARGEST
        out[o + i] = minus_log(total if good else 1.0) if good else np.nan
        doubtful += 0 if good else 1
    for f in range(n):
        out[o + two * f] += scratch[logs + f]
        out[o + two * f + U8(1)] += scratch[logs + f]
    return doubtful > 0


@inlined
def _eliminate(run, store, constants, to_factor, scratch, f, slot, t):  # type: ignore[no-untyped-def]
    """Message of one factor to one slot: the row with slot after slot taken out, soft ones first."""
    one, two = U8(1), U8(2)
    at = U8(run[5]) + one
    width = U8(constants[U8(run[5])])
    for k in range(width):
        scratch[k] = store[t + k]
    for hard in range(2):
        for s in range(run[1]):
            is_hard = 1 - run[8 + 4 * s + 3]
            if s == slot or is_hard != hard:
                continue
            m = U8(run[8 + 4 * s + 2]) + two * f
            a = at + two * width if s == run[1] - 1 else at
            for k in range(width):
                u = to_factor[m] + scratch[U8(constants[a + k])]
                v = to_factor[m + one] + scratch[U8(constants[a + width + k])]
                scratch[width + k] = _add(u, v, hard == 0)
            for k in range(width):
                scratch[k] = scratch[width + k]
    a = at + two * width if slot == run[1] - 1 else at
    return scratch[U8(constants[a])], scratch[U8(constants[a + width])]


AUTOMATON = MessageKernels(automaton_min, automaton_sum, automaton_mixed)
