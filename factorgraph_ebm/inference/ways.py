"""Two ways to an exact answer by width, what each costs, and which is the cheaper under the numbers there are.

whole tables       known from the structure alone: exponential in the width, linear in the number of variables
what is not +inf   known once it was counted, for which these rows are made (`forbidden`)
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from factorgraph_ebm.arrays import Bool, Numbers
from factorgraph_ebm.compiler.contraction import Tree
from factorgraph_ebm.compiler.union import Union
from factorgraph_ebm.errors import WidthTooLargeError
from factorgraph_ebm.inference.contracting import Semiring, Trees
from factorgraph_ebm.inference.forbidden import A_PAIR, HOPE, Few, Many, find_few, held_few, let_go
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.inference.sparse_trees import SparseTrees
from factorgraph_ebm.inference.trees import LARGEST, Shape, shape_of


class Cost(NamedTuple):
    """What an exact answer takes."""

    fits: bool
    width: float
    "log2 of the entries of the largest table that is looked at; +inf where the search gave up"
    bytes: int
    products: float
    seconds: float
    "on one thread of such machines as the benchmarks were measured on; +inf where it is too wide"
    rows: int | None = None
    "of the largest tensor, where only what is not forbidden is looked at"
    many: str = ""
    "why that is not done, where it might have been"

    def __str__(self) -> str:
        if self.rows is not None:
            return (
                f"{self.products:.3g} products over at most {self.rows:,} entries that are not forbidden, of tables of "
                f"2^{self.width:.0f}, {self.bytes:,} bytes, about {self.seconds:.2g} s"
            )
        if not np.isfinite(self.width):
            return f"tables of more than {LARGEST:,.0f} entries{f' ({self.many})' if self.many else ''}"
        size = f"{self.products:.3g} products over tables of at most {2**self.width:,.0f} entries, {self.bytes:,} bytes"
        return f"{size}, about {self.seconds:.2g} s{f' ({self.many})' if self.many and not self.fits else ''}"


A_PRODUCT, A_CONTRACTION, A_CALL = 2e-9, 80e-9, 1e-3
"seconds; a product takes a third of this while its tables lie in a cache"


def predict(
    union: Union, *, minimize: bool, max_bytes: int | None = None, first: Bool | None = None, hopeful: bool = False
) -> Cost:
    """The cost of an answer by a tree, from the structure alone. `first`, `hopeful`: as in `shape_of`."""
    shape = shape_of(union, first, hopeful=hopeful)
    tree = shape.tree
    if tree is None:
        return Cost(False, float(shape.elimination.width.max(initial=0.0)), 0, np.inf, np.inf)
    total = tree.total
    products = (1 if minimize else 3) * total.products
    room = 8 * (total.room + 4 * total.largest + shape.table_size)
    seconds = A_CALL + A_PRODUCT * products + A_CONTRACTION * (1 if minimize else 3) * len(tree.x)
    fits = room <= bytes_allowed(max_bytes)
    return Cost(fits, math.log2(total.widest), room, products, seconds)


DEAR, MUCH = 1.0, 4.0
"seconds from which on it is asked how few entries are not forbidden, and how many times less these must take"

AtWork: TypeAlias = Trees | SparseTrees


class Way(NamedTuple):
    """How an answer is made: of whole tables, or of what is not forbidden of them."""

    cost: Cost
    shape: Shape
    few: Few | None

    def at_work(self, problem: Problem, semiring: Semiring) -> AtWork:
        if self.few is not None:
            return SparseTrees(problem, semiring, self.shape, self.few.supports)
        assert self.shape.tree is not None
        return Trees(problem, semiring, self.shape, self.shape.tree)


def find_way(
    union: Union,
    numbers: Numbers,
    *,
    minimize: bool,
    max_bytes: int | None = None,
    seconds: float = np.inf,
    hopeful: bool = False,
    known: Cost | None = None,
) -> Way:
    """The cheaper way under these numbers, and its cost; supports are found, and held, where they may be that.

    `seconds`: that it should take; `hopeful`: as in `shape_of`; `known`: what `predict` said of whole tables, if it was
    asked before.
    """
    most = bytes_allowed(max_bytes)
    few = held_few(union, numbers, most)
    if few is None:
        shape = shape_of(union, hopeful=hopeful)
        cost = known or predict(union, minimize=minimize, max_bytes=max_bytes, hopeful=hopeful)
        if cost.fits and cost.seconds <= DEAR:
            return Way(cost, shape, None)
        serves = cost.fits and cost.seconds <= seconds
        limit = cost.seconds / MUCH if serves else seconds
        hope = 1.0 if serves else HOPE
        found = find_few(union, shape, numbers, most_bytes=most, most_pairs=limit / A_PAIR, hope=hope)
        if isinstance(found, Many):
            return Way(cost._replace(many=found.reason), shape, None)
        few = found
    taken = few.supports
    return Way(Cost(True, few.width, int(taken.bytes), 3 * taken.pairs, few.seconds, few.rows), few.shape, few)


def bytes_allowed(max_bytes: int | None) -> int:
    """Bytes that messages may take: `max_bytes`, or where nothing is said half of what the machine has."""
    if max_bytes is not None:
        return max_bytes
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):
        return 1 << 32


def way_of(problem: Problem, options: Mapping[str, Any]) -> Way:
    """Raises WidthTooLargeError where neither tables nor what is not forbidden of them would fit."""
    way = find_way(problem.union, problem.numbers, minimize=problem.minimize, **options)
    let_go(problem.union)
    if not way.cost.fits:
        raise _too_wide(way.cost)
    return way


def _too_wide(cost: Cost) -> WidthTooLargeError:
    return WidthTooLargeError(
        f'method "junction_tree" would need {cost}, which do not fit. Give the value of some variables (given=), '
        'raise max_bytes=, or write method="bp", which is approximate.'
    )


def tree_of(problem: Problem, options: Mapping[str, Any], first: Bool | None = None) -> tuple[Shape, Tree]:
    """Raises WidthTooLargeError where tables of the tree would not fit."""
    shape = shape_of(problem.union, first)
    cost = predict(problem.union, minimize=problem.minimize, first=first, **options)
    if shape.tree is None or not cost.fits:
        raise _too_wide(cost)
    return shape, shape.tree
