"""Features of tokens as one sparse matrix (to be replaced by the one of the formats)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from factorgraph_ebm.arrays import I64


class Tokens(NamedTuple):
    """The tokens of some sequences, end to end."""

    start: I64
    "(sequences + 1,) first token of each"
    x: Any
    "(tokens, features) CSR"


class FeatureTable:
    """Numbers of features by name."""

    def __init__(self, hashing: int | None = None) -> None:
        self.hashing = hashing
        self.names: list[str] = []
        self._number: dict[str, int] = {}

    def fit_transform(self, sequences: Sequence[Any]) -> Tokens:
        self.names, self._number = [], {}
        return self._read(sequences, grow=True)

    def transform(self, sequences: Sequence[Any]) -> Tokens:
        return self._read(sequences, grow=False)

    def _read(self, sequences: Sequence[Any], grow: bool) -> Tokens:
        start, pointer, columns, values = [0], [0], [], []
        number = self._number
        for sequence in sequences:
            for token in sequence:
                for name, value in _features(token):
                    column = number.setdefault(name, len(number)) if grow else number.get(name, -1)
                    if column >= 0:
                        columns.append(column)
                        values.append(value)
                pointer.append(len(columns))
            start.append(len(pointer) - 1)
        self.names = list(number)
        shape = (len(pointer) - 1, len(number))
        x = scipy.sparse.csr_array((np.array(values, float), np.array(columns, np.int64), np.array(pointer)), shape)
        x.sum_duplicates()
        return Tokens(np.array(start, np.int64), x)


def _features(token: Any) -> Iterator[tuple[str, float]]:
    if not isinstance(token, Mapping):
        for name in token:
            yield name, 1.0
        return
    for name, value in token.items():
        if isinstance(value, str):
            yield f"{name}:{value}", 1.0
        elif isinstance(value, Mapping):
            for inner, weight in _features(value):
                yield f"{name}:{inner}", weight
        elif isinstance(value, (list, tuple, set)):
            for inner, weight in _features(value):
                yield f"{name}:{inner}", weight
        else:
            yield name, float(value)
