"""What an optimiser is: a few functions of a state, which is plain arrays and numbers and so is its own checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.learning.oracle import Oracle, Regularizer

State: TypeAlias = Any
"""A NamedTuple whose first field is `w`, of arrays, floats, ints, bools, None, and tuples or NamedTuples of these.
Resuming from one that was saved and read again goes on bit for bit, so nothing else may be remembered."""


def _not_yet(state: State) -> bool:
    return False


def _nothing(state: State) -> Mapping[str, float]:
    return {}


def _w(state: State) -> F64:
    w: F64 = state.w
    return w


class Optimizer(NamedTuple):
    """An optimisation method as data. Write one as a function that returns this, or pass your own to `EnergyModel`."""

    name: str
    init: Callable[[Oracle, Regularizer], State]
    "begins at `oracle.start`"
    update: Callable[[State, Oracle, Regularizer], State]
    "one iteration, or one epoch of a method that goes sample by sample; never changes the arrays of its argument"
    best: Callable[[State], F64] = _w
    "the parameters to use: averaged, the incumbent, or w"
    finished: Callable[[State], bool] = _not_yet
    "nothing more is to be gained"
    report: Callable[[State], Mapping[str, float]] = _nothing
    """figures for the history: "loss" (mean over samples; of a method that goes sample by sample, as it met them),
    "objective", "gradient_norm", "step", "bound" and "gap" (of what `best` gives; "working_bound" and "working_gap"
    where inference is not exact and they prove nothing)"""
    needs: frozenset[str] = frozenset()
    """of {"convex", "piecewise_linear", "smooth", "linear", "fully_labelled", "objective", "exact"}, traits of the
    problem; "latents": there are some; "unbounded": no entry has bounds; and of the regulariser "l2": it is just that,
    with no strength 0, "no_regularizer", "no_rest_but_l1": it is smooth, but for an l1 part. See `capabilities`"""
    updates: int = 100
    "how many at most, where `fit` is not told"
    from_start: bool = True
    "False: it begins at planes of its own, wherever `oracle.start` is, so it cannot go on from some parameters"

    def __repr__(self) -> str:
        return f"<optimizer {self.name}>"


def run(
    optimizer: Optimizer,
    oracle: Oracle,
    regularizer: Regularizer,
    updates: int | None = None,
    state: State | None = None,
) -> State:
    """Update until finished, or `updates` times (None: as many as the optimiser says), from a state or anew."""
    if state is None:
        state = optimizer.init(oracle, regularizer)
    for _ in range(optimizer.updates if updates is None else updates):
        if optimizer.finished(state):
            break
        state = optimizer.update(state, oracle, regularizer)
    return state
