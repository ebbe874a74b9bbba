"""What a tagger that is fitted can be asked: tags, probabilities, scores, weights and reasons."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64, I64, Bool
from factorgraph_ebm.errors import EvidenceError
from factorgraph_ebm.estimators.conventions import Estimator, NotFittedError, check_threads
from factorgraph_ebm.estimators.tagging.answers import Asked
from factorgraph_ebm.estimators.tagging.declaration import Declaration, Sequences
from factorgraph_ebm.estimators.tagging.explanation import Explanation, explain
from factorgraph_ebm.estimators.tagging.feature_table import FeatureTable, Tokens
from factorgraph_ebm.estimators.tagging.labels import (
    both,
    length_of,
    number_tags,
    plain,
    read_allowed,
    read_forced,
    read_tags,
)
from factorgraph_ebm.estimators.tagging.second_order import SecondOrder
from factorgraph_ebm.estimators.tagging.spans import span_scores
from factorgraph_ebm.estimators.tagging.spans_as_masks import events_of_span, events_of_tag
from factorgraph_ebm.learning.preparing import read_weights
from factorgraph_ebm.learning.watching import Row

Limits = Sequence[Any] | None
"for each sequence None, or an entry for each token"


class FittedTagger(Estimator):
    """The half of a tagger that is asked. In all methods:

    Parameters
    ----------
    X : sequences as in `fit`, or what `tokens` made of them; features that training never saw count nothing
    allowed : for each sequence None, or for each token None or the tags that it may have
    forced : for each sequence None, or for each token None or its tag

    Raises
    ------
    NotFittedError : `fit` was not called.
    EvidenceError : what is allowed or forced does not fit X, or is no tag of `classes_`.
    InfeasibleError : all taggings of a sequence are forbidden.
    """

    scheme: str | None
    threads: int | None
    classes_: list[Any]
    history_: list[Row]
    objective_: float
    n_iter_: int
    _table: FeatureTable
    _pair: I64
    _declaration: Declaration
    _seen: dict[str, Bool]
    _values: dict[str, F64]

    def _dicts(self, X: Sequence[Any]) -> Sequence[Any]:  # noqa: N803 - scikit-learn's name
        raise NotImplementedError

    def tokens(self, X: Sequence[Any]) -> Tokens:  # noqa: N803
        """Sequences as numbers, which all methods take in the place of X: names are then looked up once."""
        self._refuse_unfitted()
        return X if isinstance(X, Tokens) else self._table.transform(self._dicts(X))

    def predict(self, X: Any, *, allowed: Limits = None, forced: Limits = None) -> list[list[Any]]:  # noqa: N803
        """The best tags of each sequence; of equally good ones those that come first in `classes_`."""
        asked = self._ask(X, allowed, forced)
        tags = [self.classes_[i] for i in asked.best().tolist()]
        return [tags[low:high] for low, high in _bounds(asked.sequences.start)]

    def predict_n_best(
        self, X: Any, n: int, *, allowed: Limits = None, forced: Limits = None  # noqa: N803
    ) -> list[list[tuple[list[Any], float]]]:
        """The n best taggings of each sequence with their probabilities, best first; fewer where there are fewer.

        A sequence all of whose taggings are forbidden has none.
        """
        asked = self._ask(X, allowed, forced)
        free = asked.free_energies()
        return [
            [([self.classes_[i] for i in tags.tolist()], float(np.exp(total - energy))) for tags, energy in results]
            for results, total in zip(asked.k_best(n), free.tolist())
        ]

    def predict_proba(self, X: Any, *, allowed: Limits = None, forced: Limits = None) -> list[F64]:  # noqa: N803
        """The probability of each tag of `classes_` for each token: an array (tokens, K) for each sequence."""
        asked = self._ask(X, allowed, forced)
        marginals = asked.marginals()
        return [marginals[low:high] for low, high in _bounds(asked.sequences.start)]

    def predict_marginals(
        self, X: Any, *, allowed: Limits = None, forced: Limits = None  # noqa: N803
    ) -> list[list[dict[Any, float]]]:
        """`predict_proba` as dicts of tag -> probability, one for each token, as sklearn-crfsuite gives them."""
        tables = self.predict_proba(X, allowed=allowed, forced=forced)
        return [[dict(zip(self.classes_, row)) for row in table.tolist()] for table in tables]

    def span_probability(self, sequence: Any, start: int, stop: int, tag: Any) -> float:
        """The probability of a span of one sequence: tokens `start` to `stop`, the last not included.

        Parameters
        ----------
        tag : with a scheme, the type of a span that begins and ends just there, such as "NP"; a list of tags, one for
            each token; without a scheme also one tag that all of them have
        """
        n = length_of(sequence)
        if not all(isinstance(each, Integral) for each in (start, stop)):
            raise EvidenceError(f"a span is between two ints, not {start!r} and {stop!r}.")
        if not 0 <= start < stop <= n:
            raise EvidenceError(f"a span of tokens {start} to {stop} does not lie in a sequence of {n}.")
        whole = self._ask([sequence], None, None)
        if self.scheme is None or isinstance(tag, (list, tuple)):
            events = events_of_tag(self.classes_, tag, n, start, stop)
        else:
            events = events_of_span(self.classes_, self.scheme, tag, n, start, stop)
        total = whole.free_energies()[0]
        held = [whole._replace(sequences=whole.sequences._replace(allowed=event)) for event in events]
        return float(min(1.0, sum(np.exp(total - event.free_energies()[0]) for event in held)))

    def entropy(self, X: Any, *, allowed: Limits = None, forced: Limits = None) -> F64:  # noqa: N803
        """How unsure the tagger is of each sequence: the entropy of its taggings, nats, (n,)."""
        return self._ask(X, allowed, forced).entropies()

    def score(self, X: Any, y: Sequence[Any], sample_weight: npt.ArrayLike | None = None) -> float:  # noqa: N803
        """The share of tokens whose tag is right, of those that have one; one that training never saw is wrong."""
        right, asked = self._compare(X, y)
        weight = np.ones(asked.sequences.n) if sample_weight is None else read_weights(sample_weight, len(y))
        of_token = np.repeat(weight, np.diff(asked.sequences.start)) * (right != -1)
        if not of_token.any():
            raise EvidenceError("y has no tags to compare with.")
        return float(np.sum(of_token * (asked.best() == right)) / np.sum(of_token))

    def token_f1(self, X: Any, y: Sequence[Any]) -> float:  # noqa: N803
        """F1 of the tags of tokens, a mean over tags weighted by how often each is right.

        A scorer of scikit-learn: `cross_validate(tagger, X, y, scoring=fg.SequenceTagger.token_f1)`.
        """
        right, asked = self._compare(X, y)
        said, known = asked.best()[right != -1], right[right != -1]
        total = score = 0.0
        for tag in np.unique(known).tolist():
            hits = float(np.sum((said == tag) & (known == tag)))
            support = float(np.sum(known == tag))
            total += support
            score += support * 2.0 * hits / (support + float(np.sum(said == tag)))
        if not total:
            raise EvidenceError("y has no tags to compare with.")
        return score / total

    def span_f1(self, X: Any, y: Sequence[Any]) -> float:  # noqa: N803
        """F1 of the spans that tags speak of, as conlleval counts them; without a scheme tags are read as IOB2.

        A scorer of scikit-learn, as `token_f1` is.
        """
        return span_scores([plain(tags) for tags in y], self.predict(X), self.scheme or "IOB2").overall.f1

    def explain(self, sequence: Any, tags: Sequence[Any] | None = None) -> Explanation:
        """Which features paid which energy for the tags of one sequence: the best ones, or those that are given."""
        asked = self._ask([sequence], None, None if tags is None else [tags])
        if tags is not None and any(tag is None for tag in tags):
            raise EvidenceError("an explanation is of a tag for each token; leave tags= out for the best ones.")
        states = asked.best()  # where tags are given: those, or an error if they are forbidden
        return explain(
            self._declaration, self._values, asked.sequences, states, self.classes_, self._feature_names()
        )

    def _compare(self, X: Any, y: Sequence[Any]) -> tuple[I64, Asked]:  # noqa: N803
        """Numbers of the right tags, and the sequences asked about."""
        self._refuse_unfitted()
        start = self.tokens(X).start if isinstance(X, Tokens) else None
        tags = read_tags(X if start is None else [range(n) for n in np.diff(start).tolist()], y)
        return number_tags(tags, self.classes_), self._ask(X, None, None)

    def _ask(self, X: Any, allowed: Limits, forced: Limits) -> Asked:  # noqa: N803
        check_threads(self.threads)
        start, x = self.tokens(X)
        lengths = [range(n) for n in np.diff(start).tolist()]
        limits = both(read_allowed(lengths, allowed, self.classes_), read_forced(lengths, forced, self.classes_))
        sequences = split(start, x, self._pair, limits)
        if self._declaration.order == 1:
            return Asked(self._declaration, self._values, sequences, self.threads)
        second = SecondOrder(self._declaration, self._seen["second"])
        return Asked(second, self._values, sequences, self.threads, second)

    def _refuse_unfitted(self) -> None:
        if not hasattr(self, "_values"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet. Call fit(X, y) first.")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_values")

    # What was learned: weights, high is good, as CRFsuite shows them.

    @property
    def state_features_(self) -> dict[tuple[str, Any], float]:
        """(feature, tag) -> weight."""
        names = self._feature_names()[0]
        return {(names[f], self.classes_[k]): w for (f, k), w in self._learned("state")}

    @property
    def transition_features_(self) -> dict[tuple[Any, Any], float]:
        """(tag, next tag) -> weight."""
        return {(self.classes_[a], self.classes_[b]): w for (a, b), w in self._learned("transition")}

    @property
    def second_features_(self) -> dict[tuple[Any, Any, Any], float]:
        """(tag, next tag, the one after) -> weight, with `order=2`."""
        return {
            (self.classes_[a], self.classes_[b], self.classes_[c]): w for (a, b, c), w in self._learned("second")
        }

    @property
    def pair_features_(self) -> dict[tuple[str, Any, Any], float]:
        """(feature, tag before, tag) -> weight, with `pair_features`."""
        names = self._feature_names()[1]
        return {(names[f], self.classes_[a], self.classes_[b]): w for (f, a, b), w in self._learned("pair")}

    @property
    def start_features_(self) -> dict[Any, float]:
        """tag -> weight of a first token, with `boundaries`."""
        return {self.classes_[k]: w for (k,), w in self._learned("start")}

    @property
    def end_features_(self) -> dict[Any, float]:
        """tag -> weight of a last token, with `boundaries`."""
        return {self.classes_[k]: w for (k,), w in self._learned("end")}

    def _learned(self, name: str) -> list[tuple[tuple[int, ...], float]]:
        """Places and weights of the entries of a parameter that were learned."""
        self._refuse_unfitted()
        if name not in self._seen:
            return []
        places = np.argwhere(self._seen[name])
        weights = 0.0 - self._values[name][tuple(places.T)]
        return list(zip(map(tuple, places.tolist()), weights.tolist()))

    def _feature_names(self) -> tuple[list[str], list[str]]:
        """Names of the features of a tag, and of those of two."""
        self._refuse_unfitted()
        names = np.array(self._table.names, object)
        return np.delete(names, self._pair).tolist(), names[self._pair].tolist()


def split(start: I64, x: Any, pair_columns: I64, allowed: Bool | None) -> Sequences:
    """Sequences with the features of a tag and those of two tags apart."""
    if not len(pair_columns):
        return Sequences(start, x, None, allowed)
    rest = np.delete(np.arange(x.shape[1]), pair_columns)
    return Sequences(start, x[:, rest], x[:, pair_columns], allowed)


def _bounds(start: I64) -> zip[tuple[int, int]]:
    return zip(start[:-1].tolist(), start[1:].tolist())
