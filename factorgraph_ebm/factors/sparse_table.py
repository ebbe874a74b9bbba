"""SparseTable: energies of listed configurations, one energy for all others.

    E(x) = energies[r] where x is configurations[r], else otherwise

Extensional constraints and potentials over many variables of which few combinations occur: messages take
O(configurations * arity), whatever the number of states.
"""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.errors import FactorError, ScopeError
from factorgraph_ebm.factors.automata import prefixes
from factorgraph_ebm.factors.message_kernels import MessageKernels
from factorgraph_ebm.factors.sparse_given import distinct_rows, states_of_one
from factorgraph_ebm.factors.sparse_kernels import sparse_min, sparse_mixed, sparse_sum
from factorgraph_ebm.factors.sparse_statistics import sparse_statistics
from factorgraph_ebm.factors.sparse_weights import sparse_weights
from factorgraph_ebm.factors.statistics_kernels import StatisticsKernel
from factorgraph_ebm.graph.automaton import Automaton
from factorgraph_ebm.graph.checks import check_name, count, said
from factorgraph_ebm.graph.declaration import Factor
from factorgraph_ebm.graph.expressions import Numbers, is_sparse
from factorgraph_ebm.graph.indexing import digest
from factorgraph_ebm.graph.parametrisation import Floats, Parametrisation
from factorgraph_ebm.graph.scope import Scope
from factorgraph_ebm.graph.slots import number_slot
from factorgraph_ebm.graph.table_map import Remaining, TableMap, c_strides
from factorgraph_ebm.graph.variables import Variable

SMALL = 1 << 10
"entries up to which what is left of a factor in which some variables are given is picked from its table"


