"""Trees of contractions run up and down (`compiler.contraction`): sums, marginals, and choices along one assignment.

Threads share *stretches* of nodes by tickets: whole components, whose tensors lie in the working space of the thread,
or parts of one large component, whose tensors lie in one space that all threads use. What the way down sends takes the
place of what came up. Numbers of leaves are read where they lie, so a table that many factors share stays one table.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import (
    F8,
    FUNCTION,
    I8,
    INTEGER,
    NOTHING,
    READ_F8,
    READ_I8,
    READ_U1,
    REAL,
    call,
    inlined,
    kernel,
    measure,
)
from factorgraph_ebm.engine.addresses import address, after
from factorgraph_ebm.engine.contraction import SECOND
from factorgraph_ebm.engine.tickets import take
from factorgraph_ebm.engine.ties import is_tied
from factorgraph_ebm.factors.elementary import exp_minus

U8 = np.uint64

TREE = (READ_I8, READ_I8, READ_I8, READ_I8, READ_I8)
"x, y, place of the nodes; size of all tensors; first node of each component"
LOOPS = (READ_I8, READ_I8, READ_U1)
"start of the loops (3 N,), loops, operator of the nodes: which of the contractions"
LEAVES = (READ_I8, READ_F8)
"element of each leaf's first number; numbers, of which element 0 is neutral in products"
STRETCHES = (READ_I8, READ_I8, READ_I8, I8)
"component, first node, node after the last; tickets"
SPACE = (F8, F8, I8, INTEGER)
"for tensors of one component, for four of the largest, for counters of loops; elements of the largest"
WEIGHTS, ENERGIES, TIES = 0, 1, 2
"what numbers are, for `draw_trees`"
UP, DOWN = 1, 2
"what a driver does with its stretches: one, the other, or both"


@inlined
def tensor_at(t, leaves, place, leaf_at, number, space):  # type: ignore[no-untyped-def]
    """The address of a tensor; -1 stands for a neutral number."""
    if t < 0:
        return number
    if t < leaves:
        return after(number, leaf_at[t])
    return after(space, place[t - leaves])


@inlined
def run_up(  # type: ignore[no-untyped-def]
    contracts, settle, x, y, place, size, loop_start, loop, operator, leaf_at, number, space, work, counter, first,
    stop,
):  # fmt: skip
    """Nodes first to stop; return the sum of their scales, NaN where digits were lost, -inf where all are 0."""
    leaves = len(leaf_at)
    scale = 0.0
    for n in range(first, stop):
        out = after(space, place[n])
        elements = U8(size[leaves + n])
        call(contracts[operator[n]], (
            out, tensor_at(x[n], leaves, place, leaf_at, number, space),
            tensor_at(y[n], leaves, place, leaf_at, number, space), after(loop, loop_start[n]), counter, work, elements,
        ))  # fmt: skip
        scale += measure(settle, (out, elements))
        if not scale > -np.inf:
            break
    return scale


@kernel(NOTHING, READ_I8, READ_I8, I8)
def mark_wanted(x, y, belief_at):  # type: ignore[no-untyped-def]
    """Write behind the leaves 0 for each node above a leaf whose belief is asked for, -1 for all others."""
    leaves = len(belief_at) - len(x)
    for n in range(len(x)):
        wanted = belief_at[x[n]] >= 0 or (y[n] >= 0 and belief_at[y[n]] >= 0)
        belief_at[leaves + n] = 0 if wanted else -1


@inlined
def is_sent(t, belief_at):  # type: ignore[no-untyped-def]
    """Whether a message goes down to a tensor: to leaves whose beliefs are asked for, and to nodes above them."""
    return t >= 0 and belief_at[t] >= 0


@inlined
def run_down(  # type: ignore[no-untyped-def]
    contracts, settle, believe, x, y, place, size, loop_start, loop, operator, leaf_at, number, belief_at,
    leaf_loop_start, leaf_loop, second, space, work, counter, largest, belief, first, stop,
):  # fmt: skip
    """Messages to what is wanted of both tensors of nodes stop - 1 to first; return NaN where digits were lost."""
    leaves = len(leaf_at)
    nodes = len(x)
    lost = 0.0
    for n in range(stop - 1, first - 1, -1):
        if belief_at[leaves + n] < 0:
            continue
        row = after(space, place[n])
        one = tensor_at(x[n], leaves, place, leaf_at, number, space)
        two = tensor_at(y[n], leaves, place, leaf_at, number, space)
        two_way = is_sent(x[n], belief_at) and is_sent(y[n], belief_at)
        # What is sent to one is made of the other as it came up: so the first waits aside where there are two.
        for side in range(2):
            t = x[n] if side == 0 else y[n]
            if not is_sent(t, belief_at):
                continue
            aside = t < leaves or (two_way and side == 0)
            out = after(work, 2 * largest * side) if aside else after(space, place[t - leaves])
            call(contracts[operator[n]], (
                out, two if side == 0 else one, row, after(loop, loop_start[(side + 1) * nodes + n]), counter,
                after(work, 2 * largest * side + largest), U8(size[t]),
            ))  # fmt: skip
            lost += measure(settle, (out, U8(size[t])))
            if t < leaves:
                call(believe, (
                    after(belief, belief_at[t]), after(number, leaf_at[t]), out, after(leaf_loop, leaf_loop_start[t]),
                    counter, U8(size[t]),
                ))  # fmt: skip
        if two_way and x[n] >= leaves:
            to = after(space, place[x[n] - leaves])
            for i in range(size[x[n]]):
                to[i] = work[i]
                if second > 0:
                    to[second + i] = work[second + i]
    return lost


@kernel(
    REAL, READ_I8, FUNCTION, *TREE, *LOOPS, *LEAVES, *STRETCHES, *SPACE, F8, F8, INTEGER, FUNCTION, READ_I8, READ_I8,
    READ_I8, F8, INTEGER,
)  # fmt: skip
def sum_trees(  # type: ignore[no-untyped-def]
    contracts, settle, x, y, place, size, component, loop_start, loop, operator, leaf_at, number,
    part, part_first, part_stop, tickets, space, work, counter, largest, value, scale, ways,
    believe, belief_at, leaf_loop_start, leaf_loop, belief, second,
):  # fmt: skip
    """Up and down: the sums of components, and beliefs of leaves.

    value * 2 ** (sum of scales) is the sum (in energies, value its energy): NaN where digits were lost; a scale of -inf
    where all is forbidden. The belief of leaf t goes to belief[belief_at[t]:] in C order, where that is not -1; nodes
    follow the leaves in `belief_at`, see `mark_wanted`.
    With `second` > 0, scale is -log of a number of assignments, see `tied_sums`. `value` and `scale` are by stretch.
    """
    space, work, counter = address(space), address(work), address(counter)
    loop, number, belief, leaf_loop = address(loop), address(number), address(belief), address(leaf_loop)
    counter[SECOND] = second
    while True:
        i = take(tickets, 0)
        if i >= len(part):
            return 0.0
        first, stop = part_first[i], part_stop[i]
        root = component[part[i] + 1] - 1
        if ways & UP:
            scale[i] = run_up(
                contracts, settle, x, y, place, size, loop_start, loop, operator, leaf_at, number, space, work,
                counter, first, stop,
            )  # fmt: skip
            value[i] = space[place[stop - 1]] if scale[i] > -np.inf else scale[i]
            if second > 0:
                scale[i] = space[second + place[stop - 1]]
            if not (value[i] > -np.inf and value[i] < np.inf):
                continue
        if ways & DOWN:
            if stop == root + 1:
                space[place[root]] = number[0]
                if second > 0:
                    space[second + place[root]] = 0.0
            lost = run_down(
                contracts, settle, believe, x, y, place, size, loop_start, loop, operator, leaf_at, number, belief_at,
                leaf_loop_start, leaf_loop, second, space, work, counter, largest, belief, first, stop,
            )  # fmt: skip
            if lost != lost:
                value[i] = lost


CHOICES = (READ_I8, READ_I8, READ_U1, READ_I8, READ_I8, READ_I8)
"axes of the nodes: first of each, variable, kept or not, stride in x and in y; states of all variables"


@kernel(
    REAL, READ_I8, FUNCTION, *TREE, *LOOPS, *LEAVES, *STRETCHES, *SPACE, F8, F8, INTEGER, *CHOICES, I8,
)  # fmt: skip
def decode_trees(  # type: ignore[no-untyped-def]
    contracts, settle, x, y, place, size, component, loop_start, loop, operator, leaf_at, number,
    part, part_first, part_stop, tickets, space, work, counter, largest, value, scale, ways,
    axis_start, axis_variable, axis_kept, axis_x, axis_y, states, state,
):  # fmt: skip
    """Up in energies, then states of least energy for the variables that nodes of operator 0 take out, (V,)."""
    leaves = len(leaf_at)
    space, work, counter = address(space), address(work), address(counter)
    loop, number = address(loop), address(number)
    while True:
        ticket = take(tickets, 0)
        if ticket >= len(part):
            return 0.0
        first, stop = part_first[ticket], part_stop[ticket]
        if ways & UP:
            scale[ticket] = run_up(
                contracts, settle, x, y, place, size, loop_start, loop, operator, leaf_at, number, space, work,
                counter, first, stop,
            )  # fmt: skip
            value[ticket] = space[place[stop - 1]]
        if not ways & DOWN:
            continue
        for n in range(stop - 1, first - 1, -1):
            if operator[n] != 0:
                continue
            low, high = axis_start[n], axis_start[n + 1]
            a, b = np.int64(0), np.int64(0)
            for i in range(low, high):
                v = axis_variable[i]
                if axis_kept[i] == 1:
                    a += axis_x[i] * state[v]
                    b += axis_y[i] * state[v]
                else:
                    state[v] = 0
            one = after(tensor_at(x[n], leaves, place, leaf_at, number, space), a)
            two = after(tensor_at(y[n], leaves, place, leaf_at, number, space), b)
            least = np.inf
            best = np.int64(0)
            entry = np.int64(0)
            more = True
            for i in range(low, high):
                counter[i - low] = 0
            while more:
                a, b = np.int64(0), np.int64(0)
                for i in range(low, high):
                    a += axis_x[i] * counter[i - low]
                    b += axis_y[i] * counter[i - low]
                energy = one[a] + two[b]
                if energy < least:
                    least = energy
                    best = entry
                entry += 1
                more = next_choice(axis_variable, axis_kept, states, counter, low, high, 0)
            take_entry(axis_variable, axis_kept, states, state, low, high, best)


@inlined
def next_choice(axis_variable, axis_kept, states, counter, low, high, kept):  # type: ignore[no-untyped-def]
    """Count up the axes low to high that are kept, or those that are not, the last fastest; False after the last."""
    for i in range(high - 1, low - 1, -1):
        if axis_kept[i] == kept:
            counter[i - low] += 1
            if counter[i - low] < states[axis_variable[i]]:
                return True
            counter[i - low] = 0
    return False


@inlined
def take_entry(axis_variable, axis_kept, states, state, low, high, entry):  # type: ignore[no-untyped-def]
    """Write the states that `next_choice` counted to an entry."""
    left = entry
    for i in range(high - 1, low - 1, -1):
        if axis_kept[i] == 0:
            k = states[axis_variable[i]]
            state[axis_variable[i]] = left % k
            left //= k


@kernel(
    REAL, READ_I8, FUNCTION, *TREE, *LOOPS, *LEAVES, *STRETCHES, *SPACE, F8, F8, INTEGER, *CHOICES, I8, READ_F8,
    INTEGER, INTEGER,
)  # fmt: skip
def draw_trees(  # type: ignore[no-untyped-def]
    contracts, settle, x, y, place, size, component, loop_start, loop, operator, leaf_at, number,
    part, part_first, part_stop, tickets, space, work, counter, largest, value, scale, ways,
    axis_start, axis_variable, axis_kept, axis_x, axis_y, states, state, uniform, kind, second,
):  # fmt: skip
    """Up, then draws down the tree: `state` (draws * V,) from `uniform` (draws * N,), numbers in [0, 1).

    `kind` says what numbers are: WEIGHTS, ENERGIES, or TIES, of which those of least energy are drawn.
    """
    leaves = len(leaf_at)
    nodes, variables = len(x), len(states)
    space, work, counter = address(space), address(work), address(counter)
    counter[SECOND] = second
    loop, number = address(loop), address(number)
    while True:
        ticket = take(tickets, 0)
        if ticket >= len(part):
            return 0.0
        first, stop = part_first[ticket], part_stop[ticket]
        if ways & UP:
            scale[ticket] = run_up(
                contracts, settle, x, y, place, size, loop_start, loop, operator, leaf_at, number, space, work,
                counter, first, stop,
            )  # fmt: skip
            value[ticket] = space[place[stop - 1]] if scale[ticket] > -np.inf else scale[ticket]
            if not (value[ticket] > -np.inf and value[ticket] < np.inf):
                continue
        if not ways & DOWN:
            continue
        for draw in range(len(uniform) // nodes if nodes > 0 else 0):
            drawn = state[draw * variables : (draw + 1) * variables]
            for n in range(stop - 1, first - 1, -1):
                low, high = axis_start[n], axis_start[n + 1]
                a, b = np.int64(0), np.int64(0)
                any_taken = False
                for i in range(low, high):
                    if axis_kept[i] == 1:
                        a += axis_x[i] * drawn[axis_variable[i]]
                        b += axis_y[i] * drawn[axis_variable[i]]
                    else:
                        any_taken = True
                if not any_taken:
                    continue
                one = after(tensor_at(x[n], leaves, place, leaf_at, number, space), a)
                two = after(tensor_at(y[n], leaves, place, leaf_at, number, space), b)
                least, most, total, left = np.inf, np.inf, 0.0, 0.0
                last = np.int64(0)
                # The least energy, the largest count there, the sum, and the entry where it passes what was drawn.
                for turn in range(0 if kind != WEIGHTS else 2, 4):
                    entry = np.int64(0)
                    more = True
                    for i in range(low, high):
                        counter[i - low] = 0
                    while more:
                        a, b = np.int64(0), np.int64(0)
                        for i in range(low, high):
                            a += axis_x[i] * counter[i - low]
                            b += axis_y[i] * counter[i - low]
                        if kind == WEIGHTS:
                            weight = one[a] * two[b]
                        else:
                            energy = one[a] + two[b]
                            weight = 0.0
                            if turn == 0:
                                least = min(least, energy)
                            elif kind == ENERGIES:
                                weight = exp_minus(energy - least)
                            elif is_tied(energy, least):
                                count = one[second + a] + two[second + b]
                                if turn == 1:
                                    most = min(most, count)
                                weight = exp_minus(count - most)
                        if turn == 2:
                            total += weight
                        elif turn == 3 and weight > 0.0 and left >= 0.0:
                            last = entry
                            left -= weight
                        entry += 1
                        more = next_choice(axis_variable, axis_kept, states, counter, low, high, 0)
                    left = uniform[draw * nodes + n] * total
                take_entry(axis_variable, axis_kept, states, drawn, low, high, last)
