"""AllDifferent: no two variables are in the same state.

    E(x_1, ..., x_n) = 0 if x_i != x_j for all i < j, else +inf        (state indices)

Its partition sum is a permanent, so no message is cheap. Dynamic programming over sets of states, as Held and Karp,
J. SIAM 10(1), 1962, takes 2^K K steps for all messages of a factor, by minimum or by sum:

    F(S) = join over v in S of F(S - v) + x_|S|(v)      the first |S| variables use exactly the states S
    G(S) = join over v not in S of G(S + v) + x_(|S|+1)(v)      S is used by the first |S|, the others complete it
    m_j(v) = join over S with v in S, |S| = j of F(S - v) + G(S)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm._jit import inlined, kernel
from factorgraph_ebm.errors import FactorError
from factorgraph_ebm.factors.automata import used_sets
from factorgraph_ebm.factors.message_kernels import SIGNATURE, MessageKernels, is_target
from factorgraph_ebm.factors.semirings import join
from factorgraph_ebm.graph.automaton import Automaton, Representatives, forbidden
from factorgraph_ebm.graph.checks import check_equal_domains, check_many, check_name
from factorgraph_ebm.graph.declaration import Factor
from factorgraph_ebm.graph.parametrisation import Floats
from factorgraph_ebm.graph.scope import Ints, Scope
from factorgraph_ebm.graph.table_map import Remaining, TableMap, constants_map, fits_a_table
from factorgraph_ebm.graph.variables import Variable

LARGEST = 20
"states left up to which sets of them are enumerated: 2 ** 20 sets are 8 MiB, twice"


class AllDifferent(Factor):
    """No two variables in the same state: 0 where all differ, else +inf.

    More variables than states cannot differ, and every assignment is forbidden. Messages take 2^K K steps for K
    states, so scopes over more than 20 states are for pairs, and for tables while they fit.

    Parameters
    ----------
    scope : a list of variables, or an array with `axis` or `members`
    axis, members, name : as in `Table`

    Raises
    ------
    ScopeError : members that do not broadcast, or a list of one array.
    VariableError : the variables have different states.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> seat = fg.output("seat", shape=3, states=["left", "middle", "right"])
    >>> graph = fg.FactorGraph([fg.AllDifferent(seat), fg.Table([seat[0]], energies=[0.0, 1.0, 2.0])])
    >>> fg.minimize(graph, given={seat[1]: "left"})["seat"].tolist()
    ['middle', 'left', 'right']
    """

    __slots__ = ()

    kind = "AllDifferent"
    has_numbers = False

    def __init__(
        self,
        scope: Variable | Sequence[Variable],
        *,
        axis: int | tuple[int, ...] | None = None,
        members: Any = None,
        name: str | None = None,
    ) -> None:
        self.name = check_name(name)
        self.scope = Scope(scope, axis=axis, members=members)
        check_many("AllDifferent", self.scope)
        if self.scope.variables:
            check_equal_domains("AllDifferent", self.scope)
        self.state_shape = None if self.scope.ragged else self.scope.state_shape()
        self.slots = ()

    def table_map(self, state_shape: tuple[int, ...], state_values: Sequence[Floats] | None = None) -> TableMap:
        """0 where no two states are equal."""
        states = np.indices(state_shape).reshape(len(state_shape), math.prod(state_shape))
        return constants_map(np.where(_all_differ(states), 0.0, math.inf))

    def remaining(
        self, state_shape: tuple[int, ...], free: tuple[int, ...], given: tuple[int, ...]
    ) -> Remaining | None:
        k = max(state_shape, default=0)

        def taken(states: Ints) -> Floats:
            row = np.zeros((states.shape[1], k if free else 1))
            if free:
                np.put_along_axis(row, states.T, math.inf, axis=1)
            row[~_all_differ(states)] = math.inf
            return row

        left = k - len(given) if len(free) <= k - len(given) else 0
        if len(free) < 2:
            return Remaining(self.kind, k if free else 1, rows=taken)
        if len(free) > 2 and left > LARGEST:
            if not fits_a_table(state_shape):
                raise FactorError(
                    f"AllDifferent({self.scope}): messages take every set of states, and {left} states are left to "
                    f"{len(free)} free variables (at most {LARGEST}). Write one AllDifferent for each two variables: "
                    "the same assignments are allowed, though messages know less of each other."
                )
            return None
        return Remaining(self.kind, k, (float(left),), rows=taken)

    @staticmethod
    def message_kernels(states: tuple[int, ...]) -> MessageKernels:
        return MessageKernels(all_different_min, all_different_sum, all_different_mixed)

    @staticmethod
    def row_size(states: tuple[int, ...], constants: Floats) -> int:
        return states[0]

    @staticmethod
    def scratch_size(states: tuple[int, ...], constants: Floats) -> int:
        if len(states) <= 2:
            return states[0]
        return (len(states) + 1) * states[0] + len(states) + (2 << int(constants[0]))

    @staticmethod
    def dense_tables(numbers: Floats, states: tuple[int, ...], constants: Floats) -> Floats:
        """Return the tables of factors that have +inf for a state that is taken, (n, *states)."""
        every = np.indices(states).reshape(len(states), 1, math.prod(states))
        return _row_energies(numbers, every, states[0]).reshape(-1, *states)

    @staticmethod
    def state_energies(
        numbers: Floats, chosen: npt.NDArray[np.integer[Any]], states: tuple[int, ...], constants: Floats
    ) -> Floats:
        """Return the energies of such factors in the `chosen` states (slots, n)."""
        return _row_energies(numbers, chosen[:, :, None], states[0])[:, 0]

    @classmethod
    def automaton(cls, states: tuple[int, ...], constants: Floats) -> Automaton | None:
        """The set of states that are used; which ones given cells have taken is known at the end."""
        k, left = states[0], int(constants[0])
        if left < len(states):
            return forbidden(states)
        found = used_sets(len(states), k)
        if found is None:
            return None
        steps, chosen = found
        if left == k:
            return Automaton((*steps[:-1], np.minimum(steps[-1], 0)), constants_map(np.zeros(1)))
        return Automaton(steps, Representatives(cls.state_energies, chosen, states, constants))

    def energies_at(
        self,
        numbers: Floats,
        row: npt.NDArray[np.int64],
        states: npt.NDArray[np.integer[Any]],
        state_shape: tuple[int, ...],
    ) -> Floats:
        return np.where(_all_differ(states), 0.0, math.inf)


def _all_differ(states: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.bool_]:
    """Which columns of states (arity, n) have no state twice."""
    ordered = np.sort(states, axis=0)
    found: npt.NDArray[np.bool_] = (ordered[1:] != ordered[:-1]).all(axis=0)
    return found


def _row_energies(numbers: Floats, states: npt.NDArray[np.integer[Any]], k: int) -> Floats:
    """Energies (n, m) of factors with rows (n, K) in states (slots, n or 1, m)."""
    rows = numbers.reshape(len(numbers), k)
    energies = np.where(_all_differ(states), 0.0, math.inf)
    for column in states:
        place = np.broadcast_to(column, (len(rows), column.shape[-1])).astype(np.intp)
        energies = energies + np.take_along_axis(rows, place, axis=1)
    return energies


U8 = np.uint64
ONE = np.uint64(1)


@kernel(*SIGNATURE)
def all_different_min(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    for f in range(low, high):
        _send(run, number, store, to_factor, out, scratch, f, f - low, high - low, target, False)


@kernel(*SIGNATURE)
def all_different_sum(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    for f in range(low, high):
        _send(run, number, store, to_factor, out, scratch, f, f - low, high - low, target, True)


@inlined
def _send(run, number, store, to_factor, out, scratch, f, place, n, target, soft):  # type: ignore[no-untyped-def]
    """All messages of one factor. Its row of numbers is 0 for a state that is left, +inf for one that is taken."""
    arity = run[1]
    k = U8(run[8])
    taken = U8(run[4]) if run[4] >= 0 else number[f]
    first, last = arity, -1
    for slot in range(arity):
        if is_target(slot, target):
            first = min(first, slot)
            last = slot
            o = U8(slot) * n * k + place * k
            for s in range(k):
                out[o + s] = np.inf
    if arity <= 2:
        for slot in range(first, last + 1):
            if is_target(slot, target):
                o = U8(slot) * n * k + place * k
                m = U8(run[8 + 4 * (1 - slot) + 2]) + f * k if arity == 2 else U8(0)
                _to_other(store, taken, to_factor, m, out, o, k, arity == 2, soft)
        return
    # States that are left, then F and G over the sets of them.
    left = _left(store, taken, scratch, k)
    sets = ONE << left
    forward = k
    backward = k + sets
    totals = backward + sets
    for chosen in range(sets):
        size = _size(chosen)
        scratch[forward + chosen] = np.inf
        if size == 0:
            scratch[forward] = 0.0
        elif size <= last:
            m = U8(run[8 + 4 * (size - 1) + 2]) + f * k
            scratch[forward + chosen] = _join_without(to_factor, m, scratch, left, forward, chosen, soft)
    for i in range(sets):
        chosen = sets - ONE - i
        size = _size(chosen)
        scratch[backward + chosen] = np.inf
        if size == arity:
            scratch[backward + chosen] = 0.0
        elif first < size < arity:
            m = U8(run[8 + 4 * size + 2]) + f * k
            scratch[backward + chosen] = _join_with(to_factor, m, scratch, left, backward, chosen, soft)
    # Minima first, then sums around them.
    for chosen in range(ONE, sets):
        slot = _size(chosen) - 1
        whole = scratch[backward + chosen]
        if slot < arity and whole < np.inf and is_target(slot, target):
            o = U8(slot) * n * k + place * k
            for i in range(left):
                if chosen >> i & ONE:
                    value = scratch[forward + (chosen ^ (ONE << i))] + whole
                    v = U8(scratch[i])
                    out[o + v] = value if value < out[o + v] else out[o + v]
    if not soft:
        return
    for slot in range(first, last + 1):
        for s in range(k):
            scratch[totals + U8(slot) * k + s] = 0.0
    for chosen in range(ONE, sets):
        slot = _size(chosen) - 1
        whole = scratch[backward + chosen]
        if slot < arity and whole < np.inf and is_target(slot, target):
            o = U8(slot) * n * k + place * k
            for i in range(left):
                v = U8(scratch[i])
                if chosen >> i & ONE and out[o + v] < np.inf:
                    value = scratch[forward + (chosen ^ (ONE << i))] + whole
                    scratch[totals + U8(slot) * k + v] += np.exp(out[o + v] - value)
    for slot in range(first, last + 1):
        if is_target(slot, target):
            o = U8(slot) * n * k + place * k
            for s in range(k):
                if out[o + s] < np.inf:
                    out[o + s] -= np.log(scratch[totals + U8(slot) * k + s])


@inlined
def _to_other(store, taken, to_factor, m, out, o, k, paired, soft):  # type: ignore[no-untyped-def]
    """Of one or two variables: the join of the other's states but this one, from both ends, so nothing cancels."""
    before = np.inf if paired else 0.0
    for s in range(k):
        out[o + s] = before
        if paired:
            before = join(before, to_factor[m + s] + store[taken + s], soft)
    after = np.inf
    for i in range(k):
        v = k - ONE - i
        out[o + v] = join(out[o + v], after, soft) + store[taken + v]
        if paired:
            after = join(after, to_factor[m + v] + store[taken + v], soft)


