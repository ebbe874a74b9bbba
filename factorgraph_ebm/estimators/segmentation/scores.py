"""How well label maps agree: share of right pixels, and mean intersection over union.

    accuracy = sum_k C_kk / sum C,   IoU_k = C_kk / (sum_j C_kj + sum_j C_jk - C_kk)

C[right, said] counts the labelled pixels; the mean is over classes that are right or said anywhere (M. Everingham and
others, "The PASCAL visual object classes challenge: a retrospective", IJCV 111, 2015, section 2).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.errors import EvidenceError, MethodError


def confusion_counts(right: Sequence[I64], said: Sequence[I64], n_labels: int) -> I64:
    """C[right, said], (K, K), of class numbers; pixels whose right class is -1 are left out."""
    counts: I64 = np.zeros((n_labels, n_labels), np.int64)
    for true, found in zip(right, said):
        known = true >= 0
        place = true[known] * n_labels + found[known]
        counts += np.bincount(place, minlength=n_labels * n_labels).reshape(n_labels, n_labels)
    return counts


def accuracy(counts: I64) -> float:
    """Share of right pixels.

    Examples
    --------
    >>> accuracy(np.array([[3, 1], [0, 4]]))
    0.875
    """
    return float(np.trace(counts) / _total(counts))


def mean_iou(counts: I64) -> float:
    """Mean intersection over union.

    Examples
    --------
    >>> round(mean_iou(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])), 4)  # 3/4 and 4/5; nothing is of the third class
    0.775
    """
    _total(counts)
    both: F64 = np.diag(counts).astype(np.float64)
    either = counts.sum(axis=0) + counts.sum(axis=1) - both
    return float((both[either > 0] / either[either > 0]).mean())


def _total(counts: I64) -> int:
    total = int(counts.sum())
    if total == 0:
        raise EvidenceError("no pixel has a label, so there is nothing to score.")
    return total


METRICS = {"accuracy": accuracy, "iou": mean_iou}


def score_of(counts: I64, metric: str) -> float:
    """The score of that name. Raises MethodError for an unknown one, EvidenceError where nothing is labelled."""
    if metric not in METRICS:
        raise MethodError(f'metric= is "accuracy" or "iou", not {metric!r}.')
    return METRICS[metric](counts)
