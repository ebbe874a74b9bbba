"""Configurations as integers: where the states of each variable lie in the code of a row of a tensor.

    code = the states of the axes side by side in bits, those first that the tensor shares with its partner

Rows of two tensors that are to be joined are then sorted by what they share, so that a join is a merge. A code is moved
to the axes of another tensor in few steps: axes that lie side by side in both move at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from factorgraph_ebm._jit import F8, I8, INTEGER, NOTHING, READ_F8, READ_I8, U4, kernel
from factorgraph_ebm.arrays import F64, I64, U32
from factorgraph_ebm.compiler.contraction import Leaves, Nodes

BITS = 62
"of a code: a tensor of more is refused"
MOVE = 3
"numbers of a move: bits to go down, mask, bits to go up"


class Codes(NamedTuple):
    """Axes of all tensors in the order of their codes. T = L + N tensors."""

    bits: I64
    "(T,) of a code"
    apart: I64
    "(T,) bits below what is shared with the partner"
    axis: I64
    "variable; tensor by tensor, the highest bits first"
    source: I64
    "which of the axes of all tensors, as they were before"
    shift: I64
    "bits below each"
    move_start: I64
    "(2 N + 1,) moves of the rows of x of node n: 2 n; of y, without what x has: 2 n + 1"
    move: I64
    "MOVE numbers each"


@kernel(NOTHING, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, I8, I8, I8, I8, I8, I8)
def sort_axes(start, axis, partner, place, width, mark, bits, apart, sorted_axis, source, shift):  # type: ignore[no-untyped-def]
    """Order the axes of each tensor: shared ones first, those of larger `place` before others."""
    n = len(place)
    for t in range(len(start) - 1):
        if partner[t] >= 0:
            for i in range(start[partner[t]], start[partner[t] + 1]):
                mark[axis[i]] = t + 1
        for i in range(start[t], start[t + 1]):
            v = axis[i]
            key = place[v] + (n if mark[v] == t + 1 else 0)
            j = i
            while j > start[t]:
                u = sorted_axis[j - 1]
                if place[u] + (n if mark[u] == t + 1 else 0) > key:
                    break
                sorted_axis[j], source[j] = u, source[j - 1]
                j -= 1
            sorted_axis[j], source[j] = v, i
        low = 0
        apart[t] = 0
        for i in range(start[t + 1] - 1, start[t] - 1, -1):
            shift[i] = low
            low += width[sorted_axis[i]]
            if mark[sorted_axis[i]] != t + 1:
                apart[t] = low
        bits[t] = low


@kernel(INTEGER, READ_I8, READ_I8, INTEGER, READ_I8, READ_I8, READ_I8, READ_I8, I8, I8, I8, I8)
def find_moves(x, y, leaves, start, axis, shift, width, to, mark, move_start, move):  # type: ignore[no-untyped-def]
    """Write the moves from x and y to each node; return how many. `to` and `mark` (V,) are working space, `mark` 0."""
    count = 0
    for n in range(len(x)):
        node = leaves + n
        for i in range(start[node], start[node + 1]):
            to[axis[i]] = shift[i]
            mark[axis[i]] = n + 1
        for side in range(2):
            move_start[2 * n + side] = count
            t = x[n] if side == 0 else y[n]
            if t < 0:
                continue
            inside = False
            for i in range(start[t], start[t + 1]):
                v = axis[i]
                if mark[v] != n + 1:
                    inside = False
                    continue
                if inside and to[v] + width[v] == move[MOVE * count - 1]:  # right below the axis before
                    move[MOVE * count - 3] = shift[i]
                    move[MOVE * count - 2] = (move[MOVE * count - 2] << width[v]) | ((1 << width[v]) - 1)
                    move[MOVE * count - 1] = to[v]
                else:
                    move[MOVE * count] = shift[i]
                    move[MOVE * count + 1] = (1 << width[v]) - 1
                    move[MOVE * count + 2] = to[v]
                    count += 1
                inside = True
            if side == 0:  # y brings the rest
                for i in range(start[t], start[t + 1]):
                    mark[axis[i]] = 0
    move_start[2 * len(x)] = count
    return count


def lay_codes(nodes: Nodes, leaves: int, states: I64, order: I64) -> Codes | None:
    """Where everything lies; None where a code would be too long.

    Parameters
    ----------
    leaves : how many
    states : (V,)
    order : variables of two states or more, first eliminated first: the highest bits are those that stay longest
    """
    tensors = leaves + len(nodes.x)
    width = np.ceil(np.log2(np.maximum(states, 1))).astype(np.int64)
    longest = np.add.reduceat(np.append(width[nodes.axis], 0), nodes.start[:-1]) if tensors else np.zeros(0, np.int64)
    if (np.where(np.diff(nodes.start) > 0, longest, 0) > BITS).any():
        return None
    place = np.zeros(len(states), np.int64)
    place[order] = np.arange(len(order))
    partner = np.full(tensors, -1, np.int64)
    both = nodes.y >= 0
    partner[nodes.x[both]], partner[nodes.y[both]] = nodes.y[both], nodes.x[both]
    bits, apart = np.empty(tensors, np.int64), np.empty(tensors, np.int64)
    axis, source, shift = (np.empty(len(nodes.axis), np.int64) for _ in range(3))
    sort_axes(
        nodes.start, nodes.axis, partner, place, width, np.zeros(len(states), np.int64), bits, apart, axis, source,
        shift,
    )  # fmt: skip
    move_start, move = np.zeros(2 * len(nodes.x) + 1, np.int64), np.empty(MOVE * (len(axis) + 1), np.int64)
    count = find_moves(
        nodes.x, nodes.y, leaves, nodes.start, axis, shift, width, np.empty(len(states), np.int64),
        np.zeros(len(states), np.int64), move_start, move,
    )  # fmt: skip
    return Codes(bits, apart, axis, source, shift, move_start, move[: MOVE * count].copy())


class Rows(NamedTuple):
    """The configurations of all leaves that are not forbidden, leaf by leaf, sorted by their codes."""

    start: I64
    "(L + 1,)"
    code: I64
    element: U32
    "which of the numbers of the leaf"
    place: U32
    "which entry in C order"


@kernel(
    NOTHING, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_F8, I8, I8, I8, U4, U4,
)  # fmt: skip
def list_rows(  # type: ignore[no-untyped-def]
    start, axis, source, shift, states, stride, c_stride, at, energy, counter, row_start, code, element, place
):  # fmt: skip
    """Write the rows of all leaves; `at` (L,) is where the numbers of each begin, `counter` working space."""
    rows = 0
    row_start[0] = 0
    for t in range(len(at)):
        low, high = start[t], start[t + 1]
        for i in range(low, high):
            counter[i - low] = 0
        c, e, p = np.int64(0), np.int64(0), np.int64(0)
        more = True
        while more:
            if energy[at[t] + e] < np.inf:
                code[rows], element[rows], place[rows] = c, e, p
                rows += 1
            more = False
            for i in range(high - 1, low - 1, -1):
                s = source[i]
                k = counter[i - low] + 1
                more = k < states[axis[i]]
                step = 1 if more else 1 - k
                counter[i - low] += step
                c += step << shift[i]
                e += step * stride[s]
                p += step * c_stride[s]
                if more:
                    break
        row_start[t + 1] = rows


def entries_of(leaves: Leaves, states: I64) -> F64:
    """Entries of the table of each leaf, (L,)."""
    logs = np.concatenate([[0.0], np.cumsum(np.log2(states[leaves.variable]))])
    found: F64 = np.rint(np.exp2(logs[leaves.start[1:]] - logs[leaves.start[:-1]]))
    return found


def rows_of(codes: Codes, leaves: Leaves, states: I64, at: I64, energy: F64) -> Rows:
    """Rows of leaves whose numbers begin at `at` (L,) in `energy`."""
    n = len(at)
    room = int(entries_of(leaves, states).sum())
    c_stride = np.empty(len(leaves.variable), np.int64)
    own = np.diff(leaves.start)
    for from_end in range(int(own.max(initial=0))):
        here = leaves.start[1:][own > from_end] - 1 - from_end
        c_stride[here] = 1 if from_end == 0 else c_stride[here + 1] * states[leaves.variable[here + 1]]
    row_start, code = np.empty(n + 1, np.int64), np.empty(room, np.int64)
    element, place = np.empty(room, np.uint32), np.empty(room, np.uint32)
    slots = int(leaves.start[-1])
    list_rows(
        leaves.start, codes.axis[:slots], codes.source[:slots], codes.shift[:slots], states, leaves.stride, c_stride,
        at, energy, np.empty(int(own.max(initial=0)) + 1, np.int64), row_start, code, element, place,
    )  # fmt: skip
    rows = int(row_start[-1])
    return Rows(row_start, code[:rows].copy(), element[:rows].copy(), place[:rows].copy())


@kernel(NOTHING, READ_I8, READ_I8, INTEGER, READ_I8, READ_F8, READ_F8, F8)
def guess_rows(x, y, leaves, start, size, union_size, guess):  # type: ignore[no-untyped-def]
    """log2 of the rows of each tensor, (T,), and behind them of the pairs of rows of each node, if all were chance.

    Those of leaves are there. `size` (T,), `union_size` (N,): log2 of what tables with all entries hold.
    """
    tensors = len(size)
    for n in range(len(x)):
        pairs = guess[x[n]]
        if y[n] >= 0:
            pairs += guess[y[n]] - (size[x[n]] + size[y[n]] - union_size[n])
        guess[tensors + n] = pairs
        guess[leaves + n] = min(pairs, size[leaves + n])
