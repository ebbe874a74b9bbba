"""A trained model in a file: parameters, history and the choices that are words, numbers and arrays, without pickle.

The architecture is code, and is not saved; nor is a loss that is made of functions, or what an optimiser was told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import FormatError, MethodError
from factorgraph_ebm.formats.archive import ArchiveReader, ArchiveWriter
from factorgraph_ebm.formats.text import PathLike
from factorgraph_ebm.inference import METHODS
from factorgraph_ebm.losses import LOSSES, Loss

KIND, VERSION = "model of factorgraph_ebm", 2


def write_model(
    path: PathLike, parameters: Mapping[str, F64], history: Sequence[Mapping[str, float]], choices: Mapping[str, Any]
) -> None:
    """Write a model: every bit of parameters and history comes back.

    Parameters
    ----------
    choices : loss, latent, beta, inference (options that are words and numbers)
    """
    archive = ArchiveWriter()
    loss: Loss = choices["loss"]
    arrays = {name: archive.add(value) for name, value in parameters.items()}
    rows = [{name: float(value).hex() for name, value in row.items()} for row in history]
    plain = {name: _plain(value) for name, value in choices["inference"].items()}
    archive.write(path, {
        "kind": KIND, "version": VERSION, "parameters": arrays, "history": rows, "loss": loss.name,
        "options": options_of(loss, archive.add), "latent": choices["latent"], "beta": float(choices["beta"]).hex(),
        "inference": {name: value for name, value in plain.items() if value is not None},
    })  # fmt: skip


def _plain(value: Any) -> str | int | float | None:
    """A word or a number as JSON holds it; None for all else."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if isinstance(value, (str, int)) else None


def options_of(loss: Loss, keep: Callable[[Any], Any]) -> dict[str, Any] | None:
    """The options of a loss as JSON holds them; `keep` says what stands for an array. None: it is made of functions."""
    return None if loss.options is None else {name: _written(value, keep) for name, value in loss.options.items()}


def _written(value: Any, keep: Callable[[Any], Any]) -> Any:
    if isinstance(value, Mapping):
        return {"of": {name: _written(each, keep) for name, each in value.items()}}
    if isinstance(value, np.ndarray):
        return {"array": keep(value)}
    return {"number": value.hex()} if isinstance(value, float) else value


def _as_written(value: Any, archive: ArchiveReader) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "of":
        return {name: _as_written(each, archive) for name, each in inner.items()}
    return archive.array(inner) if kind == "array" else float.fromhex(inner)


def _loss(name: Any, options: Any, archive: ArchiveReader) -> Loss:
    """The loss that was saved."""
    path = archive.path
    if options is None:
        raise MethodError(
            f'{path}: loss "{name}" was made of functions, which are code and not saved. Give it again: '
            "EnergyModel.load(path, architecture, loss=...)."
        )
    if name not in LOSSES:
        raise FormatError(f"{path}: there is no loss {name!r} in this library.")
    told = {option: _as_written(value, archive) for option, value in options.items()}
    try:
        return LOSSES[name](**told)
    except MethodError as error:
        raise FormatError(f"{path}: the loss of the model is broken: {error}") from None


def read_model(path: PathLike, loss: Any = None) -> tuple[dict[str, F64], list[dict[str, float]], dict[str, Any]]:
    """Parameters, history and choices of a saved model.

    Parameters
    ----------
    loss : instead of the one that was saved; None: that one

    Raises
    ------
    FormatError : not such a file, a broken one, or of a loss that this library does not have.
    MethodError : its loss was made of functions, and `loss` is None.
    """
    archive = ArchiveReader(path)
    header = archive.header_of(KIND, VERSION, "model")
    try:
        told = {
            "loss": _loss(header["loss"], header["options"], archive) if loss is None else loss,
            "latent": header["latent"], "beta": float.fromhex(header["beta"]), "inference": dict(header["inference"]),
        }  # fmt: skip
        parameters = {str(name): np.array(archive.array(at), np.float64) for name, at in header["parameters"].items()}
        history = [{str(name): float.fromhex(v) for name, v in row.items()} for row in header["history"]]
        known = (
            told["latent"] in ("minimize", "marginalize") and told["beta"] >= 0.0
            and told["inference"].get("method", "auto") in (*METHODS, "auto")
        )  # fmt: skip
    except (FormatError, MethodError):
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FormatError(f"{path}: the header of the model is broken: {error!r}.") from None
    if not known:
        raise FormatError(f"{path}: latent, beta or method of the model is none that this library knows.")
    return parameters, history, told
