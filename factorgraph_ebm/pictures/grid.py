"""A picture as a grid of variables: its channels, which pixels are neighbours, and whether all of it fits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import FactorError, VariableError
from factorgraph_ebm.formats.text import bytes_in_words
from factorgraph_ebm.graph import Variable

LIMIT_BYTES = 2**31
"of the energies of all states of all pixels; messages take some times as much"


class Pair(NamedTuple):
    """The pixels next to each other in one direction."""

    name: str
    "down or right"
    scope: list[Variable]
    "the two views that are paired"


def neighbours(labels: Variable) -> tuple[Pair, Pair]:
    """Return the pairs of four-neighbours of an array of labels (H, W), those below each other first.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> [(name, first.shape) for name, (first, _) in neighbours(fg.output("y", shape=(3, 4), n_states=2))]
    [('down', (2, 4)), ('right', (3, 3))]
    """
    return Pair("down", [labels[:-1], labels[1:]]), Pair("right", [labels[:, :-1], labels[:, 1:]])


def channels_of(picture: npt.ArrayLike, name: str = "picture") -> F64:
    """Return a picture as (H, W, C) floats.

    Raises
    ------
    FactorError : not (H, W) or (H, W, C) finite numbers.
    """
    array = np.asarray(picture)
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise FactorError(f"{name} has shape {array.shape}. A picture is (H, W), or (H, W, C) with its channels last.")
    floats = array.astype(np.float64)
    if not np.isfinite(floats).all():
        first = tuple(np.argwhere(~np.isfinite(floats))[0].tolist())
        raise FactorError(f"{name} is {floats[first]} at {list(first)}. A picture has finite numbers.")
    return floats[..., None] if floats.ndim == 2 else floats


def check_room(picture: F64, n_states: int) -> None:
    """Raise VariableError where the energies of so many states of all pixels (H, W, ...) would not fit.

    Examples
    --------
    >>> check_room(np.zeros((480, 640, 3)), 64)
    """
    height, width = picture.shape[:2]
    size = 8 * height * width * n_states
    if size > LIMIT_BYTES:
        raise VariableError(
            f"{height} x {width} pixels of {n_states} states would need {bytes_in_words(size)}; the limit is "
            f"{bytes_in_words(LIMIT_BYTES)}. Scale the picture down, or take fewer states."
        )
