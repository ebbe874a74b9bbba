"""Piecewise likelihood: L = E(right) - sum over factors f of F_f."""

from __future__ import annotations

from factorgraph_ebm.losses.loss import Loss, Query, difference


def piecewise() -> Loss:
    """The likelihood of each factor by itself: L = sum over f of (E_f(right) + (1/beta) log sum exp(-beta E_f)).

    Factors are trained as if they shared no variables, so nothing is inferred, on any graph. An upper bound of
    `likelihood`; convex and smooth. For factors that say much each, such as those with many features: what all of them
    say together is counted as often as it is said.

    Source: Sutton and McCallum, "Piecewise training for undirected models", UAI 2005.

    Examples
    --------
    >>> import numpy as np
    >>> losses, slopes = piecewise().value((np.array([2.0]), np.array([-1.0])), 1.0)
    >>> losses, slopes
    (array([3.]), (array([1.]), array([-1.])))
    """
    queries = Query("target"), Query("pieces")
    return difference("piecewise", queries, convex=True, at_infinite_beta='"perceptron"', options={})
