"""Linear numbers: features times weights.

numbers = tensordot(x, W, axes=1),   pullback: x' G into W, and G W' into x
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from factorgraph_ebm.errors import FactorError
from factorgraph_ebm.graph.expressions import Constant, Numbers, as_numbers, is_sparse
from factorgraph_ebm.graph.parameters import Parameter
from factorgraph_ebm.graph.parametrisation import Floats, Parametrisation, Rename, Values, add_at, bounded, flat_view
from factorgraph_ebm.graph.variables import Variable

_WHOLE = slice(0, 1)


class Linear(Parametrisation):
    """`tensordot(x, W, axes=1)`: shapes (*g, F) and (F, *own) give (*g, *own).

    Parameters
    ----------
    x : array (*g, F), scipy.sparse matrix (rows, F) whose rows are g ravelled, observed real variable, Parameter,
        or another expression
    W : Parameter, array or expression (F, *own)

    Raises
    ------
    FactorError : the last axis of x and the first of W differ, or x holds NaN or an infinity.

    Examples
    --------
    >>> W = Parameter("W", shape=(2, 3))
    >>> scores = Linear([[1.0, 0.0], [1.0, 1.0]], W)
    >>> scores.shape, scores.evaluate({"W": np.arange(6.0).reshape(2, 3)})[1]
    ((2, 3), array([3., 5., 7.]))
    """

    __slots__ = ("x", "matrix", "W", "shape", "linear", "_features", "_own")

    def __init__(self, x: Numbers, W: Numbers) -> None:  # noqa: N803 - the contract's name
        self.matrix: Any = None
        self.x: Parametrisation | None = None
        if is_sparse(x):
            self.matrix = x.tocsr()
            shape = tuple(int(n) for n in self.matrix.shape)
        else:
            self.x = as_numbers(x, "the features of Linear")
            shape = self.x.shape
        self.W = as_numbers(W, "the weights of Linear")
        if not shape or not self.W.shape or shape[-1] != self.W.shape[0]:
            raise FactorError(
                f"Linear multiplies x (..., F) by W (F, ...): x has shape {shape}, W has shape {self.W.shape}."
            )
        self.shape = (*shape[:-1], *self.W.shape[1:])
        self._features = shape[-1]
        self._own = math.prod(self.W.shape[1:])
        if self.x is None:
            self.linear = self.W.linear
        else:
            self.linear = self.W.linear and self.x.linear and not (self.W.parameters and self.x.parameters)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        if self.x is None:
            return self.W.parameters
        return (*self.x.parameters, *self.W.parameters)

    @property
    def reals(self) -> tuple[Variable, ...]:
        return self.W.reals if self.x is None else (*self.x.reals, *self.W.reals)

    @property
    def key(self) -> Hashable:
        # The stored nonzeros are values, not structure.
        x: Hashable = ("sparse", self.matrix.shape) if self.x is None else self.x.key
        return ("Linear", x, self.W.key)

    def first_bad(self) -> tuple[int, ...] | None:
        if self.x is not None and not isinstance(self.x, Constant):
            return None
        data: Floats = self.matrix.data if self.x is None else self.x.array
        # inf * 0 is NaN, so +inf is as bad as NaN in a feature.
        if not data.size or (data.min() > -math.inf and data.max() < math.inf):
            return None
        place = np.argwhere(~np.isfinite(data))[0]
        if self.x is not None:
            return tuple(int(i) for i in place)
        row = int(np.searchsorted(self.matrix.indptr, place[0], side="right")) - 1
        return row, int(self.matrix.indices[place[0]])

    def _weights(self, values: Values) -> Floats:
        return self.W.evaluate(values).reshape(self._features, self._own)

    def _features_of(self, values: Values, rows: slice) -> Any:
        """Return rows of x as a matrix (rows, F), dense or CSR."""
        if self.x is None:
            whole = rows.start == 0 and rows.stop == self.matrix.shape[0]
            return self.matrix if whole else self.matrix[rows]
        return _matrix(self.x.evaluate(values), self._features)[rows]

    def _range(self, rows: slice, width: int) -> tuple[slice, slice]:
        """Return which rows of x the numbers `rows` come from, and where they lie in that product, flat."""
        if width == self._own:
            return rows, slice(0, (rows.stop - rows.start) * width)
        first, last = rows.start * width, rows.stop * width
        start = first // self._own if self._own else 0
        stop = -(-last // self._own) if self._own else 0
        return slice(start, stop), slice(first - start * self._own, last - start * self._own)

    def numbers(self, values: Values, rows: slice, out: Floats) -> None:
        rows = bounded(rows, self.size, out.shape[1])
        x_rows, flat = self._range(rows, out.shape[1])
        product = multiply(self._features_of(values, x_rows), self._weights(values))
        out[...] = product.reshape(-1)[flat].reshape(out.shape)

    def evaluate(self, values: Values) -> Floats:
        n_rows = math.prod(self.shape[: len(self.shape) - len(self.W.shape) + 1])
        product: Floats = multiply(self._features_of(values, slice(0, n_rows)), self._weights(values))
        return product.reshape(self.shape)

    def pullback(self, values: Values, rows: slice, gradient: Floats, into: Mapping[str, Floats]) -> None:
        to_weights = any(name in into for name in self.W.names)
        to_features = self.x is not None and any(name in into for name in self.x.names)
        if not (to_weights or to_features):
            return
        rows = bounded(rows, self.size, gradient.shape[1])
        x_rows, flat = self._range(rows, gradient.shape[1])
        n_rows = x_rows.stop - x_rows.start
        slopes: Floats
        if flat.start == 0 and flat.stop == n_rows * self._own:
            slopes = gradient.reshape(n_rows, self._own)
        else:
            padded = np.zeros(n_rows * self._own)
            padded[flat] = gradient.reshape(-1)
            slopes = padded.reshape(n_rows, self._own)
        if to_weights:
            features = self._features_of(values, x_rows)
            if self.x is None and features.nnz < self._features and isinstance(self.W, Parameter):
                self._scatter(features, slopes, into)
            else:
                back = np.ascontiguousarray(multiply(features.T, slopes))
                self.W.pullback(values, _WHOLE, back.reshape(1, back.size), into)
        if self.x is not None and to_features:
            self.x.pullback(values, x_rows, multiply(slopes, self._weights(values).T), into)

    def _scatter(self, features: Any, slopes: Floats, into: Mapping[str, Floats]) -> None:
        """Add X' G for few nonzeros, touching only the weights they use (one sample of many features)."""
        assert isinstance(self.W, Parameter)
        row = np.repeat(np.arange(features.shape[0]), np.diff(features.indptr))
        parts = features.data[:, None] * slopes[row]
        cells = self.W.cells.reshape(self._features, self._own)[features.indices]
        add_at(flat_view(into[self.W.name]), cells.reshape(-1), parts.reshape(-1), distinct=False)

    def with_rows(self, shape: tuple[int, ...]) -> "Linear":
        """Return the same numbers with the rows of x seen as an array of `shape`."""
        return self._copy(self.x, self.W, (*shape, *self.W.shape[1:]))

    def _copy(self, x: Parametrisation | None, W: Parametrisation, shape: tuple[int, ...]) -> "Linear":  # noqa: N803
        other = Linear.__new__(Linear)
        other.x, other.W, other.shape = x, W, shape
        other.matrix, other.linear = self.matrix, self.linear
        other._features, other._own = self._features, self._own
        return other

    def renamed(self, rename: Rename) -> Parametrisation:
        if not self.reals:
            return self
        x = None if self.x is None else self.x.renamed(rename)
        return self._copy(x, self.W.renamed(rename), self.shape)

    def merge(self, others: Sequence[Parametrisation], row_size: int) -> Parametrisation:
        products = [self, *(other for other in others if isinstance(other, Linear))]
        alike = (
            len(products) == len(others) + 1
            and row_size == self._own
            and all(self.W.equals(other.W) for other in products)
        )
        if not alike or all(self.equals(other) for other in others):
            return super().merge(others, row_size)
        if not all(product.stacks_like(self) for product in products):
            return super().merge(others, row_size)
        return self.stack(products[1:])

    def stacks_like(self, other: "Linear") -> bool:
        """Whether both have constant features, sparse or dense alike, so that `stack` may join them."""
        sparse = self.x is None and other.x is None
        return sparse or (isinstance(self.x, Constant) and isinstance(other.x, Constant))

    def reads_rows_of(self, row_size: int) -> bool:
        """Whether a row of so many numbers is the product of one row of features with a whole Parameter or view."""
        return row_size == self._own and isinstance(self.W, Parameter)

    def stack(self, others: "Sequence[Linear]") -> "Linear":
        """Return the rows of this product and then of others, all with its weights, and features as `stacks_like`."""
        products = [self, *others]
        if self.x is None:
            import scipy.sparse  # heavy; who holds a sparse matrix has loaded it already

            matrices = [product.matrix for product in products]
            joined = _as_it_was(matrices)
            return Linear(scipy.sparse.vstack(matrices, format="csr") if joined is None else joined, self.W)
        arrays = [product.x.array for product in products if isinstance(product.x, Constant)]
        return Linear(np.concatenate([_matrix(array, self._features) for array in arrays]), self.W)

    def equals(self, other: Parametrisation) -> bool:
        if self is other:
            return True
        if not isinstance(other, Linear) or self.shape != other.shape or not self.W.equals(other.W):
            return False
        if self.x is None or other.x is None:
            return self.matrix is other.matrix and self.x is other.x
        return self.x.equals(other.x)

    def __repr__(self) -> str:
        return f"Linear(shape={self.shape}, W={self.W!r})"


