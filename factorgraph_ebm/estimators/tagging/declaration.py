"""The graph of a tagger: one declaration for all tokens of many sequences, built from flat arrays.

    E(y) = sum over tokens t of (x_t W)[y_t] + sum over neighbours of T[y_t, y_t+1]
         + sum over first tokens of S[y] + sum over last tokens of E[y]

(Lafferty, McCallum and Pereira, "Conditional random fields", ICML 2001). A graph holds a block of sequences side by
side: its components are the sequences, and its arrays those of the data, so that nothing is made sequence by sequence.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Bool
from factorgraph_ebm.factors import Table
from factorgraph_ebm.graph import FactorGraph, Linear, Parameter, output
from factorgraph_ebm.graph.assignment import Given
from factorgraph_ebm.learning.data import Data

BLOCK = 2048
"tokens of one graph, about: two make a chunk that a thread takes at once"


class Sequences(NamedTuple):
    """Sequences end to end."""

    start: I64
    "(n + 1,) first token of each"
    x: Any
    "(tokens, features) CSR: what is said of the tag of a token"
    pair_x: Any = None
    "(tokens, pair features) CSR: what is said of a tag and the one before it; None: nothing"
    allowed: Bool | None = None
    "(tokens, K) tags that a token may have; None: any"

    @property
    def n(self) -> int:
        return len(self.start) - 1

    def some(self, low: int, high: int) -> Sequences:
        """Sequences low to high."""
        first, last = int(self.start[low]), int(self.start[high])
        return Sequences(
            self.start[low : high + 1] - first,
            _rows(self.x, first, last),
            None if self.pair_x is None else _rows(self.pair_x, first, last),
            None if self.allowed is None else self.allowed[first:last],
        )

    def ends(self) -> tuple[I64, I64]:
        """First and last token of each sequence that has any."""
        full = np.diff(self.start) > 0
        return self.start[:-1][full], self.start[1:][full] - 1

    def pairs(self) -> I64:
        """Tokens that another one of their sequence follows."""
        inside = np.ones(int(self.start[-1]), bool)
        inside[self.ends()[1]] = False
        return np.flatnonzero(inside)


def _rows(x: Any, first: int, last: int) -> Any:
    """Rows of a CSR matrix, whose nonzeros stay where they are."""
    low, high = int(x.indptr[first]), int(x.indptr[last])
    found = type(x)((last - first, x.shape[1]), dtype=x.dtype)
    found.data, found.indices, found.indptr = x.data[low:high], x.indices[low:high], x.indptr[first : last + 1] - low
    return found


class Rules(NamedTuple):
    """Which tags a tagging scheme allows to begin, to follow each other and to end."""

    start: Bool
    "(K,)"
    pair: Bool
    "(K, K) [tag, next tag]"
    end: Bool
    "(K,)"


class Declared(Protocol):
    """What training and asking know of the graphs of a tagger: one variable `y[token]`, with so many states."""

    @property
    def n_tags(self) -> int: ...

    def graph(self, sequences: Sequences) -> FactorGraph:
        """The graph of these sequences."""


class Declaration(NamedTuple):
    """What the graphs of one tagger have in common."""

    n_tags: int
    n_features: int
    n_pair_features: int = 0
    boundaries: bool = False
    "first and last tokens have terms of their own"
    rules: Rules | None = None
    order: int = 1
    "2: weights of three tags as well, in the graphs of `second_order`"

    def parameters(self) -> dict[str, Parameter]:
        """By name: state (F, K), transition (K, K), and those of the terms that are there; second (K, K, K) last."""
        k = self.n_tags
        shapes: dict[str, tuple[int, ...]] = {"state": (self.n_features, k), "transition": (k, k)}
        if self.n_pair_features:
            shapes["pair"] = (self.n_pair_features, k, k)
        if self.boundaries:
            shapes |= {"start": (k,), "end": (k,)}
        if self.order == 2:
            shapes["second"] = (k, k, k)
        return {name: Parameter(name, shape=shape) for name, shape in shapes.items()}

    def graph(self, sequences: Sequences) -> FactorGraph:
        """The graph of these sequences, one variable `y[token]`."""
        weight = self.parameters()
        y = output("y", shape=int(sequences.start[-1]), n_states=self.n_tags)
        factors = [Table([y], energies=Linear(sequences.x, weight["state"]), name="state")]
        left, (first, last) = sequences.pairs(), sequences.ends()
        if len(left):
            pair = [y[left], y[left + 1]]
            factors.append(Table(pair, energies=weight["transition"], name="transition"))
            if self.n_pair_features:
                factors.append(Table(pair, energies=Linear(sequences.pair_x[left + 1], weight["pair"]), name="pair"))
            if self.rules is not None and not self.rules.pair.all():
                factors.append(Table(pair, energies=forbidding(self.rules.pair), name="scheme"))
        if self.boundaries and len(first):
            factors.append(Table([y[first]], energies=weight["start"], name="start"))
            factors.append(Table([y[last]], energies=weight["end"], name="end"))
        if self.rules is not None and len(first):
            factors.append(Table([y[first]], energies=forbidding(self.rules.start), name="scheme of starts"))
            factors.append(Table([y[last]], energies=forbidding(self.rules.end), name="scheme of ends"))
        if sequences.allowed is not None:
            limited = np.flatnonzero(~sequences.allowed.all(axis=1))
            if len(limited):
                energies = forbidding(sequences.allowed[limited])
                factors.append(Table([y[limited]], energies=energies, name="allowed"))
        return FactorGraph(factors)


def forbidding(allowed: Bool) -> F64:
    """0 where allowed, +inf elsewhere."""
    return np.where(allowed, 0.0, np.inf)


def blocks(sequences: Sequences, size: int = BLOCK) -> list[tuple[int, int]]:
    """Ranges of sequences of about `size` tokens each, none of them without a token."""
    found, low = [], 0
    bounds = sequences.start.tolist()
    for i in range(sequences.n):
        if bounds[i + 1] - bounds[low] >= size:
            found.append((low, i + 1))
            low = i + 1
    if bounds[-1] > bounds[low]:
        found.append((low, sequences.n))
    return found


def singles(sequences: Sequences) -> list[tuple[int, int]]:
    """Each sequence that has tokens by itself."""
    return [(i, i + 1) for i in np.flatnonzero(np.diff(sequences.start)).tolist()]


def samples_of(
    declaration: Declared, sequences: Sequences, tags: I64 | None, ranges: list[tuple[int, int]]
) -> Data:
    """One sample for each range of sequences, read as a model reads it.

    Parameters
    ----------
    tags : (tokens,) right tags, -1 where not known; None: none is
    """
    data = Data([], [], [])
    for part, low, high in _parts(sequences, ranges):
        n = high - low
        data.graphs.append(declaration.graph(part))
        nothing = np.zeros(n, np.bool_)
        data.given.append(Given(nothing, np.zeros(n, np.int64), {}))
        right = np.full(n, -1) if tags is None else tags[low:high]
        data.targets.append(Given(right >= 0, np.maximum(right, 0), {}))
    return data


def _parts(sequences: Sequences, ranges: list[tuple[int, int]]) -> Iterator[tuple[Sequences, int, int]]:
    for low, high in ranges:
        yield sequences.some(low, high), int(sequences.start[low]), int(sequences.start[high])
