"""The k least energies up a tree of contractions, and the choices that led to each on the way back.

Every entry of a tensor has a sorted list: a leaf one energy, a node the least sums of an energy of each of its two
tensors, over all states of what it takes out. As both lists are sorted, a row of sums ends where one is not among the k
least so far. The lists of the k best paths through a lattice, on a tree; D. Nilsson, "An efficient algorithm for
finding the M most probable configurations", Statistics and Computing 8, 1998, has another way to the same answer.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import F8, I8, INTEGER, NOTHING, READ_F8, READ_I8, READ_U1, kernel
from factorgraph_ebm.engine.trees import next_choice, take_entry

TREE = (READ_I8, READ_I8, READ_I8, READ_I8, READ_U1, READ_I8, READ_I8, READ_I8)
"x, y, first axis of each node, variable, kept or not, stride in x, in y; states of the variables"
LISTS = (READ_I8, READ_F8, READ_I8, READ_I8, F8, I8)
"first number of each leaf, numbers; length of each tensor's lists, where each begins; energies and choices of nodes"


@kernel(NOTHING, *TREE, *LISTS, INTEGER, INTEGER)
def rank_up(  # type: ignore[no-untyped-def]
    x, y, axis_start, axis_variable, axis_kept, axis_x, axis_y, states, leaf_at, number, length, begin, energy, choice,
    first, stop,
):  # fmt: skip
    """Lists of the nodes first to stop; `choice` is (entry of what is taken out * |x| + i) * |y| + j."""
    leaves = len(leaf_at)
    counter = np.zeros(64, np.int64)
    for n in range(first, stop):
        low, high = axis_start[n], axis_start[n + 1]
        at, room = begin[leaves + n], length[leaves + n]
        of_x, of_y = length[x[n]], length[y[n]] if y[n] >= 0 else 1
        counter[:] = 0
        more = True
        while more:
            count = 0
            entry = 0
            again = True
            while again:
                a, b = 0, 0
                for i in range(low, high):
                    a += axis_x[i] * counter[i - low]
                    b += axis_y[i] * counter[i - low]
                for i in range(of_x):
                    one = number[leaf_at[x[n]] + a] if x[n] < leaves else energy[begin[x[n]] + a * of_x + i]
                    if not one < np.inf:
                        break
                    for j in range(of_y):
                        if y[n] < 0:
                            two = 0.0
                        elif y[n] < leaves:
                            two = number[leaf_at[y[n]] + b]
                        else:
                            two = energy[begin[y[n]] + b * of_y + j]
                        found = one + two
                        if not found < np.inf or (count == room and not found < energy[at + room - 1]):
                            break
                        if count < room:
                            count += 1
                        place = count - 1
                        while place > 0 and energy[at + place - 1] > found:
                            energy[at + place] = energy[at + place - 1]
                            choice[at + place] = choice[at + place - 1]
                            place -= 1
                        energy[at + place] = found
                        choice[at + place] = (entry * of_x + i) * of_y + j
                entry += 1
                again = next_choice(axis_variable, axis_kept, states, counter, low, high, 0)
            for place in range(count, room):
                energy[at + place] = np.inf
            at += room
            more = next_choice(axis_variable, axis_kept, states, counter, low, high, 1)


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