def _as_it_was(matrices: Sequence[Any]) -> Any:
    """The matrix that these CSR matrices are parts of, one after the other, in its own memory; None: they are not."""
    first = matrices[0]
    whole = []
    for parts in ([m.data for m in matrices], [m.indices for m in matrices]):
        base, n = parts[0].base, sum(len(part) for part in parts)
        at = parts[0].__array_interface__["data"][0]
        if not isinstance(base, np.ndarray) or base.ndim != 1 or base.dtype != parts[0].dtype:
            return None
        start = (at - base.__array_interface__["data"][0]) // base.itemsize
        for part in parts:
            here = part.__array_interface__["data"][0]
            if part.base is not base or not part.flags.c_contiguous or (len(part) and here != at):
                return None
            at += part.nbytes
        if not base.flags.c_contiguous:
            return None
        whole.append(base[start : start + n])
    nonzeros = np.cumsum([0, *(len(m.data) for m in matrices)])
    start = np.concatenate([first.indptr[:1], *(m.indptr[1:] + n for m, n in zip(matrices, nonzeros.tolist()))])
    rows = sum(m.shape[0] for m in matrices)
    found = type(first)((rows, first.shape[1]), dtype=first.dtype)
    found.data, found.indices, found.indptr = whole[0], whole[1], start.astype(first.indptr.dtype)
    return found