@inlined
def _left(store, taken, scratch, k):  # type: ignore[no-untyped-def]
    """Write the states that are left, in order, to scratch; how many."""
    left = U8(0)
    for s in range(k):
        if store[taken + s] == 0.0:
            scratch[left] = s
            left += ONE
    return left


@inlined
def _size(chosen):  # type: ignore[no-untyped-def]
    """Number of bits set, for fewer than 32 of them."""
    x = chosen - ((chosen >> U8(1)) & U8(0x55555555))
    x = (x & U8(0x33333333)) + ((x >> U8(2)) & U8(0x33333333))
    x = (x + (x >> U8(4))) & U8(0x0F0F0F0F)
    return np.int64(((x * U8(0x01010101)) >> U8(24)) & U8(0xFF))


@inlined
def _join_without(to_factor, m, scratch, left, table, chosen, soft):  # type: ignore[no-untyped-def]
    """Join over v in the set of table(set - v) + x(v)."""
    least = np.inf
    for i in range(left):
        if chosen >> i & ONE:
            value = scratch[table + (chosen ^ (ONE << i))] + to_factor[m + U8(scratch[i])]
            least = value if value < least else least
    if not soft or least == np.inf:
        return least
    total = 0.0
    for i in range(left):
        if chosen >> i & ONE:
            total += np.exp(least - (scratch[table + (chosen ^ (ONE << i))] + to_factor[m + U8(scratch[i])]))
    return least - np.log(total)


