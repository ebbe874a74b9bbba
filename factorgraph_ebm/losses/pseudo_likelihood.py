"""Pseudo-likelihood: L = -(1/beta) sum over v of log P(right of v | right of all others)."""

from __future__ import annotations

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.losses.loss import Answers, Loss, Query


def pseudo_likelihood() -> Loss:
    """The likelihood of each variable given all others: L = -(1/beta) sum over v of log P(right v | right others).

    Nothing is inferred, on any graph: each variable is asked given its right neighbours. For graphs with loops, where
    sums are dear; convex and smooth, and with many samples it finds what likelihood finds. Neighbours are trusted too
    much where data are few. Everything must be labelled.

    Source: Besag, "Statistical analysis of non-lattice data", The Statistician 24(3), 1975.

    Examples
    --------
    >>> losses, slopes = pseudo_likelihood().value((np.array([-0.5, -2.0]),), 2.0)
    >>> losses, slopes
    (array([0.25, 1.  ]), (array([-0.5, -0.5]),))
    """
    queries = (Query("sites"),)
    return Loss("pseudo_likelihood", queries, _value, convex=True, at_infinite_beta='"perceptron"', options={})


def _value(answers: Answers, beta: float) -> tuple[F64, tuple[F64, ...]]:
    (log_p,) = answers
    return 0.0 - log_p / beta, (np.full_like(log_p, -1.0 / beta),)
