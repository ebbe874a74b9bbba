"""The concave-convex procedure: hold the latents at their best values, learn as if they were seen, and again.

    z_s <- argmin over z of E_w(y_s, z)          w <- minimise the objective in which "right" means (y_s, z_s)

min over z of E is the only concave part of a convex loss with latents: held at z_s it becomes an upper bound that
touches at w, so the objective never rises (Yuille and Rangarajan, "The concave-convex procedure", Neural Computation
15(4), 2003; Yu and Joachims, "Learning structural SVMs with latent variables", ICML 2009). Losses with a free energy in
place of the best one are hard expectation maximisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.learning.optimizers.lbfgs import lbfgs
from factorgraph_ebm.learning.optimizers.optimizer import Optimizer, run
from factorgraph_ebm.learning.oracle import Oracle, Regularizer, objective, report_of

_GIVEN_BY_COMPLETION = frozenset({"convex", "piecewise_linear", "fully_labelled"})
"what the inner optimiser may need and the problem has only once its latents are held"


class CccpState(NamedTuple):
    w: F64
    loss: float
    "mean, with the latents held in the last round"
    bound: float
    "upper bound of the objective at w: the objective with those latents held"
    rounds: int
    finished: bool


def cccp(inner: Optimizer | None = None, inner_updates: int = 20, tolerance: float = 1e-6) -> Optimizer:
    """Rounds of completing the latents and optimising with them held; needs latents that are minimised.

    Parameters
    ----------
    inner : optimises while the latents are held; None: lbfgs()
    inner_updates : of the inner optimiser in each round, at most
    tolerance : finished when a round lowers the bound by no more than tolerance * |bound|

    Raises
    ------
    MethodError : an option out of its range; the inner optimiser refuses the problem with its latents held.

    Examples
    --------
    >>> from factorgraph_ebm.learning.oracle import UNREGULARIZED, from_slopes
    >>> points = np.array([1.0, 2.0, -3.0])
    >>> def held(sign):  # E = min over z in {-1, +1} of (|x| - z w)^2, with z held
    ...     def squares(w, samples):
    ...         distance = sign * w - abs(points)[samples]
    ...         return distance**2, (2.0 * sign * distance)[:, None]
    ...     return from_slopes(squares, [0.1], n_samples=3)
    >>> oracle = held(1.0)._replace(complete=lambda w: held(np.sign(w[0])))
    >>> np.round(run(cccp(), oracle, UNREGULARIZED).w, 6)
    array([2.])
    """
    inside = lbfgs() if inner is None else inner
    if not (inner_updates >= 1 and tolerance >= 0.0):
        raise MethodError(
            f"cccp needs inner_updates >= 1 and tolerance >= 0, not {inner_updates!r} and {tolerance!r}."
        )
    if "latents" in inside.needs:
        raise MethodError(f'cccp holds all latents, and leaves none to "{inside.name}" inside it. Write inner=lbfgs().')

    def init(oracle: Oracle, regularizer: Regularizer) -> CccpState:
        return CccpState(np.clip(oracle.start, oracle.lower, oracle.upper), np.nan, np.nan, 0, False)

    def update(state: CccpState, oracle: Oracle, regularizer: Regularizer) -> CccpState:
        if state.finished:
            return state
        if oracle.complete is None:
            raise MethodError("cccp completes latents, and nothing is latent here. Use its inner optimiser by itself.")
        held = oracle.complete(state.w)._replace(start=state.w)
        lacking = sorted((inside.needs & _GIVEN_BY_COMPLETION) - held.traits)
        if lacking:
            raise MethodError(
                f'cccp: "{inside.name}" needs a problem that is {" and ".join(lacking)}, and with its latents held '
                "this one is not. Write inner=lbfgs()."
            )
        before = objective(held, regularizer, state.w)
        w = inside.best(run(inside, held, regularizer, inner_updates))
        after = objective(held, regularizer, w)
        rounds = state.rounds + 1
        if not after.value < before.value:
            return CccpState(state.w, before.loss, before.value, rounds, True)
        done = before.value - after.value <= tolerance * abs(after.value)
        return CccpState(w, after.loss, after.value, rounds, done)

    return Optimizer(
        "cccp",
        init,
        update,
        finished=lambda state: bool(state.finished),
        report=_report,
        needs=(inside.needs - _GIVEN_BY_COMPLETION) | {"latents", "objective"},
        updates=50,
    )


def _report(state: CccpState) -> Mapping[str, float]:
    return report_of(loss=state.loss, objective=state.bound)
