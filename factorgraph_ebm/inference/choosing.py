"""Which method answers where none was named: from the structure, and where that is wide from what numbers forbid.

A forest is answered by messages, in one sweep up and down. What else is small is enumerated; what is narrow is answered
exactly by a tree of contractions, if that is predicted to end within the time there is; so is what is wide, where few
enough configurations are not forbidden; the rest by loopy messages, which are approximate and say so. Minima over
two-state variables in pairs may be cuts: that is tried before what takes long or is approximate, since a look at the
numbers tells.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import Numbers
from factorgraph_ebm.compiler.union import Union
from factorgraph_ebm.inference.bp import METHOD as BP
from factorgraph_ebm.inference.cut import METHOD as CUT
from factorgraph_ebm.inference.cut import serves
from factorgraph_ebm.inference.enumerate import METHOD as ENUMERATE
from factorgraph_ebm.inference.enumerate import entries
from factorgraph_ebm.inference.junction_tree import METHOD as JUNCTION_TREE
from factorgraph_ebm.inference.method import Method
from factorgraph_ebm.inference.ways import Cost, find_way, predict

TINY = 1 << 12
"entries of all joint tables up to which they are enumerated: a tree takes as long"
SMALL = 1 << 18
"entries up to which they are enumerated where no tree fits, or none may take so long"
PATIENCE = 10.0
"seconds that an exact answer may be predicted to take where there is no time limit"
ROOM = 1 << 31
"bytes that its messages may take; more where a junction tree is asked for by name"


AT_ONCE = 0.05
"seconds that a junction tree may be predicted to take where a cut might do: up to there nothing else is tried"


class Choice(NamedTuple):
    """A method, and why."""

    method: Method
    reason: str
    ruled_out: tuple[str, ...] = ()
    "what was not taken, and why not"
    cost: Cost | None = None
    "of a junction tree, where one was looked for"
    first: Method | None = None
    "tried before: it is exact, or refuses once it has seen the numbers (`FactorRefused`)"
    otherwise: Callable[[Numbers], Choice] | None = None
    "what is chosen under numbers that `first` refuses"


def choose(
    union: Union,
    minimize: bool,
    options: Collection[str],
    seconds: float = np.inf,
    numbers: Numbers | None = None,
    *,
    messages: bool = False,
) -> Choice:
    """Choose for `auto`. `options`: names of those that were given; `seconds` that are left.

    Numbers are looked at, if there are any, where a tree of whole tables would take long and no cut may do: what they
    forbid may be most. `messages`: more is asked for than a best assignment, which a cut does not have.
    """
    compiled = union.compiled
    if (compiled.sample_exact if minimize else compiled.sample_forest).all():
        return Choice(BP, "a forest, in one sweep up and down")
    why = "what is summed cannot go first" if minimize and compiled.sample_forest.all() else "not a forest"
    if options:
        named = ", ".join(sorted(options))
        others = tuple(f"{m.name}: it has no option {named}" for m in (ENUMERATE, JUNCTION_TREE))
        return Choice(BP, f"{why}, and its options are given", others)
    total = entries(compiled)[1]
    if total <= TINY:
        return Choice(ENUMERATE, f"{why}, and all its joint tables have {total:,.0f} entries")
    size = f"{total:,.0f}" if total < 1e15 else f"{min(total, 1e300):.0e} or more"
    too_many = f"enumerate: joint tables of {size} entries"
    patience = max(0.0, min(PATIENCE, seconds))

    def by_width(cost: Cost, first: Method | None) -> Choice:
        by_numbers = "" if first is None else "; where all pairs attract, cut instead, which is exact"
        if cost.fits and cost.seconds <= patience:
            narrow = "narrow" if cost.rows is None else "mostly forbidden"
            return Choice(JUNCTION_TREE, f"{why}, and {narrow}: {cost}{by_numbers}", (too_many,), cost, first)
        if not np.isfinite(cost.width):
            wide = f"junction_tree: {cost}"
        elif not cost.fits:
            wide = f"junction_tree: more than {ROOM:,} bytes: {cost}"
        else:
            wide = f"junction_tree: more than {patience:.2g} s: {cost}"
        if total <= SMALL:
            return Choice(ENUMERATE, f"{why}, and all its joint tables have {total:,.0f} entries", (wide,), cost)
        return Choice(BP, f"{why}, and too wide to be exact{by_numbers}", (too_many, wide), cost, first)

    def by_numbers(numbers: Numbers, known: Cost | None = None) -> Choice:
        way = find_way(
            union, numbers, minimize=minimize, max_bytes=ROOM, seconds=patience, hopeful=True, known=known
        )  # fmt: skip
        return by_width(way.cost, None)

    first = CUT if minimize and not messages and serves(compiled) else None
    if numbers is not None and first is None:
        return by_numbers(numbers)
    cost = predict(union, minimize=minimize, max_bytes=ROOM, hopeful=True)
    if cost.fits and cost.seconds <= min(AT_ONCE, patience):
        first = None
    choice = by_width(cost, first)
    return choice if choice.first is None else choice._replace(otherwise=lambda numbers: by_numbers(numbers, cost))
