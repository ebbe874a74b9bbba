"""Min-sum over tables in single precision: `dtype="float32"`.

Messages are energies in double precision. Only the copies of tables over two variables that kernels read while messages
are sent are narrower, so that half as much comes from memory: an entry T loses 2^-24 |T|, a message of one factor as
much of the largest entry it chose from. Answers are decoded, improved, measured and bounded by the numbers as declared.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from factorgraph_ebm import arrays as a
from factorgraph_ebm._jit import F4, NOTHING, READ_F8, READ_U8, SIZE, kernel
from factorgraph_ebm.arrays import I64, U64, Bool
from factorgraph_ebm.compiler.layout import Layout
from factorgraph_ebm.factors import STRUCTURES
from factorgraph_ebm.factors.singles import rounded
from factorgraph_ebm.inference.mirrors import LARGEST, Read
from factorgraph_ebm.inference.passing import Passing

MANY = 1 << 17
"numbers of own tables that no near cache holds: below, reading half as much gains nothing"
WIDE = 128
"numbers of such a table: in smaller ones it is not reading that takes the time"

K0, K1 = a.RUN_HEADER, a.RUN_HEADER + a.SLOT_FIELDS
"where the fields of the two slots of such a run begin: first the numbers of states"

U8 = np.uint64


class Singles(Passing):
    """Minimising over tables in single precision."""

    form: ClassVar[str] = "single"

    def _placed(self, read: Read, repeated: bool) -> Read:
        return lay_singles(read, self.layout)


def gaining(layout: Layout) -> Bool:
    """The chunks that gain from single precision, (C,). What decides is in a chunk alone."""
    compiled, blocks = layout.compiled, layout.factor_block
    own = np.zeros(len(compiled.chunk_variable_start) - 1, np.int64)
    pairs = _pairs(layout)
    for run in pairs:
        row = compiled.run_field[compiled.run_field_start[run] :]
        entries = int(row[K0] * row[K1])
        if row[a.RUN_SHARED] >= 0 or entries < WIDE:
            continue
        number = compiled.factor_number[row[a.RUN_FACTOR] : row[a.RUN_FACTOR] + row[a.RUN_SIZE]]
        for chunk, of in _numbers_of_chunks(layout, number, np.flatnonzero(blocks.run == run)):
            own[chunk] += entries * len(np.unique(of))
    gains: Bool = own >= MANY
    return gains


def _numbers_of_chunks(layout: Layout, number: U64, chosen: I64) -> Iterable[tuple[int, U64]]:
    """For each chunk among these blocks of one run: where the numbers of its factors begin."""
    blocks = layout.factor_block
    for chunk in np.unique(blocks.chunk[chosen]).tolist():
        mine = chosen[blocks.chunk[chosen] == chunk]
        yield chunk, np.concatenate([number[low:high] for low, high in zip(blocks.low[mine], blocks.high[mine])])


def _pairs(layout: Layout) -> list[int]:
    """The runs whose structure has a kernel for single precision: tables over two variables."""
    compiled = layout.compiled
    found = []
    for run, kind in enumerate(layout.kinds):
        slots = compiled.run_field[compiled.run_field_start[run] + a.RUN_HEADER : compiled.run_field_start[run + 1]]
        states = tuple(slots[a.SLOT_STATES :: a.SLOT_FIELDS].tolist())
        if STRUCTURES[kind].message_kernels(states).single is not None:
            found.append(run)
    return found


@kernel(NOTHING, READ_F8, READ_U8, SIZE, SIZE, SIZE, SIZE, F4, SIZE, SIZE)
def round_tables(store, number, k0, stride0, k1, stride1, out, first, distance):  # type: ignore[no-untyped-def]
    """Copy tables (k0, k1), one after another, to out[first:]; and transposed so far behind, unless that is 0."""
    for f in range(U8(len(number))):
        t, o = number[f], first + f * k0 * k1
        for i in range(k0):
            for j in range(k1):
                out[o + i * k1 + j] = rounded(store[t + i * stride0 + j * stride1])
        if distance > 0:
            for j in range(k1):
                for i in range(k0):
                    out[o + distance + j * k0 + i] = out[o + i * k1 + j]


def lay_singles(read: Read, layout: Layout) -> Read:
    """Tables over two variables in single precision, each once, in the order of first visits, and their mirrors.

    Their places and mirrors count numbers in single precision. What other structures read stays as it is, in front.
    """
    store, field, numbers = read
    start = layout.compiled.run_field_start
    pairs = _pairs(layout)
    rows = [field[start[r] : start[r + 1]] for r in pairs]
    tables = [_distinct(row, numbers) for row in rows]
    sizes = [int(row[K0] * row[K1]) * len(number) for row, (number, _) in zip(rows, tables)]
    mirrored = [bool(row[K0] > 2 and row[K1] > 2 and 4 * sum(sizes) <= LARGEST) for row in rows]
    before = len(store) if len(pairs) < len(layout.kinds) else 0
    after = sum(size * (1 + twice) for size, twice in zip(sizes, mirrored))
    found = np.empty(before + (after + 1) // 2)
    found[:before] = store[:before]
    placed = numbers.copy()
    at = 2 * before
    for row, (number, which), size, twice in zip(rows, tables, sizes, mirrored):
        k0, stride0, k1, stride1 = (int(row[i]) for i in (K0, K0 + a.SLOT_STRIDE, K1, K1 + a.SLOT_STRIDE))
        row[a.RUN_MIRROR] = size if twice else 0
        round_tables(store, number, k0, stride0, k1, stride1, found.view(np.float32), at, int(row[a.RUN_MIRROR]))
        row[K0 + a.SLOT_STRIDE], row[K1 + a.SLOT_STRIDE] = k1, 1
        if row[a.RUN_SHARED] >= 0:
            row[a.RUN_SHARED] = at
        else:
            placed[row[a.RUN_FACTOR] : row[a.RUN_FACTOR] + row[a.RUN_SIZE]] = at + k0 * k1 * which
        at += size * (1 + twice)
    return Read(found, field, placed)


def _distinct(row: I64, numbers: U64) -> tuple[U64, I64]:
    """Where the tables of a run begin, each once, in the order of first visits (n,); and which of them factors have."""
    if row[a.RUN_SHARED] >= 0:
        return row[a.RUN_SHARED : a.RUN_SHARED + 1].astype(np.uint64), np.zeros(1, np.int64)
    number = numbers[row[a.RUN_FACTOR] : row[a.RUN_FACTOR] + row[a.RUN_SIZE]]
    found, first, which = np.unique(number, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return found[order], rank[which]
