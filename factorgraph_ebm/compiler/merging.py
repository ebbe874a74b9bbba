"""Factors on one scope become one factor; nested ones are absorbed where that makes a forest of their component.

Two factors over the same pair of variables form a loop, and belief propagation on a loop is not exact; their sum is one
factor and no loop. Whether a graph is a forest is asked only after this. A factor inside a larger one is taken into it
only where no loop is left in its component: elsewhere nothing would be gained, and fixed points would move. A factor
over so many variables that its table would be large is left as it is, loop or not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from factorgraph_ebm.arrays import I64, Bool
from factorgraph_ebm.compiler.ordering import find_enclosing
from factorgraph_ebm.compiler.parts import Contribution, Part, split_rows
from factorgraph_ebm.compiler.topology import find_topology


def merge_equal_scopes(parts: Sequence[Part], n_variables: int) -> list[Part]:
    """Replace factors over one set of variables by their sum."""
    by_arity: dict[int, list[int]] = {}
    for i, part in enumerate(parts):
        if not part.mergeable:
            continue
        by_arity.setdefault(len(part.columns), []).append(i)
    member_part: list[I64] = []
    member_row: list[I64] = []
    member_set: list[I64] = []
    n_sets = 0
    for arity, numbers in by_arity.items():
        if arity < 2:
            continue
        scope = np.concatenate([parts[i].columns for i in numbers], axis=1)
        same = _equal_scopes(scope, n_variables)
        if same is None:
            continue
        repeated, set_of = same
        part_of = np.concatenate([np.full(parts[i].columns.shape[1], i) for i in numbers])
        row_of = np.concatenate([np.arange(parts[i].columns.shape[1]) for i in numbers])
        member_part.append(part_of[repeated])
        member_row.append(row_of[repeated])
        member_set.append(set_of + n_sets)
        n_sets += int(set_of.max()) + 1
    if not member_part:
        return list(parts)
    return _merge(parts, np.concatenate(member_part), np.concatenate(member_row), np.concatenate(member_set))


def _equal_scopes(scope: I64, n_variables: int) -> tuple[I64, I64] | None:
    """Factors that share their set of variables with another, and the number of that set; None where none does."""
    ordered = np.sort(scope, axis=0) if len(scope) != 2 else np.stack([scope.min(axis=0), scope.max(axis=0)])
    code = ordered[0].astype(np.uint64)
    for row in ordered[1:]:
        largest = int(code.max()) if len(code) else 0
        if largest > (2**63) // max(n_variables, 1):
            code = np.unique(code, return_inverse=True)[1].astype(np.uint64)
        code = code * np.uint64(n_variables) + row.astype(np.uint64)
    in_order = np.sort(code)
    if not np.any(in_order[1:] == in_order[:-1]):
        return None
    _, inverse, counts = np.unique(code, return_inverse=True, return_counts=True)
    repeated = np.flatnonzero(counts[inverse] > 1)
    return repeated, np.unique(inverse[repeated], return_inverse=True)[1]


def absorb_nested(parts: Sequence[Part], n_variables: int) -> list[Part]:
    """Take nested factors into a factor around them, in components that this makes a forest."""
    widest = max((len(p.columns) for p in parts if p.mergeable), default=0)
    if widest < 3:
        return list(parts)
    whole = find_topology(parts, n_variables)
    loopy = ~whole.is_forest[whole.component]
    if not loopy.any():
        return list(parts)
    sizes = np.diff(whole.factor_start)
    first = whole.slot_variable[whole.factor_start[:-1]]
    mergeable = np.concatenate([np.full(p.columns.shape[1], p.mergeable) for p in parts])
    candidates = np.flatnonzero(loopy[first] & (sizes < widest) & mergeable)
    enclosing = np.full(len(sizes), -1, np.int64)
    around = whole
    if not mergeable.all():
        around = find_topology([p if p.mergeable else _emptied(p) for p in parts], n_variables)
    find_enclosing(
        around.factor_start, around.slot_variable, around.slot_factor, around.start, around.slot, candidates, enclosing
    )
    if not np.any(enclosing >= 0):
        return list(parts)
    inner = enclosing >= 0
    kept = _without(parts, inner)
    reduced = find_topology(kept, n_variables)
    # A component may fall apart when factors are dropped, so ask of the old component whether all in it were peeled.
    still_loopy = np.zeros(n_variables, bool)
    unpeeled = ~reduced.is_forest[reduced.component]
    still_loopy[whole.component[unpeeled]] = True
    absorbed = np.flatnonzero(inner & ~still_loopy[whole.component[first]])
    if not len(absorbed):
        return list(parts)
    outer = enclosing[absorbed]
    leaders = np.unique(outer)
    members = np.concatenate([leaders, absorbed])
    sets = np.concatenate([np.arange(len(leaders)), np.searchsorted(leaders, outer)])
    part_of = np.concatenate([np.full(p.columns.shape[1], i) for i, p in enumerate(parts)])
    row_of = np.concatenate([np.arange(p.columns.shape[1]) for p in parts])
    return _merge(parts, part_of[members], row_of[members], sets)


def _emptied(part: Part) -> Part:
    """As many factors over no variable, so that all others keep their numbers."""
    return part._replace(columns=part.columns[:0], states=())


def _without(parts: Sequence[Part], dropped: Bool) -> list[Part]:
    kept = []
    at = 0
    for part in parts:
        n = part.columns.shape[1]
        kept.append(_take(part, np.flatnonzero(~dropped[at : at + n])))
        at += n
    return kept


def _take(part: Part, rows: I64) -> Part:
    """Some factors of a part."""
    contributions = tuple(c._replace(rows=rows if c.rows is None else c.rows[rows]) for c in part.contributions)
    return part._replace(columns=part.columns[:, rows], contributions=contributions)


def _merge(parts: Sequence[Part], member_part: I64, member_row: I64, member_set: I64) -> list[Part]:
    """Replace the members of each set by one factor: their sum, over the variables of the widest of them."""
    gone = [np.zeros(p.columns.shape[1], bool) for p in parts]
    for i in np.unique(member_part):
        gone[i][member_row[member_part == i]] = True
    kept = [_take(p, np.flatnonzero(~g)) if g.any() else p for p, g in zip(parts, gone)]
    kept = [p for p in kept if p.columns.shape[1] or not len(p.columns)]
    arity = np.array([len(p.columns) for p in parts])[member_part]
    order = np.lexsort((member_row, member_part, -arity, member_set))
    member_part, member_row, member_set = member_part[order], member_row[order], member_set[order]
    starts = np.flatnonzero(np.diff(member_set, prepend=-1))
    counts = np.diff(np.append(starts, len(member_set)))
    for count in np.unique(counts):
        place = starts[counts == count][:, None] + np.arange(count)
        rows, which = member_row[place], member_part[place]
        for chosen, key in split_rows(list(which.T), len(which)):
            at = rows if chosen is None else rows[chosen]
            kept += _merged_parts(parts, [int(i) for i in key], at)
    return kept


def _merged_parts(parts: Sequence[Part], which: list[int], rows: I64) -> list[Part]:
    """Merged factors whose members come from the same parts, split by how their slots lie in the first one's."""
    target = parts[which[0]].columns[:, rows[:, 0]]
    places: list[I64] = []
    for j, i in enumerate(which):
        for column in parts[i].columns[:, rows[:, j]]:
            places.append(np.argmax(target == column, axis=0).astype(np.int64))
    merged = []
    for chosen, place in split_rows(places, len(rows)):
        at = rows if chosen is None else rows[chosen]
        contributions: list[Contribution] = []
        used = 0
        for j, i in enumerate(which):
            slots = place[used : used + len(parts[i].columns)]
            used += len(slots)
            for c in parts[i].contributions:
                picked = at[:, j] if c.rows is None else c.rows[at[:, j]]
                contributions.append(c._replace(rows=picked, place=tuple(slots[p] for p in c.place)))
        columns = target if chosen is None else target[:, chosen]
        merged.append(Part(columns, parts[which[0]].states, tuple(contributions), False))
    return merged
