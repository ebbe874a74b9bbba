"""Where numbers come from: the protocol that every source of numbers follows.

A source is an array-valued expression with a shape, which knows nothing of factors. Binding reads it
(`numbers`), learning runs it backwards (`pullback`, its transpose). Parameters and observed real variables are
the same thing to a source: named arrays, in one mapping `values`.

Seen by rows: a source of shape (*group, *own) is a matrix (rows, row size) in C order. A row is what one factor
reads; the caller chooses the row size by the width of the array it passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.graph.indexing import Cells

if TYPE_CHECKING:
    from factorgraph_ebm.graph.parameters import Parameter
    from factorgraph_ebm.graph.variables import Variable

Floats = npt.NDArray[np.float64]
Values = Mapping[str, Floats]
Rename = Callable[[str], str]


class Parametrisation:
    """A source of numbers: subclasses define `numbers` and `pullback`, and never see a factor.

    Attributes
    ----------
    shape : tuple of ints
    names : what it reads from `values`: parameters first, then observed real variables
    parameters, reals : the declared Parameters and observed real Variables among them
    linear : whether the numbers are an affine function of the parameters
    key : hashable structure (kind, shapes, names), equal for sources that differ in values only
    """

    __slots__ = ()

    shape: tuple[int, ...]
    linear: bool

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return ()

    @property
    def reals(self) -> tuple[Variable, ...]:
        return ()

    @property
    def names(self) -> tuple[str, ...]:
        return (*(p.name for p in self.parameters), *(v.name for v in self.reals))

    @property
    def key(self) -> Hashable:
        raise NotImplementedError

    def numbers(self, values: Values, rows: slice, out: Floats) -> None:
        """Write the rows `rows` of the numbers to `out`, (number of rows, row size)."""
        raise NotImplementedError

    def pullback(self, values: Values, rows: slice, gradient: Floats, into: Mapping[str, Floats]) -> None:
        """Add the transpose: `gradient` has the rows `rows`; only names present in `into` receive theirs."""
        raise NotImplementedError

    def evaluate(self, values: Values) -> Floats:
        """Return the whole array, (*shape,); it may be a read-only view of what it was made from."""
        out = np.empty((1, self.size))
        self.numbers(values, slice(0, 1), out)
        return out.reshape(self.shape)

    def first_bad(self) -> tuple[int, ...] | None:
        """Return the index of the first constant that is NaN or -inf, or None."""
        return None

    def renamed(self, rename: Rename) -> Parametrisation:
        """Return the same source reading its observed real variables under other names."""
        return self

    def equals(self, other: Parametrisation) -> bool:
        """Whether both always give the same numbers; False where that would be costly to find out."""
        return self is other

    @property
    def fingerprint(self) -> Hashable:
        """What equal sources have in common, told at a glance."""
        return ()

    def merge(self, others: Sequence[Parametrisation], row_size: int) -> Parametrisation:
        """Return one source with the rows of this one and then of each other, shape (rows, row size).

        Where all are equal (a shared table), the answer is this source itself: its numbers stay once.
        """
        if all(self.equals(other) for other in others):
            return self
        return Stacked([self, *others], row_size)


class Stacked(Parametrisation):
    """The rows of several sources, one after another: shape (rows, row size)."""

    __slots__ = ("sources", "shape", "linear", "_start")

    def __init__(self, sources: Sequence[Parametrisation], row_size: int) -> None:
        self.sources = tuple(sources)
        counts = [source.size // row_size if row_size else 0 for source in self.sources]
        self._start = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self.shape = (int(self._start[-1]), row_size)
        self.linear = all(source.linear for source in self.sources)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return tuple({p.name: p for source in self.sources for p in source.parameters}.values())

    @property
    def reals(self) -> tuple[Variable, ...]:
        return tuple({v.name: v for source in self.sources for v in source.reals}.values())

    @property
    def key(self) -> Hashable:
        return ("Stacked", self.shape, tuple(source.key for source in self.sources))

    def _parts(self, rows: slice) -> list[tuple[Parametrisation, slice, slice]]:
        start, stop = rows.start, rows.stop
        first = int(np.searchsorted(self._start, start, side="right")) - 1
        parts = []
        for s in range(first, len(self.sources)):
            low, high = max(start, int(self._start[s])), min(stop, int(self._start[s + 1]))
            if low >= stop:
                break
            if low < high:
                own = int(self._start[s])
                parts.append((self.sources[s], slice(low - own, high - own), slice(low - start, high - start)))
        return parts

    def numbers(self, values: Values, rows: slice, out: Floats) -> None:
        if out.shape[1] != self.shape[1]:
            out[...] = by_rows(self.evaluate(values), out.shape[1])[rows]
            return
        for source, own, here in self._parts(bounded(rows, self.size, out.shape[1])):
            source.numbers(values, own, out[here])

    def evaluate(self, values: Values) -> Floats:
        out = np.empty(self.shape)
        self.numbers(values, slice(0, self.shape[0]), out)
        return out

    def pullback(self, values: Values, rows: slice, gradient: Floats, into: Mapping[str, Floats]) -> None:
        if gradient.shape[1] != self.shape[1]:
            whole = np.zeros(self.shape)
            by_rows(whole, gradient.shape[1])[rows] = gradient
            self.pullback(values, slice(0, self.shape[0]), whole, into)
            return
        for source, own, here in self._parts(bounded(rows, self.size, gradient.shape[1])):
            source.pullback(values, own, gradient[here], into)

    def renamed(self, rename: Rename) -> Parametrisation:
        return Stacked([source.renamed(rename) for source in self.sources], self.shape[1])


def by_rows(array: npt.NDArray[Any], width: int) -> npt.NDArray[Any]:
    """Return a C-ordered array as (rows, width), without copying where numpy need not."""
    return array.reshape(array.size // width if width else 0, width)


def flat_view(target: Floats) -> Floats:
    if not target.flags.c_contiguous:
        raise ValueError("a gradient is added into C-contiguous arrays only")
    return target.reshape(-1)


def add_at(target: Floats, cells: Cells, gradient: Floats, *, distinct: bool) -> None:
    """Add `gradient` to the given cells of a flat array, a cell named twice receiving both.

    The order of the sum is that of `cells`, so the result does not depend on threads.
    """
    if distinct:
        target[cells] += gradient
    elif 8 * cells.size < target.size:
        np.add.at(target, cells, gradient)
    else:
        target += np.bincount(cells, weights=gradient, minlength=target.size)


def bounded(rows: slice, size: int, width: int) -> slice:
    start, stop, _ = rows.indices(size // width if width else 0)
    return slice(start, max(start, stop))
