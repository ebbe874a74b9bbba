"""Variables: arrays of discrete or real cells with a name and a role, and their numpy-like views.

    observed (X)   given, unless asked for
    output   (Y)   asked for, unless given
    latent   (Z)   never observed: minimised over or summed out

A view is made by numpy's own indexing and holds flat indices into its declared array (`cells`), nothing else.
"""

import operator
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.errors import VariableError
from factorgraph_ebm.graph.indexing import Cells, as_shape, cells_key, declared_cells, digest, index_cells, is_whole
from factorgraph_ebm.graph.labels import Label, Labels, read_labels

Counts = npt.NDArray[np.int64]


class Variable:
    """An array of variables, or a view of one. Made by `observed`, `output` and `latent`.

    Attributes
    ----------
    name, role : str, role is "observed", "output" or "latent"
    shape, ndim, size : of this view
    declared : the whole array this is a view of (itself for a declared array)
    cells : (*shape,) intp, flat indices into the declared array
    states : tuple of labels, or None
    dim : shape of the real value of one cell, or None for discrete variables

    Examples
    --------
    >>> y = output("y", shape=(3, 4), states=["low", "high"])
    >>> y[1:].shape, y[0, 2], y[1:] == y[-2:]
    ((2, 4), y[0, 2], True)
    """

    __slots__ = ("name", "role", "cells", "declared", "dim", "labels", "_counts", "_key")

    name: str
    role: str
    cells: Cells
    declared: "Variable"
    dim: tuple[int, ...] | None
    labels: Labels | None
    _counts: int | Counts | None  # of the declared array, flat
    _key: Hashable

    # Arithmetic with arrays would silently make an object array.
    __array_ufunc__ = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.cells.shape

    @property
    def ndim(self) -> int:
        return self.cells.ndim

    @property
    def size(self) -> int:
        return self.cells.size

    @property
    def states(self) -> tuple[Label, ...] | None:
        return None if self.labels is None else self.labels.states

    @property
    def is_real(self) -> bool:
        """Whether each cell holds a real value (declared with `dim`)."""
        return self.dim is not None

    @property
    def is_declared(self) -> bool:
        """Whether this is the whole declared array, not a view of a part."""
        return self is self.declared or is_whole(self.cells, self.declared.cells)

    @property
    def numeric(self) -> bool:
        """Whether the states have numeric values: labels that are numbers, or indices."""
        return self.labels.numeric if self.labels is not None else self.dim is None

    @property
    def n_states(self) -> int | Counts | None:
        """Number of states: an int, an int array of `shape` where cells may differ, None for real variables."""
        if not isinstance(self._counts, np.ndarray):
            return self._counts
        counts: Counts = self._counts[self.cells]
        return int(counts) if counts.ndim == 0 else counts

    @property
    def max_states(self) -> int:
        """Largest number of states among the cells of this view: the width of a dense array over them."""
        if not isinstance(self._counts, np.ndarray):
            return self._counts or 0
        if self.size == 0:
            return int(self._counts.max(initial=0))
        return int(self._counts[self.cells].max())

    @property
    def key(self) -> Hashable:
        """Hashable; equal for views of equal declarations that were made in the same way."""
        if self._key is None:
            declared = self.declared
            if self is declared:
                counts: Any = self._counts
                if isinstance(counts, np.ndarray):
                    counts = digest(counts)
                # 1, 1.0 and True are equal in Python, and different labels to read back.
                types = None if self.labels is None else self.labels.array.dtype.char
                self._key = (self.name, self.role, self.shape, counts, self.states, types, self.dim)
            else:
                self._key = (declared.key, cells_key(self.cells, declared.cells))
                if self._key[1] is None:
                    self._key = declared.key
        return self._key

    def state_values(self) -> npt.NDArray[np.float64]:
        """Return the numeric value of each state, shape (max_states,): the labels, or 0 .. n - 1.

        Raises
        ------
        VariableError : the states have names that are not numbers.
        """
        if self.labels is None:
            return np.arange(self.max_states, dtype=np.float64)
        if not self.labels.numeric:
            raise VariableError(
                f'the states of variable "{self.name}" are not numbers: {list(self.labels.states[:5])}. '
                "Declare numeric states=, or n_states= for 0, 1, ..."
            )
        return self.labels.array.astype(np.float64)

    def renamed(self, name: str) -> "Variable":
        """Return the same cells of the same declaration under another name."""
        declared = self.declared
        root = _root(name, self.role, declared.cells, declared.dim, declared.labels, declared._counts)
        return root if self is declared else _view(root, self.cells)

    def with_cells(self, cells: Cells) -> "Variable":
        """Return the view of the declared array that holds these flat indices, in their shape."""
        return _view(self.declared, cells)

    def __getitem__(self, index: Any) -> "Variable":
        return _view(self.declared, index_cells(self.cells, index))

    def __len__(self) -> int:
        if not self.cells.ndim:
            raise TypeError(f'"{self}" is a single variable and has no len()')
        return len(self.cells)

    def __iter__(self) -> Iterator["Variable"]:
        if not self.cells.ndim:
            raise TypeError(f'"{self}" is a single variable and cannot be iterated')
        declared = self.declared
        cells = self.cells
        return (_view(declared, cells[i, ...]) for i in range(len(cells)))

    def __bool__(self) -> bool:
        return True

    def reshape(self, *shape: int | Sequence[int]) -> "Variable":
        """Return a view of another shape, as numpy does."""
        return _view(self.declared, self.cells.reshape(*shape))  # type: ignore[arg-type]

    def ravel(self) -> "Variable":
        """Return a view of shape (size,), in C order."""
        return _view(self.declared, self.cells.reshape(-1))

    def transpose(self, *axes: int | Sequence[int]) -> "Variable":
        """Return a view with permuted axes, as numpy does."""
        return _view(self.declared, self.cells.transpose(*axes))

    @property
    def T(self) -> "Variable":  # noqa: N802 - numpy's name
        return _view(self.declared, self.cells.T)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Variable):
            return NotImplemented
        return (
            self.declared_like(other)
            and self.shape == other.shape
            and (self.key == other.key or bool(np.array_equal(self.cells, other.cells)))
        )

    def declared_like(self, other: "Variable") -> bool:
        """Whether both are views of equal declarations: name, role, shape and domain."""
        return self.declared is other.declared or self.declared.key == other.declared.key

    def __hash__(self) -> int:
        # Equal cells may have been reached in different ways, so the hash must not look at how.
        return hash((self.name, self.cells.shape))

    def __str__(self) -> str:
        if self is self.declared:
            return self.name
        if self.size == 1 and self.ndim == 0:
            return self.cell_name(int(self.cells))
        return f"{self.name}[...]"

    def cell_name(self, cell: int) -> str:
        """Name one cell of the declared array, "tag[3]"; a declared array of shape () is its own cell."""
        shape = self.declared.shape
        if not shape:
            return self.name
        return f"{self.name}[{', '.join(str(i) for i in np.unravel_index(cell, shape))}]"

    def __repr__(self) -> str:
        if self is not self.declared:
            return str(self) if self.ndim == 0 else f"<view of {self.name}, shape {self.shape}>"
        shape = f", shape={self.shape}" if self.shape else ""
        if self.dim is not None:
            domain = f"dim={self.dim}"
        elif self.labels is not None:
            domain = f"states={list(self.labels.states)}"
        elif isinstance(self._counts, np.ndarray):
            domain = f"n_states={np.array2string(self.n_states, threshold=8, separator=', ')}"  # type: ignore[arg-type]
        else:
            domain = f"n_states={self._counts}"
        return f'{self.role}("{self.name}"{shape}, {domain})'


