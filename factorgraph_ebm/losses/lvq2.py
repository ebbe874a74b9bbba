"""The LVQ2 loss: L = min(M, max(0, E(right) - E(best wrong)))."""

from __future__ import annotations

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.losses.arguments import positive
from factorgraph_ebm.losses.loss import Loss, Query, difference


def lvq2(M: float = 1.0) -> Loss:
    """A loss that gives hopeless samples up: L = min(M, max(0, d)), d = E(right) - min over wrong y of E(y).

    For samples of which some are labelled wrongly: one that is wrong by more than M no longer pulls. Not convex; start
    from another loss's parameters, since a sample that begins above M is never learned. The slope is 1 for
    0 <= d < M: at d = 0 too, or equal energies everywhere would never be left.

    Sources: Kohonen, Barna and Chrisley, "Statistical pattern recognition with neural networks", ICNN 1988; Driancourt,
    Bottou and Gallinari, "Learning vector quantization, multi layer perceptron and dynamic programming", IJCNN 1991.

    Parameters
    ----------
    M : the largest loss, nats, finite and > 0

    Raises
    ------
    MethodError : M is not a finite number > 0.

    Examples
    --------
    >>> losses, slopes = lvq2(M=2.0).value((np.array([1.0, 1.5, 9.0]), np.array([1.0, 1.0, 1.0])), 1.0)
    >>> losses, slopes[0]
    (array([0. , 0.5, 2. ]), array([1., 1., 0.]))
    """
    largest = positive("lvq2", "M", M)

    def function(d: F64, beta: float) -> tuple[F64, F64]:
        return np.clip(d, 0.0, largest), np.where((d >= 0.0) & (d < largest), 1.0, 0.0)

    return difference("lvq2", (Query("target"), Query("wrong")), function, smooth=False, options={"M": largest})
