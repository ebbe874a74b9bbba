"""Expected Hamming error: L = sum over v of 1 - P(right state of v)."""

from __future__ import annotations

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.losses.loss import Answers, Loss, Query


def expected_hamming() -> Loss:
    """The expected number of wrong variables: L = sum over labelled v of (1 - P(right state of v)).

    What the share of right variables is, in expectation over the model's answers: bounded for each variable, so
    outliers do not pull. Not convex, and flat where all is wrong; start from the parameters of `likelihood`. Its slopes
    take two more sums.

    Source: Gross, Russakovsky, Do and Batzoglou, "Training conditional random fields for maximum labelwise accuracy",
    NIPS 2006.

    Examples
    --------
    >>> losses, slopes = expected_hamming().value((np.log([0.25, 1.0]),), 1.0)
    >>> losses, slopes
    (array([0.75, 0.  ]), (array([-0.25, -1.  ]),))
    """
    instead = 'losses.hinge(margin="hamming")'
    return Loss("expected_hamming", (Query("hits"),), _value, at_infinite_beta=instead, options={})


def _value(answers: Answers, beta: float) -> tuple[F64, tuple[F64, ...]]:
    (log_p,) = answers
    return 0.0 - np.expm1(log_p), (0.0 - np.exp(log_p),)