def _root(
    name: str,
    role: str,
    cells: Cells,
    dim: tuple[int, ...] | None,
    labels: Labels | None,
    counts: int | Counts | None,
) -> Variable:
    variable = Variable.__new__(Variable)
    variable.name, variable.role, variable.cells, variable.dim = name, role, cells, dim
    variable.labels, variable._counts, variable._key, variable.declared = labels, counts, None, variable
    return variable


def _view(declared: Variable, cells: Cells) -> Variable:
    variable = Variable.__new__(Variable)
    variable.name, variable.role, variable.cells, variable.dim = (
        declared.name,
        declared.role,
        cells,
        declared.dim,
    )
    variable.labels, variable._counts, variable._key = declared.labels, declared._counts, None
    variable.declared = declared
    return variable


def _declare(
    name: str,
    role: str,
    shape: int | Sequence[int],
    n_states: int | Sequence[int] | npt.ArrayLike | None,
    states: Sequence[Label] | None,
    dim: int | Sequence[int] | None,
) -> Variable:
    if not isinstance(name, str) or not name:
        raise VariableError(f"a variable's name must be a non-empty string, not {name!r}.")
    if (n_states is not None) + (states is not None) + (dim is not None) != 1:
        raise VariableError(f'variable "{name}" needs exactly one of n_states=, states= or dim=.')
    try:
        full_shape = as_shape(shape)
    except (TypeError, ValueError):
        raise VariableError(f'variable "{name}": shape must be an int or ints >= 0, not {shape!r}.') from None
    size = 1
    for length in full_shape:
        size *= length
    cells = declared_cells(full_shape, size)
    if states is not None:
        labels = read_labels(name, states)
        return _root(name, role, cells, None, labels, len(labels.states))
    if dim is not None:
        try:
            return _root(name, role, cells, as_shape(dim), None, None)
        except (TypeError, ValueError):
            raise VariableError(f'variable "{name}": dim must be an int or ints >= 0, not {dim!r}.') from None
    return _root(name, role, cells, None, None, _read_counts(name, full_shape, n_states))


