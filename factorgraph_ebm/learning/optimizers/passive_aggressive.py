"""Passive-aggressive updates: the least change of w that brings one sample's loss to 0, but no more than C allows.

    w <- w - tau g_s,        tau = min(C weight_s, L_s / |g_s|^2)

Crammer, Dekel, Keshet, Shalev-Shwartz and Singer, "Online passive-aggressive algorithms", JMLR 7, 2006 (PA-I).
"""

from __future__ import annotations

from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.learning.optimizers.online import online_optimizer
from factorgraph_ebm.learning.optimizers.optimizer import Optimizer
from factorgraph_ebm.learning.optimizers.products import dot
from factorgraph_ebm.learning.oracle import Plane


def passive_aggressive(C: float = 1.0, average: bool = False) -> Optimizer:
    """One sample at a time, each step as long as its loss asks; for losses that are maxima of affine functions.

    Parameters
    ----------
    C : > 0, the longest step, as a multiple of the slope; small where labels are noisy
    average : use the average of w after every sample

    Raises
    ------
    MethodError : C is not a number > 0.

    Examples
    --------
    >>> from factorgraph_ebm.learning.optimizers.optimizer import run
    >>> from factorgraph_ebm.learning.oracle import UNREGULARIZED, from_slopes
    >>> import numpy as np
    >>> x, y = np.array([[1.0, 2.0], [2.0, 0.5], [-1.0, -1.0]]), np.array([1.0, -1.0, 1.0])
    >>> def hinge(w, samples):
    ...     margin = y[samples] * (x[samples] @ w)
    ...     return np.maximum(0.0, 1.0 - margin), (margin < 1.0)[:, None] * -y[samples, None] * x[samples]
    >>> oracle = from_slopes(hinge, [0.0, 0.0], n_samples=3, traits={"piecewise_linear", "linear"})
    >>> y * (x @ run(passive_aggressive(), oracle, UNREGULARIZED).w) > 0.0
    array([ True,  True,  True])
    """
    if not C > 0.0:
        raise MethodError(f"passive_aggressive: C must be a number > 0, not {C!r}.")

    def step(plane: Plane, weight: float) -> float:
        square = dot(plane.values, plane.values)
        return min(C * weight, plane.loss / square) if square > 0.0 else 0.0

    return online_optimizer(
        "passive_aggressive", step, average, frozenset({"piecewise_linear", "linear", "no_regularizer"})
    )
