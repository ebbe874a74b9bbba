"""A factor over many variables, read slot by slot by a small deterministic automaton.

    h_0 = 0,    h_(s+1) = step_s[h_s, x_s],    E(x) = energies[h_n]

So it is a chain of n small factors over (h_s, x_s, h_(s+1)) with helper variables h_s. Each assignment has exactly one
run, or breaks off where all that could follow is forbidden: sums over the helpers count it once, and the chain is the
factor itself, for any algorithm. "Regular" constraints of G. Pesant, "A regular language membership constraint for
finite sequences of variables", CP 2004; the fewest states by merging those with the same future from the end backwards,
as for a decision diagram: R. E. Bryant, "Graph-based algorithms for Boolean function manipulation", 1986.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import I64, Bool
from factorgraph_ebm.graph.parametrisation import Floats
from factorgraph_ebm.graph.table_map import TableMap, constants_map

LARGEST_AUTOMATON = 1 << 20
"entries of all steps above which no automaton is made: 8 MiB"


class Representatives(NamedTuple):
    """Energies of end states that are no single number of the row: each is that of an assignment that ends there."""

    state_energies: Callable[..., Floats]
    "that of the structure"
    chosen: I64
    "(slots, end states) an assignment for each; as many slots as its energy depends on"
    states: tuple[int, ...]
    constants: Floats

    def entries(self, numbers: Floats) -> Floats:
        """Return the energies of all end states, (..., end states), of factors with numbers (..., row size)."""
        rows = numbers.reshape(-1, numbers.shape[-1])
        each = np.repeat(rows, self.chosen.shape[1], axis=0)
        chosen = np.tile(self.chosen, (1, len(rows)))
        asked = each[:, 0] if each.shape[1] == 1 else each
        energies = self.state_energies(asked, chosen, self.states, self.constants)
        return energies.reshape(*numbers.shape[:-1], self.chosen.shape[1])


class Automaton(NamedTuple):
    """How one factor of a kind reads its slots.

    A caller asks `energies.entries(numbers)` for the energies of the end states, (..., end states), of factors whose
    rows of numbers, as the kernels read them, are (..., row size).
    """

    steps: tuple[I64, ...]
    """for each slot s: (W_s, K_s) the state after reading; -1: whatever follows is forbidden. W_0 = 1, W_s >= 1. Slots
    that are read alike may have one array."""
    energies: TableMap | Representatives
    "of the W_n states after the last slot"

    @property
    def entries(self) -> int:
        """Sum over slots of W_s * K_s: what the chain takes, where a table takes the product of all K_s."""
        return sum(step.size for step in self.steps)


def width_of(automaton: Automaton) -> int:
    """Return the largest number of states of a helper variable, those before and after reading included."""
    ends = automaton.energies
    after = ends.chosen.shape[1] if isinstance(ends, Representatives) else len(ends.index)
    return max([after, *(len(step) for step in automaton.steps)])


def end_states(automaton: Automaton, chosen: npt.NDArray[np.integer[Any]]) -> I64:
    """Return the state in which each of the assignments (slots, n) ends, (n,); -1: forbidden on the way."""
    state = np.zeros(chosen.shape[1], np.int64)
    for step, column in zip(automaton.steps, chosen, strict=True):
        state = np.where(state >= 0, step[np.maximum(state, 0), column], -1)
    return state


def chosen_by_ends(automaton: Automaton) -> tuple[I64, Bool]:
    """Return an assignment that ends in each of the end states, (slots, end states), and which have one (end states,).

    The columns of the others are anything.
    """
    ends = automaton.energies
    last = ends.chosen.shape[1] if isinstance(ends, Representatives) else len(ends.index)
    widths = [*map(len, automaton.steps[1:]), last]
    reached = np.ones(1, bool)
    came: list[I64] = []  # of each layer, an entry of the step that leads to each state
    for step, after in zip(automaton.steps, widths):
        entry = np.flatnonzero((step >= 0) & reached[:, None])
        came.append(np.full(after, -1, np.int64))
        came[-1][step.reshape(-1)[entry]] = entry
        reached = came[-1] >= 0
    state = np.arange(len(reached))
    chosen = np.empty((len(came), len(reached)), np.int64)
    for s in range(len(came) - 1, -1, -1):
        state, chosen[s] = np.divmod(np.maximum(came[s][state], 0), automaton.steps[s].shape[1])
    return chosen, reached


def forbidden(states: tuple[int, ...]) -> Automaton:
    """Return the automaton that allows nothing."""
    return Automaton(tuple(np.full((1, k), -1, np.int64) for k in states), constants_map(np.array([np.inf])))


def fixed(automaton: Automaton, numbers: Floats) -> Automaton:
    """Return the least automaton of a factor with this row of numbers (row size,): its end energies are constants."""
    return minimised(automaton._replace(energies=constants_map(automaton.energies.entries(numbers))))


def minimised(automaton: Automaton) -> Automaton:
    """Return the automaton with the fewest states that has the same energy for every assignment and every row.

    States of a layer that have the same future are one. States that are never reached, and those of which all futures
    are forbidden by constants, are dropped.
    """
    label, ends = _classes_of_ends(automaton.energies)
    # From the end backwards: the class of each state of a layer (-1: dead), and the step of each class.
    layers: list[tuple[I64, I64]] = []
    before: tuple[I64, I64] | None = None
    for step in reversed(automaton.steps):
        # Slots that are read alike soon have the same classes before and after.
        if before is None or step is not before[0] or not np.array_equal(label, before[1]):
            before = step, label
            layers.append(_classes_of_rows(np.append(label, -1)[step]))  # -1 is the last
        else:
            layers.append(layers[-1])
        label = layers[-1][0]
    if label[0] < 0:
        return forbidden(tuple(step.shape[1] for step in automaton.steps))
    # From the beginning on: classes that are reached, numbered anew.
    steps: list[I64] = []
    reached = np.zeros(1, np.int64)
    known: tuple[I64, I64, I64] | None = None
    for _, table in reversed(layers):
        if known is None or table is not known[0] or not np.array_equal(reached, known[1]):
            after = table[reached]
            place = np.full(int(after.max()) + 2, -1, np.int64)
            place[after] = 0
            place[-1] = -1  # where the step is -1, too
            following = np.flatnonzero(place == 0)
            place[following] = np.arange(len(following))
            known = table, reached, following
            steps.append(after if len(following) == len(place) - 1 else place[after])
        else:
            steps.append(steps[-1])
        reached = known[2]
    chosen = ends[reached]
    energies = automaton.energies
    if isinstance(energies, Representatives):
        return Automaton(tuple(steps), energies._replace(chosen=energies.chosen[:, chosen]))
    picked = TableMap(energies.index[chosen], energies.coefficient[chosen], energies.constant[chosen])
    return Automaton(tuple(steps), picked)


def _classes_of_ends(energies: TableMap | Representatives) -> tuple[I64, I64]:
    """The class of each end state, -1 where it is forbidden, and one state of each class."""
    if isinstance(energies, Representatives):
        every = np.arange(energies.chosen.shape[1])
        return every, every
    read = (energies.index >= 0) & (energies.coefficient != 0)
    described = [energies.constant, np.where(read, energies.coefficient, 0.0), np.where(read, energies.index, -1)]
    columns = [np.unique(column, return_inverse=True)[1].reshape(-1) for column in described]
    after = np.stack(columns, axis=1).astype(np.int64)
    after[np.isposinf(energies.constant)] = -1
    label, _ = _classes_of_rows(after)
    return label, _first_of_each(label)


def _classes_of_rows(after: I64) -> tuple[I64, I64]:
    """The class of each row, numbered as they come, -1 where all of it is -1; and the row of each class."""
    label = np.full(len(after), -1, np.int64)
    is_alive = np.zeros(len(after), bool)
    for column in after.T:  # faster than along the short axis
        is_alive |= column >= 0
    alive = np.flatnonzero(is_alive)
    rows = after if len(alive) == len(after) else after[alive]
    code = _codes(rows)
    if (code[1:] > code[:-1]).all():
        label[alive] = np.arange(len(alive))
        return label, rows
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    number = np.empty(len(first), np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    label[alive] = number[inverse.reshape(-1)]
    return label, rows[np.sort(first)]


def _codes(rows: I64) -> I64:
    """A number for each row of numbers from -1 on, equal for equal rows."""
    radix = int(rows.max(initial=0)) + 2
    code = np.zeros(len(rows), np.int64)
    largest = 0
    for column in rows.T:
        if largest > (2**62) // radix:
            code = np.unique(code, return_inverse=True)[1].reshape(-1).astype(np.int64)
            largest = int(code.max(initial=0))
        code = code * radix + (column + 1)
        largest = (largest + 1) * radix
    return code


def _first_of_each(label: I64) -> I64:
    """One state of each class."""
    first = np.zeros(int(label.max(initial=-1)) + 1, np.int64)
    first[label[::-1][label[::-1] >= 0]] = np.flatnonzero(label >= 0)[::-1]
    return first
