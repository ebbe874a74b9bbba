"""A union as tensors over its variables, the tree of contractions that answers for it, and its numbers.

Leaves are the unary energies of each variable and the factors. What has one state is no axis, and what is left without
an axis is a constant of its sample. A factor over many variables becomes a chain of small ones with helper variables
(`graph.automaton`): its leaves are the steps of its automaton, its numbers those of the states it ends in.
"""

from __future__ import annotations

import bisect
import math
import weakref
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, I64, U8, Bool, Compiled, Numbers
from factorgraph_ebm.compiler.contraction import Leaves, Tree, grow_tree
from factorgraph_ebm.compiler.elimination import Elimination, find_order
from factorgraph_ebm.compiler.union import Union
from factorgraph_ebm.engine.leaf_weights import weigh_from, weigh_rows
from factorgraph_ebm.factors import STRUCTURES
from factorgraph_ebm.graph.automaton import Automaton
from factorgraph_ebm.graph.table_map import c_strides
from factorgraph_ebm.inference.known_orders import KnownOrder
from factorgraph_ebm.inference.tables import Run, number_rows, run_of, run_tables, scope_of

LARGEST = 2.0**27
"entries of a table over the variables that are joined when one is eliminated, above which a tree is given up"
SMALL_TABLE = 1 << 10
"entries up to which the table of a structure is made: its joint marginals take no further tree"
WIDEST_TABLE = 1 << 22
"entries of the table of a structure that has no table of its own, above which none is made"


class Source(NamedTuple):
    """Where the numbers of some leaves come from: of one run, or of all variables."""

    run: int
    "-1: unary energies"
    leaf: int
    "first of the leaves; one for each factor, or for each variable that has a choice"
    table: bool
    "numbers lie in the store as declared; otherwise tables are made when numbers are bound"
    step: int = -1
    "slot that is read in a chain; -1: the whole factor"


class Shape(NamedTuple):
    """What does not depend on numbers."""

    leaves: Leaves
    sources: tuple[Source, ...]
    states: I64
    "(variables,) those of the engine first, then helpers"
    elimination: Elimination
    tree: Tree | None
    "None: too wide"
    table_size: int
    "elements of tables that are made in the place of structures"
    soft: U8
    "(variables,) 1 where it is taken out before others"
    sample: I64
    "(C,) of each component of the tree"
    leaf_component: I64
    "(L,)"
    chains: Mapping[int, Automaton]
    "by the runs whose factors are chains"
    leaf_loop_start: I64
    leaf_loop: I64
    "of each leaf, for reading its numbers in C order"
    hopeful: bool
    "no order was looked for where the first was hopeless"
    widest: int
    "entries of the largest table that is made in the place of a structure"
    places: Places


_kept: dict[tuple[int, bytes], Shape] = {}
"by the identity of an array of a compiled union, for as long as it lives, and by what goes first"


def shape_of(union: Union, first: Bool | None = None, *, hopeful: bool = False) -> Shape:
    """The leaves and the tree of a union, made once.

    `first` (V,): variables that are taken out before others; None: those that are summed out of a minimisation.
    `hopeful`: where the first order of elimination is hopeless, no other is looked for, and there is no tree.
    """
    owner = union.compiled.variable_start
    key = id(owner), b"" if first is None else np.packbits(first).tobytes()
    found = _kept.get(key)
    if found is None or (found.tree is None and found.hopeful and not hopeful):
        soft = union.compiled.variable_soft if first is None else first.astype(np.uint8)
        if found is None:
            weakref.finalize(owner, _kept.pop, key, None)
        found = _kept[key] = _find_shape(union, soft, hopeful)
    return found


