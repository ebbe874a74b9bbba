"""Potts: a penalty where two variables differ.

    E(a, b) = penalty * [a != b]

The penalty may have any sign (negative: the two repel agreement less than difference), and +inf means must agree.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph.declaration import Factor, TableMap, check_arity, check_equal_domains, check_name, number_slot
from ..graph.expressions import Numbers
from ..graph.parametrisation import Floats, Values
from ..graph.scope import Scope
from ..graph.variables import Variable


class Potts(Factor):
    """A penalty where two variables of one domain differ: E = penalty * [a != b].

    Parameters
    ----------
    scope : a list of two variables, an array with `axis` of length two, or an array with `members`
    penalty : numbers broadcastable to the group shape, in nats, any sign; +inf means they must agree
    axis, members, name : as in `Table`

    Raises
    ------
    ScopeError : not two variables a factor, or members that do not broadcast.
    VariableError : the two have different states.
    FactorError : penalty of another shape, NaN or -inf.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> y = fg.output("y", shape=(1000, 1000), n_states=2)
    >>> smooth = Potts([y[1:], y[:-1]], penalty=1.0)
    >>> smooth.size, smooth.table()[0, 0].tolist()
    (999000, [[0.0, 1.0], [1.0, 0.0]])
    """

    __slots__ = ()

    kind = "Potts"

    def __init__(
        self,
        scope: Variable | Sequence[Variable],
        penalty: Numbers,
        *,
        axis: int | tuple[int, ...] | None = None,
        members: Any = None,
        name: str | None = None,
    ) -> None:
        self.name = check_name(name)
        self.scope = Scope(scope, axis=axis, members=members)
        check_arity("Potts", self.scope, 2)
        check_equal_domains("Potts", self.scope)
        self.state_shape = None if self.scope.ragged else self.scope.state_shape()
        self.slots = (number_slot("Potts", "penalty", penalty, (), self.scope, own_is="the own shape"),)

    def table_map(self, state_shape: tuple[int, ...], state_values: Sequence[Floats]) -> TableMap:
        """The one number, where the states differ."""
        first, second = np.indices(state_shape).reshape(2, -1)
        differs = (first != second).astype(np.float64)
        return TableMap(np.zeros(differs.size, dtype=np.intp), differs, np.zeros(differs.size))

    def energies(self, values: Values, states: npt.NDArray[np.integer[Any]]) -> Floats:
        pairs = states.reshape(-1, 2).T if self.scope.ragged else states
        slot = self.slots[0]
        penalty = slot.source.evaluate(values).reshape(-1)[slot.rows(self.shape)]
        return np.where(pairs[0] != pairs[1], penalty, 0.0)
