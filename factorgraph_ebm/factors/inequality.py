"""One linear constraint, in its own unit: whole weights wherever they have a common divisor.

    sum over j of weights_j x_j RELATION bound

Sums of whole numbers are few and exact. Weights such as 0.1 or 1/8 are whole after multiplication by a power of ten or
of two, others as multiples of the smallest; then all are divided by their greatest common divisor.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.graph.parametrisation import Floats

RELATIONS = ("<=", "==", ">=")
SCALES = sorted({10.0**i for i in range(7)} | {2.0**i for i in range(21)})
"what weights may be multiplied by to become whole numbers"
WHOLE = 1e-9
"how far from whole they may be then, and how far sums of other weights may miss the bound"


class Inequality(NamedTuple):
    """One constraint, in its own unit: sum of weights times states, relation, bound."""

    weights: tuple[float, ...]
    bound: float
    whole: bool
    "the weights are whole numbers"

    def holds(self, total: npt.NDArray[np.floating[Any]], relation: str) -> npt.NDArray[np.bool_]:
        slack = 0.0 if self.whole or math.isinf(self.bound) else WHOLE * max(1.0, abs(self.bound))
        return compare(total, self.bound, relation, slack)

    def least(self, state_shape: tuple[int, ...]) -> float:
        """The smallest sum."""
        return sum(min(w * (k - 1), 0.0) for w, k in zip(self.weights, state_shape, strict=True))

    def span(self, state_shape: tuple[int, ...]) -> float:
        """The largest sum less the smallest."""
        return sum(abs(w) * (k - 1) for w, k in zip(self.weights, state_shape, strict=True))


def compare(total: npt.NDArray[np.floating[Any]], bound: float, relation: str, slack: float) -> npt.NDArray[np.bool_]:
    """Whether sums stand in this relation to the bound."""
    if relation == "<=":
        return np.asarray(total <= bound + slack)
    if relation == ">=":
        return np.asarray(total >= bound - slack)
    with np.errstate(invalid="ignore"):
        return np.asarray(abs(total - bound) <= slack)


def in_own_unit(weights: Floats, bound: float, relation: str) -> Inequality:
    """Return the constraint with weights that are whole numbers without a common divisor, where there is a unit."""
    smallest = float(np.min(abs(weights), where=weights != 0, initial=math.inf))
    for scale in (*SCALES, 1.0 / smallest):
        scaled = weights * scale
        near = np.rint(scaled)
        # What is not 0 stays so, however small.
        whole = (abs(scaled - near) <= WHOLE) & ((near != 0) | (weights == 0))
        if whole.all() and abs(near).sum() < 2**53:
            unit = max(int(np.gcd.reduce(near.astype(np.int64), initial=0)), 1)
            wanted = bound * scale / unit
            if math.isfinite(wanted):
                slack = WHOLE / unit + 1e-15 * abs(wanted)
                if relation == "<=":
                    wanted = float(math.floor(wanted + slack))
                elif relation == ">=":
                    wanted = float(math.ceil(wanted - slack))
                else:
                    # No sum of whole numbers is a fraction.
                    wanted = float(round(wanted)) if abs(wanted - round(wanted)) <= slack else math.inf
            return Inequality(tuple((near / unit + 0.0).tolist()), wanted, True)
    return Inequality(tuple(weights.tolist()), bound, False)
