"""Product: a weight times the product of the numeric states.

    E(a, b, ...) = weight * a * b * ...

Binary states 0, 1 give the restricted Boltzmann machine and QUBO, states -1, +1 give Ising; one number per factor
whatever the number of states.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FactorError, ScopeError
from ..graph.declaration import Factor, TableMap, check_name, number_slot, said
from ..graph.expressions import Constant, Numbers
from ..graph.parametrisation import Floats, Values
from ..graph.scope import Scope
from ..graph.variables import Variable


class Product(Factor):
    """A weight times the product of the numeric states: E = weight * a * b * ...

    The states are the labels where they are numbers, else 0 .. n - 1.

    Parameters
    ----------
    scope : a list of variables, or an array with `axis` or `members`
    weight : numbers broadcastable to the group shape, in nats
    axis, members, name : as in `Table`

    Raises
    ------
    ScopeError : no variable, or members that do not broadcast.
    VariableError : the states have names that are not numbers.
    FactorError : weight of another shape, NaN, -inf, or +inf where the product may be negative.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> v, h = fg.observed("v", shape=4, n_states=2), fg.latent("h", shape=3, states=[-1, 1])
    >>> Product([v[:, None], h[None, :]], weight=2.0).table()[0, 0].tolist()
    [[0.0, 0.0], [-2.0, 2.0]]
    """

    __slots__ = ()

    kind = "Product"

    def __init__(
        self,
        scope: Variable | Sequence[Variable],
        weight: Numbers,
        *,
        axis: int | tuple[int, ...] | None = None,
        members: Any = None,
        name: str | None = None,
    ) -> None:
        self.name = check_name(name)
        self.scope = Scope(scope, axis=axis, members=members)
        if not self.scope.ragged and self.scope.arity == 0:
            raise ScopeError("Product needs at least one variable.")
        states = [variable.state_values() for variable in self.scope.variables]
        self.state_shape = None if self.scope.ragged else self.scope.state_shape()
        if self.state_shape is not None and isinstance(scope, Variable) and len(self.state_shape) > 32:
            raise ScopeError(said("Product", self.scope))
        slot = number_slot("Product", "weight", weight, (), self.scope, own_is="the own shape")
        self.slots = (slot,)
        source = slot.source
        if (
            isinstance(source, Constant)
            and any(each.size and each.min() < 0 for each in states)
            and source.size
            and source.array.max() == math.inf
        ):
            raise FactorError(
                "weight of Product is +inf where a state is negative, so an energy would be -inf. "
                "Forbid states with a Table."
            )

    def state_values(self, state_shape: tuple[int, ...]) -> tuple[Floats, ...]:
        """Return the numeric value of each state of each slot."""
        if self.scope.ragged:
            values = self.scope.variables[0].state_values()
            return tuple(values[:n] for n in state_shape)
        pairs = zip(self.scope.slot_variables, state_shape, strict=True)
        return tuple(variable.state_values()[:n] for variable, n in pairs)

    def table_map(self, state_shape: tuple[int, ...], state_values: Sequence[Floats]) -> TableMap:
        """The one number, times the product of the values."""
        product = np.ones(())
        for values in state_values:
            product = np.multiply.outer(product, values)
        entries = product.size
        return TableMap(np.zeros(entries, dtype=np.intp), product.reshape(-1), np.zeros(entries))

    def energies(self, values: Values, states: npt.NDArray[np.integer[Any]]) -> Floats:
        slot = self.slots[0]
        weight = slot.source.evaluate(values).reshape(-1)[slot.rows(self.shape)]
        product = np.ones(self.size)
        if self.scope.ragged:
            variable = self.scope.variables[0]
            start, _ = self.scope.ragged_cells({variable.name: 0})
            # One more element, so that a last factor over no variables has a place to begin.
            each = np.append(variable.state_values()[states], 1.0)
            product = (
                np.where(np.diff(start) > 0, np.multiply.reduceat(each, start[:-1]), 1.0) if self.size else product
            )
        else:
            for variable, column in zip(self.scope.slot_variables, states, strict=True):
                product *= variable.state_values()[column]
        return np.where(product != 0, weight * np.where(product != 0, product, 1.0), 0.0)
