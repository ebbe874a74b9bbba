"""Univariate likelihood: L = -sum over v of log P(right state of v)."""

from __future__ import annotations

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.losses.loss import Answers, Loss, Query


def univariate() -> Loss:
    """The likelihood of each variable's marginal: L = -sum over labelled v of log P(right state of v).

    For answers that are read off marginals, one variable at a time, and scored by the share that is right. Each right
    state should be likely, whatever the others: not convex, and its slopes take two more sums. A variable of
    probability below 1e-6 has a slope so large that digits are lost; `expected_hamming` has no such trouble.

    Sources: Kakade, Teh and Roweis, "An alternate objective function for Markovian fields", ICML 2002; Domke,
    "Learning graphical model parameters with approximate marginal inference", IEEE Trans. PAMI 35(10), 2013.

    Examples
    --------
    >>> losses, slopes = univariate().value((np.log([0.5, 1.0]),), 1.0)
    >>> losses, slopes
    (array([0.69314718, 0.        ]), (array([-1., -1.]),))
    """
    return Loss("univariate", (Query("hits"),), _value, at_infinite_beta='"perceptron"', options={})


def _value(answers: Answers, beta: float) -> tuple[F64, tuple[F64, ...]]:
    (log_p,) = answers
    return 0.0 - log_p, (np.full_like(log_p, -1.0),)
