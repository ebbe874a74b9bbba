"""SegmentTagger: a semi-Markov conditional random field over the segments of sequences, with the face of scikit-learn.

    P(s | x) = exp(-E(s, x)) / Z,        E = sum over segments of E(start, stop, label) + sum over neighbours of
                                             T[label, next label]

(Sarawagi and Cohen, "Semi-Markov conditional random fields for information extraction", NIPS 2004.) What a segment
costs may depend on all its tokens, on its length, and on anything that a function says of it, where tags of tokens see
one another alone. Sums and minima run over all segmentations, exactly.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import EvidenceError, MethodError
from factorgraph_ebm.estimators.conventions import Estimator, NotFittedError, check_threads, check_updates
from factorgraph_ebm.estimators.segments.features import (
    SegmentFeatures,
    every_segment,
    features_of,
    learn_columns,
    seen_of_segments,
)
from factorgraph_ebm.estimators.segments.file import Fitted, read_segment_tagger, write_segment_tagger
from factorgraph_ebm.estimators.segments.states import SegmentStates
from factorgraph_ebm.estimators.segments.targets import (
    Segment,
    lengths_of,
    number_segments,
    read_segments,
    refuse_long,
    tags_of_segments,
)
from factorgraph_ebm.estimators.tagging.answers import Asked
from factorgraph_ebm.estimators.tagging.declaration import Sequences
from factorgraph_ebm.estimators.tagging.feature_table import FeatureTable
from factorgraph_ebm.estimators.tagging.labels import classes_of, length_of
from factorgraph_ebm.estimators.tagging.seen_pairs import Wanted
from factorgraph_ebm.estimators.tagging.spans import OUTSIDE, known_scheme
from factorgraph_ebm.estimators.tagging.training import Choices, Told, learn, read_loss
from factorgraph_ebm.learning.optimizers import as_optimizer
from factorgraph_ebm.learning.optimizers.optimizer import Optimizer
from factorgraph_ebm.learning.preparing import read_seed, read_weights
from factorgraph_ebm.learning.watching import Row
from factorgraph_ebm.losses import Loss


class SegmentTagger(Estimator):
    """Segments of sequences, with labels.

    Parameters
    ----------
    max_length : tokens that a segment may have: a number for all labels, or a dict of labels; None: as many as the
        longest of its label in training
    loss : "likelihood", "perceptron" (averaged), "hinge" (margins count tokens in another segment), or a loss
    optimizer : as in `SequenceTagger`
    c1, c2 : strengths of |w|_1 and |w|^2 beside the sum of all losses
    max_iterations : updates at most; None: as the optimiser says
    segment_features : `segment_features(sequence, start, stop)` returns a dict of features of a segment, as that of a
        token; None: segments have the features of their tokens alone
    boundaries : features of the first and of the last token of a segment have weights of their own, beside those that
        all its tokens have
    outside : label of tokens in no segment, each by itself: it is neither asked for nor told; None: there are none such
    scheme : "BIO", "IOB1", "BIOES", "BILOU", ...: y is tags, which mean segments as conlleval reads them; None: y is
        segments
    all_possible_states, all_possible_transitions, min_freq, hashing, random_state, threads : as in `SequenceTagger`

    Attributes
    ----------
    classes_ : labels, ascending
    lengths_ : label -> tokens of its longest segment
    objective_, history_, n_iter_ : as in `SequenceTagger`
    token_features_, first_features_, last_features_, segment_features_ : (feature, label) -> weight: high is good
    length_features_ : (label, length) -> weight
    transition_features_ : (label, next label) -> weight

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> X = [["Ada", "Lovelace", "met", "Babbage"], ["Babbage", "left"]]
    >>> X = [[{"word": word, "capital": word.istitle()} for word in words] for words in X]
    >>> y = [[(0, 2, "PER"), (3, 4, "PER")], [(0, 1, "PER")]]
    >>> tagger = fg.SegmentTagger(c2=0.1).fit(X, y)
    >>> tagger.predict(X[:1])
    [[(0, 2, 'PER'), (3, 4, 'PER')]]
    >>> tagger.predict_tags(X[:1])
    [['B-PER', 'I-PER', 'O', 'B-PER']]
    """

    def __init__(
        self,
        max_length: int | Mapping[Any, int] | None = None,
        loss: str | Loss | Callable[..., Loss] = "likelihood",
        optimizer: str | Optimizer | None = None,
        c1: float = 0.0,
        c2: float = 1.0,
        max_iterations: int | None = None,
        segment_features: SegmentFeatures | None = None,
        boundaries: bool = True,
        outside: Any = "O",
        scheme: str | None = None,
        all_possible_states: bool = False,
        all_possible_transitions: bool = False,
        min_freq: float = 0.0,
        hashing: int | None = None,
        random_state: int = 0,
        threads: int | None = None,
    ) -> None:
        self.max_length = max_length
        self.loss = loss
        self.optimizer = optimizer
        self.c1 = c1
        self.c2 = c2
        self.max_iterations = max_iterations
        self.segment_features = segment_features
        self.boundaries = boundaries
        self.outside = outside
        self.scheme = scheme
        self.all_possible_states = all_possible_states
        self.all_possible_transitions = all_possible_transitions
        self.min_freq = min_freq
        self.hashing = hashing
        self.random_state = random_state
        self.threads = threads

    # Training.

    def fit(
        self,
        X: Sequence[Any],  # noqa: N803 - scikit-learn's name
        y: Sequence[Any],
        *,
        sample_weight: npt.ArrayLike | None = None,
        callbacks: Sequence[Callable[[Row], Any]] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        progress: bool = False,
    ) -> Self:
        """Learn from sequences of features and their segments.

        Parameters
        ----------
        X : a list of sequences: lists of a dict of features for each token, of lists of words, or matrices
        y : a list of lists of (start, stop, label): tokens start to stop - 1; with `scheme` a list of lists of tags
        sample_weight : (n,) of sequences
        callbacks : functions that are told each row of the history; one that returns True stops the training
        checkpoint : path of a file that is written on the way; where it exists, training goes on from it
        progress : show a bar with the loss and the time left

        Raises
        ------
        EvidenceError : segments that overlap, are out of range or longer than `max_length`; X and y do not fit each
            other, or there is nothing to learn from.
        MethodError : choices that cannot work together.
        """
        choices = self._choices()
        segments = read_segments(X, y, self.outside, self.scheme)
        labels = classes_of([label for _, _, label in each] for each in segments)
        table = FeatureTable(hashing=self.hashing)
        start, x = table.fit_transform(X)
        if not labels:
            raise EvidenceError("X has no token: there is nothing to learn from.")
        right = number_segments(segments, start, labels, "y")
        lengths = lengths_of(right, labels, self.max_length, self.outside)
        refuse_long(right, start, lengths, labels, "y")
        states = SegmentStates(lengths)
        of_segments = None
        if self.segment_features is not None:
            of_segments = FeatureTable(hashing=self.hashing)
            shown = every_segment(X, states.longest) if self.all_possible_states else segments
            learn_columns(of_segments, self.segment_features, X, shown)
        fitted = Fitted(labels, states, table, of_segments, bool(self.boundaries), {}, {})
        sequences = self._sequences(fitted, X, start, x)
        wanted = Wanted(self.all_possible_states, self.all_possible_transitions, self.min_freq)
        width = 0 if of_segments is None else of_segments.width
        seen = seen_of_segments(states, sequences, right, bool(self.boundaries), width, wanted)
        told = Told(
            callbacks=callbacks, checkpoint=checkpoint, progress=progress,
            weights=None if sample_weight is None else read_weights(sample_weight, len(X)),
        )  # fmt: skip
        numbers = states.encode(right.start, right.stop, right.label)
        learned = learn(fitted.declaration(), sequences, numbers, seen, choices, told)
        self._keep(fitted._replace(values=learned.values, seen=seen))
        self.objective_, self.history_, self.n_iter_ = learned.objective, learned.history, len(learned.history)
        return self

    def _choices(self) -> Choices:
        for name in ("c1", "c2", "min_freq"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float, np.number)) and 0.0 <= value < np.inf):
                raise MethodError(f"{name}= is a number from 0, not {value!r}.")
        if self.scheme is not None:
            known_scheme(self.scheme)
            if self.outside not in (OUTSIDE, None):
                raise MethodError(f'with scheme= tokens outside of segments are "O", and outside= is {self.outside!r}.')
        check_threads(self.threads)
        check_updates(self.max_iterations)
        optimizer = None if self.optimizer is None else as_optimizer(self.optimizer)
        return Choices(
            read_loss(self.loss), optimizer, float(self.c1), float(self.c2), self.max_iterations,
            read_seed(self.random_state), self.threads,
        )  # fmt: skip

    def _sequences(self, fitted: Fitted, X: Sequence[Any], start: Any, x: Any) -> Sequences:  # noqa: N803
        z = None
        if fitted.of_segments is not None and fitted.of_segments.width:
            if self.segment_features is None:
                raise MethodError("this SegmentTagger was fitted with segment_features=. Pass that function to load.")
            z = features_of(fitted.of_segments, self.segment_features, X, fitted.states.longest)
        return Sequences(start, x, z)

    def _keep(self, fitted: Fitted) -> None:
        self._fitted = fitted
        self.classes_ = fitted.labels
        self.lengths_ = dict(zip(fitted.labels, fitted.states.lengths.tolist()))

    # Asking.

    def predict(self, X: Sequence[Any]) -> list[list[Segment]]:  # noqa: N803
        """The best segments of each sequence, but for those of the label `outside`.

        Features that training never saw count nothing.
        """
        best = (asked := self._ask(X)).best()
        return [self._segments(best[low:high]) for low, high in _bounds(asked)]

    def predict_tags(self, X: Sequence[Any], scheme: str | None = None) -> list[list[Any]]:  # noqa: N803
        """The best segments as tags of a scheme: this one, or that of the tagger, or "BIO"."""
        how = scheme or self.scheme or "BIO"
        return [tags_of_segments(each, length_of(x), self.outside, how) for x, each in zip(X, self.predict(X))]

    def predict_n_best(self, X: Sequence[Any], n: int) -> list[list[tuple[list[Segment], float]]]:  # noqa: N803
        """The n best segmentations of each sequence with their probabilities, best first; fewer if there are fewer."""
        asked = self._ask(X)
        free = asked.free_energies()
        return [
            [(self._segments(states), float(np.exp(total - energy))) for states, energy in results]
            for results, total in zip(asked.k_best(n), free.tolist())
        ]

    def predict_marginals(
        self,
        X: Sequence[Any],  # noqa: N803
        minimum: float = 1e-6,
    ) -> list[dict[Segment, float]]:
        """The probability of each segment that has at least `minimum`: a dict for each sequence.

        Those that hold a token add up to 1.
        """
        found = []
        states = self._known().states
        begins = np.arange(states.n_begins)
        for table in self._probabilities(X):
            token, state = np.nonzero(table >= minimum)
            stop, label = token + states.left[begins[state]], states.label[state]
            found.append({
                (s, t, self.classes_[k]): p
                for s, t, k, p in zip(token.tolist(), stop.tolist(), label.tolist(), table[token, state].tolist())
            })  # fmt: skip
        return found

    def segment_probability(self, X: Sequence[Any], segments: Sequence[Sequence[Segment]]) -> list[F64]:  # noqa: N803
        """The probability of each of these segments, lists of (start, stop, label), one for each sequence.

        It is 0 for one that is longer than its label may be, or out of range.
        """
        if len(X) != len(segments):
            raise EvidenceError(f"X has {len(X)} sequences and segments {len(segments)}: there must be one for each.")
        for i, each in enumerate(segments):
            if not all(isinstance(segment, (tuple, list)) and len(segment) == 3 for segment in each):
                raise EvidenceError(f"segments[{i}]: a segment is (start, stop, label), not as in {each!r}.")
        told = self.predict_marginals(X, 0.0)
        return [
            np.array([of.get((int(s), int(t), k), 0.0) for s, t, k in each], np.float64)
            for of, each in zip(told, segments)
        ]

    def predict_proba(self, X: Sequence[Any]) -> list[F64]:  # noqa: N803
        """The probability that each token is in a segment of each label: an array (tokens, K) for each sequence."""
        asked = self._ask(X)
        states = self._known().states
        of_label = (states.label[:, None] == np.arange(states.n_labels)).astype(np.float64)
        total = asked.marginals() @ of_label
        return [total[low:high] for low, high in _bounds(asked)]

    def entropy(self, X: Sequence[Any]) -> F64:  # noqa: N803
        """How unsure the tagger is of each sequence: the entropy of its segmentations, nats, (n,)."""
        return self._ask(X).entropies_by_energy()

    def score(self, X: Sequence[Any], y: Sequence[Any]) -> float:  # noqa: N803
        """F1 of segments, those of the label `outside` left out: right are start, stop and label together.

        1 where there is none, and none was said.
        """
        true = [set(self._told(each)) for each in read_segments(X, y, self.outside, self.scheme)]
        said = [set(each) for each in self.predict(X)]
        right = sum(len(one & two) for one, two in zip(true, said))
        total = sum(map(len, true)) + sum(map(len, said))
        return 2.0 * right / total if total else 1.0

    def _ask(self, X: Sequence[Any]) -> Asked:  # noqa: N803
        fitted = self._known()
        sequences = self._sequences(fitted, X, *fitted.table.transform(X))
        return Asked(fitted.declaration(), fitted.values, sequences, self.threads)

    def _probabilities(self, X: Sequence[Any]) -> list[F64]:  # noqa: N803
        asked = self._ask(X)
        marginals = asked.marginals()[:, : self._known().states.n_begins]
        return [marginals[low:high] for low, high in _bounds(asked)]

    def _segments(self, states: Any) -> list[Segment]:
        start, stop, label = self._known().states.decode(states)
        return self._told([
            (s, t, self.classes_[k]) for s, t, k in zip(start.tolist(), stop.tolist(), label.tolist())
        ])  # fmt: skip

    def _told(self, segments: Sequence[Segment]) -> list[Segment]:
        return [each for each in segments if self.outside is None or each[2] != self.outside]

    def _known(self) -> Fitted:
        if not hasattr(self, "_fitted"):
            raise NotFittedError("this SegmentTagger is not fitted yet. Call fit(X, y) first.")
        return self._fitted

    # What was learned.

    def _weights(self, name: str, rows: Sequence[Any], part: int | None = None) -> dict[tuple[Any, Any], float]:
        fitted = self._known()
        if name not in fitted.values or (part is not None and part >= fitted.values[name].shape[1]):
            return {}
        value, shown = fitted.values[name], fitted.seen[name]
        if part is not None:
            value, shown = value[:, part], shown[:, part]
        return {(rows[f], self.classes_[k]): -float(value[f, k]) for f, k in np.argwhere(shown)}

    @property
    def token_features_(self) -> dict[tuple[str, Any], float]:
        return self._weights("token", self._known().table.names, 0)

    @property
    def first_features_(self) -> dict[tuple[str, Any], float]:
        return self._weights("token", self._known().table.names, 1)

    @property
    def last_features_(self) -> dict[tuple[str, Any], float]:
        return self._weights("token", self._known().table.names, 2)

    @property
    def segment_features_(self) -> dict[tuple[str, Any], float]:
        table = self._known().of_segments
        return {} if table is None else self._weights("segment", table.names)

    @property
    def transition_features_(self) -> dict[tuple[Any, Any], float]:
        return self._weights("transition", self._known().labels)

    @property
    def length_features_(self) -> dict[tuple[Any, int], float]:
        states = self._known().states
        label, length = states.label[: states.n_begins].tolist(), states.left[: states.n_begins].tolist()
        return {(self.classes_[k], d): -w for k, d, w in zip(label, length, self._known().values["length"].tolist())}

    # Files.

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what was learned and its choices, without pickle; of a loss and an optimiser the names.

        `segment_features` is code, and is not saved: pass it to `load`.
        """
        fitted, params = self._known(), self.get_params(deep=False)
        if not isinstance(self.loss, str):
            params["loss"] = read_loss(self.loss).name
        if self.optimizer is not None and not isinstance(self.optimizer, str):
            params["optimizer"] = as_optimizer(self.optimizer).name
        write_segment_tagger(path, params, fitted, self.objective_, self.history_)

    @classmethod
    def load(cls, path: str | os.PathLike[str], segment_features: SegmentFeatures | None = None) -> Self:
        """Read a tagger that was saved; `segment_features` is the function that it was fitted with.

        Raises
        ------
        FormatError : not such a file, or a broken one.
        """
        params, fitted, objective, history = read_segment_tagger(path)
        tagger = cls(**params, segment_features=segment_features)
        tagger._keep(fitted)
        tagger.objective_, tagger.history_, tagger.n_iter_ = objective, history, len(history)
        return tagger


def _bounds(asked: Asked) -> list[tuple[int, int]]:
    start = asked.sequences.start
    return list(zip(start[:-1].tolist(), start[1:].tolist()))
