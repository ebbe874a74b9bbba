"""Which weights a tagger learns: those of features with tags, and of tags with tags, that training data show.

That is CRFsuite's default (Okazaki, "CRFsuite", 2007): a weight that no right answer would raise stays 0, which makes
models a quarter as large. Where a tag is not known, each that the token may have counts as shown.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Bool
from factorgraph_ebm.estimators.tagging.declaration import Declaration, Sequences

AT_ONCE = 1 << 13
"tokens that are looked at at once"


class Wanted(NamedTuple):
    """CRFsuite's options of the same names; a minimum of -inf is none."""

    all_possible_states: bool = False
    all_possible_transitions: bool = False
    min_freq: float = 0.0


def seen_of(declaration: Declaration, sequences: Sequences, tags: I64, wanted: Wanted) -> dict[str, Bool]:
    """Masks of the entries of each parameter that are learned.

    A pair of a feature and a tag counts with the sum of the feature's values, one of tags with its number; where that
    is below `min_freq` it is left out.
    """
    k = declaration.n_tags
    known = tags >= 0
    rows, of_row = _choices(sequences, tags, k)
    shown = {"state": _state(sequences.x, tags, rows, of_row, k, wanted)}
    left = sequences.pairs()
    counts = np.zeros((k, k))
    together = left[known[left] & known[left + 1]]
    np.add.at(counts, (tags[together], tags[together + 1]), 1.0)
    possible = counts > 0.0
    if wanted.all_possible_transitions:
        possible[:] = True
    apart = left[~(known[left] & known[left + 1])]
    for t in apart.tolist():
        possible[np.ix_(_options(sequences, tags, t, k), _options(sequences, tags, t + 1, k))] = True
    shown["transition"] = possible & (counts >= wanted.min_freq)
    if declaration.n_pair_features:
        shown["pair"] = _pair(sequences, tags, left, k, wanted)
    if declaration.order == 2:
        shown["second"] = _triples(sequences, tags, k, wanted)
    if declaration.boundaries:
        first, last = sequences.ends()
        shown["start"], shown["end"] = (_tags_at(sequences, tags, at, k) for at in (first, last))
    if declaration.rules is not None:
        shown["transition"] &= declaration.rules.pair
        if declaration.order == 2:
            shown["second"] &= declaration.rules.pair[:, :, None] & declaration.rules.pair
    return shown


def _triples(sequences: Sequences, tags: I64, k: int, wanted: Wanted) -> Bool:
    """Tags of three tokens in a row."""
    left = sequences.pairs()
    third = left[np.isin(left + 1, left)] + 2
    known = third[(tags[third] >= 0) & (tags[third - 1] >= 0) & (tags[third - 2] >= 0)]
    counts = np.zeros((k, k, k))
    np.add.at(counts, (tags[known - 2], tags[known - 1], tags[known]), 1.0)
    possible = np.ones(counts.shape, np.bool_) if wanted.all_possible_transitions else counts > 0.0
    return possible & (counts >= wanted.min_freq)


def _state(x: Any, tags: I64, rows: I64, of_row: Bool, k: int, wanted: Wanted) -> Bool:
    n_features = x.shape[1]
    possible = np.zeros(n_features * k, np.bool_)
    signed = wanted.min_freq > 0.0 or (wanted.min_freq == 0.0 and bool(len(x.data) and x.data.min() < 0.0))
    total: F64 = np.zeros(n_features * k if signed else 0)
    for first in range(0, x.shape[0], AT_ONCE):
        last = min(first + AT_ONCE, x.shape[0])
        here = slice(int(x.indptr[first]), int(x.indptr[last]))
        tag = np.repeat(tags[first:last], np.diff(x.indptr[first : last + 1]))
        cell = x.indices[here].astype(np.int64) * k + tag
        possible[cell[tag >= 0]] = True
        if signed:
            np.add.at(total, cell[tag >= 0], x.data[here][tag >= 0])
    possible = possible.reshape(n_features, k)
    if wanted.all_possible_states:
        possible[np.unique(x.indices)] = True
    if len(rows):
        possible |= (abs(x[rows]).T @ of_row.astype(np.float64)) > 0.0
    return possible & (total.reshape(n_features, k) >= wanted.min_freq) if signed else possible


def _choices(sequences: Sequences, tags: I64, k: int) -> tuple[I64, Bool]:
    """Tokens whose tag is not known, and the tags that each may have."""
    rows = np.flatnonzero(tags < 0)
    if sequences.allowed is None:
        return rows, np.ones((len(rows), k), np.bool_)
    return rows, sequences.allowed[rows]


def _options(sequences: Sequences, tags: I64, token: int, k: int) -> I64:
    """The tags that a token may have."""
    if tags[token] >= 0:
        return tags[token : token + 1]
    if sequences.allowed is None:
        return np.arange(k)
    return np.flatnonzero(sequences.allowed[token])


def _tags_at(sequences: Sequences, tags: I64, at: I64, k: int) -> Bool:
    shown = np.zeros(k, np.bool_)
    for token in at.tolist():
        shown[_options(sequences, tags, token, k)] = True
    return shown


def _pair(sequences: Sequences, tags: I64, left: I64, k: int, wanted: Wanted) -> Bool:
    """Features of a token with its tag and the one before."""
    x = sequences.pair_x[left + 1]
    n_features = x.shape[1]
    before, after = tags[left], tags[left + 1]
    row = np.repeat(np.arange(len(left)), np.diff(x.indptr))
    known = ((before >= 0) & (after >= 0))[row]
    cell = (x.indices.astype(np.int64) * k + before[row]) * k + after[row]
    possible, total = np.zeros(n_features * k * k, np.bool_), np.zeros(n_features * k * k)
    possible[cell[known]] = True
    np.add.at(total, cell[known], x.data[known])
    shown: Bool = possible.reshape(n_features, k, k)
    if wanted.all_possible_transitions:
        shown[np.unique(x.indices)] = True
    for i in np.flatnonzero((before < 0) | (after < 0)).tolist():
        options = np.ix_(
            x.indices[x.indptr[i] : x.indptr[i + 1]],
            _options(sequences, tags, int(left[i]), k),
            _options(sequences, tags, int(left[i]) + 1, k),
        )
        shown[options] = True
    return shown & (total.reshape(shown.shape) >= wanted.min_freq)
