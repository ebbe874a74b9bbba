"""Contrast: how much of a penalty a picture leaves between neighbouring pixels.

    alike     1 + (factor - 1) [mean squared difference < threshold^2]      Scharstein and Szeliski, IJCV 47(1), 2002
    smooth    exp(-squared difference / (2 mean squared difference))        Boykov and Jolly, ICCV 2001

Both are small where the picture has an edge: there labels may change for little.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.pictures.grid import channels_of


def alike(picture: npt.ArrayLike, *, threshold: float = 8.0, factor: float = 2.0) -> tuple[F64, F64]:
    """Return `factor` for pairs of pixels that are alike, 1 for those across an edge.

    Parameters
    ----------
    picture : (H, W) or (H, W, C)
    threshold : root of the mean squared difference over channels, below which two pixels are alike

    Returns
    -------
    Of pairs down (H - 1, W) and right (H, W - 1).

    Examples
    --------
    >>> down, right = alike([[0, 5, 90], [0, 5, 90]])
    >>> right.tolist()
    [[2.0, 1.0], [2.0, 1.0]]
    """
    down, right = _squares(picture)
    return np.where(down < threshold**2, factor, 1.0), np.where(right < threshold**2, factor, 1.0)


def smooth(picture: npt.ArrayLike) -> tuple[F64, F64]:
    """Return a number in (0, 1] for each pair of pixels, 1 where they are equal, small across an edge.

    Parameters
    ----------
    picture : (H, W) or (H, W, C)

    Returns
    -------
    Of pairs down (H - 1, W) and right (H, W - 1).

    Examples
    --------
    >>> down, right = smooth([[0, 0, 90], [0, 0, 90]])
    >>> right.round(2).tolist()
    [[1.0, 0.17], [1.0, 0.17]]
    """
    down, right = faded(_squares(picture))
    return down, right


def faded(squares: Sequence[F64]) -> list[F64]:
    """exp(-d / (2 mean of all d)) of squared differences d, 1 where all are 0: what has one colour has no edges."""
    count = sum(each.size for each in squares)
    mean = sum(float(each.sum()) for each in squares) / count if count else 0.0
    return [np.exp(-each / (2.0 * mean)) if mean > 0.0 else np.ones_like(each) for each in squares]


def _squares(picture: npt.ArrayLike) -> tuple[F64, F64]:
    """Squared differences of neighbours, the mean over channels."""
    floats = channels_of(picture)
    down, right = ((np.diff(floats, axis=axis) ** 2).mean(axis=-1) for axis in (0, 1))
    return down, right
