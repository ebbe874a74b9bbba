"""The hinge loss, with a margin in nats or by a cost.

    L = max(0, margin + E(right) - min over wrong y of E(y))
    L = E(right) - min over y of (E(y) - cost(y))

The margin is a number in the first, and a cost, a margin for each answer, in the second.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.losses.arguments import positive
from factorgraph_ebm.losses.costs import check_cost
from factorgraph_ebm.losses.loss import Loss, Query, difference


def hinge(margin: float | str | npt.ArrayLike | Mapping[str, Any] = 1.0) -> Loss:
    """The support vector loss: wrong answers must lie above the right one by a margin.

    With a number, the best wrong answer must: L = max(0, margin + E(right) - min over wrong y of E(y)). With a cost,
    each by its own cost: L = E(right) - min over y of (E(y) - cost(y)), which is >= 0 since what is right costs 0. A
    cost suits answers of many variables, of which some may be wrong, and asks one minimisation; the best wrong answer
    takes two. Both are convex, and what `bcfw` and `passive_aggressive` are made for.

    Sources: Taskar, Guestrin and Koller, "Max-margin Markov networks", NIPS 2003; Tsochantaridis, Joachims, Hofmann
    and Altun, "Large margin methods for structured and interdependent output variables", JMLR 6, 2005 (margins by cost
    are its "margin rescaling").

    Parameters
    ----------
    margin : nats, finite and > 0; or a cost: "hamming" (1 for each wrong variable), a matrix [right, said], or a
        mapping from names of variables to such matrices

    Raises
    ------
    MethodError : a margin that is not > 0, or a cost that is none: see `costs.check_cost`.

    Examples
    --------
    >>> losses, slopes = hinge(margin=2.0).value((np.array([3.0, 0.0]), np.array([1.0, 5.0])), 1.0)
    >>> losses, slopes[0]
    (array([4., 0.]), array([1., 0.]))
    >>> hinge(margin="hamming").queries[1]
    Query(kind='best', cost=True, sweeps=0, beta=None)
    """
    if not isinstance(margin, Real):
        cost = check_cost(margin, "margin")
        return difference(
            "hinge",
            (Query("target"), Query("best", cost=True)),
            cost=cost,
            convex=True,
            piecewise_linear=True,
            smooth=False,
            options={"margin": cost},
        )
    number = positive("hinge", "margin", margin)

    def function(d: F64, beta: float) -> tuple[F64, F64]:
        return np.maximum(0.0, number + d), np.where(d > -number, 1.0, 0.0)

    return difference(
        "hinge", (Query("target"), Query("wrong")), function, convex=True, piecewise_linear=True, smooth=False,
        options={"margin": number},
    )  # fmt: skip
