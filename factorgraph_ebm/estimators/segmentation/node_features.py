"""What the unary energies of a segmenter are linear in: features of nodes, brought to one scale, and a 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import EvidenceError, MethodError, did_you_mean
from factorgraph_ebm.estimators.segmentation.scenes import Scene

Features: TypeAlias = str | Callable[[Any], Any]
WORDS = ("plain", "quadratic")


def features_of(scene: Scene, features: Features, where: str) -> F64:
    """Features of the nodes, (n, F): as they are, with their products, or of a function of what they are.

    Raises
    ------
    EvidenceError : there are no features, or the function does not give rows of finite numbers for the nodes.
    MethodError : an unknown word.
    """
    if scene.features is None:
        raise EvidenceError(f"{where}: there is no image and there are no features. Or write unary=\"energies\".")
    if not callable(features):
        if features not in WORDS:
            raise MethodError(f'features= is a function, "plain" or "quadratic".{did_you_mean(features, WORDS)}')
        return scene.features if features == "plain" else with_products(scene.features)
    made = np.asarray(features(scene.features.reshape(*scene.shape, -1)), dtype=np.float64)
    if made.shape[:-1] != scene.shape:
        raise EvidenceError(
            f"{where}: features= gave an array of shape {made.shape}, where {(*scene.shape, 'F')} is needed."
        )
    if not np.isfinite(made).all():
        raise EvidenceError(f"{where}: features= gave NaN or an infinity.")
    return made.reshape(scene.size, -1)


def with_products(x: F64) -> F64:
    """Features and the products of any two of them.

    Examples
    --------
    >>> with_products(np.array([[2.0, 3.0]]))
    array([[2., 3., 4., 6., 9.]])
    """
    one, other = np.triu_indices(x.shape[1])
    return np.hstack([x, x[:, one] * x[:, other]])


class Scaling(NamedTuple):
    """Features minus their mean, over their standard deviation, and a 1."""

    mean: F64
    scale: F64

    @classmethod
    def of(cls, rows: Sequence[F64]) -> Self:
        """That of all rows; features that do not vary keep their scale.

        Raises
        ------
        EvidenceError : unequal numbers of features.
        """
        widths = {each.shape[1] for each in rows}
        if len(widths) > 1:
            raise EvidenceError(f"pictures have {' and '.join(map(str, sorted(widths)))} features: all need the same.")
        every = np.concatenate(rows)
        spread = every.std(axis=0)
        return cls(every.mean(axis=0), np.where(spread > 0.0, spread, 1.0))

    def apply(self, x: F64, where: str) -> F64:
        """(n, F + 1)."""
        if x.shape[1] != len(self.mean):
            raise EvidenceError(f"{where}: has {x.shape[1]} features, and the segmenter learned with {len(self.mean)}.")
        return np.hstack([(x - self.mean) / self.scale, np.ones((len(x), 1))])
