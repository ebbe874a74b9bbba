"""How far to go along a direction: a step that satisfies the strong Wolfe conditions, by cubic interpolation.

    f(t) <= f(0) + 1e-4 t f'(0)         |f'(t)| <= 0.9 |f'(0)|

Nocedal and Wright, "Numerical optimization", 2nd edition, 2006, algorithms 3.5 and 3.6. Near an optimum differences of
f drown in rounding, so the first condition is tested up to a few units in the last places of f.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.learning.oracle import Objective

DECREASE = 1e-4
CURVATURE = 0.9
ROUNDING = 1e-13
"of f, relative"
MOST = 30
"evaluations before a search gives up"


class Point(NamedTuple):
    """A step that was tried."""

    step: float
    slope: float
    "derivative along the direction"
    w: F64
    objective: Objective

    @property
    def value(self) -> float:
        return self.objective.value


def wolfe(try_step: Callable[[float], Point], begin: Point, step: float) -> tuple[Point | None, int]:
    """Search from `step` on; returns the point found, None where there is no progress, and how many were tried."""
    allowed = begin.value + ROUNDING * abs(begin.value)
    # The last point of sufficient decrease that is still too steep, and one beyond the minimum, once known.
    before, low = begin, begin
    high: Point | None = None
    for tried in range(1, MOST + 1):
        point = try_step(step)
        too_far = not point.value <= allowed + DECREASE * point.step * begin.slope
        if too_far or (low is not begin and point.value >= low.value + ROUNDING * abs(low.value)):
            high = point
        elif abs(point.slope) <= -CURVATURE * begin.slope:
            return point, tried
        else:
            ahead = 1.0 if high is None else high.step - low.step
            if point.slope * ahead >= 0.0:
                high = low
            before, low = low, point
        if high is None:
            step = _beyond(before, low)
        else:
            step = _between(low, high)
            if abs(high.step - low.step) <= 1e-12 * max(abs(high.step), abs(low.step)):
                break
        # What so short a step could gain would drown in rounding.
        if low is begin and -step * begin.slope <= 10.0 * ROUNDING * abs(begin.value):
            break
    return (None if low is begin else low), tried


def _beyond(begin: Point, point: Point) -> float:
    """A larger step, where the cubic through both has its minimum, two to ten times as far."""
    found = _cubic(begin, point)
    return min(max(found, 2.0 * point.step), 10.0 * point.step) if math.isfinite(found) else 2.0 * point.step


def _between(low: Point, high: Point) -> float:
    """A step well inside of an interval."""
    width = high.step - low.step
    if not (math.isfinite(high.value) and math.isfinite(high.slope)):
        return low.step + 0.5 * width
    share = (_cubic(low, high) - low.step) / width
    return low.step + width * (min(max(share, 0.1), 0.9) if math.isfinite(share) else 0.5)


def _cubic(a: Point, b: Point) -> float:
    """The minimum of the cubic with the values and slopes of two points; nan where it has none."""
    if a.step == b.step:
        return math.nan
    middle = a.slope + b.slope - 3.0 * (a.value - b.value) / (a.step - b.step)
    square = middle * middle - a.slope * b.slope
    if not square >= 0.0:
        return math.nan
    root = math.copysign(math.sqrt(square), b.step - a.step)
    bottom = b.slope - a.slope + 2.0 * root
    return b.step - (b.step - a.step) * (b.slope + root - middle) / bottom if bottom else math.nan