class _Gathering:
    """Leaves, and variables with helpers, as they are found."""

    def __init__(self, compiled: Compiled, soft: U8) -> None:
        self.compiled = compiled
        states = np.diff(compiled.variable_start.astype(np.int64))
        self.states: list[I64] = [states.astype(np.int64)]
        self.soft: list[U8] = [soft]
        self.sample: list[I64] = [compiled.variable_sample.astype(np.int64)]
        self.sources: list[Source] = []
        self.chains: dict[int, Automaton] = {}
        self.table_size = self.widest = 0
        self._start: list[I64] = []
        self._variable: list[I64] = []
        self._stride: list[I64] = []
        self._leaves = self._slots = 0
        self._variables = len(states)

    def add(self, source: Source, scope: I64, strides: I64) -> None:
        """Leaves over variables (axes, n) of some choice, with strides (axes,)."""
        axes, n = scope.shape
        self.sources.append(source._replace(leaf=self._leaves))
        self._start.append(self._slots + axes * np.arange(n))
        self._variable.append(np.ascontiguousarray(scope.T).ravel())
        self._stride.append(np.tile(strides, n))
        self._leaves += n
        self._slots += axes * n

    def add_chain(self, run: int, fields: Run, automaton: Automaton) -> None:
        """A leaf for each slot, and helper variables between them."""
        self.chains[run] = automaton
        scope = scope_of(self.compiled, fields)
        # A helper is summed where any variable of its factor is: of all its states one is left then.
        soft = self.soft[0][scope].max(axis=0)
        before: I64 | None = None
        for s, step in enumerate(automaton.steps):
            last = s == len(automaton.steps) - 1
            after: I64 | None = None
            if not last and len(automaton.steps[s + 1]) > 1:
                after = self._variables + np.arange(fields.size)
                self._variables += fields.size
                self.states.append(np.full(fields.size, len(automaton.steps[s + 1])))
                self.soft.append(soft)
                self.sample.append(self.compiled.variable_sample[scope[0]].astype(np.int64))
            axes = [before, scope[s] if step.shape[1] > 1 else None, after]
            shape = step_shape(automaton, s)
            kept = [i for i, axis in enumerate(axes) if axis is not None]
            stride = np.array(c_strides(shape), np.int64)[kept]
            self.add(Source(run, 0, False, s), np.stack([a for a in axes if a is not None]), stride)
            self.table_size += math.prod(shape)
            before = after

    def leaves(self) -> Leaves:
        start = np.append(np.concatenate(self._start), self._slots)
        return Leaves(start.astype(np.int64), np.concatenate(self._variable), np.concatenate(self._stride))


def step_shape(automaton: Automaton, s: int) -> tuple[int, ...]:
    """States before a slot, of its variable, and after it, but for the last slot."""
    step = automaton.steps[s]
    return step.shape if s == len(automaton.steps) - 1 else (*step.shape, len(automaton.steps[s + 1]))


def _chain_of(compiled: Compiled, kind: str, fields: Run) -> Automaton | None:
    """How to read the factors of a run slot by slot, where that is smaller than a table."""
    if math.prod(fields.states) <= SMALL_TABLE:
        return None
    found = STRUCTURES[kind].automaton(fields.states, compiled.constants[fields.constant :])
    if found is None or found.entries >= math.prod(fields.states):
        return None
    bare = any(max(step_shape(found, s)) == 1 for s in range(fields.arity))
    return None if bare else found


def _find_shape(union: Union, first: U8, hopeful: bool) -> Shape:
    compiled = union.compiled
    found = _Gathering(compiled, first)
    choices = np.flatnonzero(found.states[0] > 1)
    found.add(Source(-1, 0, True), choices[None], np.ones(1, np.int64))
    runs = [run_of(compiled, r) for r in range(len(union.layout.kinds))]
    for r, (kind, fields) in enumerate(zip(union.layout.kinds, runs)):
        kept = [s for s, k in enumerate(fields.states) if k > 1]
        if not kept or not fields.size:
            continue
        if kind != "Table":
            chain = _chain_of(compiled, kind, fields)
            if chain is not None:
                found.add_chain(r, fields, chain)
                continue
            found.widest = max(found.widest, math.prod(fields.states))
            found.table_size += math.prod(fields.states) * (1 if fields.shared >= 0 else fields.size)
        strides = fields.strides if kind == "Table" else c_strides(fields.states)
        found.add(Source(r, 0, kind == "Table"), scope_of(compiled, fields)[kept], np.array(strides, np.int64)[kept])
    leaves = found.leaves()
    states, soft, sample = np.concatenate(found.states), np.concatenate(found.soft), np.concatenate(found.sample)
    stage: U8 = (soft == 0).astype(np.uint8)
    known = KnownOrder(union, leaves, states, staged=bool(soft.any()))
    elimination = find_order(
        leaves.start, leaves.variable, states, stage, limit=LARGEST, hopeful=hopeful, known=known.find
    )
    known.keep(elimination)
    order = elimination.order[states[elimination.order] > 1]
    component = np.empty(len(states), np.int64)  # of those that have a choice
    label = np.repeat(np.arange(len(elimination.start) - 1), np.diff(elimination.start))
    component[order] = np.unique(label[states[elimination.order] > 1], return_inverse=True)[1]
    head = order[np.flatnonzero(np.diff(component[order], prepend=-1))]
    fits = bool(np.isfinite(elimination.entries).all()) and found.widest <= WIDEST_TABLE
    tree = grow_tree(leaves, states, order, stage) if fits else None
    return Shape(
        leaves, tuple(found.sources), states, elimination, tree, found.table_size, soft, sample[head],
        component[leaves.variable[leaves.start[:-1]]], found.chains, *leaf_loops(leaves, states), hopeful, found.widest,
        _find_places(compiled, runs, found.sources, found.chains),
    )  # fmt: skip


