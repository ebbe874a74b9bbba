"""The perceptron loss: L = E(right) - min E."""

from __future__ import annotations

from factorgraph_ebm.losses.loss import Loss, Query, difference


def perceptron() -> Loss:
    """The energy of the right answer above the least of all: L = E(right) - min over y of E(y).

    The cheapest loss that pulls anything up: one minimisation for each sample. It is 0 as soon as the right answer is
    among the best, by no margin, so equal energies everywhere satisfy it. Average the parameters, or use `hinge`.

    Source: Collins, "Discriminative training methods for hidden Markov models", EMNLP 2002.

    Examples
    --------
    >>> import numpy as np
    >>> losses, slopes = perceptron().value((np.array([3.0, 1.0]), np.array([1.0, 1.0])), 1.0)
    >>> losses, slopes
    (array([2., 0.]), (array([1., 1.]), array([-1., -1.])))
    """
    queries = Query("target"), Query("best")
    return difference("perceptron", queries, convex=True, piecewise_linear=True, smooth=False, options={})
