"""From an order of elimination to a tree of contractions, and the loops of each.

A *tensor* is a leaf (the numbers of a factor or of a single variable) or a *node*, which joins two tensors and takes
out the variables that stand nowhere else:

    up        node[kept] = (+) over what is taken out of x * y
    down      D_x = (+) over what x lacks of y * D_node,     D_y = (+) over what y lacks of x * D_node

With D = 1 at the root, leaf * D_leaf is proportional to the marginal of the leaf, so all marginals cost as much as two
more sums. The tree is binary, nothing is divided, and no table over a clique is ever stored: P. P. Shenoy, "Binary join
trees for computing marginals in the Shenoy-Shafer architecture", Int. J. Approximate Reasoning 17, 1997.

When a variable is due, the tensors that hold it are joined, cheapest pair first. New axes go in front of those of the
larger tensor, so that the inner loops of both run over neighbouring numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from factorgraph_ebm._jit import F8, I8, INTEGER, NOTHING, READ_I8, READ_U1, U1, kernel
from factorgraph_ebm.arrays import F64, I64, U8
from factorgraph_ebm.compiler.loops import LOOP_FIELDS, LOOP_HEADER, write_loops


class Leaves(NamedTuple):
    """L leaves over variables of two states or more, each variable at most once in a leaf."""

    start: I64
    "(L + 1,)"
    variable: I64
    "(slots,)"
    stride: I64
    "(slots,) in the numbers of the leaf"


class Nodes(NamedTuple):
    """N nodes, what is below a node right before it, component after component. Tensor t is leaf t, or node t - L."""

    x: I64
    "(N,) larger of the two tensors"
    y: I64
    "(N,) the other; -1: x alone"
    above: I64
    "(N,) node that joins this one to another; -1 at the root of a component"
    due: I64
    "(N,) variable that made two tensors be joined; what is taken out is of its stage"
    start: I64
    "(L + N + 1,) first axis of each tensor"
    axis: I64
    "variable"
    union_start: I64
    "(N + 1,)"
    union: I64
    "the variables of both tensors of a node"
    is_kept: U8
    "1: an axis of the node; 0: taken out"
    component: I64
    "(C + 1,) first node of each component"


class Tree(NamedTuple):
    """Nodes with the loops of their contractions, over tables with all entries."""

    x: I64
    "(N,) larger of the two tensors"
    y: I64
    "(N,) the other; -1: x alone"
    above: I64
    "(N,) node that joins this one to another; -1 at the root of a component"
    axis_start: I64
    "(N + 1,)"
    axis_variable: I64
    "the variables of both, in the order of the node's own axes"
    axis_kept: U8
    "1: an axis of the node; 0: taken out"
    axis_x: I64
    "stride in x, 0 where it lacks the axis"
    axis_y: I64
    due: I64
    "(N,) variable that made two tensors be joined; what is taken out is of its stage"
    size: I64
    "(L + N,) elements of each tensor"
    place: I64
    "(N,) where it lies among the nodes of its component"
    room: I64
    "(C,) elements of all nodes of a component"
    component: I64
    "(C + 1,) first node of each component"
    loop_start: I64
    "(3, N) where the loops of a node begin: up, to x, to y"
    loop: I64
    work: F64
    "(N,) products that a node takes, each way"
    total: Total


class Total(NamedTuple):
    """Sums and maxima over a tree."""

    work: F64
    "(C,) of the nodes of each component"
    products: float
    "of all nodes"
    widest: float
    "largest work of a node; 1 where there is none"
    largest: int
    "elements of the largest tensor, at least 1"
    room: int
    "largest room of a component"


BEST_PAIR = 8
"tensors up to which all pairs are looked at; of more, the two smallest are joined"


@kernel(NOTHING, READ_I8, READ_I8, I8, INTEGER, READ_I8, F8, I8, I8)
def pick_pair(states, axis, bucket, m, start, size, mark, picked):  # type: ignore[no-untyped-def]
    """Let `picked` be the places in bucket[:m] of the two tensors whose union is smallest.

    `mark` (V + 1,) is working space; its last element counts how often it was used.
    """
    last = len(mark) - 1
    picked[0], picked[1] = 0, 1
    if m > BEST_PAIR:
        if size[bucket[1]] < size[bucket[0]]:
            picked[0], picked[1] = 1, 0
        for j in range(2, m):
            if size[bucket[j]] < size[bucket[picked[0]]]:
                picked[1] = picked[0]
                picked[0] = j
            elif size[bucket[j]] < size[bucket[picked[1]]]:
                picked[1] = j
        return
    if m <= 2:
        return
    least = np.inf
    for j in range(m):
        one = bucket[j]
        mark[last] += 1
        for i in range(start[one], start[one + 1]):
            mark[axis[i]] = mark[last]
        for k in range(j + 1, m):
            two = bucket[k]
            union = size[one]
            for i in range(start[two], start[two + 1]):
                if mark[axis[i]] != mark[last]:
                    union *= states[axis[i]]
            if union < least:
                least = union
                picked[0], picked[1] = j, k


@kernel(
    INTEGER, READ_I8, READ_I8, READ_I8, READ_I8, READ_U1, I8, I8, F8, I8, I8, I8, I8, I8, I8, I8, I8, I8, I8, U1, I8,
)  # fmt: skip
def join_tensors(  # type: ignore[no-untyped-def]
    leaf_start, leaf_variable, states, order, stage, axis, start, size, head, link, linked, holders, mark, bucket,
    node_x, node_y, union_start, union, is_kept, node_due,
):  # fmt: skip
    """Write the nodes, and return how many; -1 where `axis` or `union` has no room for more.

    Tensor t has the axes axis[start[t]:start[t + 1]] and `size` entries, -1 once it was joined. `head` (V,), `link` and
    `linked` list the tensors that hold each variable, `holders` (V,) how many; `mark` (V + 1,) and `bucket` are working
    space.
    """
    n_leaves = len(leaf_start) - 1
    room = len(axis)
    mark[:] = 0
    for v in range(len(states)):
        head[v] = -1
        holders[v] = 0
    links = 0
    start[0] = 0
    for t in range(n_leaves):
        size[t] = 1.0
        for i in range(leaf_start[t], leaf_start[t + 1]):
            v = leaf_variable[i]
            axis[i] = v
            size[t] *= states[v]
            link[links], linked[links] = head[v], t
            head[v] = links
            links += 1
            holders[v] += 1
        start[t + 1] = leaf_start[t + 1]
    at = leaf_start[n_leaves]
    nodes = 0
    unions = 0
    picked = np.empty(2, np.int64)
    union_start[0] = 0
    for v in order:
        m = 0
        i = head[v] if holders[v] > 0 else -1
        while i >= 0:
            if size[linked[i]] > 0.0:
                bucket[m] = linked[i]
                m += 1
            i = link[i]
        while m > 0:
            pick_pair(states, axis, bucket, m, start, size, mark, picked)
            one, two = picked[0], picked[1]
            x = bucket[one]
            y = bucket[two] if m > 1 else -1
            if y >= 0 and size[y] > size[x]:
                x, y = y, x
            node = n_leaves + nodes
            wide = start[x + 1] - start[x] + (start[y + 1] - start[y] if y >= 0 else 0)
            if at + wide > room or unions + wide > len(union):
                return -1
            first = unions
            mark[len(mark) - 1] += 1
            stamp = mark[len(mark) - 1]
            for i in range(start[x], start[x + 1]):
                mark[axis[i]] = stamp
                holders[axis[i]] -= 1
            if y >= 0:
                for i in range(start[y], start[y + 1]):
                    holders[axis[i]] -= 1
                    if mark[axis[i]] != stamp:
                        union[unions] = axis[i]
                        unions += 1
            for i in range(start[x], start[x + 1]):
                union[unions] = axis[i]
                unions += 1
            size[node] = 1.0
            size[x] = -1.0
            if y >= 0:
                size[y] = -1.0
            for i in range(first, unions):
                u = union[i]
                is_kept[i] = 0 if holders[u] == 0 and stage[u] == stage[v] else 1
                if is_kept[i] == 1:
                    axis[at] = u
                    at += 1
                    size[node] *= states[u]
                    holders[u] += 1
                    link[links], linked[links] = head[u], node
                    head[u] = links
                    links += 1
            node_x[nodes], node_y[nodes], node_due[nodes] = x, y, v
            nodes += 1
            start[node + 1] = at
            union_start[nodes] = unions
            if m <= 2:
                break
            bucket[min(one, two)] = node
            bucket[max(one, two)] = bucket[m - 1]
            m -= 1
    return nodes


@kernel(NOTHING, READ_I8, READ_I8, READ_I8, READ_I8, I8, I8, I8)
def lay_tensors(states, axis, start, leaf_stride, number, row, size):  # type: ignore[no-untyped-def]
    """Strides of the axes of all tensors: in their numbers, and in messages to them, which lie in C order; sizes."""
    for t in range(len(start) - 1):
        step = 1
        for i in range(start[t + 1] - 1, start[t] - 1, -1):
            row[i] = step
            number[i] = leaf_stride[i] if i < len(leaf_stride) else step
            step *= states[axis[i]]
        size[t] = step


@kernel(NOTHING, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, I8, I8)
def spread_axes(axis, start, tensor, stride, union_start, union, place, out):  # type: ignore[no-untyped-def]
    """Strides of tensor[n] along the axes of the union of node n, 0 where it lacks one; `place` (V,) enters as 0."""
    for n in range(len(tensor)):
        t = tensor[n]
        if t >= 0:
            for i in range(start[t], start[t + 1]):
                place[axis[i]] = stride[i]
        for i in range(union_start[n], union_start[n + 1]):
            out[i] = place[union[i]]
        if t >= 0:
            for i in range(start[t], start[t + 1]):
                place[axis[i]] = 0


@kernel(NOTHING, READ_I8, READ_I8, INTEGER, I8, I8, I8)
def sort_nodes(x, y, leaves, order, parent, stack):  # type: ignore[no-untyped-def]
    """Let `order` (N,) be the nodes such that those below a node come right before it; `parent` (N,), -1 for roots."""
    for n in range(len(x)):
        parent[n] = -1
    for n in range(len(x)):
        if x[n] >= leaves:
            parent[x[n] - leaves] = n
        if y[n] >= leaves:
            parent[y[n] - leaves] = n
    # Backwards: a node, then what is below it.
    at = len(x)
    for root in range(len(x) - 1, -1, -1):
        if parent[root] >= 0:
            continue
        depth = 1
        stack[0] = root
        while depth > 0:
            depth -= 1
            n = stack[depth]
            at -= 1
            order[at] = n
            if x[n] >= leaves:
                stack[depth] = x[n] - leaves
                depth += 1
            if y[n] >= leaves:
                stack[depth] = y[n] - leaves
                depth += 1


def join_leaves(leaves: Leaves, states: I64, order: I64, stage: U8) -> Nodes:
    """The nodes of an order of elimination, whatever their tables would take.

    Parameters
    ----------
    states : (V,) of all variables; those in no leaf are left out
    order : variables, first eliminated first, those of one component together
    stage : (V,) what a node takes out is of one stage; `order` has all of stage 0 of a component before stage 1
    """
    n_leaves, n = len(leaves.start) - 1, len(states)
    most = n_leaves + n
    room = 4 * len(leaves.variable) + 64
    while True:
        axis, union, link, linked = (np.empty(room, np.int64) for _ in range(4))
        is_kept = np.empty(room, np.uint8)
        start, bucket, size = np.zeros(n_leaves + most + 1, np.int64), np.empty(most, np.int64), np.empty(2 * most)
        node_x, node_y, node_due = (np.empty(most, np.int64) for _ in range(3))
        union_start = np.zeros(most + 1, np.int64)
        head, holders, mark = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n + 1, np.int64)
        count = join_tensors(
            leaves.start, leaves.variable, states, order, stage, axis, start, size, head, link, linked, holders, mark,
            bucket, node_x, node_y, union_start, union, is_kept, node_due,
        )  # fmt: skip
        if count >= 0:
            break
        room *= 2
    nodes, parent = np.empty(count, np.int64), np.empty(count, np.int64)
    sort_nodes(node_x[:count], node_y[:count], n_leaves, nodes, parent, np.empty(count + 1, np.int64))
    number_of = np.empty(n_leaves + count, np.int64)
    number_of[:n_leaves], number_of[n_leaves + nodes] = np.arange(n_leaves), n_leaves + np.arange(count)
    above = np.where(parent >= 0, number_of[n_leaves + parent] - n_leaves, -1)[nodes]
    x, y = node_x[nodes], node_y[nodes]
    union_start, picked = _rows(union_start[: count + 1], nodes)
    start, chosen = _rows(start[: n_leaves + count + 1], np.concatenate([np.arange(n_leaves), n_leaves + nodes]))
    return Nodes(
        number_of[x], np.where(y >= 0, number_of[y], -1), above, node_due[nodes], start, axis[chosen], union_start,
        union[picked], is_kept[picked], np.append(0, np.flatnonzero(above < 0) + 1),
    )  # fmt: skip


def grow_tree(leaves: Leaves, states: I64, order: I64, stage: U8) -> Tree:
    """The tree of an order of elimination, of tables with all entries. Parameters as in `join_leaves`."""
    n_leaves, n = len(leaves.start) - 1, len(states)
    nodes = join_leaves(leaves, states, order, stage)
    x, y, start, axis, union_start, union = nodes.x, nodes.y, nodes.start, nodes.axis, nodes.union_start, nodes.union
    first, count = nodes.component, len(nodes.x)
    used = len(union)
    number, row = np.empty(len(axis), np.int64), np.empty(len(axis), np.int64)
    sizes = np.empty(n_leaves + count, np.int64)
    lay_tensors(states, axis, start, leaves.stride, number, row, sizes)
    own = n_leaves + np.arange(count)
    place = np.zeros(n, np.int64)

    def along(tensor: I64, stride: I64) -> I64:
        out = np.empty(used, np.int64)
        spread_axes(axis, start, tensor, stride, union_start, union, place, out)
        return out

    axis_x, axis_y, axis_own = along(x, number), along(y, number), along(own, row)
    loop_start = np.empty((3, count), np.int64)
    loop = np.empty(3 * (LOOP_FIELDS * (used + 2 * count) + LOOP_HEADER * count), np.int64)
    at = 0
    roles = (axis_own, axis_x, axis_y), (along(x, row), axis_y, axis_own), (along(y, row), axis_x, axis_own)
    for role, strides in enumerate(roles):
        at = write_loops(states, union_start, union, *strides, loop_start[role], loop, at)
    total = np.concatenate([[0], np.cumsum(sizes[n_leaves:])])
    logs = np.concatenate([[0.0], np.cumsum(np.log2(states[union]))])
    work, room = np.rint(np.exp2(logs[union_start[1:]] - logs[union_start[:-1]])), np.diff(total[first])
    of_component = np.add.reduceat(work, first[:-1]) if count else np.zeros(0)
    in_all = Total(
        of_component, float(work.sum()), float(work.max(initial=1.0)), int(sizes.max(initial=1)),
        int(room.max(initial=0)),
    )  # fmt: skip
    return Tree(
        x, y, nodes.above, union_start, union, nodes.is_kept, axis_x, axis_y, nodes.due, sizes,
        total[:-1] - np.repeat(total[first[:-1]], np.diff(first)), room, first, loop_start, loop[:at].copy(), work,
        in_all,
    )  # fmt: skip


def _rows(start: I64, chosen: I64) -> tuple[I64, I64]:
    """Rows of a ragged array in another order: where they begin then, and which elements they are."""
    length = np.diff(start)[chosen]
    found = np.concatenate([[0], np.cumsum(length)])
    return found, np.arange(found[-1]) + np.repeat(start[chosen] - found[:-1], length)
