"""L-BFGS: quasi-Newton steps from the last few differences of w and of the gradient.

    w <- w - t H g        H = the inverse Hessian that fits the pairs (difference of w, difference of gradient)

Nocedal, "Updating quasi-Newton matrices with limited storage", Math. Comp. 35, 1980. Weights of |w| follow Andrew and
Gao, "Scalable training of L1-regularized log-linear models", ICML 2007: the steepest one-sided slope takes the place
of the gradient, and no entry crosses 0 within a step. Bounds are kinks as well, and no entry leaves them. Entries that
rest at a kink are left out of the pairs, so that the others see their own curvature (Bertsekas, "Projected Newton
methods", SIAM J. Control Optim. 20(2), 1982).

Frequencies of features differ ten-thousandfold. Where the oracle knows the curvature along each entry, H begins with a
diagonal that follows it, and that takes the diagonal of the BFGS formula with each pair (Gilbert and Lemaréchal, "Some
numerical experiments with variable-storage quasi-Newton algorithms", Mathematical Programming 45, 1989).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, Bool
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.learning.optimizers.line_search import DECREASE, MOST, ROUNDING, Point, wolfe
from factorgraph_ebm.learning.optimizers.optimizer import Optimizer
from factorgraph_ebm.learning.optimizers.products import (
    add_and_dot,
    add_and_dot_free,
    dot,
    dot_free,
    norm,
    rescale,
    scaled_square,
    step_along,
    subtract_and_square,
    unscaled_square,
)
from factorgraph_ebm.learning.oracle import Objective, Oracle, Regularizer, objective, report_of
from factorgraph_ebm.learning.pieces import by_pieces

PERIOD = 10
"iterations over which the objective must fall"
COSINE = 1e-10
"of a pair with which it says nothing of curvature"


class LbfgsState(NamedTuple):
    w: F64
    gradient: F64
    "of the smooth part of the objective"
    value: float
    "of the objective"
    loss: float
    steps: tuple[F64, ...]
    "last differences of w, oldest first"
    changes: tuple[F64, ...]
    "differences of the gradient that they made"
    curvatures: F64
    "products of each step with its change"
    least_curvatures: F64
    "below which they would say nothing"
    recent: F64
    "(PERIOD,) earlier objectives, oldest first, +inf where there was none"
    gradient_norm: float
    "of the steepest one-sided slope"
    step: float
    "share of the last direction that was gone"
    iteration: int
    evaluations: int
    finished: bool
    kinks: bool
    "there are bounds or weights of |w|"
    scale: F64
    "(n_free,) about the inverse of the curvature along each entry; (0,): nothing is known of it"


def lbfgs(max_iterations: int | None = None, tolerance: float = 1e-5, memory: int = 10) -> Optimizer:
    """Quasi-Newton steps over all samples, for objectives that are smooth but for an l1 part, and for bounds.

    A loss with kinks (hinge) is allowed: a step is then any that decreases, and it ends where none is found.

    Parameters
    ----------
    max_iterations : finished after so many; None: no limit but that of who calls
    tolerance : finished where |slope| max(1, |w|) <= tolerance |objective| (a bound of what a relative change of w
        changes, relatively), or where the objective fell by no more than tolerance |objective| in 10 iterations
    memory : pairs kept, each of two vectors like w

    Raises
    ------
    MethodError : an option out of its range.

    Examples
    --------
    >>> from factorgraph_ebm.learning.optimizers.optimizer import run
    >>> from factorgraph_ebm.learning.oracle import UNREGULARIZED, from_slopes
    >>> def rosenbrock(w, samples):
    ...     a, b = 1.0 - w[0], w[1] - w[0] ** 2
    ...     return np.array([a**2 + 100.0 * b**2]), np.array([[-2.0 * a - 400.0 * b * w[0], 200.0 * b]])
    >>> state = run(lbfgs(tolerance=1e-12), from_slopes(rosenbrock, [-1.2, 1.0], n_samples=1), UNREGULARIZED)
    >>> np.round(state.w, 6)
    array([1., 1.])
    """
    if not (tolerance >= 0.0 and memory >= 1 and (max_iterations is None or max_iterations >= 0)):
        raise MethodError(
            f"lbfgs needs tolerance >= 0, memory >= 1 and max_iterations >= 0, not {tolerance!r}, {memory!r} and "
            f"{max_iterations!r}."
        )
    most = math.inf if max_iterations is None else max_iterations

    def init(oracle: Oracle, regularizer: Regularizer) -> LbfgsState:
        w = np.clip(oracle.start, oracle.lower, oracle.upper)
        now, kinks = objective(oracle, regularizer, w), _has_kinks(oracle, regularizer)
        slope = _slope(w, now.gradient, oracle, regularizer, kinks=kinks)
        size = norm(slope)
        done = most == 0 or _is_flat(size, w, now.value, tolerance)
        recent = np.full(PERIOD, np.inf)
        none = np.zeros(0)
        scale = none if done else _scale(oracle, regularizer, w, slope)
        return LbfgsState(
            w, now.gradient, now.value, now.loss, (), (), none, none, recent, size, 0.0, 0, 1, done, kinks, scale
        )

    def update(state: LbfgsState, oracle: Oracle, regularizer: Regularizer) -> LbfgsState:
        if state.finished:
            return state
        found, tried = _search(state, oracle, regularizer)
        if found is None and state.steps:  # the pairs mislead: begin anew with none
            state = state._replace(steps=(), changes=(), curvatures=np.zeros(0), least_curvatures=np.zeros(0))
            found, again = _search(state, oracle, regularizer)
            tried += again
        iteration, evaluations = state.iteration + 1, state.evaluations + tried
        if found is None:
            return state._replace(iteration=iteration, evaluations=evaluations, finished=True, step=0.0)
        now, w, threads = found.objective, found.w, oracle.threads
        steps, changes, curvatures, leasts = state.steps, state.changes, state.curvatures, state.least_curvatures
        step, change, slope, n = np.empty(len(w)), np.empty(len(w)), now.gradient, len(w)
        length = by_pieces(lambda p: subtract_and_square(w[p], state.w[p], step[p]), n, threads)
        square = by_pieces(lambda p: subtract_and_square(slope[p], state.gradient[p], change[p]), n, threads)
        curvature, least = dot(step, change), COSINE * math.sqrt(length) * math.sqrt(square)
        scale = state.scale
        if curvature > least:
            steps, changes = (*steps, step)[-memory:], (*changes, change)[-memory:]
            curvatures, leasts = np.append(curvatures, curvature)[-memory:], np.append(leasts, least)[-memory:]
            moved = np.where(step != 0.0, change, 0.0) if state.kinks else change  # what rests has no part in the pair
            scale = _rescaled(scale, step, moved, curvature, threads)
        size = norm(_slope(w, now.gradient, oracle, regularizer, kinks=state.kinks))
        recent = np.append(state.recent[1:], state.value)
        done = _is_flat(size, w, now.value, tolerance) or recent[0] - now.value <= tolerance * abs(now.value)
        done = bool(done or iteration >= most)
        return LbfgsState(
            w, now.gradient, now.value, now.loss, steps, changes, curvatures, leasts, recent, size,
            found.step, iteration, evaluations, done, state.kinks, scale,
        )  # fmt: skip

    return Optimizer(
        "lbfgs",
        init,
        update,
        finished=lambda state: bool(state.finished),
        report=_report,
        needs=frozenset({"objective", "no_rest_but_l1"}),
        updates=1000 if max_iterations is None else max_iterations,
    )


def _scale(oracle: Oracle, regularizer: Regularizer, w: F64, slope: F64) -> F64:
    """What the slope is multiplied by first: the inverse root of the curvature h, where it is known.

    As long as suits the model slope . v + sum of h v^2 / 2 of the objective best. The root is halfway between the
    curvature before anything is learned and none of its differences: where the model is sure, little is left of them.
    """
    known = oracle.curvature()
    if known is None:
        return np.zeros(0)
    curvature = known / max(1, oracle.n_samples)
    if regularizer.gradient is not None:
        curvature += np.maximum(0.0, regularizer.gradient(w + 1.0) - regularizer.gradient(w))
    bent = (curvature > 0.0) & np.isfinite(curvature)
    if not bent.any():
        return np.zeros(0)
    curvature[~bent] = np.mean(curvature[bent])
    scale = 1.0 / np.sqrt(curvature)
    scale *= scaled_square(slope, scale) / dot(slope, slope)
    return scale


def _rescaled(scale: F64, step: F64, change: F64, product: float, threads: int) -> F64:
    """The scale that fits the last pair: the diagonal of the BFGS formula."""
    if not len(scale):
        return scale
    found, n = np.empty(len(scale)), len(scale)
    ratio = by_pieces(lambda p: scaled_square(change[p], scale[p]), n, threads) / product
    length = by_pieces(lambda p: unscaled_square(step[p], scale[p]), n, threads)
    by_pieces(lambda p: rescale(scale[p], step[p], change[p], ratio, product, length, found[p]), n, threads)
    return found


def _report(state: LbfgsState) -> Mapping[str, float]:
    return report_of(loss=state.loss, objective=state.value, gradient_norm=state.gradient_norm, step=state.step)


def _is_flat(size: float, w: F64, value: float, tolerance: float) -> bool:
    return size * max(1.0, norm(w)) <= tolerance * abs(value)


def _has_kinks(oracle: Oracle, regularizer: Regularizer) -> bool:
    bounded = bool(np.isfinite(oracle.lower).any() or np.isfinite(oracle.upper).any())
    return bounded or regularizer.l1 is not None


def _slope(w: F64, gradient: F64, oracle: Oracle, regularizer: Regularizer, *, kinks: bool) -> F64:
    """Minus the steepest way down: one-sided where an entry rests at a kink, 0 where neither side goes down."""
    if not kinks:
        return gradient
    slope, l1 = gradient, regularizer.l1
    if l1 is not None:
        slope = np.where(w == 0.0, gradient - np.clip(gradient, -l1, l1), gradient + l1 * np.sign(w))
    held = ((w <= oracle.lower) & (slope > 0.0)) | ((w >= oracle.upper) & (slope < 0.0))
    return np.where(held, 0.0, slope)


def _direction(state: LbfgsState, slope: F64, held: Bool, threads: int) -> F64:
    """-H slope, 0 for entries that are held: by two loops over the pairs, newest first and oldest first."""
    any_held, holds, n = bool(held.any()), held.view(np.uint8), len(slope)
    q = slope.copy()

    def step_and_product(share: float, x: F64, y: F64) -> float:
        if any_held:
            return float(add_and_dot_free(q, share, x, y, holds))
        return by_pieces(lambda p: add_and_dot(q[p], share, x[p], y[p]), n, threads)

    pairs, curvatures = list(zip(state.steps, state.changes)), state.curvatures.tolist()
    if any_held:
        curvatures = [float(dot_free(step, change, holds)) for step, change in pairs]
        told = np.flatnonzero(np.array(curvatures) > state.least_curvatures).tolist()
        pairs, curvatures = [pairs[k] for k in told], [curvatures[k] for k in told]
    if not pairs:
        # What has moved and shown no curvature has none, whatever was expected of it.
        q *= -state.scale if len(state.scale) and not state.iteration else -1.0 / norm(slope)
        return q
    shares = [0.0] * len(pairs)
    product = dot(pairs[-1][0], q)
    for k in range(len(pairs) - 1, -1, -1):
        shares[k] = product / curvatures[k]
        product = step_and_product(-shares[k], pairs[k][1], pairs[max(k - 1, 0)][0])
    if len(state.scale):
        q *= state.scale
    else:
        change = pairs[-1][1]
        q *= curvatures[-1] / (float(dot_free(change, change, holds)) if any_held else dot(change, change))
    product = dot(pairs[0][1], q)
    for k in range(len(pairs)):
        more = shares[k] - product / curvatures[k]
        product = step_and_product(more, pairs[k][0], pairs[min(k + 1, len(pairs) - 1)][1])
    return np.negative(q, out=q)


def _search(state: LbfgsState, oracle: Oracle, regularizer: Regularizer) -> tuple[Point | None, int]:
    """The next point, None where no step decreases the objective, and how many were tried."""
    slope = _slope(state.w, state.gradient, oracle, regularizer, kinks=state.kinks)
    if not norm(slope) > 0.0:
        return None, 0
    begin = Objective(state.value, state.gradient, state.loss)
    if "smooth" in oracle.traits and not state.kinks:
        direction = _direction(state, slope, np.zeros(0, np.bool_), oracle.threads)

        def try_step(step: float) -> Point:
            w = np.empty(len(direction))
            by_pieces(lambda p: step_along(state.w[p], step, direction[p], w[p]), len(w), oracle.threads)
            now = objective(oracle, regularizer, w)
            return Point(step, dot(now.gradient, direction), w, now)

        return wolfe(try_step, Point(0.0, dot(slope, direction), state.w, begin), 1.0)
    return _backtrack(state, slope, oracle, regularizer)


def _backtrack(
    state: LbfgsState, slope: F64, oracle: Oracle, regularizer: Regularizer
) -> tuple[Point | None, int]:
    """The first of shorter and shorter steps, cut off at bounds and at 0, that decreases the objective enough."""
    w, l1, kinks = state.w, regularizer.l1, state.kinks
    at_kink = (w <= oracle.lower) | (w >= oracle.upper)
    if l1 is not None:
        at_kink |= (w == 0.0) & (l1 > 0.0)
    direction = _direction(state, slope, at_kink & (slope == 0.0), oracle.threads)
    # An entry at a kink may leave it on the side that goes down only.
    direction[at_kink & (direction * slope >= 0.0)] = 0.0
    side = np.where(w == 0.0, -np.sign(slope), np.sign(w))
    allowed = state.value + ROUNDING * abs(state.value)
    step = 1.0
    for tried in range(1, MOST + 1):
        there = w + step * direction
        if kinks:
            there = np.clip(there, oracle.lower, oracle.upper)
        if l1 is not None:
            there[(l1 > 0.0) & (there * side < 0.0)] = 0.0
        expected = dot(slope, there - w)
        now = objective(oracle, regularizer, there)
        if expected < 0.0 and now.value <= allowed + DECREASE * expected:
            return Point(step, math.nan, there, now), tried
        if tried == 1 and kinks:
            # Cut off, the rest of a step may go up: with no entry that goes up it cannot (Andrew and Gao).
            direction[direction * slope >= 0.0] = 0.0
        # The minimum of the parabola through both values and the slope at 0, well inside.
        rise = now.value - state.value - expected
        shorter = -0.5 * expected / rise if rise > 0.0 and expected < 0.0 else 0.5
        step *= min(max(shorter, 0.1), 0.5)
    return None, tried
