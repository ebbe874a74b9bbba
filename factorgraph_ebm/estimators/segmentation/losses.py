"""Losses of a segmenter: those of the library, where a margin counts wrong pixels by what mistakes cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.errors import EvidenceError, MethodError
from factorgraph_ebm.losses import as_loss, hinge, softmax_margin
from factorgraph_ebm.losses.loss import Loss

WITH_COST = {"hinge": hinge, "softmax_margin": softmax_margin}


def costs_of_mistakes(
    weight: str | Mapping[Any, float] | npt.ArrayLike | None, classes: npt.NDArray[Any], labels: Sequence[I64]
) -> F64 | None:
    """What it costs to say one class where another is right, [right, said], (K, K), from `class_weight`.

    "balanced" is n / (K n_k) for each pixel of class k that is missed, 1 on average.

    Raises
    ------
    EvidenceError : a class that is not there, a matrix of another shape, an unknown word.

    Examples
    --------
    >>> costs_of_mistakes({"tree": 3.0}, np.array(["sky", "tree"]), [])
    array([[0., 1.],
           [3., 0.]])
    """
    if weight is None:
        return None
    k = len(classes)
    apart = 1.0 - np.eye(k)
    if isinstance(weight, str):
        if weight != "balanced":
            raise EvidenceError(f'class_weight= is "balanced", a dict or costs (K, K), not {weight!r}.')
        count = np.bincount(np.concatenate(list(labels)), minlength=k)
        share: F64 = count.sum() / (k * np.maximum(count, 1))
        return share[:, None] * apart
    if isinstance(weight, Mapping):
        known = classes.tolist()
        for label in weight:
            if label not in known:
                raise EvidenceError(f"class_weight[{label!r}]: there is no such class. There are {known}.")
        return _numbers([weight.get(label, 1.0) for label in known])[:, None] * apart
    costs = _numbers(weight)
    if costs.shape != (k, k):
        raise EvidenceError(f"class_weight has shape {costs.shape}: costs [right, said] of {k} classes are ({k}, {k}).")
    return costs


def _numbers(weight: Any) -> F64:
    try:
        found: F64 = np.asarray(weight, dtype=np.float64)
    except (TypeError, ValueError):
        raise EvidenceError(f"class_weight= has costs that are no numbers: {weight!r}.") from None
    return found


def loss_of(loss: str | Loss, cost: F64 | None) -> Loss:
    """The loss that a word stands for; those with a margin count wrong pixels, each by its cost.

    Raises
    ------
    MethodError : an unknown word, or a cost for a loss that has none.
    """
    name = loss if isinstance(loss, str) else as_loss(loss).name
    if cost is not None and name not in WITH_COST:
        raise MethodError(
            f'class_weight= is what mistakes cost, and loss "{name}" counts none. Write loss="hinge" or '
            '"softmax_margin".'
        )
    if cost is not None and not isinstance(loss, str):
        raise MethodError('class_weight= goes with the words "hinge" and "softmax_margin"; this loss has its own cost.')
    if name in WITH_COST and isinstance(loss, str):
        return WITH_COST[name]("hamming" if cost is None else cost)
    return as_loss(loss)
