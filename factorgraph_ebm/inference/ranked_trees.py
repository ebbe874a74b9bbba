"""The k best assignments by a tree of contractions: what is not asked for is minimised first, then lists go up."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.compiler.contraction import Tree
from factorgraph_ebm.engine.ranked_trees import rank_up, read_choices
from factorgraph_ebm.errors import WidthTooLargeError
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.inference.ranking import Listed
from factorgraph_ebm.inference.trees import Filled, Shape

LARGEST = 1 << 28
"energies in the lists of one component: 4 GiB with their choices"
SLICE = 1 << 22
"candidates that one compiled call looks at, a fraction of a second: between calls Python hears of Ctrl-C"
MOST_TIES = 4096
"energies equal to the k-th that are looked at, so that the lowest states come first among equals"


def list_component(problem: Problem, shape: Shape, tree: Tree, filled: Filled, c: int, k: int, place: I64) -> Listed:
    """The k best of one component, equal energies by their states. Raises WidthTooLargeError."""
    asked = k
    while True:
        energies, states = _list(shape, tree, filled, c, asked)
        complete = len(energies) < asked or asked >= max(k, MOST_TIES) or energies[-1] > energies[k - 1]
        if complete:
            break
        asked *= 2
    # A helper variable follows from the others, and what was not asked for from what was.
    free = len(problem.compiled.variable_cell)
    mine = np.unique(tree.axis_variable[_axes(tree, c)])
    mine = mine[mine < free]
    mine = mine[np.argsort(place[mine])]
    rows = states[:, mine]
    order = np.lexsort((*rows.T[::-1], energies))[:k]
    return Listed(energies[order], place[mine], rows[order])


def _axes(tree: Tree, c: int) -> slice:
    return slice(int(tree.axis_start[tree.component[c]]), int(tree.axis_start[tree.component[c + 1]]))


def _list(shape: Shape, tree: Tree, filled: Filled, c: int, k: int) -> tuple[F64, I64]:
    """The k least energies (m,) of a component and their states (m, variables); anything elsewhere."""
    first, stop = int(tree.component[c]), int(tree.component[c + 1])
    leaves = len(filled.at)
    length = np.ones(leaves + len(tree.x), np.int64)
    begin = np.zeros(leaves + len(tree.x), np.int64)
    needed = 0
    entries = 1
    for n in range(first, stop):
        own = slice(int(tree.axis_start[n]), int(tree.axis_start[n + 1]))
        taken = math.prod(shape.states[tree.axis_variable[own][tree.axis_kept[own] == 0]].tolist())
        entries = max(entries, taken)
        x, y = int(tree.x[n]), int(tree.y[n])
        many = int(length[x]) * (int(length[y]) if y >= 0 else 1)
        # What is minimised first leaves one energy; so few nodes as a component has, Python counts.
        length[leaves + n] = 1 if shape.soft[tree.due[n]] else min(k, many * taken)
        begin[leaves + n] = needed
        needed += int(tree.size[leaves + n]) * int(length[leaves + n])
    if needed > LARGEST:
        raise WidthTooLargeError(
            f"lists of the {k:,} best assignments would take {16 * needed:,} bytes in one part of the graph. "
            "Ask for fewer, or give the value of some variables (given=)."
        )
    energy, choice = np.empty(needed), np.empty(needed, np.int64)
    axes: tuple[Any, ...] = (
        tree.x, tree.y, tree.axis_start, tree.axis_variable, tree.axis_kept, tree.axis_x, tree.axis_y, shape.states,
    )  # fmt: skip
    position, offset = np.array([first, 0]), np.empty(2 * entries, np.int64)
    heap, code = np.empty(entries + k + 1), np.empty(entries + k + 1, np.int64)
    while position[0] < stop:
        rank_up(
            *axes, filled.at, filled.number, length, begin, energy, choice, stop, SLICE, position, heap, code, offset
        )  # fmt: skip
    root = int(begin[leaves + stop - 1])
    found = energy[root : root + int(length[leaves + stop - 1])]
    found = found[found < np.inf]
    states = np.zeros((len(found), len(shape.states)), np.int64)
    rank = np.zeros(leaves + len(tree.x), np.int64)
    for best in range(len(found)):
        read_choices(*axes, filled.at, length, begin, choice, rank, states[best], first, stop, best)
    return found, states