def leaf_loops(leaves: Leaves, states: I64) -> tuple[I64, I64]:
    """Depth, then length and stride of each axis, the last first; leaf by leaf."""
    arity = np.diff(leaves.start)
    where = np.concatenate([[0], np.cumsum(1 + 2 * arity)])
    loop = np.empty(int(where[-1]), np.int64)
    loop[where[:-1]] = arity
    leaf = np.repeat(np.arange(len(arity)), arity)
    from_end = leaves.start[leaf + 1] - 1 - np.arange(len(leaf))
    loop[where[leaf] + 1 + 2 * from_end] = states[leaves.variable]
    loop[where[leaf] + 2 + 2 * from_end] = leaves.stride
    return where[:-1].copy(), loop


class Filled(NamedTuple):
    """Leaves with numbers."""

    at: I64
    "(L,) element of `number` where each leaf begins"
    number: F64
    "element 0 is neutral"
    constant: F64
    "(N,) what is left without an axis"
    taken: F64
    "(C,) energy that was taken off the numbers of each component"


class _Span(NamedTuple):
    """Numbers of the store that runs read, which overlap or touch."""

    low: int
    high: int


class Places(NamedTuple):
    """Where the numbers of leaves lie: 0 is neutral, then come unary energies, spans of the store, and tables made."""

    at: I64
    "(leaves of sources,) element where each begins"
    size: int
    "elements of all"
    spans: tuple[tuple[_Span, int], ...]
    "what is copied of the store, and where to"
    made: tuple[tuple[Source, int], ...]
    "sources whose tables are made, and where to"
    several: I64
    "variables of two states or more: those of the first leaves"
    certain: tuple[I64, I64]
    "element of the unary energies, and sample, of those of one state"
    bare: tuple[tuple[int, I64], ...]
    "runs over no variable of two states or more, with the sample of each factor"


def _find_places(
    compiled: Compiled, runs: Sequence[Run], sources: Sequence[Source], chains: Mapping[int, Automaton]
) -> Places:
    start = compiled.variable_start.astype(np.int64)
    states = np.diff(start)
    several, certain = np.flatnonzero(states > 1), np.flatnonzero(states == 1)
    size = 1 + int(start[-1])
    own = {s.run: _numbers_of(compiled, runs[s.run]) for s in sources[1:] if s.table}
    spans = []
    for span in _spans(own, runs):
        spans.append((span, size))
        size += span.high - span.low
    lows = [span.low for span, _ in spans]
    at, made = [1 + start[several]], []
    for source in sources[1:]:
        fields = runs[source.run]
        if source.table:
            places = own[source.run]
            span, first = spans[bisect.bisect_right(lows, places[0]) - 1]
            at.append(places + (first - span.low))
            continue
        made.append((source, size))
        shape = fields.states if source.step < 0 else step_shape(chains[source.run], source.step)
        # Steps between states have one table each; ends, and what is read at once, one for each row of numbers.
        one = fields.shared >= 0 or 0 <= source.step < len(chains[source.run].steps) - 1
        at.append(size + (0 if one else math.prod(shape)) * np.arange(fields.size))
        size += math.prod(shape) * (1 if one else fields.size)
    bare = [
        (r, compiled.variable_sample[scope_of(compiled, fields)[0]].astype(np.int64))
        for r, fields in enumerate(runs)
        if fields.size and max(fields.states) == 1
    ]
    return Places(
        np.concatenate(at), size, tuple(spans), tuple(made), several,
        (start[certain], compiled.variable_sample[certain].astype(np.int64)), tuple(bare),
    )  # fmt: skip


