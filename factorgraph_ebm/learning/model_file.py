"""A trained model in a file: parameters, history and the choices that are words and numbers, without pickle.

The architecture is code, and is not saved; nor is what a loss or an optimiser was told when it was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import FormatError
from factorgraph_ebm.formats.archive import ArchiveReader, ArchiveWriter
from factorgraph_ebm.formats.text import PathLike
from factorgraph_ebm.inference import METHODS
from factorgraph_ebm.losses import LOSSES

KIND, VERSION = "model of factorgraph_ebm", 1


def write_model(
    path: PathLike, parameters: Mapping[str, F64], history: Sequence[Mapping[str, float]], choices: Mapping[str, Any]
) -> None:
    """Write a model: every bit of parameters and history comes back.

    Parameters
    ----------
    choices : loss (a name), latent, beta, inference (options that are words and numbers)
    """
    archive = ArchiveWriter()
    arrays = {name: archive.add(value) for name, value in parameters.items()}
    rows = [{name: float(value).hex() for name, value in row.items()} for row in history]
    plain = {name: _plain(value) for name, value in choices["inference"].items()}
    archive.write(path, {
        "kind": KIND, "version": VERSION, "parameters": arrays, "history": rows, "loss": choices["loss"],
        "latent": choices["latent"], "beta": float(choices["beta"]).hex(),
        "inference": {name: value for name, value in plain.items() if value is not None},
    })  # fmt: skip


def _plain(value: Any) -> str | int | float | None:
    """A word or a number as JSON holds it; None for all else."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if isinstance(value, (str, int)) else None


def read_model(path: PathLike) -> tuple[dict[str, F64], list[dict[str, float]], dict[str, Any]]:
    """Parameters, history and choices of a saved model.

    Raises
    ------
    FormatError : not such a file, a broken one, or of a loss that this library does not have.
    """
    archive = ArchiveReader(path)
    header = archive.header()
    if not isinstance(header, dict) or header.get("kind") != KIND:
        raise FormatError(f"{path}: not a saved model.")
    if header.get("version") != VERSION:
        raise FormatError(f"{path}: a model of version {header.get('version')!r}; this library reads {VERSION}.")
    try:
        told = {
            "loss": header["loss"], "latent": header["latent"], "beta": float.fromhex(header["beta"]),
            "inference": dict(header["inference"]),
        }  # fmt: skip
        parameters = {str(name): np.array(archive.array(at), np.float64) for name, at in header["parameters"].items()}
        history = [{str(name): float.fromhex(v) for name, v in row.items()} for row in header["history"]]
        known = (
            told["loss"] in LOSSES and told["latent"] in ("minimize", "marginalize") and told["beta"] >= 0.0
            and told["inference"].get("method", "auto") in (*METHODS, "auto")
        )  # fmt: skip
    except FormatError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FormatError(f"{path}: the header of the model is broken: {error!r}.") from None
    if not known:
        raise FormatError(f"{path}: loss, latent, beta or method of the model is none that this library knows.")
    return parameters, history, told
