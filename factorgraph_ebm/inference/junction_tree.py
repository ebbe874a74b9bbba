"""Exact answers by width: a tree of contractions, run up for sums and minima, and down for marginals.

    Z = sum over all variables of the product of exp(-energies), one variable after another

S. L. Lauritzen and D. J. Spiegelhalter, "Local computations with probabilities on graphical structures", J. Royal
Statistical Society B 50(2), 1988; in the binary form of `compiler.contraction`. What it takes is exponential in the
width of the order of elimination and linear in the number of variables, and it is known before it is spent.

Sums run in weights, which lose nothing as long as the numbers of one table lie within 2^500 of each other; a sample in
which they do not is summed again in energies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from factorgraph_ebm._jit import addresses
from factorgraph_ebm.arrays import F64, I64, Bool, Numbers
from factorgraph_ebm.compiler.contraction import Tree
from factorgraph_ebm.engine.contraction import (
    free_sums,
    leave_energies,
    least_sums,
    scale_weights,
    sum_products,
    tied_sums,
)
from factorgraph_ebm.engine.trees import (
    DOWN,
    UP,
    believe_energies,
    believe_ties,
    believe_weights,
    decode_trees,
    draw_trees,
    excess_energies,
    sum_trees,
)
from factorgraph_ebm.errors import WidthTooLargeError
from factorgraph_ebm.inference.method import Answer, Method, Problem, Status
from factorgraph_ebm.inference.passing import processors
from factorgraph_ebm.inference.tables import run_of
from factorgraph_ebm.inference.threads import together
from factorgraph_ebm.inference.trees import Filled, Shape, fill, shape_of

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

    weigh: bool
    contracts: tuple[Any, ...]
    "by the operator of a node: what it takes out is minimised or summed"
    settle: Any
    believe: Any
    counts: bool = False


WEIGHTS = Semiring(True, (sum_products, sum_products), scale_weights, believe_weights)
ENERGIES = Semiring(False, (least_sums, free_sums), leave_energies, believe_energies)
EXCESS = Semiring(False, (least_sums, free_sums), leave_energies, excess_energies)
TIES = Semiring(False, (tied_sums, tied_sums), leave_energies, believe_ties, True)


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
        self.filled: Filled = fill(problem.union, shape, problem.scaled, weigh=semiring.weigh)
        self.value = np.zeros(len(shape.sample))
        self.scale = np.zeros(len(shape.sample))
        summed = shape.soft if problem.minimize else np.ones(len(shape.states), np.uint8)
        self._operator = summed[tree.due]
        self._largest = int(tree.size.max(initial=1))
        self._second = 0
        if semiring.counts:
            number = self.filled.number
            self._second = max(len(number), int(tree.room.max(initial=0)))
            doubled = np.zeros(self._second + len(number))
            doubled[: len(number)] = number
            self.filled = self.filled._replace(number=doubled)

    def log_sums(self) -> F64:
        """log of the sum of each component, (C,); NaN where digits were lost."""
        if not self.semiring.weigh:
            return -self.value
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.log(self.value) + LOG2 * self.scale - self.filled.taken
        return np.where(self.scale == -np.inf, -np.inf, found)

    def sum(self, chosen: I64, belief: F64, belief_at: I64, *, ways: int = UP | DOWN) -> None:
        """Sums of the chosen components; where `ways` has DOWN, beliefs of leaves, see `sum_trees`."""
        middle = belief_at, self.shape.leaf_loop_start, self.shape.leaf_loop
        tail = (self._second,)
        head = (self.semiring.believe.address,)
        self._run(sum_trees, chosen, ways, head, middle, tail, (belief,), ())

    def decode(self, chosen: I64, state: I64) -> None:
        """States of least energy of the variables that are not summed."""
        self._run(decode_trees, chosen, UP | DOWN, (), (), (), (), (*self._axes(), state))

    def draw(self, chosen: I64, state: I64, uniform: F64) -> None:
        """Draws: `state` (draws * variables,) from `uniform` (draws * nodes,)."""
        energies = int(not self.semiring.weigh)
        self._run(draw_trees, chosen, UP | DOWN, (), (), (), (), (*self._axes(), state, uniform, energies))

    def _axes(self) -> tuple[Any, ...]:
        tree = self.tree
        return tree.axis_start, tree.axis_variable, tree.axis_kept, tree.axis_x, tree.axis_y, self.shape.states

    def _run(
        self, driver: Any, chosen: I64, ways: int, head: tuple[Any, ...], middle: tuple[Any, ...],
        second: tuple[Any, ...], before: tuple[Any, ...], after: tuple[Any, ...],
    ) -> None:  # fmt: skip
        tree = self.tree
        work = np.add.reduceat(tree.work, tree.component[:-1]) if len(tree.x) else np.zeros(0)

        def call(stretches: Sequence[Stretch], ways: int, spaces: list[tuple[Any, ...]]) -> tuple[F64, F64]:
            part, first, stop = (np.array(column, np.int64) for column in zip(*stretches))
            value, scale = np.zeros(len(part)), np.zeros(len(part))
            tickets = np.zeros(1, np.int64)

            def task(i: int) -> float:
                driver(
                    addresses(self.semiring.contracts), self.semiring.settle.address, *head, tree.x, tree.y, tree.place,
                    tree.size, tree.component, tree.loop_start.ravel(), tree.loop, self._operator, self.filled.at,
                    self.filled.number, *middle, part, first, stop, tickets, *spaces[i], self._largest, *second, value,
                    scale, *before, ways, *after,
                )  # fmt: skip
                return 0.0

            together(task, min(len(spaces), len(part)))
            return value, scale

        small = chosen[work[chosen] < LARGE]
        threads = self._threads(float(work[small].sum()))
        spaces = [self._space(np.empty(self._room(small)), i) for i in range(threads)]
        for some in _slices(small, work[small]):
            whole = [Stretch(c, int(tree.component[c]), int(tree.component[c + 1])) for c in some.tolist()]
            self.value[some], self.scale[some] = call(whole, ways, spaces)
        for c in chosen[work[chosen] >= LARGE].tolist():
            self._run_large(c, ways, call)

    def _run_large(self, c: int, ways: int, call: Any) -> None:
        """One component: the parts that hang together below, then what joins them, and back."""
        below, above = _branches(self.tree, c)
        shared = np.empty(self._room(np.array([c])))
        spaces = [self._space(shared, i) for i in range(self._threads(np.inf))]
        calls = [*_batches(below, self.tree.work), *([s] for s in above)]
        self.value[c], self.scale[c] = 0.0, 0.0
        for stretches in calls if ways & UP else []:
            value, scale = call(stretches, UP, spaces)
            self.scale[c] = scale[-1] if self._second else self.scale[c] + scale.sum()
            self.value[c] = value[-1]
            if not np.isfinite(value).all():
                self.value[c] = value[~np.isfinite(value)][0]
                return
        for stretches in calls[::-1] if ways & DOWN else []:
            value, _ = call(stretches, DOWN, spaces)
            if np.isnan(value).any():
                self.value[c] = np.nan
                return

    def _room(self, chosen: I64) -> int:
        return int(self.tree.room[chosen].max(initial=1)) + self._second

    def _space(self, tensors: F64, thread: int) -> tuple[Any, ...]:
        """The working space of a thread; the first uses the tensors it is given, others have their own."""
        return tensors, np.empty(4 * self._largest + self._second), np.empty(COUNTERS, np.int64)

    def _threads(self, work: float) -> int:
        allowed = processors() if self.problem.threads is None else self.problem.threads
        return max(1, allowed) if work >= ENOUGH else 1


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
    is_top = is_whole & ((above < 0) | ~is_whole[above - first])
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


def marginals(problem: Problem, **options: Any) -> Answer:
    """Sum-product; at beta = inf the shares of the assignments of least energy, which are counted."""
    compiled = problem.compiled
    shape, tree = _tree_of(problem, options)
    start = compiled.variable_start.astype(np.int64)
    states = np.diff(start)
    probability = np.zeros(compiled.unary_size)
    probability[start[:-1][states == 1]] = 1.0
    at = _at_leaves(shape, np.arange(np.count_nonzero(states > 1)), start[:-1][states > 1])
    everything = np.arange(len(shape.sample))
    if problem.beta == np.inf:
        ties = Trees(problem, TIES, shape, tree)
        ties.sum(everything, probability, at)
        least = _by_sample(shape, ties.value, compiled) + ties.filled.constant
        count = np.where(least == np.inf, -np.inf, _by_sample(shape, -ties.scale, compiled))
        return Answer(
            **_proved(least == np.inf), marginals=probability, least_energy=least, log_count=count,
            joint=_Joint(problem, ties, None, np.zeros(0, np.int64)),
        )  # fmt: skip
    trees = Trees(problem, WEIGHTS, shape, tree)
    trees.sum(everything, probability, at)
    log_sum = trees.log_sums()
    lost = np.flatnonzero(np.isnan(log_sum))
    exact = None
    if len(lost):
        exact = Trees(problem, ENERGIES, shape, tree)
        exact.sum(lost, probability, at)
        log_sum[lost] = exact.log_sums()[lost]
    total = _by_sample(shape, log_sum, compiled) - trees.filled.constant
    infeasible = total == -np.inf
    return Answer(
        **_proved(infeasible), marginals=probability, log_partition=total, joint=_Joint(problem, trees, exact, lost)
    )


class _Joint:
    """Joint probabilities of the factors of a run, made when they are asked for."""

    def __init__(self, problem: Problem, trees: Trees, exact: Trees | None, lost: I64) -> None:
        self.problem, self.trees, self.exact, self.lost = problem, trees, exact, lost

    def __call__(self, run: int) -> F64:
        shape = self.trees.shape
        fields = run_of(self.problem.compiled, run)
        out = np.zeros((fields.size, *fields.states))
        source = next((s for s in shape.sources if s.run == run), None)
        if source is None:  # no variable of it has a choice
            out[...] = 1.0
            return out
        leaves = source.leaf + np.arange(fields.size)
        at = _at_leaves(shape, leaves, math.prod(fields.states) * np.arange(fields.size))
        component = np.unique(shape.leaf_component[leaves])
        flat = out.reshape(-1)
        self.trees.sum(np.setdiff1d(component, self.lost), flat, at)
        if self.exact is not None:
            self.exact.sum(np.intersect1d(component, self.lost), flat, at)
        return out


def _at_leaves(shape: Shape, leaves: I64, places: I64) -> I64:
    """Where beliefs of leaves go, (L,), -1 for all but these."""
    at = np.full(len(shape.leaf_component), -1, np.int64)
    at[leaves] = places
    return at


def best(problem: Problem, **options: Any) -> Answer:
    """Min-sum, or the least free energy of what is summed; ties go to the lowest states where they are decided alone."""
    compiled = problem.compiled
    shape, tree = _tree_of(problem, options)
    trees = Trees(problem, ENERGIES, shape, tree)
    everything = np.arange(len(shape.sample))
    state = np.zeros(len(shape.states), np.int64)
    trees.decode(everything, state)
    energy = _by_sample(shape, trees.value, compiled) + trees.filled.constant
    soft = compiled.variable_soft == 1

    def excess() -> F64:
        found = np.zeros(compiled.unary_size)
        start = compiled.variable_start.astype(np.int64)
        choices = np.flatnonzero(np.diff(start) > 1)
        least = Trees(problem, EXCESS, shape, tree)
        least.sum(everything, found, _at_leaves(shape, np.arange(len(choices)), start[choices]))
        return found

    scale = problem.beta if problem.any_soft and problem.beta not in (0.0, np.inf) else 1.0
    return Answer(
        **_proved(energy == np.inf), states=np.where(soft, -1, state[: len(soft)]),
        free_energy=energy / scale if problem.any_soft else None, message_beta=scale, excess=excess,
    )  # fmt: skip


def _tree_of(problem: Problem, options: Mapping[str, Any]) -> tuple[Shape, Tree]:
    """Raises WidthTooLargeError where tables of the tree would not fit."""
    shape = shape_of(problem.union)
    if shape.tree is None:
        raise WidthTooLargeError("too wide")
    return shape, shape.tree


def _by_sample(shape: Shape, values: F64, compiled: Any) -> F64:
    found: F64 = np.bincount(shape.sample, values, len(compiled.sample_chunk)).astype(np.float64)
    return found


def _proved(infeasible: Bool) -> dict[str, Any]:
    n = len(infeasible)
    return {
        "method": "junction_tree",
        "status": tuple(Status.INFEASIBLE if bad else Status.OPTIMAL for bad in infeasible.tolist()),
        "iterations": np.ones(n, np.int64),
        "residual": np.zeros(n),
    }


METHOD = Method(
    name="junction_tree",
    summary="exact by elimination, where the width of the graph is small",
    best=best,
    marginals=marginals,
    options={},
)
