"""Brute force, obviously right: every configuration of a declared graph, one row each.

    E(x) = sum over factors of table[x of its scope],    P(x) = exp(-beta E(x)) / Z

It reads a graph only through its public face (`variables`, `factors`, `factor.table`, `factor.scope`) and
shares no code with the library: tests hold the library against it. Rows are in C order of the free cells,
so the first minimiser has the lowest states.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

EPSILON = np.finfo(float).eps


@dataclasses.dataclass(frozen=True)
class Term:
    """One factor: its declaration's key, its place in the group, its global cells, its table (true sizes)."""

    key: Any
    place: int
    cells: tuple[int, ...]
    table: np.ndarray


@dataclasses.dataclass(frozen=True)
class Layout:
    """Global numbers of the discrete cells: `offset[name] + flat index`, and how many states each has."""

    variables: dict[str, Any]
    offset: dict[str, int]
    cell_states: np.ndarray

    def cell(self, name: str, flat: int) -> int:
        return self.offset[name] + flat


def layout(graph: Any) -> Layout:
    """Number the discrete cells of `graph` in order of `graph.variables`, C order inside."""
    variables = {name: v for name, v in graph.variables.items() if v.dim is None}
    offset, counts, total = {}, [np.zeros(0, int)], 0
    for name, variable in variables.items():
        offset[name] = total
        counts.append(np.broadcast_to(np.asarray(variable.n_states), variable.shape).ravel())
        total += variable.size
    return Layout(variables, offset, np.concatenate(counts).astype(int))


def key_of(graph: Any, position: int) -> Any:
    """A declaration's key: its name, else its position."""
    name = graph.factors[position].name
    return position if name is None else name


def terms(graph: Any, values: Mapping[str, np.ndarray] | None = None) -> list[Term]:
    """Every factor of `graph`, one by one. `values`: arrays of parameters and of observed real variables."""
    where, found = layout(graph), []
    for position, factor in enumerate(graph.factors):
        key = key_of(graph, position)
        if factor.size == 0:
            continue
        tables = factor.table(parameters=values or None)
        if factor.scope.ragged:
            start, cells = factor.scope.ragged_cells(where.offset)
            scopes = [tuple(int(c) for c in cells[start[i] : start[i + 1]]) for i in range(factor.size)]
            rows = [np.asarray(t, float) for t in tables]
        else:
            columns = factor.scope.columns(where.offset)
            scopes = [tuple(int(c) for c in column) for column in columns.T]
            table = np.asarray(tables, float)
            states = table.shape[table.ndim - len(columns) :]
            rows = list(np.broadcast_to(table, (*factor.shape, *states)).reshape(factor.size, *states))
        for place, (scope, row) in enumerate(zip(scopes, rows, strict=True)):
            row = row[tuple(slice(where.cell_states[c]) for c in scope)]  # absent states of padded tables do not exist
            assert row.shape == tuple(where.cell_states[c] for c in scope), (key, row.shape, scope)
            found.append(Term(key, place, scope, row))
    return found


