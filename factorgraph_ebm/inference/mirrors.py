"""Tables once more, as kernels like to read them.

*Mirrors*: a kernel adds rows of a table, so it wants them along both of its sides. The store is doubled, and the
transposed copy of a table lies as far behind it as the store is long. Shared tables always have one; where each factor
has its own table it pays when messages are sent many times.

*Columns*: of 2 x 2 tables, one for each factor, entry after entry instead of table after table, so that a loop over
factors reads contiguous numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from factorgraph_ebm import arrays as a
from factorgraph_ebm._jit import F8, NOTHING, READ_F8, READ_U8, SIZE, kernel
from factorgraph_ebm.arrays import F64, I64, U64
from factorgraph_ebm.compiler.layout import Layout
from factorgraph_ebm.factors import STRUCTURES
from factorgraph_ebm.inference.remembering import once_for

LARGEST = 1 << 30
"bytes of mirrors at most"

U8 = np.uint64


class Read(NamedTuple):
    """The part of the store that runs read: declared unary energies, which were folded away, lie outside it."""

    store: F64
    field: I64
    "the fields of the runs, with places in this part"
    number: U64
    "factor_number, with places in this part"


def read_part(store: F64, layout: Layout) -> Read:
    """The part of the store from the first number that a run reads on to the last."""
    low, high, field, number = once_for(layout.compiled, "part", lambda: _find_part(len(store), layout))
    return Read(store[low:high], field.copy(), number)


def _find_part(size: int, layout: Layout) -> tuple[int, int, I64, U64]:
    """Where it begins and ends, and the fields and numbers of `Read`."""
    compiled = layout.compiled
    field, start = compiled.run_field, compiled.run_field_start
    low, high = size, 0
    for r, kind in enumerate(layout.kinds):
        row = field[start[r] : start[r + 1]]
        extent = extent_of(layout, row, kind)
        if row[a.RUN_SHARED] >= 0:
            first = last = int(row[a.RUN_SHARED])
        elif row[a.RUN_SIZE]:
            number = compiled.factor_number[row[a.RUN_FACTOR] : row[a.RUN_FACTOR] + row[a.RUN_SIZE]]
            first, last = int(number.min()), int(number.max())
        else:
            continue
        low, high = min(low, first), max(high, last + extent)
    low = min(low, high)
    field = field.copy()  # what is remembered of a graph must not hold the array by which it is
    if low < size // 8:  # not worth moving
        return 0, high, field, compiled.factor_number
    shared = field[start[:-1] + a.RUN_SHARED]
    field[start[:-1] + a.RUN_SHARED] = np.where(shared >= 0, shared - low, shared)
    number = compiled.factor_number
    return low, high, field, number - np.uint64(low) if len(number) else number


def extent_of(layout: Layout, row: I64, kind: str) -> int:
    """From the first of a factor's numbers in the store to the last, the fields of its run given."""
    slots = row[a.RUN_HEADER :].reshape(-1, a.SLOT_FIELDS)
    if kind == "Table":
        return int(((slots[:, a.SLOT_STATES] - 1) * slots[:, a.SLOT_STRIDE]).sum()) + 1
    states = tuple(slots[:, a.SLOT_STATES].tolist())
    return STRUCTURES[kind].row_size(states, layout.compiled.constants[row[a.RUN_CONSTANT] :])


@kernel(NOTHING, F8, READ_U8, SIZE, SIZE, SIZE)
def mirror_tables(store, number, k0, k1, distance):  # type: ignore[no-untyped-def]
    for f in range(len(number)):
        t = number[f]
        for i in range(k0):
            for j in range(k1):
                store[t + distance + j * k0 + i] = store[t + i * k1 + j]


