"""Minimum empirical error: L = 1 - P(right)."""

from __future__ import annotations

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.losses.loss import Loss, Query, difference


def mee() -> Loss:
    """The probability of being wrong: L = 1 - P(right) = 1 - exp(-beta (E(right) - F)), F the free energy.

    The expected number of wrong answers if they are drawn from the model. Samples that are hopeless do not pull, so
    outliers do little harm; not convex, and flat far from the solution, so start from the parameters of `likelihood`.

    Source: Ljolje, Ephraim and Rabiner, "Estimation of hidden Markov model parameters by minimizing empirical error
    rate", ICASSP 1990.

    Examples
    --------
    >>> losses, slopes = mee().value((np.array([np.log(4.0)]), np.array([0.0])), 1.0)
    >>> losses, slopes
    (array([0.75]), (array([0.25]), array([-0.25])))
    """
    return difference("mee", (Query("target"), Query("free")), _function, at_infinite_beta='"mce"', options={})


def _function(d: F64, beta: float) -> tuple[F64, F64]:
    with np.errstate(over="ignore"):  # d < 0 where a free energy is approximate
        return 0.0 - np.expm1(-beta * d), beta * np.exp(-beta * d)
