"""SequenceTagger: a conditional random field over the tags of sequences, with the face of scikit-learn.

    P(y | x) = exp(-E(y, x)) / Z,        E = sum over tokens of weights of their features with their tags
                                           + sum over neighbours of weights of both tags

(Lafferty, McCallum and Pereira, "Conditional random fields: probabilistic models for segmenting and labeling sequence
data", ICML 2001.) Features, penalties and the features that are generated are those of CRFsuite (Okazaki, 2007), and so
is the objective, so that a model of `sklearn_crfsuite.CRF` has the same optimum here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64, I64, Bool
from factorgraph_ebm.errors import EvidenceError, MethodError
from factorgraph_ebm.estimators.conventions import as_plain, check_threads, check_updates
from factorgraph_ebm.estimators.tagging.declaration import Declaration, Declared, Rules, Sequences
from factorgraph_ebm.estimators.tagging.feature_table import FeatureTable
from factorgraph_ebm.estimators.tagging.file import Kept, plain, read_tagger, write_tagger
from factorgraph_ebm.estimators.tagging.fitted_tagger import FittedTagger, Limits, split
from factorgraph_ebm.estimators.tagging.labels import (
    classes_of,
    number_tags,
    read_allowed,
    read_tags,
    refuse_strange,
)
from factorgraph_ebm.estimators.tagging.second_order import SecondOrder
from factorgraph_ebm.estimators.tagging.seen_pairs import Wanted, seen_of
from factorgraph_ebm.estimators.tagging.spans import allowed as allowed_tags
from factorgraph_ebm.estimators.tagging.templates import TEMPLATES, Template
from factorgraph_ebm.estimators.tagging.training import Choices, Told, learn, read_loss
from factorgraph_ebm.formats.text import PathLike
from factorgraph_ebm.learning.optimizers import as_optimizer
from factorgraph_ebm.learning.optimizers.optimizer import Optimizer
from factorgraph_ebm.learning.preparing import read_seed, read_weights
from factorgraph_ebm.learning.watching import Row
from factorgraph_ebm.losses import Loss


class _Training(NamedTuple):
    """What a tagger learns from."""

    classes: list[Any]
    pair_columns: I64
    declaration: Declaration
    sequences: Sequences
    tags: I64
    seen: dict[str, Bool]
    weights: F64 | None
    choices: Choices


class SequenceTagger(FittedTagger):
    """Tags for the tokens of sequences.

    Parameters
    ----------
    loss : "likelihood", "perceptron" (averaged), "hinge" (margins count wrong tags), "softmax_margin", or a loss
    optimizer : a word or a call; None: lbfgs, averaged_perceptron for a perceptron, bcfw for a hinge with c2 alone, sgd
        for all else
    c1, c2 : strengths of |w|_1 and |w|^2 beside the sum of all losses, as CRFsuite counts them. The averaged perceptron
        has no penalty, and heeds neither
    max_iterations : updates at most (iterations of lbfgs, epochs of sgd and its like); None: as the optimiser says
    order : tags before that a tag depends on: 1 or 2
    scheme : "BIO", "BIOES", "BILOU", ...: what the scheme forbids has energy +inf; None: nothing is forbidden
    all_possible_states, all_possible_transitions : also learn weights of pairs that training data do not show
    min_freq : leave out pairs whose features sum to less; 0 leaves out those below 0, as CRFsuite does, but none of
        sequences that are arrays
    boundaries : first and last tags have weights of their own; CRFsuite has none such
    pair_features : beginnings of names of features that are of a tag and the one before it, and not of a tag alone
    hashing : features go to 2^hashing columns by their hash, and names are forgotten; None: each has its own
    template : makes the features of X, that is sentences of rows of columns, or of words: the text of a template of
        CRF++ (see `estimators.tagging.templates`), or a word, "chunking" or "words"; None: X has features. Its features
        of two tags are the `pair_features`
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
        template: str | None = None,
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
        self.template = template
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
        checkpoint: PathLike | None = None,
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
        if patience is not None and validation is None:
            raise MethodError("patience= waits for a better validation. Write validation=(X, y), or leave it out.")
        table = FeatureTable(hashing=self.hashing)
        training = self._read(X, y, allowed, sample_weight, table, anew=True)
        held = None if validation is None else self._read_validation(validation, training, table)
        told = Told(held, patience, callbacks, checkpoint, progress, training.weights)
        self._learn(training, table, told)
        return self

    def partial_fit(
        self,
        X: Sequence[Any],  # noqa: N803
        y: Sequence[Any],
        *,
        classes: Sequence[Any] | None = None,
        sample_weight: npt.ArrayLike | None = None,
        allowed: Limits = None,
    ) -> Self:
        """One update, an epoch of sgd and its like, from the weights as they are; features that are new are added.

        Parameters
        ----------
        classes : in the first call, all tags that there will be; None: those of y
        X, y, sample_weight, allowed : as in `fit`

        Raises
        ------
        EvidenceError : a tag that is not among `classes`; and as in `fit`.
        MethodError : an optimiser that cannot go on from weights alone (bcfw, cutting_plane); and as in `fit`.
        """
        first = not hasattr(self, "_values")
        table = FeatureTable(hashing=self.hashing)
        if not first:
            table = FeatureTable.from_state(self._table.state())
        training = self._read(X, y, allowed, sample_weight, table, anew=first, classes=classes)
        told = Told(weights=training.weights, updates=1)
        if not first:
            old = training.pair_columns[training.pair_columns < self._table.width]
            if not np.array_equal(old, self._pair):
                raise MethodError("pair_features= is other than in the training before. Set it back, or call fit.")
            masks = grown(self._seen, training.declaration, False)
            training.seen.update({name: mask | masks[name] for name, mask in training.seen.items()})
            told = told._replace(on_from=grown(self._values, training.declaration, 0.0), earlier=self.history_)
        self._learn(training, table, told)
        return self

    def _read(
        self, X: Sequence[Any], y: Sequence[Any], allowed: Limits, sample_weight: Any, table: FeatureTable,  # noqa: N803
        *, anew: bool, classes: Sequence[Any] | None = None,
    ) -> _Training:  # fmt: skip
        """What there is to learn from; the table learns the features."""
        choices = self._choices()
        tags = read_tags(X, y)
        weights = None if sample_weight is None else read_weights(sample_weight, len(X))
        if weights is not None and not weights.all():
            # What has no weight shows no features either.
            chosen = np.flatnonzero(weights).tolist()
            X, tags, weights = [X[i] for i in chosen], [tags[i] for i in chosen], weights[chosen]  # noqa: N806
            allowed = None if allowed is None else [allowed[i] for i in chosen]
        if not anew:
            known = self.classes_
        else:
            known = classes_of([*tags, *_named(allowed)] if classes is None else [classes])
        numbers = number_tags(tags, known)
        refuse_strange(tags, numbers, known, "y")
        start, x = (table.fit_transform if anew else table.extend_transform)(self._dicts(X))
        pair_columns = self._pair_columns(table)
        declaration = self._declare(known, x.shape[1], pair_columns)
        sequences = split(start, x, pair_columns, read_allowed(X, allowed, known))
        if not int(start[-1]):
            raise EvidenceError("X has no token: there is nothing to learn from.")
        if not known:
            raise EvidenceError("y has no tag but None: there is nothing to learn from.")
        # CRFsuite, which has no arrays, leaves out what sums to less than 0: standardised numbers would lose half.
        least = -np.inf if table.of_arrays and not self.min_freq else self.min_freq
        wanted = Wanted(self.all_possible_states, self.all_possible_transitions, least)
        seen = seen_of(declaration, sequences, numbers, wanted)
        return _Training(known, pair_columns, declaration, sequences, numbers, seen, weights, choices)

    def _read_validation(
        self, validation: tuple[Sequence[Any], Sequence[Any]], training: _Training, table: FeatureTable
    ) -> tuple[Sequences, I64]:
        if not isinstance(validation, (tuple, list)) or len(validation) != 2:
            raise EvidenceError("validation= is a pair: write validation=(X, y).")
        other, right = validation
        tags = read_tags(other, right, "y of validation")
        numbers = number_tags(tags, training.classes)
        refuse_strange(tags, numbers, training.classes, "y of validation")
        if not len(numbers):
            raise EvidenceError("validation= has no token: there is nothing to compare on. Leave it out.")
        return split(*table.transform(self._dicts(other)), training.pair_columns, None), numbers

    def _learn(self, training: _Training, table: FeatureTable, told: Told) -> None:
        """Train, and keep what was learned; after an error all is as it was before."""
        declared: Declared = training.declaration
        tags, choices = training.tags, training.choices
        if training.declaration.order == 2:
            declared = second = SecondOrder(training.declaration, training.seen["second"])
            tags = second.encode(tags, training.sequences.start)
            if told.validation is not None:
                held, right = told.validation
                told = told._replace(validation=(held, second.encode(right, held.start)))
        learned = learn(declared, training.sequences, tags, training.seen, choices, told)
        self.classes_ = training.classes
        self.objective_, self.history_, self.n_iter_ = learned.objective, learned.history, len(learned.history)
        self._table, self._pair, self._declaration = table, training.pair_columns, training.declaration
        self._seen, self._values = training.seen, learned.values

    # Files.

    def save(self, path: PathLike) -> None:
        """Write the tagger: what it learned, and its choices; of a loss and an optimiser the names."""
        self._refuse_unfitted()
        words = {name: as_plain(value) for name, value in self.get_params(deep=False).items()}
        parameters = {name: value for name, value in words.items() if plain(value)}
        if self.optimizer is not None and not isinstance(self.optimizer, str):
            parameters["optimizer"] = as_optimizer(self.optimizer).name
        if not isinstance(self.loss, str):
            parameters["loss"] = read_loss(self.loss).name
        kept = Kept(
            parameters, self.classes_, self._table, self._pair, self._declaration, self._seen, self._values,
            self.objective_, self.history_,
        )  # fmt: skip
        write_tagger(path, kept)

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Read a tagger that was saved: it says what it said, bit for bit.

        Raises
        ------
        FormatError : not such a file, or a broken one.

        Examples
        --------
        >>> import factorgraph_ebm as fg, pathlib, tempfile
        >>> tagger = fg.SequenceTagger().fit([[["the"], ["dog"]]], [["D", "N"]])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tagger.save(pathlib.Path(folder, "tagger.npz"))
        ...     again = fg.SequenceTagger.load(pathlib.Path(folder, "tagger.npz"))
        >>> again.predict([[["the"]]])
        [['D']]
        """
        kept = read_tagger(path)
        known = cls().get_params(deep=False)
        tagger = cls(**{name: value for name, value in kept.parameters.items() if name in known})
        tagger.classes_, tagger.objective_, tagger.history_ = kept.classes, kept.objective, kept.history
        tagger.n_iter_ = len(kept.history)
        tagger._table, tagger._pair, tagger._declaration = kept.table, kept.pair_columns, kept.declaration
        tagger._seen, tagger._values = kept.seen, kept.values
        return tagger

    def _dicts(self, X: Sequence[Any]) -> Sequence[Any]:  # noqa: N803
        return X if self.template is None else self._template().features(X)

    def _template(self) -> Template:
        return Template.parse(TEMPLATES.get(self.template or "", self.template or ""), "template=")

    def _choices(self) -> Choices:
        if self.order not in (1, 2):
            raise MethodError(f"order= is 1 or 2, tags before that a tag depends on, not {self.order!r}.")
        if self.order == 2 and self.pair_features is not None:
            raise MethodError("pair_features= goes with order=1. Leave it out, or write order=1.")
        for name in ("c1", "c2", "min_freq"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float, np.number)) and 0.0 <= value < np.inf):
                raise MethodError(f"{name}= is a number from 0, not {value!r}.")
        named = self.pair_features
        if named is not None and not (isinstance(named, Iterable) and all(isinstance(each, str) for each in named)):
            raise MethodError(f"pair_features= is a beginning of names, a list of these, or None, not {named!r}.")
        if self.template is not None and not isinstance(self.template, str):
            raise MethodError(f"template= is the text of a template, or a word, not {self.template!r}.")
        check_threads(self.threads)
        check_updates(self.max_iterations)
        optimizer = None if self.optimizer is None else as_optimizer(self.optimizer)
        return Choices(
            read_loss(self.loss), optimizer, float(self.c1), float(self.c2), self.max_iterations,
            read_seed(self.random_state), self.threads,
        )  # fmt: skip

    def _pair_columns(self, table: FeatureTable) -> I64:
        """Columns of the features that are of two tags."""
        wanted = self.pair_features
        if wanted is None and self.template is not None and self._template().has_pairs:
            wanted = "B"
        if wanted is None:
            return np.zeros(0, np.int64)
        beginnings = (wanted,) if isinstance(wanted, str) else tuple(wanted)
        if self.hashing is not None:
            raise MethodError("pair_features= goes by names, which hashing= forgets. Leave one of them out.")
        return np.array([i for i, name in enumerate(table.names) if name.startswith(beginnings)], np.int64)

    def _declare(self, classes: Sequence[Any], n_features: int, pair_columns: I64) -> Declaration:
        rules = None
        if self.scheme is not None:
            rules = Rules(*allowed_tags(self.scheme, classes))
        return Declaration(
            len(classes), n_features - len(pair_columns), len(pair_columns), bool(self.boundaries), rules,
            2 if self.order == 2 else 1,
        )  # fmt: skip


def grown(arrays: Mapping[str, Any], declaration: Declaration, fill: float) -> dict[str, Any]:
    """Arrays of parameters by name, with rows for the features, and whole parameters, that have come since."""
    found = {}
    for name, parameter in declaration.parameters().items():
        larger = np.full(parameter.shape, fill)
        if name in arrays:
            larger[: len(arrays[name])] = arrays[name]
        found[name] = larger
    return found


def _named(allowed: Limits) -> list[Any]:
    """All tags of a dictionary of tags, as sequences of tags."""
    plain_sets = (sets for sets in allowed or () if isinstance(sets, (list, tuple)))  # all else is refused later
    return [tags for sets in plain_sets for tags in sets if isinstance(tags, Collection)]
