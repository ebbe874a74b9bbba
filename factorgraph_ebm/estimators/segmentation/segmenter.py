"""Segmentation of pictures and superpixel graphs, as a scikit-learn estimator.

    E(y) = sum_i U_i(y_i) + sum_(i, j) V_ij(y_i, y_j)

What U and V are linear in is said in `scene_energies`. Learning is that of `EnergyModel`; label maps of least energy
are found by minimum cuts (two labels) or moves by cuts (more) where neighbours attract, and by belief propagation
elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.errors import EvidenceError, MethodError, ParameterError, did_you_mean
from factorgraph_ebm.estimators.conventions import Estimator, NotFittedError
from factorgraph_ebm.estimators.segmentation.answers import check_learned, label_shares
from factorgraph_ebm.estimators.segmentation.file import read_segmenter, write_segmenter
from factorgraph_ebm.estimators.segmentation.interactive import Interactive
from factorgraph_ebm.estimators.segmentation.label_costs import with_label_costs
from factorgraph_ebm.estimators.segmentation.losses import costs_of_mistakes, loss_of
from factorgraph_ebm.estimators.segmentation.node_energies import (
    classifier_energies,
    fit_classifier,
    fit_logistic,
    logistic_energies,
    unseen_energies,
)
from factorgraph_ebm.estimators.segmentation.node_features import Features, Scaling, features_of
from factorgraph_ebm.estimators.segmentation.scene_energies import PAIRWISE, Energies, sample_of
from factorgraph_ebm.estimators.segmentation.scenes import (
    Scene,
    is_ignored,
    numbered,
    read_labels,
    read_scenes,
    restricted,
)
from factorgraph_ebm.estimators.segmentation.scores import confusion_counts, score_of
from factorgraph_ebm.graph import FactorGraph
from factorgraph_ebm.learning.optimizers import sgd
from factorgraph_ebm.learning.optimizers.optimizer import Optimizer
from factorgraph_ebm.learning.regularizers import Penalty, l2
from factorgraph_ebm.losses.loss import Loss
from factorgraph_ebm.model import EnergyModel

UNARY = ("linear", "logistic", "energies")
CUTS = ("cut", "expansion")
NO_LABELS = "no pixel has a label: all are ignore={!r}."


class Segmenter(Estimator):
    """Label every pixel of a picture, or every node of a superpixel graph, by its features and its neighbours.

    Parameters
    ----------
    unary : energies of nodes by themselves. "linear": weights of their features, learned together with the pairs;
        "logistic": those of a logistic regression that is fitted first; any classifier of scikit-learn with
        `predict_proba`, fitted first; "energies": given, (H, W, K) in nats. All but the first are scaled by a number
        that is learned, and a number for each label is added
    pairwise : energies of neighbours. "potts": a number for differing; "contrast": one that is less where colours
        differ; "tables": a table of the two labels for each direction; "features": a table that is linear in
        `edge_features`, or in the features of both ends; None: there are none
    neighbours : 4, or 8 with the diagonals, whose Potts penalties are divided by sqrt(2)
    features : "plain", as they are; "quadratic", with the products of any two; or a function from the picture
        (H, W, C) to features (H, W, F)
    loss : "hinge" for label maps; "likelihood" (of Bethe), "univariate" or "expected_hamming" where probabilities
        matter; "pseudo_likelihood", "softmax_margin", ..., or a loss. The words for losses with a margin count each
        wrong pixel as 1, or by `class_weight`
    class_weight : how much mistakes cost: {label: cost of missing it}, "balanced" (inversely to how frequent the
        label is), or costs [right, said], (K, K). For "hinge" and "softmax_margin"
    label_cost : nats for each label that a picture uses at all: a number, or one for each class, (K,). Not learned
    inference : the method of learning and of `predict`: "cut" or "expansion", with which neighbours are made to
        attract; "bp" or options such as dict(method="bp", damping=0.3); "auto": to learn, cuts for the hinge where
        `pairwise` is "potts" or "contrast", and belief propagation elsewhere; to predict, what is exact, cuts and moves
        by cuts where neighbours attract, and belief propagation elsewhere
    regularizer : strength of `l2` on all weights but the scale, in nats for each pixel; or a regulariser
    optimizer, max_iterations : as `optimizer` and `epochs` of `EnergyModel`; by default lbfgs, and for
        losses with kinks (hinge, perceptron) sgd(1.0, batch_size=1, average=True)
    ignore : what stands for no label in label maps
    classes : all labels, where some may be missing from training
    random_state : seed of the order of pictures
    progress : show a bar with the loss and the time left

    Attributes
    ----------
    classes_ : (K,) labels, sorted
    model_ : the trained `EnergyModel`, with `parameters` and `history`
    n_features_in_ : features of a node; not where energies are given

    Notes
    -----
    A picture is an array (H, W) or (H, W, C), whose bytes count as 0 to 1; or a dict with "image", "features"
    (H, W, F), and "energies" (H, W, K), of which unary energies take what `unary` says, and contrast takes the image.
    A superpixel graph is a dict with "features" (n, d), "edges" (m, 2) and "edge_features" (m, e), or a tuple of these
    in this order. X is one of them, or a list; label maps are arrays (H, W) or (n,). Pixels without a label are left
    out of training, with their pairs. The loss is the mean over labelled pixels.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> rng = np.random.default_rng(0)
    >>> labels = np.zeros((16, 16), int)
    >>> labels[4:12, 5:13] = 1
    >>> image = labels + rng.normal(scale=0.6, size=labels.shape)
    >>> segmenter = fg.Segmenter().fit(image, labels)
    >>> round(float(((image > 0.5) == labels).mean()), 2), round(segmenter.score(image, labels), 2)
    (0.82, 0.98)
    """

    def __init__(
        self,
        *,
        unary: Any = "linear",
        pairwise: str | None = "contrast",
        neighbours: int = 4,
        features: Features = "plain",
        loss: str | Loss = "hinge",
        class_weight: str | Mapping[Any, float] | npt.ArrayLike | None = None,
        label_cost: float | npt.ArrayLike | None = None,
        inference: str | Mapping[str, Any] = "auto",
        regularizer: float | Penalty | None = 1e-4,
        optimizer: str | Optimizer | None = None,
        max_iterations: int | None = None,
        ignore: Any = -1,
        classes: npt.ArrayLike | None = None,
        random_state: int = 0,
        progress: bool = False,
    ) -> None:
        self.unary = unary
        self.pairwise = pairwise
        self.neighbours = neighbours
        self.features = features
        self.loss = loss
        self.class_weight = class_weight
        self.label_cost = label_cost
        self.inference = inference
        self.regularizer = regularizer
        self.optimizer = optimizer
        self.max_iterations = max_iterations
        self.ignore = ignore
        self.classes = classes
        self.random_state = random_state
        self.progress = progress

    # Training.

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803 - scikit-learn's name
        """Learn from pictures and their label maps.

        Raises
        ------
        EvidenceError : pictures or label maps of the wrong form; the message says which and where.
        MethodError : choices that cannot work together.
        """
        self._check_words()
        scenes, single = self._read(X)
        if not scenes:
            raise EvidenceError("X is an empty list: there is no picture to learn from.")
        maps = read_labels(y, scenes, single)
        self.classes_ = self._classes_of(maps, scenes)
        labels = numbered(maps, self.classes_, self.ignore)
        kept = [i for i, each in enumerate(labels) if (each >= 0).any()]
        if not kept:
            raise EvidenceError(NO_LABELS.format(self.ignore))
        scenes = [restricted(scenes[i], labels[i] >= 0) for i in kept]
        labels = [labels[i][labels[i] >= 0] for i in kept]
        names = [f"X[{i}]" for i in kept]
        unary = self._fit_unary(scenes, labels, names)
        self._energies = self._architecture()
        samples = [sample_of(s, u, self._energies, name) for s, u, name in zip(scenes, unary, names)]
        targets = [{"y": each.reshape(s.shape)} for each, s in zip(labels, scenes)]
        self.model_ = self._make_model(samples, labels)
        if not self.model_.architecture(samples[0]).parameters:  # type: ignore[operator]
            raise ParameterError("there is nothing to learn.")
        n = sum(len(each) for each in labels)
        self.model_.fit(
            samples, targets, weights=np.full(len(samples), len(samples) / n), epochs=self.max_iterations,
            rng=self.random_state, progress=self.progress,
        )  # fmt: skip
        return self

    def _read(self, X: Any) -> tuple[list[Scene], bool]:  # noqa: N803 - scikit-learn's name
        """Scenes; arrays of energies have no colours."""
        scenes, single = read_scenes(X, self.neighbours)
        if isinstance(self.unary, str) and self.unary == "energies":
            scenes = [
                s._replace(energies=s.features, features=None, colours=None) if s.energies is None else s
                for s in scenes
            ]
        return scenes, single

    def _check_words(self) -> None:
        if isinstance(self.unary, str) and self.unary not in UNARY:
            raise MethodError(f'there is no unary="{self.unary}".{did_you_mean(self.unary, UNARY)}')
        if self.pairwise is not None and self.pairwise not in PAIRWISE:
            raise MethodError(f"there is no pairwise={self.pairwise!r}.{did_you_mean(self.pairwise, PAIRWISE)}")
        if not isinstance(self.inference, (str, Mapping)):
            raise MethodError(
                f'inference= is the word for a method, or options such as dict(method="bp"), not {self.inference!r}.'
            )

    def _classes_of(self, maps: list[npt.NDArray[Any]], scenes: list[Scene]) -> npt.NDArray[Any]:
        if self.classes is not None:
            told = np.unique(np.asarray(self.classes))
            if not len(told):
                raise EvidenceError("classes= is empty: list every label there is, or leave it out.")
            return told
        if isinstance(self.unary, str) and self.unary == "energies":
            return np.arange(_energies_of(scenes[0], "X[0]").shape[1])
        found = np.unique(np.concatenate(maps))
        found = found[~is_ignored(found, self.ignore)]
        if not len(found):
            raise EvidenceError(NO_LABELS.format(self.ignore))
        return found

    def _fit_unary(self, scenes: list[Scene], labels: list[I64], names: list[str]) -> list[F64]:
        """Fit what comes before the pairs, and return what their unary energies are made from."""
        k = len(self.classes_)
        if isinstance(self.unary, str) and self.unary == "energies":
            return [self._unary_of(scene, name) for scene, name in zip(scenes, names)]
        rows = [features_of(scene, self.features, name) for scene, name in zip(scenes, names)]
        self._scaling = Scaling.of(rows)
        self.n_features_in_ = len(self._scaling.mean)
        rows = [self._scaling.apply(x, name) for x, name in zip(rows, names)]
        if not isinstance(self.unary, str):
            self.classifier_ = fit_classifier(self.unary, rows, labels)
            return unseen_energies(self.unary, self.classifier_, rows, labels, k)
        if self.unary == "logistic":
            self.logistic_ = fit_logistic(rows, labels, k, 1e-4)
            return [logistic_energies(x, self.logistic_) for x in rows]
        return rows

    def _unary_of(self, scene: Scene, where: str) -> F64:
        """Features with a 1, or energies, of the nodes of a scene."""
        k = len(self.classes_)
        if isinstance(self.unary, str) and self.unary == "energies":
            given = _energies_of(scene, where)
            if given.shape[1] != k:
                raise EvidenceError(f"{where}, energies: are of {given.shape[1]} labels, and there are {k} classes.")
            return given
        x = self._scaling.apply(features_of(scene, self.features, where), where)
        if not isinstance(self.unary, str):
            return classifier_energies(self.classifier_, x, k)
        return logistic_energies(x, self.logistic_) if self.unary == "logistic" else x

    def _architecture(self) -> Energies:
        unary = "features" if isinstance(self.unary, str) and self.unary == "linear" else "energies"
        return Energies(len(self.classes_), unary, self.pairwise, self._learning_method()[1])

    def _learning_method(self) -> tuple[str | Mapping[str, Any], bool]:
        """The method of learning, and whether it needs neighbours that attract."""
        if self.inference != "auto":
            name = self.inference if isinstance(self.inference, str) else self.inference.get("method", "auto")
            return self.inference, name in CUTS
        minimises = self.loss in ("hinge", "perceptron") or getattr(self.loss, "name", "") in ("hinge", "perceptron")
        if minimises and self.pairwise in ("potts", "contrast"):
            return ("cut" if len(self.classes_) <= 2 else "expansion"), True
        return "bp", False

    def _make_model(self, samples: list[dict[str, Any]], labels: list[I64]) -> EnergyModel:
        cost = costs_of_mistakes(self.class_weight, self.classes_, labels)
        regularizer = self.regularizer
        if isinstance(regularizer, (int, float)):
            kinds = {tuple(name for name, _, _ in sample["pairs"]): sample for sample in samples}
            named = {name for sample in kinds.values() for name in self._energies(sample).parameters}
            learned = sorted(named - {"scale"})
            regularizer = l2(float(regularizer), only=tuple(learned)) if learned and regularizer != 0.0 else None
        loss = loss_of(self.loss, cost)
        return EnergyModel(
            self._energies, loss=loss, regularizer=regularizer,
            optimizer=self._chosen_optimizer(loss), inference=self._learning_method()[0],
        )  # fmt: skip

    def _chosen_optimizer(self, loss: Loss) -> str | Optimizer:
        if self.optimizer is not None:
            return self.optimizer
        return "lbfgs" if loss.smooth else sgd(1.0, batch_size=1, average=True)

    # Asking.

    def predict(self, X: Any, *, scribbles: Any = None) -> Any:  # noqa: N803 - scikit-learn's name
        """Label maps of least energy, for one picture or for each of a list.

        Parameters
        ----------
        scribbles : label maps of what is known, `ignore` where nothing is; what is known is kept
        """
        scenes, samples, given, single = self._asked(X, scribbles)
        found = []
        for i, (scene, sample, known) in enumerate(zip(scenes, samples, given)):
            graph = self._graph(sample, "X" if single else f"X[{i}]")
            states = with_label_costs(
                graph, self.model_.parameters, known, self.label_cost, len(self.classes_), self._predicting_method()
            )
            found.append(self.classes_[states].reshape(scene.shape))
        return found[0] if single else found

    def predict_proba(self, X: Any, *, scribbles: Any = None) -> Any:  # noqa: N803 - scikit-learn's name
        """Probabilities of the labels of each pixel, (H, W, K), for one picture or for each of a list.

        Raises
        ------
        MethodError : `label_cost` is there, of which marginals cannot take account.
        """
        if self.label_cost is not None:
            raise MethodError("predict_proba sums over label maps without label_cost=. Set label_cost=None to ask it.")
        scenes, samples, given, single = self._asked(X, scribbles)
        how: Mapping[str, Any] = {}
        if isinstance(self.inference, Mapping) and self.inference.get("method") not in ("icm", *CUTS):
            how = self.inference
        found = []
        for i, (sample, known) in enumerate(zip(samples, given)):
            graph = self._graph(sample, "X" if single else f"X[{i}]")
            found.append(label_shares(graph, self.model_.parameters, known, how))
        return found[0] if single else found

    def score(self, X: Any, y: Any, *, metric: str = "accuracy") -> float:  # noqa: N803 - scikit-learn's name
        """Share of labelled pixels that are right, or with metric="iou" the mean intersection over union."""
        return score_of(self.confusion(X, y), metric)

    def confusion(self, X: Any, y: Any) -> I64:  # noqa: N803 - scikit-learn's name
        """Numbers of labelled pixels, [right, said], (K, K)."""
        self._check_fitted()
        scenes, single = self._read(X)
        right = numbered(read_labels(y, scenes, single), self.classes_, self.ignore)
        said = self.predict(X)
        numbers = [np.searchsorted(self.classes_, each).ravel() for each in ([said] if single else said)]
        return confusion_counts(right, numbers, len(self.classes_))

    def _check_fitted(self) -> None:
        if not hasattr(self, "model_"):
            raise NotFittedError("the segmenter has learned nothing yet. Call fit first.")

    def _asked(self, X: Any, scribbles: Any) -> tuple[list[Scene], list[dict[str, Any]], list[I64], bool]:  # noqa: N803
        self._check_fitted()
        scenes, single = self._read(X)
        names = ["X"] if single else [f"X[{i}]" for i in range(len(scenes))]
        samples = [sample_of(s, self._unary_of(s, n), self._energies, n) for s, n in zip(scenes, names)]
        if scribbles is None:
            return scenes, samples, [np.full(scene.shape, -1) for scene in scenes], single
        maps = read_labels(scribbles, scenes, single, "scribbles")
        given = numbered(maps, self.classes_, self.ignore, "scribbles")
        return scenes, samples, [g.reshape(s.shape) for g, s in zip(given, scenes)], single

    def _graph(self, sample: Mapping[str, Any], where: str) -> FactorGraph:
        graph: FactorGraph = self.model_.graph(sample)
        check_learned(graph, self.model_.parameters, where)
        return graph

    def _predicting_method(self) -> Mapping[str, Any]:
        if self.inference == "auto":
            return {}
        return {"method": self.inference} if isinstance(self.inference, str) else self.inference

    # Without learning, and files.

    @staticmethod
    def interactive(image: Any, **options: Any) -> Interactive:
        """Segment one picture by scribbles or a box, with no training: see `Interactive`."""
        return Interactive(image, **options)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what was learned and chosen, without pickle.

        Raises
        ------
        MethodError : unary= is a classifier, which only pickle could write; or a choice is no word or number.
        """
        self._check_fitted()
        write_segmenter(path, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str], **choices: Any) -> Self:
        """Read a segmenter that was saved; `choices` such as features= stand for what a file cannot hold.

        Raises
        ------
        FormatError : not such a file, or a broken one.
        """
        return read_segmenter(cls, path, choices)


def _energies_of(scene: Scene, where: str) -> F64:
    """Given energies; those of an array are the array."""
    if scene.energies is None:
        raise EvidenceError(f'{where}: unary="energies" needs "energies".')
    return scene.energies
