"""Factor: the base of every structure. A declaration is a scope, its numbers, and a table on demand.

A structure is told by one method, `table_map`: which number, times what, plus what, is the energy of each entry of
its table. That is its oracle in tests, and the fallback of any algorithm that has no kernel for it. A structure over
many variables says `compact` as well: the same in few entries.
"""

import copy
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.errors import FactorError
from factorgraph_ebm.graph.automaton import Automaton
from factorgraph_ebm.graph.checks import count
from factorgraph_ebm.graph.expressions import Constant
from factorgraph_ebm.graph.parameters import Parameter, read_parameters
from factorgraph_ebm.graph.parametrisation import Floats, Values
from factorgraph_ebm.graph.scope import Ints, Scope, cell_counts
from factorgraph_ebm.graph.slots import NumberSlot, bad_number
from factorgraph_ebm.graph.table_map import Compact, Remaining, c_strides, fits_a_table
from factorgraph_ebm.graph.table_map import TableMap as TableMap
from factorgraph_ebm.graph.variables import Variable


class Factor:
    """One declaration: `size` factors of one structure.

    Attributes
    ----------
    kind : name of the structure
    name : str or None, unique in a graph
    scope, members, shape, size, arity : see `Scope`
    slots : tuple of `NumberSlot`
    state_shape : number of states of each slot, or None where ragged
    key : hashable structure, equal for declarations that differ only in numbers
    """

    __slots__ = ("name", "scope", "slots", "state_shape")

    kind: ClassVar[str]
    reads_table: ClassVar[bool] = False
    "whether the numbers of a factor are its table, entry by entry"
    least_number: ClassVar[float] = -math.inf
    "bound numbers below this are refused by `check_numbers`"
    has_numbers: ClassVar[bool] = True
    "whether there is anything to learn; otherwise no statistics are made"

    name: str | None
    scope: Scope
    slots: tuple[NumberSlot, ...]
    state_shape: tuple[int, ...] | None

    @property
    def members(self) -> Any:
        return self.scope.members

    @property
    def shape(self) -> tuple[int, ...]:
        return self.scope.shape

    @property
    def size(self) -> int:
        return self.scope.size

    @property
    def arity(self) -> "int | Ints":
        return self.scope.arity

    @property
    def key(self) -> Hashable:
        slots = tuple(
            (slot.source.key, slot.own, None if slot.start is None else slot.start.tobytes()) for slot in self.slots
        )
        return (self.kind, self.name, self.scope.key, self.state_shape, slots)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(parameter for slot in self.slots for parameter in slot.source.parameters)

    @property
    def reals(self) -> tuple[Variable, ...]:
        return tuple(variable for slot in self.slots for variable in slot.source.reals)

    def table_map(self, state_shape: tuple[int, ...], state_values: Sequence[Floats] | None = None) -> TableMap:
        """Return the table of one factor with `state_shape` states, as a function of its numbers.

        `state_values` are the numeric values of the states, those of this declaration by default.
        """
        raise NotImplementedError

    def compact(self, state_shape: tuple[int, ...]) -> Compact:
        """Return the same with an entry for each energy that differs, where that makes it smaller."""
        return Compact(self.table_map(state_shape, self.state_values(state_shape)), self.compact_strides(state_shape))

    def compact_strides(self, state_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the strides of the compact map alone."""
        return c_strides(state_shape)

    def compact_entries(self, state_shape: tuple[int, ...]) -> int:
        """Return how many entries the compact map has: asked before it is made."""
        return math.prod(state_shape)

    def remaining(
        self, state_shape: tuple[int, ...], free: tuple[int, ...], given: tuple[int, ...]
    ) -> Remaining | None:
        """Return what is left of a factor where the slots `free` are free, all distinct, and `given` are given.

        None: a table with an entry for each combination of free states. It may be asked for no given slot, too.
        """
        return None

    @staticmethod
    def message_kernels(states: tuple[int, ...]) -> Any:
        """Return the `MessageKernels` for slots of so many states; None: by a table made when numbers are bound."""
        return None

    def reads_in_place(self, states: tuple[int, ...]) -> bool:
        """Return whether these kernels answer for this declaration."""
        return self.message_kernels(states) is not None

    @staticmethod
    def row_size(states: tuple[int, ...], constants: Floats) -> int:
        """Return how many numbers the kernels read of each factor."""
        return 1

    @staticmethod
    def scratch_size(states: tuple[int, ...], constants: Floats) -> int:
        """Return how many elements of working space the kernels need for each factor of a block."""
        return sum(states)

    @staticmethod
    def accumulate_kernel(states: tuple[int, ...]) -> Any:
        """Return the `StatisticsKernel` for slots of so many states; None: through the table."""
        return None

    @staticmethod
    def dense_tables(numbers: Floats, states: tuple[int, ...], constants: Floats) -> Floats:
        """Return the tables of factors with kernels of their own, (n, *states).

        `numbers` are (n,) where the row size is 1, else (n, row size); `constants` begin with those of the kernels.
        """
        raise NotImplementedError

    @staticmethod
    def state_energies(
        numbers: Floats, chosen: npt.NDArray[np.integer[Any]], states: tuple[int, ...], constants: Floats
    ) -> Floats:
        """Return the energies of such factors in the `chosen` states (slots, n)."""
        raise NotImplementedError

    @classmethod
    def automaton(cls, states: tuple[int, ...], constants: Floats) -> Automaton | None:
        """Return how such a factor reads its slots one after another; None: no such form, or a large one.

        `states` and `constants` as in `dense_tables`. Its energies read the numbers of any factor of the kind.
        """
        return None

    @property
    def constants(self) -> dict[str, Any]:
        """What the declaration says besides scope and numbers: keyword -> array, or list of rows of labels."""
        return {}

    def variants(self) -> Ints | None:
        """Return which factors have equal constants, (size,), numbered from 0; None: all have."""
        return None

    def variant(self, number: int) -> "Factor":
        """Return the declaration whose constants are those of one variant: it is asked for tables and constants."""
        return self

    def amplification(self, state_shape: tuple[int, ...]) -> float:
        """Return the largest factor, at least 1, by which a number enters an energy."""
        return 1.0

    def kernel_constants(self, state_shape: tuple[int, ...]) -> Floats:
        """Return what the kernels must know besides the numbers, flat."""
        return np.zeros(0)

    def state_values(self, state_shape: tuple[int, ...]) -> tuple[Floats, ...]:
        """Return what `table_map` is told about states: 0 .. n - 1, for structures that read no labels."""
        return tuple(np.arange(n, dtype=np.float64) for n in state_shape)

    def values(self, parameters: Mapping[str, npt.ArrayLike] | None = None) -> dict[str, Floats]:
        """Return the values this declaration reads; observed real variables are passed by name, too."""
        given = dict(parameters or {})
        reals = {variable.name: variable for variable in self.reals}
        values: dict[str, Floats] = {}
        for name, variable in reals.items():
            if name not in given:
                raise FactorError(f'the numbers are the value of variable "{name}". Pass it among the parameters.')
            values[name] = np.asarray(given.pop(name), dtype=np.float64)
            shape = (*variable.shape, *(variable.dim or ()))
            if values[name].shape != shape:
                raise FactorError(f'variable "{name}" has values of shape {shape}, not {values[name].shape}.')
        declared = {parameter.name: parameter for parameter in self.parameters}
        values.update(read_parameters(declared, {n: v for n, v in given.items() if n in declared}))
        return values

    def table(self, parameters: Mapping[str, npt.ArrayLike] | None = None) -> Any:
        """Return the energies of every factor as tables.

        Parameters
        ----------
        parameters : name -> value, for Parameters without `initial` and for observed real variables

        Returns
        -------
        (*shape, *state shape) float64, in nats, read-only where broadcast; a list of arrays where ragged.

        Raises
        ------
        ParameterError : a parameter has no value.
        FactorError : a table would be too large to make.
        """
        return self.bound_table(self.values(parameters))

    def bound_table(self, values: Values) -> Any:
        """As `table`, from values read already."""
        if self.state_shape is None:
            return self._ragged_tables(values)
        self.refuse_table(self.state_shape)
        table_map = self.table_map(self.state_shape, self.state_values(self.state_shape))
        numbers = self.number_rows(values)
        if not self.slots:
            one = table_map.entries(numbers).reshape(self.state_shape)
            return np.broadcast_to(one, (*self.shape, *self.state_shape))
        tables = table_map.entries(numbers).reshape(*self.slots[0].row_shape, *self.state_shape)
        return np.broadcast_to(tables, (*self.shape, *self.state_shape))

    def refuse_table(self, state_shape: tuple[int, ...]) -> None:
        """Raise FactorError before a table that would be too large is made."""
        if not fits_a_table(state_shape):
            raise FactorError(
                f"{self.kind}({self.scope}) is over {count(len(state_shape), 'variable')} at once, too many for a "
                "table of all their states. Read energies of assignments with fg.factor_energies."
            )

    def number_rows(self, values: Values) -> Floats:
        """Return the numbers of the first slot, (rows, row size); one row of none where there is no slot."""
        if not self.slots:
            return np.zeros((1, 0))
        slot = self.slots[0]
        return slot.source.evaluate(values).reshape(slot.n_rows, slot.row_size)

    def row_of(self) -> npt.NDArray[np.int64]:
        """Return which row of numbers each factor reads, (size,)."""
        return self.slots[0].rows(self.shape) if self.slots else np.zeros(self.size, dtype=np.int64)

    def factor_state_shapes(self) -> list[tuple[int, ...]]:
        """Return the state shape of each factor of a ragged declaration."""
        variable = self.scope.given
        assert isinstance(variable, Variable)
        start, cells = self.scope.ragged_cells({variable.name: 0})
        counts = cell_counts(variable.declared)[cells].tolist()
        bounds = start.tolist()
        return [tuple(counts[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)]

    def _ragged_tables(self, values: Values) -> list[Floats]:
        shapes = self.factor_state_shapes()
        rows, row_of = self.number_rows(values), self.row_of()
        maps: dict[tuple[int, ...], TableMap] = {}
        for shape in shapes:
            if shape not in maps:
                self.refuse_table(shape)
                maps[shape] = self.table_map(shape, self.state_values(shape))
        return [maps[s].entries(rows[row]).reshape(s) for s, row in zip(shapes, row_of, strict=True)]

    def energies(self, values: Values, states: npt.NDArray[np.integer[Any]]) -> Floats:
        """Return the energy of each factor under one assignment, (size,), in nats.

        `states` are state indices, (arity, size) as `scope.columns`, or (S,) as `scope.ragged_cells` where ragged.
        """
        numbers, row = self.number_rows(values), self.row_of()
        if self.state_shape is not None:
            return self.energies_at(numbers, row, states, self.state_shape) if self.size else np.zeros(0)
        start, _ = self.scope.ragged_cells({v.name: 0 for v in self.scope.variables})
        groups: dict[tuple[int, ...], list[int]] = {}
        for factor, shape in enumerate(self.factor_state_shapes()):
            groups.setdefault(shape, []).append(factor)
        energies = np.zeros(self.size)
        for shape, listed in groups.items():
            members = np.array(listed)
            columns = states[start[members] + np.arange(len(shape))[:, None]]
            energies[members] = self.energies_at(numbers, row[members], columns, shape)
        return energies

    def energies_at(
        self,
        numbers: Floats,
        row: npt.NDArray[np.int64],
        states: npt.NDArray[np.integer[Any]],
        state_shape: tuple[int, ...],
    ) -> Floats:
        """Return the energies of factors of one shape, in the states (arity, n)."""
        table, strides = self.compact(state_shape)
        entry = np.zeros(len(row), dtype=np.intp)
        for column, stride in zip(states, strides, strict=True):
            entry += column * stride
        return table.pick(numbers, row, entry)

    def check_numbers(self, numbers: Floats) -> None:
        """Raise FactorError where bound numbers are NaN or -inf, with the first index."""
        first = Constant(numbers).first_bad()
        if first is not None:
            what = self.slots[0].name if self.slots else "numbers"
            raise FactorError(bad_number(f"{self.kind}({self.scope})", what, Constant(numbers), first))

    def refuse_magnitude(self, largest: float) -> None:
        """Raise FactorError: numbers so large that their sum could overflow into +inf, which means forbidden."""
        what = self.slots[0].name if self.slots else "numbers"
        raise FactorError(
            f"{what} of {self.kind}({self.scope}): energies up to {largest:.3g} could overflow when added. "
            "Write np.inf for forbidden, or scale them down."
        )

    def renamed(self, rename: Callable[[str], str], name: str | None) -> "Factor":
        """Return the same declaration over variables of other names, called `name`."""
        other = copy.copy(self)
        other.name = name
        other.scope = self.scope.renamed(rename)
        other.slots = tuple(slot._replace(source=slot.source.renamed(rename)) for slot in self.slots)
        return other

    def __repr__(self) -> str:
        name = f' "{self.name}"' if self.name else ""
        return f"<{self.kind}({self.scope}){name}, {count(self.size, 'factor')}>"

    def numbers_text(self) -> str:
        """Say what the numbers are, for `print(graph)`."""
        if not self.slots:
            return ""
        slot = self.slots[0]
        shared = "" if slot.n_rows == 1 or not slot.row_shape else f", {slot.n_rows:,} rows"
        names = f" from {', '.join(slot.source.names)}" if slot.source.names else ""
        return f", {slot.name}{shared}{names}"

    def __str__(self) -> str:
        return f"{self.kind}({self.scope}) {count(self.size, 'factor')}{self.numbers_text()}"
