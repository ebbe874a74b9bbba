"""The loops of a contraction: lengths and strides, merged, and in an order that runs over neighbouring numbers."""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import I8, INTEGER, READ_I8, kernel

LOOP_HEADER = 1
"number of loops, then four numbers for each, the innermost first"
LOOP_FIELDS = 4
"length, and steps in what is written and in the two that are read"
KNOWN = 4096
"loops that are remembered, to be used again"
LONG = 8
"numbers beside each other from which on a loop over them is worth having inside"


@kernel(INTEGER, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, I8, I8, INTEGER)
def write_loops(states, union_start, union, to, one, two, loop_start, loop, at):  # type: ignore[no-untyped-def]
    """Write the loops of each node from `at` on; return where they end.

    Axes that lie alike in all three tensors are run over as one. Outside in they have the order of the union, but for
    the two innermost. The first of them is the longest of those that step by 0 or 1, or else the longest; the second,
    the longest whose sums stay in registers: where the first goes along what is written, one that does not step there,
    and where the first is summed, one that steps there but not in all that is read. Equal loops are written once.
    """
    rows = np.empty((64, 4), np.int64)
    known = np.full(KNOWN, -1)
    for n in range(len(union_start) - 1):
        d = 0
        for i in range(union_start[n], union_start[n + 1]):
            k = states[union[i]]
            if d > 0 and (
                rows[d - 1, 1] == to[i] * k and rows[d - 1, 2] == one[i] * k and rows[d - 1, 3] == two[i] * k
            ):
                rows[d - 1, 0] *= k
                rows[d - 1, 1], rows[d - 1, 2], rows[d - 1, 3] = to[i], one[i], two[i]
            else:
                rows[d, 0], rows[d, 1], rows[d, 2], rows[d, 3] = k, to[i], one[i], two[i]
                d += 1
        while d < 2:
            for j in range(d, 0, -1):
                for c in range(4):
                    rows[j, c] = rows[j - 1, c]
            rows[0, 0], rows[0, 1], rows[0, 2], rows[0, 3] = 1, 0, 0, 0
            d += 1
        inner = d - 1
        best = -1
        for j in range(d):
            k = rows[j, 0]
            near = rows[j, 1] <= 1 and rows[j, 2] <= 1 and rows[j, 3] <= 1
            score = min(k, 64) * (8 if near and k >= LONG else 1)
            if score >= best:
                best = score
                inner = j
        next_to = d - 1 if inner < d - 1 else d - 2
        best = 0
        for j in range(d):
            if rows[inner, 1] == 0:
                kept = rows[j, 1] > 0 and (rows[j, 2] == 0 or rows[j, 3] == 0)
            else:
                kept = rows[j, 1] == 0
            if j != inner and kept and rows[j, 0] > 1 and rows[j, 0] >= best:
                best = rows[j, 0]
                next_to = j
        begin = at
        loop[at] = d
        at += LOOP_HEADER
        for j in (inner, next_to):
            for c in range(4):
                loop[at + c] = rows[j, c]
            at += LOOP_FIELDS
        for j in range(d - 1, -1, -1):
            if j != inner and j != next_to:
                for c in range(4):
                    loop[at + c] = rows[j, c]
                at += LOOP_FIELDS
        code = np.int64(0)
        for i in range(begin, at):
            code = ((code ^ loop[i]) & 0x7FFFFFFF) * 1103515245 + 12345  # less than 2^62: nothing wraps
        slot = ((code >> 8) & 0x7FFFFFFF) % KNOWN
        same = known[slot] >= 0
        if same:
            for i in range(begin, at):
                if loop[known[slot] + i - begin] != loop[i]:
                    same = False
                    break
        if same:
            at = begin
        else:
            known[slot] = begin
        loop_start[n] = known[slot]
    return at
