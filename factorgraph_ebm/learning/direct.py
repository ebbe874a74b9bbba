"""Products of sparse features with the rows of a parameter that go straight into the unary energies.

    unary += X W        gradient of W += X' (gradient of unary)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Values
from factorgraph_ebm.graph.parameters import Parameter
from factorgraph_ebm.graph.sparse_rows import SparseRows, sparse_rows
from factorgraph_ebm.inference.passing import processors
from factorgraph_ebm.inference.threads import share_out
from factorgraph_ebm.learning.column_sums import ColumnSums, column_sums
from factorgraph_ebm.learning.layout import Gradient
from factorgraph_ebm.learning.layout import Values as ParameterValues

SHARE = 1 << 15
"nonzeros of a product that a thread takes at once: about 300 us of work"


class Direct:
    """A product of sparse features with the rows of a parameter, each row the unary energies of one variable.

    A few samples use a few rows of the parameter: only these are read, and only their slopes are made.
    """

    def __init__(self, matrix: Any, weights: Parameter, at: I64) -> None:
        self.weights, self.at = weights, at
        "`at`: element of the unary energies where each row begins"
        self._at = at
        "the same for the rows of `matrix`"
        if matrix.nnz >= SHARE:
            # Rows go where they lie one after another: what is written then streams by.
            order = np.argsort(at, kind="stable")
            matrix, self._at = matrix[order].tocsr(), at[order]
        self._width = weights.size // max(1, int(matrix.shape[1]))
        self._used: I64 | None = None
        "flat numbers, distinct, of the entries of the parameter that are read; None: all"
        if 2 * matrix.nnz < matrix.shape[1]:
            columns, number = np.unique(matrix.indices, return_inverse=True)
            cells = weights.cells.reshape(-1, self._width)[columns].reshape(-1).astype(np.int64)
            if weights.is_declared or len(np.unique(cells)) == len(cells):  # not where rows are tied to each other
                self._used = cells
                matrix = type(matrix)((matrix.data, number, matrix.indptr), shape=(len(at), len(columns)))
        self.matrix = matrix
        self._places = np.arange(matrix.shape[1]) * self._width

    @property
    def _is_whole(self) -> bool:
        """Whether all of the parameter is read, as it is declared."""
        return self._used is None and self.weights.is_declared

    @property
    def nbytes(self) -> int:
        """About what it takes: the matrix, and its rows and columns as they are multiplied."""
        return 40 * int(self.matrix.nnz)

    @functools.cached_property
    def _rows(self) -> SparseRows:
        return sparse_rows(self.matrix, self._at, self._places, self._width)

    @functools.cached_property
    def _columns(self) -> ColumnSums:
        return column_sums(self.matrix, self._at, self._width, SHARE)

    @functools.cached_property
    def _row_shares(self) -> list[tuple[int, int]]:
        return self._rows.shares(SHARE)

    def bind(self, values: Values, unary: F64, threads: int | None) -> None:
        """Add the product to the unary energies."""
        name = self.weights.name
        if self._is_whole and isinstance(values, ParameterValues) and values.is_scattered(name):
            weights = values.fill(name)
            self._add(weights, unary, threads)
            values.free(name, weights)
        elif self._used is None:
            self._add(self.weights.evaluate(values).reshape(-1), unary, threads)
        elif isinstance(values, ParameterValues):
            self._add(values.pick(name, self._used), unary, threads)
        else:
            self._add(values[name].reshape(-1)[self._used], unary, threads)

    def _add(self, weights: F64, unary: F64, threads: int | None) -> None:
        _in_shares(self._row_shares, lambda low, high: self._rows.add(weights, unary, low, high), threads)

    def pull(self, values: Values, unary: F64, into: Mapping[str, F64], threads: int | None) -> None:
        """Add the gradient with respect to the weights, from that with respect to the unary energies."""

        def add(out: F64) -> None:
            self._columns.add(unary, out, lambda shares, work: _in_shares(shares, work, threads))

        self._pull(values, into, add)

    def pull_squares(self, values: Values, unary: F64, into: Mapping[str, F64]) -> None:
        """The same with every feature squared, of numbers that are equal in all states of a variable."""

        def add(out: F64) -> None:
            row = np.repeat(self._at, np.diff(self.matrix.indptr))
            found = np.bincount(self.matrix.indices, self.matrix.data**2 * unary[row], len(self._places))
            out += np.repeat(found, self._width)

        self._pull(values, into, add)

    def _pull(self, values: Values, into: Mapping[str, F64], add: Callable[[F64], None]) -> None:
        """Let `add` add to the slopes of the weights that are read, in place where they lie as they should."""
        name = self.weights.name
        if name not in into:
            return
        if self._is_whole and isinstance(into, Gradient) and into.is_scattered(name):
            into.add_all(name, add)
            return
        whole = self._is_whole and into[name].flags.c_contiguous
        out = into[name].reshape(-1) if whole else np.zeros(len(self._places) * self._width)
        add(out)
        if self._used is not None and isinstance(into, Gradient):
            into.add(name, self._used, out)
        elif self._used is not None:
            into[name].reshape(-1)[self._used] += out
        elif not whole:
            self.weights.pullback(values, slice(0, 1), out.reshape(1, -1), into)


def _in_shares(
    shares: Sequence[tuple[int, int]], work: Callable[[int, int], None], threads: int | None
) -> None:
    """Call work(low, high) for ranges of rows, on one thread or several."""
    most = processors() if threads is None else threads
    share_out(lambda number: work(*shares[number]), len(shares), most)
