"""Right segments by name and by number: lists of (start, stop, label), or tags of a scheme, read and checked.

A segment is (start, stop, label): the tokens start to stop - 1, numbered from 0 in their sequence. Tokens in none of
those that are listed are each a segment of the label `outside` by themselves.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from factorgraph_ebm.arrays import I64
from factorgraph_ebm.errors import EvidenceError, MethodError
from factorgraph_ebm.estimators.tagging.labels import count_alike, length_of, plain, read_tags, unknown
from factorgraph_ebm.estimators.tagging.spans import OUTSIDE, known_scheme, spans

Segment: TypeAlias = "tuple[int, int, Any]"

LETTERS: Mapping[str, str] = {
    "IOB1": "IIII", "IOB2": "BIIB", "BIO": "BIIB", "IOE1": "IIII", "IOE2": "IIEE", "BIOES": "BIES", "IOBES": "BIES",
    "BILOU": "BILU",
}  # fmt: skip
"scheme -> letters of the first, an inner and the last token of a segment, and of one token alone"


class Segmented(NamedTuple):
    """Segments end to end, in order."""

    start: I64
    "(m,) first token of each"
    stop: I64
    "(m,) the one after its last"
    label: I64
    "(m,) number of its label"
    sequence: I64
    "(m,)"


def read_segments(
    sequences: Sequence[Any], targets: Sequence[Any], outside: Any, scheme: str | None = None, what: str = "y"
) -> list[list[Segment]]:
    """The segments of sequences, such that each token is in one.

    Parameters
    ----------
    targets : for each sequence a list of (start, stop, label), or with `scheme` its tags
    outside : label of tokens in no segment, each by itself; None: there must be none such

    Raises
    ------
    EvidenceError : segments that overlap, are empty or out of range, or leave tokens out; another number of sequences
        or tags.
    """
    if scheme is not None:
        tags = read_tags(sequences, targets, what)
        listed: Sequence[Any] = [_spans_of(each, scheme, f"{what}[{i}]") for i, each in enumerate(tags)]
    else:
        count_alike(sequences, targets, what)
        listed = targets
    return [_cover(each, length_of(x), outside, f"{what}[{i}]") for i, (x, each) in enumerate(zip(sequences, listed))]


def _cover(listed: Any, n: int, outside: Any, where: str) -> list[Segment]:
    found: list[Segment] = []
    at = 0
    for start, stop, label in sorted((_read(each, n, where) for each in plain(listed)), key=lambda each: each[:2]):
        if start < at:
            raise EvidenceError(
                f"{where}: segments {found[-1]} and {(start, stop, label)} overlap. A token is in one segment."
            )
        found += _alone(at, start, outside, where)
        found += _alone(start, stop, outside, where) if label == outside else [(start, stop, label)]
        at = stop
    return found + _alone(at, n, outside, where)


def _read(segment: Any, n: int, where: str) -> Segment:
    try:
        start, stop, label = segment
    except (TypeError, ValueError):
        raise EvidenceError(f"{where}: a segment is (start, stop, label), not {segment!r}.") from None
    whole = all(isinstance(each, (int, np.integer)) for each in (start, stop))
    if not whole or not isinstance(label, Hashable):
        raise EvidenceError(f"{where}: a segment is (start, stop, label), two ints and a word, not {segment!r}.")
    if not 0 <= start < stop <= n or label is None:
        raise EvidenceError(
            f"{where}: segment {segment!r} does not fit: 0 <= start < stop <= {n} for {n} tokens, and a label."
        )
    return int(start), int(stop), label


def _alone(low: int, high: int, outside: Any, where: str) -> list[Segment]:
    if outside is None and low < high:
        raise EvidenceError(
            f"{where}: tokens {low} to {high - 1} are in no segment. Add what they are in, or write outside= with a "
            "label for such tokens."
        )
    return [(t, t + 1, outside) for t in range(low, high)]


def _spans_of(tags: Sequence[Any], scheme: str, where: str) -> list[Segment]:
    try:
        return [(span.start, span.stop, span.type) for span in spans(tags, scheme)]
    except EvidenceError as error:
        raise EvidenceError(f"{where}: {error}") from None


def tags_of_segments(segments: Sequence[Segment], n: int, outside: Any, scheme: str) -> list[Any]:
    """The tags that mean these segments of n tokens.

    Examples
    --------
    >>> tags_of_segments([(0, 2, "PER"), (3, 4, "LOC")], 5, "O", "BIOES")
    ['B-PER', 'E-PER', 'O', 'S-LOC', 'O']
    """
    found: list[Any] = [OUTSIDE if outside is None else outside] * n
    name = known_scheme(scheme)
    first, inner, last, only = list(LETTERS[name])
    for start, stop, label in segments:
        letters = [first, *inner * (stop - start - 2), last] if stop - start > 1 else [only]
        found[start:stop] = [f"{letter}-{label}" for letter in letters]
    if name in ("IOB1", "IOE1"):  # a mark only where it tells two segments apart
        for (_, end, one), (begin, _, two) in pairwise(segments):
            if end == begin and one == two:
                place = begin if name == "IOB1" else end - 1
                found[place] = f"{name[2]}-{two}"
    return found


def number_segments(segments: Sequence[Sequence[Segment]], start: I64, labels: Sequence[Any], what: str) -> Segmented:
    """The segments of all sequences end to end. Raises EvidenceError for a label that is not among `labels`."""
    number = {label: i for i, label in enumerate(labels)}
    rows = []
    for i, (each, at) in enumerate(zip(segments, start.tolist())):
        for first, stop, label in each:
            if label not in number:
                raise EvidenceError(f"{what}[{i}]: segment {(first, stop, label)}: {unknown(label, labels)}")
            rows.append((at + first, at + stop, number[label], i))
    table = np.array(rows, np.int64).reshape(-1, 4)
    return Segmented(*(np.ascontiguousarray(column) for column in table.T))


def lengths_of(segmented: Segmented, labels: Sequence[Any], max_length: Any, outside: Any) -> I64:
    """Tokens of the longest segment that each label may have, (K,).

    Parameters
    ----------
    max_length : one for all labels but `outside`; a dict of labels; None: the longest that there is of each

    Raises
    ------
    MethodError : not a number from 1, or a dict of such.
    EvidenceError : an unknown label.
    """
    found = np.ones(len(labels), np.int64)
    np.maximum.at(found, segmented.label, segmented.stop - segmented.start)
    if max_length is None:
        return found
    if not isinstance(max_length, Mapping):
        named: dict[Any, Any] = {label: max_length for label in labels if label != outside}
    else:
        named = dict(max_length)
    for label, length in named.items():
        if isinstance(length, bool) or not isinstance(length, (int, np.integer)) or length < 1:
            raise MethodError(f"max_length= is a number of tokens from 1, a dict of such, or None, not {max_length!r}.")
        if label not in labels:
            raise EvidenceError(f"max_length: {unknown(label, labels)}")
        if label == outside and length > 1:
            raise MethodError(f"max_length: segments of {outside!r}, the label outside of others, have one token.")
        found[list(labels).index(label)] = length
    return found


def refuse_long(segmented: Segmented, start: I64, lengths: I64, labels: Sequence[Any], what: str) -> None:
    """Raise EvidenceError where a segment is longer than its label may be."""
    length = segmented.stop - segmented.start
    long = np.flatnonzero(length > lengths[segmented.label])
    if not len(long):
        return
    j = int(long[0])
    i, label = int(segmented.sequence[j]), int(segmented.label[j])
    at = int(start[i])
    segment = (int(segmented.start[j]) - at, int(segmented.stop[j]) - at, labels[label])
    raise EvidenceError(
        f"{what}[{i}]: segment {segment} has {length[j]} tokens, and those of {labels[label]!r} have at most "
        f"{lengths[label]}. Raise max_length=, or cut it."
    )
