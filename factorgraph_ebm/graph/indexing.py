"""Cells: flat indices into a declared array, shared by variables and parameters.

A declared array of shape s owns the cells 0 .. prod(s) - 1 in C order. Every declared array takes its cells as a
view of one read-only `arange`, so that slicing a million cells is a numpy view and costs a microsecond, and so
that two views made the same way are recognised by offset, shape and strides without reading a cell.
"""

import hashlib
import operator
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Cells = npt.NDArray[np.intp]

_ITEM = np.dtype(np.intp).itemsize


def _frozen_arange(size: int) -> Cells:
    cells = np.arange(size, dtype=np.intp)
    cells.flags.writeable = False
    return cells


_arange = _frozen_arange(1 << 12)


def declared_cells(shape: tuple[int, ...], size: int) -> Cells:
    """Return the cells of a declared array: 0 .. size - 1 in C order, a read-only view of one shared array."""
    global _arange
    if size > _arange.size:
        # Doubling: views of the old array stay valid, and a growing program copies each cell once.
        _arange = _frozen_arange(max(size, 2 * _arange.size))
    return _arange[:size].reshape(shape)


def as_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    """Read a shape as numpy does: an int n is (n,). Raises TypeError or ValueError."""
    try:
        result: tuple[int, ...] = (operator.index(shape),)  # type: ignore[arg-type]
    except TypeError:
        result = tuple(map(operator.index, shape))  # type: ignore[arg-type]
    if result and min(result) < 0:
        raise ValueError(f"a shape cannot be negative: {result}")
    return result


def index_cells(cells: Cells, index: Any) -> Cells:
    """Index `cells` by numpy's own rules, but keep a single cell as an array of shape ()."""
    found = cells[index]
    if isinstance(found, np.ndarray):
        return found
    single: Cells = cells[(*index, ...) if isinstance(index, tuple) else (index, ...)]
    return single


def is_whole(cells: Cells, declared: Cells) -> bool:
    """Whether `cells` is the declared array itself, by memory and not by value."""
    return cells is declared or (
        cells.shape == declared.shape
        and cells.strides == declared.strides
        and cells.__array_interface__["data"][0] == declared.__array_interface__["data"][0]
    )


def is_strided(cells: Cells, declared: Cells) -> bool:
    """Whether `cells` is a strided view of the shared array that `declared` lies in."""
    return cells.base is not None and cells.base is declared.base


def cells_key(cells: Cells, declared: Cells) -> Hashable:
    """Return a hashable description of `cells`: constant time for a view, a digest of the bytes otherwise."""
    if is_whole(cells, declared):
        return None
    if cells.size == 0:
        return cells.shape
    if is_strided(cells, declared):
        offset = (cells.__array_interface__["data"][0] - declared.__array_interface__["data"][0]) // _ITEM
        # The stride of an axis of length one moves nothing: dropping it makes equal cells equal keys.
        strides = tuple(
            0 if length == 1 else stride // _ITEM for length, stride in zip(cells.shape, cells.strides, strict=True)
        )
        return offset, cells.shape, strides
    return cells.shape, digest(cells)


def digest(array: npt.NDArray[Any]) -> bytes:
    """Return 16 bytes that stand for the values of an array in C order."""
    return hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=16).digest()
