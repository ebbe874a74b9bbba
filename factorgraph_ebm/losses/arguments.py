"""The numbers that users hand to losses, and how it is said that they are wrong."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import MethodError


def positive(loss: str, name: str, number: Any) -> float:
    """Return an argument as a float.

    Raises
    ------
    MethodError : it is not a finite number > 0.
    """
    if isinstance(number, bool) or not isinstance(number, Real) or not 0.0 < float(number) < math.inf:
        raise MethodError(f"{loss}({name}={number!r}): {name} must be a finite number > 0.")
    return float(number)


def real_array(what: str, wanted: str, given: Any) -> F64:
    """Return numbers as a float64 array of their own, of any shape.

    Raises
    ------
    MethodError : they are not real numbers, or are rows of different lengths: "`what` must be `wanted`, not ...".
    """
    try:
        array = np.asarray(given)
    except ValueError:
        raise MethodError(f"{what} must be {wanted}, not rows of different lengths.") from None
    if array.dtype.kind not in "biuf":
        kind = f"an array of {array.dtype}" if array.ndim else type(given).__name__
        raise MethodError(f"{what} must be {wanted}, not {kind}.")
    return array.astype(np.float64)


def bound_below(loss: str, lower_bound: Any) -> float:
    """Return a lower bound as a float. Raises MethodError if it is not a number, or is +inf."""
    if isinstance(lower_bound, bool) or not isinstance(lower_bound, Real) or not float(lower_bound) < math.inf:
        raise MethodError(f"{loss}(lower_bound={lower_bound!r}): it must be a number, or -inf for none.")
    return float(lower_bound)


def yes_or_no(loss: str, name: str, answer: Any) -> bool:
    """Return an argument that is True or False. Raises MethodError if it is something else."""
    if not isinstance(answer, (bool, np.bool_)):
        raise MethodError(f"{loss}({name}={answer!r}): write True or False.")
    return bool(answer)
