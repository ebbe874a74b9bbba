"""Second-order tags as a chain of states: what a tag depends on is the state of the token before it.

    E(y) = sum of (x_t W)[y_t] + sum of T[y_t-1, y_t] + sum of U[y_t-2, y_t-1, y_t]

A state of a token is (a, b), its tag b and that of the token before, where some weight U[a, b, .] is learned, and
(., b) for all other tags before b and for the first token: these have no weight that tells them apart. So taggings and
sequences of states correspond one to one, and nothing is left out: an unseen triple costs what its pairs cost. That is
the least chain that knows the weights (Ye, Lee, Chieu and Wu, "Conditional random fields with high-order features for
sequence labeling", NIPS 2009), and a chain is answered by one sweep up and one down, in training as well, with the
memory of a first-order tagger of as many tags.

Triples as they stand, Table([y[:-2], y[1:-1], y[2:]]), are answered by a junction tree of width 2, which keeps K^3
numbers for each token; see decision `second_order_tags_are_states.md` for figures.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from factorgraph_ebm.arrays import I64, Bool
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.estimators.segments.kernels import add_transposed
from factorgraph_ebm.estimators.tagging.declaration import Declaration, Sequences, forbidding
from factorgraph_ebm.factors import SparseTable, Table
from factorgraph_ebm.graph import FactorGraph, Parameter, output
from factorgraph_ebm.graph.declaration import Factor
from factorgraph_ebm.graph.parametrisation import Floats, Parametrisation, Values, by_rows, flat_view
from factorgraph_ebm.graph.scope import Scope


class SecondOrder:
    """The graphs of a second-order tagger, one variable `y[token]` over its states.

    Parameters
    ----------
    declaration : of the tagger
    learned : (K, K, K) triples whose weights are learned; pairs of tags that begin one are states of their own

    Attributes
    ----------
    n_tags : states, S
    tag, before : (S,) tag of each state, ascending, and the one before it, -1 in (., b)
    of_pair : (K, K) state of each pair of tags
    of_first : (K,) state of each tag at the first token

    Examples
    --------
    >>> states = SecondOrder(Declaration(2, 1, order=2), np.arange(8).reshape(2, 2, 2) == 3)
    >>> states.tag.tolist(), states.before.tolist(), states.of_pair.tolist()
    ([0, 1, 1], [-1, -1, 0], [[0, 2], [0, 1]])
    """

    def __init__(self, declaration: Declaration, learned: Bool) -> None:
        self.declaration = declaration
        k = declaration.n_tags
        listed = np.any(learned, axis=2)
        tag, before = np.nonzero(np.column_stack([np.ones(k, np.bool_), listed.T]))
        self.tag: I64 = tag
        self.before: I64 = before - 1
        self.n_tags = len(tag)
        self.of_first: I64 = np.flatnonzero(self.before < 0)
        self.of_pair: I64 = np.tile(self.of_first, (k, 1))
        own = np.flatnonzero(self.before >= 0)
        self.of_pair[self.before[own], tag[own]] = own
        self._weights = declaration.parameters()
        self._table = Triples(self, self._weights["transition"], self._weights["second"])

    def encode(self, tags: I64, start: I64) -> I64:
        """The states of tagged tokens, (tokens,). Raises MethodError where a tag is not known."""
        if (tags < 0).any():
            raise MethodError(
                "order=2 learns from sequences in which every tag is known. Write order=1, or leave sequences with "
                "unknown tags out."
            )
        first = start[:-1][np.diff(start) > 0]
        states: I64 = self.of_pair[np.concatenate([tags[:1], tags[:-1]]), tags]
        states[first] = self.of_first[tags[first]]
        return states

    def of_tags(self, marginals: Floats) -> Floats:
        """Probabilities of tags (tokens, K) from those of states (tokens, S)."""
        found: Floats = np.add.reduceat(marginals, self.of_first, axis=1)
        return found

    def graph(self, sequences: Sequences) -> FactorGraph:
        """The graph of these sequences."""
        weight, rules = self._weights, self.declaration.rules
        y = output("y", shape=int(sequences.start[-1]), n_states=self.n_tags)
        left, (first, last) = sequences.pairs(), sequences.ends()
        factors: list[Factor] = [Table([y], energies=States(self, weight["state"], sequences.x, first), name="state")]
        if len(left):
            factors.append(self._table.factor([y[left], y[left + 1]]))
        if self.declaration.boundaries and len(first):
            factors.append(Table([y[first]], energies=weight["start"][self.tag], name="start"))
            factors.append(Table([y[last]], energies=weight["end"][self.tag], name="end"))
        if rules is not None and len(first):
            factors.append(Table([y[first]], energies=forbidding(rules.start[self.tag]), name="scheme of starts"))
            factors.append(Table([y[last]], energies=forbidding(rules.end[self.tag]), name="scheme of ends"))
        if sequences.allowed is not None:
            limited = np.flatnonzero(~sequences.allowed.all(axis=1))
            if len(limited):
                energies = forbidding(sequences.allowed[limited][:, self.tag])
                factors.append(Table([y[limited]], energies=energies, name="allowed"))
        return FactorGraph(factors)


class States(Parametrisation):
    """Energies of the features of tokens, by state (tokens, S); a first token is in no state of two tags."""

    __slots__ = ("shape", "states", "weights", "_x", "_first")

    linear = True

    def __init__(self, states: SecondOrder, weights: Parameter, x: Any, first: I64) -> None:
        self.shape = (int(x.shape[0]), states.n_tags)
        self.states, self.weights, self._x, self._first = states, weights, x, first

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (self.weights,)

    @property
    def key(self) -> Hashable:
        return ("States", self.shape)

    def evaluate(self, values: Values) -> Floats:
        found: Floats = (self._x @ values[self.weights.name])[:, self.states.tag]
        found[np.ix_(self._first, np.flatnonzero(self.states.before >= 0))] = np.inf
        return found

    def numbers(self, values: Values, rows: slice, out: Floats) -> None:
        out[...] = by_rows(self.evaluate(values), out.shape[1])[rows]

    def pullback(self, values: Values, rows: slice, gradient: Floats, into: Mapping[str, Floats]) -> None:
        if self.weights.name not in into:
            return
        whole = np.zeros(self.shape)
        by_rows(whole, gradient.shape[1])[rows] = gradient
        slopes = np.ascontiguousarray(self.states.of_tags(whole)).reshape(-1)
        start, column = self._x.indptr.astype(np.int64), self._x.indices.astype(np.int64)
        width = np.uint64(self.weights.shape[1])
        add_transposed(start, column, self._x.data, slopes, width, flat_view(into[self.weights.name]))


ROW, LARGEST = 16, 1 << 17
"entries of a table that take as long as a row of a list, and those of the largest table that stays in cache"


class Triples(Parametrisation):
    """Energies of the pairs of neighbouring states that are allowed: T[b, c] + U[a, b, c] from (a, b) to that of c.

    They are a list of pairs of states, or a table (S, S) where that is faster.
    """

    __slots__ = ("shape", "rows", "pair", "triple", "_pair_cell", "_triple_cell", "_place", "_kept")

    linear = True

    def __init__(self, states: SecondOrder, pair: Parameter, triple: Parameter) -> None:
        k = states.declaration.n_tags
        self.pair, self.triple = pair, triple
        tag, before, after = states.tag[:, None], states.before[:, None], np.arange(k)
        rules = states.declaration.rules
        allowed = np.ones((states.n_tags, k), np.bool_) if rules is None else rules.pair[states.tag]
        self.rows: I64 = np.column_stack([np.nonzero(allowed)[0], states.of_pair[states.tag][allowed]])
        entries = states.n_tags**2
        dense = entries <= min(ROW * len(self.rows), LARGEST)
        self.shape = (states.n_tags, states.n_tags) if dense else (len(self.rows),)
        self._place = self.rows @ np.array([states.n_tags, 1]) if dense else None
        self._kept: SparseTable | None = None
        self._pair_cell: I64 = (tag * k + after)[allowed]
        self._triple_cell: I64 = np.where(before >= 0, (before * k + tag) * k + after, triple.size)[allowed]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (self.pair, self.triple)

    @property
    def key(self) -> Hashable:
        return ("Triples", self.shape)

    def evaluate(self, values: Values) -> Floats:
        triple = np.append(values[self.triple.name].ravel(), 0.0)
        energies: Floats = values[self.pair.name].ravel()[self._pair_cell] + triple[self._triple_cell]
        if self._place is None:
            return energies
        found = np.full(self.shape, np.inf)
        found.reshape(-1)[self._place] = energies
        return found

    def factor(self, scope: list[Any]) -> Factor:
        """The factors of these pairs of variables."""
        if self._place is not None:
            return Table(scope, energies=self, name="transition")
        if self._kept is None:
            self._kept = SparseTable(scope, self.rows, energies=self, name="transition")
        # To check a long list takes longer than to answer a short sequence.
        found = copy.copy(self._kept)
        found.scope = Scope(scope)
        return found

    def numbers(self, values: Values, rows: slice, out: Floats) -> None:
        out[...] = by_rows(self.evaluate(values), out.shape[1])[rows]

    def pullback(self, values: Values, rows: slice, gradient: Floats, into: Mapping[str, Floats]) -> None:
        whole = np.zeros(self.shape)
        by_rows(whole, gradient.shape[1])[rows] = gradient
        slope = whole if self._place is None else whole.reshape(-1)[self._place]
        for parameter, cell in ((self.pair, self._pair_cell), (self.triple, self._triple_cell)):
            if parameter.name in into:
                target = flat_view(into[parameter.name])
                target += np.bincount(cell, slope, parameter.size + 1)[: parameter.size]
