"""LinearConstraint: a weighted sum of states, held against a bound.

    E(x) = 0 if sum over j of weights_j x_j RELATION bound, else +inf        (state indices)

The constraint of integer programmes: knapsacks, budgets, flows. Weights that are whole multiples of a common unit have
few partial sums, and messages are dynamic programming over these; others are a table, where that fits.
"""

from __future__ import annotations

import copy
import hashlib
import math
import sys
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.errors import FactorError
from factorgraph_ebm.factors.automata import partial_sums
from factorgraph_ebm.factors.inequality import RELATIONS, Inequality, in_own_unit
from factorgraph_ebm.factors.linear_constraint_kernels import (
    linear_constraint_min,
    linear_constraint_mixed,
    linear_constraint_sum,
)
from factorgraph_ebm.factors.message_kernels import MessageKernels
from factorgraph_ebm.graph.automaton import Automaton
from factorgraph_ebm.graph.checks import check_many, check_name
from factorgraph_ebm.graph.declaration import Factor
from factorgraph_ebm.graph.expressions import Constant, is_sparse
from factorgraph_ebm.graph.parametrisation import Floats, Values
from factorgraph_ebm.graph.scope import Ints, Scope
from factorgraph_ebm.graph.slots import number_slot
from factorgraph_ebm.graph.table_map import Compact, Remaining, TableMap, c_strides, constants_map, fits_a_table
from factorgraph_ebm.graph.variables import Variable

LARGEST_SPACE = 1 << 24
"numbers of working space of one factor, variables times partial sums, above which it is refused: 128 MiB"
SMALL = 16
"entries up to which a table is faster than sums"
LARGEST_MAP = 1 << 16
"entries up to which a small table is cut out of the map of all sums"


