"""Contractions of rows: sums, or minima, over pairs of rows of two tensors (`compiler.supports`).

    up        out[to[p]] (+)= x[i] * y[j]    for the pairs p = (i, j) of all blocks
    down      out[i] (+)= y[j] * d[to[p]],   out[j] (+)= x[i] * d[to[p]]

The same pairs in the same order serve both ways and all kinds of numbers: weights, where + is a sum and * a product,
or energies, where + is a minimum or -log sum exp(-) and * a sum. What no pair reaches is forbidden.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import F8, INTEGER, NOTHING, READ_F8, READ_U4, inlined, kernel
from factorgraph_ebm.engine.ties import is_tied
from factorgraph_ebm.factors.elementary import exp_minus

U8 = np.uint64
TO_NODE, TO_X, TO_Y = 0, 1, 2
"what is written; the two that are read are x and y, y and the node, or x and the node"

CONTRACT = (NOTHING, F8, READ_F8, READ_F8, READ_U4, READ_U4, INTEGER, F8, F8, READ_F8, READ_F8)
"""out, two that are read, blocks, row of the node of each pair, what is written, working space as large as out, and
-log of numbers of assignments behind out and what is read (`tied_rows` alone)"""


@inlined
def places(role, i, j, k):  # type: ignore[no-untyped-def]
    """Rows of what is written and of what is read of the pair (i, j), which goes to row k of the node."""
    if role == TO_NODE:
        return U8(k), U8(i), U8(j)
    if role == TO_X:
        return U8(i), U8(j), U8(k)
    return U8(j), U8(i), U8(k)


@kernel(*CONTRACT)
def sum_rows(out, one, two, block, to, role, mass, out_count, one_count, two_count):  # type: ignore[no-untyped-def]
    """In weights."""
    for i in range(len(out)):
        out[i] = 0.0
    at = U8(0)
    for b in range(0, len(block), 4):
        for i in range(block[b], block[b + 1]):
            for j in range(block[b + 2], block[b + 3]):
                o, p, q = places(role, i, j, to[at])
                out[o] += one[p] * two[q]
                at += U8(1)


@kernel(*CONTRACT)
def least_rows(out, one, two, block, to, role, mass, out_count, one_count, two_count):  # type: ignore[no-untyped-def]
    """In energies, minimising."""
    for i in range(len(out)):
        out[i] = np.inf
    at = U8(0)
    for b in range(0, len(block), 4):
        for i in range(block[b], block[b + 1]):
            for j in range(block[b + 2], block[b + 3]):
                o, p, q = places(role, i, j, to[at])
                out[o] = min(out[o], one[p] + two[q])
                at += U8(1)


@kernel(*CONTRACT)
def free_rows(out, one, two, block, to, role, mass, out_count, one_count, two_count):  # type: ignore[no-untyped-def]
    """In energies, summing: -log sum exp(-(one + two))."""
    least_rows(out, one, two, block, to, role, mass, out_count, one_count, two_count)
    for i in range(len(out)):
        mass[i] = 0.0
    at = U8(0)
    for b in range(0, len(block), 4):
        for i in range(block[b], block[b + 1]):
            for j in range(block[b + 2], block[b + 3]):
                o, p, q = places(role, i, j, to[at])
                if out[o] < np.inf:
                    mass[o] += exp_minus(one[p] + two[q] - out[o])
                at += U8(1)
    for i in range(len(out)):
        if out[i] < np.inf:
            out[i] -= np.log(mass[i])


@kernel(*CONTRACT)
def tied_rows(out, one, two, block, to, role, mass, out_count, one_count, two_count):  # type: ignore[no-untyped-def]
    """Least energies, and -log of how many assignments of what is taken out have them."""
    least_rows(out, one, two, block, to, role, mass, out_count, one_count, two_count)
    for i in range(len(out)):
        mass[i] = np.inf
        out_count[i] = 0.0
    for turn in range(2):
        at = U8(0)
        for b in range(0, len(block), 4):
            for i in range(block[b], block[b + 1]):
                for j in range(block[b + 2], block[b + 3]):
                    o, p, q = places(role, i, j, to[at])
                    if out[o] < np.inf and is_tied(one[p] + two[q], out[o]):
                        count = one_count[p] + two_count[q]
                        if turn == 0:
                            mass[o] = min(mass[o], count)
                        else:
                            out_count[o] += exp_minus(count - mass[o])
                    at += U8(1)
    for i in range(len(out)):
        if out[i] < np.inf:
            out_count[i] = mass[i] - np.log(out_count[i])
