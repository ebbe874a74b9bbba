"""The automata of structures: what must be known of the slots that were read.

How many are on; a partial sum; which states are used; the prefix of a listed configuration; a partial product. All are
built layer by layer, and given up (None) where they would have more entries than `LARGEST_AUTOMATON`, before these are
made.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import I64
from factorgraph_ebm.graph.automaton import LARGEST_AUTOMATON, Automaton, forbidden, minimised
from factorgraph_ebm.graph.parametrisation import Floats
from factorgraph_ebm.graph.table_map import TableMap

MOST_STATES = 62
"states of which a set is one number"


def numbers_map(index: npt.NDArray[np.integer[Any]]) -> TableMap:
    """Return the energies of end states that are numbers of the row as they stand."""
    return TableMap(index.astype(np.intp), np.ones(len(index)), np.zeros(len(index)))


def counted(arity: int) -> Automaton | None:
    """The number of slots that are on; number j of the row is the energy of j of them."""
    if arity * (arity + 1) > LARGEST_AUTOMATON:
        return None
    step = np.arange(arity, dtype=np.int64)[:, None] + np.arange(2)
    return Automaton(tuple(step[: s + 1] for s in range(arity)), numbers_map(np.arange(arity + 1)))


def partial_sums(states: tuple[int, ...], width: int, saturate: bool, weights: Floats) -> Automaton | None:
    """Sums from 0 to width - 1 of |weight| * state, of the state from the last on where the weight is negative.

    Number j of the row is the energy of the sum j. Larger sums are the largest with `saturate`, else forbidden.
    """
    last = width - 1

    def after(slot: int, sums: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
        steps = np.arange(states[slot])
        added = abs(weights[slot]) * (steps[::-1] if weights[slot] < 0 else steps)
        following = sums[:, None] + added
        return (np.minimum(following, last), np.isfinite(following)) if saturate else (following, following <= last)

    found = _in_layers(states, 0.0, after)
    if found is None:
        return None
    steps, sums = found
    return Automaton(steps, numbers_map(sums.astype(np.intp))) if len(sums) else forbidden(states)


def used_sets(arity: int, k: int) -> tuple[tuple[I64, ...], I64] | None:
    """The set of states that are used, none twice: steps, and the states of each set at the end, (arity, sets)."""
    entries = k * sum(math.comb(k, s) for s in range(arity)) + arity * math.comb(k, arity)
    if k > MOST_STATES or entries > LARGEST_AUTOMATON:
        return None
    bits = np.int64(1) << np.arange(k, dtype=np.int64)

    def after(slot: int, sets: I64) -> tuple[I64, npt.NDArray[np.bool_]]:
        return sets[:, None] | bits, (sets[:, None] & bits) == 0

    found = _in_layers((k,) * arity, np.int64(0), after)
    if found is None:
        return None
    steps, sets = found
    members = np.nonzero(sets[:, None] & bits)[1]
    return steps, members.reshape(len(sets), arity).T.astype(np.int64)


def prefixes(states: tuple[int, ...], which: npt.NDArray[np.intp], rows: npt.NDArray[np.intp]) -> Automaton | None:
    """The prefix of one of the configurations `rows` (m, slots), all distinct; number which[r] is the energy of r."""
    code = np.zeros(len(rows), np.int64)
    width, entries = 1, 0
    steps = []
    for k, column in zip(states, rows.T, strict=True):
        entries += width * k
        if entries > LARGEST_AUTOMATON:
            return None
        distinct, code = np.unique(code * k + column, return_inverse=True)
        code = code.reshape(-1).astype(np.int64)
        step = np.full(width * k, -1, np.int64)
        step[distinct] = np.arange(len(distinct))
        steps.append(step.reshape(width, k))
        width = len(distinct)
    if not len(rows):
        return forbidden(states)
    if width < len(rows):  # one that stands twice has the lesser of two numbers
        return None
    index = np.empty(width, np.intp)
    index[code] = which
    return Automaton(tuple(steps), numbers_map(index))


def partial_products(values: list[Floats]) -> Automaton | None:
    """The product of the values of the states; the energy is that times number 0."""
    if not all(np.isfinite(each).all() for each in values):
        return None

    def after(slot: int, products: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
        following = products[:, None] * values[slot]
        return following, np.ones(following.shape, bool)

    found = _in_layers(tuple(len(each) for each in values), 1.0, after)
    if found is None:
        return None
    steps, products = found
    ends = TableMap(np.zeros(len(products), np.intp), products, np.zeros(len(products)))
    return minimised(Automaton(steps, ends))


def _in_layers(states: tuple[int, ...], first: Any, after: Callable[..., Any]) -> tuple[tuple[I64, ...], Any] | None:
    """Steps, and what is known at the end.

    `after(slot, known (W,))` says what is known after reading each state, (W, K), and whether that is allowed.
    """
    known = np.array([first])
    entries = 0
    steps = []
    for slot, k in enumerate(states):
        entries += len(known) * k
        if entries > LARGEST_AUTOMATON:
            return None
        following, allowed = after(slot, known)
        known = np.unique(following[allowed])
        steps.append(np.where(allowed, np.searchsorted(known, following), -1).astype(np.int64))
    return tuple(steps), known
