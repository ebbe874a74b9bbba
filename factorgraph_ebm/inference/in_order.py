"""Numbers in the order in which factors are visited.

Factors are sorted by level, numbers lie as they were declared. The levels of a grid are its diagonals: two factors that
are visited one after the other have tables a row of the grid apart, and a processor that reads ahead reads the wrong
page. Where messages are sent many times, the numbers of each run are therefore copied, factor after factor, and with
them their mirrors (`inference.mirrors`): 16 states with own tables, from memory, take 115 ns a message instead of 170.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm import arrays as a
from factorgraph_ebm._jit import F8, NOTHING, READ_F8, READ_U8, SIZE, kernel
from factorgraph_ebm.compiler.layout import Layout
from factorgraph_ebm.inference.mirrors import LARGEST, Read, add_mirrors, extent_of, fill_mirrors, mirrored_runs

U8 = np.uint64

FEW = 1 << 14
"numbers that lie in a near cache whatever their order"
SLACK = 1.25
"a copy may be so much larger than what it is a copy of, where factors share numbers or read parts of wider tables"


@kernel(NOTHING, READ_F8, READ_U8, SIZE, F8, SIZE)
def gather(store, number, extent, out, first):  # type: ignore[no-untyped-def]
    """Copy `extent` numbers from each of these places on, one after another, to out[first:]."""
    for f in range(U8(len(number))):
        t, o = number[f], first + f * extent
        for i in range(extent):
            out[o + i] = store[t + i]


def lay_in_order(read: Read, layout: Layout) -> Read:
    """The same numbers in order, and mirrors behind them; only mirrors where order gains nothing."""
    store, field, numbers = read
    start = layout.compiled.run_field_start
    rows = [field[start[r] : start[r + 1]] for r in range(len(layout.kinds))]
    extents = [extent_of(layout, row, kind) for row, kind in zip(rows, layout.kinds)]
    own = {
        r: numbers[row[a.RUN_FACTOR] : row[a.RUN_FACTOR] + row[a.RUN_SIZE]]
        for r, row in enumerate(rows) if row[a.RUN_SHARED] < 0
    }  # fmt: skip
    # Runs share tables with each other: one copy of each.
    shared = {(int(row[a.RUN_SHARED]), extent): 0 for row, extent in zip(rows, extents) if row[a.RUN_SHARED] >= 0}
    size = sum(extent for _, extent in shared) + sum(extents[r] * len(number) for r, number in own.items())
    mirrored = mirrored_runs(field, layout, True)
    wanders = any((number[1:] != number[:-1] + U8(extents[r])).any() for r, number in own.items())
    if not wanders or size < FEW or size > SLACK * len(store) or (mirrored and 8 * size > LARGEST):
        return add_mirrors(read, layout, True)
    ordered = np.zeros(2 * size if mirrored else size)  # what lies between mirrors is read by nobody
    at = 0
    for first, extent in shared:
        ordered[at : at + extent] = store[first : first + extent]
        shared[first, extent] = at
        at += extent
    placed = numbers.copy()
    for r, row in enumerate(rows):
        if r in own:
            gather(store, own[r], extents[r], ordered, at)
            places = at + extents[r] * np.arange(len(own[r]))
            placed[row[a.RUN_FACTOR] : row[a.RUN_FACTOR] + row[a.RUN_SIZE]] = places
            at += extents[r] * len(own[r])
        else:
            row[a.RUN_SHARED] = shared[int(row[a.RUN_SHARED]), extents[r]]
    found = Read(ordered, field, placed)
    fill_mirrors(found, layout, mirrored, size)
    return found