def _read_counts(name: str, shape: tuple[int, ...], n_states: Any) -> int | Counts:
    try:
        count = operator.index(n_states)
    except TypeError:
        counts = np.asarray(n_states)
        if counts.size and counts.dtype.kind not in "iu":
            raise VariableError(
                f'variable "{name}": n_states must be an int or an int array, not {n_states!r}.'
            ) from None
        if counts.shape != shape:
            raise VariableError(
                f'variable "{name}": n_states has shape {counts.shape}, the variable has shape {shape}.'
            ) from None
        if counts.size == 0:
            return 1
        flat = counts.reshape(-1).astype(np.int64)
        if flat.min() < 1:
            cell = int(flat.argmin())
            raise VariableError(f'variable "{name}" needs n_states >= 1; cell {cell} has {flat[cell]}.') from None
        if (flat == flat[0]).all():
            return int(flat[0])
        flat.flags.writeable = False
        return flat
    if count < 1 or isinstance(n_states, bool):
        raise VariableError(f'variable "{name}" needs n_states >= 1, not {n_states!r}.')
    return count


def observed(
    name: str,
    shape: int | Sequence[int] = (),
    *,
    n_states: int | npt.ArrayLike | None = None,
    states: Sequence[Label] | None = None,
    dim: int | Sequence[int] | None = None,
) -> Variable:
    """Declare X: variables that are given, unless asked for.

    Parameters
    ----------
    name : names the variable everywhere
    shape : of the array of variables; an int n is (n,), () a single variable
    n_states : number of states 0 .. n_states - 1; an int array of `shape` where cells differ
    states : distinct labels (str, int, float or bool), one list for all cells
    dim : shape of the real value of each cell; an int d is (d,), () a scalar.
        Exactly one of `n_states`, `states`, `dim`.

    Raises
    ------
    VariableError : not exactly one domain, repeated labels, fewer than one state, a bad shape.

    Examples
    --------
    >>> observed("x", shape=(64, 64), n_states=2)
    observed("x", shape=(64, 64), n_states=2)
    """
    return _declare(name, "observed", shape, n_states, states, dim)


def output(
    name: str,
    shape: int | Sequence[int] = (),
    *,
    n_states: int | npt.ArrayLike | None = None,
    states: Sequence[Label] | None = None,
    dim: int | Sequence[int] | None = None,
) -> Variable:
    """Declare Y: variables that are asked for, unless given. Parameters and errors as in `observed`.

    Examples
    --------
    >>> y = output("y", shape=3, states=["O", "B", "I"])
    >>> y, y[0], y[1:]
    (output("y", shape=(3,), states=['O', 'B', 'I']), y[0], <view of y, shape (2,)>)
    """
    return _declare(name, "output", shape, n_states, states, dim)


def latent(
    name: str,
    shape: int | Sequence[int] = (),
    *,
    n_states: int | npt.ArrayLike | None = None,
    states: Sequence[Label] | None = None,
    dim: int | Sequence[int] | None = None,
) -> Variable:
    """Declare Z: variables never observed, minimised over or summed out. Parameters as in `observed`.

    Examples
    --------
    >>> latent("z", n_states=49)
    latent("z", n_states=49)
    """
    return _declare(name, "latent", shape, n_states, states, dim)
