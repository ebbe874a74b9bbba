"""Minimum classification error: L = 1 / (1 + exp(-(E(right) - E(best wrong))))."""

from __future__ import annotations

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.losses.loss import Loss, Query, difference
from factorgraph_ebm.losses.sigmoid import sigmoid


def mce() -> Loss:
    """A smooth count of errors: L = sigmoid(d), d = E(right) - min over wrong y of E(y).

    Near 0 where the right answer is well below the best wrong one, near 1 where it is well above, whatever the
    distance: outliers do not pull. Not convex, and flat where all is wrong; start from another loss's parameters.

    Source: Juang, Chou and Lee, "Minimum classification error rate methods for speech recognition", IEEE Trans. Speech
    and Audio Processing 5(3), 1997.

    Examples
    --------
    >>> import numpy as np
    >>> losses, slopes = mce().value((np.array([1.0, 0.0]), np.array([1.0, np.inf])), 1.0)
    >>> losses, slopes[0]
    (array([0.5, 0. ]), array([0.25, 0.  ]))
    """
    return difference("mce", (Query("target"), Query("wrong")), _function, smooth=False, options={})


def _function(d: F64, beta: float) -> tuple[F64, F64]:
    wrong: F64 = sigmoid(d)
    return wrong, wrong * sigmoid(-d)
