"""Segmentation of one picture by scribbles or a box, with colours that are learned on the way.

    E(y, theta) = sum_i -log p(I_i | theta_(y_i)) + g sum_(i, j) exp(-|I_i - I_j|^2 / 2 s^2) / l_ij [y_i != y_j]

theta_k is a mixture of Gaussians for the colours of label k. C. Rother, V. Kolmogorov and A. Blake, "GrabCut:
interactive foreground extraction using iterated graph cuts", SIGGRAPH 2004: label maps and mixtures take turns at
lowering E, which therefore never rises. Scribbles are given labels, and are kept. A mixture is refitted by expectation
maximisation, from where it was, and the new one is taken only where it lowers E.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.errors import EvidenceError, MethodError
from factorgraph_ebm.estimators.segmentation.scene_energies import likenesses
from factorgraph_ebm.estimators.segmentation.scenes import Scene, read_scenes
from factorgraph_ebm.factors import Potts, Table
from factorgraph_ebm.graph import FactorGraph, observed, output
from factorgraph_ebm.questions.marginals import marginals
from factorgraph_ebm.questions.minimize import minimize

LEAST_VARIANCE = 1e-4
"added to the variances of colours in [0, 1]: two and a half grey levels"
SAMPLED = 20_000
"pixels that a mixture is fitted to"


class Interactive:
    """A picture that is being segmented: `labels` after each round, until they rest.

    Parameters
    ----------
    image : (H, W) or (H, W, C); bytes count as 0 to 1
    scribbles : (H, W) ints: a label where it is known, -1 elsewhere
    box : (top, left, bottom, right), the last two exclusive: what is outside is background, label 0, and label 1 is
        looked for inside
    n_labels : labels 0 to K - 1; by default 2, or as many as are scribbled. Without scribbles and box, colours are
        put in so many clusters first
    n_components : Gaussians of each mixture, at most
    rounds : of label maps and mixtures, at most; 0: mixtures are those of the scribbles
    strength : g, nats for neighbours of equal colour to differ
    neighbours : 8, or 4
    random_state : seed of the mixtures

    Attributes
    ----------
    labels : (H, W) ints
    energies : E after the first label map, and after each new set of mixtures and each label map that followed

    Raises
    ------
    EvidenceError : a picture, scribbles or box of the wrong form, or a label without a scribble.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> rng = np.random.default_rng(0)
    >>> image = rng.normal(0.3, 0.1, (20, 20))
    >>> image[5:15, 5:15] += 0.4
    >>> cut = fg.Segmenter.interactive(image, box=(3, 3, 17, 17), strength=2.0)
    >>> int(cut.labels.sum()), int(cut.labels[5:15, 5:15].sum())
    (99, 99)
    """

    def __init__(
        self,
        image: npt.ArrayLike,
        *,
        scribbles: npt.ArrayLike | None = None,
        box: Sequence[int] | None = None,
        n_labels: int | None = None,
        n_components: int = 5,
        rounds: int = 5,
        strength: float = 50.0,
        neighbours: int = 8,
        random_state: int = 0,
    ) -> None:
        counts = (n_components, rounds, 2 if n_labels is None else n_labels)
        whole = all(isinstance(each, (int, np.integer)) for each in counts)
        if not (whole and isinstance(strength, (int, float, np.number))):
            raise MethodError(
                f"n_components=, rounds= and n_labels= are whole numbers and strength= is a number, not "
                f"{n_components!r}, {rounds!r}, {n_labels!r} and {strength!r}."
            )
        if n_components < 1 or rounds < 0 or not 0.0 <= strength < np.inf:
            raise MethodError(
                f"n_components= is at least 1, rounds= and strength= at least 0, not {n_components!r}, {rounds!r} and "
                f"{strength!r}."
            )
        (scene,), _ = read_scenes({"image": image}, neighbours)
        assert scene.colours is not None
        self.n_components, self.rounds, self.strength, self.random_state = n_components, rounds, strength, random_state
        self._shape, self._colours = scene.shape, scene.colours
        self.known = self._read_scribbles(scribbles)
        inside = self._read_box(box)
        self.n_labels = max(2, int(self.known.max(initial=1)) + 1) if n_labels is None else n_labels
        if self.n_labels < 2 or self.known.max(initial=0) >= self.n_labels:
            raise EvidenceError(
                f"scribbles have labels up to {self.known.max(initial=0)}, and n_labels={self.n_labels!r}: labels are "
                "0 to n_labels - 1, two at least."
            )
        self._graph = self._declare(scene)
        self.energies: list[float] = []
        self._mixtures = self._first_mixtures(inside)
        self._settle()

    # What is given.

    def _read_scribbles(self, scribbles: npt.ArrayLike | None) -> I64:
        if scribbles is None:
            return np.full(self._shape, -1)
        array = np.asarray(scribbles)
        if array.shape != self._shape or array.dtype.kind not in "iu":
            raise EvidenceError(
                f"scribbles: are {array.dtype} of shape {array.shape}, where whole numbers {self._shape} are needed: a "
                "label where it is known, and -1 elsewhere."
            )
        found = array.astype(np.int64)
        if found.min(initial=-1) < -1:
            raise EvidenceError(f"scribbles: has {found.min()}. Labels are 0 or more, and -1 where nothing is known.")
        return found

    def _read_box(self, box: Sequence[int] | None) -> npt.NDArray[np.bool_] | None:
        if box is None:
            return None
        height, width = self._shape
        try:
            top, left, bottom, right = (int(edge) for edge in box)
        except (TypeError, ValueError, OverflowError):  # no four numbers
            top, left, bottom, right = 0, 0, 0, 0
        if not (0 <= top < bottom <= height and 0 <= left < right <= width):
            raise EvidenceError(
                f"box={box!r}: four numbers (top, left, bottom, right) must be inside the picture of {height} x "
                f"{width} pixels, with top < bottom and left < right."
            )
        inside = np.zeros(self._shape, bool)
        inside[top:bottom, left:right] = True
        if inside.all():
            raise EvidenceError(f"box={box!r}: is the whole picture, so nothing is known to be background.")
        self.known[~inside & (self.known < 0)] = 0
        return inside

    def _declare(self, scene: Scene) -> FactorGraph:
        """The graph, whose colours' energies are given with each question."""
        y = output("y", shape=self._shape, n_states=self.n_labels)
        factors: list[Any] = [Table([y], energies=observed("colour", shape=self._shape, dim=self.n_labels))]
        for pairs, likeness in zip(scene.pairs, likenesses(scene, "image")):
            penalty = (self.strength / pairs.length * likeness).reshape(pairs.shape)
            factors.append(Potts([y[pairs.views[0]], y[pairs.views[1]]], penalty=penalty, name=pairs.name))
        return FactorGraph(factors)

    # The loop.

    def _settle(self) -> None:
        """Label maps and mixtures in turn, until labels rest or the rounds are over."""
        self.labels: I64 = self._cut(None)
        for _ in range(self.rounds):
            self._refit()
            before, self.labels = self.labels, self._cut(self.labels)
            if (before == self.labels).all():
                break

    def _cut(self, start: I64 | None) -> I64:
        """The label map of least energy for the mixtures there are, and for more than two labels one near it."""
        method = "cut" if self.n_labels == 2 else "expansion"
        given = {"y": self.known, "colour": self._colour_energies()}
        begin = None if start is None else {"y": start}
        best = minimize(self._graph, given, method=method, start=begin)
        self.energies.append(float(best.energy))
        return np.asarray(best["y"])

    def _colour_energies(self) -> F64:
        """-log p of each colour, (H, W, K)."""
        found = np.stack([-mixture.score_samples(self._colours) for mixture in self._mixtures], axis=-1)
        return found.reshape(*self._shape, self.n_labels)

    def _first_mixtures(self, inside: npt.NDArray[np.bool_] | None) -> list[Any]:
        """Those of scribbles; of the inside of the box where it has none; of clusters where there is nothing."""
        labels = self.known.ravel()
        if inside is not None and not (labels == 1).any():
            labels = np.where(inside.ravel() & (labels < 0), 1, labels)
        if (labels < 0).all():
            from sklearn.cluster import KMeans

            some = self._some(np.arange(len(labels)))
            distinct = len(np.unique(self._colours[some], axis=0))
            if distinct < self.n_labels:
                raise EvidenceError(
                    f"the picture has {distinct} colour{'s' * (distinct > 1)}, too few for {self.n_labels} labels. "
                    "Give scribbles or a box."
                )
            clusters = KMeans(self.n_labels, n_init=4, random_state=self.random_state).fit(self._colours[some])
            labels = clusters.predict(self._colours)
        found = []
        for label in range(self.n_labels):
            members = np.flatnonzero(labels == label)
            if not len(members):
                raise EvidenceError(
                    f"label {label} has no scribble, so nothing is known of its colours. Labels are 0 to "
                    f"{self.n_labels - 1}: paint some of each, or give a box."
                )
            found.append(self._fitted(members, None))
        return found

    def _refit(self) -> None:
        """Refit each mixture to the pixels that have its label, and take it where it fits them better."""
        labels = self.labels.ravel()
        gained = 0.0
        for label, mixture in enumerate(self._mixtures):
            members = np.flatnonzero(labels == label)
            if not len(members):
                continue
            new = self._fitted(members, mixture)
            colours = self._colours[members]
            gain = float(new.score_samples(colours).sum() - mixture.score_samples(colours).sum())
            if gain > 0.0:
                self._mixtures[label] = new
                gained += gain
        self.energies.append(self.energies[-1] - gained)

    def _fitted(self, members: I64, start: Any) -> Any:
        """A mixture for the colours of some pixels, from one there is or from clusters."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture
        from threadpoolctl import threadpool_limits

        colours = self._colours[self._some(members)]
        if len(colours) == 1:
            colours = np.repeat(colours, 2, axis=0)  # scikit-learn wants two
        options: dict[str, Any] = {"n_components": min(self.n_components, len(colours)), "max_iter": 50}
        if start is not None and start.n_components <= len(colours):
            options = {
                "n_components": start.n_components, "max_iter": 10, "weights_init": start.weights_,
                "means_init": start.means_, "precisions_init": start.precisions_,
            }  # fmt: skip
        # Matrices of three rows gain nothing from threads, and wait for them where others run.
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)  # few steps, and few distinct colours, are meant
            mixture = GaussianMixture(
                reg_covar=LEAST_VARIANCE, init_params="k-means++", random_state=self.random_state, **options
            )
            return mixture.fit(colours)

    def _some(self, members: I64) -> I64:
        if len(members) <= SAMPLED:
            return members
        found: I64 = np.random.default_rng(self.random_state).choice(members, SAMPLED, replace=False)
        return found

    # What more can be asked and said.

    @property
    def energy(self) -> float:
        """E of the labels, in nats; only differences mean something, since densities have units."""
        return self.energies[-1]

    def refine(self, scribbles: npt.ArrayLike) -> Self:
        """Add scribbles, (H, W) with -1 where there is nothing new, and go on from the mixtures there are.

        Later scribbles replace earlier ones. `energies` begins anew: E is that of other givens.
        """
        new = self._read_scribbles(scribbles)
        if new.max(initial=0) >= self.n_labels:
            raise EvidenceError(f"scribbles: has label {new.max()}, and labels are 0 to {self.n_labels - 1}.")
        self.known = np.where(new >= 0, new, self.known)
        self.energies = []
        self._settle()
        return self

    def probabilities(self, **options: Any) -> F64:
        """Probabilities of the labels of each pixel for the mixtures there are, (H, W, K); `options` of `marginals`."""
        given = {"y": self.known, "colour": self._colour_energies()}
        return np.asarray(marginals(self._graph, given, **options)["y"])