@dataclasses.dataclass(frozen=True)
class Joint:
    """All configurations that agree with what is known: `states` (N, n_cells), energies `base + rest` (N,).

    Each factor's smallest entry is put aside in `base`, so that shifts of 1e300 cost `rest` no digits. `largest` (N,)
    is the largest entry of each configuration in absolute value, which says what a plain sum would have cost.
    """

    where: Layout
    states: np.ndarray
    base: float
    rest: np.ndarray
    largest: np.ndarray
    known: dict[int, int]
    factors: list[Term]

    @property
    def energies(self) -> np.ndarray:
        return self.base + self.rest

    @property
    def feasible(self) -> bool:
        return bool(np.isfinite(self.rest).any())

    @property
    def minimum(self) -> float:
        return self.base + float(self.rest.min(initial=math.inf))

    @property
    def mass(self) -> float:
        """Sum of the largest finite entry of each factor: rounding errors are a few eps times it."""
        sizes = [np.abs(t.table[np.isfinite(t.table)]).max(initial=0.0) for t in self.factors]
        return float(min(math.fsum(sizes), 1e308))

    def tied(self) -> np.ndarray:
        """(N,) bool: the minimisers, those within 1e-9 max(1, |E|) of the minimum (API Q5)."""
        if not self.feasible:
            return np.zeros(len(self.rest), bool)
        return self.rest <= self.rest.min() + 1e-9 * max(1.0, abs(self.minimum))

    def minimisers(self) -> np.ndarray:
        return self.states[self.tied()]

    def log_partition(self, beta: float) -> float:
        """-beta F; at beta = inf its limit, at 0 the log of the number of allowed configurations."""
        if not self.feasible:
            return -math.inf
        if beta == 0:
            return math.log(np.isfinite(self.rest).sum())
        if beta == math.inf:
            if abs(self.minimum) <= 1e-9:
                return math.log(self.tied().sum())
            return -math.inf if self.minimum > 0 else math.inf
        low = self.rest.min()
        return float(-beta * (self.base + low) + np.log(np.exp(-beta * (self.rest - low)).sum()))

    def free_energy(self, beta: float) -> float:
        """-(1/beta) log Z; at beta = inf the minimum, at 0 -inf unless one configuration alone is allowed."""
        if not self.feasible:
            return math.inf
        if beta == math.inf or np.isfinite(self.rest).sum() == 1:
            return self.minimum
        return -math.inf if beta == 0 else -self.log_partition(beta) / beta

    def probabilities(self, beta: float) -> np.ndarray:
        """(N,) the Gibbs distribution; uniform over allowed configurations at 0, over minimisers at inf."""
        assert self.feasible
        if beta == 0:
            weight = np.isfinite(self.rest).astype(float)
        elif beta == math.inf:
            weight = self.tied().astype(float)
        else:
            weight = np.exp(-beta * (self.rest - self.rest.min()))
        return weight / weight.sum()

    def joint_marginal(self, cells: Sequence[int], beta: float, shape: Sequence[int] | None = None) -> np.ndarray:
        """Probabilities of the states of some cells, one axis each (a repeated cell gives a diagonal)."""
        if not cells:
            return np.array(1.0)
        out = np.zeros(shape or [self.where.cell_states[c] for c in cells])
        np.add.at(out, tuple(self.states[:, c] for c in cells), self.probabilities(beta))
        return out

    def marginals(self, beta: float) -> dict[str, np.ndarray]:
        """name -> (*shape, largest n_states): absent states 0, known cells one-hot."""
        return self._per_cell(lambda cell, k: self.joint_marginal([cell], beta, [k]), fill=0.0)

    def min_marginals(self) -> dict[str, np.ndarray]:
        """name -> (*shape, K): the least energy with the cell held in each state; absent states +inf."""

        def least(cell: int, k: int) -> np.ndarray:
            out = np.full(k, math.inf)
            np.minimum.at(out, self.states[:, cell], self.energies)
            return out

        return self._per_cell(least, fill=math.inf)

    def factor_marginals(self, beta: float) -> dict[tuple[Any, int], np.ndarray]:
        """(key, place in the group) -> table-shaped probabilities."""
        return {(t.key, t.place): self.joint_marginal(t.cells, beta) for t in self.factors}

    def energy_of(self, states: Sequence[int]) -> float:
        """Energy of one full assignment, in global cell order."""
        return float(sum(t.table[tuple(states[c] for c in t.cells)] for t in self.factors))

    def eliminate(self, asked: Sequence[int], beta: float) -> tuple[np.ndarray, np.ndarray]:
        """Sum out all but `asked`: their assignments (M, len(asked)) in C order, and free energies (M,)."""
        rows, group = np.unique(self.states[:, list(asked)], axis=0, return_inverse=True)
        group = group.reshape(-1)
        parts = [
            dataclasses.replace(
                self, states=self.states[group == m], rest=self.rest[group == m], largest=self.largest[group == m]
            )
            for m in range(len(rows))
        ]
        return rows, np.array([part.free_energy(beta) for part in parts])

    def _per_cell(self, measure: Any, fill: float) -> dict[str, np.ndarray]:
        found = {}
        for name, variable in self.where.variables.items():
            first, size = self.where.offset[name], variable.size
            widest = int(np.max(variable.n_states, initial=0))
            rows = np.full((size, widest), fill)
            for i in range(size):
                k = self.where.cell_states[first + i]
                rows[i, :k] = measure(first + i, k)
            found[name] = rows.reshape(*variable.shape, widest)
        return found


