"""SequenceTagger: a conditional random field over the tags of sequences, with the face of scikit-learn.

    P(y | x) = exp(-E(y, x)) / Z,        E = sum over tokens of weights of their features with their tags
                                           + sum over neighbours of weights of both tags

(Lafferty, McCallum and Pereira, "Conditional random fields: probabilistic models for segmenting and labeling sequence
data", ICML 2001.) Features, penalties and the features that are generated are those of CRFsuite (Okazaki, 2007), and so
is the objective, so that a model of `sklearn_crfsuite.CRF` has the same optimum here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64, I64, Bool
from factorgraph_ebm.errors import EvidenceError, MethodError
from factorgraph_ebm.estimators.conventions import Estimator, NotFittedError
from factorgraph_ebm.estimators.feature_table import FeatureTable
from factorgraph_ebm.estimators.tagging_answers import Asked
from factorgraph_ebm.estimators.tagging_graph import Declaration, Rules, Sequences
from factorgraph_ebm.estimators.tagging_labels import (
    both,
    classes_of,
    number_tags,
    read_allowed,
    read_forced,
    read_tags,
    refuse_strange,
)
from factorgraph_ebm.estimators.tagging_seen import Wanted, seen_of
from factorgraph_ebm.estimators.tagging_training import Choices, Learned, Told, learn, read_loss
from factorgraph_ebm.learning.optimizers import as_optimizer
from factorgraph_ebm.learning.optimizers.optimizer import Optimizer
from factorgraph_ebm.learning.preparing import read_seed, read_weights
from factorgraph_ebm.learning.watching import Row
from factorgraph_ebm.losses import Loss


class SequenceTagger(Estimator):
    """Tags for the tokens of sequences.

    Parameters
    ----------
    loss : "likelihood", "perceptron" (averaged), "hinge" (margins count wrong tags), "softmax_margin", or a loss
    optimizer : a word or a call; None: lbfgs, averaged_perceptron for a perceptron, bcfw for a hinge with c2 alone, sgd
        for all else
    c1, c2 : strengths of |w|_1 and |w|^2 beside the sum of all losses, as CRFsuite counts them. The averaged perceptron
        has no penalty, and heeds neither
    max_iterations : updates at most (iterations of lbfgs, epochs of sgd and its like); None: as the optimiser says
    order : tags that a tag depends on: 1
    scheme : "BIO", "BIOES", "BILOU", ...: what the scheme forbids has energy +inf; None: nothing is forbidden
    all_possible_states, all_possible_transitions : also learn weights of pairs that training data do not show
    min_freq : leave out pairs whose features sum to less
    boundaries : first and last tags have weights of their own; CRFsuite has none such
    pair_features : beginnings of names of features that are of a tag and the one before it, and not of a tag alone
    hashing : features go to 2^hashing columns by their hash, and names are forgotten; None: each has its own
    random_state : seed of the order of sequences
    threads : at most so many; None: as many as pay

    Attributes
    ----------
    classes_ : tags, ascending
    objective_ : sum of losses + c1 |w|_1 + c2 |w|^2 where training ended
    history_ : a dict for each update, see `EnergyModel`; losses and objectives as in `objective_`
    n_iter_ : updates
    state_features_, transition_features_ : (feature, tag) -> weight and (tag, next tag) -> weight, as in CRFsuite: high
        is good (energies with the other sign)
    start_features_, end_features_ : tag -> weight, with `boundaries`
    pair_features_ : (feature, tag, next tag) -> weight, with `pair_features`

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> X = [[{"word": "the"}, {"word": "dog"}], [{"word": "a"}, {"word": "cat"}, {"word": "ran"}]]
    >>> y = [["D", "N"], ["D", "N", "V"]]
    >>> tagger = fg.SequenceTagger(c2=0.1).fit(X, y)
    >>> tagger.predict([[{"word": "the"}, {"word": "cat"}]])
    [['D', 'N']]
    """

    def __init__(
        self,
        loss: str | Loss | Callable[..., Loss] = "likelihood",
        optimizer: str | Optimizer | None = None,
        c1: float = 0.0,
        c2: float = 1.0,
        max_iterations: int | None = None,
        order: int = 1,
        scheme: str | None = None,
        all_possible_states: bool = False,
        all_possible_transitions: bool = False,
        min_freq: float = 0.0,
        boundaries: bool = False,
        pair_features: str | Sequence[str] | None = None,
        hashing: int | None = None,
        random_state: int = 0,
        threads: int | None = None,
    ) -> None:
        self.loss = loss
        self.optimizer = optimizer
        self.c1 = c1
        self.c2 = c2
        self.max_iterations = max_iterations
        self.order = order
        self.scheme = scheme
        self.all_possible_states = all_possible_states
        self.all_possible_transitions = all_possible_transitions
        self.min_freq = min_freq
        self.boundaries = boundaries
        self.pair_features = pair_features
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
        allowed: Sequence[Any] | None = None,
        validation: tuple[Sequence[Any], Sequence[Any]] | None = None,
        patience: int | None = None,
        callbacks: Sequence[Callable[[Row], Any]] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        progress: bool = False,
    ) -> Self:
        """Learn from sequences of features and their tags.

        Parameters
        ----------
        X : a list of sequences: lists of a dict of features for each token, of lists of words, or matrices
        y : a list of lists of tags; None for a tag that is not known
        sample_weight : (n,) of sequences
        allowed : for each sequence None, or for each token None or the tags that it may have
        validation : other X and y; the weights with the least loss on these are kept
        patience : stop after so many updates without a better validation
        callbacks : functions that are told each row of the history; one that returns True stops the training
        checkpoint : path of a file that is written on the way; where it exists, training goes on from it
        progress : show a bar with the loss and the time left

        Raises
        ------
        EvidenceError : X, y and the rest do not fit each other, or there is nothing to learn from.
        MethodError : choices that cannot work together.
        FactorError : a right answer is forbidden by the scheme or by `allowed`.

        Notes
        -----
        An interrupt (Ctrl-C) ends the training with a ConvergenceWarning, and the best weights so far are kept.
        """
        choices = self._choices()
        tags = read_tags(X, y)
        classes = classes_of([*tags, *_named(allowed)])
        table = FeatureTable(hashing=self.hashing)
        start, x = table.fit_transform(X)
        pair_columns = self._pair_columns(table)
        declaration = self._declare(classes, x.shape[1], pair_columns)
        sequences = _split(start, x, pair_columns, read_allowed(X, allowed, classes))
        self._refuse_nothing(sequences, classes)
        numbers = number_tags(tags, classes)
        wanted = Wanted(self.all_possible_states, self.all_possible_transitions, self.min_freq)
        seen = seen_of(declaration, sequences, numbers, wanted)
        told = Told(
            None, patience, callbacks, checkpoint, progress,
            None if sample_weight is None else read_weights(sample_weight, len(X)),
        )  # fmt: skip
        if patience is not None and validation is None:
            raise MethodError("patience= waits for a better validation. Write validation=(X, y), or leave it out.")
        if validation is not None:
            other, right = validation
            said = read_tags(other, right, "y of validation")
            held = number_tags(said, classes)
            refuse_strange(said, held, classes, "y of validation")
            told = told._replace(validation=(_split(*table.transform(other), pair_columns, None), held))
        learned = learn(declaration, sequences, numbers, seen, choices, told)
        self._keep(classes, table, pair_columns, declaration, seen, learned)
        return self

    def _choices(self) -> Choices:
        if self.order != 1:
            raise MethodError(f"order={self.order!r} is not there yet: tags depend on the one before. Write order=1.")
        for name in ("c1", "c2", "min_freq"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float, np.number)) and 0.0 <= value < np.inf):
                raise MethodError(f"{name}= is a number from 0, not {value!r}.")
        optimizer = None if self.optimizer is None else as_optimizer(self.optimizer)
        return Choices(
            read_loss(self.loss), optimizer, float(self.c1), float(self.c2), self.max_iterations,
            read_seed(self.random_state), self.threads,
        )  # fmt: skip

    def _pair_columns(self, table: FeatureTable) -> I64:
        """Columns of the features that are of two tags."""
        if self.pair_features is None:
            return np.zeros(0, np.int64)
        beginnings = (self.pair_features,) if isinstance(self.pair_features, str) else tuple(self.pair_features)
        if self.hashing is not None:
            raise MethodError("pair_features= goes by names, which hashing= forgets. Leave one of them out.")
        return np.array([i for i, name in enumerate(table.names) if name.startswith(beginnings)], np.int64)

    def _declare(self, classes: Sequence[Any], n_features: int, pair_columns: I64) -> Declaration:
        rules = None
        if self.scheme is not None:
            from factorgraph_ebm.estimators.spans import allowed

            rules = Rules(*(np.asarray(mask, np.bool_) for mask in allowed(self.scheme, classes)))
        return Declaration(
            len(classes), n_features - len(pair_columns), len(pair_columns), bool(self.boundaries), rules
        )

    def _refuse_nothing(self, sequences: Sequences, classes: Sequence[Any]) -> None:
        if not int(sequences.start[-1]):
            raise EvidenceError("X has no token: there is nothing to learn from.")
        if not classes:
            raise EvidenceError("y has no tag but None: there is nothing to learn from.")

    def _keep(
        self, classes: list[Any], table: FeatureTable, pair_columns: I64, declaration: Declaration,
        seen: Mapping[str, Bool], learned: Learned,
    ) -> None:  # fmt: skip
        self.classes_ = classes
        self.objective_ = learned.objective
        self.history_ = learned.history
        self.n_iter_ = len(learned.history)
        self._table, self._pair, self._declaration, self._seen = table, pair_columns, declaration, dict(seen)
        self._values = learned.values

    # Asking.

    def predict(
        self,
        X: Sequence[Any],  # noqa: N803
        *,
        allowed: Sequence[Any] | None = None,
        forced: Sequence[Any] | None = None,
    ) -> list[list[Any]]:
        """The best tags of each sequence.

        Parameters
        ----------
        X : sequences as in `fit`; features that training never saw count nothing
        allowed : for each sequence None, or for each token None or the tags that it may have
        forced : for each sequence None, or for each token None or its tag

        Raises
        ------
        EvidenceError : what is allowed or forced does not fit X, or is no tag of `classes_`.
        InfeasibleError : all taggings of a sequence are forbidden.
        """
        asked = self._ask(X, allowed, forced)
        tags = [self.classes_[i] for i in asked.best().tolist()]
        return [tags[low:high] for low, high in _bounds(asked.sequences.start)]

    def predict_n_best(
        self,
        X: Sequence[Any],  # noqa: N803
        n: int,
        *,
        allowed: Sequence[Any] | None = None,
        forced: Sequence[Any] | None = None,
    ) -> list[list[tuple[list[Any], float]]]:
        """The n best taggings of each sequence with their probabilities, best first; fewer where there are fewer."""
        asked = self._ask(X, allowed, forced)
        free = asked.free_energies()
        return [
            [([self.classes_[i] for i in tags.tolist()], float(np.exp(total - energy))) for tags, energy in results]
            for results, total in zip(asked.k_best(n), free.tolist())
        ]

    def predict_proba(
        self,
        X: Sequence[Any],  # noqa: N803
        *,
        allowed: Sequence[Any] | None = None,
        forced: Sequence[Any] | None = None,
    ) -> list[F64]:
        """The probability of each tag of `classes_` for each token: an array (tokens, K) for each sequence."""
        asked = self._ask(X, allowed, forced)
        marginals = asked.marginals()
        return [marginals[low:high] for low, high in _bounds(asked.sequences.start)]

    def predict_marginals(self, X: Sequence[Any], **limits: Any) -> list[list[dict[Any, float]]]:  # noqa: N803
        """`predict_proba` as dicts, tag -> probability, one for each token, as sklearn-crfsuite gives it."""
        return [
            [dict(zip(self.classes_, row)) for row in table.tolist()] for table in self.predict_proba(X, **limits)
        ]

    def entropy(
        self,
        X: Sequence[Any],  # noqa: N803
        *,
        allowed: Sequence[Any] | None = None,
        forced: Sequence[Any] | None = None,
    ) -> F64:
        """How unsure the tagger is of each sequence: the entropy of its taggings, nats, (n,)."""
        return self._ask(X, allowed, forced).entropies()

    def score(
        self,
        X: Sequence[Any],  # noqa: N803
        y: Sequence[Any],
        sample_weight: npt.ArrayLike | None = None,
    ) -> float:
        """The share of tokens whose tag is right, of those that have one; one that training never saw is wrong."""
        tags = read_tags(X, y)
        right = number_tags(tags, self.classes_)
        asked = self._ask(X, None, None)
        weight = np.ones(len(tags)) if sample_weight is None else read_weights(sample_weight, len(tags))
        of_token = np.repeat(weight, np.diff(asked.sequences.start)) * (right != -1)
        if not of_token.any():
            raise EvidenceError("y has no tags to compare with.")
        return float(np.sum(of_token * (asked.best() == right)) / np.sum(of_token))

    def _ask(self, X: Sequence[Any], allowed: Any, forced: Any) -> Asked:  # noqa: N803
        self._refuse_unfitted()
        limits = both(read_allowed(X, allowed, self.classes_), read_forced(X, forced, self.classes_))
        sequences = _split(*self._table.transform(X), self._pair, limits)
        return Asked(self._declaration, self._values, sequences, self.threads)

    def _refuse_unfitted(self) -> None:
        if not hasattr(self, "_values"):
            raise NotFittedError("this SequenceTagger is not fitted yet. Call fit(X, y) first.")

    # What was learned.

    @property
    def state_features_(self) -> dict[tuple[str, Any], float]:
        self._refuse_unfitted()
        names = np.delete(np.array(self._table.names, object), self._pair)
        return {
            (names[f], self.classes_[k]): -float(self._values["state"][f, k])
            for f, k in np.argwhere(self._seen["state"])
        }

    @property
    def transition_features_(self) -> dict[tuple[Any, Any], float]:
        self._refuse_unfitted()
        return {
            (self.classes_[a], self.classes_[b]): -float(self._values["transition"][a, b])
            for a, b in np.argwhere(self._seen["transition"])
        }


def _bounds(start: I64) -> zip[tuple[int, int]]:
    return zip(start[:-1].tolist(), start[1:].tolist())


def _named(allowed: Sequence[Any] | None) -> list[Any]:
    """All tags of a dictionary of tags, as sequences of tags."""
    return [tags for sets in allowed or () if sets is not None for tags in sets if tags is not None]


def _split(start: I64, x: Any, pair_columns: I64, allowed: Bool | None) -> Sequences:
    """Features of a tag and those of two apart."""
    if not len(pair_columns):
        return Sequences(start, x, None, allowed)
    rest = np.delete(np.arange(x.shape[1]), pair_columns)
    return Sequences(start, x[:, rest], x[:, pair_columns], allowed)
