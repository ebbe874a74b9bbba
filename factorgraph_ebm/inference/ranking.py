"""The k best of independent parts together: the k least sums with one entry of each of several sorted lists.

    (a[i] + b[j])  for  (i + 1) (j + 1) <= k,    i and j from 0

Every pair with neither index larger comes before a pair, so what is beyond that hyperbola is not among the k least: two
lists need k log k sums, whatever their lengths. Equal energies go by their states, lowest first, variable by variable
in the order of `Ranked`; that order, too, is one of pairs, so nothing that is cut off would have come earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Bool, Compiled
from factorgraph_ebm.inference.method import Ranked


class Listed(NamedTuple):
    """The best assignments of one part of a sample, in order."""

    energies: F64
    "(m,) finite, ascending"
    variables: I64
    "(n,) places of its variables in `places_of`, ascending"
    states: I64
    "(m, n) theirs"


def places_of(compiled: Compiled, asked: Bool) -> I64:
    """Place of each variable in the order that breaks ties, (V,): what is asked first, and as declared."""
    order = np.lexsort((compiled.variable_cell, ~asked))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place


def first_of(values: F64, k: int) -> I64:
    """Where the k least finite values are, fewer if there are fewer, ascending; the first of equal ones first."""
    finite = int(np.count_nonzero(values < np.inf))
    if finite == 0:
        return np.zeros(0, np.int64)
    k = min(k, finite)
    largest = np.partition(values, k - 1)[k - 1]
    below = np.flatnonzero(values < largest)
    chosen = np.sort(np.concatenate([below, np.flatnonzero(values == largest)[: k - len(below)]]))
    found: I64 = chosen[np.argsort(values[chosen], kind="stable")]
    return found


def rank_samples(method: str, parts: Sequence[Sequence[Listed]], place: I64, k: int) -> Ranked:
    """The k best of every sample from those of its parts; `place` is `places_of`."""
    whole = [_together(each, k) for each in parts]
    most = max((len(each.energies) for each in whole), default=0)
    energies = np.full((len(whole), most), np.inf)
    states = np.full((most, len(place)), -1, np.int64)
    variable = np.argsort(place)
    for sample, listed in enumerate(whole):
        m = len(listed.energies)
        energies[sample, :m] = listed.energies
        states[:m, variable[listed.variables]] = listed.states
    return Ranked(method, energies, states)


def _together(parts: Sequence[Listed], k: int) -> Listed:
    """Two and two, then these: a thousand parts of one variable cost ten passes over their states."""
    left = list(parts) or [Listed(np.zeros(1), np.zeros(0, np.int64), np.zeros((1, 0), np.int64))]
    while len(left) > 1:
        paired = [_pair(a, b, k) for a, b in zip(left[::2], left[1::2])]
        left = paired + left[2 * len(paired) :]
    return left[0]


def _pair(a: Listed, b: Listed, k: int) -> Listed:
    n = len(a.energies)
    partners = np.minimum(len(b.energies), k // np.arange(1, n + 1))
    i = np.repeat(np.arange(n), partners)
    j = np.arange(len(i)) - np.repeat(np.cumsum(partners) - partners, partners)
    energies = a.energies[i] + b.energies[j]
    if len(energies) > k:
        kept = np.flatnonzero(energies <= np.partition(energies, k - 1)[k - 1])
        i, j, energies = i[kept], j[kept], energies[kept]
    variables = np.concatenate([a.variables, b.variables])
    column = np.argsort(variables)
    states = np.concatenate([a.states[i], b.states[j]], axis=1)[:, column]
    order = np.lexsort((*states.T[::-1], energies))[:k]
    return Listed(energies[order], variables[column], states[order])