def brute(
    graph: Any,
    known: Mapping[tuple[str, int], int] | None = None,
    values: Mapping[str, np.ndarray] | None = None,
    limit: int = 1 << 20,
) -> Joint:
    """Enumerate `graph`. `known`: (name, flat index) -> state; `values`: parameters and observed reals."""
    where = layout(graph)
    held = {where.cell(*cell): int(state) for cell, state in (known or {}).items()}
    counts = [1 if c in held else int(k) for c, k in enumerate(where.cell_states)]
    assert math.prod(counts) <= limit, f"too many configurations to enumerate: {math.prod(counts)}"
    states = (
        np.array(np.unravel_index(np.arange(math.prod(counts)), counts)).T.reshape(-1, len(counts))
        if counts
        else np.zeros((1, 0), int)
    )
    for cell, state in held.items():
        states[:, cell] = state
    found, lows, rest, largest = terms(graph, values), [], np.zeros(len(states)), np.zeros(len(states))
    for term in found:
        entries = term.table[tuple(states[:, c] for c in term.cells)]
        low = entries.min() if np.isfinite(entries).any() else 0.0
        lows.append(low)
        rest = rest + (entries - low)
        largest = np.maximum(largest, np.abs(entries))
    return Joint(where, states, math.fsum(lows), rest, largest, held, found)


def is_forest(graph: Any, known: Mapping[tuple[str, int], int] | None = None, *, rewrite: bool = True) -> bool:
    """Is belief propagation exact? Known cells sliced away; with `rewrite`, equal and nested scopes merged."""
    where = layout(graph)
    held = {where.cell(*cell) for cell in known or {}}
    scopes: Any = [tuple(c for c in cells if c not in held) for cells in cells_of(graph)]
    largest = [s for s in scopes if len(s) > 1]  # as declared: a repeated cell is a loop
    if rewrite:
        scopes = {frozenset(s) for s in scopes}
        largest = [s for s in scopes if len(s) > 1 and not any(s < other for other in scopes)]
    root = list(range(len(where.cell_states) + len(largest)))

    def find(node: int) -> int:
        while root[node] != node:
            node = root[node]
        return node

    for number, scope in enumerate(largest):
        for cell in scope:
            a, b = find(len(where.cell_states) + number), find(cell)
            if a == b:
                return False
            root[a] = b
    return True


def cells_of(graph: Any) -> list[tuple[int, ...]]:
    """The global cells of every factor, without looking at any number."""
    where, found = layout(graph), []
    for factor in graph.factors:
        if factor.size == 0:
            continue
        if factor.scope.ragged:
            start, cells = factor.scope.ragged_cells(where.offset)
            found += [tuple(int(c) for c in cells[start[i] : start[i + 1]]) for i in range(factor.size)]
        else:
            found += [tuple(int(c) for c in column) for column in factor.scope.columns(where.offset).T]
    return found


def can_sum_first(graph: Any, known: Mapping[tuple[str, int], int], summed: set[int]) -> bool:
    """Can messages sum out `summed` before they minimise over the rest? On a forest, where every connected group of
    summed cells meets the others in one factor at most; in two, eliminating it would couple them."""
    if not is_forest(graph, known):
        return False
    where = layout(graph)
    held = {where.cell(*cell) for cell in known}
    scopes = {frozenset(cells) - held for cells in cells_of(graph)}
    largest = [s for s in scopes if not any(s < other for other in scopes)]
    left = set(summed) - held
    while left:
        group, grown = {left.pop()}, True
        while grown:
            touched = [s for s in largest if s & group]
            wider = group.union(*(s & summed for s in touched)) if touched else group
            grown, group = wider != group, wider
        left -= group
        if sum(1 for s in largest if s & group and s - summed) > 1:
            return False
    return True
