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

from factorgraph_ebm._jit import inlined, kernel
from factorgraph_ebm.errors import FactorError, ScopeError
from factorgraph_ebm.factors.automata import partial_products
from factorgraph_ebm.factors.message_kernels import SIGNATURE, MessageKernels, is_target
from factorgraph_ebm.factors.product_statistics import product_statistics
from factorgraph_ebm.factors.statistics_kernels import StatisticsKernel
from factorgraph_ebm.factors.table_kernels import table_mixed
from factorgraph_ebm.graph.automaton import Automaton
from factorgraph_ebm.graph.checks import check_name, said
from factorgraph_ebm.graph.declaration import Factor, TableMap
from factorgraph_ebm.graph.expressions import Constant, Numbers
from factorgraph_ebm.graph.parametrisation import Floats, Values
from factorgraph_ebm.graph.scope import Scope
from factorgraph_ebm.graph.slots import number_slot
from factorgraph_ebm.graph.variables import Variable

SMALL = 16
"entries up to which a pair is made into a table when numbers are bound"


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

    def table_map(self, state_shape: tuple[int, ...], state_values: Sequence[Floats] | None = None) -> TableMap:
        """The one number, times the product of the values."""
        product = np.ones(())
        for values in self.state_values(state_shape) if state_values is None else state_values:
            product = np.multiply.outer(product, values)
        entries = product.size
        return TableMap(np.zeros(entries, dtype=np.intp), product.reshape(-1), np.zeros(entries))

    @staticmethod
    def message_kernels(states: tuple[int, ...]) -> MessageKernels | None:
        # A small table is faster than multiplying in the loop; above two variables it is the only way.
        if len(states) != 2 or states[0] * states[1] <= SMALL:
            return None
        return MessageKernels(product_min, product_sum, table_mixed)

    def amplification(self, state_shape: tuple[int, ...]) -> float:
        values = self.state_values(state_shape)
        with np.errstate(over="ignore"):
            return max(1.0, float(np.prod([np.abs(each).max(initial=0.0) for each in values])))

    def kernel_constants(self, state_shape: tuple[int, ...]) -> Floats:
        return np.concatenate(self.state_values(state_shape))

    @staticmethod
    def accumulate_kernel(states: tuple[int, ...]) -> StatisticsKernel:
        return StatisticsKernel(product_statistics, 0)

    @staticmethod
    def dense_tables(weight: Floats, states: tuple[int, ...], constants: Floats) -> Floats:
        """Return the tables of factors with these weights, (n, *states); `constants` are the values of the states."""
        product = np.multiply.outer(constants[: states[0]], constants[states[0] : sum(states)])
        return np.where(product == 0.0, 0.0, weight[:, None, None] * np.where(product == 0.0, 1.0, product))

    @staticmethod
    def state_energies(
        weight: Floats, chosen: npt.NDArray[np.integer[Any]], states: tuple[int, ...], constants: Floats
    ) -> Floats:
        """Return the energies of factors with these weights in the `chosen` states (2, n)."""
        product = constants[chosen[0]] * constants[states[0] + chosen[1]]
        return np.where(product == 0.0, 0.0, weight * np.where(product == 0.0, 1.0, product))

    @classmethod
    def automaton(cls, states: tuple[int, ...], constants: Floats) -> Automaton | None:
        return partial_products(np.split(constants[: sum(states)], np.cumsum(states[:-1])))

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


U8 = np.uint64


@inlined
def _energy(weight, product):  # type: ignore[no-untyped-def]
    return 0.0 if product == 0.0 else weight * product


@kernel(*SIGNATURE)
def product_min(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    """m(b) = min over a of x(a) + weight a b, without a table."""
    n = high - low
    base = U8(0)
    for slot in range(2):
        k = U8(run[8 + 4 * slot])
        if is_target(slot, target):
            k_from = U8(run[8 + 4 * (1 - slot)])
            mine = U8(run[5]) + (U8(run[8]) if slot == 1 else U8(0))
            theirs = U8(run[5]) + (U8(0) if slot == 1 else U8(run[8]))
            for f in range(low, high):
                w = store[U8(run[4])] if run[4] >= 0 else store[number[f]]
                m = U8(run[8 + 4 * (1 - slot) + 2]) + f * k_from
                for s in range(k):
                    least = np.inf
                    for i in range(k_from):
                        value = to_factor[m + i] + _energy(w, constants[mine + s] * constants[theirs + i])
                        least = value if value < least else least
                    out[base + (f - low) * k + s] = least
        base += n * k


@kernel(*SIGNATURE)
def product_sum(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    """m(b) = -log sum over a of exp(-(x(a) + weight a b)), shifted by its smallest term."""
    n = high - low
    base = U8(0)
    for slot in range(2):
        k = U8(run[8 + 4 * slot])
        if is_target(slot, target):
            k_from = U8(run[8 + 4 * (1 - slot)])
            mine = U8(run[5]) + (U8(run[8]) if slot == 1 else U8(0))
            theirs = U8(run[5]) + (U8(0) if slot == 1 else U8(run[8]))
            for f in range(low, high):
                w = store[U8(run[4])] if run[4] >= 0 else store[number[f]]
                m = U8(run[8 + 4 * (1 - slot) + 2]) + f * k_from
                for s in range(k):
                    least = np.inf
                    for i in range(k_from):
                        value = to_factor[m + i] + _energy(w, constants[mine + s] * constants[theirs + i])
                        scratch[i] = value
                        least = value if value < least else least
                    total = 0.0
                    if least < np.inf:
                        for i in range(k_from):
                            total += np.exp(least - scratch[i])
                    out[base + (f - low) * k + s] = least if least == np.inf else least - np.log(total)
        base += n * k
