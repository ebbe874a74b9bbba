"""Features with names to one sparse matrix: a row for each token of all sequences, a column for each feature.

    {"word": "Paris", "capital": True, "length": 5}   ->   word:Paris = 1, capital = 1, length = 5

A feature of a token is a name and a number, as CRFsuite has them: a string is part of the name and counts 1, a number
keeps its value, True is 1 and False 0, and what is nested is written with colons: {"near": {"word": "in"}} is
near:word:in = 1, {"shape": ["Xx", "short"]} is shape:Xx = 1 and shape:short = 1, and a list of strings is each of them
at 1. Features that occur twice in a token are added.

Sources: N. Okazaki, "CRFsuite: a fast implementation of conditional random fields", 2007; M. Korobov and others,
python-crfsuite (`ItemSequence`); Weinberger and others, "Feature hashing for large scale multitask learning",
ICML 2009.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from factorgraph_ebm.arrays import I64
from factorgraph_ebm.errors import EvidenceError, MethodError
from factorgraph_ebm.estimators.tagging.feature_blocks import (
    all_text,
    growing_columns,
    hashed_columns,
    known_columns,
    mapped,
)
from factorgraph_ebm.estimators.tagging.token_arrays import is_array, stacked

if TYPE_CHECKING:
    import scipy.sparse

MOST_BITS = 30


class Tokens(NamedTuple):
    """The tokens of all sequences, one after the other."""

    start: I64
    "(sequences + 1,) the tokens of sequence i are rows start[i] to start[i + 1] - 1"
    x: scipy.sparse.csr_array[np.float64]
    "(tokens, features) values, each row sorted by column and without repetition"


class FeatureTable:
    """The columns that features have, learned from sequences.

    Parameters
    ----------
    hashing : None keeps every name; a number of bits, 1 to 30, maps a name to one of 2^bits columns by a checksum that
        is the same on every machine. Names are then not kept, and features that fall on one column are added.
    minimum_frequency : features whose values add up to less over all tokens of `fit_transform` get no column. It is
        CRFsuite's `feature.minfreq` for the feature as such; CRFsuite counts a feature together with a label, so
        what is dropped here is a part of what it drops.

    Raises
    ------
    MethodError : an option that is out of range.

    Examples
    --------
    >>> table = FeatureTable()
    >>> tokens = table.fit_transform([[{"word": "New", "capital": True}, {"word": "York", "capital": True}], []])
    >>> table.names
    ['capital', 'word:New', 'word:York']
    >>> tokens.start, tokens.x.toarray()
    (array([0, 2, 2]), array([[1., 1., 0.],
           [1., 0., 1.]]))
    >>> table.transform([[["word:New", "never seen"]]]).x.toarray()
    array([[0., 1., 0.]])
    """

    def __init__(self, *, hashing: int | None = None, minimum_frequency: float = 0.0) -> None:
        if hashing is not None and not (isinstance(hashing, int) and 1 <= hashing <= MOST_BITS):
            raise MethodError(f"hashing={hashing!r} is not a number of bits from 1 to {MOST_BITS}, or None for names.")
        if not 0.0 <= minimum_frequency < np.inf:
            raise MethodError(f"minimum_frequency={minimum_frequency!r} is not a number >= 0.")
        if hashing is not None and minimum_frequency > 0.0:
            raise MethodError("hashing keeps no names, so no feature has a frequency: leave minimum_frequency out.")
        self.hashing = hashing
        self.minimum_frequency = minimum_frequency
        self._columns: dict[str, int] = {}
        self._width: int | None = None

    @property
    def width(self) -> int:
        """Columns of the matrix."""
        if self.hashing is not None and self._width is None:
            return 1 << self.hashing
        return len(self._columns) if self._width is None else self._width

    @property
    def of_arrays(self) -> bool:
        """Whether it was learned from arrays, whose columns have no names."""
        return self._width is not None

    @property
    def names(self) -> list[str]:
        """The name of each column: of arrays x0, x1, ...; of hashed names #0, #1, ..."""
        if self._width is not None or self.hashing is not None:
            letter = "#" if self._width is None else "x"
            return [f"{letter}{column}" for column in range(self.width)]
        return list(self._columns)

    def fit_transform(self, X: Iterable[Any]) -> Tokens:
        """Learn the columns anew, and return the tokens.

        Parameters
        ----------
        X : sequences, each a list of tokens, that are dicts of features or lists of names; or each an array of shape
            (tokens, features), or a scipy.sparse matrix of that shape. A sequence may be empty, and a token may have
            no features.

        Raises
        ------
        EvidenceError : a value that is no feature: names sequence, token and feature.
        """
        return self._learn(list(X), {}, None)

    def extend_transform(self, X: Iterable[Any]) -> Tokens:
        """Give features that are new a column after those that are known, and return the tokens.

        Parameters and errors as in `fit_transform`; `minimum_frequency` counts what is new in these tokens alone.
        """
        return self._learn(list(X), self._columns, self._width)

    def transform(self, X: Iterable[Any]) -> Tokens:
        """Return the tokens; features without a column are left out. Parameters and errors as in `fit_transform`."""
        sequences = list(X)
        if self._of_arrays(sequences, self._columns, self._width):
            return Tokens(*stacked(sequences, self._width))
        lookup = known_columns(self._columns) if self.hashing is None else hashed_columns(self.hashing)
        return Tokens(*mapped(sequences, lookup, lambda: self.width))

    def state(self) -> dict[str, Any]:
        """What makes this table again, of words, numbers and lists alone, as JSON holds them.

        Examples
        --------
        >>> table = FeatureTable()
        >>> _ = table.fit_transform([[["a", "b"]]])
        >>> FeatureTable.from_state(table.state()).names
        ['a', 'b']
        """
        return {
            "hashing": self.hashing,
            "minimum_frequency": self.minimum_frequency,
            "width": self._width,
            "names": list(self._columns),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> FeatureTable:
        """Return the table whose `state` this is.

        Raises
        ------
        EvidenceError : names that are not strings or not all different, or a width that is none.
        MethodError : an option that is out of range.
        """
        table = cls(hashing=state["hashing"], minimum_frequency=state["minimum_frequency"])
        names, width = list(state["names"]), state["width"]
        if not all_text(names):
            raise EvidenceError("the names of a feature table are strings; these are not.")
        table._columns = {name: column for column, name in enumerate(names)}
        if len(table._columns) != len(names):
            raise EvidenceError(f"{len(names) - len(table._columns)} names of the feature table come twice.")
        if width is not None and (not isinstance(width, int) or width < 0 or names):
            raise EvidenceError(f"a feature table of {len(names)} names has no width, and this says {width!r}.")
        table._width = width
        return table

    def _of_arrays(self, sequences: list[Any], columns: dict[str, int], width: int | None) -> bool:
        """Whether these sequences are arrays, as those before them were."""
        arrays = any(map(is_array, sequences))
        if arrays and columns:
            raise EvidenceError("these sequences are arrays of numbers, and those of the fit had features with names.")
        if not arrays and width is not None and any(map(len, sequences)):
            raise EvidenceError("these sequences are lists of tokens, and those of the fit were arrays of numbers.")
        return arrays or width is not None

    def _learn(self, sequences: list[Any], columns: dict[str, int], width: int | None) -> Tokens:
        if self._of_arrays(sequences, columns, width):
            tokens = Tokens(*stacked(sequences, width))
            self._columns, self._width = {}, tokens.x.shape[1]
        elif self.hashing is not None:
            bits = self.hashing
            tokens = Tokens(*mapped(sequences, hashed_columns(bits), lambda: 1 << bits))
            self._columns, self._width = {}, None
        else:
            # Numbers are given in the order in which names are met. Kept apart until all is well.
            growing: defaultdict[str, int] = defaultdict(None, columns)
            growing.default_factory = growing.__len__
            tokens = Tokens(*mapped(sequences, growing_columns(growing), growing.__len__))
            self._columns, self._width = dict(growing), None
            if self.minimum_frequency > 0.0:
                tokens = self._without_rare(tokens, len(columns))
        return tokens

    def _without_rare(self, tokens: Tokens, known: int) -> Tokens:
        """Take the columns of rare features away, but for the first ones, that were known before."""
        frequency = np.bincount(tokens.x.indices, tokens.x.data, minlength=self.width)
        frequent = frequency >= self.minimum_frequency
        frequent[:known] = True
        names = compress(self._columns, frequent.tolist())
        self._columns = {name: column for column, name in enumerate(names)}
        return Tokens(tokens.start, tokens.x[:, np.flatnonzero(frequent)])
