"""Joint marginals of any variables, by trees of contractions that bring them together.

    P(a, b) = sum over all else of the product of exp(-energies) * 1(a, b)

A *neutral leaf*, 1 for all states of the variables of a joint, changes no sum, but any order of elimination joins it to
all of them, so that its belief is their joint marginal: what R. Dechter ("Bucket elimination", Artificial Intelligence
113, 1999) and D. Koller and N. Friedman ("Probabilistic Graphical Models", 2009, 10.3.3) do for queries that no clique
covers. The order is that of the graph itself; only variables which do not lie on one path to the root wait until what
is below both of them meets. Joints that cost less together share a tree, and each component has its own: variables of
two components are independent.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from factorgraph_ebm._jit import I8, NOTHING, READ_I8, kernel
from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.compiler.contraction import Leaves, Tree, grow_tree
from factorgraph_ebm.compiler.union import Union
from factorgraph_ebm.inference.contracting import ENERGIES, TIES, WEIGHTS, Trees, at_leaves
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.inference.trees import LARGEST, Shape, leaf_loops, shape_of

MAKING = 1 << 19
"products that take as long as growing one more tree"

Set: TypeAlias = tuple[int, ...]
"distinct variables of two states or more, of one component, ascending"


class Wide(NamedTuple):
    """A joint whose tree does not fit."""

    bytes: float


class Layer(NamedTuple):
    """A tree with the joints that it answers for; all trees of a union have the same components."""

    shape: Shape
    tree: Tree
    sets: tuple[Set, ...]
    "of the last leaves"


class Layers(NamedTuple):
    """Trees that answer for some joints, and those for which there is none."""

    layers: tuple[Layer, ...]
    wide: Mapping[Set, Wide]


def joint_marginals(
    problem: Problem, marginals: F64, asked: Sequence[Sequence[int]], max_bytes: float
) -> list[F64 | Wide]:
    """Marginals of sets of distinct variables, each (*states) in the order of the set.

    Zeros in samples where all is forbidden are for the caller to write: here a component has no say over another.

    Parameters
    ----------
    problem : of marginals, and with a tree
    marginals : (unary_size,) of its answer
    max_bytes : of the messages of a tree
    """
    shape = shape_of(problem.union)
    start = problem.compiled.variable_start.astype(np.int64)
    component = _components(shape)
    parts: list[list[Set]] = []
    for each in asked:
        of_component: dict[int, list[int]] = {}
        for v in sorted(each):
            of_component.setdefault(int(component[v]) if shape.states[v] > 1 else -1 - v, []).append(v)
        parts.append([tuple(some) for some in of_component.values()])
    wanted = sorted({part for some in parts for part in some if len(part) > 1})
    found: dict[Set, F64 | Wide] = {}
    for part in (part for some in parts for part in some if len(part) == 1):
        found[part] = marginals[start[part[0]] : start[part[0] + 1]]
    if wanted:
        layers = _layers_of(problem.union, shape, tuple(wanted), max_bytes)
        found.update(layers.wide)
        for layer in layers.layers:
            _run(problem, layer, found)
    return [_product(each, of_set, found, shape) for each, of_set in zip(asked, parts)]


def _product(
    variables: Sequence[int], parts: Sequence[Set], found: Mapping[Set, F64 | Wide], shape: Shape
) -> F64 | Wide:
    """The joint of all variables of that of each component."""
    place = {v: i for i, v in enumerate(variables)}
    entries = math.prod(int(shape.states[v]) for v in variables)
    if entries > LARGEST:
        return Wide(8.0 * entries)
    out = np.ones([int(shape.states[v]) for v in variables])
    for part in parts:
        table = found[part]
        if isinstance(table, Wide):
            return table
        axes = [place[v] for v in part]
        spread = [1] * len(variables)
        for axis in axes:
            spread[axis] = out.shape[axis]
        out *= table.transpose(np.argsort(axes)).reshape(spread)
    return out


def _components(shape: Shape) -> I64:
    """Component of each variable that has a choice, (V,)."""
    component = np.full(len(shape.states), -1, np.int64)
    component[shape.leaves.variable] = np.repeat(shape.leaf_component, np.diff(shape.leaves.start))
    return component


def _run(problem: Problem, layer: Layer, found: dict[Set, F64 | Wide]) -> None:
    """Sums up the tree, and down to the joints alone."""
    shape, sets = layer.shape, layer.sets
    shapes = [tuple(int(shape.states[v]) for v in each) for each in sets]
    first = np.concatenate([[0], np.cumsum([math.prod(each) for each in shapes])]).astype(np.int64)
    leaves = len(shape.leaf_component) - len(sets) + np.arange(len(sets))
    at = at_leaves(shape, leaves, first[:-1])
    chosen = np.unique(shape.leaf_component[leaves])
    belief = np.zeros(int(first[-1]))
    trees = Trees(problem, TIES if problem.beta == np.inf else WEIGHTS, shape, layer.tree)
    trees.sum(chosen, belief, at)
    lost = chosen[np.isnan(trees.value[chosen])]
    if len(lost):
        Trees(problem, ENERGIES, shape, layer.tree).sum(lost, belief, at)
    for each, low, high, states in zip(sets, first[:-1].tolist(), first[1:].tolist(), shapes):
        found[each] = belief[low:high].reshape(states)


_kept: dict[int, dict[tuple[tuple[Set, ...], float], Layers]] = {}
"by the identity of an array of a compiled union, for as long as it lives: what was asked last"


def _layers_of(union: Union, shape: Shape, sets: tuple[Set, ...], max_bytes: float) -> Layers:
    owner = union.compiled.variable_start
    kept = _kept.get(id(owner))
    if kept is None:
        kept = _kept[id(owner)] = {}
        weakref.finalize(owner, _kept.pop, id(owner), None)
    if (sets, max_bytes) not in kept:
        found = _find_layers(shape, sets, max_bytes)
        kept.clear()
        kept[sets, max_bytes] = found
    return kept[sets, max_bytes]


def _find_layers(shape: Shape, sets: Sequence[Set], max_bytes: float) -> Layers:
    """Halve the joints of a component until those of one tree cost no more than a tree for each of them would."""
    assert shape.tree is not None
    alone = shape.tree.total.work
    paths = _Paths(shape, shape.tree)
    component = _components(shape)
    waiting: dict[int, list[list[Set]]] = {}
    for each in sorted(sets, key=lambda some: sorted(paths.position[list(some)].tolist())):
        waiting.setdefault(int(component[each[0]]), [[]])[0].append(each)
    layers: list[Layer] = []
    wide: dict[Set, Wide] = {}
    while waiting:
        tried = {c: groups.pop() for c, groups in waiting.items()}
        layer = _grow(shape, paths, [each for group in tried.values() for each in group])
        work, room = _costs(layer)
        good: list[Set] = []
        for c, group in tried.items():
            fits = work[c].max() <= LARGEST and room[c] <= max_bytes
            if fits and (len(group) == 1 or work[c].sum() <= len(group) * (alone[c] + MAKING)):
                good += group
            elif len(group) == 1:
                wide[group[0]] = Wide(float(room[c]))
            else:
                waiting[c] += [group[len(group) // 2 :], group[: len(group) // 2]]
        if len(good) == len(layer.sets):
            layers.append(layer)
        elif good:
            layers.append(_grow(shape, paths, good))
        waiting = {c: groups for c, groups in waiting.items() if groups}
    return Layers(tuple(layers), wide)


@kernel(NOTHING, READ_I8, READ_I8, READ_I8, I8)
def find_meetings(above, start, node, meeting):  # type: ignore[no-untyped-def]
    """The lowest node above all of node[start[i]:start[i + 1]]; nodes come after what is below them."""
    for i in range(len(meeting)):
        m = node[start[i]]
        for j in range(start[i] + 1, start[i + 1]):
            other = node[j]
            while m != other:
                if m < other:
                    m = above[m]
                else:
                    other = above[other]
        meeting[i] = m


class _Paths:
    """Where variables are taken out of a tree."""

    def __init__(self, shape: Shape, tree: Tree) -> None:
        self.tree = tree
        order = shape.elimination.order
        self.order = order[shape.states[order] > 1]
        self.position = np.zeros(len(shape.states), np.int64)
        self.position[self.order] = np.arange(len(self.order))
        node = np.repeat(np.arange(len(tree.x)), np.diff(tree.axis_start))
        gone = tree.axis_kept == 0
        self.node = np.zeros(len(shape.states), np.int64)
        self.node[tree.axis_variable[gone]] = node[gone]

    def order_for(self, start: I64, variable: I64) -> I64:
        """The order, but variables of a set that lie on several paths wait for the node where these meet."""
        node = self.node[variable]
        meeting = np.empty(len(start) - 1, np.int64)
        find_meetings(self.tree.above, start, node, meeting)
        waits = meeting > np.maximum.reduceat(node, start[:-1])
        until = np.where(waits, self.position[self.tree.due[meeting]] - 0.5, -1.0)
        when = self.position.astype(np.float64)
        np.maximum.at(when, variable, np.repeat(until, np.diff(start)))
        return self.order[np.argsort(when[self.order], kind="stable")]


def _grow(shape: Shape, paths: _Paths, sets: Sequence[Set]) -> Layer:
    variable = np.array([v for each in sets for v in each], np.int64)
    start = np.concatenate([[0], np.cumsum([len(each) for each in sets])]).astype(np.int64)
    own, none = shape.leaves, np.zeros(len(variable), np.int64)
    leaves = Leaves(
        np.concatenate([own.start, own.start[-1] + start[1:]]),
        np.concatenate([own.variable, variable]),
        np.concatenate([own.stride, none]),
    )
    stage = (shape.soft == 0).astype(np.uint8)
    tree = grow_tree(leaves, shape.states, paths.order_for(start, variable), stage)
    where, loop = leaf_loops(Leaves(start, variable, none), shape.states)
    component = _components(shape)[variable[start[:-1]]]
    grown = shape._replace(
        leaves=leaves, tree=tree, leaf_component=np.concatenate([shape.leaf_component, component]),
        leaf_loop_start=np.concatenate([shape.leaf_loop_start, len(shape.leaf_loop) + where]),
        leaf_loop=np.concatenate([shape.leaf_loop, loop]),
    )  # fmt: skip
    return Layer(grown, tree, tuple(sets))


def _costs(layer: Layer) -> tuple[list[F64], list[float]]:
    """Of each component: products that its nodes take, and bytes; +inf bytes where they are too many to count."""
    tree = layer.tree
    work = np.split(tree.work, tree.component[1:-1])
    leaves = len(layer.shape.leaf_component)
    largest = np.maximum(tree.size[leaves:], tree.size[tree.x])
    largest = np.maximum(largest, np.where(tree.y >= 0, tree.size[tree.y], 0))
    largest = np.maximum.reduceat(largest, tree.component[:-1])
    room = 8.0 * (tree.room + 4 * largest + layer.shape.table_size)
    # Integers run over where a table is that wide.
    sure = [float(r) if w.max() <= LARGEST else 8.0 * float(w.sum()) for r, w in zip(room.tolist(), work)]
    return work, sure
