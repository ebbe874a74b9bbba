"""Softmax-margin: L = E(right) - F of energies minus costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from factorgraph_ebm.losses.costs import check_cost
from factorgraph_ebm.losses.loss import Loss, Query, difference


def softmax_margin(cost: str | npt.ArrayLike | Mapping[str, Any] = "hamming") -> Loss:
    """The likelihood with a margin: L = E(right) + (1/beta) log sum over y of exp(-beta (E(y) - cost(y))).

    Costly answers are pulled up more than their probability says. It lies above both `likelihood` and the `hinge` of
    the same cost, and is convex and smooth: a hinge for optimisers of smooth functions, at the price of sums.

    Source: Gimpel and Smith, "Softmax-margin CRFs: training log-linear models with cost functions", NAACL HLT 2010.

    Parameters
    ----------
    cost : "hamming" (1 for each wrong variable), a matrix [right, said] in nats, or a mapping from names of variables
        to such matrices

    Raises
    ------
    MethodError : a cost that is none: see `costs.check_cost`.

    Examples
    --------
    >>> softmax_margin().queries[1]
    Query(kind='free', cost=True, sweeps=0, beta=None)
    >>> softmax_margin([[0, 1], [10, 0]]).cost
    array([[ 0.,  1.],
           [10.,  0.]])
    """
    checked = check_cost(cost)
    return difference(
        "softmax_margin",
        (Query("target"), Query("free", cost=True)),
        cost=checked,
        convex=True,
        at_infinite_beta="losses.hinge(margin=cost)",
        options={"cost": checked},
    )
