"""The components of a graph, and which of them are alike: one the copy of another, variable by variable.

A list of ten thousand chains has few lengths: what is found for one of a length holds for all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from factorgraph_ebm._jit import F8, I8, INTEGER, NOTHING, READ_I8, READ_U1, inlined, kernel
from factorgraph_ebm.arrays import I64, U8
from factorgraph_ebm.compiler.ordering import label_components


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


def find_components(factor_start: I64, slot_variable: I64, n_variables: int) -> Components:
    component = np.empty(n_variables, np.int64)
    label_components(factor_start, slot_variable, component)
    working = np.zeros(n_variables + 1, np.int64), np.zeros(n_variables + 1, np.int64)
    member, local, own = (np.empty(size, np.int64) for size in (n_variables, n_variables, len(factor_start) - 1))
    n = gather_components(factor_start, slot_variable, component, *working, member, local, own)
    start, own_start = (w[: n + 1] for w in working)
    return Components(component, start, member, local, own_start, own)


def find_copies(factor_start: I64, slot_variable: I64, states: I64, stage: U8, parts: Components) -> I64:
    """The first component that each is a copy of, (C,); itself where there is none before it."""
    n = len(parts.start) - 1
    like = np.arange(n)
    if n > 1:
        table = np.full(1 << int(2 * n).bit_length(), -1)
        find_alike(factor_start, slot_variable, states, stage, *parts[1:], table, like, np.empty(n, np.int64))
    return like


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
