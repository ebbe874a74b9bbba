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

Neighbours are lists in one pool, from which the eliminated are struck when next they are read, so a hub costs nothing
while its leaves go. Whether two variables are neighbours is asked of a matrix of bits where they are few, else of a
hash table. Everything is an integer, logarithms in fixed point too, so nothing drifts.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import inlined

# Columns of `node`, one row of int64 for each variable.
STATES = 0
OWN = 1
"log2 of its states, in fixed point"
TIMES = 2
"m above"
STAGE = 3
ALIVE = 4
BEGIN = 5
"of its neighbours in the pool"
LENGTH = 6
"of that list, with the eliminated that are not struck yet"
ROOM = 7
"of that list"
DEGREE = 8
FILL = 9
"-1: not known, its bucket is too large"
WEIGHT = 10
"log2 of the entries of its bucket, in fixed point"
TOTAL = 11
"sum of m over its neighbours"
STAMP = 12
COLUMNS = 13

ONE = 1 << 20
"1 in fixed point"
UNIT = 1 << 10
"of fill, in keys; random numbers below it break ties alone"
MOST = 256
"variables of one bucket: more are refused whatever their states"
MATRIX = 4096
"variables up to which neighbours are asked of a matrix of bits"
HEAVY = (1 << 54) - 1
"key of a bucket that is too large; keys of later stages are larger by multiples of HEAVY + 1"
GONE = (1 << 63) - 1

# Rules.
SIMPLICIAL = 0
"only variables without fill"
MIN_FILL = 1
MIN_WEIGHT = 2


@inlined
def filled(size, number):  # type: ignore[no-untyped-def]
    out = np.empty(size, np.int64)
    for i in range(size):
        out[i] = number
    return out


@inlined
def hash_place(edges, a, b):  # type: ignore[no-untyped-def]
    """Where the edge is in the hash table, or the free place where it would be."""
    if a > b:
        a, b = b, a
    wanted = (a << 31) + b + 1
    mixed = ((a * 2654435761) & 0xFFFFFFFF) ^ ((b * 1640531527) & 0xFFFFFFFF)
    at = (mixed ^ (mixed >> 15)) & (len(edges) - 1)
    while edges[at] != 0 and edges[at] != wanted:
        at = (at + 1) & (len(edges) - 1)
    return at, wanted


@inlined
def are_neighbours(edges, words, a, b):  # type: ignore[no-untyped-def]
    if words > 0:
        return (edges[a * words + (b >> 6)] >> (b & 63)) & 1 == 1
    at, wanted = hash_place(edges, a, b)
    return edges[at] == wanted


@inlined
def join(edges, words, a, b):  # type: ignore[no-untyped-def]
    if words > 0:
        edges[a * words + (b >> 6)] |= np.int64(1) << np.int64(b & 63)
        edges[b * words + (a >> 6)] |= np.int64(1) << np.int64(a & 63)
    else:
        at, wanted = hash_place(edges, a, b)
        edges[at] = wanted


@inlined
def with_room(edges, count):  # type: ignore[no-untyped-def]
    """The hash table, or a larger copy where it would be more than half full of `count` edges."""
    if 2 * count <= len(edges):
        return edges
    size = len(edges)
    while size < 4 * count:
        size *= 2
    larger = filled(size, np.int64(0))
    for i in range(len(edges)):
        if edges[i] != 0:
            edge = edges[i] - 1
            at, wanted = hash_place(larger, edge >> 31, edge & 0x7FFFFFFF)
            larger[at] = wanted
    return larger


