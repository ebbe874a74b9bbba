"""Maximum: the last variable is the largest of the others.

    E(x_1, ..., x_n, y) = 0 if y = max(x_1, ..., x_n), else +inf        (state indices)

Messages in O(n K), after the cumulative sums of Heckerman and Breese, IEEE Trans. Syst. Man Cybern. 26(6), 1996, for
noisy-max: the state of a running maximum is all that the variables before a slot say to those after it. Products of
cumulative sums would have to be subtracted from each other; here every step joins energies, so no digit is lost:

    F_j(k) = join( F_(j-1)(k) + X_j(k),  F_(j-1)(< k) + x_j(k) ),    X_j(k) = join of x_j(v) over v <= k
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm._jit import inlined, kernel
from factorgraph_ebm.errors import ScopeError
from factorgraph_ebm.factors.message_kernels import SIGNATURE, MessageKernels, is_target
from factorgraph_ebm.factors.semirings import join
from factorgraph_ebm.graph.automaton import LARGEST_AUTOMATON, Automaton, Representatives
from factorgraph_ebm.graph.checks import check_equal_domains, check_many, check_name
from factorgraph_ebm.graph.declaration import Factor
from factorgraph_ebm.graph.parametrisation import Floats
from factorgraph_ebm.graph.scope import Ints, Scope
from factorgraph_ebm.graph.table_map import Remaining, TableMap, constants_map
from factorgraph_ebm.graph.variables import Variable


class Maximum(Factor):
    """The last variable is the maximum of the others, by the order of their states: 0 where it is, else +inf.

    Parameters
    ----------
    scope : a list of variables, the output last, or an array with `axis` or `members`; any number of inputs
    axis, members, name : as in `Table`

    Raises
    ------
    ScopeError : no input, or members that do not broadcast.
    VariableError : the variables have different states.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> part = fg.output("part", shape=3, states=["fine", "worn", "broken"])
    >>> machine = fg.output("machine", states=["fine", "worn", "broken"])
    >>> graph = fg.FactorGraph([
    ...     fg.Table([part], energies=[0.1, 2.0, 3.0]),
    ...     fg.Maximum([*part, machine]),
    ... ])
    >>> fg.minimize(graph, given={"machine": "worn"})["part"].tolist()
    ['worn', 'fine', 'fine']
    """

    __slots__ = ()

    kind = "Maximum"
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
        check_many("Maximum", self.scope)
        least = np.min(self.scope.arity, initial=2)
        if least < 2:
            raise ScopeError(
                f"Maximum needs an input and an output, and a factor of Maximum({self.scope}) has {least} variables."
            )
        check_equal_domains("Maximum", self.scope)
        self.state_shape = None if self.scope.ragged else self.scope.state_shape()
        self.slots = ()

    def table_map(self, state_shape: tuple[int, ...], state_values: Sequence[Floats] | None = None) -> TableMap:
        """0 where the last state is the largest of the others."""
        states = np.indices(state_shape).reshape(len(state_shape), -1)
        return constants_map(np.where(states[:-1].max(axis=0) == states[-1], 0.0, math.inf))

    def remaining(self, state_shape: tuple[int, ...], free: tuple[int, ...], given: tuple[int, ...]) -> Remaining:
        k = max(state_shape)
        output = len(state_shape) - 1
        inputs = [place for place, slot in enumerate(given) if slot != output]
        every = np.arange(k)

        def output_of(states: Ints) -> Floats:
            """The energies that given cells leave to the output."""
            if output not in given:
                return np.zeros((states.shape[1], k))
            return np.where(states[given.index(output)][:, None] == every, 0.0, math.inf)

        def begin(states: Ints) -> Floats:
            largest = states[inputs].max(axis=0, initial=0)
            return np.where(largest[:, None] == every, 0.0, math.inf)

        def row(states: Ints) -> Floats:
            is_slot = np.full((states.shape[1], 1), math.inf if output in given else 0.0)
            return np.concatenate([begin(states), output_of(states), is_slot], axis=1)

        def table(states: Ints) -> Floats:
            if free == (output,):
                return begin(states)
            largest = states[inputs].max(axis=0, initial=0)[:, None]
            if free:
                largest = np.maximum(largest, every)
            return np.take_along_axis(output_of(states), largest, axis=1)

        if len(free) < 2:
            return Remaining(self.kind, k if free else 1, rows=table)
        return Remaining(self.kind, 2 * k + 1, rows=row)

    @staticmethod
    def message_kernels(states: tuple[int, ...]) -> MessageKernels:
        return MessageKernels(maximum_min, maximum_sum, maximum_mixed)

    @staticmethod
    def row_size(states: tuple[int, ...], constants: Floats) -> int:
        return 2 * states[0] + 1

    @staticmethod
    def scratch_size(states: tuple[int, ...], constants: Floats) -> int:
        return (len(states) + 3) * states[0]

    @staticmethod
    def dense_tables(numbers: Floats, states: tuple[int, ...], constants: Floats) -> Floats:
        """Return the tables of factors with these rows, (n, *states)."""
        every = np.indices(states).reshape(len(states), 1, math.prod(states))
        return _row_energies(numbers, every).reshape(-1, *states)

    @staticmethod
    def state_energies(
        numbers: Floats, chosen: npt.NDArray[np.integer[Any]], states: tuple[int, ...], constants: Floats
    ) -> Floats:
        """Return the energies of factors with these rows in the `chosen` states (slots, n)."""
        return _row_energies(numbers, chosen[:, :, None])[:, 0]

    @classmethod
    def automaton(cls, states: tuple[int, ...], constants: Floats) -> Automaton | None:
        """The largest state so far; at the end, that of all but the last slot, and the last."""
        arity, k = len(states), max(states)
        if arity < 2 or k + (arity - 1) * k * k > LARGEST_AUTOMATON:
            return None
        every = np.arange(k)
        larger = np.maximum(every[:, None], every)
        pairs = np.arange(k * k).reshape(k, k)
        steps = (every[None], *[larger] * (arity - 2), pairs)
        ends = np.indices((k, k)).reshape(2, k * k)
        return Automaton(steps, Representatives(cls.state_energies, ends, (k, k), constants))

    def energies_at(
        self,
        numbers: Floats,
        row: npt.NDArray[np.int64],
        states: npt.NDArray[np.integer[Any]],
        state_shape: tuple[int, ...],
    ) -> Floats:
        return np.where(states[:-1].max(axis=0) == states[-1], 0.0, math.inf)


def _row_energies(numbers: Floats, states: npt.NDArray[np.integer[Any]]) -> Floats:
    """Energies (n, m) of factors with rows (n, 2 K + 1) in states (slots, n or 1, m)."""
    k = numbers.shape[1] // 2
    begin = np.argmax(numbers[:, :k] == 0.0, axis=1)[:, None]
    is_slot = numbers[:, 2 * k :] == 0.0
    inputs = states[:-1].max(axis=0, initial=0)
    largest = np.maximum(begin, np.where(is_slot, inputs, np.maximum(inputs, states[-1])))
    energies = np.take_along_axis(numbers[:, k : 2 * k], largest, axis=1)
    return np.where(is_slot & (states[-1] != largest), math.inf, energies)


U8 = np.uint64


@kernel(*SIGNATURE)
def maximum_min(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    for f in range(low, high):
        _send(run, number, store, to_factor, out, scratch, f, f - low, high - low, target, False)


@kernel(*SIGNATURE)
def maximum_sum(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    for f in range(low, high):
        _send(run, number, store, to_factor, out, scratch, f, f - low, high - low, target, True)


@inlined
def _send(run, number, store, to_factor, out, scratch, f, place, n, target, soft):  # type: ignore[no-untyped-def]
    """All messages of one factor: prefixes of the running maximum in scratch, suffixes from the last input back.

    The row of numbers says where the running maximum begins (0 at the largest given input), then the energies that
    given cells leave to the output, then 0 where the last slot is the output, +inf where the output is given.
    """
    arity = run[1]
    k = U8(run[8])
    begin = U8(run[4]) if run[4] >= 0 else number[f]
    given = begin + k
    inputs = arity - 1 if store[given + k] == 0.0 else arity
    # scratch: prefix rows 0 to `inputs`, the suffix, and the energies of the output
    suffix = U8(inputs + 1) * k
    output = suffix + k
    for s in range(k):
        scratch[s] = store[begin + s]
        scratch[suffix + s] = 0.0 if s == U8(0) else np.inf
        scratch[output + s] = store[given + s]
        if inputs < arity:
            scratch[output + s] += to_factor[U8(run[8 + 4 * inputs + 2]) + f * k + s]
    for j in range(inputs):
        m = U8(run[8 + 4 * j + 2]) + f * k
        row = U8(j) * k
        below, all_below = np.inf, np.inf  # joins of the row's states below s, of the message's states up to s
        for s in range(k):
            x = to_factor[m + s]
            all_below = join(all_below, x, soft)
            scratch[row + k + s] = join(scratch[row + s] + all_below, below + x, soft)
            below = join(below, scratch[row + s], soft)
    if inputs < arity and is_target(inputs, target):
        o = U8(inputs) * n * k + place * k
        for s in range(k):
            out[o + s] = scratch[U8(inputs) * k + s]
    for i in range(inputs):
        j = inputs - 1 - i
        row = U8(j) * k
        if is_target(j, target):
            # The largest of all others, in place of the prefix, which is not read again.
            before, after = np.inf, np.inf
            for s in range(k):
                here = scratch[row + s]
                after = join(after, scratch[suffix + s], soft)
                scratch[row + s] = join(here + after, before + scratch[suffix + s], soft)
                before = join(before, here, soft)
            o = U8(j) * n * k + place * k
            up_to = np.inf
            for s in range(k):
                up_to = join(up_to, scratch[row + s], soft)
                out[o + s] = up_to + scratch[output + s]
            above = np.inf
            for back in range(k):
                v = k - U8(1) - back
                out[o + v] = join(out[o + v], above, soft)
                above = join(above, scratch[row + v] + scratch[output + v], soft)
        m = U8(run[8 + 4 * j + 2]) + f * k
        below, all_below = np.inf, np.inf
        for s in range(k):
            x = to_factor[m + s]
            all_below = join(all_below, x, soft)
            here = scratch[suffix + s]
            scratch[suffix + s] = join(here + all_below, below + x, soft)
            below = join(below, here, soft)


@kernel(*SIGNATURE)
def maximum_mixed(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    """Sum over the soft slots first, then minimise: for each state of a hard output, from the last input back."""
    arity = run[1]
    k = U8(run[8])
    n = high - low
    for f in range(low, high):
        begin = U8(run[4]) if run[4] >= 0 else number[f]
        given = begin + k
        inputs = arity - 1 if store[given + k] == 0.0 else arity
        for slot in range(arity):
            if not is_target(slot, target):
                continue
            o = U8(slot) * n * k + (f - low) * k
            for s in range(k):
                out[o + s] = np.inf
            by_state = inputs < arity and (slot == inputs or run[8 + 4 * inputs + 3] == 0)
            for y in range(k if by_state else U8(1)):
                # scratch[s]: best completion where the largest so far is s; nothing is left but the output
                cost = store[given + y]
                if by_state and slot != inputs:
                    cost += to_factor[U8(run[8 + 4 * inputs + 2]) + f * k + y]
                for s in range(k):
                    scratch[s] = np.inf
                    if by_state:
                        scratch[s] = cost if s == U8(y) else np.inf
                    else:
                        scratch[s] = store[given + s]
                        if inputs < arity:
                            scratch[s] += to_factor[U8(run[8 + 4 * inputs + 2]) + f * k + s]
                for hard in range(2):
                    for j in range(inputs):
                        if j == slot or (run[8 + 4 * j + 3] == 0) != (hard == 1):
                            continue
                        _absorb(to_factor, U8(run[8 + 4 * j + 2]) + f * k, scratch, k, hard == 0)
                if slot == inputs:
                    for s in range(k):
                        out[o + U8(y)] = min(out[o + U8(y)], store[begin + s] + scratch[s])
                else:
                    # The largest given input is the first state that `begin` allows.
                    first = k - k
                    while first < k - U8(1) and store[begin + first] > 0.0:
                        first += U8(1)
                    for s in range(k):
                        largest = s if s > first else first
                        out[o + s] = min(out[o + s], store[begin + first] + scratch[largest])


@inlined
def _absorb(to_factor, m, value, k, soft):  # type: ignore[no-untyped-def]
    """value(s) = join over v of x(v) + value(max(s, v)), in place."""
    above = np.inf
    for i in range(k):
        s = k - U8(1) - i
        here = value[s]
        up_to = np.inf
        for v in range(s + U8(1)):
            up_to = join(up_to, to_factor[m + v], soft)
        value[s] = join(here + up_to, above, soft)
        above = join(above, to_factor[m + s] + here, soft)
