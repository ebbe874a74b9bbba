"""The energy loss: L = E(right)."""

from __future__ import annotations

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.losses.loss import Answers, Loss, Query


def energy() -> Loss:
    """The energy of the right answer: L = E(right).

    For architectures that cannot make all energies low at once, such as those that are distances to a code or to a
    reconstruction. Any other collapses, since nothing pulls wrong answers up; there is no lower bound.

    Source: LeCun et al., "A tutorial on energy-based learning", 2006, section 2.

    Examples
    --------
    >>> losses, slopes = energy().value((np.array([2.5]),), 1.0)
    >>> losses, slopes
    (array([2.5]), (array([1.]),))
    """
    # Affine in the numbers, so convex; not "piecewise_linear", which promises that 0 is a lower bound.
    return Loss("energy", (Query("target"),), _value, lower_bound=-np.inf, convex=True, options={})


def _value(answers: Answers, beta: float) -> tuple[F64, tuple[F64, ...]]:
    (right,) = answers
    return right, (np.ones_like(right),)
