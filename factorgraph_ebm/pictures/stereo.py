"""Stereo: by how many columns each pixel of the left view lies further left in the right one.

    E(d) = sum_p C(p, d_p) + sum_pq w_pq min(|d_p - d_q|, limit)

C is what two pixels differ by, at most `truncation` grey values, the mean over channels: their absolute difference, or
the least of it within half a pixel to either side, which does not mind where an edge was sampled (S. Birchfield and C.
Tomasi, "A pixel dissimilarity measure that is insensitive to image sampling", IEEE Trans. Pattern Analysis and Machine
Intelligence 20(4), 1998). Neighbours that look alike pay `factor` times as much for different disparities. Model and
numbers are those of R. Szeliski and others, "A comparative study of energy minimization methods for Markov random
fields with smoothness-based priors", IEEE Trans. Pattern Analysis and Machine Intelligence 30(6), 2008.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import FactorError, VariableError
from factorgraph_ebm.factors import Table, TruncatedLinear
from factorgraph_ebm.graph import FactorGraph, output
from factorgraph_ebm.pictures.contrast import alike
from factorgraph_ebm.pictures.grid import channels_of, check_room, neighbours

COSTS = ("absolute", "birchfield-tomasi")
"how unlike two pixels are"
WEIGHT = 20.0 / 3.0
"nats for a step of one disparity between neighbours; of the sum over three channels, the 20 of the paper"
LIMIT = 2.0
"steps of disparity beyond which a difference costs no more"


def stereo_graph(
    left: npt.ArrayLike,
    right: npt.ArrayLike,
    *,
    n_disparities: int = 16,
    weight: float = WEIGHT,
    limit: float = LIMIT,
    cost: str = "birchfield-tomasi",
    truncation: float = 255.0,
    threshold: float = 8.0,
    factor: float = 2.0,
) -> FactorGraph:
    """Declare the disparities (H, W) of a pair of rectified views.

    Parameters
    ----------
    left, right : (H, W) or (H, W, C) grey values, 0 to 255, of one shape
    n_disparities : states, 0 to n_disparities - 1 columns
    weight : nats for a step of one disparity between neighbours across an edge, at least 0
    limit : steps beyond which a difference costs no more
    cost, truncation : as in `matching_costs`
    threshold, factor : neighbours that differ by less than `threshold` grey values pay `factor` times as much

    Raises
    ------
    FactorError : pictures of different or other shapes, an unknown cost, a negative weight or limit.
    VariableError : fewer than one disparity, or more than there are columns.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> left = np.array([[10, 60, 20, 90, 40, 70, 30]])
    >>> right = np.array([[60, 20, 90, 40, 70, 30, 0]])
    >>> fg.minimize(stereo_graph(left, right, n_disparities=3))["disparity"]  # the first column lies out of view
    array([[0, 1, 1, 1, 1, 1, 1]])
    """
    costs = matching_costs(left, right, n_disparities, cost=cost, truncation=truncation)
    disparity = output("disparity", shape=costs.shape[:2], n_states=n_disparities)
    factors = [
        TruncatedLinear(scope, weight=weight * likeness, limit=limit, name=name)
        for (name, scope), likeness in zip(neighbours(disparity), alike(left, threshold=threshold, factor=factor))
    ]
    return FactorGraph([Table([disparity], energies=costs, name="data"), *factors])


def matching_costs(
    left: npt.ArrayLike,
    right: npt.ArrayLike,
    n_disparities: int,
    *,
    cost: str = "birchfield-tomasi",
    truncation: float = 255.0,
) -> F64:
    """Return how unlike each pixel of the left view is to those of the right one, (H, W, n_disparities).

    What would lie outside the right view costs `truncation`.

    Parameters
    ----------
    left, right : (H, W) or (H, W, C) grey values; of whole numbers, halfway values are rounded down, as in the paper
    cost : "absolute" or "birchfield-tomasi"
    truncation : the most that a pixel costs, grey values, the mean over channels

    Raises
    ------
    FactorError, VariableError : as in `stereo_graph`.

    Examples
    --------
    >>> matching_costs([[10, 60, 20]], [[60, 20, 0]], 2, cost="absolute").tolist()
    [[[50.0, 255.0], [40.0, 0.0], [20.0, 0.0]]]
    """
    views = channels_of(left, "the left view"), channels_of(right, "the right view")
    if views[0].shape != views[1].shape:
        shapes = " and ".join(str(np.asarray(view).shape) for view in (left, right))
        raise FactorError(f"the views have shapes {shapes}. Both views of a pair have one shape.")
    if cost not in COSTS:
        raise FactorError(f"cost is {' or '.join(map(repr, COSTS))}, not {cost!r}.")
    width = views[0].shape[1]
    if not 1 <= n_disparities <= width:
        raise VariableError(f"n_disparities={n_disparities}: from 1 to {width}, the columns of the views.")
    check_room(views[0], n_disparities)
    costs = np.full((*views[0].shape[:2], n_disparities), float(truncation))
    whole = all(np.issubdtype(np.asarray(view).dtype, np.integer) for view in (left, right))
    reaches = [_reach(view, whole) for view in views] if cost == "birchfield-tomasi" else [(v, v) for v in views]
    for d in range(n_disparities):
        seen = [view[:, d:] for view in (views[0], *reaches[0])]
        matched = [view[:, : width - d] for view in (views[1], *reaches[1])]
        unlike = np.minimum(_outside(seen[0], *matched[1:]), _outside(matched[0], *seen[1:]))
        np.minimum(unlike.mean(axis=-1), truncation, out=costs[:, d:, d])
    return costs


def _reach(view: F64, whole: bool) -> tuple[F64, F64]:
    """The least and the most that each pixel takes on within half a column, halfway to the next one linearly."""
    half = (view[:, 1:] + view[:, :-1]) / 2.0
    if whole:
        half = np.floor(half)
    least, most = view.copy(), view.copy()
    for side in (np.s_[:, 1:], np.s_[:, :-1]):
        least[side], most[side] = np.minimum(least[side], half), np.maximum(most[side], half)
    return least, most


def _outside(view: F64, least: F64, most: F64) -> F64:
    """How far values lie outside an interval."""
    return np.maximum(0.0, np.maximum(view - most, least - view))