_ONE_THREAD = 1 << 18
"OpenBLAS computes a product of up to this many multiplications on one thread"
_ONE_THREAD_VECTOR = 1 << 13
"and a product of a matrix and a vector up to this many (it says 9,216)"


def multiply(left: Any, right: Floats) -> Floats:
    """Return the matrix product, bit-identical for any number of BLAS threads.

    BLAS divides a large product among its threads, and the last bits depend on where. So blocks of a fixed division
    are small enough for one thread each, and are added in a fixed order; a sparse `left` is no matter of BLAS.
    """
    if not isinstance(left, np.ndarray):
        product: Floats = left @ right
        return product
    (m, k), n = left.shape, right.shape[1]
    limit = _ONE_THREAD_VECTOR if min(m, n) == 1 else _ONE_THREAD
    if m * n * k <= limit:
        return left @ right
    # About cubes, but all of a short axis; pieces of one axis are almost equal, so none is a lone vector.
    side = int(round(limit ** (1 / 3))) if limit == _ONE_THREAD else int(limit**0.5)
    n_piece = min(n, max(side, limit // (min(m, side) * min(k, side))))
    k_piece = min(k, max(side if n_piece <= side else 1, limit // (min(m, side) * n_piece)))
    m_piece = min(m, limit // (n_piece * k_piece))
    out = np.empty((m, n))
    for a, b in _pieces(m, m_piece):
        for c, d in _pieces(n, n_piece):
            for number, (e, f) in enumerate(_pieces(k, k_piece)):
                if number:
                    out[a:b, c:d] += left[a:b, e:f] @ right[e:f, c:d]
                else:
                    out[a:b, c:d] = left[a:b, e:f] @ right[e:f, c:d]
    return out


def _pieces(length: int, longest: int) -> list[tuple[int, int]]:
    n = -(-length // max(longest, 1))
    return [(length * i // n, length * (i + 1) // n) for i in range(n)]


def _matrix(array: Floats, width: int) -> Floats:
    return array.reshape(math.prod(array.shape[:-1]), width)
