"""The averaged structured perceptron: after each wrong answer, lower the right one's energy and raise the other's.

    w <- w - g_s wherever sample s has a slope; the answer is the average of w after every sample

Collins, "Discriminative training methods for hidden Markov models", EMNLP 2002. On the perceptron loss g is the
statistics of the right answer minus those of the best one.
"""

from __future__ import annotations

from factorgraph_ebm.learning.optimizers.online import online_optimizer
from factorgraph_ebm.learning.optimizers.optimizer import Optimizer
from factorgraph_ebm.learning.oracle import Plane


def averaged_perceptron() -> Optimizer:
    """One sample at a time, steps of length 1, and the average of all iterates; finished when an epoch changes nothing.

    There is nothing to set: with a loss that scales with w (perceptron) a learning rate would only scale the answer.

    Examples
    --------
    >>> from factorgraph_ebm.learning.optimizers.optimizer import run
    >>> from factorgraph_ebm.learning.oracle import UNREGULARIZED, from_slopes
    >>> import numpy as np
    >>> x, y = np.array([[1.0, 2.0], [2.0, 0.5], [-1.0, -1.0]]), np.array([1.0, -1.0, 1.0])
    >>> def perceptron(w, samples):
    ...     margin = y[samples] * (x[samples] @ w)
    ...     return np.maximum(0.0, -margin), (margin <= 0.0)[:, None] * -y[samples, None] * x[samples]
    >>> optimizer = averaged_perceptron()
    >>> state = run(optimizer, from_slopes(perceptron, [0.0, 0.0], n_samples=3), UNREGULARIZED)
    >>> y * (x @ optimizer.best(state)) > 0.0
    array([ True,  True,  True])
    """
    return online_optimizer("averaged_perceptron", _step, True, frozenset({"no_regularizer"}))


def _step(plane: Plane, weight: float) -> float:
    return weight
