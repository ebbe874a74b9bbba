"""Orders of elimination: in which order to take variables out of a graph, so that the tables on the way stay small.

Eliminating v joins the factors that mention it into its *bucket*, a table over v and its neighbours, and makes these
neighbours of each other. The work of exact inference is the sum of the entries of all buckets, its memory the largest
(R. Dechter, "Bucket elimination: a unifying framework for reasoning", Artificial Intelligence 113, 1999). The best
order is NP-hard to find; `elimination_search` looks for a good one, component by component.

Components that are alike, one the copy of another, are ordered once: a list of ten thousand chains has few lengths.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from factorgraph_ebm._jit import F8, I8, INTEGER, NOTHING, READ_I8, READ_U1, REAL, inlined, kernel
from factorgraph_ebm.arrays import F64, I64, U8
from factorgraph_ebm.compiler.elimination_graph import MOST, filled
from factorgraph_ebm.compiler.elimination_search import order_components
from factorgraph_ebm.compiler.ordering import label_components


class Elimination(NamedTuple):
    """An order of V variables in C components, and what it costs."""

    order: I64
    "(V,) variables, first eliminated first; those of a component lie together, components by their smallest variable"
    start: I64
    "(C + 1,) first place of each component in `order`"
    entries: F64
    "(C,) sum of the entries of the buckets; +inf where one exceeds the limit"
    width: F64
    "(C,) log2 of the entries of the largest bucket; +inf there too"


class Components(NamedTuple):
    """Variables and factors component by component; C components by their smallest variable."""

    component: I64
    "(V,) number of the component"
    start: I64
    "(C + 1,) into `member`"
    member: I64
    "(V,) variables, ascending within a component"
    local: I64
    "(V,) place of each variable among those of its component"
    own_start: I64
    "(C + 1,) into `own`"
    own: I64
    "(F,) factors, ascending within a component; those over no variable come last, in none"


def find_order(
    factor_start: I64,
    slot_variable: I64,
    states: I64,
    stage: U8 | None = None,
    *,
    limit: float = 2.0**28,
    effort: float = 1.0,
) -> Elimination:
    """Look for an order of few entries.

    Parameters
    ----------
    factor_start : (F + 1,), first slot of each factor
    slot_variable : (S,), variable of each slot; a variable may fill several slots of a factor
    states : (V,), at least 1
    stage : (V,); variables of a stage are eliminated before any of a later one. None: all alike
    limit : entries of the largest bucket; a component where no rule stays within it (or within 256 variables of one
        bucket) is given up: its entries are +inf, and its order is any that respects the stages
    effort : a component is tried again until that has cost `effort` times the entries of its best order, in operations

    Examples
    --------
    A loop of four variables: one diagonal is filled in, so the largest bucket holds three variables.

    >>> import numpy as np
    >>> edges = np.array([0, 1, 1, 2, 2, 3, 3, 0])
    >>> found = find_order(np.arange(0, 9, 2), edges, np.full(4, 2))
    >>> found.entries, found.width
    (array([22.]), array([3.]))
    """
    stage = np.zeros(len(states), np.uint8) if stage is None else stage
    parts = find_components(factor_start, slot_variable, len(states))
    n = len(parts.start) - 1
    like = np.arange(n)
    if n > 1:
        size = 1 << int(2 * n).bit_length()
        working = np.full(size, -1), like, np.empty(n, np.int64)
        find_alike(factor_start, slot_variable, states, stage, *parts[1:], *working)
    order, entries, largest = np.empty(len(states), np.int64), np.empty(n), np.empty(n)
    order_components(
        factor_start, slot_variable, states, stage, *parts[1:], like, float(limit), float(effort),
        order, entries, largest,
    )  # fmt: skip
    if n > 1:
        copy_orders(*parts[1:4], like, order, entries, largest)
    return Elimination(order, parts.start, entries, np.log2(largest))


def known_order(
    factor_start: I64, slot_variable: I64, states: I64, order: I64, *, limit: float = 2.0**28
) -> Elimination:
    """What a given `order` (V,) costs, its components sorted as those of `find_order`.

    Examples
    --------
    A star whose centre is eliminated first: all its leaves become neighbours.

    >>> import numpy as np
    >>> edges = np.array([0, 1, 0, 2, 0, 3])
    >>> known_order(np.arange(0, 7, 2), edges, np.full(4, 2), np.arange(4)).width
    array([4.])
    >>> known_order(np.arange(0, 7, 2), edges, np.full(4, 2), np.array([1, 2, 3, 0])).width
    array([2.])
    """
    parts = find_components(factor_start, slot_variable, len(states))
    n = len(parts.start) - 1
    grouped, entries, largest = np.empty(len(states), np.int64), np.zeros(n), np.zeros(n)
    eliminate_in_order(
        factor_start, slot_variable, states, np.ascontiguousarray(order, np.int64), parts.component, parts.start.copy(),
        float(limit), grouped, entries, largest,
    )  # fmt: skip
    return Elimination(grouped, parts.start, entries, np.log2(largest))


def find_components(factor_start: I64, slot_variable: I64, n_variables: int) -> Components:
    component = np.empty(n_variables, np.int64)
    label_components(factor_start, slot_variable, component)
    working = np.zeros(n_variables + 1, np.int64), np.zeros(n_variables + 1, np.int64)
    member, local, own = (np.empty(size, np.int64) for size in (n_variables, n_variables, len(factor_start) - 1))
    n = gather_components(factor_start, slot_variable, component, *working, member, local, own)
    start, own_start = (w[: n + 1] for w in working)
    return Components(component, start, member, local, own_start, own)


@kernel(INTEGER, READ_I8, READ_I8, I8, I8, I8, I8, I8, I8)
def gather_components(factor_start, slot_variable, component, start, own_start, member, local, own):  # type: ignore[no-untyped-def]
    """Number the components; `component` (V,) enters as labels, `start` and `own_start` (V + 1,) as zeros."""
    n = 0
    for v in range(len(component)):
        # A label is the smallest variable of its component, so its number is known when it is met.
        if component[v] == v:
            component[v] = n
            n += 1
        else:
            component[v] = component[component[v]]
        c = component[v]
        local[v] = start[c + 1]
        start[c + 1] += 1
    for c in range(n):
        start[c + 1] += start[c]
    for v in range(len(component)):
        member[start[component[v]] + local[v]] = v
    n_factors = len(factor_start) - 1
    for f in range(n_factors):
        if factor_start[f + 1] > factor_start[f]:
            own_start[component[slot_variable[factor_start[f]]] + 1] += 1
    for c in range(n):
        own_start[c + 1] += own_start[c]
    last = own_start[n]
    for f in range(n_factors):
        if factor_start[f + 1] > factor_start[f]:
            c = component[slot_variable[factor_start[f]]]
            own[own_start[c]] = f
            own_start[c] += 1
        else:
            own[last] = f
            last += 1
    for c in range(n, 0, -1):
        own_start[c] = own_start[c - 1]
    own_start[0] = 0
    return n


@inlined
def is_copy(factor_start, slot_variable, states, stage, start, member, local, own_start, own, c, d):  # type: ignore[no-untyped-def]
    if start[c + 1] - start[c] != start[d + 1] - start[d]:
        return False
    if own_start[c + 1] - own_start[c] != own_start[d + 1] - own_start[d]:
        return False
    for i in range(start[c + 1] - start[c]):
        u, v = member[start[c] + i], member[start[d] + i]
        if states[u] != states[v] or stage[u] != stage[v]:
            return False
    for i in range(own_start[c + 1] - own_start[c]):
        f, g = own[own_start[c] + i], own[own_start[d] + i]
        if factor_start[f + 1] - factor_start[f] != factor_start[g + 1] - factor_start[g]:
            return False
        for s in range(factor_start[f + 1] - factor_start[f]):
            if local[slot_variable[factor_start[f] + s]] != local[slot_variable[factor_start[g] + s]]:
                return False
    return True


@kernel(NOTHING, READ_I8, READ_I8, READ_I8, READ_U1, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, I8, I8, I8)
def find_alike(  # type: ignore[no-untyped-def]
    factor_start, slot_variable, states, stage, start, member, local, own_start, own, table, like, hashes
):  # fmt: skip
    """`like[c]` becomes the first component that c is a copy of, variable by variable and factor by factor.

    `table` (a power of two above 2 C) enters as -1: a hash table of the components that are copies of none.
    """
    for c in range(len(like)):
        h = start[c + 1] - start[c]
        for i in range(start[c], start[c + 1]):
            v = member[i]
            # At most 31 bits times 31 bits: no product exceeds an integer.
            h = (h * 1103515245 + states[v] * 2 + stage[v] + 12345) & 0x7FFFFFFF
        for i in range(own_start[c], own_start[c + 1]):
            f = own[i]
            h = (h * 1103515245 + factor_start[f + 1] - factor_start[f] + 12345) & 0x7FFFFFFF
            for s in range(factor_start[f], factor_start[f + 1]):
                h = (h * 1103515245 + local[slot_variable[s]] + 12345) & 0x7FFFFFFF
        hashes[c] = h
        at = (h ^ (h >> 13)) & (len(table) - 1)
        like[c] = c
        while table[at] >= 0:
            d = table[at]
            if hashes[d] == h and is_copy(
                factor_start, slot_variable, states, stage, start, member, local, own_start, own, c, d
            ):
                like[c] = d
                break
            at = (at + 1) & (len(table) - 1)
        if like[c] == c:
            table[at] = c


@kernel(NOTHING, READ_I8, READ_I8, READ_I8, READ_I8, I8, F8, F8)
def copy_orders(start, member, local, like, order, entries, largest):  # type: ignore[no-untyped-def]
    """Give each component the order of the one that it is like."""
    for c in range(len(like)):
        d = like[c]
        if d != c:
            entries[c] = entries[d]
            largest[c] = largest[d]
            for i in range(start[c + 1] - start[c]):
                order[start[c] + i] = member[start[c] + local[order[start[d] + i]]]


@kernel(NOTHING, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, I8, REAL, I8, F8, F8)
def eliminate_in_order(  # type: ignore[no-untyped-def]
    factor_start, slot_variable, states, order, component, begin, limit, grouped, entries, largest
):  # fmt: skip
    """Write `grouped` (V,), `order` component by component, and the entries of the buckets; `begin` (C + 1,) is lost.

    Each factor, and what each elimination leaves, waits at the variable of it that is eliminated first.
    """
    n = len(order)
    n_factors = len(factor_start) - 1
    place = np.empty(n, np.int64)
    for i in range(n):
        place[order[i]] = i
        c = component[order[i]]
        grouped[begin[c]] = order[i]
        begin[c] += 1
    head = filled(n, np.int64(-1))
    then = np.empty(n_factors + n, np.int64)
    for f in range(n_factors):
        if factor_start[f + 1] > factor_start[f]:
            first = slot_variable[factor_start[f]]
            for s in range(factor_start[f], factor_start[f + 1]):
                if place[slot_variable[s]] < place[first]:
                    first = slot_variable[s]
            then[f] = head[first]
            head[first] = f
    left = np.empty(1024, np.int64)
    left_start = np.empty(n + 1, np.int64)
    left_start[0] = 0
    seen = filled(n, np.int64(-1))
    for i in range(n):
        v = order[i]
        c = component[v]
        at = left_start[i]
        left_start[i + 1] = at
        if entries[c] == np.inf:
            continue
        product = float(states[v])
        seen[v] = i
        first = v
        different = 1
        item = head[v]
        while item >= 0:
            is_factor = item < n_factors
            begins = factor_start[item] if is_factor else left_start[item - n_factors]
            size = (factor_start[item + 1] if is_factor else left_start[item - n_factors + 1]) - begins
            if at + size > len(left):
                larger = np.empty(2 * (at + size), np.int64)
                for s in range(at):
                    larger[s] = left[s]
                left = larger
            for s in range(size):
                u = slot_variable[begins + s] if is_factor else left[begins + s]
                if seen[u] != i:
                    seen[u] = i
                    left[at] = u
                    at += 1
                    different += 1
                    product *= states[u]
                    if first == v or place[u] < place[first]:
                        first = u
            item = then[item]
        entries[c] += product
        largest[c] = max(largest[c], product)
        if not (product <= limit and product < np.inf and different <= MOST):
            entries[c] = np.inf
            largest[c] = np.inf
            continue
        left_start[i + 1] = at
        if first != v:
            then[n_factors + i] = head[first]
            head[first] = n_factors + i
