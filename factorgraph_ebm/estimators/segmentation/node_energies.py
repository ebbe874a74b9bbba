"""Energies of nodes by themselves: given, those of a logistic regression, or of any classifier of scikit-learn.

    u_i(k) = -log p(k | f_i)

A classifier that has seen a pixel is surer of it than it will be of others, and a segmenter that learns from its
energies would trust them too much. With two pictures or more, the pairs are therefore learned beside the energies of
classifiers that were fitted to other pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.special

from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.estimators.segmentation.scene_energies import Energies
from factorgraph_ebm.learning.regularizers import l2
from factorgraph_ebm.model import EnergyModel

LEAST = 1e-6
"probability that a classifier may give to a class: none is impossible for having been rare"
FOLDS = 5


def fit_logistic(rows: Sequence[F64], labels: Sequence[I64], n_labels: int, strength: float) -> F64:
    """Weights (F, K) of the multinomial logistic regression of labels on rows (n, F), each node by itself."""
    alone = Energies(n_labels, "features", None, False)
    model = EnergyModel(alone, loss="likelihood", regularizer=l2(strength))
    samples = [{"shape": (len(x),), "unary": x, "pairs": []} for x in rows]
    n = sum(len(x) for x in rows)
    model.fit(samples, [{"y": each} for each in labels], weights=np.full(len(rows), len(rows) / n))
    return model.parameters["unary"]


def logistic_energies(x: F64, weights: F64) -> F64:
    """-log p(k | x), (n, K)."""
    found: F64 = -scipy.special.log_softmax(-(x @ weights), axis=1)
    return found


def fit_classifier(classifier: Any, rows: Sequence[F64], labels: Sequence[I64]) -> Any:
    """A clone of a classifier, fitted to all rows.

    Raises
    ------
    MethodError : it has no predict_proba.
    """
    if isinstance(classifier, type):
        raise MethodError(f"unary= is the class {classifier.__name__}. Write unary={classifier.__name__}().")
    if not hasattr(classifier, "fit") or not hasattr(classifier, "predict_proba"):
        raise MethodError(
            'unary= is "linear", "logistic", "energies", or a classifier with fit and predict_proba, not '
            f"{classifier!r}."
        )
    from sklearn.base import clone

    return clone(classifier).fit(np.concatenate(rows), np.concatenate(labels))


def classifier_energies(fitted: Any, x: F64, n_labels: int) -> F64:
    """-log predict_proba of rows (n, F), (n, K); classes that it has not seen have the least probability."""
    share = np.full((len(x), n_labels), LEAST)
    if len(x):
        share[:, np.asarray(fitted.classes_, np.int64)] = np.maximum(fitted.predict_proba(x), LEAST)
    found: F64 = -np.log(share / share.sum(axis=1, keepdims=True))
    return found


def unseen_energies(
    classifier: Any, fitted: Any, rows: Sequence[F64], labels: Sequence[I64], n_labels: int
) -> list[F64]:
    """Energies of each picture by a classifier that was fitted to others; of a single one, by one fitted to it.

    Where all others have one label only, it is the classifier fitted to all.
    """
    if len(rows) < 2:
        return [classifier_energies(fitted, x, n_labels) for x in rows]
    folds = min(FOLDS, len(rows))
    found: list[F64] = [np.zeros((0, n_labels))] * len(rows)
    for fold in range(folds):
        other = [i for i in range(len(rows)) if i % folds != fold]
        varied = len(np.unique(np.concatenate([labels[i] for i in other]))) > 1  # else there is nothing to tell apart
        held = fit_classifier(classifier, [rows[i] for i in other], [labels[i] for i in other]) if varied else fitted
        for i in range(fold, len(rows), folds):
            found[i] = classifier_energies(held, rows[i], n_labels)
    return found
