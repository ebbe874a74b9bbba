"""Tables once more, as kernels like to read them.

*Mirrors*: a kernel adds rows of a table, so it wants them along both of its sides. The store is doubled, and the
transposed copy of a table lies as far behind it as the store is long. Shared tables always have one; where each factor
has its own table it pays when messages are sent many times.

*Columns*: of 2 x 2 tables, one for each factor, entry after entry instead of table after table, so that a loop over
factors reads contiguous numbers.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm import arrays as a
from factorgraph_ebm._jit import F8, NOTHING, READ_F8, READ_U8, SIZE, kernel
from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.compiler.layout import Layout

LARGEST = 1 << 30
"bytes of mirrors at most"

U8 = np.uint64


@kernel(NOTHING, F8, READ_U8, SIZE, SIZE, SIZE)
def mirror_tables(store, number, k0, k1, distance):  # type: ignore[no-untyped-def]
    for f in range(len(number)):
        t = number[f]
        for i in range(k0):
            for j in range(k1):
                store[t + distance + j * k0 + i] = store[t + i * k1 + j]


def add_mirrors(store: F64, layout: Layout, repeated: bool) -> tuple[F64, I64]:
    """The store with mirrors behind it, and the fields of the runs that say so; the same where nothing is gained."""
    compiled = layout.compiled
    field = compiled.run_field
    start = compiled.run_field_start
    mirrored = [r for r, kind in enumerate(layout.kinds) if _gains(field[start[r] :], kind, repeated)]
    if not mirrored or 8 * len(store) > LARGEST:
        return store, field
    size = len(store)
    doubled = np.zeros(2 * size)  # what lies between mirrors is read by nobody, but it is weighed
    doubled[:size] = store
    field = field.copy()
    for r in mirrored:
        row = field[compiled.run_field_start[r] : compiled.run_field_start[r + 1]]
        row[a.RUN_MIRROR] = size
        if row[a.RUN_SHARED] >= 0:
            number = row[a.RUN_SHARED : a.RUN_SHARED + 1].astype(np.uint64)
        else:
            number = compiled.factor_number[row[a.RUN_FACTOR] : row[a.RUN_FACTOR] + row[a.RUN_SIZE]]
        k0, k1 = int(row[a.RUN_HEADER]), int(row[a.RUN_HEADER + a.SLOT_FIELDS])
        mirror_tables(doubled, number, k0, k1, size)
    return doubled, field


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


def add_columns(store: F64, layout: Layout, field: I64) -> F64:
    """The store with columns of the own tables over two states behind it; `field` is told where (RUN_MIRROR)."""
    compiled = layout.compiled
    wanted = []
    size = len(store)
    for r, kind in enumerate(layout.kinds):
        row = compiled.run_field[compiled.run_field_start[r] : compiled.run_field_start[r + 1]]
        if kind == "Table" and row[a.RUN_ARITY] == 2 and row[a.RUN_SHARED] < 0:
            if (row[a.RUN_HEADER + a.SLOT_STATES :: a.SLOT_FIELDS] == 2).all():
                wanted.append((r, row, size))
                size += 4 * int(row[a.RUN_SIZE])
    if not wanted:
        return store
    longer = np.empty(size)
    longer[: len(store)] = store
    for r, row, first in wanted:
        number = compiled.factor_number[row[a.RUN_FACTOR] : row[a.RUN_FACTOR] + row[a.RUN_SIZE]]
        stride0, stride1 = row[a.RUN_HEADER + a.SLOT_STRIDE], row[a.RUN_HEADER + a.SLOT_FIELDS + a.SLOT_STRIDE]
        fill_columns(store, number, int(stride0), int(stride1), longer, first)
        field[compiled.run_field_start[r] + a.RUN_MIRROR] = first
    return longer
