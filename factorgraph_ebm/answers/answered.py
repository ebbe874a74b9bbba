"""One engine run with the words around it: what the results of a list share, and where each finds its part."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Compiled, Numbers, Values
from factorgraph_ebm.compiler.union import Place
from factorgraph_ebm.graph.assignment import Given
from factorgraph_ebm.graph.declaration import Factor
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.inference.method import Answer, Problem, times_beta
from factorgraph_ebm.inference.min_marginals import excess


class Found(NamedTuple):
    """Factors of one declaration of one sample that went to one place."""

    place: Place
    members: I64
    "(n,) numbers of the factors within their declaration"
    row: I64
    "(n,) which of the place's factors they are"


class Answered:
    """A problem, its answer, and the graphs, givens and values of its samples."""

    def __init__(
        self,
        problem: Problem,
        answer: Answer,
        graphs: Sequence[FactorGraph],
        given: Sequence[Given],
        values: Sequence[Values],
    ) -> None:
        self.problem = problem
        self.answer = answer
        self.graphs = graphs
        self.given = given
        self.values = values
        self.compiled = problem.compiled
        self.joints: dict[int, F64] = {}
        self._places: dict[int, list[tuple[Place, I64, I64]]] = {}

    @cached_property
    def start(self) -> I64:
        """`variable_start` as signed integers."""
        return self.compiled.variable_start.astype(np.int64)

    @cached_property
    def _states(self) -> I64:
        """Of each engine variable."""
        return np.diff(self.start)

    @cached_property
    def scaled(self) -> Numbers:
        """The energies in the units of the messages."""
        numbers, scale = self.problem.numbers, self.answer.message_beta
        if scale == 1.0:
            return numbers
        return Numbers(times_beta(numbers.unary, scale), times_beta(numbers.store, scale))

    def unscaled(self, energies: F64) -> F64:
        """Messages in nats of the declared energies; at beta = 0 they stay logs of counts."""
        scale = self.answer.message_beta
        return energies if scale in (0.0, 1.0, np.inf) else energies / scale

    @cached_property
    def incoming(self) -> F64:
        """Sum of the messages to each variable, in the units of the engine, (unary_size,)."""
        messages, compiled = self.answer.messages, self.compiled
        assert messages is not None
        total = np.zeros(compiled.unary_size)
        first = compiled.variable_slot_start.astype(np.int64)
        owner = np.repeat(np.arange(len(first) - 1), first[1:] - first[:-1])
        count = self.start[owner + 1] - self.start[owner]
        for k in np.unique(count).tolist():
            chosen = count == k
            rows = compiled.slot_message[chosen].astype(np.int64)[:, None] + np.arange(k)
            np.add.at(total, self.start[owner[chosen]][:, None] + np.arange(k), messages.to_variable[rows])
        return total

    @cached_property
    def excess(self) -> F64:
        """Energy above the least with each state of each variable, by min-sum, (unary_size,)."""
        return excess(self.problem, self.answer)

    def variables(self, sample: int) -> I64:
        """Engine variable of each cell of a sample, (n_cells,), -1 where given."""
        first, stop = self.compiled.sample_cell_start[sample : sample + 2]
        return self.compiled.cell_variable[first:stop]

    def states(self, sample: int) -> I64:
        """State of each cell of a sample, (n_cells,), -1 where it was summed over."""
        states = self.answer.states
        if states is None:
            states = np.full(len(self.compiled.variable_cell), -1, np.int64)
        return cell_states(self.compiled, sample, self.given[sample], states)

    def probabilities(self, sample: int, cells: I64, width: int) -> F64:
        """Marginals of some cells of a sample, (n, width), one-hot where given, 0 for absent states."""
        probability = self.answer.marginals
        assert probability is not None
        variable = self.variables(sample)[cells]
        start, states = self.start, self._states
        if len(cells) and variable.min() >= 0 and states[variable[0]] == width == states[variable].min():
            # None has more states than there is room for. Networks of single variables are read one by one.
            if len(cells) == 1:
                return probability[start[variable[0]] : start[variable[0] + 1]].reshape(1, width).copy()
            rows_of_all: F64 = probability[start[variable][:, None] + np.arange(width)]
            return rows_of_all
        out = np.zeros((len(cells), width))
        given = np.flatnonzero(variable < 0)
        out[given, self.given[sample].states[cells[given]]] = 1.0
        free = variable if not len(given) else variable[variable >= 0]
        rows = np.arange(len(cells)) if not len(given) else np.flatnonzero(variable >= 0)
        count = states[free]
        for k in np.unique(count).tolist():
            chosen = count == k
            at = start[free[chosen]][:, None] + np.arange(k)
            out[rows[chosen], :k] = probability[at]
        return out

    @cached_property
    def _groups(self) -> tuple[I64, I64]:
        """Of each sample: its first group, and its place among the samples of its groups."""
        first = np.zeros(len(self.graphs), np.int64)
        place = np.zeros(len(self.graphs), np.int64)
        for number, group in enumerate(self.problem.union.groups):
            if group.key == 0:
                first[group.samples] = number
                place[group.samples] = np.arange(len(group.samples))
        return first, place

    def located(self, sample: int, position: int) -> list[Found]:
        """Where the factors of one declaration of a sample went."""
        first, place_of = self._groups
        number = int(first[sample]) + position
        if number not in self._places:
            listed = []
            for place in self.problem.union.places(number):
                order = np.argsort(place.members, kind="stable")
                listed.append((place, order, place.members[order]))
            self._places[number] = listed
        size = self.problem.union.groups[number].size
        low = int(place_of[sample]) * size
        found = []
        for place, order, members in self._places[number]:
            a, b = np.searchsorted(members, [low, low + size])
            if b > a:
                found.append(Found(place, members[a:b] - low, order[a:b]))
        return found


def cell_states(compiled: Compiled, sample: int, given: Given, states: I64) -> I64:
    """State of each cell of a sample from those of all engine variables, (..., V) -> (..., n_cells)."""
    first, stop = compiled.sample_cell_start[sample : sample + 2]
    variable = compiled.cell_variable[first:stop]
    found: I64 = np.where(variable < 0, given.states, states[..., variable])
    return found


class Slots(NamedTuple):
    """The cells and states of the slots of one declaration of a sample, uniform or ragged."""

    factor: Factor
    size: int
    start: I64 | None
    "(size + 1,) where ragged"
    cells: I64
    "(arity, size), or (S,) where ragged"

    def column(self, slot: int, members: I64) -> I64:
        """Cells of one slot of some factors, all of which have it."""
        if self.start is None:
            column: I64 = self.cells[slot, members]
            return column
        flat: I64 = self.cells[self.start[members] + slot]
        return flat

    def arity(self, member: int) -> int:
        return len(self.cells) if self.start is None else int(self.start[member + 1] - self.start[member])

    def shape(self, member: int, cell_states: I64) -> tuple[int, ...]:
        """States of each slot in the declared table of a factor."""
        if self.factor.state_shape is not None:
            return self.factor.state_shape
        return tuple(int(cell_states[self.column(s, np.array([member]))[0]]) for s in range(self.arity(member)))


def slots_of(graph: FactorGraph, position: int) -> Slots:
    factor = graph.factors[position]
    if factor.scope.ragged:
        start, cells = factor.scope.ragged_cells(graph.cell_offset)
        return Slots(factor, factor.size, start, cells)
    return Slots(factor, factor.size, None, factor.scope.columns(graph.cell_offset))


def entries_of(
    slots: Slots, found: Found, states: I64, counts: Sequence[int], free: Sequence[int] | None = None
) -> tuple[I64, ...]:
    """Indices into declared tables, one array for each slot, broadcasting to (n, *states of the free slots).

    `counts`: states of each free slot; `free`: the slots that run (those of the contribution by default); a slot on the
    cell of a free one runs with it, and every other takes its state from `states`, (n_cells,).
    """
    chosen = found.place.contribution.slots if free is None else free
    members = found.members
    arity = slots.arity(int(members[0]))
    first_cell = {int(slots.column(s, members[:1])[0]): s for s in reversed(chosen)}
    axes = len(chosen)
    index = []
    for s in range(arity):
        column = slots.column(s, members)
        owner = s if s in chosen else first_cell.get(int(column[0]))
        if owner is None:
            index.append(states[column].reshape((-1,) + (1,) * axes))
            continue
        axis = list(chosen).index(owner)
        shape = [1] * (axes + 1)
        shape[axis + 1] = counts[axis]
        index.append(np.arange(counts[axis]).reshape(shape))
    return tuple(index)
