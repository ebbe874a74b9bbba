"""The likelihood: L = E(right) - F, the negative log-probability of the right answer."""

from __future__ import annotations

from factorgraph_ebm.losses.loss import Loss, Query, difference


def likelihood() -> Loss:
    """The negative log-likelihood: L = E(right) + (1/beta) log sum over y of exp(-beta E(y)).

    That is -(1/beta) log P(right): all answers are pulled up, each by its probability. For probabilities to be used,
    and as the first choice where sums are exact: convex and smooth. Latent variables are summed with `latent=
    "marginalize"`; where they are minimised, L is that of the best completion, an upper bound (hard EM).

    Source: Lafferty, McCallum and Pereira, "Conditional random fields", ICML 2001.

    Examples
    --------
    >>> import numpy as np
    >>> losses, slopes = likelihood().value((np.array([2.0]), np.array([1.5])), 1.0)
    >>> losses, slopes
    (array([0.5]), (array([1.]), array([-1.])))
    """
    queries = Query("target"), Query("free")
    return difference("likelihood", queries, convex=True, at_infinite_beta='"perceptron"', options={})
