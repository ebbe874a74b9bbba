"""Structures over variables of two states, of which state 1 is "on": what their declarations have in common."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from factorgraph_ebm.errors import ScopeError, VariableError
from factorgraph_ebm.graph.checks import check_many, check_name, count
from factorgraph_ebm.graph.declaration import Factor
from factorgraph_ebm.graph.parametrisation import Floats
from factorgraph_ebm.graph.scope import Scope, cell_counts
from factorgraph_ebm.graph.table_map import Compact, TableMap
from factorgraph_ebm.graph.variables import Variable


class OnOff(Factor):
    """A structure that is told by its compact map: which energy, by a weighted count of what is on."""

    __slots__ = ()

    least_arity: ClassVar[int] = 0
    "variables that a factor must have"

    def read_scope(
        self,
        scope: Variable | Sequence[Variable],
        axis: int | tuple[int, ...] | None,
        members: Any,
        name: str | None,
    ) -> None:
        """Read what every declaration has. Raises ScopeError and VariableError."""
        self.name = check_name(name)
        self.scope = Scope(scope, axis=axis, members=members)
        check_many(self.kind, self.scope)
        check_two_states(self.kind, self.scope)
        arity = self.scope.arity
        fewest = arity if isinstance(arity, int) else int(np.min(arity, initial=self.least_arity))
        if fewest < self.least_arity:
            raise ScopeError(
                f"{self.kind} needs at least {count(self.least_arity, 'variable')} a factor, and has {fewest}."
            )
        self.state_shape = (2,) * arity if isinstance(arity, int) else None
        self.slots = ()

    def compact(self, state_shape: tuple[int, ...]) -> Compact:
        raise NotImplementedError

    def table_map(self, state_shape: tuple[int, ...], state_values: Sequence[Floats] | None = None) -> TableMap:
        """The compact map, written out for every combination."""
        return self.compact(state_shape).expand(state_shape)


def check_two_states(kind: str, scope: Scope) -> None:
    """Raise VariableError unless every variable of the scope has two states."""
    for variable in scope.variables:
        n = variable.n_states
        if isinstance(n, (int, np.integer)) and n != 2:
            raise VariableError(f'{kind} is over variables of two states, state 1 being "on"; {variable} has {n}.')
    if all(isinstance(variable.n_states, (int, np.integer)) for variable in scope.variables):
        return
    if scope.ragged:
        variable = scope.variables[0]
        start, cells = scope.ragged_cells({variable.name: 0})
        wrong = np.flatnonzero(cell_counts(variable)[cells] != 2)
        factors = np.searchsorted(start, wrong, side="right") - 1
    else:
        factors = np.flatnonzero((scope.state_counts() != 2).any(axis=0))
    if len(factors):
        raise VariableError(
            f'{kind} is over variables of two states, state 1 being "on"; not all of '
            f"{scope.describe(int(factors[0]))} have two."
        )
