"""What segments and their neighbours cost, as numbers that the graph of a segment tagger reads.

Of a segment of label k over the tokens s to t - 1, d = t - s of them,

    E(s, t, k) = sum over its tokens i of (x_i W)[k] + (x_s F)[k] + (x_(t-1) G)[k] + (z_(s,t) H)[k] + B[k, d]

with features x of tokens and z of segments; segments that follow each other pay T[k, k'].
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from factorgraph_ebm.arrays import I64
from factorgraph_ebm.estimators.segment_states import SegmentStates
from factorgraph_ebm.graph import Parameter
from factorgraph_ebm.graph.parametrisation import Floats, Parametrisation, Values, by_rows, flat_view

OF_TOKENS = ("token", "first", "last")
"parameters (features, K) of the features of tokens"


class SegmentEnergies(Parametrisation):
    """Unary energies of the states of tokens, (tokens, S): what a segment costs stands where it begins.

    Parameters
    ----------
    states : of the tokens
    parameters : by name: length (sum of all lengths,), token (features, K), and those of first, last (features, K) and
        segment (features of segments, K) that there are
    start : (n + 1,) first token of each sequence
    x : (tokens, features) CSR
    z : (tokens, longest segment * features of segments) CSR: in row s, one length after another, what is said of the
        segments that begin at s; None: nothing
    """

    __slots__ = ("shape", "states", "weights", "forbidden", "_x", "_z", "_columns", "_z_columns")

    linear = True

    def __init__(
        self, states: SegmentStates, parameters: Mapping[str, Parameter], start: I64, x: Any, z: Any = None
    ) -> None:
        self.states = states
        self.weights = parameters
        self.shape = (int(start[-1]), states.n_states)
        self.forbidden = states.forbidden(start)
        self._x, self._columns = _used(x)
        self._z, self._z_columns = None, np.zeros(0, np.int64)
        if z is not None and "segment" in parameters:
            self._z, self._z_columns = _used(_by_segment(z, states.longest, parameters["segment"].shape[0]))

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(self.weights.values())

    @property
    def key(self) -> Hashable:
        return ("SegmentEnergies", self.shape, tuple(self.weights))

    def evaluate(self, values: Values) -> Floats:
        states, k = self.states, self.states.n_labels
        n = self.shape[0]
        out = np.zeros(self.shape)
        names = [name for name in OF_TOKENS if name in self.weights]
        product = self._x @ np.concatenate([values[name][self._columns] for name in names], axis=1)
        of_token = dict(zip(names, np.split(product, len(names), axis=1)))
        nothing = np.zeros((n, k))
        token, first, last = (of_token.get(name, nothing) for name in OF_TOKENS)
        inside = np.zeros((n, k))
        of_segment = None
        if self._z is not None:
            of_segment = (self._z @ values["segment"][self._z_columns]).reshape(n, states.longest, k)
        length = values["length"]
        for d in range(1, states.longest + 1):
            reach = max(0, n - d + 1)
            inside[:reach] += token[d - 1 :]
            total = inside + first
            total[:reach] += last[d - 1 :]
            if of_segment is not None:
                total += of_segment[:, d - 1]
            labels = np.flatnonzero(states.lengths >= d)
            begins = states.begin_at[labels] + d - 1
            out[:, begins] = total[:, labels] + length[begins]
        out[self.forbidden] = np.inf
        return out

    def numbers(self, values: Values, rows: slice, out: Floats) -> None:
        out[...] = by_rows(self.evaluate(values), out.shape[1])[rows]

    def pullback(self, values: Values, rows: slice, gradient: Floats, into: Mapping[str, Floats]) -> None:
        states, k, n = self.states, self.states.n_labels, self.shape[0]
        whole = np.zeros(self.shape)
        by_rows(whole, gradient.shape[1])[rows] = gradient
        token, first, last = np.zeros((n, k)), np.zeros((n, k)), np.zeros((n, k))
        longer = np.zeros((n, k))
        of_segment = np.zeros((n, states.longest, k)) if self._z is not None else None
        for d in range(states.longest, 0, -1):
            reach = max(0, n - d + 1)
            labels = np.flatnonzero(states.lengths >= d)
            slope = np.zeros((n, k))
            slope[:, labels] = whole[:, states.begin_at[labels] + d - 1]
            # What reaches beyond the end is forbidden: its slopes are 0.
            longer += slope
            token[d - 1 :] += longer[:reach]
            first += slope
            last[d - 1 :] += slope[:reach]
            if of_segment is not None:
                of_segment[:, d - 1] = slope
        slopes = dict(zip(OF_TOKENS, (token, first, last)))
        names = [name for name in OF_TOKENS if name in self.weights and name in into]
        if names:
            found = self._x.T @ np.concatenate([slopes[name] for name in names], axis=1)
            for name, part in zip(names, np.split(found, len(names), axis=1)):
                target = into[name]
                target[self._columns] += part
        if of_segment is not None and "segment" in into:
            assert self._z is not None
            target = into["segment"]
            target[self._z_columns] += self._z.T @ of_segment.reshape(-1, k)
        if "length" in into:
            target = into["length"]
            target += whole[:, : states.n_begins].sum(axis=0)


class SegmentTransitions(Parametrisation):
    """The table (S, S) of neighbouring states: T[k, k'] where a segment of k ends and one of k' begins."""

    __slots__ = ("shape", "transition", "_cell")

    linear = True

    def __init__(self, states: SegmentStates, transition: Parameter) -> None:
        self.shape = states.cell.shape
        self.transition = transition
        size = transition.size
        place = {states.CONTINUES: size, states.FORBIDDEN: size + 1}
        self._cell: I64 = states.cell.ravel().copy()
        for told, at in place.items():
            self._cell[self._cell == told] = at

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (self.transition,)

    @property
    def key(self) -> Hashable:
        return ("SegmentTransitions", self.shape)

    def evaluate(self, values: Values) -> Floats:
        known = np.concatenate([values[self.transition.name].ravel(), [0.0, np.inf]])
        return known[self._cell].reshape(self.shape)

    def numbers(self, values: Values, rows: slice, out: Floats) -> None:
        out[...] = by_rows(self.evaluate(values), out.shape[1])[rows]

    def pullback(self, values: Values, rows: slice, gradient: Floats, into: Mapping[str, Floats]) -> None:
        name, size = self.transition.name, self.transition.size
        if name not in into:
            return
        cell = by_rows(self._cell, gradient.shape[1])[rows].ravel()
        learned = cell < size
        total = np.bincount(cell[learned], gradient.ravel()[learned], size)
        flat_view(into[name])[...] += total


def _used(x: Any) -> tuple[Any, I64]:
    """The matrix with the columns that it has alone, and which these are: a few sequences have few features."""
    columns, number = np.unique(x.indices, return_inverse=True)
    return type(x)((x.data, number, x.indptr), shape=(x.shape[0], len(columns))), columns.astype(np.int64)


def _by_segment(z: Any, longest: int, features: int) -> Any:
    """(tokens * longest, features): a row for each segment."""
    row = np.repeat(np.arange(z.shape[0]), np.diff(z.indptr)) * longest + z.indices // max(1, features)
    count = np.bincount(row, minlength=z.shape[0] * longest)
    indptr = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    order = np.argsort(row, kind="stable")
    indices = (z.indices % max(1, features))[order]
    return type(z)((z.data[order], indices, indptr), shape=(z.shape[0] * longest, features))
