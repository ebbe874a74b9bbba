"""The numbers that losses take, and how it is said that one is wrong."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

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
