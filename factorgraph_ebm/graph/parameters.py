"""Parameters: named arrays that are learned, or passed as `parameters=`, and their numpy-like views."""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.errors import ParameterError, did_you_mean
from factorgraph_ebm.graph.indexing import Cells, as_shape, cells_key, declared_cells, index_cells, is_strided, is_whole
from factorgraph_ebm.graph.parametrisation import Floats, Parametrisation, Values, add_at, by_rows, flat_view


class Parameter(Parametrisation):
    """A named array that is learned, or passed as `parameters=`. Indexing it gives a view.

    Parameters
    ----------
    name : one name used twice is one parameter (tying)
    shape : int or ints
    initial : value used where none is passed, broadcast from a scalar; a random start is `initial=rng.normal(...)`
    frozen : keep at its value while learning
    bounds : (lowest, highest) value; non-negative is (0, inf)

    Raises
    ------
    ParameterError : `initial` has another shape, is not finite, or lies outside `bounds`.

    Examples
    --------
    >>> transition = Parameter("transition", shape=(3, 3))
    >>> transition[[[0, 1], [1, 0]], 0].shape
    (2, 2)
    >>> transition[1].evaluate({"transition": np.eye(3)})
    array([0., 1., 0.])
    """

    __slots__ = ("name", "cells", "declared", "initial", "frozen", "bounds", "_key")

    linear = True
    __array_ufunc__ = None

    def __init__(
        self,
        name: str,
        shape: int | Sequence[int] = (),
        *,
        initial: npt.ArrayLike | None = None,
        frozen: bool = False,
        bounds: tuple[float, float] = (-math.inf, math.inf),
    ) -> None:
        if not isinstance(name, str) or not name:
            raise ParameterError(f"a parameter's name must be a non-empty string, not {name!r}.")
        try:
            full_shape = as_shape(shape)
        except (TypeError, ValueError):
            raise ParameterError(f'parameter "{name}": shape must be ints >= 0, not {shape!r}.') from None
        self.name = name
        self.declared: Parameter = self
        self.cells: Cells = declared_cells(full_shape, math.prod(full_shape))
        self.frozen = bool(frozen)
        self._key: Hashable = None
        try:
            low, high = map(float, bounds)
        except (TypeError, ValueError):
            low, high = math.nan, math.nan
        if not low <= high:
            raise ParameterError(f'parameter "{name}": bounds must be (lowest, highest), not {bounds!r}.')
        self.bounds = (low, high)
        self.initial: Floats | None = None
        if initial is not None:
            self.initial = self._read(initial, "initial", fill=True)
            if self.initial.size and not (self.initial.min() >= low and self.initial.max() <= high):
                raise ParameterError(f'parameter "{name}": initial lies outside bounds={self.bounds}.')

    def _read(self, value: npt.ArrayLike, what: str, *, fill: bool = False) -> Floats:
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise ParameterError(f'parameter "{self.name}": {what} is not an array of numbers.') from None
        shape = self.declared.cells.shape
        if array.shape != shape:
            if not fill or array.ndim:
                raise ParameterError(
                    f'parameter "{self.name}" has shape {shape}, but its {what} has shape {array.shape}.'
                )
            array = np.full(shape, array)
        if array.size and not np.isfinite(array.sum()) and not np.isfinite(array).all():
            first = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise ParameterError(
                f'parameter "{self.name}": {what} is {array[first]} at {list(first)}. '
                "A forbidden state belongs to a constant: declare a second factor with +inf."
            )
        view = array.view()
        view.flags.writeable = False
        return view

    def read_value(self, value: npt.ArrayLike) -> Floats:
        """Return a value for this parameter as float64. Raises ParameterError if it does not fit exactly."""
        return self._read(value, "value")

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return self.cells.shape

    @property
    def ndim(self) -> int:
        return self.cells.ndim

    @property
    def size(self) -> int:
        return self.cells.size

    @property
    def is_declared(self) -> bool:
        """Whether this is the whole declared parameter, not a view of a part."""
        return self is self.declared or is_whole(self.cells, self.declared.cells)

    @property
    def parameters(self) -> "tuple[Parameter, ...]":
        return (self.declared,)

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def key(self) -> Hashable:
        if self._key is None:
            declared = self.declared
            self._key = (
                "Parameter",
                self.name,
                declared.cells.shape,
                declared.frozen,
                declared.bounds,
                self.cells.shape,
                cells_key(self.cells, declared.cells),
            )
        return self._key

    def with_cells(self, cells: Cells) -> "Parameter":
        """Return the view of the declared parameter that holds these flat indices, in their shape."""
        view = Parameter.__new__(Parameter)
        view.name, view.declared, view.cells, view._key = self.name, self.declared, cells, None
        view.initial, view.frozen, view.bounds = self.initial, self.frozen, self.bounds
        return view

    def __getitem__(self, index: Any) -> "Parameter":
        return self.with_cells(index_cells(self.cells, index))

    def __len__(self) -> int:
        if not self.cells.ndim:
            raise TypeError(f'parameter "{self.name}" is a single number and has no len()')
        return len(self.cells)

    def __iter__(self) -> "Iterator[Parameter]":
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return True

    def reshape(self, *shape: int | Sequence[int]) -> "Parameter":
        """Return a view of another shape, as numpy does."""
        return self.with_cells(self.cells.reshape(*shape))  # type: ignore[arg-type]

    def ravel(self) -> "Parameter":
        """Return a view of shape (size,), in C order."""
        return self.with_cells(self.cells.reshape(-1))

    def transpose(self, *axes: int | Sequence[int]) -> "Parameter":
        """Return a view with permuted axes, as numpy does."""
        return self.with_cells(self.cells.transpose(*axes))

    @property
    def T(self) -> "Parameter":  # noqa: N802 - numpy's name
        return self.with_cells(self.cells.T)

    def declared_like(self, other: "Parameter") -> bool:
        """Whether both are views of equal declarations: name, shape, initial, frozen and bounds."""
        one, two = self.declared, other.declared
        if one is two:
            return True
        if (one.name, one.cells.shape, one.frozen, one.bounds) != (
            two.name,
            two.cells.shape,
            two.frozen,
            two.bounds,
        ):
            return False
        if one.initial is None or two.initial is None:
            return one.initial is two.initial
        return bool(np.array_equal(one.initial, two.initial))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Parameter):
            return NotImplemented
        return self.declared_like(other) and bool(np.array_equal(self.cells, other.cells))

    def __hash__(self) -> int:
        return hash((self.name, self.cells.shape))

    def equals(self, other: Parametrisation) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, Parameter)
            and self.name == other.name
            and (self.key == other.key or (self.shape == other.shape and self == other))
        )

    def numbers(self, values: Values, rows: slice, out: Floats) -> None:
        value = values[self.name]
        width = out.shape[1]
        if self.is_declared:
            out[...] = by_rows(value, width)[rows]
        else:
            np.take(value.reshape(-1), by_rows(self.cells, width)[rows], out=out, mode="clip")

    def evaluate(self, values: Values) -> Floats:
        value = values[self.name]
        return value if self.is_declared else value.reshape(-1)[self.cells]

    def pullback(self, values: Values, rows: slice, gradient: Floats, into: Mapping[str, Floats]) -> None:
        target = into.get(self.name)
        if target is None:
            return
        width = gradient.shape[1]
        if self.is_declared:
            # Not a reshape of `target`: on a non-contiguous one that would add into a copy.
            if gradient.size == target.size:
                target += gradient.reshape(target.shape)
                return
            by_rows(flat_view(target), width)[rows] += gradient
            return
        cells = by_rows(self.cells, width)[rows]
        add_at(flat_view(target), cells.reshape(-1), gradient.reshape(-1), distinct=self._distinct())

    def _distinct(self) -> bool:
        # A strided view of distinct cells repeats one only along a broadcast axis, and numpy makes none here.
        return is_strided(self.cells, self.declared.cells)

    def __repr__(self) -> str:
        if self is not self.declared:
            return f"<view of parameter {self.name}, shape {self.shape}>"
        return f'Parameter("{self.name}"{f", shape={self.shape}" if self.shape else ""})'


def read_parameters(declared: Mapping[str, Parameter], given: Mapping[str, npt.ArrayLike] | None) -> dict[str, Floats]:
    """Return the value of every declared parameter: the given one, else `initial`.

    Raises
    ------
    ParameterError : no value, a value of another shape, a name that is not declared.
    """
    given = {} if given is None else given
    for name in given:
        if name not in declared:
            raise ParameterError(f'there is no parameter "{name}".{did_you_mean(name, declared)}')
    values: dict[str, Floats] = {}
    for name, parameter in declared.items():
        value = given.get(name)
        if value is not None:
            values[name] = parameter.read_value(value)
        elif parameter.initial is not None:
            values[name] = parameter.initial
        else:
            shape = parameter.declared.cells.shape
            raise ParameterError(
                f'parameter "{name}" has no value. Pass parameters={{"{name}": array of shape {shape}}}.'
            )
    return values
