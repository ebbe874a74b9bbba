"""Features of segments: what a function of the user says of each, as one sparse matrix by the token they begin at.

    segment_features(sequence, start, stop) -> {"words": "New York", "capitals": 2}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Bool
from factorgraph_ebm.errors import EvidenceError
from factorgraph_ebm.estimators.segments.states import SegmentStates
from factorgraph_ebm.estimators.segments.targets import Segment, Segmented
from factorgraph_ebm.estimators.tagging.declaration import Sequences
from factorgraph_ebm.estimators.tagging.feature_table import FeatureTable
from factorgraph_ebm.estimators.tagging.labels import length_of
from factorgraph_ebm.estimators.tagging.seen_pairs import Wanted

SegmentFeatures: TypeAlias = Callable[[Any, int, int], Mapping[str, Any]]


def learn_columns(
    table: FeatureTable, features: SegmentFeatures, sequences: Sequence[Any], segments: Sequence[Sequence[Segment]]
) -> None:
    """Give the features of these segments columns."""
    table.fit_transform([
        [_told(features, x, start, stop) for start, stop, _ in each] for x, each in zip(sequences, segments)
    ])  # fmt: skip


def every_segment(sequences: Sequence[Any], longest: int) -> list[list[Segment]]:
    """All segments of up to so many tokens of each sequence, without labels."""
    return [
        [(start, stop, None) for start in range(n) for stop in range(start + 1, min(n, start + longest) + 1)]
        for n in map(length_of, sequences)
    ]


def features_of(table: FeatureTable, features: SegmentFeatures, sequences: Sequence[Any], longest: int) -> Any:
    """(tokens, longest * features of segments) CSR: in row s what is said of the segments that begin at s.

    Those of one length lie side by side, length after length.
    """
    every = every_segment(sequences, longest)
    _, x = table.transform([
        [_told(features, each, start, stop) for start, stop, _ in segments] for each, segments in zip(sequences, every)
    ])  # fmt: skip
    place = np.array([(start, stop) for segments in every for start, stop, _ in segments], np.int64).reshape(-1, 2)
    length = place[:, 1] - place[:, 0]
    column = x.indices + np.repeat(length - 1, np.diff(x.indptr)) * table.width
    first = np.append(np.flatnonzero(length == 1), len(length))
    tokens = sum(map(length_of, sequences))
    return type(x)((x.data, column, x.indptr[first]), shape=(tokens, longest * table.width))


def _told(features: SegmentFeatures, sequence: Any, start: int, stop: int) -> Mapping[str, Any]:
    told = features(sequence, start, stop)
    if not isinstance(told, Mapping):
        raise EvidenceError(
            f"segment_features returned {type(told).__name__} for tokens {start} to {stop - 1}. Return a dict of "
            "features, as that of a token."
        )
    return told


def seen_of_segments(
    states: SegmentStates, sequences: Sequences, segmented: Segmented, boundaries: bool, n_segment_features: int,
    wanted: Wanted,
) -> dict[str, Bool]:  # fmt: skip
    """Which weights are learned: those of features and labels, and of labels and labels, that training data show."""
    k = states.n_labels
    start, stop, label = segmented.start, segmented.stop, segmented.label
    rows = [(np.arange(int(sequences.start[-1])), np.repeat(label, stop - start))]
    if boundaries:
        rows += [(start, label), (stop - 1, label)]
    parts = [_shown(sequences.x, at, of, k, sequences.x.shape[1], wanted) for at, of in rows]
    shown = {"token": np.stack(parts, axis=1)}
    if n_segment_features:
        z = sequences.pair_x
        row = np.repeat(np.arange(z.shape[0]), np.diff(z.indptr))
        begun, length = np.full(z.shape[0], -1), np.zeros(z.shape[0], np.int64)
        begun[start], length[start] = label, stop - start
        right = (begun[row] >= 0) & (z.indices // n_segment_features == length[row] - 1)
        cell = (z.indices[right] % n_segment_features).astype(np.int64) * k + begun[row[right]]
        shown["segment"] = _mask(cell, z.data[right], n_segment_features, k, wanted)
        if wanted.all_possible_states:
            shown["segment"][:] = True
    counts: F64 = np.zeros((k, k))
    follows = segmented.sequence[1:] == segmented.sequence[:-1]
    np.add.at(counts, (label[:-1][follows], label[1:][follows]), 1.0)
    possible = np.ones((k, k), np.bool_) if wanted.all_possible_transitions else counts > 0.0
    shown["transition"] = possible & (counts >= wanted.min_freq)
    return shown


def _shown(x: Any, rows: I64, label: I64, k: int, features: int, wanted: Wanted) -> Bool:
    part = x[rows]
    of = np.repeat(label, np.diff(part.indptr))
    found = _mask(part.indices.astype(np.int64) * k + of, part.data, features, k, wanted)
    if wanted.all_possible_states:
        found[np.unique(x.indices)] = True
    return found


def _mask(cell: I64, data: F64, features: int, k: int, wanted: Wanted) -> Bool:
    found = np.zeros(features * k, np.bool_)
    found[cell] = True
    if wanted.min_freq > 0.0:
        found &= np.bincount(cell, data, features * k) >= wanted.min_freq
    return found.reshape(features, k)
