"""Trees of contractions at work on rows that are not forbidden: what `contracting.Trees` does with whole tables.

Up the tree, down it, and down along one assignment or some that are drawn, node by node: what a node takes is one
compiled call or two, and between calls Python hears of Ctrl-C.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, I64, U32
from factorgraph_ebm.compiler.supports import BLOCK, Link, Supports
from factorgraph_ebm.engine import trees as engine
from factorgraph_ebm.engine.contraction import scale_weights
from factorgraph_ebm.engine.sparse_contraction import (
    TO_NODE,
    TO_X,
    TO_Y,
    free_rows,
    least_rows,
    sum_rows,
    tied_rows,
)
from factorgraph_ebm.engine.ties import margins
from factorgraph_ebm.inference.contracting import EXCESS, LOG2, Semiring
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.inference.trees import Filled, Shape, fill

CONTRACTS = {
    engine.WEIGHTS: (sum_rows, sum_rows),
    engine.ENERGIES: (least_rows, free_rows),
    engine.TIES: (tied_rows, tied_rows),
}
"by the operator of a node: what it takes out is minimised or summed"


class Column(NamedTuple):
    """A number for each row of a tensor."""

    value: F64
    ties: F64
    "-log of how many assignments have that energy, where they are counted; otherwise empty"


class SparseTrees:
    """A union with its supports and numbers in hand; where all beliefs were made, they are kept, and supports go."""

    def __init__(self, problem: Problem, semiring: Semiring, shape: Shape, supports: Supports) -> None:
        self.problem = problem
        self.shape = shape
        self.semiring = semiring
        self.filled: Filled = fill(problem.union, shape, problem.scaled, weigh=semiring.kind == engine.WEIGHTS)
        self.value = np.zeros(len(shape.sample))
        self.scale = np.zeros(len(shape.sample))
        self._supports: Supports | None = supports
        self._rows = supports.leaves
        self._leaf = np.repeat(np.arange(len(self._rows.start) - 1), np.diff(self._rows.start))
        self._number = self.filled.number[self.filled.at[self._leaf] + self._rows.element]
        summed = shape.soft if problem.minimize else np.ones(len(shape.states), np.uint8)
        self._operator = summed[supports.nodes.due]
        self._neutral = Column(np.full(1, 1.0 if semiring.kind == engine.WEIGHTS else 0.0), self._counts(1))
        self._belief: F64 | None = None

    def log_sums(self) -> F64:
        """log of the sum of each component, (C,); NaN where digits were lost."""
        if self.semiring.kind != engine.WEIGHTS:
            return -self.value
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.log(self.value) + LOG2 * self.scale - self.filled.taken
        return np.where(self.scale == -np.inf, -np.inf, found)

    def sum(self, chosen: I64, belief: F64, belief_at: I64) -> None:
        """Sums of the chosen components, and beliefs of the leaves of theirs where `belief_at` (L,) is not -1."""
        if self._belief is None:
            assert self._supports is not None
            told = np.zeros(len(self._rows.code))
            counts = np.zeros(len(told) if self.semiring.kind == engine.TIES else 0)
            for c in chosen.tolist():
                columns = self._up(self._supports, c)
                finite = -np.inf < self.value[c] < np.inf
                if finite and not self._down(self._supports, c, columns, Column(told, counts)):
                    self.value[c] = np.nan
            self._belief = self._believe(Column(told, counts))
            self._supports = None
        answered = np.zeros(len(self.value), bool)
        answered[chosen] = np.isfinite(self.value[chosen])
        wanted = (belief_at >= 0) & answered[self.shape.leaf_component]
        if self.semiring is EXCESS:
            entries = _entries(self.shape)
            for leaf in np.flatnonzero(wanted).tolist():
                belief[belief_at[leaf] : belief_at[leaf] + entries[leaf]] = np.inf
        rows = wanted[self._leaf]
        belief[belief_at[self._leaf[rows]] + self._rows.place[rows]] = self._belief[rows]

    def decode(self, chosen: I64, state: I64) -> None:
        """States of least energy of the variables that are not summed, (variables,)."""
        supports = self._supports
        assert supports is not None
        leaves = len(self._rows.start) - 1
        row = np.zeros(leaves + len(supports.nodes.x), np.int64)
        for c in chosen.tolist():
            columns = self._up(supports, c)
            first, stop = supports.nodes.component[c : c + 2].tolist()
            for n in range(stop - 1, first - 1, -1) if self.value[c] < np.inf else ():
                link = supports.links[n]
                assert link is not None
                if self._operator[n] == 0:
                    x, y = int(supports.nodes.x[n]), int(supports.nodes.y[n])
                    i, j = _pairs_to(link, int(row[leaves + n]))
                    best = int((self._column(columns, x).value[i] + self._column(columns, y).value[j]).argmin())
                    row[x] = i[best]
                    if y >= 0:
                        row[y] = j[best]
        own = self.shape.leaves.variable[: self._singles]
        taken = self.shape.soft[own] == 0 if self.problem.minimize else np.zeros(len(own), bool)
        taken &= supports.allowed[self.shape.leaf_component[: len(own)]]
        single = np.flatnonzero(taken)
        state[own[single]] = self._rows.place[self._rows.start[single] + row[single]]

    def draw(self, chosen: I64, state: I64, uniform: F64) -> None:
        """Draws of the chosen components: `state` (draws * variables,) from `uniform` (draws * nodes,) in [0, 1).

        In ties of those of least energy. Down the tree a row of a node is made of one pair of rows, which is drawn.
        """
        supports = self._supports
        assert supports is not None
        leaves = len(self._rows.start) - 1
        states = state.reshape(-1, len(self.shape.states))
        numbers = uniform.reshape(len(states), -1)
        row = np.zeros((len(states), leaves + len(supports.nodes.x)), np.int64)
        for c in chosen.tolist():
            columns = self._up(supports, c)
            if not -np.inf < self.value[c] < np.inf:
                continue
            first, stop = supports.nodes.component[c : c + 2].tolist()
            for n in range(stop - 1, first - 1, -1):
                link = supports.links[n]
                assert link is not None
                x, y = int(supports.nodes.x[n]), int(supports.nodes.y[n])
                i, j = _pairs_of(link, np.arange(len(link.to)))
                weight = self._weights(link, i, j, self._column(columns, x), self._column(columns, y))
                pair = _drawn(weight, link.to.astype(np.int64), row[:, leaves + n], numbers[:, n])
                row[:, x] = i[pair]
                if y >= 0:
                    row[:, y] = j[pair]
        single = np.flatnonzero(np.isin(self.shape.leaf_component[: self._singles], chosen))
        single = single[supports.allowed[self.shape.leaf_component[single]]]
        own = self.shape.leaves.variable[single]
        states[:, own] = self._rows.place[self._rows.start[single] + row[:, single]]

    @property
    def _singles(self) -> int:
        """The leaves of single variables, which come first, one each."""
        sources = self.shape.sources
        return sources[1].leaf if len(sources) > 1 else len(self._rows.start) - 1

    def _weights(self, link: Link, i: I64, j: I64, one: Column, two: Column) -> F64:
        """Of all pairs of a node, up to a factor for each of its rows."""
        if self.semiring.kind == engine.WEIGHTS:
            return one.value[i] * two.value[j]
        energy = one.value[i] + two.value[j]
        above = energy - _least_of(energy, link.to)
        if self.semiring.kind == engine.ENERGIES:
            return np.exp(-above)
        tied = above <= margins(energy - above)
        count = np.where(tied, one.ties[i] + two.ties[j], np.inf)
        return np.where(tied, np.exp(_least_of(count, link.to) - count), 0.0)

    def _column(self, columns: dict[int, Column], t: int) -> Column:
        """The numbers of a tensor; -1 stands for a neutral one."""
        if t < 0:
            return self._neutral
        if t >= len(self._rows.start) - 1:
            return columns[t]
        value = self._number[self._rows.start[t] : self._rows.start[t + 1]]
        return Column(value, np.zeros(len(value) if self.semiring.kind == engine.TIES else 0))

    def _counts(self, rows: int) -> F64:
        return np.zeros(rows if self.semiring.kind == engine.TIES else 0)

    def _contract(self, n: int, link: Link, role: int, rows: int, one: Column, two: Column) -> tuple[Column, float]:
        """What is written, and the power of two that was taken out: -inf where all is 0, NaN where digits were lost."""
        contract = CONTRACTS[self.semiring.kind][self._operator[n]]
        room = rows + 1  # pairs whose row was struck go behind the last
        out = Column(np.empty(room), self._counts(room))
        mass = np.empty(0 if contract in (sum_rows, least_rows) else room)
        contract(
            out.value, one.value, two.value, link.block, link.to, role, mass, out.ties, one.ties, two.ties
        )  # fmt: skip
        weights = self.semiring.kind == engine.WEIGHTS
        out.value[rows] = 0.0 if weights else np.inf
        return out, scale_weights(out.value, rows) if weights else 0.0

    def _up(self, supports: Supports, c: int) -> dict[int, Column]:
        """The columns of all nodes of a component; writes its value and scale."""
        nodes, leaves = supports.nodes, len(self._rows.start) - 1
        columns: dict[int, Column] = {}
        forbidden = -np.inf if self.semiring.kind == engine.WEIGHTS else np.inf
        self.value[c], self.scale[c] = forbidden, forbidden
        if not supports.allowed[c]:
            return columns
        scale = 0.0
        for n in range(int(nodes.component[c]), int(nodes.component[c + 1])):
            link = supports.links[n]
            assert link is not None
            one, two = (self._column(columns, int(t)) for t in (nodes.x[n], nodes.y[n]))
            columns[leaves + n], exponent = self._contract(n, link, TO_NODE, int(supports.rows[leaves + n]), one, two)
            scale += exponent
            if not scale > -np.inf:
                self.value[c] = self.scale[c] = scale
                return columns
        root = columns[leaves + int(nodes.component[c + 1]) - 1]
        self.value[c] = root.value[0]
        self.scale[c] = root.ties[0] if len(root.ties) else scale
        return columns

    def _down(self, supports: Supports, c: int, columns: dict[int, Column], told: Column) -> bool:
        """Write what the leaves of a component are told; False where digits were lost."""
        nodes, start = supports.nodes, self._rows.start
        leaves = len(start) - 1
        first, stop = nodes.component[c : c + 2].tolist()
        down = {leaves + stop - 1: self._neutral}
        for n in range(stop - 1, first - 1, -1):
            link = supports.links[n]
            assert link is not None
            row = down.pop(leaves + n)
            del columns[leaves + n]
            x, y = int(nodes.x[n]), int(nodes.y[n])
            for role, t, other in ((TO_X, x, y), (TO_Y, y, x)):
                if t < 0:
                    continue
                rows = int(supports.rows[t])
                found, scale = self._contract(n, link, role, rows, self._column(columns, other), row)
                if np.isnan(scale):
                    return False
                if t >= leaves:
                    down[t] = found
                    continue
                told.value[start[t] : start[t + 1]] = found.value[:rows]
                if len(told.ties):
                    told.ties[start[t] : start[t + 1]] = found.ties[:rows]
        return True

    def _believe(self, told: Column) -> F64:
        """Beliefs of the rows of all leaves: probabilities, or energies above the least; see `engine.beliefs`."""
        n = len(self._rows.start) - 1
        if self.semiring.kind == engine.WEIGHTS:
            belief = self._number * told.value
        else:
            energy = self._number + told.value
            least = self._least(energy)
            if self.semiring is EXCESS:
                above: F64 = energy - least
                return above
            if self.semiring.kind == engine.ENERGIES:
                belief = np.exp(least - energy)
            else:
                tied = energy - least <= margins(least)
                count = np.where(tied, told.ties, np.inf)
                belief = np.where(tied, np.exp(self._least(count) - count), 0.0)
        total = np.bincount(self._leaf, belief, n)
        share: F64 = belief / np.where(total > 0.0, total, 1.0)[self._leaf]
        return share

    def _least(self, energy: F64) -> F64:
        """The least of its leaf, for each row; 0 where that is not finite."""
        least = np.full(len(self._rows.start) - 1, np.inf)
        np.minimum.at(least, self._leaf, energy)
        found: F64 = np.where(np.isfinite(least), least, 0.0)[self._leaf]
        return found


def _entries(shape: Shape) -> I64:
    """Entries of the table of each leaf, (L,)."""
    arity = np.diff(shape.leaves.start)
    found = np.ones(len(arity), np.int64)
    np.multiply.at(found, np.repeat(np.arange(len(arity)), arity), shape.states[shape.leaves.variable])
    return found


def _pairs_to(link: Link, row: int) -> tuple[I64, I64]:
    """The pairs that go to a row of a node, in order: rows of x, and of y."""
    return _pairs_of(link, np.flatnonzero(link.to == row))


def _pairs_of(link: Link, pair: I64) -> tuple[I64, I64]:
    """The rows of x and of y of some pairs, by their numbers."""
    block = link.block.reshape(-1, BLOCK).astype(np.int64)
    wide = block[:, 3] - block[:, 2]
    start = np.concatenate([[0], np.cumsum((block[:, 1] - block[:, 0]) * wide)])
    at = np.searchsorted(start, pair, side="right") - 1
    i, j = np.divmod(pair - start[at], wide[at])
    return block[at, 0] + i, block[at, 2] + j


def _least_of(energy: F64, to: U32) -> F64:
    """The least of all pairs that go to the same row, for each pair."""
    least = np.full(int(to.max()) + 1, np.inf)
    np.minimum.at(least, to, energy)
    found: F64 = least[to]
    return found


def _drawn(weight: F64, to: I64, row: I64, uniform: F64) -> I64:
    """A pair for each draw (n,), of those that go to its row, by weights."""
    there = np.flatnonzero(weight > 0.0)
    pair = there[np.argsort(to[there], kind="stable")]
    share = weight[pair] / np.bincount(to, weight)[to[pair]]
    begin, end = (np.searchsorted(to[pair], row, side=side) for side in ("left", "right"))
    # Each row sums to 1, so that whatever lies before it costs no more digits than there are rows.
    total = np.concatenate([[0.0], np.cumsum(share)])
    aim = total[begin] + uniform * (total[end] - total[begin])
    found: I64 = pair[np.clip(np.searchsorted(total, aim, side="right") - 1, begin, end - 1)]
    return found
