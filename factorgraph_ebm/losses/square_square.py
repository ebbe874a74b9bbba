"""The square-square loss: L = E(right)^2 + max(0, m - E(best wrong))^2."""

from __future__ import annotations

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.losses.arguments import positive
from factorgraph_ebm.losses.loss import Answers, Loss, Query


def square_square(m: float = 1.0) -> Loss:
    """Energies of right answers to 0, of wrong ones above m: L = E(right)^2 + max(0, m - min over wrong y of E(y))^2.

    For energies whose zero means something, such as distances (>= 0). Unlike losses of a difference it fixes the
    energies themselves, so that those of different samples can be compared.

    Source: LeCun and Huang, "Loss functions for discriminative training of energy-based models", AISTATS 2005.

    Parameters
    ----------
    m : nats, finite and > 0, above which wrong answers are left alone

    Raises
    ------
    MethodError : m is not a finite number > 0.

    Examples
    --------
    >>> losses, slopes = square_square(m=3.0).value((np.array([1.0, 1.0]), np.array([1.0, np.inf])), 1.0)
    >>> losses, slopes
    (array([5., 1.]), (array([2., 2.]), array([-4.,  0.])))
    """
    least = positive("square_square", "m", m)

    def value(answers: Answers, beta: float) -> tuple[F64, tuple[F64, ...]]:
        right, wrong = answers
        short = np.maximum(0.0, least - wrong)
        with np.errstate(over="ignore"):
            return right**2 + short**2, (2.0 * right, 0.0 - 2.0 * short)

    # E(right) is affine in the numbers, and m - E(wrong) a maximum of affine functions: both squares are convex.
    queries = Query("target"), Query("wrong")
    return Loss("square_square", queries, value, convex=True, smooth=False, options={"m": least})
