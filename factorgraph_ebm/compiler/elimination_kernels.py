"""Greedy elimination of the variables of one connected graph.

Eliminating v joins its bucket, v and its neighbours N(v), into one table, and makes N(v) a clique. A greedy rule takes
the variable of smallest

    fill      sum over pairs a, b of N(v) that are not neighbours of m(a) m(b); m = 1, or the states ("weighted")
    weight    log2 of the entries of the bucket

where one without fill (a simplicial variable) always goes first, for that is safe: Bodlaender, Koster and van den
Eijkhof, "Preprocessing rules for triangulation of probabilistic networks", Computational Intelligence 21, 2005. The
rules and their repetition with random ties: Fishelson and Geiger, "Optimizing exact genetic linkage computations",
2003; Kask, Gelfand, Otten and Dechter, "Pushing the power of stochastic greedy ordering schemes", AAAI 2011.

Fill is kept exact by differences. When v leaves, N(u) of each neighbour u loses the pairs (v, x), x outside N(v); a
new edge (a, b) takes the pair off each common neighbour, and adds to a the pairs (b, x), x in N(a) but not in N(b).
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import inlined
from factorgraph_ebm.compiler.elimination_graph import (
    ALIVE,
    BEGIN,
    DEGREE,
    FILL,
    LENGTH,
    MOST,
    ONE,
    OWN,
    STAGE,
    STAMP,
    STATES,
    TIMES,
    TOTAL,
    WEIGHT,
    are_neighbours,
    filled,
    join,
    make_room,
    strike,
    with_room,
)

UNIT = 1 << 10
"of fill, in keys; random numbers below it break ties alone"
HEAVY = (1 << 54) - 1
"key of a bucket that is too large; keys of later stages are larger by multiples of HEAVY + 1"
GONE = (1 << 63) - 1

# Rules.
SIMPLICIAL = 0
"only variables without fill"
MIN_FILL = 1
MIN_WEIGHT = 2


@inlined
def count_fill(node, pool, edges, words, v):  # type: ignore[no-untyped-def]
    strike(node, pool, v)
    begin, end = node[v, BEGIN], node[v, BEGIN] + node[v, DEGREE]
    fill = 0
    for i in range(begin, end):
        a = pool[i]
        for j in range(i + 1, end):
            b = pool[j]
            if not are_neighbours(edges, words, a, b):
                fill += node[a, TIMES] * node[b, TIMES]
    node[v, FILL] = fill


@inlined
def key_of(node, pool, edges, words, v, rule, most, noise):  # type: ignore[no-untyped-def]
    """What the rule sorts v by; `most` is the largest weight of a bucket."""
    stage = node[v, STAGE] << 54
    if node[v, WEIGHT] > most or node[v, DEGREE] >= MOST:
        node[v, FILL] = -1
        return stage + HEAVY
    if node[v, FILL] < 0:
        count_fill(node, pool, edges, words, v)
    if node[v, FILL] == 0:
        return stage
    if rule == MIN_WEIGHT:
        return stage + 1 + node[v, WEIGHT] + noise
    return stage + 1 + node[v, FILL] * UNIT + noise


@inlined
def write_key(key, low, top, v, new):  # type: ignore[no-untyped-def]
    """`low` has the smallest of each 64 keys, `top` the smallest of each 64 of these."""
    old = key[v]
    key[v] = new
    b = v >> 6
    t = v >> 12
    if new <= low[b]:
        low[b] = new
        if new < top[t]:
            top[t] = new
    elif old == low[b]:
        smallest = np.int64(GONE)
        for i in range(b << 6, (b + 1) << 6):
            smallest = min(smallest, key[i])
        low[b] = smallest
    else:
        return
    if old == top[t] and low[b] > old:
        smallest = np.int64(GONE)
        for i in range(t << 6, (t + 1) << 6):
            smallest = min(smallest, low[i])
        top[t] = smallest


@inlined
def smallest_key(key, low, top):  # type: ignore[no-untyped-def]
    t = 0
    for i in range(1, len(top)):
        if top[i] < top[t]:
            t = i
    b = t << 6
    while low[b] != top[t]:
        b += 1
    v = b << 6
    while key[v] != top[t]:
        v += 1
    return v


@inlined
def eliminate_greedily(  # type: ignore[no-untyped-def]
    node, pool, used, edges, words, n_edges, rule, spread, seed, limit, far, best, sum_, largest, order, spaces,
):  # fmt: skip
    """Eliminate until nothing is left, nothing of the rule is, or the sum of entries is not below `best`.

    Buckets of more than `far` entries go last, and at one of more than `limit` it ends. Where those beyond the limit
    itself were put off, all that is left would grow, and rules would find less than without one.
    `sum_` and `largest` are those of what was eliminated before. Returns both (the sum +inf where no bucket is small
    enough), how many were eliminated, the operations, and the seed for the next.
    """
    n = len(node)
    near, inside, pairs, touched = spaces
    bound = min(far, best)
    most = np.int64(1) << 40
    if bound < 2.0**MOST:
        # Each logarithm is rounded, so this lets a little more pass; the product decides.
        most = np.int64(np.log2(max(bound, 1.0)) * ONE) + MOST
    key = filled((n + 63) // 64 * 64, np.int64(GONE))
    low = filled((len(key) // 64 + 63) // 64 * 64, np.int64(GONE))
    top = filled(len(low) // 64, np.int64(GONE))
    for v in range(n):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        key[v] = key_of(node, pool, edges, words, v, rule, most, (seed >> 8) * spread >> 23)
        low[v >> 6] = min(low[v >> 6], key[v])
        top[v >> 12] = min(top[v >> 12], key[v])
    cost = 4 * n
    count = 0
    while count < n:
        v = smallest_key(key, low, top)
        if (key[v] & HEAVY) == HEAVY:
            sum_ = np.inf
            break
        if rule == SIMPLICIAL and (key[v] & HEAVY) != 0:
            break
        strike(node, pool, v)
        begin, degree = node[v, BEGIN], node[v, DEGREE]
        entries = float(node[v, STATES])
        all_times = 0
        for i in range(degree):
            near[i] = pool[begin + i]
            entries *= node[near[i], STATES]
            all_times += node[near[i], TIMES]
        if not (entries <= limit and entries < np.inf and sum_ + entries < best):
            sum_ = np.inf
            break
        sum_ += entries
        largest = max(largest, entries)
        order[count] = v
        count += 1
        node[v, ALIVE] = 0
        write_key(key, low, top, v, np.int64(GONE))
        n_pairs = 0
        if node[v, FILL] == 0:
            for i in range(degree):
                inside[i] = all_times - node[near[i], TIMES]
        else:
            for i in range(degree):
                inside[i] = 0
            for i in range(degree):
                a = near[i]
                for j in range(i + 1, degree):
                    b = near[j]
                    if are_neighbours(edges, words, a, b):
                        inside[i] += node[b, TIMES]
                        inside[j] += node[a, TIMES]
                    else:
                        pairs[n_pairs] = (i << 32) + j
                        n_pairs += 1
            cost += degree * degree // 2
        n_touched = degree
        for i in range(degree):
            u = near[i]
            node[u, DEGREE] -= 1
            node[u, WEIGHT] -= node[v, OWN]
            node[u, TOTAL] -= node[v, TIMES]
            if node[u, FILL] >= 0:
                node[u, FILL] -= node[v, TIMES] * (node[u, TOTAL] - inside[i])
            node[u, STAMP] = count
            touched[i] = u
        if n_pairs > 0:
            pool, used = make_room(node, pool, used, near, degree)
            if words == 0:
                edges = with_room(edges, n_edges + n_pairs)
            n_edges += n_pairs
        for p in range(n_pairs):
            a = near[pairs[p] >> 32]
            b = near[pairs[p] & 0xFFFFFFFF]
            if node[a, LENGTH] > node[b, LENGTH]:
                a, b = b, a
            strike(node, pool, a)
            times = node[a, TIMES] * node[b, TIMES]
            common = 0
            begin = node[a, BEGIN]
            for i in range(begin, begin + node[a, DEGREE]):
                w = pool[i]
                if are_neighbours(edges, words, w, b):
                    common += node[w, TIMES]
                    if node[w, FILL] >= 0:
                        node[w, FILL] -= times
                        if node[w, STAMP] != count:
                            node[w, STAMP] = count
                            touched[n_touched] = w
                            n_touched += 1
            cost += node[a, DEGREE] + 4
            for side in range(2):
                if node[a, FILL] >= 0:
                    node[a, FILL] += node[b, TIMES] * (node[a, TOTAL] - common)
                pool[node[a, BEGIN] + node[a, LENGTH]] = b
                node[a, LENGTH] += 1
                node[a, DEGREE] += 1
                node[a, WEIGHT] += node[b, OWN]
                node[a, TOTAL] += node[b, TIMES]
                if side == 0:
                    a, b = b, a
            join(edges, words, a, b)
        cost += 4 * n_touched + len(top) + 40
        for i in range(n_touched):
            u = touched[i]
            seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
            new = key_of(node, pool, edges, words, u, rule, most, (seed >> 8) * spread >> 23)
            if new != key[u]:
                write_key(key, low, top, u, new)
    return sum_, largest, count, cost, seed