class SparseTable(Factor):
    """Energies of listed configurations of the variables of a factor; all others have the energy `otherwise`.

    Parameters
    ----------
    scope : a list of variables, or an array with `axis` or `members`
    configurations : (m, arity) states of the variables of a factor, labels where they are named; the same for all
        factors
    energies : numbers (*broadcastable to the group shape, m), in nats; +inf forbids
    otherwise : energy of every configuration that is not listed. With a finite one, factors are written out as tables
    axis, members, name : as in `Table`

    Attributes
    ----------
    configurations : (m, arity) state indices, read-only

    Raises
    ------
    ScopeError : another number of variables than `configurations` has columns, or members that do not broadcast.
    FactorError : a configuration that stands twice, or names a state that there is not; energies of another shape, NaN
        or -inf; `otherwise` NaN or -inf.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> bits = fg.output("bits", shape=30, n_states=2)
    >>> rows = np.eye(30, dtype=int)[:3]
    >>> words = SparseTable(bits, rows, energies=[0.5, 1.0, 2.0])
    >>> best = fg.minimize(fg.FactorGraph([words]), given={bits[0]: 0})
    >>> best["bits"][:4], best.energy
    (array([0, 1, 0, 0]), 1.0)
    """

    __slots__ = ("configurations", "otherwise")

    kind = "SparseTable"

    configurations: npt.NDArray[np.intp]
    otherwise: float

    def __init__(
        self,
        scope: Variable | Sequence[Variable],
        configurations: Any,
        energies: Numbers,
        otherwise: float = math.inf,
        *,
        axis: int | tuple[int, ...] | None = None,
        members: Any = None,
        name: str | None = None,
    ) -> None:
        self.name = check_name(name)
        self.scope = Scope(scope, axis=axis, members=members)
        self.state_shape = None if self.scope.ragged else self.scope.state_shape()
        rows = _as_rows(configurations, self.scope)
        _check_columns(rows.shape[1], self.scope)
        self.configurations = _state_indices(rows, self.scope)
        self.configurations.flags.writeable = False
        _refuse_repeated(rows, self.configurations, self.scope)
        self.otherwise = _energy_otherwise(otherwise, self.scope)
        own = (len(rows),)
        what = "the number of configurations"
        self.slots = (number_slot("SparseTable", "energies", energies, own, self.scope, own_is=what),)

    @property
    def key(self) -> Hashable:
        return (super().key, self.configurations.shape, digest(self.configurations), self.otherwise)

    @property
    def constants(self) -> dict[str, Any]:
        variables = _columns_of(self.scope, self.configurations.shape[1])
        otherwise = np.asarray(self.otherwise)
        if all(variable.labels is None for variable in variables):
            return {"configurations": self.configurations, "otherwise": otherwise}
        columns = [
            column if variable.states is None else [variable.states[state] for state in column]
            for variable, column in zip(variables, self.configurations.T.tolist(), strict=True)
        ]
        return {"configurations": [list(row) for row in zip(*columns, strict=True)], "otherwise": otherwise}

    def table_map(self, state_shape: tuple[int, ...], state_values: Sequence[Floats] | None = None) -> TableMap:
        """Number r at configuration r, `otherwise` elsewhere."""
        entries = math.prod(state_shape)
        index = np.full(entries, -1, dtype=np.intp)
        constant = np.full(entries, self.otherwise)
        inside = self._inside(state_shape)
        place = np.zeros(len(inside), dtype=np.intp)
        for column, stride in zip(self.configurations[inside].T, c_strides(state_shape), strict=True):
            place += column * stride
        index[place] = inside
        constant[place] = 0.0
        return TableMap(index, (index >= 0).astype(np.float64), constant)

    def _inside(self, state_shape: tuple[int, ...]) -> npt.NDArray[np.intp]:
        """The configurations that variables of so many states can have."""
        return np.flatnonzero((self.configurations < np.array(state_shape, dtype=np.intp)).all(axis=1))

    def remaining(
        self, state_shape: tuple[int, ...], free: tuple[int, ...], given: tuple[int, ...]
    ) -> Remaining | None:
        if self.otherwise < math.inf or not given or math.prod(state_shape) <= SMALL:
            return None
        inside = self._inside(state_shape)
        rows = self.configurations[inside]
        if len(free) >= 2:
            left, picks = distinct_rows(rows, inside, free, given)
            constants = _constants(len(left), np.arange(len(left)), left)
            return Remaining("SparseTable", len(left), tuple(constants.tolist()), picks=picks)
        width = state_shape[free[0]] if free else 1
        return Remaining("Table", width, picks=states_of_one(rows, inside, given, free, width))

    @staticmethod
    def message_kernels(states: tuple[int, ...]) -> MessageKernels:
        return MessageKernels(
            sparse_min, sparse_sum, sparse_mixed, weights=sparse_weights if len(states) == 2 else None
        )

    def reads_in_place(self, states: tuple[int, ...]) -> bool:
        return self.otherwise == math.inf

    def kernel_constants(self, state_shape: tuple[int, ...]) -> Floats:
        inside = self._inside(state_shape)
        return _constants(len(self.configurations), inside, self.configurations[inside])

    @staticmethod
    def accumulate_kernel(states: tuple[int, ...]) -> StatisticsKernel:
        return StatisticsKernel(sparse_statistics, 0)

    @staticmethod
    def row_size(states: tuple[int, ...], constants: Floats) -> int:
        return int(constants[0])

    @staticmethod
    def dense_tables(numbers: Floats, states: tuple[int, ...], constants: Floats) -> Floats:
        """Return the tables of factors with these energies (n, m), (n, *states)."""
        which, rows = _listed(len(states), constants)
        tables = np.full((len(numbers), *states), np.inf)
        # Of a configuration that stands twice, the lesser energy counts.
        for number, row in zip(which.tolist(), rows.tolist(), strict=True):
            at = (slice(None), *row)
            tables[at] = np.minimum(tables[at], _column(numbers, number))
        return tables

    @staticmethod
    def state_energies(
        numbers: Floats, chosen: npt.NDArray[np.integer[Any]], states: tuple[int, ...], constants: Floats
    ) -> Floats:
        """Return the energies of factors with these energies (n, m) in the `chosen` states (slots, n)."""
        which, rows = _listed(len(states), constants)
        found = np.full(chosen.shape[1], np.inf)
        for place in _find_rows(rows, chosen.T):
            hit = np.flatnonzero(place >= 0)
            number = which[place[hit]]
            energy = numbers[hit] if numbers.ndim == 1 else numbers[hit, number]
            found[hit] = np.minimum(found[hit], energy)
        return found

    @classmethod
    def automaton(cls, states: tuple[int, ...], constants: Floats) -> Automaton | None:
        return prefixes(states, *_listed(len(states), constants))

    def energies_at(
        self,
        numbers: Floats,
        row: npt.NDArray[np.int64],
        states: npt.NDArray[np.integer[Any]],
        state_shape: tuple[int, ...],
    ) -> Floats:
        energies = np.full(len(row), self.otherwise)
        for place in _find_rows(self.configurations, states.T):
            hit = place >= 0
            energies[hit] = numbers[row[hit], place[hit]]
        return energies

    def numbers_text(self) -> str:
        otherwise = "" if self.otherwise == math.inf else f", otherwise {self.otherwise:g}"
        return f", {len(self.configurations):,} configurations{super().numbers_text()}{otherwise}"


def _as_rows(configurations: Any, scope: Scope) -> npt.NDArray[Any]:
    """The configurations as a 2-D array, of objects where they hold labels."""
    if isinstance(configurations, (Variable, Parametrisation)) or is_sparse(configurations):
        raise FactorError(
            f"configurations of SparseTable({scope}) must be an array of states, not a {type(configurations).__name__}."
        )
    named = any(variable.labels is not None for variable in scope.variables)
    # object: one array of labels of several kinds would turn them all into strings.
    kind = object if named and not isinstance(configurations, np.ndarray) else None
    try:
        rows = np.asarray(configurations, dtype=kind)
    except ValueError:
        rows = np.empty(0)
    arity = scope.arity
    columns = arity if isinstance(arity, int) else int(arity[0]) if arity.size else 0
    if rows.shape == (0,) and not len(configurations):
        return np.zeros((0, columns), dtype=np.intp)
    if rows.ndim != 2:
        raise FactorError(
            f"configurations of SparseTable({scope}) has shape {rows.shape}, and must be (m, {columns}): "
            "a row for each configuration, a state for each variable."
        )
    return rows


