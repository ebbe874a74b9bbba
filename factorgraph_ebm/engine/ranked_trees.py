"""The k least energies up a tree of contractions, and the choices that led to each on the way back.

Every entry of a tensor has a sorted list: a leaf one energy, a node the least sums of an energy of each of its two
tensors, over all states of what it takes out:

    list of a node = the least of x[t, i] + y[t, j],    t over what is taken out, i and j over the two lists there

As both lists are sorted, what follows x[t, i] + y[t, j] is x[t, i] + y[t, j + 1], and where j = 0 also x[t, i + 1] +
y[t, 0], so a heap of candidates gives the next least and takes in at most two: no more sums are looked at than that.
D. Eppstein, "Finding the k shortest paths", SIAM J. Computing 28, 1998, merges lists by heaps; D. Nilsson, "An
efficient algorithm for finding the M most probable configurations", Statistics and Computing 8, 1998, has another way
to the same answer.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import F8, I8, INTEGER, NOTHING, READ_F8, READ_I8, READ_U1, inlined, kernel
from factorgraph_ebm.engine.trees import next_choice, take_entry

TREE = (READ_I8, READ_I8, READ_I8, READ_I8, READ_U1, READ_I8, READ_I8, READ_I8)
"x, y, first axis of each node, variable, kept or not, stride in x, in y; states of the variables"
LISTS = (READ_I8, READ_F8, READ_I8, READ_I8, F8, I8)
"first number of each leaf, numbers; length of each tensor's lists, where each begins; energies and choices of nodes"

U8 = np.uint64


@inlined
def sink(heap, code, size):  # type: ignore[no-untyped-def]
    """Move the first element of a heap down to its place; the least energy lies first, of equal ones the least code."""
    energy, mine = heap[0], code[0]
    hole = 0
    while 2 * hole + 1 < size:
        child = 2 * hole + 1
        other = child + 1
        if other < size and (
            heap[other] < heap[child] or (heap[other] == heap[child] and code[other] < code[child])
        ):
            child = other
        if heap[child] > energy or (heap[child] == energy and code[child] > mine):
            break
        heap[hole], code[hole] = heap[child], code[child]
        hole = child
    heap[hole], code[hole] = energy, mine


@inlined
def rise(heap, code, size, energy, mine):  # type: ignore[no-untyped-def]
    """Take in one more element."""
    hole = size
    while hole > 0:
        above = (hole - 1) // 2
        if heap[above] < energy or (heap[above] == energy and code[above] < mine):
            break
        heap[hole], code[hole] = heap[above], code[above]
        hole = above
    heap[hole], code[hole] = energy, mine


@kernel(NOTHING, *TREE, *LISTS, INTEGER, INTEGER, I8, F8, I8, I8)
def rank_up(  # type: ignore[no-untyped-def]
    x, y, axis_start, axis_variable, axis_kept, axis_x, axis_y, states, leaf_at, number, length, begin, energy, choice,
    stop, budget, position, heap, code, offset,
):  # fmt: skip
    """Lists of some nodes before `stop`; `choice` is (entry of what is taken out * |x| + i) * |y| + j.

    `position`: node and entry of it to begin with, and after the call to go on with; the call ends when it has looked
    at `budget` candidates. Working space: `heap` and `code`,
    as long as the longest list and the entries taken out by one node together; `offset`, twice those entries.
    """
    leaves = len(leaf_at)
    counter = np.zeros(64, np.int64)
    left = budget
    while position[0] < stop and left > 0:
        n = position[0]
        low, high = axis_start[n], axis_start[n + 1]
        room = length[leaves + n]
        of_x = length[x[n]]
        of_y = length[y[n]] if y[n] >= 0 else np.int64(1)
        leaf_x, leaf_y = x[n] < leaves, y[n] < leaves
        first_x = leaf_at[x[n]] if leaf_x else begin[x[n]]
        first_y = np.int64(0)  # without y a neutral number is read: element 0
        if y[n] >= 0:
            first_y = leaf_at[y[n]] if leaf_y else begin[y[n]]
        entries = 0
        counter[:] = 0
        again = True
        while again:
            a, b = np.int64(0), np.int64(0)
            for i in range(low, high):
                a += axis_x[i] * counter[i - low]
                b += axis_y[i] * counter[i - low]
            offset[2 * entries], offset[2 * entries + 1] = a * of_x, b * of_y
            entries += 1
            again = next_choice(axis_variable, axis_kept, states, counter, low, high, 0)
        rest = position[1]
        for i in range(high - 1, low - 1, -1):
            if axis_kept[i] == 1:
                counter[i - low] = rest % states[axis_variable[i]]
                rest //= states[axis_variable[i]]
        at = begin[leaves + n] + position[1] * room
        more = True
        while more and left > 0:
            a, b = first_x, first_y
            for i in range(low, high):
                a += axis_x[i] * counter[i - low] * of_x
                b += axis_y[i] * counter[i - low] * of_y
            size = 0
            for t in range(entries):
                p, q = a + offset[2 * t], b + offset[2 * t + 1]
                found = (number[p] if leaf_x else energy[p]) + (number[q] if leaf_y else energy[q])
                if not found < np.inf:
                    continue
                if room > 1:
                    rise(heap, code, size, found, t * of_x * of_y)
                    size += 1
                elif size == 0 or found < heap[0]:
                    heap[0], code[0] = found, t * of_x * of_y
                    size = 1
            count = 0
            while count < room and size > 0:
                energy[at + count], choice[at + count] = heap[0], code[0]
                count += 1
                if count == room:
                    break
                rest_of = U8(code[0])
                row, column = np.int64(0), np.int64(0)
                if of_y > 1:
                    column = np.int64(rest_of % U8(of_y))
                    rest_of //= U8(of_y)
                if of_x > 1:
                    row = np.int64(rest_of % U8(of_x))
                    rest_of //= U8(of_x)
                p, q = a + offset[U8(2) * rest_of] + row, b + offset[U8(2) * rest_of + U8(1)] + column
                one = number[p] if leaf_x else energy[p]
                mine = code[0]
                followed = False
                if column + 1 < of_y:  # lists of more than one energy are those of nodes
                    found = one + energy[q + 1]
                    if found < np.inf:
                        heap[0], code[0] = found, mine + 1
                        sink(heap, code, size)
                        followed = True
                if column == 0 and row + 1 < of_x:
                    found = energy[p + 1] + (number[q] if leaf_y else energy[q])
                    if found < np.inf:
                        if followed:
                            rise(heap, code, size, found, mine + of_y)
                            size += 1
                        else:
                            heap[0], code[0] = found, mine + of_y
                            sink(heap, code, size)
                            followed = True
                if not followed:
                    size -= 1
                    heap[0], code[0] = heap[size], code[size]
                    sink(heap, code, size)
            for place in range(count, room):
                energy[at + place] = np.inf
            at += room
            left -= room + entries
            position[1] += 1
            more = next_choice(axis_variable, axis_kept, states, counter, low, high, 1)
        if not more:
            position[0] += 1
            position[1] = 0


@kernel(NOTHING, *TREE, READ_I8, READ_I8, READ_I8, READ_I8, I8, I8, INTEGER, INTEGER, INTEGER)
def read_choices(  # type: ignore[no-untyped-def]
    x, y, axis_start, axis_variable, axis_kept, axis_x, axis_y, states, leaf_at, length, begin, choice, rank, state,
    first, stop, best,
):  # fmt: skip
    """The states of the assignment at place `best` of the root's list; `rank` (tensors,) is working space."""
    leaves = len(leaf_at)
    rank[leaves + stop - 1] = best
    for n in range(stop - 1, first - 1, -1):
        entry = 0
        for i in range(axis_start[n], axis_start[n + 1]):
            if axis_kept[i] == 1:
                entry = entry * states[axis_variable[i]] + state[axis_variable[i]]
        left = choice[begin[leaves + n] + entry * length[leaves + n] + rank[leaves + n]]
        if y[n] >= 0:
            rank[y[n]] = left % length[y[n]]
            left //= length[y[n]]
        rank[x[n]] = left % length[x[n]]
        left //= length[x[n]]
        take_entry(axis_variable, axis_kept, states, state, axis_start[n], axis_start[n + 1], left)
