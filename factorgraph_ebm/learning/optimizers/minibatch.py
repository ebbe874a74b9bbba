"""What stochastic gradient methods share: an epoch of steps over minibatches.

    g = (batches / P) sum over s in batch B of weight_s dL_s/dw + dR/dw     its mean over batches is the gradient
    w <- clip(prox(w - step * direction(g)))                              one step, or one for each entry

The regulariser's rest (l1, groups) goes by its prox with the very step of the gradient, so that the fixed points are
the optima; bounds are clipped to. The average gives the t-th of all iterates weight t, so that the early ones fade
(Lacoste-Julien, Schmidt and Bach, "A simpler approach to obtaining an O(1/t) convergence rate for the projected
stochastic subgradient method", 2012). Which samples are a batch, and when, is a matter of `oracle.order` and the epoch:
there is no generator to save.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.learning.optimizers.optimizer import Optimizer
from factorgraph_ebm.learning.optimizers.products import norm
from factorgraph_ebm.learning.oracle import Oracle, Regularizer, minibatches, report_of, total_loss

Schedule: TypeAlias = Literal["inverse"] | Callable[[float], float] | None
"""A factor of the learning rate by the number of epochs done, fractions included: "inverse" is 1 / (1 + epochs), None
is 1."""

Move: TypeAlias = Callable[[tuple[F64, ...], F64, int], tuple[tuple[F64, ...], F64, float | F64]]
"""(what a rule remembers, gradient, number of the step from 1) -> what it remembers now, the direction, and the scale
of each entry: w moves by -rate * scale * direction. In the long run the direction is the gradient."""


EPOCHS = 100
"that are trained for where no number is given"


class MinibatchState(NamedTuple):
    w: F64
    average: F64
    "of the iterates; w itself where none is asked for"
    memory: tuple[F64, ...]
    "what the rule remembers"
    steps: int
    epoch: int
    loss: float
    "mean over the samples of the last epoch, each before its step"
    objective: float
    gradient_norm: float
    "of the last minibatch"
    step: float
    "learning rate of the last step"


class Steps(NamedTuple):
    """The options that all rules share."""

    learning_rate: float
    batch_size: int
    schedule: Schedule
    average: bool


def _check(name: str, steps: Steps, shares: Mapping[str, float]) -> None:
    """Raise MethodError for an option out of its range; `shares` lie in [0, 1)."""
    learning_rate, batch_size, schedule, _ = steps
    if not 0.0 < learning_rate < np.inf:
        raise MethodError(f"{name}: learning_rate must be a number > 0, not {learning_rate!r}.")
    if not (batch_size >= 1 and batch_size == int(batch_size)):
        raise MethodError(f"{name}: batch_size must be an int >= 1, not {batch_size!r}.")
    if schedule is not None and schedule != "inverse" and not callable(schedule):
        raise MethodError(
            f'{name}: schedule must be None, "inverse" or a function epochs -> factor of the learning rate, '
            f"not {schedule!r}."
        )
    for share, value in shares.items():
        if not 0.0 <= value < 1.0:
            raise MethodError(f"{name}: {share} must lie in [0, 1), not {value!r}.")


def minibatch_optimizer(
    name: str,
    n_memories: int,
    move: Move,
    options: Steps,
    **shares: float,
) -> Optimizer:
    """The optimiser of a rule; an update is an epoch. Raises MethodError; `shares` are options that lie in [0, 1)."""
    _check(name, options, shares)
    learning_rate, batch_size, schedule, average = options
    factor: Callable[[float], float]
    if schedule is None:
        factor = _constant
    elif callable(schedule):
        factor = schedule
    else:
        factor = _inverse

    def init(oracle: Oracle, regularizer: Regularizer) -> MinibatchState:
        w = np.clip(oracle.start, oracle.lower, oracle.upper)
        memory = tuple(np.zeros(len(w)) for _ in range(n_memories))
        return MinibatchState(w, w, memory, 0, 0, np.nan, np.nan, np.nan, np.nan)

    def update(state: MinibatchState, oracle: Oracle, regularizer: Regularizer) -> MinibatchState:
        w, mean, memory, steps = state.w, state.average, state.memory, state.steps
        seen, total = 0, 0.0
        gradient, rate = np.zeros(len(w)), learning_rate
        bounded = bool(np.isfinite(oracle.lower).any() or np.isfinite(oracle.upper).any())
        batches = minibatches(oracle, state.epoch, batch_size)
        for batch in batches:
            evaluation = oracle.evaluate(w, batch)
            total += total_loss(oracle, evaluation.losses, batch)
            gradient = evaluation.gradient * (len(batches) / oracle.n_samples)
            if regularizer.gradient is not None:
                gradient += regularizer.gradient(w)
            steps += 1
            rate = learning_rate * factor(state.epoch + seen / oracle.n_samples)
            seen += len(batch)
            memory, direction, scale = move(memory, gradient, steps)
            w = w - rate * scale * direction
            if regularizer.prox is not None:
                w = regularizer.prox(w, rate * scale)
            if bounded:
                w = np.clip(w, oracle.lower, oracle.upper)
            mean = mean + (2.0 / (steps + 1)) * (w - mean) if average else w
        loss = total / max(1, oracle.n_samples)
        value = loss + regularizer.value(mean)
        return MinibatchState(w, mean, memory, steps, state.epoch + 1, loss, value, norm(gradient), rate)

    return Optimizer(name, init, update, best=_average, report=_report, updates=EPOCHS)


def _constant(epochs: float) -> float:
    return 1.0


def _inverse(epochs: float) -> float:
    return 1.0 / (1.0 + epochs)


def _average(state: MinibatchState) -> F64:
    return state.average


def _report(state: MinibatchState) -> Mapping[str, float]:
    return report_of(
        loss=state.loss, objective=state.objective, gradient_norm=state.gradient_norm, step=state.step
    )
