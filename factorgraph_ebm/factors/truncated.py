"""Declarations of a truncated distance of two states: E = weight * min(distance, limit).

`TruncatedLinear` and `TruncatedQuadratic` differ in the distance and in their kernels. The limit is a constant: it
says how far the kernels look, so factors of one declaration with different limits are compiled apart.
"""

import copy
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.errors import FactorError
from factorgraph_ebm.graph.checks import check_arity, check_equal_domains, check_name
from factorgraph_ebm.graph.declaration import Factor, TableMap
from factorgraph_ebm.graph.expressions import Constant, Numbers
from factorgraph_ebm.graph.indexing import digest
from factorgraph_ebm.graph.parametrisation import Floats, Values
from factorgraph_ebm.graph.scope import Ints, Scope
from factorgraph_ebm.graph.slots import NumberSlot, number_slot
from factorgraph_ebm.graph.variables import Variable


class Truncated(Factor):
    """The common part of structures of a truncated distance; `limit` is their constant, as declared."""

    __slots__ = ("limit", "_limit")

    least_number = 0.0

    limit: Floats
    _limit: NumberSlot

    def __init__(
        self,
        scope: Variable | Sequence[Variable],
        weight: Numbers,
        limit: npt.ArrayLike,
        *,
        axis: int | tuple[int, ...] | None = None,
        members: Any = None,
        name: str | None = None,
    ) -> None:
        self.name = check_name(name)
        self.scope = Scope(scope, axis=axis, members=members)
        check_arity(self.kind, self.scope, 2)
        check_equal_domains(self.kind, self.scope)
        self.state_shape = None if self.scope.ragged else self.scope.state_shape()
        slot = number_slot(self.kind, "weight", weight, (), self.scope, own_is="the own shape")
        self.slots = (slot,)
        if isinstance(slot.source, Constant):
            self.check_numbers(slot.source.array)
        self._limit = number_slot(self.kind, "limit", limit, (), self.scope, own_is="the own shape")
        if not isinstance(self._limit.source, Constant):
            raise FactorError(
                f"limit of {self.kind}({self.scope}) must be an array of constants, not a "
                f"{type(limit).__name__}: it says how far messages look. Let the weight be learned."
            )
        self.limit = self._limit.source.array
        if self.limit.size and self.limit.min() < 0:
            first = tuple(np.argwhere(self.limit < 0)[0].tolist())
            raise FactorError(
                f"limit of {self.kind}({self.scope}) is {self.limit[first]}{f' at {list(first)}' if first else ''}: "
                "a limit is at least 0, and np.inf means not truncated."
            )

    @staticmethod
    def distance(steps: Floats) -> Floats:
        """Return the distance of states that are `steps` apart."""
        raise NotImplementedError

    @property
    def key(self) -> Hashable:
        return (super().key, self.limit.shape, digest(self.limit))

    @property
    def constants(self) -> dict[str, Any]:
        return {"limit": self.limit}

    def variants(self) -> Ints | None:
        """Return which of the distinct limits each factor has."""
        if self.limit.size == 0 or self.limit.min() == self.limit.max():
            return None
        return np.unique(self.limit, return_inverse=True)[1].reshape(-1)[self._limit.rows(self.shape)].astype(np.int64)

    def variant(self, number: int) -> "Truncated":
        if self.limit.size == 0 or not self.limit.ndim:
            return self
        other = copy.copy(self)
        other.limit = np.asarray(np.unique(self.limit)[number])
        return other

    def table_map(self, state_shape: tuple[int, ...], state_values: Sequence[Floats] | None = None) -> TableMap:
        """The one number, times the distance; where factors have different limits, ask a `variant`."""
        reach = _distances(self, state_shape, self.limit.max(initial=0.0)).reshape(-1)
        return TableMap(np.zeros(reach.size, dtype=np.intp), reach, np.zeros(reach.size))

    def amplification(self, state_shape: tuple[int, ...]) -> float:
        farthest = self.distance(np.array([float(max(state_shape, default=1) - 1)]))
        return max(1.0, float(np.minimum(farthest, self.limit.max(initial=0.0)).max()))

    def kernel_constants(self, state_shape: tuple[int, ...]) -> Floats:
        """Return the limit, and how far apart states are that it leaves alone, at most."""
        limit = float(self.limit.max(initial=0.0))
        within = self.distance(np.arange(float(state_shape[0]))) <= limit
        return np.array([limit, float(np.count_nonzero(within) - 1)])

    @classmethod
    def dense_tables(cls, weight: Floats, states: tuple[int, ...], constants: Floats) -> Floats:
        """Return the tables of factors with these weights, (n, *states)."""
        return _times(weight[:, None, None], _distances(cls, states, constants[0]))

    @classmethod
    def state_energies(
        cls, weight: Floats, chosen: npt.NDArray[np.integer[Any]], states: tuple[int, ...], constants: Floats
    ) -> Floats:
        """Return the energies of factors with these weights in the `chosen` states (2, n)."""
        steps = np.abs(chosen[0].astype(np.float64) - chosen[1])
        return _times(weight, np.minimum(cls.distance(steps), constants[0]))

    def bound_table(self, values: Values) -> Any:
        slot = self.slots[0]
        weight = slot.source.evaluate(values)
        self.check_numbers(weight)
        if self.state_shape is not None:
            reach = _distances(self, self.state_shape, self.limit[..., None, None])
            tables = _times(np.asarray(weight)[..., None, None], reach)
            return np.broadcast_to(tables, (*self.shape, *self.state_shape))
        each = weight.reshape(-1)[slot.rows(self.shape)]
        limits = self._limits()
        return [
            _times(w, _distances(self, shape, limits[f]))
            for f, (w, shape) in enumerate(zip(each, self.factor_state_shapes(), strict=True))
        ]

    def energies(self, values: Values, states: npt.NDArray[np.integer[Any]]) -> Floats:
        pairs = states.reshape(-1, 2).T if self.scope.ragged else states
        slot = self.slots[0]
        weight = slot.source.evaluate(values)
        self.check_numbers(weight)
        steps = np.abs(pairs[0].astype(np.float64) - pairs[1])
        reach = np.minimum(self.distance(steps), self._limits())
        return _times(weight.reshape(-1)[slot.rows(self.shape)], reach)

    def _limits(self) -> Floats:
        """Limit of each factor, (size,)."""
        return self.limit.reshape(-1)[self._limit.rows(self.shape)]

    def check_numbers(self, numbers: Floats) -> None:
        super().check_numbers(numbers)
        if numbers.size and numbers.min() < 0:
            first = tuple(np.argwhere(numbers < 0)[0].tolist())
            names = ", ".join(f'"{name}"' for name in self.slots[0].source.names)
            raise FactorError(
                f"weight of {self.kind}({self.scope}) is {numbers[first]:.6g}{f' at {list(first)}' if first else ''}"
                f"{f', from {names}' if names else ''}: a weight is at least 0. "
                + ("Declare the Parameter with bounds=(0, np.inf)." if names else "Write a Table for other signs.")
            )

    def numbers_text(self) -> str:
        limit = f"{self.limit.reshape(-1)[0]:g}" if self.variants() is None and self.limit.size else "of each"
        return f"{super().numbers_text()}, limit {limit}"


def _distances(structure: Any, state_shape: tuple[int, ...], limit: Any) -> Floats:
    """min(distance, limit) of all pairs of states, (..., *state_shape); `limit` broadcasts with these."""
    first, second = np.indices(state_shape, dtype=np.float64)
    reach: Floats = np.minimum(structure.distance(np.abs(first - second)), limit)
    return reach


def _times(weight: Any, reach: Floats) -> Floats:
    """weight * reach, where no distance costs nothing even if the weight is +inf."""
    return np.where(reach == 0.0, 0.0, weight * np.where(reach == 0.0, 1.0, reach))
