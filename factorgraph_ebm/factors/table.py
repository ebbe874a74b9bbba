"""Table: an energy for every combination of states.

    E(states) = energies[states]

One declaration holds one shared table, or one per factor; it is stored as given and never expanded.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.errors import FactorError, ScopeError
from factorgraph_ebm.factors.message_kernels import MessageKernels
from factorgraph_ebm.factors.pair_kernels import PAIR
from factorgraph_ebm.factors.statistics_kernels import StatisticsKernel
from factorgraph_ebm.factors.table_kernels import ANY, FOUR
from factorgraph_ebm.factors.table_statistics import table_statistics_kernel
from factorgraph_ebm.factors.ternary_kernels import TERNARY
from factorgraph_ebm.graph.checks import check_name, said
from factorgraph_ebm.graph.declaration import Factor, TableMap
from factorgraph_ebm.graph.expressions import Constant, Numbers
from factorgraph_ebm.graph.parametrisation import Floats, Values
from factorgraph_ebm.graph.scope import Scope, cell_counts
from factorgraph_ebm.graph.slots import NumberSlot, number_slot
from factorgraph_ebm.graph.variables import Variable

_ENTRIES = 1 << 24
"entries of one table above which `from_function` refuses: 128 MiB, and a call of the function for each"

_ROW_SUM = 1e-6


class Table(Factor):
    """One energy per combination of states: E = energies[states].

    Parameters
    ----------
    scope : a list of variables (one factor per element), or an array with `axis` or `members`
    energies : numbers of shape (*broadcastable to the group shape, *state shape), in nats; +inf forbids.
        With `members`, one array per factor.
    axis : with a bare array, the axis (or axes) along which one factor reads its variables; None is all
    members : with a bare 1-D array, a scipy.sparse matrix (row = factor) or a list of index lists
    name : the key of this declaration in results and messages

    Raises
    ------
    ScopeError : the scope has another form, or members that do not broadcast.
    FactorError : energies of another shape, NaN or -inf.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> y = fg.output("y", shape=4, n_states=2)
    >>> table = Table([y[:-1], y[1:]], energies=[[0.0, 1.0], [1.0, 0.0]])
    >>> table.size, table.arity, table.table().shape
    (3, 2, (3, 2, 2))
    """

    __slots__ = ()

    kind = "Table"
    reads_table = True

    def __init__(
        self,
        scope: Variable | Sequence[Variable],
        energies: Numbers,
        *,
        axis: int | tuple[int, ...] | None = None,
        members: Any = None,
        name: str | None = None,
    ) -> None:
        self.name = check_name(name)
        self.scope = Scope(scope, axis=axis, members=members)
        if members is not None:
            self.state_shape = None
            self.slots = (self._ragged_slot(energies),)
            return
        own = self.scope.state_shape()
        self.state_shape = own
        if isinstance(scope, Variable) and len(own) > 32:
            raise ScopeError(said("Table", self.scope))
        try:
            slot = number_slot("Table", "energies", energies, own, self.scope, own_is="the state shape")
        except FactorError as error:
            if isinstance(scope, Variable) and axis is None and len(own) > 1:
                raise ScopeError(f"{said('Table', self.scope)} {error}") from None
            raise
        self.slots = (slot,)

    def _ragged_slot(self, energies: Any) -> NumberSlot:
        shapes = self.factor_state_shapes()
        if isinstance(energies, np.ndarray) or not isinstance(energies, (list, tuple)):
            raise FactorError(
                f"a Table with members= takes one array per factor: energies=[...] of length {self.size}."
            )
        if len(energies) != self.size:
            raise FactorError(f"energies holds {len(energies)} arrays for {self.size} factors.")
        arrays = [np.asarray(each, dtype=np.float64) for each in energies]
        for factor, (array, shape) in enumerate(zip(arrays, shapes, strict=True)):
            if array.shape != shape:
                raise FactorError(
                    f"energies[{factor}] has shape {array.shape}, and must have the state shape {shape} of "
                    f"{self.scope.describe(factor)}."
                )
        start = np.zeros(self.size + 1, dtype=np.int64)
        np.cumsum([array.size for array in arrays], out=start[1:])
        flat = np.concatenate([array.reshape(-1) for array in arrays]) if arrays else np.zeros(0)
        bad = Constant(flat).first_bad()
        if bad is not None:
            factor = int(np.searchsorted(start, bad[0], side="right")) - 1
            place = np.unravel_index(bad[0] - start[factor], shapes[factor])
            raise FactorError(
                f"energies[{factor}] of Table is {flat[bad[0]]} at {[int(i) for i in place]}. Energies are above "
                "-inf, and +inf is forbidden (inf * 0? use np.where)."
            )
        return NumberSlot("energies", Constant(flat), (), start)

    @staticmethod
    def message_kernels(states: tuple[int, ...]) -> MessageKernels:
        return {2: PAIR, 3: TERNARY, 4: FOUR}.get(len(states), ANY)

    @staticmethod
    def accumulate_kernel(states: tuple[int, ...]) -> StatisticsKernel:
        return table_statistics_kernel(states)

    def table_map(self, state_shape: tuple[int, ...], state_values: Sequence[Floats] | None = None) -> TableMap:
        """Entry e is number e itself."""
        entries = math.prod(state_shape)
        return TableMap(np.arange(entries, dtype=np.intp), np.ones(entries), np.zeros(entries))

    def bound_table(self, values: Values) -> Any:
        if self.state_shape is None:
            return self._ragged_tables(values)
        tables = self.slots[0].source.evaluate(values)
        return np.broadcast_to(tables, (*self.shape, *self.state_shape))

    def _ragged_tables(self, values: Values) -> list[Floats]:
        slot = self.slots[0]
        flat = slot.source.evaluate(values)
        assert slot.start is not None
        parts = np.split(flat, slot.start[1:-1]) if self.size else []
        return [part.reshape(shape) for part, shape in zip(parts, self.factor_state_shapes(), strict=True)]

    def energies(self, values: Values, states: npt.NDArray[np.integer[Any]]) -> Floats:
        if self.state_shape is not None:
            return super().energies(values, states)
        slot, variable = self.slots[0], self.scope.variables[0]
        start, cells = self.scope.ragged_cells({variable.name: 0})
        counts = cell_counts(variable)[cells]
        arity = np.diff(start)
        entry = np.zeros(self.size, dtype=np.int64)
        for place in range(int(arity.max(initial=0))):
            longer = np.flatnonzero(arity > place)
            at = start[longer] + place
            entry[longer] = entry[longer] * counts[at] + states[at]
        assert slot.start is not None
        result: Floats = slot.source.evaluate(values)[slot.start[:-1] + entry]
        return result

    def numbers_text(self) -> str:
        if self.state_shape is None:
            return f", {self.slots[0].source.size:,} table entries"
        table = f", table {' x '.join(map(str, self.state_shape))}"
        slot = self.slots[0]
        many = f", {slot.n_rows:,} of them" if slot.row_shape and slot.n_rows != 1 else ""
        names = f" from {', '.join(slot.source.names)}" if slot.source.names else ""
        return table + many + names

    @classmethod
    def from_potentials(
        cls,
        scope: Variable | Sequence[Variable],
        potentials: npt.ArrayLike,
        *,
        axis: int | tuple[int, ...] | None = None,
        members: Any = None,
        name: str | None = None,
    ) -> "Table":
        """Declare a Table from unnormalised non-negative numbers: energies = -log(potentials).

        Zero forbids. Other parameters and errors as in `Table`.

        Raises
        ------
        FactorError : a potential is negative, NaN or infinite.

        Examples
        --------
        >>> import factorgraph_ebm as fg
        >>> y = fg.output("y", n_states=2)
        >>> Table.from_potentials([y], [1.0, 0.0]).table()
        array([ 0., inf])
        """
        if members is not None:
            energies: Any = [_energies(each, f"potentials[{f}]") for f, each in enumerate(potentials)]  # type: ignore[arg-type]
        else:
            energies = _energies(potentials, "potentials")
        return cls(scope, energies, axis=axis, members=members, name=name)

    @classmethod
    def from_probabilities(
        cls,
        scope: Variable | Sequence[Variable],
        p: npt.ArrayLike,
        *,
        axis: int | tuple[int, ...] | None = None,
        members: Any = None,
        name: str | None = None,
    ) -> "Table":
        """Declare P(last variable | the others): every row over the last axis sums to 1.

        Other parameters and errors as in `Table`.

        Raises
        ------
        FactorError : a row does not sum to 1 (to 1e-6), or an entry is negative.

        Examples
        --------
        >>> import factorgraph_ebm as fg
        >>> rain, wet = fg.output("rain", n_states=2), fg.output("wet", n_states=2)
        >>> table = Table.from_probabilities([rain, wet], [[0.9, 0.1], [0.2, 0.8]])
        >>> np.exp(-table.table()).round(3).tolist()
        [[0.9, 0.1], [0.2, 0.8]]
        """
        if members is not None:
            for f, each in enumerate(p):  # type: ignore[arg-type]
                _check_rows(np.asarray(each, dtype=np.float64), f"p[{f}]", None)
        else:
            array = np.asarray(p, dtype=np.float64)
            group_scope = Scope(scope, axis=axis)
            arity = group_scope.arity
            assert isinstance(arity, int)
            _check_rows(array, "p", arity)
        return cls.from_potentials(scope, p, axis=axis, members=members, name=name)

    @classmethod
    def from_function(
        cls,
        scope: Variable | Sequence[Variable],
        f: Callable[..., float],
        *,
        axis: int | tuple[int, ...] | None = None,
        name: str | None = None,
    ) -> "Table":
        """Declare one shared table, filled by calling `f` with state values, one combination at a time.

        Parameters
        ----------
        f : `f(*values) -> energy in nats`; values are labels where the variable names its states, else 0 .. n - 1

        Raises
        ------
        FactorError : the table would have more than 2 ** 24 entries, or `f` returns NaN or -inf.

        Examples
        --------
        >>> import factorgraph_ebm as fg
        >>> y = fg.output("y", shape=50, states=[0.0, 0.5, 2.0])
        >>> Table.from_function([y[:-1], y[1:]], lambda a, b: abs(a - b)).table()[0].tolist()
        [[0.0, 0.5, 2.0], [0.5, 0.0, 1.5], [2.0, 1.5, 0.0]]
        """
        group_scope = Scope(scope, axis=axis)
        own = group_scope.state_shape()
        if math.prod(own) > _ENTRIES:
            if isinstance(scope, Variable) and axis is None:
                raise ScopeError(said("Table", group_scope))
            raise FactorError(
                f"a table of {' x '.join(map(str, own))} states has {math.prod(own):,} entries "
                f"({8 * math.prod(own):,} bytes), more than from_function fills one by one."
            )
        labels = [
            range(n) if variable.states is None else variable.states
            for variable, n in zip(group_scope.slot_variables, own, strict=True)
        ]
        energies = np.array([f(*values) for values in itertools.product(*labels)], dtype=np.float64)
        return cls(scope, energies.reshape(own), axis=axis, name=name)


def _energies(potentials: npt.ArrayLike, what: str) -> Floats:
    array = np.asarray(potentials, dtype=np.float64)
    if array.size and not (array.min() >= 0 and array.max() < math.inf):
        wrong = ~((array >= 0) & (array < math.inf))
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise FactorError(
            f"{what} is {array[first]} at {list(first)}: potentials are finite and not negative. "
            "Write energies= for numbers of any sign."
        )
    with np.errstate(divide="ignore"):
        # + 0.0 turns the -0.0 of log(1) into 0.0, which prints better.
        energies: Floats = -np.log(array) + 0.0
    return energies


def _check_rows(p: Floats, what: str, arity: int | None) -> None:
    if p.ndim == 0:
        raise FactorError(f"{what} must have an axis over the states of the last variable.")
    sums = p.sum(axis=-1)
    wrong = ~(abs(sums - 1) <= _ROW_SUM)
    if not wrong.any():
        return
    row = tuple(int(i) for i in np.argwhere(wrong)[0]) if sums.ndim else ()
    message = (
        f"{what}{list(row) if row else ''} sums to {sums[row]:.6g}, not 1: a row over the last axis is "
        "P(last variable | the others)."
    )
    n_own = p.ndim if arity is None else arity
    first = p.ndim - n_own
    if n_own > 1 and first >= 0 and (abs(p.sum(axis=first) - 1) <= _ROW_SUM).all():
        message += " The first axis sums to 1: transposed? The conditioned variable comes last."
    else:
        message += " Write Table.from_potentials for unnormalised numbers."
    raise FactorError(message)
