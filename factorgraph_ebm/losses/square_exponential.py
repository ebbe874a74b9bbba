"""The square-exponential loss: L = E(right)^2 + g exp(-E(best wrong))."""

from __future__ import annotations

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.losses.arguments import positive
from factorgraph_ebm.losses.loss import Answers, Loss, Query


def square_exponential(g: float = 1.0) -> Loss:
    """Energies of right answers to 0, of wrong ones up without end: L = E(right)^2 + g exp(-min over wrong y of E(y)).

    As `square_square`, for energies whose zero means something, with a margin that is infinite: wrong answers are
    pushed up at any distance, ever less.

    Sources: Chopra, Hadsell and LeCun, "Learning a similarity metric discriminatively, with application to face
    verification", CVPR 2005; LeCun et al., "A tutorial on energy-based learning", 2006, section 2.

    Parameters
    ----------
    g : weight of the wrong answer, finite and > 0

    Raises
    ------
    MethodError : g is not a finite number > 0.

    Examples
    --------
    >>> losses, slopes = square_exponential(g=2.0).value((np.array([1.0, 1.0]), np.array([0.0, np.inf])), 1.0)
    >>> losses, slopes
    (array([3., 1.]), (array([2., 2.]), array([-2.,  0.])))
    """
    weight = positive("square_exponential", "g", g)

    def value(answers: Answers, beta: float) -> tuple[F64, tuple[F64, ...]]:
        right, wrong = answers
        with np.errstate(over="ignore"):
            push = weight * np.exp(-wrong)
            return right**2 + push, (2.0 * right, 0.0 - push)

    # exp is increasing and -E(wrong) a maximum of affine functions of the numbers: a convex function.
    queries = Query("target"), Query("wrong")
    return Loss("square_exponential", queries, value, convex=True, smooth=False, options={"g": weight})
