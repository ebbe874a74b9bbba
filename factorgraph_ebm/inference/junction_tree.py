"""Exact answers by width: a tree of contractions, run up for sums and minima, and down for marginals.

    Z = sum over all variables of the product of exp(-energies), one variable after another

S. L. Lauritzen and D. J. Spiegelhalter, "Local computations with probabilities on graphical structures", J. Royal
Statistical Society B 50(2), 1988; in the binary form of `compiler.contraction`. What it takes is exponential in the
width of the order of elimination and linear in the number of variables, and it is known before it is spent.

Where tables would not fit, or take long, and most of their entries are +inf, log Z, marginals and minima are made of
the others alone (`forbidden`, `sparse_trees`).

Sums run in weights, which lose nothing as long as the numbers of one table lie within 2^500 of each other; components
in which they do not are summed again in energies.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Bool
from factorgraph_ebm.compiler.contraction import Tree
from factorgraph_ebm.compiler.layout import sizes
from factorgraph_ebm.engine.trees import UP
from factorgraph_ebm.errors import MethodError, WidthTooLargeError
from factorgraph_ebm.graph.automaton import chosen_by_ends
from factorgraph_ebm.inference.barren import needed_part
from factorgraph_ebm.inference.contracting import ENERGIES, EXCESS, TIES, WEIGHTS, Trees, at_leaves
from factorgraph_ebm.inference.joints import Wide, joint_marginals
from factorgraph_ebm.inference.method import Answer, Ends, Method, Problem, Ranked, proved
from factorgraph_ebm.inference.ranked_trees import list_component
from factorgraph_ebm.inference.ranking import Listed, places_of, rank_samples
from factorgraph_ebm.inference.tables import Run, run_of, scope_of
from factorgraph_ebm.inference.trees import Shape, Source, fill, shape_of
from factorgraph_ebm.inference.ways import AtWork, bytes_allowed, tree_of, way_of

AnAtWork = TypeVar("AnAtWork", bound=AtWork)
DRAWN = 1 << 22
"numbers drawn at once"


def marginals(problem: Problem, **options: Any) -> Answer:
    """Sum-product; at beta = inf the shares of the assignments of least energy, which are counted."""
    compiled = problem.compiled
    way = way_of(problem, options)
    shape = way.shape
    if problem.alone and problem.beta < np.inf and way.few is None:
        assert shape.tree is not None
        return _sum_alone(problem, shape, shape.tree)
    most = bytes_allowed(options.get("max_bytes"))
    start = compiled.variable_start.astype(np.int64)
    states = np.diff(start)
    probability = np.zeros(compiled.unary_size)
    probability[start[:-1][states == 1]] = 1.0
    at = at_leaves(shape, np.arange(np.count_nonzero(states > 1)), start[:-1][states > 1])
    everything = np.arange(len(shape.sample))
    if problem.beta == np.inf:
        ties = way.at_work(problem, TIES)
        ties.sum(everything, probability, at)
        least = _by_sample(shape, ties.value, compiled) + ties.filled.constant
        count = np.where(least == np.inf, -np.inf, _by_sample(shape, -ties.scale, compiled))
        joint = _Joint(problem, probability, ties, None, np.zeros(0, np.int64), most)
        return Answer(
            **proved("junction_tree", least == np.inf), marginals=probability, least_energy=least, log_count=count,
            joint=joint.tables, ends=joint.ends,
        )  # fmt: skip
    trees = way.at_work(problem, WEIGHTS)
    found = _in_full(
        trees, lambda: way.at_work(problem, ENERGIES), lambda at_work, chosen: at_work.sum(chosen, probability, at)
    )
    total = _by_sample(shape, found.log_sum, compiled) - trees.filled.constant
    infeasible = total == -np.inf
    joint = _Joint(problem, probability, trees, found.exact, found.lost, most)
    return Answer(
        **proved("junction_tree", infeasible), marginals=probability, log_partition=total,
        joint=joint.tables, ends=joint.ends,
    )  # fmt: skip


def _sum_alone(problem: Problem, shape: Shape, tree: Tree) -> Answer:
    """log Z, up the tree of what it needs."""
    needed = needed_part(problem, shape)
    constant: F64 | float = 0.0
    if needed is not None:
        shape, tree, constant = needed
    nowhere = np.full(len(shape.leaf_component), -1)
    trees = Trees(problem, WEIGHTS, shape, tree)
    found = _in_full(
        trees, lambda: Trees(problem, ENERGIES, shape, tree),
        lambda at_work, chosen: at_work.sum(chosen, np.zeros(0), nowhere, ways=UP),
    )  # fmt: skip
    total = _by_sample(shape, found.log_sum, problem.compiled) - trees.filled.constant - constant
    return Answer(**proved("junction_tree", total == -np.inf), log_partition=total)


class _Full(NamedTuple):
    """What all components have by now."""

    log_sum: F64
    "(C,)"
    lost: I64
    "components whose digits were lost in weights"
    exact: AtWork | None
    "which worked on these again, in energies"


def _in_full(trees: AnAtWork, exactly: Callable[[], AnAtWork], work: Callable[[AnAtWork, I64], None]) -> _Full:
    """Do some work on all components, and in energies again on those that lost digits."""
    work(trees, np.arange(len(trees.shape.sample)))
    log_sum = trees.log_sums()
    lost = np.flatnonzero(np.isnan(log_sum))
    exact = exactly() if len(lost) else None
    if exact is not None:
        work(exact, lost)
        log_sum[lost] = exact.log_sums()[lost]
    return _Full(log_sum, lost, exact)


class _Joint:
    """Marginals of the factors of a run, made when they are asked for."""

    def __init__(
        self, problem: Problem, marginals: F64, trees: AtWork, exact: AtWork | None, lost: I64, most: float
    ) -> None:
        self.problem, self.marginals, self.most = problem, marginals, most
        self.trees, self.exact, self.lost = trees, exact, lost

    def tables(self, run: int) -> F64:
        """(n, *states). Raises WidthTooLargeError where factors that are read slot by slot are too wide for tables."""
        shape = self.trees.shape
        fields = run_of(self.problem.compiled, run)
        if run in shape.chains:
            return self._tables_of_chains(fields)
        out = np.ones((fields.size, *fields.states))
        source = next((s for s in shape.sources if s.run == run), None)
        if source is not None:  # else no variable of it has a choice
            out[...] = self._beliefs(source, fields.size, math.prod(fields.states)).reshape(out.shape)
        return out

    def ends(self, run: int) -> Ends | None:
        """By the states in which automata end, which the last leaf of a chain tells; None where tables are made."""
        shape = self.trees.shape
        if run not in shape.chains:
            return None
        automaton = shape.chains[run]
        last = len(automaton.steps) - 1
        step = automaton.steps[last].reshape(-1)
        source = next(s for s in shape.sources if s.run == run and s.step == last)
        belief = self._beliefs(source, run_of(self.problem.compiled, run).size, step.size)
        chosen, reached = chosen_by_ends(automaton)
        probability = np.zeros((len(belief), len(reached)))
        np.add.at(probability.T, step[step >= 0], belief.T[step >= 0])
        return Ends(chosen[:, reached], probability[:, reached])

    def _beliefs(self, source: Source, n: int, entries: int) -> F64:
        """Beliefs of the leaves of a source, (n, entries)."""
        shape = self.trees.shape
        out = np.zeros((n, entries))
        leaves = source.leaf + np.arange(n)
        at = at_leaves(shape, leaves, entries * np.arange(n))
        component = np.unique(shape.leaf_component[leaves])
        flat = out.reshape(-1)
        self.trees.sum(np.setdiff1d(component, self.lost), flat, at)
        if self.exact is not None:
            self.exact.sum(np.intersect1d(component, self.lost), flat, at)
        return out

    def _tables_of_chains(self, fields: Run) -> F64:
        """A leaf of a chain knows one variable and a helper: all variables of a factor are brought together anew."""
        if shape_of(self.problem.union).tree is None:
            raise WidthTooLargeError(
                f"marginals of factors over {fields.arity} variables would need a tree of whole tables, which do not "
                "fit. Ask for those of a few variables: joint=[(a, b)]."
            )
        scope = scope_of(self.problem.compiled, fields)
        out = np.empty((fields.size, *fields.states))
        found = joint_marginals(self.problem, self.marginals, scope.T.tolist(), self.most)
        for f, table in enumerate(found):
            if isinstance(table, Wide):
                raise WidthTooLargeError(
                    f"marginals of a factor over {fields.arity} variables would need {table.bytes:,.0f} bytes, which "
                    "do not fit. Ask for a few of them: joint=[(a, b)]."
                )
            out[f] = table
        return out


def best(problem: Problem, **options: Any) -> Answer:
    """Min-sum, or the least free energy of what is summed; ties go to the lowest state, variable by variable."""
    compiled = problem.compiled
    way = way_of(problem, options)
    shape = part = way.shape
    needed = needed_part(problem, shape) if problem.any_soft and way.few is None else None
    constant: F64 | float = 0.0
    if needed is None:
        trees = way.at_work(problem, ENERGIES)
    else:
        part, part_tree, constant = needed
        trees = Trees(problem, ENERGIES, part, part_tree)
    state = np.zeros(len(shape.states), np.int64)
    trees.decode(np.arange(len(part.sample)), state)
    energy = _by_sample(part, trees.value, compiled) + trees.filled.constant + constant
    soft = compiled.variable_soft == 1

    def excess() -> F64:
        found = np.zeros(compiled.unary_size)
        start = compiled.variable_start.astype(np.int64)
        choices = np.flatnonzero(np.diff(start) > 1)
        least = way_of(problem, options).at_work(problem, EXCESS)
        least.sum(np.arange(len(shape.sample)), found, at_leaves(shape, np.arange(len(choices)), start[choices]))
        return found

    scale = problem.beta if problem.any_soft and problem.beta not in (0.0, np.inf) else 1.0
    return Answer(
        **proved("junction_tree", energy == np.inf), states=np.where(soft, -1, state[: len(soft)]),
        free_energy=energy / scale if problem.any_soft else None, message_beta=scale, excess=excess,
    )  # fmt: skip


def sample(problem: Problem, n: int, rng: np.random.Generator, **options: Any) -> I64:
    """Draw down the tree, variable after variable given those above; at beta = inf among the minimisers."""
    compiled = problem.compiled
    shape, tree = tree_of(problem, options)
    trees = Trees(problem, TIES if problem.beta == np.inf else WEIGHTS, shape, tree)
    exactly = functools.cache(lambda: Trees(problem, ENERGIES, shape, tree))
    free = len(compiled.variable_cell)
    states = np.zeros((n, free), np.int64)
    allowed = np.ones(len(compiled.sample_chunk), bool)
    nodes = max(1, len(tree.x))

    def draw(count: int) -> tuple[I64, F64]:
        drawn, uniform = np.zeros(count * len(shape.states), np.int64), rng.random(count * nodes)
        found = _in_full(trees, exactly, lambda at_work, chosen: at_work.draw(chosen, drawn, uniform))
        return drawn.reshape(count, -1), found.log_sum

    for low in range(0, n, max(1, DRAWN // nodes)):
        drawn, log_sum = draw(min(n - low, max(1, DRAWN // nodes)))
        allowed &= _by_sample(shape, log_sum, compiled) - trees.filled.constant > -np.inf
        states[low : low + len(drawn)] = drawn[:, :free]
    if n:
        states[:, ~allowed[compiled.variable_sample]] = -1
    return states


def k_best(problem: Problem, k: int, asked: Bool, **options: Any) -> Ranked:
    """Lists up the tree of what is asked for, after everything else was minimised; see `engine.ranked_trees`."""
    compiled = problem.compiled
    shape, tree = tree_of(problem, options, ~asked)
    filled = fill(problem.union, shape, problem.numbers, weigh=False)
    place = places_of(compiled, asked)
    certain = np.flatnonzero(sizes(compiled.variable_start) == 1)
    parts: list[list[Listed]] = [[] for _ in compiled.sample_chunk]
    order = np.argsort(compiled.variable_sample[certain], kind="stable")
    count = np.bincount(compiled.variable_sample[certain], minlength=len(parts))
    of_sample = np.split(certain[order], np.cumsum(count))
    for sample, (ones, constant) in enumerate(zip(of_sample, filled.constant.tolist())):
        allowed = np.array([constant]) if constant < np.inf else np.zeros(0)
        ones = ones[np.argsort(place[ones])]
        parts[sample].append(Listed(allowed, place[ones], np.zeros((len(allowed), len(ones)), np.int64)))
    for c, sample in enumerate(shape.sample.tolist()):
        parts[sample].append(list_component(problem, shape, tree, filled, c, k, place))
    return rank_samples("junction_tree", parts, place, k)


def check(options: Mapping[str, Any]) -> None:
    """Raise MethodError for a value that an option cannot have."""
    most = options["max_bytes"]
    if most is not None and (isinstance(most, bool) or not isinstance(most, (int, np.integer)) or most < 1):
        raise MethodError(f"max_bytes= is a number of bytes, 1 or more, or None, not {most!r}.")


def _by_sample(shape: Shape, values: F64, compiled: Any) -> F64:
    found: F64 = np.bincount(shape.sample, values, len(compiled.sample_chunk)).astype(np.float64)
    return found


METHOD = Method(
    name="junction_tree",
    summary="exact by elimination, where the width of the graph is small",
    best=best,
    marginals=marginals,
    options={"max_bytes": None},
    check=check,
    sample=sample,
    k_best=k_best,
)