def _check_columns(columns: int, scope: Scope) -> None:
    arity = scope.arity
    if isinstance(arity, np.ndarray):
        if (arity != columns).any():
            factor = int(np.argmax(arity != columns))
            raise ScopeError(
                f"configurations of SparseTable({scope}) are over {count(columns, 'variable')}; "
                f"members[{factor}] has {arity[factor]}."
            )
    elif arity != columns:
        raise ScopeError(
            f"configurations of SparseTable are over {count(columns, 'variable')}. {said('SparseTable', scope)}"
        )


def _columns_of(scope: Scope, arity: int) -> list[Variable]:
    """The declared variable of each column."""
    return [scope.variables[0]] * arity if scope.ragged else list(scope.slot_variables)


def _state_indices(rows: npt.NDArray[Any], scope: Scope) -> npt.NDArray[np.intp]:
    found = np.empty(rows.shape, dtype=np.intp)
    widths = None if scope.ragged else scope.state_shape()
    for s, variable in enumerate(_columns_of(scope, rows.shape[1])):
        column = rows[:, s]
        if variable.labels is not None:
            lookup: dict[Any, int] = variable.labels.lookup
            listed = column.tolist()
            found[:, s] = [lookup.get(label, -1) if isinstance(label, Hashable) else -1 for label in listed]
            wrong, there = found[:, s] < 0, f"states {', '.join(map(repr, variable.states or ()))}"
        else:
            n = variable.max_states if widths is None else widths[s]
            there = f"states 0-{n - 1}"
            if column.dtype == object:
                column = np.array(column.tolist()) if len(column) else np.zeros(0, np.intp)
            if column.dtype.kind not in "iub":
                raise FactorError(
                    f"configurations of SparseTable({scope}): column {s} must hold integer states of "
                    f"{variable.name}, not {column.dtype}."
                )
            wrong = (column < 0) | (column >= n)
            found[:, s] = np.where(wrong, 0, column)
        if wrong.any():
            r = int(np.argmax(wrong))
            label = rows[r, s].item() if isinstance(rows[r, s], np.generic) else rows[r, s]
            raise FactorError(
                f"configurations[{r}] of SparseTable({scope}) gives {variable.name} the state {label!r}, which has "
                f"{there}."
            )
    return found


def _refuse_repeated(rows: npt.NDArray[Any], indices: npt.NDArray[np.intp], scope: Scope) -> None:
    code = _codes(indices)
    first = np.unique(code, return_index=True, return_inverse=True)
    earliest = first[1][first[2].reshape(-1)]
    again = np.flatnonzero(earliest != np.arange(len(code)))
    if len(again):
        r = int(again[0])
        raise FactorError(
            f"configurations[{int(earliest[r])}] and [{r}] of SparseTable({scope}) are the same, {rows[r].tolist()}. "
            "Add their energies into one row, or keep the one that is meant."
        )


def _energy_otherwise(otherwise: Any, scope: Scope) -> float:
    try:
        energy = float(otherwise)
    except (TypeError, ValueError):
        raise FactorError(f"otherwise of SparseTable({scope}) must be one number, not {otherwise!r:.40}.") from None
    if not energy > -math.inf:
        raise FactorError(
            f"otherwise of SparseTable({scope}) is {energy}. Energies are above -inf, and +inf is forbidden."
        )
    return energy


def _codes(rows: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """A number for each row, equal for equal rows."""
    code = np.zeros(len(rows), dtype=np.intp)
    for column in rows.T:
        code = np.unique(code * (int(column.max(initial=0)) + 1) + column, return_inverse=True)[1].reshape(-1)
    return code


def _find_rows(rows: npt.NDArray[np.intp], states: npt.NDArray[Any]) -> Any:
    """Yield which of the rows (m, arity) each of the states (n, arity) is, or -1: again for rows that are repeated."""
    m = len(rows)
    code = _codes(np.concatenate([rows, states.astype(np.intp)]))
    order = np.argsort(code[:m], kind="stable")
    listed = code[:m][order]
    low = np.searchsorted(listed, code[m:], side="left")
    high = np.searchsorted(listed, code[m:], side="right")
    for copy in range(int((high - low).max(initial=0))):
        place = low + copy
        yield np.where(place < high, order[np.minimum(place, m - 1)], -1)


def _constants(total: int, which: npt.NDArray[np.intp], rows: npt.NDArray[np.intp]) -> Floats:
    """What the kernels know: numbers in a row, configurations, the number of each, its states."""
    return np.concatenate([[float(total), float(len(which))], which, rows.reshape(-1)]).astype(np.float64)


def _listed(arity: int, constants: Floats) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    m = int(constants[1])
    which = constants[2 : 2 + m].astype(np.intp)
    return which, constants[2 + m : 2 + m + m * arity].reshape(m, arity).astype(np.intp)


def _column(numbers: Floats, number: int) -> Floats:
    return numbers if numbers.ndim == 1 else numbers[:, number]
