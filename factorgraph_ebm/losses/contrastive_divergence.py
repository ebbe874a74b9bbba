"""Contrastive divergence: the slopes of E(right) - E(an answer drawn near it)."""

from __future__ import annotations

from numbers import Integral

import numpy as np

from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.losses.loss import Loss, Query, difference


def contrastive_divergence(k: int = 1) -> Loss:
    """Pull right answers down and draws near them up: E(right) - E(drawn), with `drawn` held fixed in the slopes.

    An answer is drawn by k sweeps of Gibbs sampling from the right one, in place of one from the model: the slopes are
    those of `likelihood`, with a bias that falls with k. For large graphs with loops, and for joint models such as
    Boltzmann machines. It is a direction rather than a loss: the value is a figure to look at, has no lower bound, and
    nothing may search along a line by it, nor stop early.

    Source: Hinton, "Training products of experts by minimizing contrastive divergence", Neural Computation 14(8), 2002.

    Parameters
    ----------
    k : sweeps, >= 1

    Raises
    ------
    MethodError : k is not an integer >= 1.

    Examples
    --------
    >>> contrastive_divergence(k=5).queries[1]
    Query(kind='sample', cost=False, sweeps=5, beta=None)
    """
    if isinstance(k, bool) or not isinstance(k, Integral) or k < 1:
        raise MethodError(f"contrastive_divergence(k={k!r}): k must be an integer >= 1, the number of sweeps.")
    return difference(
        "contrastive_divergence",
        (Query("target"), Query("sample", sweeps=int(k))),
        lower_bound=-np.inf,
        smooth=False,
        is_objective=False,
        options={"k": int(k)},
    )
