"""Cardinality: an energy for the number of variables that are on.

    E = energies[number on]

Min-sum messages by sorting, sum-product messages by counting: see `cardinality_kernels`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.factors.automata import counted
from factorgraph_ebm.factors.cardinality_kernels import CARDINALITY, cardinality_scratch
from factorgraph_ebm.factors.cardinality_statistics import cardinality_statistics
from factorgraph_ebm.factors.message_kernels import MessageKernels
from factorgraph_ebm.factors.on_off import OnOff
from factorgraph_ebm.factors.statistics_kernels import StatisticsKernel
from factorgraph_ebm.graph.automaton import Automaton
from factorgraph_ebm.graph.expressions import Numbers
from factorgraph_ebm.graph.parametrisation import Floats
from factorgraph_ebm.graph.slots import number_slot
from factorgraph_ebm.graph.table_map import Compact, Remaining, TableMap
from factorgraph_ebm.graph.variables import Variable


class Cardinality(OnOff):
    """An energy for how many of the variables are on: E = energies[number on].

    Parameters
    ----------
    scope : a list of n variables, an array with `axis`, or an array with `members`;
        all have two states, of which state 1 is on
    energies : numbers of shape (*broadcastable to the group shape, n + 1), in nats; +inf forbids a number.
        With `members`, n is the largest: smaller factors read their first numbers
    axis, members, name : as in `Table`

    Raises
    ------
    ScopeError : a list of one array, which would be factors over one variable each; or another form.
    VariableError : a variable with more or fewer than two states.
    FactorError : energies of another shape, NaN or -inf.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> x = fg.output("x", shape=1000, n_states=2)
    >>> about_half = Cardinality(x, energies=0.1 * abs(np.arange(1001) - 500))
    >>> about_half.size, Cardinality(x[:2], energies=[0.0, 1.0, np.inf]).table().tolist()
    (1, [[0.0, 1.0], [1.0, inf]])
    """

    __slots__ = ()

    kind = "Cardinality"

    def __init__(
        self,
        scope: Variable | Sequence[Variable],
        energies: Numbers,
        *,
        axis: int | tuple[int, ...] | None = None,
        members: Any = None,
        name: str | None = None,
    ) -> None:
        self.read_scope(scope, axis, members, name)
        n = int(np.max(self.scope.arity, initial=0))
        slot = number_slot("Cardinality", "energies", energies, (n + 1,), self.scope, own_is="one for each number on,")
        self.slots = (slot,)

    def compact_strides(self, state_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (1,) * len(state_shape)

    def compact_entries(self, state_shape: tuple[int, ...]) -> int:
        return len(state_shape) + 1

    def compact(self, state_shape: tuple[int, ...]) -> Compact:
        n = len(state_shape) + 1
        return Compact(TableMap(np.arange(n), np.ones(n), np.zeros(n)), self.compact_strides(state_shape))

    def remaining(self, state_shape: tuple[int, ...], free: tuple[int, ...], given: tuple[int, ...]) -> Remaining:
        return Remaining("Cardinality", len(free) + 1, (), tuple(range(len(free) + 1)))

    @staticmethod
    def message_kernels(states: tuple[int, ...]) -> MessageKernels:
        return CARDINALITY

    @staticmethod
    def accumulate_kernel(states: tuple[int, ...]) -> StatisticsKernel:
        return StatisticsKernel(cardinality_statistics, 2 * len(states) + 2)

    @staticmethod
    def row_size(states: tuple[int, ...], constants: Floats) -> int:
        return len(states) + 1

    @staticmethod
    def scratch_size(states: tuple[int, ...], constants: Floats) -> int:
        return cardinality_scratch(len(states))

    @staticmethod
    def dense_tables(rows: Floats, states: tuple[int, ...], constants: Floats) -> Floats:
        """Return the tables of factors with these energies (n, slots + 1), (n, *states)."""
        number_on = np.indices(states).sum(axis=0)
        return rows[:, number_on]

    @staticmethod
    def state_energies(
        rows: Floats, chosen: npt.NDArray[np.integer[Any]], states: tuple[int, ...], constants: Floats
    ) -> Floats:
        """Return the energies of factors with these rows in the `chosen` states (slots, n)."""
        energies: Floats = rows[np.arange(len(rows)), chosen.sum(axis=0)]
        return energies

    @classmethod
    def automaton(cls, states: tuple[int, ...], constants: Floats) -> Automaton | None:
        return counted(len(states))
