"""Orders of elimination: in which order to take variables out of a graph, so that the tables on the way stay small.

Eliminating v joins the factors that mention it into its *bucket*, a table over v and its neighbours, and makes these
neighbours of each other. The work of exact inference is the sum of the entries of all buckets, its memory the largest
(R. Dechter, "Bucket elimination: a unifying framework for reasoning", Artificial Intelligence 113, 1999). The best
order is NP-hard to find. `elimination_first` finds one in a moment; where that is dear, an order of small bandwidth
(`scipy`'s, good for long thin graphs) and those of `elimination_search` are tried as well, component by component.

Components that are alike, one the copy of another, are ordered once: a list of ten thousand chains has few lengths.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from factorgraph_ebm._jit import F8, I8, NOTHING, READ_I8, REAL, kernel
from factorgraph_ebm.arrays import F64, I64, U8, Bool
from factorgraph_ebm.compiler.elimination_components import Components, copy_orders, find_components, find_copies
from factorgraph_ebm.compiler.elimination_first import order_lightly
from factorgraph_ebm.compiler.elimination_graph import MOST, filled
from factorgraph_ebm.compiler.elimination_search import order_components

CHEAP = 2.0**14
"entries that take less time than to look for a better order"
BAND = 4.0
"""how much cheaper than the first one Cuthill and McKee's order is of a graph like a band, such as a grid: others are
hardly better there (of 70 models and grids at most 1.45 times), and take long to find, and to compile"""
FAR = 2.0**13
"how much larger than the limit a bucket of the first order may be where there is hope: others are rarely so much less"


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
    searched: bool = False
    "more than the first order and a known one were looked at"


def find_order(
    factor_start: I64,
    slot_variable: I64,
    states: I64,
    stage: U8 | None = None,
    *,
    limit: float = 2.0**28,
    effort: float = 0.25,
    cheap: float = CHEAP,
    hopeful: bool = False,
    known: Callable[[], Known | None] | None = None,
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
        (of which each takes as long as a few products of entries)
    cheap : entries of a component up to which no order but the first is looked for
    hopeful : give up where the first order of a component exceeds FAR times the limit; otherwise others are tried
    known : an order that was found for a graph much like this, if there is one; asked for where the first is dear

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
    like = find_copies(factor_start, slot_variable, states, stage, parts)
    order, entries, largest = np.empty(len(states), np.int64), np.empty(n), np.empty(n)
    graph, far = (factor_start, slot_variable, states, stage), min(limit * FAR, 2.0**1000)
    order_lightly(*graph, parts, like, far, order, entries, largest)
    dear = (like == np.arange(n)) & ((entries > cheap) | (largest > limit))

    def take(found: _Found) -> Bool:
        """Take the orders that cost less."""
        better: Bool = dear & (found.entries <= entries) & np.isfinite(found.entries)
        entries[better], largest[better] = found.entries[better], found.largest[better]
        for c in np.flatnonzero(better).tolist():
            order[parts.start[c] : parts.start[c + 1]] = found.order[parts.start[c] : parts.start[c + 1]]
        return better

    former = known() if known is not None and dear.any() else None
    if former is not None:
        found = _order_dear(graph, parts, dear, limit, former.order)
        take(found)
        dear &= bool(found.entries[dear].sum() > former.enough)
    searched = bool(dear.any()) and not (hopeful and bool((entries[dear] == np.inf).any()))
    if searched:
        found = _order_dear(graph, parts, dear, limit)
        band = (BAND * found.entries <= entries) & (entries < np.inf) & (found.largest <= limit)
        take(found)
        dear &= ~band
    if searched and dear.any():
        within = np.where(largest > limit, np.inf, entries)
        found = _Found(np.empty(len(states), np.int64), within, np.full(n, np.inf))
        order_components(*graph, *parts[1:], np.where(dear, like, -1), float(limit), float(effort), *found)
        take(found)
    entries[largest > limit] = np.inf
    largest[largest > limit] = np.inf
    copy_orders(*parts[1:4], like, order, entries, largest)
    return Elimination(order, parts.start, entries, np.log2(largest), searched)


class Known(NamedTuple):
    """An order that was found for another graph."""

    order: I64
    "(V,)"
    enough: float
    "entries of all dear components up to which no other order is looked for"


class _Found(NamedTuple):
    """Orders of some components, as `Elimination` has them; +inf, and anything in `order`, for all others."""

    order: I64
    entries: F64
    largest: F64


def _order_dear(
    graph: tuple[I64, I64, I64, U8], parts: Components, dear: Bool, limit: float, known: I64 | None = None
) -> _Found:
    """The `dear` components in a `known` order (V,), or in that of Cuthill and McKee; always within stages."""
    factor_start, slot_variable, states, stage = graph
    chosen = np.flatnonzero(dear)
    member, _ = _rows(parts.member, parts.start, chosen)
    start, count = np.zeros(len(chosen), np.int64), np.diff(parts.start)[chosen]
    start[1:] = np.cumsum(count)[:-1]
    own, _ = _rows(parts.own, parts.own_start, chosen)
    slots, own_start = _rows(slot_variable, factor_start, own)
    place = np.empty(len(states), np.int64)
    place[member] = np.arange(len(member))
    slots = place[slots]
    if known is None:
        order = _narrow_order(own_start, slots, len(member))
    else:
        order = place[known[dear[parts.component[known]]]]
    order = order[np.argsort(stage[member[order]], kind="stable")]
    grouped, entries, largest = np.empty(len(member), np.int64), np.zeros(len(chosen)), np.zeros(len(chosen))
    eliminate_in_order(
        own_start, slots, states[member], order, np.repeat(np.arange(len(chosen)), count), start, limit, grouped,
        entries, largest,
    )  # fmt: skip
    found = _Found(np.empty(len(states), np.int64), np.full(len(dear), np.inf), np.full(len(dear), np.inf))
    found.entries[chosen], found.largest[chosen] = entries, largest
    found.order[dear[parts.component[parts.member]]] = member[grouped]
    return found


def _rows(values: I64, start: I64, chosen: I64) -> tuple[I64, I64]:
    """Chosen rows of a ragged array, and where each begins now and the last ends."""
    length = np.diff(start)[chosen]
    begin = np.concatenate([[0], np.cumsum(length)])
    return values[np.arange(begin[-1]) + np.repeat(start[chosen] - begin[:-1], length)], begin


def _narrow_order(factor_start: I64, slot_variable: I64, n_variables: int) -> I64:
    """The order of Cuthill and McKee."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    holds = csr_array((np.ones(len(slot_variable)), slot_variable, factor_start), (len(factor_start) - 1, n_variables))
    found: I64 = reverse_cuthill_mckee((holds.T @ holds).tocsr(), symmetric_mode=True).astype(np.int64)
    return found


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
