"""Local search (ICM): each variable in turn takes its best state given all others, until none moves.

J. Besag, "On the statistical analysis of dirty pictures", J. Royal Statistical Society B 48(3), 1986. As a polish it
makes sure that no answer is returned that changing a single variable improves.
"""

from __future__ import annotations

from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.inference.passing import Passing


def improve(
    problem: Problem, passing: Passing, state: I64, to_factor: F64, first: int, stop: int, sweeps: int = 1000
) -> tuple[int, bool]:
    """Sweep over variables first to stop until nothing moves; `to_factor` holds the present states, clamped.

    Returns the number of sweeps, and whether nothing moved in the last.
    """
    for sweep in range(sweeps):
        if passing.choose(state, to_factor, first, stop, local=True) == 0:
            return sweep + 1, True
        if problem.is_late():
            return sweep + 1, False
    return sweeps, False
