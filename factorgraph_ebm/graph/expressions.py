"""Sources of numbers that are not parameters themselves.

Constant       an array
RealNumbers    an observed real variable, or a view of one: its value is the numbers
Computed       a function of other sources, with its pullback
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.errors import FactorError
from factorgraph_ebm.graph.indexing import as_shape, is_strided
from factorgraph_ebm.graph.parameters import Parameter
from factorgraph_ebm.graph.parametrisation import Floats, Parametrisation, Rename, Values, add_at, by_rows, flat_view
from factorgraph_ebm.graph.variables import Variable

Numbers = Any  # an array, a Parameter, an observed real Variable, Linear, Computed: see `as_numbers`

_WHOLE = slice(0, 1)
_COMPARED = 4096  # constants of up to this many numbers are compared by value when samples are merged


def is_sparse(thing: object) -> bool:
    """Whether `thing` is a scipy.sparse matrix or array, told without importing scipy."""
    return hasattr(thing, "tocsr") and hasattr(thing, "nnz")


def as_numbers(thing: Numbers, what: str = "numbers") -> Parametrisation:
    """Wrap whatever may stand for numbers as a source.

    Raises
    ------
    FactorError : not an array of numbers, or a variable that is not observed and real.
    """
    if isinstance(thing, Parametrisation):
        return thing
    if isinstance(thing, Variable):
        if thing.dim is None or thing.role != "observed":
            raise FactorError(
                f'variable "{thing.name}" cannot stand for {what}: it must be observed and real, '
                f'as in fg.observed("{thing.name}", shape={thing.declared.shape}, dim=...).'
            )
        return RealNumbers(thing)
    if is_sparse(thing):
        raise FactorError(f"{what}: a scipy.sparse matrix holds features. Write fg.Linear(matrix, W).")
    try:
        array = np.asarray(thing, dtype=np.float64)
        if isinstance(thing, np.ndarray) and array.flags.writeable and np.may_share_memory(array, thing):
            # A graph is immutable and was checked once: writing to the array later must not reach it.
            array = array.copy()
        return Constant(array)
    except (TypeError, ValueError):
        raise FactorError(f"{what} must be an array of numbers, not {type(thing).__name__}.") from None


class Constant(Parametrisation):
    """An array: a copy of one that could still be written to, else by reference; never expanded."""

    __slots__ = ("array", "shape")

    linear = True

    def __init__(self, array: Floats) -> None:
        self.array = array
        self.shape = array.shape

    @property
    def names(self) -> tuple[str, ...]:
        return ()

    @property
    def key(self) -> Hashable:
        return ("Constant", self.shape)

    def numbers(self, values: Values, rows: slice, out: Floats) -> None:
        out[...] = by_rows(self.array, out.shape[1])[rows]

    def pullback(self, values: Values, rows: slice, gradient: Floats, into: Mapping[str, Floats]) -> None:
        return

    def evaluate(self, values: Values) -> Floats:
        return self.array

    def first_bad(self) -> tuple[int, ...] | None:
        # One pass: min is NaN where there is a NaN, and -inf where there is a -inf.
        if not self.array.size or self.array.min() > -math.inf:
            return None
        bad = np.isnan(self.array) | (self.array == -math.inf)
        return tuple(int(i) for i in np.argwhere(bad)[0])

    def equals(self, other: Parametrisation) -> bool:
        if self is other:
            return True
        if not isinstance(other, Constant) or self.shape != other.shape:
            return False
        if self.array is other.array:
            return True
        if self.size > _COMPARED:
            return False
        # Arrays that differ mostly differ at an end, and a look there takes a fiftieth of a comparison.
        if self.size and (self.array.item(0) != other.array.item(0) or self.array.item(-1) != other.array.item(-1)):
            return False
        return bool(np.array_equal(self.array, other.array))

    @property
    def fingerprint(self) -> Hashable:
        # Arrays that differ mostly differ at an end.
        return (self.array.item(0), self.array.item(-1)) if self.size else ()

    def merge(self, others: Sequence[Parametrisation], row_size: int) -> Parametrisation:
        arrays = [self.array, *(other.array for other in others if isinstance(other, Constant))]
        if len(arrays) == len(others) + 1 and not all(self.equals(other) for other in others):
            return Constant(np.concatenate([by_rows(array, row_size) for array in arrays]))
        return super().merge(others, row_size)


class RealNumbers(Parametrisation):
    """The value of an observed real variable, or of a view of one: shape (*variable.shape, *dim)."""

    __slots__ = ("variable", "shape")

    linear = True

    def __init__(self, variable: Variable) -> None:
        self.variable = variable
        self.shape = (*variable.shape, *(variable.dim or ()))

    @property
    def reals(self) -> tuple[Variable, ...]:
        return (self.variable.declared,)

    @property
    def key(self) -> Hashable:
        return ("RealNumbers", self.variable.key)

    def evaluate(self, values: Values) -> Floats:
        value = values[self.variable.name]
        if self.variable.is_declared:
            return value
        return self._by_cell(value)[self.variable.cells].reshape(self.shape)

    def _by_cell(self, value: Floats) -> Floats:
        return value.reshape(self.variable.declared.size, math.prod(self.variable.dim or ()))

    def numbers(self, values: Values, rows: slice, out: Floats) -> None:
        width = out.shape[1]
        if self.variable.is_declared:
            out[...] = by_rows(values[self.variable.name], width)[rows]
        elif width == math.prod(self.variable.dim or ()):
            value = self._by_cell(values[self.variable.name])
            out[...] = value[self.variable.cells.reshape(-1)[rows]]
        else:
            out[...] = by_rows(self.evaluate(values), width)[rows]

    def pullback(self, values: Values, rows: slice, gradient: Floats, into: Mapping[str, Floats]) -> None:
        target = into.get(self.variable.name)
        if target is None:
            return
        variable = self.variable
        width = math.prod(variable.dim or ())
        cells: npt.NDArray[np.intp] = variable.cells.reshape(-1, 1) * width + np.arange(width, dtype=np.intp)
        distinct = is_strided(variable.cells, variable.declared.cells)
        picked = by_rows(cells, gradient.shape[1])[rows]
        add_at(flat_view(target), picked.reshape(-1), gradient.reshape(-1), distinct=distinct)

    def renamed(self, rename: Rename) -> Parametrisation:
        return RealNumbers(self.variable.renamed(rename(self.variable.name)))

    def equals(self, other: Parametrisation) -> bool:
        return isinstance(other, RealNumbers) and self.variable == other.variable


class Computed(Parametrisation):
    """Numbers from a function of other sources.

    Parameters
    ----------
    function : `function(*values) -> array of shape`
    inputs : anything that may stand for numbers
    shape : of the result
    pullback : `pullback(*values, gradient) -> one gradient per input`; without it the numbers are constant for
        learning

    Raises
    ------
    FactorError : an input cannot stand for numbers, or the function returns another shape (found when bound).

    Examples
    --------
    >>> power = Parameter("power", initial=2.0)
    >>> d = np.arange(4.0)
    >>> Computed(lambda p: d**p, power, shape=4).evaluate({"power": np.array(2.0)})
    array([0., 1., 4., 9.])
    """

    __slots__ = ("function", "inputs", "shape", "transpose")

    linear = False

    def __init__(
        self,
        function: Callable[..., npt.ArrayLike],
        *inputs: Numbers,
        shape: int | Sequence[int],
        pullback: Callable[..., Sequence[npt.ArrayLike]] | None = None,
    ) -> None:
        if not callable(function):
            raise FactorError(f"Computed needs a function first, not {type(function).__name__}.")
        self.function = function
        self.inputs = tuple(as_numbers(each, "an input of Computed") for each in inputs)
        self.transpose = pullback
        try:
            self.shape = as_shape(shape)
        except (TypeError, ValueError):
            raise FactorError(f"Computed: shape must be ints >= 0, not {shape!r}.") from None

    @property
    def learned(self) -> bool:
        """Whether gradients reach its inputs: it has a pullback."""
        return self.transpose is not None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(parameter for each in self.inputs for parameter in each.parameters)

    @property
    def reals(self) -> tuple[Variable, ...]:
        return tuple(variable for each in self.inputs for variable in each.reals)

    @property
    def key(self) -> Hashable:
        return ("Computed", self.shape, self.learned, tuple(each.key for each in self.inputs))

    def evaluate(self, values: Values) -> Floats:
        try:
            result = np.asarray(self.function(*(each.evaluate(values) for each in self.inputs)), np.float64)
        except (TypeError, ValueError) as error:
            raise FactorError(f"Computed: the function failed: {error}") from error
        if result.shape != self.shape:
            raise FactorError(f"Computed: the function returned shape {result.shape}, declared {self.shape}.")
        return result

    def numbers(self, values: Values, rows: slice, out: Floats) -> None:
        out[...] = by_rows(self.evaluate(values), out.shape[1])[rows]

    def pullback(self, values: Values, rows: slice, gradient: Floats, into: Mapping[str, Floats]) -> None:
        if self.transpose is None or not any(name in into for name in self.names):
            return
        whole = np.zeros(self.shape)
        by_rows(whole, gradient.shape[1])[rows] = gradient
        parts = self.transpose(*(each.evaluate(values) for each in self.inputs), whole)
        if len(parts) != len(self.inputs):
            raise FactorError(f"Computed: pullback returned {len(parts)} gradients for {len(self.inputs)} inputs.")
        for each, part in zip(self.inputs, parts, strict=True):
            array = np.asarray(part, dtype=np.float64)
            if array.shape != each.shape:
                raise FactorError(
                    f"Computed: pullback returned shape {array.shape} for an input of shape {each.shape}."
                )
            each.pullback(values, _WHOLE, array.reshape(1, array.size), into)

    def renamed(self, rename: Rename) -> Parametrisation:
        if not self.reals:
            return self
        inputs = (each.renamed(rename) for each in self.inputs)
        return Computed(self.function, *inputs, shape=self.shape, pullback=self.transpose)

    def equals(self, other: Parametrisation) -> bool:
        return self is other or (
            isinstance(other, Computed)
            and self.function is other.function
            and self.shape == other.shape
            and len(self.inputs) == len(other.inputs)
            and all(one.equals(two) for one, two in zip(self.inputs, other.inputs, strict=True))
        )

    def __repr__(self) -> str:
        return f"Computed(shape={self.shape}, inputs={self.inputs!r})"
