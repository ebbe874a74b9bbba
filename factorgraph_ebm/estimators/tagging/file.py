"""A fitted tagger in a file: choices, names and weights, without pickle; every bit of the weights comes back.

An archive (`formats.archive`, readable by `np.load`) of a JSON header and of the weights that were learned, each with
its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Bool
from factorgraph_ebm.errors import EvidenceError, FactorGraphError, FormatError
from factorgraph_ebm.estimators.tagging.declaration import Declaration, Rules
from factorgraph_ebm.estimators.tagging.feature_table import FeatureTable
from factorgraph_ebm.formats.archive import ArchiveReader, ArchiveWriter
from factorgraph_ebm.formats.text import PathLike
from factorgraph_ebm.learning.watching import Row

KIND, VERSION = "tagger of factorgraph_ebm", 1


class Kept(NamedTuple):
    """What a tagger keeps of its training."""

    parameters: dict[str, Any]
    "arguments of the constructor, those that are words, numbers and lists of these"
    classes: list[Any]
    table: FeatureTable
    pair_columns: I64
    declaration: Declaration
    seen: dict[str, Bool]
    values: dict[str, F64]
    objective: float
    history: list[Row]


def write_tagger(path: PathLike, kept: Kept) -> None:
    """Write a tagger. Raises EvidenceError for a tag that no file holds."""
    for tag in kept.classes:
        if not isinstance(tag, (str, int, float, bool)):
            raise EvidenceError(f"tag {tag!r} is a {type(tag).__name__}: a file holds words and numbers.")
    archive, arrays = ArchiveWriter(), {}
    for name, value in kept.values.items():
        places = np.flatnonzero(kept.seen[name])
        arrays[name] = {"places": archive.add(places), "weights": archive.add(value.reshape(-1)[places])}
    rules = kept.declaration.rules
    archive.write(path, {
        "kind": KIND, "version": VERSION, "parameters": kept.parameters, "classes": kept.classes,
        "features": kept.table.state(), "pair_columns": archive.add(kept.pair_columns),
        "boundaries": kept.declaration.boundaries,
        "rules": None if rules is None else [archive.add(mask) for mask in rules],
        "weights": arrays, "objective": float(kept.objective).hex(),
        "history": [{name: float(value).hex() for name, value in row.items()} for row in kept.history],
    })  # fmt: skip


def read_tagger(path: PathLike) -> Kept:
    """Read a tagger. Raises FormatError : not such a file, or a broken one."""
    archive = ArchiveReader(path)
    header = archive.header_of(KIND, VERSION, "tagger")
    try:
        return _kept(archive, header)
    except FormatError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError, FactorGraphError) as error:
        raise FormatError(f"{path}: the header of the tagger is broken: {error!r}.") from None


def _kept(archive: ArchiveReader, header: Mapping[str, Any]) -> Kept:
    classes, table = list(header["classes"]), FeatureTable.from_state(header["features"])
    pair_columns = archive.array(header["pair_columns"]).astype(np.int64)
    rules = None if header["rules"] is None else Rules(*(archive.array(at).astype(bool) for at in header["rules"]))
    n_features = table.width - len(pair_columns)
    order = 2 if "second" in header["weights"] else 1
    declaration = Declaration(len(classes), n_features, len(pair_columns), bool(header["boundaries"]), rules, order)
    seen: dict[str, Bool] = {}
    values: dict[str, F64] = {}
    for name, parameter in declaration.parameters().items():
        of_name = header["weights"][name]
        places, weights = archive.array(of_name["places"]).astype(np.int64), archive.array(of_name["weights"])
        seen[name], values[name] = np.zeros(parameter.shape, np.bool_), np.zeros(parameter.shape)
        if len(places) and not 0 <= places.min() <= places.max() < parameter.size:
            raise FormatError(f"{archive.path}: weights of \"{name}\" lie outside of its shape {parameter.shape}.")
        seen[name].reshape(-1)[places] = True
        values[name].reshape(-1)[places] = weights
    history = [{str(name): float.fromhex(value) for name, value in row.items()} for row in header["history"]]
    parameters = dict(header["parameters"])
    objective = float.fromhex(header["objective"])
    return Kept(parameters, classes, table, pair_columns, declaration, seen, values, objective, history)



def plain(value: Any) -> bool:
    """Whether JSON holds a value as it is."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return all(plain(each) for each in value)
    return value is None or isinstance(value, (str, int, float))
