"""The order of one component: what has no fill first, then greedy rules, repeated while that may pay.

Operations are counted, never seconds, so an order does not depend on the machine. Repetitions stop when they have cost
`effort` times the entries of the best order so far: what is searched for costs no more than what it could save.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import F8, I8, NOTHING, READ_I8, READ_U1, REAL, inlined, kernel
from factorgraph_ebm.compiler.elimination_graph import (
    BEGIN,
    COLUMNS,
    DEGREE,
    FILL,
    LENGTH,
    MATRIX,
    MOST,
    ONE,
    OWN,
    STAGE,
    STATES,
    TIMES,
    TOTAL,
    edges_of,
    filled,
    graph_among,
    weigh,
)
from factorgraph_ebm.compiler.elimination_kernels import (
    MIN_FILL,
    MIN_WEIGHT,
    SIMPLICIAL,
    UNIT,
    count_fill,
    eliminate_greedily,
)

RESTARTS = 2000
"of one component at most"
LARGE = 8192
"variables from which on a part is tried before the whole"
PART = 4096
"variables of that part"
HEAVIEST = 1 << 12
"states that count in weighted fill: beyond, sums of products could exceed an integer"
HOPELESS = 64.0
"a component that no rule could order within `limit` is tried again for limit / HOPELESS operations"
NEAR = 16.0
"where a rule orders it within NEAR times the limit, and nothing else did within it, for BUCKETS * limit operations"
BUCKETS = 4.0
"entries of all buckets of such an order, at least, in those of the largest"
FAR = 1024.0
"times the limit: larger buckets go last"


@inlined
def lists_of(first, last, begin, n, member, factor_start, slot_variable, factor, local, states, stage, limit):  # type: ignore[no-untyped-def]
    """Rows and lists of neighbours of one component; whether each of its factors is within `limit`.

    `member[begin:begin + n]` are its variables, `factor[first:last]` its factors.
    """
    node = np.empty((n, COLUMNS), np.int64)
    for i in range(n):
        v = member[begin + i]
        node[i, STATES] = states[v]
        node[i, OWN] = np.int64(np.rint(np.log2(float(states[v])) * ONE))
        node[i, TIMES] = 1
        node[i, STAGE] = stage[v]
        node[i, LENGTH] = 0
    seen = filled(n, np.int64(-1))
    possible = True
    for i in range(first, last):
        f = factor[i]
        entries = 1.0
        different = 0
        for s in range(factor_start[f], factor_start[f + 1]):
            a = local[slot_variable[s]]
            if seen[a] != i:
                seen[a] = i
                entries *= node[a, STATES]
                different += 1
        if not (entries <= limit and entries < np.inf and different <= MOST):
            possible = False
            break
        for s in range(factor_start[f], factor_start[f + 1]):
            node[local[slot_variable[s]], LENGTH] += factor_start[f + 1] - factor_start[f]
    used = 0
    for i in range(n):
        node[i, BEGIN] = used
        used += node[i, LENGTH] if possible else 0
        node[i, LENGTH] = 0
    pool = np.empty(used, np.int64)
    if possible:
        for i in range(first, last):
            f = factor[i]
            for s in range(factor_start[f], factor_start[f + 1]):
                a = local[slot_variable[s]]
                for t in range(factor_start[f], factor_start[f + 1]):
                    b = local[slot_variable[t]]
                    if a != b:
                        pool[node[a, BEGIN] + node[a, LENGTH]] = b
                        node[a, LENGTH] += 1
    # Several factors may join the same two variables.
    for i in range(n):
        seen[i] = -1
    for i in range(n):
        kept = node[i, BEGIN]
        for j in range(node[i, BEGIN], node[i, BEGIN] + node[i, LENGTH]):
            if seen[pool[j]] != i:
                seen[pool[j]] = i
                pool[kept] = pool[j]
                kept += 1
        node[i, LENGTH] = kept - node[i, BEGIN]
    weigh(node, pool)
    return node, pool, possible


@inlined
def part_of(node, pool, size):  # type: ignore[no-untyped-def]
    """The first variables of a search in breadth from the middle one."""
    found = np.empty(size, np.int64)
    seen = filled(len(node), np.int64(0))
    found[0] = len(node) // 2
    seen[found[0]] = 1
    head = 0
    count = 1
    while head < count:
        v = found[head]
        head += 1
        for i in range(node[v, BEGIN], node[v, BEGIN] + node[v, LENGTH]):
            if seen[pool[i]] == 0 and count < size:
                seen[pool[i]] = 1
                found[count] = pool[i]
                count += 1
    return found  # whole: what is connected and larger has as many


@inlined
def copy_rows(node, out):  # type: ignore[no-untyped-def]
    for v in range(len(node)):
        for k in range(COLUMNS):
            out[v, k] = node[v, k]


@inlined
def search(node, pool, limit, effort, known, sum_, largest, spaces, order):  # type: ignore[no-untyped-def]
    """Write the best order found of all variables; its sum of entries (+inf: none within `limit`), and the largest.

    `known`: sum of entries of an order that was found by other means, +inf where none was within `limit`. `sum_` and
    `largest` are those of what was eliminated before.
    """
    n = len(node)
    edges, words, n_edges = edges_of(node, pool)
    unlike = False
    for v in range(n):
        if node[v, DEGREE] < MOST:
            count_fill(node, pool, edges, words, v)
        unlike = unlike or node[v, STATES] != node[0, STATES]
    rules = 3 if unlike else 2
    weighted = np.empty((n, COLUMNS), np.int64)
    copy_rows(node, weighted)
    if unlike:
        for v in range(n):
            weighted[v, TIMES] = min(node[v, STATES], HEAVIEST)
        for v in range(n):
            total = 0
            for i in range(node[v, BEGIN], node[v, BEGIN] + node[v, LENGTH]):
                total += weighted[pool[i], TIMES]
            weighted[v, TOTAL] = total
            weighted[v, FILL] = -1
            if node[v, FILL] >= 0:
                count_fill(weighted, pool, edges, words, v)
    best = np.inf
    best_largest = np.inf
    trial = np.empty(n, np.int64)
    seed = np.int64(20)
    cost = 0
    tried = 0
    hope = limit / HOPELESS if n <= MATRIX else 0.0
    work = np.empty((n, COLUMNS), np.int64)
    work_pool = np.empty(2 * len(pool) + 1024, np.int64)
    work_edges = np.empty(len(edges), np.int64)
    while True:
        if tried >= rules:
            allowed = best if best < np.inf else hope
            if tried >= RESTARTS or cost >= effort * min(allowed, 2.0**62):
                break
        which = tried % rules
        # The second time on, what is nearly as good takes part: more of it each time, and then from the beginning.
        wide = (tried // rules) % 4
        copy_rows(weighted if which == 2 else node, work)
        for i in range(len(pool)):
            work_pool[i] = pool[i]
        for i in range(len(edges)):
            work_edges[i] = edges[i]
        spread = np.int64(1 + wide * (ONE // 4) if which == 1 else max(wide, 1) * UNIT)
        rule = np.int64(MIN_WEIGHT if which == 1 else MIN_FILL)
        most = limit * NEAR if tried < rules and known == np.inf else limit
        found, found_largest, count, spent, seed = eliminate_greedily(
            work, work_pool, len(pool), work_edges, words, n_edges, rule, spread, seed, most, limit * FAR, best, sum_,
            largest, trial, spaces,
        )  # fmt: skip
        cost += spent
        tried += 1
        if found < best and found_largest > limit:
            hope = BUCKETS * limit
        elif found < best:
            best = found
            best_largest = found_largest
            for i in range(n):
                order[i] = trial[i]
    return best, best_largest


@kernel(
    NOTHING, READ_I8, READ_I8, READ_I8, READ_U1, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, REAL, REAL,
    I8, F8, F8,
)  # fmt: skip
def order_components(  # type: ignore[no-untyped-def]
    factor_start, slot_variable, states, stage, start, member, local, own_start, own, like, limit, effort,
    order, entries, largest,
):  # fmt: skip
    """Order each component that is the first of its kind (`like[c]` is c).

    `entries` enters as those of orders that were found by other means, +inf where none was within `limit`.
    `member[start[c]:start[c + 1]]` are the variables of component c, `own[own_start[c]:own_start[c + 1]]` its factors.
    """
    widest = 1
    for c in range(len(start) - 1):
        widest = max(widest, start[c + 1] - start[c])
    spaces = (
        np.empty(MOST, np.int64), np.empty(MOST, np.int64), np.empty(MOST * MOST // 2, np.int64),
        np.empty(widest, np.int64),
    )  # fmt: skip
    for c in range(len(start) - 1):
        if like[c] != c:
            continue
        n = start[c + 1] - start[c]
        node, pool, possible = lists_of(
            own_start[c], own_start[c + 1], start[c], n, member, factor_start, slot_variable, own, local, states, stage,
            limit,
        )  # fmt: skip
        place = np.empty(n, np.int64)
        count = 0
        sum_ = 0.0
        most = 0.0
        if possible and n > LARGE:
            # No part of a graph is wider than the graph: where the rules fail on a part, the whole is not tried.
            new = filled(n, np.int64(-1))
            rows, lists = graph_among(node, pool, part_of(node, pool, PART), new)
            found, _ = search(rows, lists, limit, 0.0, 0.0, 0.0, 0.0, spaces, place)
            possible = found < np.inf
        if possible:
            edges, words, n_edges = edges_of(node, pool)
            sum_, most, count, _, _ = eliminate_greedily(
                node, pool, len(pool), edges, words, n_edges, np.int64(SIMPLICIAL), np.int64(0), np.int64(1), limit,
                limit, np.inf, 0.0, 0.0, place, spaces,
            )  # fmt: skip
            if not sum_ < np.inf:
                possible = False
        if possible and count < n:
            rest = np.empty(n - count, np.int64)
            gone = filled(n, np.int64(0))
            for i in range(count):
                gone[place[i]] = 1
            k = 0
            for v in range(n):
                if gone[v] == 0:
                    rest[k] = v
                    k += 1
            new = filled(n, np.int64(-1))
            rows, lists = graph_among(node, pool, rest, new)
            core = np.empty(len(rest), np.int64)
            sum_, most = search(rows, lists, limit, effort, entries[c], sum_, most, spaces, core)
            if sum_ < np.inf:
                for i in range(len(rest)):
                    place[count + i] = rest[core[i]]
                count = n
            else:
                possible = False
        if not possible:
            sum_ = np.inf
            most = np.inf
            gone = filled(n, np.int64(0))
            for i in range(count):
                gone[place[i]] = 1
            for now in range(256):
                if count == n:
                    break
                for v in range(n):
                    if gone[v] == 0 and node[v, STAGE] == now:
                        place[count] = v
                        count += 1
        entries[c] = sum_
        largest[c] = most
        for i in range(n):
            order[start[c] + i] = member[start[c] + place[i]]
