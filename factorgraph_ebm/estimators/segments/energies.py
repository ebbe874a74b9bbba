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
from factorgraph_ebm.estimators.segments.kernels import add_transposed, collect_slopes, spread_energies
from factorgraph_ebm.estimators.segments.states import SegmentStates
from factorgraph_ebm.graph import Parameter
from factorgraph_ebm.graph.parametrisation import Floats, Parametrisation, Values, by_rows, flat_view

PARTS = 3
"of the weights of a feature of tokens: in any token, in the first and in the last one of a segment"


class SegmentEnergies(Parametrisation):
    """Unary energies of the states of tokens, (tokens, S): what a segment costs stands where it begins.

    Parameters
    ----------
    states : of the tokens
    parameters : by name: token (features, 1 or PARTS, K), length (sum of all lengths,), and segment (features of
        segments, K) where there is one
    start : (n + 1,) first token of each sequence
    x : (tokens, features) CSR
    z : (tokens, longest segment * features of segments) CSR: in row s, one length after another, what is said of the
        segments that begin at s; None: nothing
    """

    __slots__ = ("shape", "states", "weights", "_to_end", "_x", "_z")

    linear = True

    def __init__(
        self, states: SegmentStates, parameters: Mapping[str, Parameter], start: I64, x: Any, z: Any = None
    ) -> None:
        self.states = states
        self.weights = parameters
        self.shape = (int(start[-1]), states.n_states)
        tokens = np.diff(start)
        self._to_end: I64 = np.repeat(start[1:], tokens) - np.arange(self.shape[0])
        self._to_end[start[:-1][tokens > 0]] *= -1
        self._x = x
        self._z = None
        if z is not None and "segment" in parameters:
            self._z = _by_segment(z, states.longest, parameters["segment"].shape[0])

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(self.weights.values())

    @property
    def key(self) -> Hashable:
        return ("SegmentEnergies", self.shape, tuple(self.weights))

    @property
    def _sizes(self) -> tuple[np.uint64, np.uint64, np.uint64]:
        sizes = self.weights["token"].shape[1], self.states.longest, self.states.n_states
        return np.uint64(sizes[0]), np.uint64(sizes[1]), np.uint64(sizes[2])

    @property
    def _width(self) -> int:
        """Scores of a token."""
        return self.weights["token"].shape[1] * self.states.n_labels

    def evaluate(self, values: Values) -> Floats:
        states = self.states
        score = self._x @ by_rows(values["token"], self._width)
        of_segment = np.zeros(0) if self._z is None else (self._z @ values["segment"]).ravel()
        out = np.empty(self.shape)
        spread_energies(
            score.ravel(), of_segment, values["length"], states.lengths, states.begin_at, states.inside_at,
            self._to_end, *self._sizes, out.reshape(-1),
        )  # fmt: skip
        return out

    def numbers(self, values: Values, rows: slice, out: Floats) -> None:
        out[...] = by_rows(self.evaluate(values), out.shape[1])[rows]

    def pullback(self, values: Values, rows: slice, gradient: Floats, into: Mapping[str, Floats]) -> None:
        states, n = self.states, self.shape[0]
        whole = gradient
        if gradient.shape != self.shape or not gradient.flags.c_contiguous:
            whole = np.zeros(self.shape)
            by_rows(whole, gradient.shape[1])[rows] = gradient
        score = np.zeros(n * self._width)
        of_segment = np.zeros(0 if self._z is None else n * states.longest * states.n_labels)
        length = np.zeros(states.n_begins)
        collect_slopes(
            whole.reshape(-1), states.lengths, states.begin_at, self._to_end, *self._sizes, score, of_segment, length
        )
        if "token" in into:
            _add_transposed(self._x, score, self._width, flat_view(into["token"]))
        if self._z is not None and "segment" in into:
            _add_transposed(self._z, of_segment, states.n_labels, flat_view(into["segment"]))
        if "length" in into:
            target = into["length"]
            target += length


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


def _add_transposed(x: Any, slope: Floats, width: int, out: Floats) -> None:
    start, column = x.indptr.astype(np.int64), x.indices.astype(np.int64)
    add_transposed(start, column, x.data, slope, np.uint64(width), out)


def _by_segment(z: Any, longest: int, features: int) -> Any:
    """(tokens * longest, features): a row for each segment."""
    row = np.repeat(np.arange(z.shape[0]), np.diff(z.indptr)) * longest + z.indices // max(1, features)
    count = np.bincount(row, minlength=z.shape[0] * longest)
    indptr = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    order = np.argsort(row, kind="stable")
    indices = (z.indices % max(1, features))[order]
    return type(z)((z.data[order], indices, indptr), shape=(z.shape[0] * longest, features))
