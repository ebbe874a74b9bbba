"""What is left of listed configurations when some variables are given: those that agree, told apart by the others.

All configurations differ, so of those that are alike in the free variables at most one agrees with the given states.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.graph.scope import Ints

Picks: TypeAlias = Callable[[Ints], Ints]
"given states (g, n) -> which number each element is, (n, elements); -1: none"


def distinct_rows(
    rows: npt.NDArray[np.intp], number: npt.NDArray[np.intp], free: tuple[int, ...], given: tuple[int, ...]
) -> tuple[npt.NDArray[np.intp], Picks]:
    """Return the different rows of free states, and given states -> number of the one that agrees."""
    matching = _matching(rows, number, given)
    left, which = np.unique(rows[:, free], axis=0, return_inverse=True)
    if len(left) == len(rows):
        return rows[:, free], matching
    order = np.argsort(which.reshape(-1), kind="stable")
    first = np.flatnonzero(np.diff(which.reshape(-1)[order], prepend=-1))

    def picks(states: Ints) -> Ints:
        found: Ints = np.maximum.reduceat(matching(states)[:, order], first, axis=1)
        return found

    return left, picks


def _matching(rows: npt.NDArray[np.intp], number: npt.NDArray[np.intp], given: tuple[int, ...]) -> Picks:
    """Given states (g, n) -> number of each row that agrees with them, else -1, (n, rows)."""
    columns = rows[:, given]

    def picks(states: Ints) -> Ints:
        agrees = np.ones((states.shape[1], len(rows)), dtype=bool)
        for column, state in zip(columns.T, states, strict=True):
            agrees &= column == state[:, None]
        return np.where(agrees, number, -1)

    return picks


def states_of_one(
    rows: npt.NDArray[np.intp],
    number: npt.NDArray[np.intp],
    given: tuple[int, ...],
    free: tuple[int, ...],
    width: int,
) -> Picks:
    """Given states (g, n) -> number of the row that agrees with them and with each state of the one free slot."""
    matching = _matching(rows, number, given)
    place = rows[:, free[0]] if free else np.zeros(len(rows), dtype=np.intp)

    def picks(states: Ints) -> Ints:
        found = np.full((states.shape[1], width), -1, dtype=np.int64)
        agrees = matching(states)
        factor, row = np.nonzero(agrees >= 0)
        found[factor, place[row]] = agrees[factor, row]
        return found

    return picks