@inlined
def strike(node, pool, v):  # type: ignore[no-untyped-def]
    """Take the eliminated out of the list of v."""
    if node[v, LENGTH] != node[v, DEGREE]:
        begin = node[v, BEGIN]
        kept = begin
        for i in range(begin, begin + node[v, LENGTH]):
            u = pool[i]
            if node[u, ALIVE] == 1:
                pool[kept] = u
                kept += 1
        node[v, LENGTH] = kept - begin


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
def make_room(node, pool, used, near, degree):  # type: ignore[no-untyped-def]
    """Give each list of `near` room for `degree` more; the pool, or a larger copy, and how much of it is used."""
    needed = 0
    for i in range(degree):
        u = near[i]
        if node[u, LENGTH] + degree > node[u, ROOM]:
            strike(node, pool, u)
            needed += 2 * (node[u, DEGREE] + degree)
    if used + needed > len(pool):
        larger = np.empty(2 * (used + needed), np.int64)
        for i in range(used):
            larger[i] = pool[i]
        pool = larger
    for i in range(degree):
        u = near[i]
        if node[u, LENGTH] + degree > node[u, ROOM]:
            begin = node[u, BEGIN]
            node[u, BEGIN] = used
            node[u, ROOM] = 2 * (node[u, DEGREE] + degree)
            for j in range(node[u, LENGTH]):
                pool[used + j] = pool[begin + j]
            used += node[u, ROOM]
    return pool, used


@inlined
def eliminate_greedily(  # type: ignore[no-untyped-def]
    node, pool, used, edges, words, n_edges, rule, spread, seed, limit, best, sum_, largest, order, spaces,
):  # fmt: skip
    """Eliminate until nothing is left, nothing of the rule is, or the sum of entries is not below `best`.

    `sum_` and `largest` are those of what was eliminated before. Returns both (the sum +inf where no bucket is small
    enough), how many were eliminated, the operations, and the seed for the next.
    """
    n = len(node)
    near, inside, pairs, touched = spaces
    bound = min(limit, best)
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


@inlined
def edges_of(node, pool):  # type: ignore[no-untyped-def]
    """A matrix of bits, or a hash table, of the neighbours in the lists; words of a row (0: hash table); edges."""
    n = len(node)
    n_edges = 0
    for v in range(n):
        n_edges += node[v, DEGREE]
    n_edges //= 2
    words = (n + 63) // 64 if n <= MATRIX else 0
    size = 1024
    while size < 4 * n_edges:
        size *= 2
    edges = filled(n * words if words > 0 else size, np.int64(0))
    for v in range(n):
        for i in range(node[v, BEGIN], node[v, BEGIN] + node[v, DEGREE]):
            if words > 0:
                edges[v * words + (pool[i] >> 6)] |= np.int64(1) << np.int64(pool[i] & 63)
            elif pool[i] > v:
                join(edges, words, v, pool[i])
    return edges, words, n_edges


@inlined
def graph_among(node, pool, chosen, new):  # type: ignore[no-untyped-def]
    """Rows and lists of the graph among the `chosen` variables. `new` (n,) holds -1, and their places in `chosen`."""
    total = 0
    for i in range(len(chosen)):
        new[chosen[i]] = i
        total += node[chosen[i], LENGTH]
    rows = np.empty((len(chosen), COLUMNS), np.int64)
    lists = np.empty(total, np.int64)
    used = 0
    for i in range(len(chosen)):
        v = chosen[i]
        for k in range(COLUMNS):
            rows[i, k] = node[v, k]
        rows[i, BEGIN] = used
        for j in range(node[v, BEGIN], node[v, BEGIN] + node[v, LENGTH]):
            if new[pool[j]] >= 0:
                lists[used] = new[pool[j]]
                used += 1
        rows[i, LENGTH] = used - rows[i, BEGIN]
    weigh(rows, lists)
    return rows, lists


@inlined
def weigh(node, pool):  # type: ignore[no-untyped-def]
    """Fill in what follows from the lists and from STATES, OWN and TIMES; the fill itself when it is asked for."""
    for v in range(len(node)):
        node[v, ALIVE] = 1
        node[v, ROOM] = node[v, LENGTH]
        node[v, DEGREE] = node[v, LENGTH]
        node[v, FILL] = -1
        node[v, STAMP] = 0
        node[v, WEIGHT] = node[v, OWN]
        node[v, TOTAL] = 0
        for i in range(node[v, BEGIN], node[v, BEGIN] + node[v, LENGTH]):
            node[v, WEIGHT] += node[pool[i], OWN]
            node[v, TOTAL] += node[pool[i], TIMES]
