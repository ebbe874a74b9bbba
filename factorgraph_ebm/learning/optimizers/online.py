"""What methods share that take one sample at a time and move along its plane only: an epoch of sparse updates.

    w_t = w_(t-1) - tau_t g_t         average of w_1 .. w_T = w_T + (1/T) sum over t of (t - 1) tau_t g_t

so an update touches the support of one plane, and the average costs nothing until it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.learning.optimizers.optimizer import Optimizer
from factorgraph_ebm.learning.oracle import Oracle, Plane, Regularizer, report_of


class OnlineState(NamedTuple):
    w: F64
    late: F64
    "(n_free,) sum of (samples seen before) * change of w"
    seen: int
    "samples, over all epochs"
    epoch: int
    changes: int
    "of w, in the last epoch"
    loss: float
    "mean over the samples of the last epoch, each before its step"


def online_optimizer(
    name: str, step: Callable[[Plane, float], float], average: bool, needs: frozenset[str]
) -> Optimizer:
    """The optimiser of a rule (plane, weight of its sample) -> multiple of the slope to subtract; 0 changes nothing."""

    def init(oracle: Oracle, regularizer: Regularizer) -> OnlineState:
        w = np.clip(oracle.start, oracle.lower, oracle.upper)
        return OnlineState(w, np.zeros(len(w)), 0, 0, 0, np.nan)

    def update(state: OnlineState, oracle: Oracle, regularizer: Regularizer) -> OnlineState:
        w, late, seen, changes, total = state.w.copy(), state.late.copy(), state.seen, 0, 0.0
        lower, upper = oracle.lower, oracle.upper
        bounded = bool(np.isfinite(lower).any() or np.isfinite(upper).any())
        for sample in oracle.order(state.epoch).tolist():
            weight = float(oracle.weights[sample])
            if weight != 0.0:
                plane = oracle.planes(w, np.array([sample]))[0]
                total += weight * plane.loss
                tau = step(plane, weight)
                if tau != 0.0 and plane.values.any():
                    old = w[plane.support]
                    new = old - tau * plane.values
                    if bounded:
                        new = np.clip(new, lower[plane.support], upper[plane.support])
                    w[plane.support] = new
                    late[plane.support] += seen * (new - old)
                    changes += 1
            seen += 1
        return OnlineState(w, late, seen, state.epoch + 1, changes, total / max(1, oracle.n_samples))

    def best(state: OnlineState) -> F64:
        return state.w - state.late / state.seen if average and state.seen else state.w

    return Optimizer(name, init, update, best, finished=_finished, report=_report, needs=needs, updates=20)


def _finished(state: OnlineState) -> bool:
    return state.epoch > 0 and state.changes == 0


def _report(state: OnlineState) -> Mapping[str, float]:
    return report_of(loss=state.loss)
