"""What an optimiser is: a few functions of a state, which is plain arrays and numbers and so is its own checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.learning.oracle import Oracle, Regularizer

State: TypeAlias = Any
"""A NamedTuple of float64 and int64 arrays, floats, ints and bools, whose first field is `w`. Resuming from one that
was saved and read again goes on bit for bit, so nothing else may be remembered."""


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
    'figures for the history: "loss" (mean over samples), "objective", "gradient_norm", "gap", "bound", "step"'
    needs: frozenset[str] = frozenset()
    """of {"convex", "piecewise_linear", "smooth", "linear", "fully_labelled", "objective", "exact"}, traits of the
    problem; "l2": the regulariser is just that, "no_regularizer", "latents", "unbounded": no entry has bounds"""
    updates: int = 100
    "how many at most, where `fit` is not told"
