"""Cutting planes: minimise l2 plus the highest of all planes of the mean loss met so far.

    w = argmin of sum_j s_j w_j^2 + max over k of (b_k + a_k . w)             a_k: gradient at an earlier w_k
    dual     max over alpha on the simplex of b . alpha - (1/4) sum_j (sum_k alpha_k a_kj)^2 / s_j

One plane of the whole loss an iteration (Joachims, Finley and Yu, "Cutting-plane training of structural SVMs",
Machine Learning 77, 2009; for any convex loss Teo, Vishwanathan, Smola and Le, "Bundle methods for regularized risk
minimization", JMLR 11, 2010). The value of the dual bounds the optimum from below.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.formats.text import bytes_in_words
from factorgraph_ebm.learning.optimizers.optimizer import Optimizer
from factorgraph_ebm.learning.optimizers.products import dot
from factorgraph_ebm.learning.optimizers.simplex import maximise
from factorgraph_ebm.learning.oracle import UNREGULARIZED, Oracle, Regularizer, objective, report_of

IDLE = 50
"iterations without a share in w after which a plane is forgotten"


class CuttingPlaneState(NamedTuple):
    w: F64
    "where the next plane is taken"
    answer: F64
    "the w of least objective so far"
    slopes: tuple[F64, ...]
    "a_k, each (n_free,)"
    offsets: F64
    "b_k"
    gram: F64
    "(planes, planes) sum_j a_kj a_lj / 2 s_j"
    alpha: F64
    idle: I64
    "iterations since each plane last had a share"
    loss: float
    "mean at the answer"
    objective: float
    "of the answer"
    bound: float
    exact: bool
    "inference is, so that the bound is one"
    finished: bool


def cutting_plane(tolerance: float = 1e-4, memory: int = 2**30) -> Optimizer:
    """The bundle method with a certified gap, for any convex loss with l2.

    Parameters
    ----------
    tolerance : finished where objective - bound <= tolerance * objective
    memory : bytes that the planes may take, each a vector like w

    Raises
    ------
    MethodError : an option out of its range; while it runs, the planes would take more than `memory`.

    Examples
    --------
    >>> from factorgraph_ebm.learning.optimizers.optimizer import run
    >>> from factorgraph_ebm.learning.oracle import from_slopes
    >>> from factorgraph_ebm.learning.regularizers import VectorLayout, l2
    >>> def distances(w, samples):
    ...     distance = w - np.array([[1.0], [3.0]])[samples]
    ...     return abs(distance[:, 0]), np.sign(distance)
    >>> oracle = from_slopes(distances, [0.0], n_samples=2)
    >>> state = run(cutting_plane(), oracle, l2(0.25).bind(VectorLayout(1)))
    >>> state.answer, state.objective, state.bound
    (array([1.]), 1.25, 1.25)
    """
    if not (tolerance >= 0.0 and memory > 0):
        raise MethodError(f"cutting_plane needs tolerance >= 0 and memory > 0, not {tolerance!r} and {memory!r}.")

    def init(oracle: Oracle, regularizer: Regularizer) -> CuttingPlaneState:
        none = np.zeros(0)
        return CuttingPlaneState(
            oracle.start, oracle.start, (), none, np.zeros((0, 0)), none, none.astype(np.int64),
            np.nan, np.inf, -np.inf, "exact" in oracle.traits, False,
        )  # fmt: skip

    def update(state: CuttingPlaneState, oracle: Oracle, regularizer: Regularizer) -> CuttingPlaneState:
        if state.finished:
            return state
        s = regularizer.l2
        if s is None or not (s > 0.0).all():
            raise MethodError(
                "cutting_plane divides by the strength of l2: write regularizer=l2(strength) over all parameters."
            )
        here = objective(oracle, UNREGULARIZED, state.w)
        value = here.loss + regularizer.value(state.w)
        answer, loss, least = state.answer, state.loss, state.objective
        if value < least:
            answer, loss, least = state.w, here.loss, value
        kept = np.flatnonzero(state.idle < IDLE)
        slopes = (*(state.slopes[k] for k in kept.tolist()), here.gradient)
        if len(slopes) * here.gradient.nbytes > memory:
            raise MethodError(
                f"cutting_plane keeps {len(slopes)} planes of {len(state.w):,} entries: "
                f"{bytes_in_words(len(slopes) * here.gradient.nbytes)}, more than memory={memory:,}. "
                "Raise memory, or use bcfw(), lbfgs() or sgd(average=True)."
            )
        offsets = np.append(state.offsets[kept], here.loss - dot(here.gradient, state.w))
        scaled = here.gradient * (0.5 / s)
        row = np.array([dot(each, scaled) for each in slopes])
        gram = np.empty((len(slopes), len(slopes)))
        gram[:-1, :-1] = state.gram[np.ix_(kept, kept)]
        gram[-1], gram[:, -1] = row, row
        begin = np.append(state.alpha[kept], 0.0) if len(kept) else np.ones(1)
        alpha = maximise(gram, offsets, begin, 0.01 * tolerance * abs(least))
        mixed = np.zeros(len(state.w))
        for k in np.flatnonzero(alpha).tolist():
            mixed += alpha[k] * slopes[k]
        w = mixed * (-0.5 / s)
        bound = max(state.bound, float(np.sum(offsets * alpha)) - regularizer.value(w))
        idle = np.where(alpha > 0.0, 0, np.append(state.idle[kept], 0) + 1)
        finished = least - bound <= tolerance * abs(least)
        return CuttingPlaneState(
            w, answer, slopes, offsets, gram, alpha, idle, loss, least, bound, state.exact, finished
        )

    return Optimizer(
        "cutting_plane",
        init,
        update,
        best=lambda state: state.answer,
        finished=lambda state: bool(state.finished),
        report=_report,
        needs=frozenset({"convex", "linear", "fully_labelled", "l2", "unbounded"}),
        updates=500,
        from_start=False,
    )


def _report(state: CuttingPlaneState) -> Mapping[str, float]:
    prefix = "" if state.exact else "working_"
    gap = state.objective - state.bound if np.isfinite(state.bound) else np.nan
    bound = state.bound if np.isfinite(state.bound) else np.nan
    value = state.objective if np.isfinite(state.objective) else np.nan
    return report_of(loss=state.loss, objective=value, **{f"{prefix}bound": bound, f"{prefix}gap": gap})
