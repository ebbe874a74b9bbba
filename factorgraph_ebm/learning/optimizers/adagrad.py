"""AdaGrad: a step for each entry that shrinks with the squares of all its gradients.

    G <- G + g^2          w <- w - rate g / (sqrt(G) + epsilon)

Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic optimization", JMLR 12, 2011,
whose composite updates are the prox with a step for each entry.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.learning.optimizers.minibatch import Schedule, Steps, minibatch_optimizer
from factorgraph_ebm.learning.optimizers.optimizer import Optimizer

EPSILON = 1e-8


def adagrad(
    learning_rate: float = 0.1, batch_size: int = 16, schedule: Schedule = None, average: bool = False
) -> Optimizer:
    """Steps that are long for rare features and short for frequent ones: any loss, any regulariser.

    Parameters
    ----------
    learning_rate : by how much an entry moves in its first step
    batch_size : samples in a step
    schedule, average : as for `sgd`

    Raises
    ------
    MethodError : an option out of its range.

    Examples
    --------
    >>> from factorgraph_ebm.learning.optimizers.optimizer import run
    >>> from factorgraph_ebm.learning.oracle import UNREGULARIZED, from_slopes
    >>> def squares(w, samples):
    ...     distance = w - np.array([[1.0], [3.0]])[samples]
    ...     return distance[:, 0] ** 2, 2.0 * distance
    >>> np.round(run(adagrad(1.0), from_slopes(squares, [0.0], n_samples=2), UNREGULARIZED).w, 3)
    array([2.])
    """

    def move(memory: tuple[F64, ...], gradient: F64, step: int) -> tuple[tuple[F64, ...], F64, F64]:
        square = memory[0] + gradient**2
        return (square,), gradient, 1.0 / (np.sqrt(square) + EPSILON)

    steps = Steps(learning_rate, batch_size, schedule, average)
    return minibatch_optimizer("adagrad", 1, move, steps)
