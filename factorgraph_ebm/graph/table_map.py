"""The energies of a factor as a map from its numbers, in as few entries as its structure has.

    energy(states) = constant[e] + coefficient[e] * number[index[e]],    e = sum over slots of stride * state

With the strides of an array in C order, e is the entry of a table, one for each combination of states. A structure in
which many combinations share an energy has smaller strides and few entries: n variables of which only the number that
is on counts have strides 1 and n + 1 entries. Given states then only move e, so what is left of a factor in which some
slots are given is a few entries of the same map.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.graph.parametrisation import Floats

LARGEST_TABLE = 1 << 24
"entries of one factor's table above which none is made: 128 MiB"
MOST_AXES = 32
"axes above which no table is made, however few its entries"


class TableMap(NamedTuple):
    """Entry e is constant[e] + coefficient[e] * number[index[e]].

    A coefficient of 0 counts as 0 even where the number is +inf; index -1 reads no number.
    """

    index: npt.NDArray[np.intp]  # type: ignore[assignment]  # (entries,); the field hides tuple.index
    coefficient: Floats  # (entries,)
    constant: Floats  # (entries,)

    def entries(self, numbers: Floats) -> Floats:
        """Return all entries, (..., entries), of factors with numbers (..., row size)."""
        if numbers.shape[-1] == 0:
            return np.broadcast_to(self.constant, (*numbers.shape[:-1], self.constant.size))
        # 0 * inf is NaN, and a coefficient of 0 says that the number is not read.
        used = (self.index >= 0) & (self.coefficient != 0)
        picked = np.where(used, numbers[..., np.where(used, self.index, 0)], 0.0)
        result: Floats = self.constant + np.where(used, self.coefficient, 0.0) * picked
        return result

    def pick(self, numbers: Floats, row: npt.NDArray[Any], entry: npt.NDArray[Any]) -> Floats:
        """Return chosen entries; `row` says whose numbers (rows, row size), and broadcasts with `entry`."""
        result: Floats = np.broadcast_to(self.constant[entry], np.broadcast_shapes(row.shape, entry.shape))
        if numbers.shape[-1] == 0:
            return result.copy()
        index, coefficient = self.index[entry], self.coefficient[entry]
        used = (index >= 0) & (coefficient != 0)
        picked = numbers[row, np.where(used, index, 0)]
        return result + np.where(used, coefficient * np.where(used, picked, 0.0), 0.0)


def constants_map(constant: Floats) -> TableMap:
    """Return the map of a structure without numbers."""
    return TableMap(np.full(len(constant), -1, np.intp), np.zeros(len(constant)), np.asarray(constant, np.float64))


class Compact(NamedTuple):
    """The energies of a factor: `table` at the sum over slots of strides[s] * state[s]."""

    table: TableMap
    strides: tuple[int, ...]

    def expand(self, state_shape: tuple[int, ...]) -> TableMap:
        """Return the table with an entry for every combination of states, in C order."""
        entry = np.zeros(state_shape, np.intp)
        for s, (k, stride) in enumerate(zip(state_shape, self.strides, strict=True)):
            entry += (np.arange(k) * stride).reshape((k,) + (1,) * (len(state_shape) - s - 1))
        flat = entry.reshape(-1)
        return TableMap(self.table.index[flat], self.table.coefficient[flat], self.table.constant[flat])


class Remaining(NamedTuple):
    """What is left of factors in which some slots are given, for kernels that read a row of numbers of each factor.

    Number j of the row is entry `entry[j]`, moved by the given states, of the compact map. Where what is left is no
    such entry, `rows` makes it from the given states; then numbers play no part in it.
    """

    kind: str
    "the structure whose kernels send the messages; with `rows` and one free slot or none, the row is a table"
    width: int
    "numbers in the row"
    constants: tuple[float, ...] = ()
    "what these kernels must know besides the row"
    entry: tuple[int, ...] = ()
    "(width,) entries of the compact map, with all given slots in state 0"
    rows: Callable[[npt.NDArray[np.int64]], Floats] | None = None
    "states of the given slots (given slots, n) -> rows (n, width)"
    picks: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]] | None = None
    "in place of `entry`: the same states -> which number of its factor each element is, (n, width); -1: +inf"


def c_strides(state_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the distance in a table, in C order, of one state of each slot from the next."""
    steps = [1] * len(state_shape)
    for s in range(len(state_shape) - 2, -1, -1):
        steps[s] = steps[s + 1] * state_shape[s + 1]
    return tuple(steps)


def fits_a_table(state_shape: tuple[int, ...]) -> bool:
    """Return whether one factor with so many states may be written as a table."""
    return len(state_shape) <= MOST_AXES and math.prod(state_shape) <= LARGEST_TABLE