class LinearConstraint(Factor):
    """A weighted sum of state indices held against a bound: 0 where it holds, else +inf.

    Messages take (variables) x (states) x (partial sums that matter) steps, so weights should be whole multiples of a
    common unit, such as 1, 0.25 or 0.01. Other weights make a table, where that is small; its sums are compared to
    1e-9.

    Parameters
    ----------
    scope : a list of variables, or an array with `axis` or `members`
    weights : (*broadcastable to the group shape, variables of one factor), finite. With `members`, one array per
        factor; not to be given where `members` is a scipy.sparse matrix, whose data they are.
    relation : "<=", "==" or ">="
    bound : broadcastable to the group shape; +inf is no bound of "<="
    axis, members, name : as in `Table`

    Raises
    ------
    ScopeError : members that do not broadcast, or a list of one array.
    FactorError : another relation, weights or bounds of another shape or not constant, NaN or -inf.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> take = fg.output("take", shape=4, n_states=2)
    >>> value, weight = np.array([6.0, 5.0, 4.0, 1.0]), [5, 4, 3, 1]
    >>> graph = fg.FactorGraph([
    ...     fg.Product([take], weight=-value),
    ...     LinearConstraint(take, weight, "<=", 8),
    ... ])
    >>> fg.minimize(graph)["take"].tolist()
    [1, 0, 1, 0]
    """

    __slots__ = ("relation", "weights", "bound", "inequalities", "which")

    kind = "LinearConstraint"
    has_numbers = False

    relation: str
    weights: Any
    "as declared: an array; with `members`, a list of one for each factor; None where the matrix holds them"
    bound: Floats
    inequalities: tuple[Inequality, ...]
    "the different constraints among the factors"
    which: Ints
    "(size,) the constraint of each factor"

    def __init__(
        self,
        scope: Variable | Sequence[Variable],
        weights: Any = None,
        relation: str | None = None,
        bound: Any = None,
        *,
        axis: int | tuple[int, ...] | None = None,
        members: Any = None,
        name: str | None = None,
    ) -> None:
        self.name = check_name(name)
        self.scope = Scope(scope, axis=axis, members=members)
        check_many("LinearConstraint", self.scope)
        if relation not in RELATIONS:
            raise FactorError(
                f'relation of LinearConstraint({self.scope}) must be "<=", "==" or ">=", not {relation!r}.'
            )
        if bound is None:
            raise FactorError(f"LinearConstraint({self.scope}) needs a bound: bound=10.")
        self.relation = str(relation)
        self.slots = ()
        self.state_shape = None if self.scope.ragged else self.scope.state_shape()
        bounds = self._constant("bound", bound, ())
        self.bound = bounds.source.evaluate({})
        of_bound = bounds.rows(self.scope.shape)
        if self.scope.ragged:
            rows = self._ragged_weights(weights, members)
            of_row = np.arange(self.scope.size, dtype=np.int64)
        else:
            assert self.state_shape is not None
            if weights is None:
                raise FactorError(f"LinearConstraint({self.scope}) needs weights, one for each variable of a factor.")
            slot = self._constant("weights", weights, (len(self.state_shape),))
            self.weights = slot.source.evaluate({})
            rows = list(self.weights.reshape(slot.n_rows, slot.row_size))
            of_row = slot.rows(self.scope.shape)
        for number, row in enumerate(rows):
            if not np.isfinite(row).all():
                raise FactorError(f"weights[{number}] of LinearConstraint({self.scope}) are not all finite.")
        self._tell_apart(rows, of_row, self.bound.reshape(-1), of_bound)

    def _constant(self, what: str, numbers: Any, own: tuple[int, ...]) -> Any:
        own_is = "one weight for each variable," if own else "the own shape"
        slot = number_slot("LinearConstraint", what, numbers, own, self.scope, own_is=own_is)
        if not isinstance(slot.source, Constant):
            raise FactorError(
                f"{what} of LinearConstraint({self.scope}) must be an array: a constraint is not learned."
            )
        return slot

    def _ragged_weights(self, weights: Any, members: Any) -> list[Floats]:
        lengths = np.asarray(self.scope.arity)
        if is_sparse(members):
            if weights is not None:
                raise FactorError("the weights of a LinearConstraint with a sparse matrix as members are its data.")
            self.weights = None
            matrix = members.tocsr()
            matrix = matrix if matrix.has_sorted_indices else matrix.sorted_indices()
            data = np.asarray(matrix.data, dtype=np.float64)
            start = np.concatenate([[0], np.cumsum(lengths)]).tolist()
            return [data[low:high] for low, high in zip(start, start[1:], strict=False)]
        if weights is None or len(weights) != self.scope.size:
            raise FactorError(
                f"a LinearConstraint with members= takes one array of weights per factor: a list of {self.scope.size}."
            )
        rows: list[Floats] = [np.array(row, dtype=np.float64) for row in weights]
        self.weights = rows
        for factor, (row, length) in enumerate(zip(rows, lengths.tolist(), strict=True)):
            if row.shape != (length,):
                raise FactorError(
                    f"weights[{factor}] of LinearConstraint has shape {row.shape}, and must have ({length},): one for "
                    f"each of {self.scope.describe(factor)}."
                )
        return rows

    def _tell_apart(self, rows: list[Floats], of_row: Ints, bounds: Floats, of_bound: Ints) -> None:
        """Find the different constraints, and which of them each factor is."""
        pairs, pair = np.unique(of_row * max(len(bounds), 1) + of_bound, return_inverse=True)
        known: dict[Inequality, int] = {}
        number = np.zeros(len(pairs), dtype=np.int64)
        for i, code in enumerate(pairs.tolist()):
            row, bound = divmod(code, max(len(bounds), 1))
            found = in_own_unit(rows[row], float(bounds[bound]), self.relation)
            number[i] = known.setdefault(found, len(known))
        if not known:  # a group of no factors has a table all the same
            known[Inequality((0.0,) * len(self.state_shape or ()), 0.0, True)] = 0
        self.inequalities = tuple(known)
        self.which = number[pair.reshape(-1)]

    @property
    def key(self) -> Hashable:
        digest = hashlib.blake2b(repr(self.inequalities).encode() + self.which.tobytes(), digest_size=16).digest()
        return (super().key, self.relation, digest)

    @property
    def constants(self) -> dict[str, Any]:
        weights = [row.tolist() for row in self.weights] if isinstance(self.weights, list) else self.weights
        said = {"relation": self.relation, "bound": self.bound}
        return said if weights is None else {"weights": weights, **said}

    def variants(self) -> Ints | None:
        return None if len(self.inequalities) == 1 else self.which

    def variant(self, number: int) -> LinearConstraint:
        if len(self.inequalities) == 1:
            return self
        one = copy.copy(self)
        one.inequalities = (self.inequalities[number],)
        return one

    @property
    def inequality(self) -> Inequality:
        """The constraint of all factors, where it is one."""
        (one,) = self.inequalities
        return one

    def table_map(self, state_shape: tuple[int, ...], state_values: Sequence[Floats] | None = None) -> TableMap:
        """0 where the constraint holds. All factors must have one constraint: see `variant`."""
        total = np.zeros(math.prod(state_shape))
        for weight, states in zip(self.inequality.weights, np.indices(state_shape), strict=True):
            total += weight * states.reshape(-1)
        return constants_map(np.where(self.inequality.holds(total, self.relation), 0.0, math.inf))

    def compact_strides(self, state_shape: tuple[int, ...]) -> tuple[int, ...]:
        if not self.inequality.whole:
            return c_strides(state_shape)
        return tuple(int(w) for w in self.inequality.weights)

    def compact_entries(self, state_shape: tuple[int, ...]) -> int:
        if len(self.inequalities) > 1:
            return sys.maxsize  # unlike constraints have no map in common
        if not self.inequality.whole:
            return math.prod(state_shape)
        return int(self.inequality.span(state_shape)) + 1

    def compact(self, state_shape: tuple[int, ...]) -> Compact:
        """Of whole weights, an entry for each sum. Negative sums are entries counted from the end, as indices are."""
        if not self.inequality.whole:
            return super().compact(state_shape)
        sums = np.arange(self.compact_entries(state_shape)) + self.inequality.least(state_shape)
        energies = np.where(self.inequality.holds(sums, self.relation), 0.0, math.inf)
        table = constants_map(np.roll(energies, int(self.inequality.least(state_shape))))
        return Compact(table, self.compact_strides(state_shape))

    def remaining(
        self, state_shape: tuple[int, ...], free: tuple[int, ...], given: tuple[int, ...]
    ) -> Remaining | None:
        one, relation = self.inequality, self.relation
        weights = np.array([one.weights[s] for s in free])
        fixed = np.array([one.weights[s] for s in given])
        states = tuple(state_shape[s] for s in free)
        if len(free) < 2:
            own = np.arange(states[0]) * weights[0] if free else np.zeros(1)

            def table(chosen: npt.NDArray[np.int64]) -> Floats:
                return np.where(one.holds((fixed @ chosen)[:, None] + own, relation), 0.0, math.inf)

            return Remaining(self.kind, len(own), rows=table)
        cells = math.prod(states)
        if not one.whole:
            if not fits_a_table(state_shape):
                raise FactorError(
                    f"the weights of LinearConstraint({self.scope}) have no common unit, and it is over "
                    f"{len(state_shape):,} variables, too many for a table. Round the weights to multiples of 1e-6 "
                    "or coarser."
                )
            return None
        rest = Inequality(tuple(weights.tolist()), one.bound, True)
        low, span = rest.least(states), rest.span(states)
        reach = fixed * (np.array([state_shape[s] for s in given]) - 1)
        # Sums of the free variables from the smallest on that can decide, whatever is given; and from the largest on.
        up = min(max(one.bound - low - np.minimum(reach, 0.0).sum(), 0.0), span)
        down = min(max(span + low - one.bound + np.maximum(reach, 0.0).sum(), 0.0), span)
        mirrored = down < up
        width = int(min(up, down)) + 1
        if cells <= max(width, SMALL) and self.compact_entries(state_shape) <= LARGEST_MAP:
            return None
        space = self.scratch_size(states, np.array([width]))
        if space > LARGEST_SPACE:
            raise FactorError(
                f"LinearConstraint({self.scope}): {width:,} sums matter of {len(states):,} free variables, which takes "
                f"{8 * space:,} bytes of working space (at most {8 * LARGEST_SPACE:,}). Round the weights and the "
                "bound to multiples of a coarser unit."
            )
        saturate = relation == ("<=" if mirrored else ">=")
        steps = np.arange(width, dtype=np.float64)
        sums = low + (span - steps if mirrored else steps)

        def row(chosen: npt.NDArray[np.int64]) -> Floats:
            return np.where(one.holds((fixed @ chosen)[:, None] + sums, relation), 0.0, math.inf)

        signed = -weights if mirrored else weights
        return Remaining(self.kind, width, (float(width), float(saturate), *signed.tolist()), rows=row)

    @staticmethod
    def message_kernels(states: tuple[int, ...]) -> MessageKernels:
        return MessageKernels(linear_constraint_min, linear_constraint_sum, linear_constraint_mixed)

    @staticmethod
    def row_size(states: tuple[int, ...], constants: Floats) -> int:
        return int(constants[0])

    @staticmethod
    def scratch_size(states: tuple[int, ...], constants: Floats) -> int:
        return (len(states) + 3) * int(constants[0])

    @staticmethod
    def dense_tables(numbers: Floats, states: tuple[int, ...], constants: Floats) -> Floats:
        """Return the tables of factors with these energies of sums, (n, *states)."""
        every = np.indices(states).reshape(len(states), math.prod(states))
        return _picked(numbers, _end(every, states, constants), constants).reshape(-1, *states)

    @staticmethod
    def state_energies(
        numbers: Floats, chosen: npt.NDArray[np.integer[Any]], states: tuple[int, ...], constants: Floats
    ) -> Floats:
        """Return the energies of factors with these energies of sums in the `chosen` states (slots, n)."""
        return _picked(numbers, _end(chosen, states, constants)[:, None], constants)[:, 0]

    @classmethod
    def automaton(cls, states: tuple[int, ...], constants: Floats) -> Automaton | None:
        return partial_sums(states, int(constants[0]), constants[1] != 0.0, constants[2 : 2 + len(states)])

    def bound_table(self, values: Values) -> Any:
        if self.state_shape is None or self.variants() is None:
            return super().bound_table(values)
        self.refuse_table(self.state_shape)
        tables = [self.variant(i).table_map(self.state_shape).constant for i in range(len(self.inequalities))]
        return np.array(tables)[self.which].reshape(*self.shape, *self.state_shape)

    def _ragged_tables(self, values: Values) -> list[Floats]:
        known: dict[tuple[int, tuple[int, ...]], Floats] = {}
        tables = []
        for number, shape in zip(self.which.tolist(), self.factor_state_shapes(), strict=True):
            if (number, shape) not in known:
                self.refuse_table(shape)
                known[number, shape] = self.variant(number).table_map(shape).constant.reshape(shape)
            tables.append(known[number, shape])
        return tables

    def row_of(self) -> npt.NDArray[np.int64]:
        return self.which

    def number_rows(self, values: Values) -> Floats:
        return np.zeros((len(self.inequalities), 0))

    def energies_at(
        self,
        numbers: Floats,
        row: npt.NDArray[np.int64],
        states: npt.NDArray[np.integer[Any]],
        state_shape: tuple[int, ...],
    ) -> Floats:
        """`row` says which constraint each factor is."""
        holds = np.zeros(len(row), dtype=bool)
        order = np.argsort(row, kind="stable")
        first = np.flatnonzero(np.diff(row[order], prepend=-1))
        for low, high in zip(first, [*first[1:], len(row)], strict=True):
            one, chosen = self.inequalities[row[order[low]]], order[low:high]
            total = np.zeros(len(chosen))
            for weight, column in zip(one.weights, states, strict=True):
                total += weight * column[chosen]
            holds[chosen] = one.holds(total, self.relation)
        return np.where(holds, 0.0, math.inf)

    def numbers_text(self) -> str:
        many = f", {len(self.inequalities):,} of them" if len(self.inequalities) > 1 else ""
        return f", weighted sum {self.relation} bound{many}"


def _end(chosen: npt.NDArray[np.integer[Any]], states: tuple[int, ...], constants: Floats) -> Floats:
    """Sum at which the chosen states (slots, m) end, as the kernels count it."""
    total = np.zeros(chosen.shape[1])
    for weight, k, column in zip(constants[2:], states, chosen, strict=False):
        total += abs(weight) * (k - 1 - column if weight < 0 else column)
    return total


def _picked(numbers: Floats, end: Floats, constants: Floats) -> Floats:
    """Energies of sums: `numbers` (n, width), `end` (m,) for each of them, or (n, 1) one for each."""
    rows = numbers.reshape(len(numbers), int(constants[0]))
    last = rows.shape[1] - 1
    place = np.broadcast_to(np.minimum(end, last).astype(np.intp), (len(rows), end.shape[-1]))
    beyond = (end > last) & (constants[1] == 0.0)
    return np.where(beyond, math.inf, np.take_along_axis(rows, place, axis=1))