def fill(union: Union, shape: Shape, numbers: Numbers, *, weigh: bool) -> Filled:
    """The numbers of all leaves: energies, or weights, those of single variables less their least energies."""
    compiled, places = union.compiled, shape.places
    constant = np.zeros(len(compiled.sample_chunk))
    taken = np.zeros(len(shape.sample))
    np.add.at(constant, places.certain[1], numbers.unary[places.certain[0]])
    number = np.empty(places.size)
    number[0] = 1.0 if weigh else 0.0
    if weigh:
        least = np.empty(len(compiled.variable_sample))
        weigh_rows(numbers.unary, compiled.variable_start, number, least)
        if len(taken):
            # Leaves of no component have a number beyond all.
            of_leaf = shape.leaf_component[: len(places.several)]
            taken += np.bincount(of_leaf, least[places.several], len(taken))[: len(taken)]
    else:
        number[1 : 1 + len(numbers.unary)] = numbers.unary
    for span, first in places.spans:
        _copy(numbers.store[span.low : span.high], number, first, weigh=weigh)
    for source, first in places.made:
        _copy(_made(union, shape, numbers, source).ravel(), number, first, weigh=weigh)
    for run, sample in places.bare:
        np.add.at(constant, sample, run_tables(union, numbers, run).reshape(len(sample)))
    at, further = places.at, len(shape.leaf_component) - len(places.at)
    if further:  # these are neutral
        at = np.concatenate([at, np.zeros(further, np.int64)])
    return Filled(at, number, constant, taken)


def _copy(energy: F64, number: F64, first: int, *, weigh: bool) -> None:
    """Write energies, or weights, from `first` on."""
    if weigh:
        weigh_from(energy, number, first)
    else:
        number[first : first + len(energy)] = energy


def _made(union: Union, shape: Shape, numbers: Numbers, source: Source) -> F64:
    """Tables of the leaves of a source, (n, *states); one row where all are the same."""
    compiled = union.compiled
    fields = run_of(compiled, source.run)
    alike = fields.shared >= 0
    if source.step < 0:
        return np.ascontiguousarray(run_tables(union, numbers, source.run, np.zeros(1, np.int64) if alike else None))
    automaton = shape.chains[source.run]
    step = automaton.steps[source.step]
    if source.step < len(automaton.steps) - 1:
        after = np.arange(len(automaton.steps[source.step + 1]))
        return np.where(step[None, :, :, None] == after, 0.0, np.inf)
    kind = union.layout.kinds[source.run]
    number = _numbers_of(compiled, fields)[: 1 if alike else None]
    rows = number_rows(compiled, numbers.store, kind, fields, number).reshape(len(number), -1)
    ends = automaton.energies.entries(rows)
    return np.where(step >= 0, ends[:, np.maximum(step, 0)], np.inf)


def _numbers_of(compiled: Compiled, fields: Run) -> I64:
    if fields.shared >= 0:
        return np.full(fields.size, fields.shared, np.int64)
    return compiled.factor_number[fields.factor : fields.factor + fields.size].astype(np.int64)


def _spans(numbers: Mapping[int, I64], runs: Sequence[Run]) -> list[_Span]:
    """What the tables of all runs cover of the store, joined where they overlap."""
    found = []
    for run, places in numbers.items():
        extent = sum((k - 1) * stride for k, stride in zip(runs[run].states, runs[run].strides)) + 1
        found.append(_Span(int(places.min()), int(places.max()) + extent))
    joined: list[_Span] = []
    for span in sorted(found):
        if joined and span.low < joined[-1].high:
            joined[-1] = _Span(joined[-1].low, max(joined[-1].high, span.high))
        else:
            joined.append(span)
    return joined
