"""What a sum does not need: variables that sum to a constant, whatever their neighbours do.

    sum over v of exp(-E(v, others)) = c for all others    =>    v and that factor are the constant -log c

where no other factor reads v: a finding that was not made, at the end of a network of conditional probabilities.
Without it the next may be such a variable, so in a Bayesian network what remains are the ancestors of what is given and
asked (R. Shachter, "Evaluating influence diagrams", Operations Research 34(6), 1986, who calls the others *barren*). No
direction is declared here: numbers tell. Where tables were rounded and their rows sum to unlike numbers, nothing goes.
"""

from __future__ import annotations

import weakref
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, Bool
from factorgraph_ebm.compiler.contraction import Leaves, Tree, grow_tree
from factorgraph_ebm.compiler.elimination import find_order
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.inference.trees import LARGEST, Filled, Shape, fill

LOOK = 1 << 14
"products that take as long as to look at one factor: what takes less than that for each is not looked at"
EQUAL = 1e-13
"nats: how unlike the sums over a variable may be"


class Needed(NamedTuple):
    """A tree of what a sum needs."""

    shape: Shape
    tree: Tree
    constant: F64
    "(N,) energy of what it does not need"


def needed_part(problem: Problem, shape: Shape) -> Needed | None:
    """The rest, where something goes: of a minimisation what is summed, and of a sum all. None where nothing does."""
    tree = shape.tree
    if tree is None or tree.total.products < LOOK * len(shape.leaf_component):
        return None
    may_go = shape.soft == 1 if problem.minimize else np.ones(len(shape.states), bool)
    may_go[len(problem.compiled.variable_sample) :] = False  # helpers
    found = _find_barren(shape, fill(problem.union, shape, problem.scaled, weigh=False), may_go & (shape.states > 1))
    if not found.gone.any():
        return None
    rest = _rest_of(problem, shape, found)
    if rest.tree is None:
        return None
    sample, n = problem.compiled.variable_sample, len(problem.compiled.sample_chunk)
    constant = np.bincount(sample[found.gone[: len(sample)]], found.energy[found.gone], n)
    return Needed(rest, rest.tree, constant.astype(np.float64))


class _Barren(NamedTuple):
    gone: Bool
    "(variables,)"
    leaf: Bool
    "(L,) that go with them"
    energy: F64
    "(variables,) of each that goes, and of its factor"


def _find_barren(shape: Shape, filled: Filled, may_go: Bool) -> _Barren:
    start, variable = shape.leaves.start, shape.leaves.variable
    own = len(shape.places.several)  # the first leaves are unary energies
    owner = np.repeat(np.arange(len(start) - 1), np.diff(start))
    shared = owner >= own
    readers = np.bincount(variable[shared], minlength=len(shape.states))
    order = np.argsort(variable[shared], kind="stable")
    reader, first = owner[shared][order], np.concatenate([[0], np.cumsum(readers)])
    gone, leaf, energy = np.zeros(len(may_go), bool), np.zeros(len(start) - 1, bool), np.zeros(len(may_go))
    waiting = np.flatnonzero(may_go & (readers == 1)).tolist()
    unary = np.full(len(may_go), -1)
    unary[variable[:own]] = np.arange(own)
    while waiting:
        v = waiting.pop()
        if gone[v] or readers[v] != 1:
            continue
        mine = next(t for t in reader[first[v] : first[v + 1]].tolist() if not leaf[t])
        scope = variable[start[mine] : start[mine + 1]]
        constant = _constant_of(shape, filled, mine, v, int(unary[v]))
        if constant is None:
            continue
        gone[v], leaf[mine], leaf[unary[v]], energy[v] = True, True, True, constant
        readers[scope] -= 1
        waiting += scope[may_go[scope] & ~gone[scope] & (readers[scope] == 1)].tolist()
    return _Barren(gone, leaf, energy)


def _constant_of(shape: Shape, filled: Filled, leaf: int, v: int, unary: int) -> float | None:
    """The energy of the sum over v of a leaf with the unary energies of v, where it is the same for all others."""
    first, stop = int(shape.leaves.start[leaf]), int(shape.leaves.start[leaf + 1])
    place = np.array(filled.at[leaf])
    axis = -1
    for i in range(first, stop):
        k = int(shape.states[shape.leaves.variable[i]])
        axis = i - first if shape.leaves.variable[i] == v else axis
        place = place[..., None] + shape.leaves.stride[i] * np.arange(k)
    energy = np.moveaxis(filled.number[place], axis, -1) + filled.number[filled.at[unary] + np.arange(shape.states[v])]
    least = energy.min(axis=-1)
    if not np.isfinite(least).all():
        return None
    found = least - np.log(np.exp(least[..., None] - energy).sum(axis=-1))
    low, high = float(found.min()), float(found.max())
    return 0.5 * (low + high) if high - low <= EQUAL else None


_kept: dict[int, tuple[bytes, Shape]] = {}
"by the identity of an array of a compiled union, for as long as it lives: what was left the last time"


def _rest_of(problem: Problem, shape: Shape, barren: _Barren) -> Shape:
    owner = problem.compiled.variable_start
    key = np.packbits(barren.leaf).tobytes()
    if id(owner) not in _kept:
        weakref.finalize(owner, _kept.pop, id(owner), None)
    elif _kept[id(owner)][0] == key:
        return _kept[id(owner)][1]
    rest = _grow_rest(shape, barren)
    _kept[id(owner)] = key, rest
    return rest


def _grow_rest(shape: Shape, barren: _Barren) -> Shape:
    """The same leaves, but those that go have no axes and are of no component."""
    own = shape.leaves
    length = np.where(barren.leaf, 0, np.diff(own.start))
    stays = ~np.repeat(barren.leaf, np.diff(own.start))
    start = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    leaves = Leaves(start, own.variable[stays], own.stride[stays])
    stage = (shape.soft == 0).astype(np.uint8)
    elimination = find_order(leaves.start, leaves.variable, shape.states, stage, limit=LARGEST)
    fits = bool(np.isfinite(elimination.entries).all())
    wanted = (shape.states[elimination.order] > 1) & ~barren.gone[elimination.order]
    order = elimination.order[wanted]
    label = np.repeat(np.arange(len(elimination.start) - 1), np.diff(elimination.start))[wanted]
    component = np.empty(len(shape.states), np.int64)
    component[order] = np.unique(label, return_inverse=True)[1]
    head = order[np.flatnonzero(np.diff(component[order], prepend=-1))]
    former = np.empty(len(shape.states), np.int64)
    former[own.variable] = np.repeat(shape.leaf_component, np.diff(own.start))
    of_leaf = np.full(len(length), len(head))
    of_leaf[~barren.leaf] = component[leaves.variable[start[:-1][~barren.leaf]]]
    return shape._replace(
        leaves=leaves, elimination=elimination, tree=grow_tree(leaves, shape.states, order, stage) if fits else None,
        sample=shape.sample[former[head]], leaf_component=of_leaf,
    )  # fmt: skip
