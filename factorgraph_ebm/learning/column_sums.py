"""X' G for a sparse X: slopes of the weights of features from the slopes of what they were multiplied into.

A feature that few rows have is one sum over rows of G that lie anywhere. Those that many rows have make up most of the
nonzeros where frequencies follow Zipf's law, and each of them would stream all of G through the cache: they are summed
block of rows by block of rows instead, as many rows as the cache holds. Ranges of blocks have sums of their own, which
are added in order: neither depends on threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.graph.sparse_rows import SparseRows, sparse_rows

BLOCK = 1 << 19
"bytes of rows of G in one block"
OFTEN = 6
"nonzeros in a block, on average, from which on a feature is summed block by block"
RANGES = 8
"ranges of blocks with sums of their own, at most"

Share = Callable[[list[tuple[int, int]], Callable[[int, int], None]], None]
"(ranges of rows, what to do with each): does it, on one thread or several"


class ColumnSums(NamedTuple):
    """Sums over the rows of a sparse matrix (n, m), column by column: rows of G (m, width).

    Examples
    --------
    >>> import scipy.sparse
    >>> sums = column_sums(scipy.sparse.csr_array([[1.0, 0.0], [2.0, 3.0]]), at=np.array([0, 2]), width=2)
    >>> out = np.zeros(4)
    >>> sums.add(np.array([1.0, 10.0, 100.0, 1000.0]), out, lambda shares, work: [work(*share) for share in shares])
    >>> out.tolist()
    [201.0, 2010.0, 300.0, 3000.0]
    """

    rare: SparseRows
    rare_shares: list[tuple[int, int]]
    often: SparseRows
    "a row for each block and frequent column; writes one sum for each range and column"
    often_shares: list[tuple[int, int]]
    columns: I64
    "(k,) which columns are frequent"

    def add(self, right: F64, out: F64, share: Share) -> None:
        """Add X' G to `out` (m * width,); `right` has the rows of G, where `at` said."""
        share(self.rare_shares, lambda low, high: self.rare.add(right, out, low, high))
        if not len(self.columns):
            return
        width = self.often.width
        found = np.zeros((len(self.often_shares), len(self.columns), width))
        share(self.often_shares, lambda low, high: self.often.add(right, found.reshape(-1), low, high))
        out.reshape(-1, width)[self.columns] += found.sum(axis=0)


def column_sums(matrix: Any, at: I64, width: int, work: int = 1 << 15) -> ColumnSums:
    """The sums of a CSR matrix (n, m); row i of G begins at element at[i], ascending; `work`: nonzeros of a share."""
    n, m = matrix.shape
    rows = max(1, BLOCK // max(1, 8 * width))  # without columns a row of G may have no numbers
    blocks = -(-n // rows)
    if blocks <= 1:
        few = sparse_rows(matrix.T, np.arange(m) * width, at, width)
        none = np.zeros(0, np.int64)
        return ColumnSums(few, few.shares(work), few, [], none)
    columns = matrix.tocsc()  # rows ascend within each column
    count = np.diff(columns.indptr).astype(np.int64)
    frequent = count >= OFTEN * blocks
    place, value = at.astype(np.uint32)[columns.indices], columns.data.astype(np.float64, copy=False)
    numbers = np.flatnonzero(frequent)
    rare = np.flatnonzero(~frequent)
    there = np.repeat(frequent, count)
    few = SparseRows(_ends(count[rare]), place[~there], value[~there], rare * width, width)
    # Block by block, column by column: both lie in order already, but the other way round.
    block = (columns.indices[there] // rows).astype(np.uint16 if blocks < 1 << 16 else np.int64)
    order = np.argsort(block, kind="stable")
    key = np.repeat(np.arange(len(numbers)) * blocks, count[numbers]) + block
    size = np.bincount(key, minlength=len(numbers) * blocks).reshape(len(numbers), blocks).T
    each = -(-blocks // RANGES)
    owner = (np.arange(blocks) // each)[:, None] * len(numbers) + np.arange(len(numbers))
    often = SparseRows(
        _ends(size.ravel()), place[there][order], value[there][order], owner.ravel() * width, width
    )
    bounds = [min(low, blocks) * len(numbers) for low in range(0, blocks + each, each)]
    return ColumnSums(few, few.shares(work), often, list(zip(bounds[:-1], bounds[1:])), numbers)


def _ends(sizes: I64) -> I64:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
