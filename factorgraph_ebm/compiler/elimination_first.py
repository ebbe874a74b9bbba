"""A first order of elimination, found in one pass: the variable of the lightest bucket goes next.

Where that order is cheap no better one is looked for, and where it is hopeless none is. A bucket is not stored as
edges but by the lists that cover it: those of factors, and one that each elimination leaves in the place of all that
held its variable (A. George and J. W. H. Liu, "The evolution of the minimum degree ordering algorithm", SIAM Review
31, 1989). So the memory grows with the graph alone, and the kernel compiles in a moment.

A variable with very many lists is read again with each neighbour that goes. Operations are counted, and a component
that takes more than it should is given up here.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import F8, I8, INTEGER, NOTHING, READ_I8, READ_U1, REAL, U1, kernel
from factorgraph_ebm.arrays import F64, I64, U8
from factorgraph_ebm.compiler.elimination_components import Components
from factorgraph_ebm.compiler.elimination_graph import MOST, ONE
from factorgraph_ebm.compiler.elimination_kernels import GONE, smallest_key, write_key
from factorgraph_ebm.compiler.ordering import incidence

LARGE = 8192
"variables of a component from which on a part of it is tried before the whole"
PART = 4096
"variables of that part"
OPERATIONS = 1 << 24
"for a component; as many again for each 2^18 slots of the graph"
ROOM = 32
"variables of the lists that are left, for each variable of the graph; more are refused"


def order_lightly(
    factor_start: I64,
    slot_variable: I64,
    states: I64,
    stage: U8,
    parts: Components,
    like: I64,
    limit: float,
    order: I64,
    entries: F64,
    largest: F64,
) -> None:
    """Order each component that is the first of its kind (`like[c]` is c), as `order_components` does."""
    n_variables, n_slots = len(states), len(slot_variable)
    first, slot = np.zeros(n_variables + 1, np.int64), np.empty(n_slots, np.int64)
    incidence(slot_variable, first, slot)
    factor = np.repeat(np.arange(len(factor_start) - 1), np.diff(factor_start))[slot]
    own = np.rint(np.log2(states) * ONE).astype(np.int64)

    def eliminate(alive: U8, start: I64, member: I64, local: I64, like: I64, *out: I64 | F64) -> None:
        lists = np.zeros((len(factor_start) - 1 + n_variables, 2), np.int64)
        lists[: len(factor_start) - 1] = np.stack([factor_start[:-1], factor_start[1:]], axis=1)
        pool = np.empty(n_slots + ROOM * (n_variables + 1024), np.int64)
        pool[:n_slots] = slot_variable
        widest = int(np.diff(start).max(initial=0))
        eliminate_lightly(
            states, own, stage, first, np.diff(first), factor.copy(), lists.ravel(), pool, alive,
            np.zeros(n_variables, np.int64), start, member, local, like, np.empty(2 * widest + 256, np.int64),
            float(limit), OPERATIONS * (1 + (n_slots >> 18)), *out,
        )  # fmt: skip

    like = like.copy()
    for c in np.flatnonzero((like == np.arange(len(like))) & (np.diff(parts.start) > LARGE)).tolist():
        # No part of a graph is wider than the graph: where the rule fails on a part, the whole is not tried.
        part, alive, local = np.empty(PART, np.int64), np.zeros(n_variables, np.uint8), np.empty(n_variables, np.int64)
        middle = parts.member[(parts.start[c] + parts.start[c + 1]) // 2]
        search_breadth(factor_start, slot_variable, first, factor, middle, alive, part)
        local[part] = np.arange(PART)
        found = np.empty(PART, np.int64), np.empty(1), np.empty(1)
        eliminate(alive, np.array([0, PART]), part, local, np.zeros(1, np.int64), *found)
        if found[1][0] == np.inf:
            entries[c], largest[c], like[c] = np.inf, np.inf, -1
    eliminate(np.ones(n_variables, np.uint8), parts.start, parts.member, parts.local, like, order, entries, largest)
    for c in np.flatnonzero((like < 0) | (like == np.arange(len(like))) & (entries == np.inf)).tolist():
        member = parts.member[parts.start[c] : parts.start[c + 1]]
        order[parts.start[c] : parts.start[c + 1]] = member[np.argsort(stage[member], kind="stable")]


@kernel(NOTHING, READ_I8, READ_I8, READ_I8, READ_I8, INTEGER, U1, I8)
def search_breadth(factor_start, slot_variable, first, held, middle, seen, found):  # type: ignore[no-untyped-def]
    """The variables nearest to `middle`, as many as `found` has, of a component of more. `seen` (V,) enters as 0."""
    found[0] = middle
    seen[middle] = 1
    head = 0
    count = 1
    while head < count:
        v = found[head]
        head += 1
        for i in range(first[v], first[v + 1]):
            for s in range(factor_start[held[i]], factor_start[held[i] + 1]):
                u = slot_variable[s]
                if seen[u] == 0 and count < len(found):
                    seen[u] = 1
                    found[count] = u
                    count += 1


@kernel(
    NOTHING, READ_I8, READ_I8, READ_U1, READ_I8, I8, I8, I8, I8, U1, I8, READ_I8, READ_I8, READ_I8, READ_I8, I8, REAL,
    INTEGER, I8, F8, F8,
)  # fmt: skip
def eliminate_lightly(  # type: ignore[no-untyped-def]
    states, own, stage, first, length, held, lists, pool, alive, mark, start, member, local, like, keys, limit, budget,
    order, entries, largest,
):  # fmt: skip
    """Eliminate the `alive` variables of each component c where `like[c]` is c; all others are absent.

    `held[first[v]:][:length[v]]` are the lists of v, `pool[lists[2 i]:lists[2 i + 1]]` the variables of list i, empty
    once it was joined to others; list F + v is what v leaves. `own` is log2 of the states in fixed point; `mark` (V,)
    enters as 0, and `keys` is working space. Writes `order`, `entries` and `largest`, +inf where it gives up.
    """
    n_factors = len(lists) // 2 - len(states)
    used = 0
    for f in range(n_factors):
        used = max(used, lists[2 * f + 1])
    stamp = 0
    for c in range(len(like)):
        if like[c] != c:
            continue
        n = start[c + 1] - start[c]
        blocks = (n + 63) // 64
        tops = (blocks + 63) // 64
        key, low, top = keys[: blocks * 64], keys[blocks * 64 :][: tops * 64], keys[blocks * 64 + tops * 64 :][:tops]
        for i in range(blocks * 64 + tops * 65):
            keys[i] = GONE
        cost = 0
        entries[c] = 0.0
        largest[c] = 0.0
        # First all are weighed, then those around each that goes.
        for count in range(-1, n):
            clique = used
            around = 0
            if count >= 0:
                v = member[start[c] + smallest_key(key, low, top)]
                order[start[c] + count] = v
                write_key(key, low, top, local[v], np.int64(GONE))
                alive[v] = 0
                stamp += 1
                product = float(states[v])
                for i in range(first[v], first[v] + length[v]):
                    item = 2 * held[i]
                    for s in range(lists[item], lists[item + 1]):
                        u = pool[s]
                        if mark[u] != stamp and alive[u] == 1 and used < len(pool):
                            mark[u] = stamp
                            pool[used] = u
                            used += 1
                            around += own[u]
                            product *= states[u]
                    lists[item + 1] = 0
                entries[c] += product
                largest[c] = max(largest[c], product)
                fits = product <= limit and product < np.inf and used - clique < MOST
                if not (fits and used < len(pool) and cost <= budget):
                    entries[c] = np.inf
                    largest[c] = np.inf
                    break
                lists[2 * (n_factors + v)] = clique
                lists[2 * (n_factors + v) + 1] = used
            for i in range(n if count < 0 else used - clique):
                u = member[start[c] + i] if count < 0 else pool[clique + i]
                stamp += 1
                mark[u] = stamp
                for j in range(clique, used):
                    mark[pool[j]] = stamp
                weight = own[u] if count < 0 else around
                kept = first[u]
                for j in range(first[u], first[u] + length[u]):
                    item = held[j]
                    begin, end = lists[2 * item], lists[2 * item + 1]
                    more = False
                    for s in range(begin, end):
                        w = pool[s]
                        if mark[w] != stamp and alive[w] == 1:
                            mark[w] = stamp
                            weight += own[w]
                            more = True
                    cost += 1 + max(0, end - begin)
                    # What holds no more than the others do is dropped.
                    if more:
                        held[kept] = item
                        kept += 1
                if used > clique + 1:
                    # A list of u held what goes, and was dropped just now: there is room for the one that is left.
                    held[kept] = n_factors + v
                    kept += 1
                length[u] = kept - first[u]
                cost += used - clique
                write_key(key, low, top, local[u], (np.int64(stage[u]) << 54) + weight)
