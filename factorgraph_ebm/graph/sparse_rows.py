"""Products of a sparse matrix with rows of numbers that lie anywhere, row by row.

    out[at_r + j] += sum over the nonzeros (r, c) of value_rc * right[place_c + j],      j < width

That is X W where `right` is W, and X' G where it is G and the matrix is the transpose: then each row of W is written by
one loop, which reads rows of G, so ranges of rows may be given to threads without changing a bit.

The sums of up to 32 columns stay in registers while the nonzeros of a row go by (`vector_sums`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from factorgraph_ebm._jit import F8, NOTHING, READ_F8, READ_I8, READ_U4, SIZE, kernel
from factorgraph_ebm.graph.vector_sums import LANES, summing_nonzeros

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

U8 = np.uint64
FURTHEST = 1 << 32
"elements of `right` at most: places of nonzeros are kept in 32 bits"

_add_1, _add_2, _add_3, _add_4, _add_5, _add_8 = (summing_nonzeros(vectors) for vectors in "123458")


@kernel(NOTHING, READ_I8, READ_U4, READ_F8, READ_F8, READ_I8, SIZE, F8, SIZE, SIZE)
def add_products(start, place, value, right, at, width, out, low, high):  # type: ignore[no-untyped-def]
    vectors, end = width // U8(LANES), U8(len(place))
    for n in range(low, high):
        o = U8(at[n])
        first, stop = U8(start[n]), U8(start[n + U8(1)])
        done = U8(0)
        while done < vectors:
            left = vectors - done
            r = U8(LANES) * done
            if left >= U8(8):
                _add_8(value, place, right, r, out, o + r, first, stop, end)
                done += U8(8)
            elif left >= U8(5):
                _add_5(value, place, right, r, out, o + r, first, stop, end)
                done += U8(5)
            elif left == U8(4):
                _add_4(value, place, right, r, out, o + r, first, stop, end)
                done += U8(4)
            elif left == U8(3):
                _add_3(value, place, right, r, out, o + r, first, stop, end)
                done += U8(3)
            elif left == U8(2):
                _add_2(value, place, right, r, out, o + r, first, stop, end)
                done += U8(2)
            else:
                _add_1(value, place, right, r, out, o + r, first, stop, end)
                done += U8(1)
        for j in range(U8(LANES) * vectors, width):
            total = out[o + j]
            for i in range(first, stop):
                total += value[i] * right[U8(place[i]) + j]
            out[o + j] = total


class SparseRows(NamedTuple):
    """A sparse matrix (n, m) with places for its rows in what is written, and for its columns in what is read.

    Examples
    --------
    >>> import scipy.sparse
    >>> rows = sparse_rows(scipy.sparse.csr_array([[1.0, 0.0], [2.0, 3.0]]), at=[0, 2], place=[0, 2], width=2)
    >>> out = np.zeros(4)
    >>> rows.add(np.array([1.0, 10.0, 100.0, 1000.0]), out)
    >>> out.tolist()
    [1.0, 10.0, 302.0, 3020.0]
    """

    start: Ints
    "(n + 1,) first nonzero of each row"
    place: npt.NDArray[np.uint32]
    "(nonzeros,) element of `right` where the row of its column begins"
    value: Floats
    at: Ints
    "(n,) element of `out` where each row begins"
    width: int

    def add(self, right: Floats, out: Floats, low: int = 0, high: int | None = None) -> None:
        """Add the product to `out`, of rows low to high; `right` and `out` are flat."""
        high = len(self.at) if high is None else high
        add_products(self.start, self.place, self.value, right, self.at, self.width, out, low, high)

    def shares(self, work: int) -> list[tuple[int, int]]:
        """Ranges of rows of about `work` nonzeros each: the same whoever works on them."""
        count = max(1, int(self.start[-1]) // work)
        edges = np.searchsorted(self.start, np.linspace(0, self.start[-1], count + 1)[1:-1])
        bounds = [0, *edges.tolist(), len(self.at)]
        return [(low, high) for low, high in zip(bounds[:-1], bounds[1:]) if low < high]


def sparse_rows(matrix: Any, at: npt.ArrayLike, place: npt.ArrayLike, width: int) -> SparseRows:
    """A scipy.sparse matrix whose rows go to `at` and whose columns are read at `place`, below FURTHEST."""
    csr = matrix.tocsr()
    places = np.asarray(place).astype(np.uint32)[csr.indices]
    value = csr.data.astype(np.float64, copy=False)
    return SparseRows(csr.indptr.astype(np.int64), places, value, np.asarray(at, np.int64), width)
