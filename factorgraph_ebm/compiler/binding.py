"""Numbers of a compiled union: declared values -> `Numbers`, and the transpose, which carries a gradient back.

Binding is linear in the declared numbers once the given states are chosen: copy each declaration's numbers into its
region of the store, then add rows of tables into unary energies, constants and derived tables. Each such addition is a
`Fold`; `pull` runs the same folds backwards, so a gradient needs no second description of the graph. What a structure
makes of given states by a rule of its own (`Remaining.rows`) is a constant there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from factorgraph_ebm._jit import F8, NOTHING, READ_F8, READ_I8, SIZE, kernel
from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.graph.table_map import TableMap


class Fold(NamedTuple):
    """Add entries of n tables to n targets of m elements each. A length of 1 where n are meant: the same for all."""

    to_unary: bool
    "the targets are in `unary`; otherwise in `store`"
    target: I64
    "(n or 1,) first element of each target"
    source: I64
    "(n or 1,) element of the store where the numbers of each factor begin"
    entry: I64
    "(m,) entry of the table that goes into each element, with all given slots in state 0"
    given_cells: I64
    "(g, n) union cells of the given slots"
    given_strides: tuple[int, ...]
    table: TableMap
    rows: Callable[[I64], F64] | None = None
    "in place of the table: states of the given slots (g, n) -> the elements (n, m)"
    picks: Callable[[I64], I64] | None = None
    "in place of the table: the same states -> which number of its factor each element is, (n, m); -1: +inf"
    plain: bool = False
    "each target gets the first m numbers of its factor as they are: there is nothing to look up"

    @property
    def size(self) -> int:
        return max(len(self.target), len(self.source), self.given_cells.shape[1] if len(self.given_cells) else 0)

    def base(self, states: I64) -> I64:
        """Table entry that the given states choose, (n or 1,)."""
        if not len(self.given_cells):
            return np.zeros(1, np.int64)
        base = np.zeros(self.given_cells.shape[1], np.int64)
        for cells, stride in zip(self.given_cells, self.given_strides):
            base += states[cells] * stride
        return base


@kernel(NOTHING, F8, READ_F8, SIZE, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_F8, READ_F8)
def add_tables(out, store, n, target, source, base, entry, index, coefficient, constant):  # type: ignore[no-untyped-def]
    target_step = 0 if len(target) == 1 else 1
    source_step = 0 if len(source) == 1 else 1
    base_step = 0 if len(base) == 1 else 1
    for i in range(n):
        t = target[i * target_step]
        s = source[i * source_step]
        b = base[i * base_step]
        for j in range(len(entry)):
            e = entry[j] + b
            value = constant[e]
            # A coefficient of 0 is a plain 0, whatever the number: 0 * inf would be NaN.
            if coefficient[e] != 0.0 and index[e] >= 0:
                value += coefficient[e] * store[s + index[e]]
            out[t + j] += value


@kernel(NOTHING, READ_F8, F8, SIZE, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_F8)
def add_tables_transposed(gradient, store_gradient, n, target, source, base, entry, index, coefficient):  # type: ignore[no-untyped-def]
    target_step = 0 if len(target) == 1 else 1
    source_step = 0 if len(source) == 1 else 1
    base_step = 0 if len(base) == 1 else 1
    for i in range(n):
        t = target[i * target_step]
        s = source[i * source_step]
        b = base[i * base_step]
        for j in range(len(entry)):
            e = entry[j] + b
            if coefficient[e] != 0.0 and index[e] >= 0:
                store_gradient[s + index[e]] += coefficient[e] * gradient[t + j]


@kernel(NOTHING, F8, READ_F8, SIZE, READ_I8, READ_I8, SIZE)
def add_rows(out, store, n, target, source, m):  # type: ignore[no-untyped-def]
    """`add_tables` where nothing is looked up: out += rows of the store."""
    target_step = 0 if len(target) == 1 else 1
    source_step = 0 if len(source) == 1 else 1
    for i in range(n):
        t = np.uint64(target[i * target_step])
        s = np.uint64(source[i * source_step])
        for j in range(m):
            out[t + j] += store[s + j]


def push(folds: Sequence[Fold], states: I64, unary: F64, store: F64) -> None:
    """Add every fold into `unary` and `store`."""
    for f in folds:
        out = unary if f.to_unary else store
        if f.rows is not None:
            elements = f.rows(states[f.given_cells])
            np.add.at(out, f.target[:, None] + np.arange(elements.shape[1]), elements)
            continue
        if f.picks is not None:
            number = f.picks(states[f.given_cells])
            elements = np.where(number >= 0, store[f.source[:, None] + np.maximum(number, 0)], np.inf)
            np.add.at(out, f.target[:, None] + np.arange(elements.shape[1]), elements)
            continue
        if f.plain:
            add_rows(out, store, f.size, f.target, f.source, len(f.entry))
            continue
        table = f.table
        add_tables(
            out, store, f.size, f.target, f.source, f.base(states), f.entry,
            table.index, table.coefficient, table.constant,
        )  # fmt: skip


def pull(folds: Sequence[Fold], states: I64, unary: F64, store: F64) -> None:
    """Carry the gradients of targets back to the declared numbers, adding into `store`."""
    # Targets may lie in the same array as the sources: read one, write the other.
    derived = store if all(f.to_unary for f in folds) else store.copy()
    for f in folds:
        if f.rows is not None:
            continue
        gradient = unary if f.to_unary else derived
        if f.picks is not None:
            number = f.picks(states[f.given_cells])
            slopes = np.where(number >= 0, gradient[f.target[:, None] + np.arange(number.shape[1])], 0.0)
            np.add.at(store, f.source[:, None] + np.maximum(number, 0), slopes)
            continue
        if f.plain:
            add_rows(store, gradient, f.size, f.source, f.target, len(f.entry))
            continue
        table = f.table
        add_tables_transposed(
            gradient, store, f.size, f.target, f.source, f.base(states), f.entry, table.index, table.coefficient
        )


def entries_of(states: Sequence[int], place: Sequence[int], strides: Sequence[int]) -> I64:
    """Entry of a declared table for each combination of `states` (C order), read along slots `place` with `strides`."""
    entry = np.zeros(tuple(states), np.int64)
    for p, stride in zip(place, strides):
        shape = [1] * len(states)
        shape[p] = states[p]
        entry += (np.arange(states[p]) * stride).reshape(shape)
    return entry.ravel()
