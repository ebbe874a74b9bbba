"""Implies: if the first variable is on, so is the second.

    E(a, b) = +inf if a is on and b is off, else 0
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from factorgraph_ebm.factors.on_off import OnOff
from factorgraph_ebm.graph.checks import check_arity
from factorgraph_ebm.graph.table_map import Compact, c_strides, constants_map
from factorgraph_ebm.graph.variables import Variable


class Implies(OnOff):
    """The first variable implies the second: E = +inf where it is on and the second is off, else 0.

    Parameters
    ----------
    scope : a list of two variables, an array with `axis` of length two, or an array with `members`;
        both have two states, of which state 1 is on
    axis, members, name : as in `Table`

    Raises
    ------
    ScopeError : not two variables a factor, or another form.
    VariableError : a variable with more or fewer than two states.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> opened = fg.output("opened", shape=10, n_states=2)
    >>> Implies([opened[1:], opened[:-1]]).table()[0].tolist()
    [[0.0, 0.0], [inf, 0.0]]
    """

    __slots__ = ()

    kind = "Implies"
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
        check_arity("Implies", self.scope, 2)

    def compact(self, state_shape: tuple[int, ...]) -> Compact:
        return Compact(constants_map(np.array([0.0, 0.0, np.inf, 0.0])), c_strides(state_shape))
