"""Orders of elimination that were searched for, kept for the same graph with other cells given.

Giving the value of a variable takes it out of every bucket, so what is left of an order is no wider than it was. A
search costs as much as some answers do, and with a few more variables given it gains little: up to a sixteenth of them
made the orders of fresh searches cheaper by a factor of 1 to 3 on pedigrees, grids and the munin networks, and never
paid for the search. A variable that was given and is not now takes a place in the middle of its neighbours. That is
often poor, but it is known before it is used, and then another order is searched for.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.compiler.contraction import Leaves
from factorgraph_ebm.compiler.elimination import Elimination, Known
from factorgraph_ebm.compiler.ordering import incidence
from factorgraph_ebm.compiler.union import Union

KEPT = 64
"graphs whose orders are kept: of those that were searched for, the last"
ALIKE = 16
"one in so many variables may be given now and not then, and as many then and not now"
DEARER = 2.0
"times the entries that an order had when it was found: no more is searched for up to that"


class _Found(NamedTuple):
    """What a search has found for some cells of a graph."""

    place: F64
    "(cells,) when each is eliminated; NaN for what was given"
    entries: float


_kept: dict[object, _Found] = {}
"by the structure of a union"
_lock = threading.Lock()


class KnownOrder:
    """What is known of the order of one union, whose variables are followed by helpers in no cell."""

    def __init__(self, union: Union, leaves: Leaves, states: I64, *, staged: bool) -> None:
        self._key = union.structure, staged
        self._cell = union.compiled.variable_cell.astype(np.int64)
        self._cells = len(union.compiled.cell_variable)
        self._leaves = leaves
        self._states = states

    def find(self) -> Known | None:
        """The order of a graph that is much the same, if it is kept."""
        with _lock:
            found = _kept.get(self._key)
        if found is None:
            return None
        place = np.full(len(self._states), np.nan)
        inside = np.flatnonzero(self._cell >= 0)
        place[inside] = found.place[self._cell[inside]]
        missing = np.flatnonzero(np.isnan(place[: len(self._cell)]) & (self._states[: len(self._cell)] > 1))
        gone = int(np.count_nonzero(~np.isnan(found.place)) - np.count_nonzero(~np.isnan(place)))
        if ALIKE * max(len(missing), gone) > len(self._states):
            return None
        self._insert(place, np.flatnonzero(np.isnan(place) & (self._states > 1)))
        place[np.isnan(place)] = -1.0  # what has one state, or no neighbour
        return Known(np.argsort(place, kind="stable"), DEARER * found.entries)

    def keep(self, elimination: Elimination) -> None:
        """Keep what was searched for."""
        entries = float(elimination.entries.sum())
        if not elimination.searched or not entries < np.inf:
            return
        place = np.empty(len(self._states))
        place[elimination.order] = np.arange(len(place))
        of_cell = np.full(self._cells, np.nan)
        inside = np.flatnonzero(self._cell >= 0)
        of_cell[self._cell[inside]] = place[inside]
        with _lock:
            _kept.pop(self._key, None)
            _kept[self._key] = _Found(of_cell, entries)
            while len(_kept) > KEPT:
                del _kept[next(iter(_kept))]

    def _insert(self, place: F64, missing: I64) -> None:
        """Give what is missing its place: behind half of its neighbours, those in the same leaves."""
        leaves = self._leaves
        first, slot = np.zeros(len(place) + 1, np.int64), np.empty(len(leaves.variable), np.int64)
        incidence(leaves.variable, first, slot)
        leaf = np.repeat(np.arange(len(leaves.start) - 1), np.diff(leaves.start))
        for v in missing.tolist():
            around: set[int] = set()
            for each in leaf[slot[first[v] : first[v + 1]]].tolist():
                around.update(leaves.variable[leaves.start[each] : leaves.start[each + 1]].tolist())
            known = sorted(p for p in place[list(around)].tolist() if p == p)
            if known:
                middle = len(known) // 2
                place[v] = known[middle] - 0.5 if len(known) % 2 else 0.5 * (known[middle - 1] + known[middle])
