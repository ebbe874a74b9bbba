"""The log loss: L = log(1 + exp(E(right) - E(best wrong)))."""

from __future__ import annotations

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.losses.loss import Loss, Query, difference
from factorgraph_ebm.losses.sigmoid import sigmoid


def log() -> Loss:
    """A soft hinge: L = log(1 + exp(d)), d = E(right) - min over wrong y of E(y).

    Its margin is infinite: gaps go on growing, ever more slowly. Where a probability is not needed it does what
    `likelihood` does to the best wrong answer alone, by minimisations.

    Source: LeCun et al., "A tutorial on energy-based learning", 2006, section 2 ("log loss").

    Examples
    --------
    >>> losses, slopes = log().value((np.array([1.0, 0.0]), np.array([1.0, np.inf])), 1.0)
    >>> losses, slopes[0]
    (array([0.69314718, 0.        ]), array([0.5, 0. ]))
    """
    return difference("log", (Query("target"), Query("wrong")), _function, convex=True, smooth=False, options={})


def _function(d: F64, beta: float) -> tuple[F64, F64]:
    return np.logaddexp(0.0, d), sigmoid(d)
