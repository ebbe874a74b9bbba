"""The energy of a segmentation: nodes by their features, pairs of neighbours by what lies between them.

    E(y) = sum_i U_i(y_i) + sum_(i, j) V_ij(y_i, y_j)

    unary    U_i(k) = w_k . f_i                             learned on features
             U_i(k) = s u_i(k) + b_k,  s >= 0               energies that are given, or -log p of a classifier
    potts    V_ij = a / l [y_i != y_j]                      l: length of the pair, 1 or sqrt(2)
    contrast V_ij = (a + b exp(-|I_i - I_j|^2 / 2 s^2)) / l [y_i != y_j],    s^2: mean of |I_i - I_j|^2
    tables   V_ij = T_d[y_i, y_j]                           one for each direction d; symmetric in a graph
    features V_ij = sum_e g_ije W_d[e, y_i, y_j]            g: features of the pair and a 1

Contrast is that of Y. Boykov and M.-P. Jolly, "Interactive graph cuts", ICCV 2001. Where cuts are to find minima, V is
0 for equal states, and all of a, b, T, W and g are at least 0, W being the same for all that differ.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import EvidenceError
from factorgraph_ebm.estimators.segmentation.scenes import Pairs, Scene
from factorgraph_ebm.factors import Potts, Table
from factorgraph_ebm.graph import FactorGraph, Linear, Parameter, output
from factorgraph_ebm.pictures.contrast import faded

PAIRWISE = ("potts", "contrast", "tables", "features")


@dataclass(frozen=True)
class Energies:
    """The architecture of a segmenter: from a sample, as `sample_of` makes it, to its graph."""

    n_labels: int
    unary: str
    "features: learned on features; energies: given, and scaled"
    pairwise: str | None
    attractive: bool
    "no parameter may make neighbours repel"

    def __call__(self, sample: Mapping[Any, Any]) -> FactorGraph:
        """The graph of a sample, with an output `y` of the shape of its nodes."""
        y = output("y", shape=sample["shape"], n_states=self.n_labels)
        factors: list[Any] = [Table([y], energies=self._unary(sample["unary"]), name="unary")]
        if self.unary == "energies":
            factors.append(Table([y], energies=Parameter("bias", shape=self.n_labels), name="bias"))
        for name, views, numbers in sample["pairs"]:
            factors.append(self._pair(name, [y[views[0]], y[views[1]]], numbers))
        return FactorGraph(factors)

    def _unary(self, numbers: F64) -> Linear:
        if self.unary == "features":
            return Linear(numbers, Parameter("unary", shape=(numbers.shape[-1], self.n_labels)))
        scale = Parameter("scale", shape=1, initial=1.0, bounds=(0.0, np.inf))
        return Linear(numbers[..., None], scale)

    def _pair(self, name: str, scope: list[Any], numbers: F64 | None) -> Any:
        k = self.n_labels
        if numbers is None:
            if self.attractive:
                apart = list(itertools.combinations(range(k), 2))
                which = np.zeros((k, k, len(apart)))
                for number, (a, b) in enumerate(apart):
                    which[a, b, number] = which[b, a, number] = 1.0
                return Table(
                    scope, energies=Linear(which, _positive(f"tables {name}", len(apart))), name=name
                )
            if name == "edge":
                low, high = np.minimum.outer(np.arange(k), np.arange(k)), np.maximum.outer(np.arange(k), np.arange(k))
                table = Parameter(f"tables {name}", shape=k * (k + 1) // 2)
                return Table(scope, energies=table[high * (high + 1) // 2 + low], name=name)
            return Table(scope, energies=Parameter(f"tables {name}", shape=(k, k)), name=name)
        width = numbers.shape[-1]
        if self.pairwise == "features" and not self.attractive:
            weights = Parameter(f"features {name}", shape=(width, k, k))
            return Table(scope, energies=Linear(numbers, weights), name=name)
        weights = _positive("features" if self.pairwise == "features" else "pair", width)
        return Potts(scope, penalty=Linear(numbers, weights), name=name)


def _positive(name: str, size: int) -> Parameter:
    return Parameter(name, shape=size, bounds=(0.0, np.inf))


def sample_of(scene: Scene, unary: F64, energies: Energies, where: str) -> dict[str, Any]:
    """What the graph of a scene is made from; `unary` (n, F) features with a 1, or (n, K) energies."""
    pairs: list[tuple[str, tuple[Any, Any], F64 | None]] = []
    if energies.pairwise is not None:
        for each, numbers in zip(scene.pairs, _pair_numbers(scene, energies, where)):
            shaped = None if numbers is None else numbers.reshape(*each.shape, numbers.shape[-1])
            pairs.append((each.name, each.views, shaped))
    return {"shape": scene.shape, "unary": unary.reshape(*scene.shape, unary.shape[-1]), "pairs": pairs}


def _pair_numbers(scene: Scene, energies: Energies, where: str) -> Sequence[F64 | None]:
    """What the energies of pairs are linear in, (m, e) for each direction; None: tables."""
    if energies.pairwise == "tables":
        return [None for _ in scene.pairs]
    if energies.pairwise == "potts":
        return [np.full((len(pairs.first), 1), 1.0 / pairs.length) for pairs in scene.pairs]
    if energies.pairwise == "contrast":
        return [
            np.stack([np.full(len(likeness), 1.0), likeness], axis=1) / pairs.length
            for pairs, likeness in zip(scene.pairs, likenesses(scene, where))
        ]
    return [_pair_features(scene, pairs, energies.attractive, where) for pairs in scene.pairs]


def likenesses(scene: Scene, where: str) -> list[F64]:
    """exp(-|I_i - I_j|^2 / 2 s^2) of the pairs of each direction, (m,); s^2 is the mean of |I_i - I_j|^2 over all.

    Raises
    ------
    EvidenceError : there are no colours.

    Examples
    --------
    >>> from factorgraph_ebm.estimators.segmentation.scenes import read_scenes
    >>> (scene,), _ = read_scenes(np.array([[0.0, 0.0, 1.0]]), 4)
    >>> likenesses(scene, "X")[0].round(3).tolist()
    [1.0, 0.368]
    """
    if scene.colours is None:
        raise EvidenceError(
            f'{where}: pairwise="contrast" takes differences of colours, and only energies are given. Give '
            '{"energies": ..., "image": ...}, or write pairwise="potts".'
        )
    apart = [scene.colours[pairs.first] - scene.colours[pairs.second] for pairs in scene.pairs]
    return faded([np.einsum("ij,ij->i", each, each) for each in apart])


def _pair_features(scene: Scene, pairs: Pairs, attractive: bool, where: str) -> F64:
    """Given features of pairs, or those of both ends, and a 1; (m, e + 1)."""
    one = np.ones((len(pairs.first), 1))
    if pairs.features is not None:
        if attractive and (pairs.features < 0.0).any():
            row = int(np.argmax((pairs.features < 0.0).any(axis=1)))
            raise EvidenceError(
                f"{where}, edge_features[{row}]: are {pairs.features[row].tolist()}, and cuts need features of pairs "
                'that are at least 0. Shift them, or write inference="bp".'
            )
        return np.hstack([pairs.features, one]) / pairs.length
    ends = scene.features if scene.features is not None else scene.colours
    if ends is None:
        raise EvidenceError(f'{where}: pairwise="features" needs edge_features, or features of nodes.')
    if attractive:
        apart = (ends[pairs.first] - ends[pairs.second]) ** 2
        mean = apart.mean(axis=0) if len(apart) else np.ones(ends.shape[1])
        likeness = np.exp(-apart / (2.0 * np.where(mean > 0.0, mean, 1.0)))
        return np.hstack([likeness, one]) / pairs.length
    return np.hstack([ends[pairs.first], ends[pairs.second], one])
