"""Maximum flow in whole numbers, by two trees that grow until they meet.

Y. Boykov and V. Kolmogorov, "An experimental comparison of min-cut/max-flow algorithms for energy minimization in
vision", IEEE Trans. Pattern Analysis and Machine Intelligence 26(9), 2004. One tree grows from the source and one from
the sink. Where they touch, flow is pushed along the path; nodes whose arc to the tree is full are orphans, and look for
another parent in their tree or leave it. Of a node's distance and whether it still hangs on the root, it is known when
(`STAMP`) that was looked up. At the end the tree of the source is what the source still reaches: of all minimum cuts
the one with the fewest nodes on its side.

One array has what is asked of a node (its parent arc, stamp, distance, and tree), so that it is one line of the cache.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import I8, INTEGER, NOTHING, READ_I8, READ_U4, READ_U8, U4, kernel

U64 = np.uint64
ZERO, ONE, TWO, FOUR = U64(0), U64(1), U64(2), U64(4)
STAMP, DISTANCE, TREE = U64(1), U64(2), U64(3)
"beside the arc to its parent, fields of a node; TREE: 0 of the source, 1 of the sink, and 2 where the node is active"
NONE, ROOT, ORPHAN = np.uint32(0xFFFFFFFF), np.uint32(0xFFFFFFFE), np.uint32(0xFFFFFFFD)
"in the place of the arc to the parent"
SIDE, ACTIVE = np.uint32(1), np.uint32(2)
FAR = np.int64(1 << 40)
TIME, CURRENT, FIRST, WAITING = U64(0), U64(1), U64(2), U64(3)
"fields of the cursor: the present stamp, the node that is looked at, and the queue of active nodes"
LATEST = np.int64(1 << 31)
"stamps begin again after this one"


@kernel(NOTHING, READ_I8, U4, U4, I8)
def begin_flow(excess, node, queue, cursor):  # type: ignore[no-untyped-def]
    """Nodes with an excess hang on the source (positive) or the sink, and are active."""
    waiting = ZERO
    for i in range(len(excess)):
        at = FOUR * U64(i)
        node[at], node[at + STAMP], node[at + DISTANCE], node[at + TREE] = NONE, 0, 0, 0
        if excess[i] != 0:
            node[at], node[at + DISTANCE] = ROOT, 1
            node[at + TREE] = ACTIVE if excess[i] > 0 else ACTIVE | SIDE
            queue[waiting] = np.uint32(i)
            waiting += ONE
    cursor[TIME], cursor[CURRENT], cursor[FIRST], cursor[WAITING] = 0, len(excess), 0, np.int64(waiting)


@kernel(NOTHING, READ_U8, READ_U4, READ_U4, I8, I8)
def cancel_neighbours(start, head, sister, residual, excess):  # type: ignore[no-untyped-def]
    """Push what flows from the source over a single arc to the sink: most of the flow of noisy pictures."""
    for i in range(len(excess)):
        if excess[i] <= 0:
            continue
        for a in range(start[i], start[i + 1]):
            j = head[a]
            least = residual[TWO * a]
            if excess[j] >= 0 or least <= 0:
                continue
            least = excess[i] if excess[i] < least else least
            least = -excess[j] if -excess[j] < least else least
            s = U64(sister[a])
            excess[i] -= least
            excess[j] += least
            residual[TWO * a] -= least
            residual[TWO * a + ONE] += least
            residual[TWO * s] += least
            residual[TWO * s + ONE] -= least
            if excess[i] == 0:
                break


@kernel(INTEGER, READ_U8, READ_U4, READ_U4, I8, I8, U4, U4, U4, I8, INTEGER)
def push_flow(  # type: ignore[no-untyped-def]
    start, head, sister, residual, excess, node, queue, orphans, cursor, budget
):  # fmt: skip
    """Go on until the flow is a maximum or `budget` arcs were looked at; how many were, 0 where nothing was left to do.

    Arcs of node i are start[i] to start[i + 1]. residual[2 a + t] is what can still flow along arc a away from the root
    of tree t. `excess` is what can still flow from the source (positive) or to the sink (negative) directly.
    """
    n = U64(len(excess))
    time, current = cursor[TIME], U64(cursor[CURRENT])
    first, waiting = U64(cursor[FIRST]), U64(cursor[WAITING])
    left, lost = ZERO, ZERO
    work = np.int64(0)
    while work < budget:
        i = current
        if i < n:
            node[FOUR * i + TREE] &= SIDE
            if node[FOUR * i] == NONE:
                i = n
        while i >= n and waiting > ZERO:
            i = U64(queue[first])
            first = first + ONE if first + ONE < n else ZERO
            waiting -= ONE
            node[FOUR * i + TREE] &= SIDE
            if node[FOUR * i] == NONE:
                i = n
        current = n
        if i >= n:
            break
        # Growth.
        at = FOUR * i
        tree = node[at + TREE]
        side = U64(tree)
        stamp, further = node[at + STAMP], node[at + DISTANCE] + np.uint32(1)
        middle = NONE
        for a in range(start[i], start[i + ONE]):
            work += 1
            if residual[TWO * a + side] <= 0:
                continue
            j = U64(head[a])
            near = FOUR * j
            if node[near] == NONE:
                node[near], node[near + STAMP], node[near + DISTANCE] = sister[a], stamp, further
                if node[near + TREE] & ACTIVE == 0:
                    end = first + waiting
                    queue[end if end < n else end - n] = np.uint32(j)
                    waiting += ONE
                node[near + TREE] = tree | ACTIVE
            elif (node[near + TREE] & SIDE) != tree:
                middle = np.uint32(a) if side == ZERO else sister[a]
                break
            elif node[near + STAMP] <= stamp and node[near + DISTANCE] > further:
                node[near], node[near + STAMP], node[near + DISTANCE] = sister[a], stamp, further
        work += 1
        time += 1
        if middle == NONE:
            continue
        node[at + TREE] |= ACTIVE
        current = i
        # Augmentation: along the path from the source over the middle arc to the sink.
        m = U64(middle)
        least = residual[TWO * m]
        for t in range(2):
            side = U64(t)
            i = U64(head[sister[m]]) if t == 0 else U64(head[m])
            p = node[FOUR * i]
            while p != ROOT:
                room = residual[TWO * U64(p) + ONE - side]
                least = room if room < least else least
                i = U64(head[p])
                p = node[FOUR * i]
            room = excess[i] if t == 0 else -excess[i]
            least = room if room < least else least
        s = U64(sister[m])
        residual[TWO * m] -= least
        residual[TWO * m + ONE] += least
        residual[TWO * s] += least
        residual[TWO * s + ONE] -= least
        for t in range(2):
            side = U64(t)
            i = U64(head[s]) if t == 0 else U64(head[m])
            p = node[FOUR * i]
            while p != ROOT:
                work += 1
                q, r = U64(p), U64(sister[p])
                full = residual[TWO * q + ONE - side] - least
                residual[TWO * q + ONE - side] = full
                residual[TWO * q + side] += least
                residual[TWO * r + side] = full
                residual[TWO * r + ONE - side] += least
                if full == 0:
                    node[FOUR * i] = ORPHAN
                    left = left - ONE if left > ZERO else n - ONE
                    orphans[left] = np.uint32(i)
                    lost += ONE
                i = U64(head[q])
                p = node[FOUR * i]
            excess[i] -= least if t == 0 else -least
            if excess[i] == 0:
                node[FOUR * i] = ORPHAN
                left = left - ONE if left > ZERO else n - ONE
                orphans[left] = np.uint32(i)
                lost += ONE
        # Adoption.
        now = np.uint32(time)
        while lost > ZERO:
            i = U64(orphans[left])
            left = left + ONE if left + ONE < n else ZERO
            lost -= ONE
            at = FOUR * i
            tree = node[at + TREE] & SIDE
            toward = ONE - U64(tree)
            best, nearest = NONE, FAR
            for a in range(start[i], start[i + ONE]):
                work += 1
                if residual[TWO * a + toward] <= 0:
                    continue
                j = U64(head[a])
                if node[FOUR * j] == NONE or (node[FOUR * j + TREE] & SIDE) != tree:
                    continue
                # How far is the root along the parents, if it is still there?
                far = np.int64(0)
                k = j
                while True:
                    if node[FOUR * k + STAMP] == now:
                        far += np.int64(node[FOUR * k + DISTANCE])
                        break
                    far += 1
                    p = node[FOUR * k]
                    if p == ROOT:
                        node[FOUR * k + STAMP], node[FOUR * k + DISTANCE] = now, 1
                        break
                    if p == ORPHAN:
                        far = FAR
                        break
                    k = U64(head[p])
                if far >= FAR:
                    continue
                if far < nearest:
                    best, nearest = np.uint32(a), far
                k = j
                while node[FOUR * k + STAMP] != now:
                    work += 1
                    node[FOUR * k + STAMP], node[FOUR * k + DISTANCE] = now, np.uint32(far)
                    far -= 1
                    k = U64(head[node[FOUR * k]])
            node[at] = best
            if best != NONE:
                node[at + STAMP], node[at + DISTANCE] = now, np.uint32(nearest + 1)
                continue
            for a in range(start[i], start[i + ONE]):
                j = U64(head[a])
                near = FOUR * j
                p = node[near]
                if p == NONE or (node[near + TREE] & SIDE) != tree:
                    continue
                if residual[TWO * a + toward] > 0 and node[near + TREE] & ACTIVE == 0:
                    node[near + TREE] |= ACTIVE
                    end = first + waiting
                    queue[end if end < n else end - n] = np.uint32(j)
                    waiting += ONE
                if p != ROOT and p != ORPHAN and U64(head[p]) == i:
                    node[near] = ORPHAN
                    end = left + lost
                    orphans[end if end < n else end - n] = np.uint32(j)
                    lost += ONE
        if time >= LATEST:
            for each in range(n):
                node[FOUR * U64(each) + STAMP] = 0
            time = np.int64(0)
    cursor[TIME], cursor[CURRENT] = time, np.int64(current)
    cursor[FIRST], cursor[WAITING] = np.int64(first), np.int64(waiting)
    return work
