"""Products of a sparse matrix with rows of numbers that lie anywhere, row by row.

    out[at_r + j] += sum over the nonzeros (r, c) of value_rc * right[place_c + j],      j < width

That is X W where `right` is W, and X' G where it is G and the matrix is the transpose: then each row of W is written by
one loop, which reads rows of G, so ranges of rows may be given to threads without changing a bit. Eight nonzeros are
added at a time, since each pass over a row of `out` loads and stores it; the loop along a row is what vectorises.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from factorgraph_ebm._jit import F8, NOTHING, READ_F8, READ_I8, READ_U4, SIZE, kernel

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

U8 = np.uint64
FURTHEST = 1 << 32
"elements of `right` at most: places of nonzeros are kept in 32 bits"


@kernel(NOTHING, READ_I8, READ_U4, READ_F8, READ_F8, READ_I8, SIZE, F8, SIZE, SIZE)
def add_products(start, place, value, right, at, width, out, low, high):  # type: ignore[no-untyped-def]
    one, two, three, four = U8(1), U8(2), U8(3), U8(4)
    five, six, seven, eight = U8(5), U8(6), U8(7), U8(8)
    for r in range(low, high):
        o = U8(at[r])
        i, stop = U8(start[r]), U8(start[r + one])
        while i + eight <= stop:
            a, b, c, d = value[i], value[i + one], value[i + two], value[i + three]
            e, f, g, h = value[i + four], value[i + five], value[i + six], value[i + seven]
            p, q, s, t = U8(place[i]), U8(place[i + one]), U8(place[i + two]), U8(place[i + three])
            u, v, w, x = U8(place[i + four]), U8(place[i + five]), U8(place[i + six]), U8(place[i + seven])
            for j in range(width):
                out[o + j] += ((a * right[p + j] + b * right[q + j]) + (c * right[s + j] + d * right[t + j])) + (
                    (e * right[u + j] + f * right[v + j]) + (g * right[w + j] + h * right[x + j])
                )
            i += eight
        while i + four <= stop:
            a, b, c, d = value[i], value[i + one], value[i + two], value[i + three]
            p, q, s, t = U8(place[i]), U8(place[i + one]), U8(place[i + two]), U8(place[i + three])
            for j in range(width):
                out[o + j] += (a * right[p + j] + b * right[q + j]) + (c * right[s + j] + d * right[t + j])
            i += four
        while i < stop:
            a, p = value[i], U8(place[i])
            for j in range(width):
                out[o + j] += a * right[p + j]
            i += one


class SparseRows(NamedTuple):
    """A sparse matrix (n, m) with places for its rows in what is written, and for its columns in what is read.

    Examples
    --------
    >>> import scipy.sparse
    >>> rows = sparse_rows(scipy.sparse.csr_array([[1.0, 0.0], [2.0, 3.0]]), at=[0, 2], place=[0, 2], width=2)
    >>> out = np.zeros(4)
    >>> rows.add(np.array([1.0, 10.0, 100.0, 1000.0]), out)
    >>> out
    array([   1.,   10.,  302., 3020.])
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
