"""Logic over variables of two states: what is allowed costs nothing, all else is forbidden.

The base of the structures that an automaton decides: each names the automaton of what is left of it when some
variables are given, and which entries of its compact map the row of numbers of that automaton is.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.factors.automata import numbers_map
from factorgraph_ebm.factors.automaton_kernels import (
    AUTOMATON,
    automaton,
    automaton_energies,
    automaton_scratch,
    automaton_tables,
    rows_of,
)
from factorgraph_ebm.factors.message_kernels import MessageKernels
from factorgraph_ebm.factors.on_off import OnOff
from factorgraph_ebm.graph.automaton import Automaton, minimised
from factorgraph_ebm.graph.parametrisation import Floats
from factorgraph_ebm.graph.table_map import Compact, Remaining, TableMap, constants_map
from factorgraph_ebm.graph.variables import Variable


class Logic(OnOff):
    """A structure without numbers, decided by an automaton."""

    __slots__ = ()

    has_numbers = False

    def __init__(
        self,
        scope: Variable | Sequence[Variable],
        *,
        axis: int | tuple[int, ...] | None = None,
        members: Any = None,
        name: str | None = None,
    ) -> None:
        self.read_scope(scope, axis, members, name)

    def compact_energies(self, arity: int) -> Floats:
        """Return the energies of the compact map."""
        raise NotImplementedError

    def compact(self, state_shape: tuple[int, ...]) -> Compact:
        energies = self.compact_energies(len(state_shape))
        return Compact(constants_map(energies), self.compact_strides(state_shape))

    @staticmethod
    def message_kernels(states: tuple[int, ...]) -> MessageKernels:
        return AUTOMATON

    @staticmethod
    def row_size(states: tuple[int, ...], constants: Floats) -> int:
        return int(constants[0])

    @staticmethod
    def scratch_size(states: tuple[int, ...], constants: Floats) -> int:
        return automaton_scratch(states, constants)

    @staticmethod
    def dense_tables(rows: Floats, states: tuple[int, ...], constants: Floats) -> Floats:
        """Return the tables of factors with these rows, (n, *states)."""
        return automaton_tables(rows, states, constants)

    @staticmethod
    def state_energies(
        rows: Floats, chosen: npt.NDArray[np.integer[Any]], states: tuple[int, ...], constants: Floats
    ) -> Floats:
        """Return the energies of factors with these rows in the `chosen` states (slots, n)."""
        return automaton_energies(rows, chosen, constants)

    @classmethod
    def automaton(cls, states: tuple[int, ...], constants: Floats) -> Automaton:
        inner, last = (np.ascontiguousarray(each.T) for each in rows_of(constants))
        arity = len(states)
        steps = [last if s == arity - 1 else inner for s in range(arity)]
        if steps:
            steps[0] = steps[0][:1]
        return minimised(Automaton(tuple(steps), cls.end_energies(len(inner))))

    @classmethod
    def end_energies(cls, width: int) -> TableMap:
        """Return the energies of the states in which the automaton may end: numbers, or what they always are."""
        return numbers_map(np.arange(width))


class Count(Logic):
    """What depends on the number that is on, up to two."""

    __slots__ = ()

    allowed: ClassVar[tuple[bool, bool, bool]]
    "whether none, one, and more may be on"

    def compact_strides(self, state_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (1,) * len(state_shape)

    def compact_entries(self, state_shape: tuple[int, ...]) -> int:
        return len(state_shape) + 1

    def compact_energies(self, arity: int) -> Floats:
        number_on = np.minimum(np.arange(arity + 1), 2)
        return np.where(np.array(self.allowed)[number_on], 0.0, np.inf)

    def remaining(self, state_shape: tuple[int, ...], free: tuple[int, ...], given: tuple[int, ...]) -> Remaining:
        return Remaining(self.kind, 3, automaton((0, 1, 2), (1, 2, 2)), (0, 1, 2))

    @classmethod
    def end_energies(cls, width: int) -> TableMap:
        """Given variables that are on move the count on: a number is known where all from there on are alike."""
        alike = [len(set(cls.allowed[count:])) == 1 for count in range(width)]
        return _known(alike, np.where(cls.allowed, 0.0, np.inf))


class Gate(Logic):
    """A gate: the last variable of the scope is its output, the others are its inputs.

    Entry 2 * (number of inputs on) + output of the compact map.
    """

    __slots__ = ()

    least_arity = 1
    watched: ClassVar[int]
    "the state of an input that decides: 1 for or, 0 for and"

    def compact_strides(self, state_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (2,) * (len(state_shape) - 1) + (1,)

    def compact_entries(self, state_shape: tuple[int, ...]) -> int:
        return 2 * len(state_shape)

    def compact_energies(self, arity: int) -> Floats:
        inputs = arity - 1
        number_on = np.arange(inputs + 1)
        output = (number_on > 0) if self.watched else (number_on == inputs)
        return np.where(output[:, None] == np.array([False, True]), 0.0, np.inf).reshape(-1)

    def remaining(self, state_shape: tuple[int, ...], free: tuple[int, ...], given: tuple[int, ...]) -> Remaining:
        has_output = len(state_shape) - 1 in free
        inputs = len(free) - has_output
        # Entries with no free input in the watched state, and with one: of these each number counts alike.
        none, some = (0, 2) if self.watched else (2 * inputs, 2 * (inputs - 1))
        if not has_output:
            after = ((0, 1), (1, 1)) if self.watched else ((1, 1), (0, 1))
            return Remaining(self.kind, 2, automaton(*after), (none, some))
        # State 2 * some + output; the output is read last, and moves from even states.
        stay, see = (0, 1, 2, 3), (2, 3, 2, 3)
        after_0, after_1 = (stay, see) if self.watched else (see, stay)
        machine = automaton(after_0, after_1, stay, (1, 1, 3, 3))
        return Remaining(self.kind, 4, machine, (none, none + 1, some, some + 1))

    @classmethod
    def end_energies(cls, width: int) -> TableMap:
        """With a free input in the watched state, the output is decided, whatever the given ones are."""
        if width == 2:  # the output is given, too
            return numbers_map(np.arange(width))
        of_output = [np.inf, 0.0] if cls.watched else [0.0, np.inf]
        return _known([False, False, True, True], np.array([0.0, 0.0, *of_output]))


def _known(known: Sequence[bool], energies: Floats) -> TableMap:
    """Energies of end states: those that are known, and the numbers of the row elsewhere."""
    every = numbers_map(np.arange(len(known)))
    read = ~np.array(known)
    return TableMap(np.where(read, every.index, -1), np.where(read, 1.0, 0.0), np.where(read, 0.0, energies))
