"""A margin loss of one's own: L = Q(E(right) - E(best wrong))."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.losses.arguments import bound_below, real_array, yes_or_no
from factorgraph_ebm.losses.loss import Loss, Query, difference


def margin(
    Q: Callable[[F64], Any], dQ: Callable[[F64], Any], *, lower_bound: float = 0.0, convex: bool = False
) -> Loss:
    """The generalised margin loss: L = Q(d), d = E(right) - min over wrong y of E(y), with its derivative dQ.

    For a function of the gap that has no name here. `hinge`, `log`, `lvq2` and `mce` are of this form. Energies go
    right where Q increases: the right answer goes down and the best wrong one up. Where no wrong answer exists, the
    loss is the lower bound (0 if there is none), and Q is not asked.

    Source: LeCun et al., "A tutorial on energy-based learning", 2006, section 2 ("generalized margin losses").

    Parameters
    ----------
    Q, dQ : functions of an array (n,) of gaps in nats that return an array (n,); element by element
    lower_bound : of Q; -inf if there is none
    convex : whether Q is convex *and* increasing, so that the loss is convex in the numbers

    Raises
    ------
    MethodError : Q or dQ is not a function, lower_bound is not a number below inf; and when it is used, an answer of
        another shape.

    Examples
    --------
    >>> square = margin(lambda d: np.maximum(0, 1 + d) ** 2, lambda d: 2 * np.maximum(0, 1 + d), convex=True)
    >>> losses, slopes = square.value((np.array([3.0, 0.0]), np.array([1.0, np.inf])), 1.0)
    >>> losses, slopes[0]
    (array([9., 0.]), array([6., 0.]))
    """
    for name, function in (("Q", Q), ("dQ", dQ)):
        if not callable(function):
            raise MethodError(f"margin({name}={function!r}): {name} must be a function of an array of gaps.")
    least, is_convex = bound_below("margin", lower_bound), yes_or_no("margin", "convex", convex)
    at_nothing = least if least > -math.inf else 0.0

    def function_of(d: F64, beta: float) -> tuple[F64, F64]:
        there = d > -np.inf
        losses, slope = np.full(d.shape, at_nothing), np.zeros(d.shape)
        gaps = d[there]
        losses[there], slope[there] = _asked("Q", Q, gaps), _asked("dQ", dQ, gaps)
        return losses, slope

    return difference(
        "margin",
        (Query("target"), Query("wrong")),
        function_of,
        lower_bound=least,
        convex=is_convex,
        smooth=False,
    )


def _asked(name: str, function: Callable[[F64], Any], gaps: F64) -> F64:
    """Call a user's function, on a copy of what it is given, and check the shape of its answer."""
    found = real_array(f"the answer of {name}", "one number for each gap", function(gaps.copy()))
    if found.shape != gaps.shape:
        raise MethodError(
            f"{name} returned an array of shape {found.shape} for {len(gaps)} gaps. Return one number for each gap."
        )
    return found