@inlined
def _join_with(to_factor, m, scratch, left, table, chosen, soft):  # type: ignore[no-untyped-def]
    """Join over v not in the set of table(set + v) + x(v)."""
    least = np.inf
    for i in range(left):
        if not chosen >> i & ONE:
            value = scratch[table + (chosen | (ONE << i))] + to_factor[m + U8(scratch[i])]
            least = value if value < least else least
    if not soft or least == np.inf:
        return least
    total = 0.0
    for i in range(left):
        if not chosen >> i & ONE:
            total += np.exp(least - (scratch[table + (chosen | (ONE << i))] + to_factor[m + U8(scratch[i])]))
    return least - np.log(total)


@kernel(*SIGNATURE)
def all_different_mixed(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    """Sum over the soft slots, then minimise: G with the target first, hard slots next and soft ones last."""
    arity = run[1]
    k = U8(run[8])
    n = high - low
    for f in range(low, high):
        taken = U8(run[4]) if run[4] >= 0 else number[f]
        left = _left(store, taken, scratch, k)
        sets = ONE << left
        order = k
        table = order + U8(arity)
        for slot in range(arity):
            if not is_target(slot, target):
                continue
            o = U8(slot) * n * k + (f - low) * k
            for s in range(k):
                out[o + s] = np.inf
            at = order + ONE
            for soft in range(2):
                for other in range(arity):
                    if other != slot and run[8 + 4 * other + 3] == soft:
                        scratch[at] = other
                        at += ONE
            for i in range(sets):
                chosen = sets - ONE - i
                size = _size(chosen)
                scratch[table + chosen] = np.inf
                if size == arity:
                    scratch[table + chosen] = 0.0
                elif 0 < size < arity:
                    other = int(scratch[order + U8(size)])
                    m = U8(run[8 + 4 * other + 2]) + f * k
                    scratch[table + chosen] = _join_with(
                        to_factor, m, scratch, left, table, chosen, run[8 + 4 * other + 3] == 1
                    )
            for i in range(left):
                out[o + U8(scratch[i])] = scratch[table + (ONE << i)]
