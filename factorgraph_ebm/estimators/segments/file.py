"""A segment tagger in a file without pickle: weights, columns of features, the choices that are words and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, Bool
from factorgraph_ebm.errors import FactorGraphError, FormatError, MethodError
from factorgraph_ebm.estimators.conventions import as_plain
from factorgraph_ebm.estimators.segments.declaration import SegmentDeclaration
from factorgraph_ebm.estimators.segments.states import SegmentStates
from factorgraph_ebm.estimators.tagging.feature_table import FeatureTable
from factorgraph_ebm.formats.archive import ArchiveReader, ArchiveWriter
from factorgraph_ebm.formats.text import PathLike
from factorgraph_ebm.learning.watching import Row

KIND, VERSION = "segment tagger of factorgraph_ebm", 1

WORDS = ("loss", "optimizer", "scheme")
"arguments that are saved where they are words"
NUMBERS = (
    "c1", "c2", "max_iterations", "boundaries", "outside", "all_possible_states", "all_possible_transitions",
    "min_freq", "hashing", "random_state", "threads",
)  # fmt: skip
"arguments that are saved as they are; max_length is in the longest segments of labels"


class Fitted(NamedTuple):
    """What a segment tagger knows after training."""

    labels: list[Any]
    states: SegmentStates
    table: FeatureTable
    "of tokens"
    of_segments: FeatureTable | None
    boundaries: bool
    values: Mapping[str, F64]
    "of parameters, by name"
    seen: Mapping[str, Bool]
    "which entries of these were learned, but for lengths"

    def declaration(self) -> SegmentDeclaration:
        """Of the graphs."""
        width = 0 if self.of_segments is None else self.of_segments.width
        return SegmentDeclaration(self.states, self.table.width, width, self.boundaries)


def write_segment_tagger(
    path: PathLike, params: Mapping[str, Any], fitted: Fitted, objective: float, history: Sequence[Row]
) -> None:
    """Write a tagger: every bit of its weights comes back.

    Raises
    ------
    MethodError : labels that are neither words nor numbers.
    """
    for label in [*fitted.labels, params["outside"]]:
        if not isinstance(label, (str, int, float)) and label is not None:
            raise MethodError(f"label {label!r} is a {type(label).__name__}; files have words and numbers.")
    archive = ArchiveWriter()
    weights = {}
    for name, value in fitted.values.items():
        cells = np.flatnonzero(fitted.seen[name]) if name in fitted.seen else np.arange(value.size)
        shape = list(value.shape)
        weights[name] = {"shape": shape, "cells": archive.add(cells), "values": archive.add(value.ravel()[cells])}
    told = {name: params[name] for name in WORDS if isinstance(params[name], str)}
    told |= {name: as_plain(params[name]) for name in NUMBERS}
    archive.write(path, {
        "kind": KIND, "version": VERSION, "params": told, "labels": fitted.labels,
        "lengths": fitted.states.lengths.tolist(), "table": fitted.table.state(),
        "of_segments": None if fitted.of_segments is None else fitted.of_segments.state(),
        "boundaries": fitted.boundaries, "weights": weights, "objective": float(objective).hex(),
        "history": [{name: float(value).hex() for name, value in row.items()} for row in history],
    })  # fmt: skip


def read_segment_tagger(path: PathLike) -> tuple[dict[str, Any], Fitted, float, list[Row]]:
    """The arguments of the constructor that were saved, what was learned, the objective and the history.

    Raises
    ------
    FormatError : not such a file, or a broken one.
    """
    archive = ArchiveReader(path)
    header = archive.header_of(KIND, VERSION, "segment tagger")
    try:
        params = {name: header["params"][name] for name in (*WORDS, *NUMBERS) if name in header["params"]}
        labels, lengths = list(header["labels"]), [int(n) for n in header["lengths"]]
        if len(labels) != len(lengths) or min(lengths, default=0) < 1:
            raise ValueError("labels and lengths do not fit each other")
        params["max_length"] = {k: n for k, n in zip(labels, lengths) if k != params["outside"]}
        table = FeatureTable.from_state(header["table"])
        of_segments = None if header["of_segments"] is None else FeatureTable.from_state(header["of_segments"])
        fitted = Fitted(labels, SegmentStates(lengths), table, of_segments, bool(header["boundaries"]), {}, {})
        values, seen = {}, {}
        for name, parameter in fitted.declaration().parameters().items():
            told = header["weights"][name]
            if tuple(told["shape"]) != parameter.shape:
                raise ValueError(f"{name} has shape {told['shape']}, and should have {parameter.shape}")
            cells = np.array(archive.array(told["cells"]), np.int64)
            value, mask = np.zeros(parameter.size), np.zeros(parameter.size, np.bool_)
            value[cells] = np.array(archive.array(told["values"]), np.float64)
            mask[cells] = True
            values[name], seen[name] = value.reshape(parameter.shape), mask.reshape(parameter.shape)
        objective = float.fromhex(header["objective"])
        history = [{str(name): float.fromhex(value) for name, value in row.items()} for row in header["history"]]
    except FormatError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, FactorGraphError) as error:
        raise FormatError(f"{path}: the segment tagger is broken: {error!r}.") from None
    return params, fitted._replace(values=values, seen=seen), objective, history
