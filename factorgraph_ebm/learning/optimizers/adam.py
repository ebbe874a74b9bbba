"""Adam: a step for each entry, by running means of its gradient and of its square.

    m <- beta1 m + (1 - beta1) g            v <- beta2 v + (1 - beta2) g^2
    w <- w - rate m' / (sqrt(v') + epsilon)         m' = m / (1 - beta1^t), v' = v / (1 - beta2^t)

Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.learning.optimizers.minibatch import Schedule, Steps, minibatch_optimizer
from factorgraph_ebm.learning.optimizers.optimizer import Optimizer

EPSILON = 1e-8


def adam(
    learning_rate: float = 0.01,
    batch_size: int = 16,
    beta1: float = 0.9,
    beta2: float = 0.999,
    schedule: Schedule = None,
    average: bool = False,
) -> Optimizer:
    """Steps of about the learning rate in every entry, whatever the scale of its gradient: any loss, any regulariser.

    Parameters
    ----------
    learning_rate : by how much an entry moves in a step, at most
    batch_size : samples in a step
    beta1, beta2 : in [0, 1), shares that the running means of the gradient and of its square keep
    schedule, average : as for `sgd`

    Raises
    ------
    MethodError : an option out of its range.

    Examples
    --------
    >>> from factorgraph_ebm.learning.optimizers.optimizer import run
    >>> from factorgraph_ebm.learning.oracle import UNREGULARIZED, from_slopes
    >>> def squares(w, samples):
    ...     distance = (w - np.array([[1.0, 10.0], [3.0, 30.0]])[samples]) * [1.0, 0.05]
    ...     return (distance**2).sum(axis=1), 2.0 * distance * [1.0, 0.05]
    >>> oracle = from_slopes(squares, [0.0, 0.0], n_samples=2)
    >>> np.round(run(adam(0.1), oracle, UNREGULARIZED, updates=1000).w, 3)
    array([ 2., 20.])
    """

    def move(memory: tuple[F64, ...], gradient: F64, step: int) -> tuple[tuple[F64, ...], F64, F64]:
        mean = beta1 * memory[0] + (1.0 - beta1) * gradient
        square = beta2 * memory[1] + (1.0 - beta2) * gradient**2
        scale = 1.0 / (np.sqrt(square / (1.0 - beta2**step)) + EPSILON)
        return (mean, square), mean / (1.0 - beta1**step), scale

    steps = Steps(learning_rate, batch_size, schedule, average)
    return minibatch_optimizer("adam", 2, move, steps, beta1=beta1, beta2=beta2)
