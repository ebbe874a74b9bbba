"""Stochastic gradient descent, with momentum.

    v <- momentum v + (1 - momentum) g          w <- w - rate v

Robbins and Monro, "A stochastic approximation method", Ann. Math. Statist. 22(3), 1951; Polyak, "Some methods of
speeding up the convergence of iteration methods", 1964. With the factor 1 - momentum the learning rate means the same
with and without it.
"""

from __future__ import annotations

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.learning.optimizers.minibatch import Schedule, Steps, minibatch_optimizer
from factorgraph_ebm.learning.optimizers.optimizer import Optimizer


def sgd(
    learning_rate: float = 0.1,
    batch_size: int = 16,
    momentum: float = 0.0,
    schedule: Schedule = None,
    average: bool = False,
) -> Optimizer:
    """Steps against the gradient of a few samples at a time: any loss, any regulariser.

    Parameters
    ----------
    learning_rate : length of a step, as a multiple of the gradient of the objective (a mean over samples)
    batch_size : samples in a step
    momentum : in [0, 1), share of the last direction that is kept
    schedule : None (constant), "inverse" (learning_rate / (1 + epochs)), or a function epochs -> factor
    average : use the weighted average of all iterates, the t-th with weight t

    Raises
    ------
    MethodError : an option out of its range.

    Examples
    --------
    >>> from factorgraph_ebm.learning.optimizers.optimizer import run
    >>> from factorgraph_ebm.learning.oracle import UNREGULARIZED, from_slopes
    >>> import numpy as np
    >>> def squares(w, samples):
    ...     distance = w - np.array([[1.0], [3.0]])[samples]
    ...     return distance[:, 0] ** 2, 2.0 * distance
    >>> optimizer = sgd(0.5, batch_size=1, schedule="inverse", average=True)
    >>> state = run(optimizer, from_slopes(squares, [0.0], n_samples=2), UNREGULARIZED, updates=1000)
    >>> np.round(optimizer.best(state), 2)
    array([2.])
    """

    def move(memory: tuple[F64, ...], gradient: F64, step: int) -> tuple[tuple[F64, ...], F64, float]:
        if momentum == 0.0:
            return (), gradient, 1.0
        velocity = momentum * memory[0] + (1.0 - momentum) * gradient
        return (velocity,), velocity, 1.0

    steps = Steps(learning_rate, batch_size, schedule, average)
    return minibatch_optimizer("sgd", 0 if momentum == 0.0 else 1, move, steps, momentum=momentum)
