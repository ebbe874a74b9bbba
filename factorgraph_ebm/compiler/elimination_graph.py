"""A graph from which variables are eliminated: a row of numbers for each, lists of neighbours, and who knows whom.

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
"m of fill: 1, or the states; see `elimination_kernels`"
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
MOST = 256
"variables of one bucket: more are refused whatever their states"
MATRIX = 4096
"variables up to which neighbours are asked of a matrix of bits"


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
