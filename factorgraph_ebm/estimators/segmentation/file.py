"""A trained segmenter in a file: what was learned, and choices that are words and numbers, without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from factorgraph_ebm.errors import FormatError, MethodError
from factorgraph_ebm.estimators.segmentation.losses import loss_of
from factorgraph_ebm.estimators.segmentation.node_features import Scaling
from factorgraph_ebm.formats.archive import ArchiveReader, ArchiveWriter
from factorgraph_ebm.formats.text import PathLike
from factorgraph_ebm.model import EnergyModel

if TYPE_CHECKING:
    from factorgraph_ebm.estimators.segmentation.segmenter import Segmenter

Kind = TypeVar("Kind", bound="Segmenter")
KIND, VERSION = "segmenter of factorgraph_ebm", 1
ONLY_IN_TRAINING = ("class_weight", "regularizer", "optimizer", "progress", "random_state", "max_iterations", "classes")


def write_segmenter(path: PathLike, segmenter: Segmenter) -> None:
    """Write a segmenter: it will predict the same to the last bit.

    Raises
    ------
    MethodError : its unary energies are those of a classifier, or what it predicts by is neither word nor number.
    """
    if not isinstance(segmenter.unary, str):
        raise MethodError(
            f"unary={segmenter.unary!r} is a classifier, which is written by pickle only. Keep it beside, and write a "
            'segmenter with unary="energies" that is given its -log predict_proba.'
        )
    archive = ArchiveWriter()
    choices: dict[str, Any] = {}
    for name, value in segmenter.get_params(deep=False).items():
        plain = _plain(value)
        if plain is not None or value is None:
            choices[name] = plain
        elif name == "loss":
            choices[name] = loss_of(value, None).name
        elif name not in ONLY_IN_TRAINING and name != "features":
            raise MethodError(f"{name}={value!r} is neither word nor number, and cannot be written.")
    arrays = {"classes": None if segmenter.classes_.dtype.kind in "US" else archive.add(segmenter.classes_)}
    if hasattr(segmenter, "n_features_in_"):
        arrays["mean"], arrays["scale"] = (archive.add(each) for each in segmenter._scaling)
    if segmenter.unary == "logistic":
        arrays["logistic"] = archive.add(segmenter.logistic_)
    parameters = {name: archive.add(value) for name, value in segmenter.model_.parameters.items()}
    history = [{name: float(value).hex() for name, value in row.items()} for row in segmenter.model_.history]
    archive.write(path, {
        "kind": KIND, "version": VERSION, "choices": choices, "arrays": arrays, "parameters": parameters,
        "history": history, "words": segmenter.classes_.tolist() if arrays["classes"] is None else None,
    })  # fmt: skip


def _plain(value: Any) -> Any:
    """A word, a number, or a list or dict of them as JSON holds them; None for all else."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, (bool, str, int, float)):
        return value
    if type(value) in (list, tuple):
        items = [_plain(each) for each in value]
        return None if any(each is None for each in items) else items
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        made = {key: _plain(each) for key, each in value.items()}
        return None if any(each is None for each in made.values()) else made
    return None


def read_segmenter(kind: type[Kind], path: PathLike, choices: Mapping[str, Any]) -> Kind:
    """Read a segmenter; `choices` come before those of the file.

    Raises
    ------
    FormatError : not such a file, a broken one, or one whose features= is a function that is not given.
    """
    archive = ArchiveReader(path)
    header = archive.header_of(KIND, VERSION, "segmenter")
    try:
        told = {**header["choices"], **choices}
        if "features" not in told:
            raise FormatError(f"{path}: was saved with features= a function. Write load(path, features=function).")
        segmenter = kind(**told)
        arrays = {name: np.array(archive.array(at)) for name, at in header["arrays"].items() if at is not None}
        segmenter.classes_ = np.array(header["words"]) if header["words"] is not None else arrays["classes"]
        if "mean" in arrays:
            segmenter._scaling = Scaling(arrays["mean"], arrays["scale"])
            segmenter.n_features_in_ = len(arrays["mean"])
        if "logistic" in arrays:
            segmenter.logistic_ = arrays["logistic"]
        segmenter._energies = segmenter._architecture()
        loss = loss_of(segmenter.loss, None)
        model = EnergyModel(segmenter._energies, loss=loss, inference=segmenter._learning_method()[0])
        model.parameters = {name: np.array(archive.array(at)) for name, at in header["parameters"].items()}
        first = {"unary"} if segmenter._energies.unary == "features" else {"scale", "bias"}
        if not first <= set(model.parameters):
            missing = ", ".join(sorted(first - set(model.parameters)))
            raise FormatError(f"{path}: the parameters {missing} are not there.")
        model.history = [{name: float.fromhex(v) for name, v in row.items()} for row in header["history"]]
    except FormatError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FormatError(f"{path}: the header of the segmenter is broken: {error!r}.") from None
    segmenter.model_ = model
    return segmenter
