"""Which pairs of energies, of the right answer and of the best wrong one, an architecture can reach for a sample.

    {(E_right(w), E_wrong(w)) : w within its bounds}

Where numbers are linear in the parameters, each wrong answer makes this a convex set, the image of a box: it is held by
how far it extends in some directions, which is the box's own business, coordinate by coordinate. The wrong answers that
are best at random parameters are looked at, and their sets joined. Otherwise only the rank of d(E_right, E_wrong)/dw is
said: how many directions the pair can be moved in.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.inference.statistics import zeros
from factorgraph_ebm.learning.asking import Asking
from factorgraph_ebm.learning.evaluate import Problem
from factorgraph_ebm.learning.terms import ask
from factorgraph_ebm.losses.loss import Query

DRAWS = 8
"random parameters that are looked at"
RANK = 1e-9
"of the larger singular value, below which the smaller is 0"
_HALF = math.sqrt(0.5)
AXES = np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [_HALF, _HALF], [-_HALF, _HALF], [-_HALF, -_HALF], [_HALF, -_HALF]])
"(8, 2) unit directions of (E_right, E_wrong): the axes, both together, and the gap"


class Reachable(NamedTuple):
    """A convex set of the plane: u . (E_right, E_wrong) <= limit, for each direction u."""

    words: str
    directions: F64
    "(k, 2)"
    limits: F64
    "(k,) nats, inf where there is none"
    moves: bool = True
    "whether the gap does"
    linear: bool = True
    "whether the set is known, and not its rank alone"

    @property
    def gaps(self) -> tuple[float, float]:
        """Least and largest E_wrong - E_right."""
        return -float(self.limits[7]) / _HALF, float(self.limits[5]) / _HALF

    def right(self, gap: F64) -> tuple[F64, F64]:
        """Least and largest E_right at gaps (n,); the least is above the largest where a gap is out of reach."""
        low, high = np.full(len(gap), -np.inf), np.full(len(gap), np.inf)
        for (on_right, on_wrong), limit in zip(self.directions, self.limits):
            if limit == np.inf:
                continue
            rest, slope = limit + RANK * max(1.0, abs(limit)) - on_wrong * gap, on_right + on_wrong
            if slope > RANK:
                high = np.minimum(high, rest / slope)
            elif slope < -RANK:
                low = np.maximum(low, rest / slope)
            else:
                low = np.where(rest < -RANK * np.abs(gap), np.inf, low)
        return low, high


def everything() -> Reachable:
    """The whole plane."""
    return Reachable("the whole plane", AXES, np.full(8, np.inf))


def random_parameters(problem: Problem, rng: np.random.Generator) -> F64:
    """Parameters (n_free,) near the bounds that there are, or 0, in a range where energies differ."""
    layout = problem.layout
    drawn = rng.normal(size=layout.n_free)
    drawn = np.where(layout.lower > -np.inf, layout.lower + np.abs(drawn), drawn)
    drawn = np.where((layout.lower == -np.inf) & (layout.upper < np.inf), layout.upper - np.abs(drawn), drawn)
    within: F64 = np.clip(drawn, layout.lower, layout.upper)
    return within


def energies_and_slopes(problem: Problem, w: F64) -> tuple[F64, F64]:
    """(E_right, E_wrong) of the one sample of a problem, and their slopes (2, n_free).

    Raises
    ------
    MethodError : the right answer is forbidden, or all wrong ones are.
    """
    (batch,) = problem.blocks
    asking = Asking(batch, problem.layout.values(w), problem.inference._replace(latent_beta=math.inf))
    energies, slopes = np.empty(2), np.empty((2, problem.layout.n_free))
    for row, kind in enumerate(("target", "wrong")):
        term = ask(asking, Query("target" if kind == "target" else "wrong"))
        energies[row] = term.value[0]
        if not np.isfinite(energies[row]):
            raise MethodError(
                "the sample has no wrong answer that is possible, so no loss can tell it from the right one. "
                "Give another sample= or target=."
                if kind == "wrong"
                else "the right answer is forbidden. Give another target=."
            )
        numbers = zeros(term.batch.union)
        term.accumulate(np.ones(1), numbers)
        slope = problem.layout.gradient()
        term.batch.pull(asking.values, numbers, slope)
        slopes[row] = slope.vector()
    return energies, slopes


def reachable(problem: Problem, linear: bool, rng: np.random.Generator) -> Reachable:
    """What the one sample of a problem can reach."""
    draws = [random_parameters(problem, rng) for _ in range(DRAWS)]
    found = [(w, *energies_and_slopes(problem, w)) for w in draws]
    left, sizes, _ = np.linalg.svd(np.concatenate([slopes for _, _, slopes in found], axis=1), full_matrices=False)
    rank = int(np.count_nonzero(sizes > RANK * max(float(sizes.max(initial=0.0)), 1e-300)))
    across = np.concatenate([left.T, -left.T])
    directions = np.concatenate([AXES, across]) if rank < 2 else AXES
    moves = rank == 2 or (rank == 1 and bool(abs(left[1, 0] - left[0, 0]) > RANK))
    if not linear:
        words = f"a set of {'one direction' if rank == 1 else f'{rank} directions'} that is not linear"
        limits = np.full(len(directions), np.inf)
        return Reachable(words if moves else _fixed(rank), directions, limits, moves, linear=False)
    reach = np.full(len(directions), -np.inf)
    low, high = problem.layout.lower, problem.layout.upper
    for w, energies, slopes in found:
        along = directions @ slopes
        along[np.abs(along) <= RANK * np.abs(slopes).max(initial=1e-300)] = 0.0
        with np.errstate(invalid="ignore"):  # 0 * inf is 0 here
            most = np.where(along > 0.0, along * high, np.where(along < 0.0, along * low, 0.0))
        reach = np.maximum(reach, directions @ (energies - slopes @ w) + most.sum(axis=1))
    reach[np.abs(reach) <= RANK] = 0.0  # what rounding leaves of a bound at 0
    return Reachable(_words(rank, moves, left[:, 0], reach), directions, reach, moves)


def _fixed(rank: int) -> str:
    if rank == 0:
        return "one point: neither energy depends on what is learned"
    return "a line along which both energies move alike: the gap cannot move"


def _words(rank: int, moves: bool, along: F64, reach: F64) -> str:
    if not moves:
        return _fixed(rank)
    names = ("E_right <= ", "E_wrong <= ", "E_right >= ", "E_wrong >= ", "", "gap <= ", "", "gap >= ")
    scale = (1.0, 1.0, -1.0, -1.0, 0.0, 1 / _HALF, 0.0, -1 / _HALF)
    ends = [f"{name}{s * limit + 0.0:.3g}" for name, s, limit in zip(names, scale, reach) if name and limit < np.inf]
    what = "the whole plane" if rank == 2 else f"a line in the direction ({along[0]:.2g}, {along[1]:.2g})"
    if not ends:
        return what
    return f"{'the part of the plane' if rank == 2 else what} where {', '.join(ends)}"
