"""Number slots: where a declaration keeps its numbers, and the one rule that they follow (N1).

shape = (*broadcastable to the group shape, *own shape)
"""

import math
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.errors import FactorError
from factorgraph_ebm.graph.expressions import Numbers, as_numbers
from factorgraph_ebm.graph.linear import Linear
from factorgraph_ebm.graph.parametrisation import Parametrisation
from factorgraph_ebm.graph.scope import Ints, Scope


class NumberSlot(NamedTuple):
    """One of the arrays of numbers of a declaration.

    `source` has shape (*row_shape, *own), row_shape broadcasting to the group shape. Where `start` is not None
    (ragged tables) the source is 1-D and factor f reads source[start[f]:start[f + 1]].
    """

    name: str
    source: Parametrisation
    own: tuple[int, ...]
    start: Ints | None = None

    @property
    def row_shape(self) -> tuple[int, ...]:
        return self.source.shape[: len(self.source.shape) - len(self.own)]

    @property
    def row_size(self) -> int:
        return math.prod(self.own)

    @property
    def n_rows(self) -> int:
        return math.prod(self.row_shape)

    def rows(self, group_shape: tuple[int, ...]) -> Ints:
        """Return which row each factor reads, (size,), factors in C order of the group."""
        own_rows = np.arange(self.n_rows, dtype=np.int64).reshape(self.row_shape)
        return np.broadcast_to(own_rows, group_shape).reshape(-1)


def number_slot(
    kind: str, what: str, numbers: Numbers, own: tuple[int, ...], scope: Scope, *, own_is: str
) -> NumberSlot:
    """Read the numbers of one slot and check them against rule N1: (*broadcastable to group, *own).

    Raises
    ------
    FactorError : the own shape differs, the group part does not broadcast, or a constant is NaN or -inf.
    """
    source = as_numbers(numbers, what)
    shape = source.shape
    if shape != own:
        lead = len(shape) - len(own)
        if lead < 0 or shape[lead:] != own:
            raise FactorError(_wrong_own(kind, what, shape, own, own_is, scope))
        if not _broadcasts(shape[:lead], scope.shape):
            if isinstance(source, Linear) and source.matrix is not None and shape[:lead] == (scope.size,):
                # The rows of a sparse x are the group, ravelled: N2.
                source = source.with_rows(scope.shape)
            else:
                raise FactorError(
                    f"{what} of {kind}({scope}) has shape {shape}: {shape[:lead]} does not broadcast to the "
                    f"group shape {scope.shape} (one factor each), before the own shape {own}."
                )
    first = source.first_bad()
    if first is not None:
        raise FactorError(bad_number(kind, what, source, first))
    return NumberSlot(what, source, own)


def _wrong_own(kind: str, what: str, shape: tuple[int, ...], own: tuple[int, ...], own_is: str, scope: Scope) -> str:
    message = f"{what} of {kind}({scope}) has shape {shape}, and must end with {own_is} {own}."
    if own and len(shape) >= len(own) and shape[len(shape) - len(own) :] == own[::-1]:
        message += " Is it transposed?"
    return message


def bad_number(kind: str, what: str, source: Parametrisation, first: tuple[int, ...]) -> str:
    """Say that the number of `source` at `first` is NaN or -inf."""
    array = getattr(source, "array", None)
    place = f" at {list(first)}" if first else ""
    if array is None:
        return f"the features of {what} of {kind} are not finite{place} (inf * 0? use np.where)."
    return (
        f"{what} of {kind} is {array[first]}{place}. Energies are above -inf, and +inf is forbidden "
        "(inf * 0? use np.where)."
    )


def _broadcasts(shape: tuple[int, ...], group: tuple[int, ...]) -> bool:
    if len(shape) > len(group):
        return False
    return all(length in (1, full) for length, full in zip(shape[::-1], group[: -len(shape) - 1 : -1], strict=True))