def add_mirrors(read: Read, layout: Layout, repeated: bool) -> Read:
    """The same with mirrors behind it where they gain something, and the fields of the runs that say so."""
    store, field, numbers = read
    mirrored = mirrored_runs(field, layout, repeated)
    if not mirrored or 8 * len(store) > LARGEST:
        return read
    size = len(store)
    doubled = np.zeros(2 * size)  # what lies between mirrors is read by nobody
    doubled[:size] = store
    found = Read(doubled, field, numbers)
    fill_mirrors(found, layout, mirrored, size)
    return found


def fill_mirrors(read: Read, layout: Layout, mirrored: Sequence[int], distance: int) -> None:
    """Write the mirrors of these runs, so far behind their tables, into the store, which has room for them."""
    store, field, numbers = read
    for r in mirrored:
        row = field[layout.compiled.run_field_start[r] :]
        row[a.RUN_MIRROR] = distance
        if row[a.RUN_SHARED] >= 0:
            number = row[a.RUN_SHARED : a.RUN_SHARED + 1].astype(np.uint64)
        else:
            number = numbers[row[a.RUN_FACTOR] : row[a.RUN_FACTOR] + row[a.RUN_SIZE]]
        k0, k1 = int(row[a.RUN_HEADER]), int(row[a.RUN_HEADER + a.SLOT_FIELDS])
        mirror_tables(store, number, k0, k1, distance)


def mirrored_runs(field: I64, layout: Layout, repeated: bool) -> list[int]:
    """The runs that gain from a mirror."""
    start = layout.compiled.run_field_start
    return once_for(
        layout.compiled, ("mirrored", repeated),
        lambda: [r for r, kind in enumerate(layout.kinds) if _gains(field[start[r] :], kind, repeated)],
    )  # fmt: skip


def _gains(row: I64, kind: str, repeated: bool) -> bool:
    if kind != "Table" or row[a.RUN_ARITY] != 2:
        return False
    k0, stride0 = row[a.RUN_HEADER : a.RUN_HEADER + 2]
    k1, stride1 = row[a.RUN_HEADER + a.SLOT_FIELDS : a.RUN_HEADER + a.SLOT_FIELDS + 2]
    # Other strides read a part of a wider table, and two such parts could claim one place for their mirrors.
    plain = stride0 == k1 and stride1 == 1
    return bool(plain and k0 > 2 and k1 > 2 and (row[a.RUN_SHARED] >= 0 or repeated))


@kernel(NOTHING, READ_F8, READ_U8, SIZE, SIZE, F8, SIZE)
def fill_columns(store, number, stride0, stride1, out, first):  # type: ignore[no-untyped-def]
    n = U8(len(number))
    for f in range(n):
        t = number[f]
        out[first + f] = store[t]
        out[first + n + f] = store[t + stride1]
        out[first + U8(2) * n + f] = store[t + stride0]
        out[first + U8(3) * n + f] = store[t + stride0 + stride1]


def add_columns(read: Read, layout: Layout) -> Read:
    """The same with columns of the own tables over two states behind it; the fields say where (RUN_MIRROR)."""
    store, field, numbers = read
    start = layout.compiled.run_field_start
    wanted = []
    size = len(store)
    for r, kind in enumerate(layout.kinds):
        row = field[start[r] : start[r + 1]]
        states = layout.compiled.run_field[start[r] + a.RUN_HEADER : start[r + 1] : a.SLOT_FIELDS]
        if kind == "Table" and row[a.RUN_SHARED] < 0 and len(states) == 2 and (states == 2).all():
            wanted.append((row, size))
            size += 4 * int(row[a.RUN_SIZE])
    if not wanted:
        return read
    longer = np.empty(size)
    longer[: len(store)] = store
    for row, first in wanted:
        number = numbers[row[a.RUN_FACTOR] : row[a.RUN_FACTOR] + row[a.RUN_SIZE]]
        stride0, stride1 = row[a.RUN_HEADER + a.SLOT_STRIDE], row[a.RUN_HEADER + a.SLOT_FIELDS + a.SLOT_STRIDE]
        fill_columns(store, number, int(stride0), int(stride1), longer, first)
        row[a.RUN_MIRROR] = first
    return Read(longer, field, numbers)
