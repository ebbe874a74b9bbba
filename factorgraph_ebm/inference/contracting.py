"""Trees of contractions at work: a union with its tree and numbers, and who does which part of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from factorgraph_ebm._jit import addresses
from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.compiler.contraction import Tree
from factorgraph_ebm.engine import trees as engine
from factorgraph_ebm.engine.beliefs import believe_energies, believe_ties, believe_weights, excess_energies
from factorgraph_ebm.engine.contraction import (
    free_sums,
    least_sums,
    leave_energies,
    scale_weights,
    sum_products,
    tied_sums,
)
from factorgraph_ebm.engine.trees import DOWN, UP
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.inference.passing import processors
from factorgraph_ebm.inference.threads import together
from factorgraph_ebm.inference.trees import Filled, Shape, fill

LOG2 = np.log(2.0)
COUNTERS = 64
"loops of a contraction at most, and one more: see `engine.contraction.SECOND`"
ENOUGH = 1 << 17
"products for which a second thread is worth waking"
LARGE = 1 << 23
"products from which on threads share the parts of a component, in a space of its own"
SLICE = 1 << 28
"products that one compiled call works on: between calls Python hears of Ctrl-C"


class Semiring(NamedTuple):
    """The kernels that one kind of numbers is contracted with."""

    kind: int
    "what its numbers are"
    contracts: tuple[Any, ...]
    "by the operator of a node: what it takes out is minimised or summed"
    settle: Any
    believe: Any


WEIGHTS = Semiring(engine.WEIGHTS, (sum_products, sum_products), scale_weights, believe_weights)
ENERGIES = Semiring(engine.ENERGIES, (least_sums, free_sums), leave_energies, believe_energies)
EXCESS = Semiring(engine.ENERGIES, (least_sums, free_sums), leave_energies, excess_energies)
TIES = Semiring(engine.TIES, (tied_sums, tied_sums), leave_energies, believe_ties)


class Stretch(NamedTuple):
    """Nodes of one component, for one ticket."""

    component: int
    first: int
    stop: int


class Trees:
    """A union with its tree and numbers in hand."""

    def __init__(self, problem: Problem, semiring: Semiring, shape: Shape, tree: Tree) -> None:
        self.problem = problem
        self.shape = shape
        self.tree = tree
        self.semiring = semiring
        self.filled: Filled = fill(problem.union, shape, problem.scaled, weigh=semiring.kind == engine.WEIGHTS)
        self.value = np.zeros(len(shape.sample))
        self.scale = np.zeros(len(shape.sample))
        summed = shape.soft if problem.minimize else np.ones(len(shape.states), np.uint8)
        self._operator = summed[tree.due]
        self._largest = tree.total.largest
        self._second = 0
        if semiring.kind == engine.TIES:
            number = self.filled.number
            self._second = max(len(number), tree.total.room, 4 * self._largest)
            doubled = np.zeros(self._second + len(number))
            doubled[: len(number)] = number
            self.filled = self.filled._replace(number=doubled)

    def log_sums(self) -> F64:
        """log of the sum of each component, (C,); NaN where digits were lost."""
        if self.semiring.kind != engine.WEIGHTS:
            return -self.value
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.log(self.value) + LOG2 * self.scale - self.filled.taken
        return np.where(self.scale == -np.inf, -np.inf, found)

    def sum(self, chosen: I64, belief: F64, belief_at: I64, *, ways: int = UP | DOWN) -> None:
        """Sums of the chosen components; where `ways` has DOWN, beliefs of leaves, see `sum_trees`."""
        shape, believe = self.shape, self.semiring.believe.address
        wanted = np.append(belief_at, np.empty(len(self.tree.x), np.int64))
        engine.mark_wanted(self.tree.x, self.tree.y, wanted)
        tail = believe, wanted, shape.leaf_loop_start, shape.leaf_loop, belief, self._second
        self._run(engine.sum_trees, chosen, ways, tail)

    def decode(self, chosen: I64, state: I64) -> None:
        """States of least energy of the variables that are not summed."""
        self._run(engine.decode_trees, chosen, UP | DOWN, (*self._axes(), state))

    def draw(self, chosen: I64, state: I64, uniform: F64) -> None:
        """Draws: `state` (draws * variables,) from `uniform` (draws * nodes,)."""
        tail = *self._axes(), state, uniform, self.semiring.kind, self._second
        self._run(engine.draw_trees, chosen, UP | DOWN, tail)

    def _axes(self) -> tuple[Any, ...]:
        tree = self.tree
        return tree.axis_start, tree.axis_variable, tree.axis_kept, tree.axis_x, tree.axis_y, self.shape.states

    def _run(self, driver: Any, chosen: I64, ways: int, tail: tuple[Any, ...]) -> None:
        """Run a driver over the chosen components; `tail`: the arguments that it alone has."""
        tree = self.tree
        work = tree.total.work
        fixed = (
            addresses(self.semiring.contracts), self.semiring.settle.address, tree.x, tree.y, tree.place, tree.size,
            tree.component, tree.loop_start.ravel(), tree.loop, self._operator, self.filled.at, self.filled.number,
        )  # fmt: skip

        def call(part: I64, first: I64, stop: I64, ways: int, spaces: list[tuple[Any, ...]]) -> tuple[F64, F64]:
            value, scale = np.zeros(len(part)), np.zeros(len(part))
            tickets = np.zeros(1, np.int64)

            def task(i: int) -> float:
                driver(
                    *fixed, part, first, stop, tickets, *spaces[i], self._largest, value, scale, ways, *tail
                )
                return 0.0

            together(task, min(len(spaces), len(part)))
            return value, scale

        small = chosen[work[chosen] < LARGE]
        threads = self._threads(float(work[small].sum()))
        spaces = [self._space(np.empty(self._room(small))) for _ in range(threads)]
        for some in _slices(small, work[small]):
            whole = some, tree.component[some], tree.component[some + 1]
            self.value[some], self.scale[some] = call(*whole, ways, spaces)
        for c in chosen[work[chosen] >= LARGE].tolist():
            self._run_large(c, ways, call)

    def _run_large(self, c: int, ways: int, call: Any) -> None:
        """One component: the parts that hang together below, then what joins them, and back."""
        below, above = _branches(self.tree, c)
        shared = np.empty(self._room(np.array([c])))
        spaces = [self._space(shared) for _ in range(self._threads(np.inf))]
        calls = [*_batches(below, self.tree.work), *([s] for s in above)]
        self.value[c], self.scale[c] = 0.0, 0.0
        for stretches in calls if ways & UP else []:
            value, scale = call(*_columns(stretches), UP, spaces)
            self.scale[c] = scale[-1] if self._second else self.scale[c] + scale.sum()
            self.value[c] = value[-1]
            if not (scale > -np.inf).all():  # digits were lost, or everything is forbidden
                self.value[c] = self.scale[c]
                return
        if not -np.inf < self.value[c] < np.inf:
            return
        for stretches in calls[::-1] if ways & DOWN else []:
            value, _ = call(*_columns(stretches), DOWN, spaces)
            if np.isnan(value).any():
                self.value[c] = np.nan
                return

    def _room(self, chosen: I64) -> int:
        return int(self.tree.room[chosen].max(initial=1)) + self._second

    def _space(self, tensors: F64) -> tuple[Any, ...]:
        """The working space of a thread: room for tensors, its own or one that all share, and what is its own."""
        return tensors, np.empty(4 * self._largest + self._second), np.empty(COUNTERS, np.int64)

    def _threads(self, work: float) -> int:
        allowed = processors() if self.problem.threads is None else self.problem.threads
        return max(1, allowed) if work >= ENOUGH else 1


def at_leaves(shape: Shape, leaves: I64, places: I64) -> I64:
    """Where beliefs of leaves go, (L,), -1 for all but these."""
    at = np.full(len(shape.leaf_component), -1, np.int64)
    at[leaves] = places
    return at


def _columns(stretches: Sequence[Stretch]) -> tuple[I64, I64, I64]:
    part, first, stop = (np.array(column, np.int64) for column in zip(*stretches))
    return part, first, stop


def _slices(chosen: I64, work: F64) -> list[I64]:
    """Components for one call each time."""
    ends = np.flatnonzero(np.diff(np.cumsum(work) // SLICE)) + 1
    return [some for some in np.split(chosen, ends) if len(some)]


def _branches(tree: Tree, c: int) -> tuple[list[Stretch], list[Stretch]]:
    """Parts of a component that do not need each other, and what joins them, in order."""
    first, stop = int(tree.component[c]), int(tree.component[c + 1])
    done = np.concatenate([[0.0], np.cumsum(tree.work[first:stop])])
    begin = np.arange(first, stop)  # of what is below each node, and the node
    for n in range(first, stop):  # a large component has few nodes for what it costs
        up = tree.above[n]
        if up >= 0:
            begin[up - first] = min(begin[up - first], begin[n - first])
    mass = done[1:] - done[begin - first]
    limit = max(done[-1] / 64, LARGE / 64)
    above = tree.above[first:stop]
    is_whole = mass <= limit
    is_top = is_whole & ((above < 0) | ~is_whole[np.maximum(above - first, 0)])
    below = [Stretch(c, int(begin[i]), first + int(i) + 1) for i in np.flatnonzero(is_top)]
    rest = np.flatnonzero(~is_whole) + first
    return below, [Stretch(c, int(n), int(n) + 1) for n in rest]


def _batches(stretches: Sequence[Stretch], work: F64) -> list[list[Stretch]]:
    batches: list[list[Stretch]] = []
    size = np.inf
    for stretch in stretches:
        needed = float(work[stretch.first : stretch.stop].sum())
        if size + needed > SLICE:
            batches.append([])
            size = 0.0
        batches[-1].append(stretch)
        size += needed
    return batches
