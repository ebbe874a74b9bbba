"""Checkpoints: the state of an optimiser in one file, bit for bit, without pickle.

An archive (`formats.archive`, readable by `np.load`) of the state's arrays and a JSON header, which says how they are
put together and what else the trainer wants to know: epoch, seed, the fingerprint of the layout. It is written under a
temporary name beside the file, then renamed: a reader finds the old one or the new one, never half of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from factorgraph_ebm.errors import FormatError
from factorgraph_ebm.formats.archive import ArchiveReader, ArchiveWriter
from factorgraph_ebm.formats.text import LIMIT_BYTES, PathLike, bytes_in_words

KIND = "checkpoint of factorgraph_ebm"
VERSION = 1
LARGEST = LIMIT_BYTES - 2**20
"bytes of arrays: a larger file would not be read again"


def write_checkpoint(path: PathLike, state: Any, header: Mapping[str, Any]) -> None:
    """Write a state of NamedTuples, tuples, arrays of numbers, floats, ints, bools and None.

    Parameters
    ----------
    header : plain JSON values; "fingerprint" is what `read_checkpoint` compares

    Raises
    ------
    FormatError : the state is larger than any file that would be read again.
    TypeError : it holds something else.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from factorgraph_ebm.learning.optimizers.online import OnlineState
    >>> state = OnlineState(np.array([0.1, 0.2]), np.zeros(2), 7, 1, 3, float("nan"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "run.npz")
    ...     write_checkpoint(path, state, {"epoch": 1})
    ...     read_checkpoint(path, OnlineState)
    (OnlineState(w=array([0.1, 0.2]), late=array([0., 0.]), seen=7, epoch=1, changes=3, loss=nan), {'epoch': 1})
    """
    archive = ArchiveWriter()
    tree = _plain(state, "state", archive)
    size = sum(array.nbytes for array in archive.arrays)
    if size > LARGEST:
        raise FormatError(
            f"{path}: the state takes {bytes_in_words(size)}, more than a checkpoint holds: "
            f"{bytes_in_words(LARGEST)}. Use an optimizer that remembers less, such as sgd()."
        )
    content = {"kind": KIND, "version": VERSION, "header": dict(header), "state": tree}
    # Random digits do not compress: packing them takes seconds for nothing.
    archive.write(path, content, packed=False)


def read_checkpoint(path: PathLike, like: Any, *, fingerprint: str | None = None) -> tuple[Any, dict[str, Any]]:
    """Read a state and the header that were written together.

    Parameters
    ----------
    like : the type of the state, or any state of that type (`optimizer.init(...)`): where states lie inside each
        other, their types are taken from it
    fingerprint : what header["fingerprint"] must be; None: whatever it is

    Raises
    ------
    FormatError : not a checkpoint, broken, of another optimiser or of another model.
    """
    archive = ArchiveReader(path)
    content = archive.header()
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise FormatError(f"{path}: not a checkpoint of training.")
    if content.get("version") != VERSION:
        raise FormatError(
            f"{path}: a checkpoint of version {content.get('version')!r}; this library reads version {VERSION}. "
            "Train anew, or use the version that wrote it."
        )
    header, tree = content.get("header"), content.get("state")
    if not isinstance(header, dict):
        raise FormatError(f"{path}: the header of the checkpoint is missing.")
    if fingerprint is not None and header.get("fingerprint") != fingerprint:
        raise FormatError(
            f"{path}: the checkpoint was written by another model: its parameters or data have fingerprint "
            f"{header.get('fingerprint')!r}, these {fingerprint!r}. Train with the same ones, or name another file."
        )
    return _built(tree, like, "state", archive, path), header


def _plain(value: Any, where: str, archive: ArchiveWriter) -> Any:
    """A value as JSON; arrays go to the archive."""
    if value is None or isinstance(value, (bool, np.bool_)):
        return None if value is None else bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        # Every bit, also of inf and nan, which JSON does not have.
        return {"float": float(value).hex()}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {"array": archive.add(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        fields = {name: _plain(each, f"{where}.{name}", archive) for name, each in zip(value._fields, value)}
        return {"named": type(value).__name__, "fields": fields}
    if isinstance(value, tuple):
        return {"tuple": [_plain(each, f"{where}[{i}]", archive) for i, each in enumerate(value)]}
    raise TypeError(
        f"{where} is a {type(value).__name__}: a state of an optimizer may hold arrays of numbers, floats, ints, "
        "bools, None, and tuples and NamedTuples of these."
    )


def _built(tree: Any, like: Any, where: str, archive: ArchiveReader, path: PathLike) -> Any:
    """The value that `_plain` was given."""
    if tree is None or isinstance(tree, (bool, int)):
        return tree
    try:
        if set(tree) == {"float"}:
            return float.fromhex(tree["float"])
        if set(tree) == {"array"}:
            return np.array(archive.array(tree["array"]))
        if set(tree) == {"tuple"}:
            parts = like if isinstance(like, tuple) and len(like) == len(tree["tuple"]) else [None] * len(tree["tuple"])
            return tuple(
                _built(each, part, f"{where}[{i}]", archive, path)
                for i, (each, part) in enumerate(zip(tree["tuple"], parts))
            )
        name, fields = tree["named"], dict(tree["fields"])
    except FormatError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        raise FormatError(f"{path}: {where} of the checkpoint cannot be read.") from None
    kind = like if isinstance(like, type) else type(like)
    expected = getattr(kind, "_fields", None)
    if name != kind.__name__ or expected is None or tuple(fields) != tuple(expected):
        raise FormatError(
            f"{path}: {where} of the checkpoint is a {name} of {', '.join(fields)}, not a {kind.__name__}: it was "
            "written by another optimizer, or another version. Train with that one, or name another file."
        )
    inner = {} if isinstance(like, type) else dict(zip(expected, like))
    hints = getattr(kind, "__annotations__", {})
    return kind(
        **{
            field: _built(each, inner.get(field, _type(hints.get(field))), f"{where}.{field}", archive, path)
            for field, each in fields.items()
        }
    )


def _type(hint: Any) -> Any:
    return hint if isinstance(hint, type) else None
