"""Tags by name and by number: what is right, what is allowed and what is forced, read and checked."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from factorgraph_ebm.arrays import I64, Bool
from factorgraph_ebm.errors import EvidenceError, did_you_mean

UNKNOWN = -1
"number of a tag that is not known"
STRANGE = -2
"number of a tag that the tagger does not have"

NO_TAG = "a tag is a word or a number, and None where it is not known."


def length_of(sequence: Any) -> int:
    """Tokens of a sequence of features: a list, or a matrix."""
    shape = getattr(sequence, "shape", None)
    if shape is None and not hasattr(sequence, "__len__"):
        raise EvidenceError(f"a sequence is a list of tokens or a matrix, not {type(sequence).__name__}.")
    return int(shape[0]) if shape else len(sequence)


def plain(sequence: Any) -> list[Any]:
    """Tags as plain Python values; `None` stays."""
    if isinstance(sequence, str) or not isinstance(sequence, Iterable):
        raise EvidenceError(
            f"tags are a list for each sequence, with one tag a token, not {type(sequence).__name__}: {sequence!r}."
        )
    found: list[Any] = sequence.tolist() if isinstance(sequence, np.ndarray) else list(sequence)
    return found


def read_tags(sequences: Sequence[Any], tags: Sequence[Any], what: str = "y") -> list[list[Any]]:
    """The tags of sequences as lists. Raises EvidenceError unless there is one for each token."""
    count_alike(sequences, tags, what)
    found = [plain(each) for each in tags]
    for i, (sequence, right) in enumerate(zip(sequences, found)):
        if length_of(sequence) != len(right):
            raise EvidenceError(
                f"sequence {i} has {length_of(sequence)} tokens and {len(right)} tags in {what}: each token has one "
                "(None where it is not known)."
            )
    return found


def count_alike(sequences: Any, others: Any, what: str) -> None:
    """Raise EvidenceError unless these are lists with one entry for each sequence."""
    for each, name in ((sequences, "X"), (others, what)):
        if not hasattr(each, "__len__"):
            raise EvidenceError(f"{name} is a list with an entry for each sequence, not {type(each).__name__}.")
    if len(sequences) != len(others):
        raise EvidenceError(f"X has {len(sequences)} sequences and {what} {len(others)}: there must be one for each.")


def classes_of(tags: Iterable[Iterable[Any]]) -> list[Any]:
    """All tags in ascending order, those of one kind together. Raises EvidenceError for what cannot be one."""
    try:
        different = set(chain.from_iterable(tags))
    except TypeError:
        raise EvidenceError(NO_TAG) from None
    different.discard(None)
    # Numbers and words of numpy are said as those of Python, which files hold.
    named = {tag.item() if isinstance(tag, np.generic) else tag for tag in different}
    return sorted(named, key=lambda tag: (type(tag).__name__, tag))


def number_tags(tags: Sequence[Sequence[Any]], classes: Sequence[Any]) -> I64:
    """The number of each tag, end to end: UNKNOWN for None, STRANGE for one that is not among the classes."""
    number: dict[Any, int] = {tag: i for i, tag in enumerate(classes)}
    number[None] = UNKNOWN
    flat = list(chain.from_iterable(tags))
    try:
        return np.fromiter((number.get(tag, STRANGE) for tag in flat), np.int64, len(flat))
    except TypeError:
        raise EvidenceError(NO_TAG) from None


def refuse_strange(tags: Sequence[Sequence[Any]], numbers: I64, classes: Sequence[Any], what: str) -> None:
    """Raise EvidenceError where a tag is not among the classes."""
    if not (numbers == STRANGE).any():
        return
    place = int(np.argmax(numbers == STRANGE))
    ends = np.cumsum([len(each) for each in tags])
    i = int(np.searchsorted(ends, place, side="right"))
    t = place - int(ends[i]) + len(tags[i])
    raise EvidenceError(f"{what}[{i}][{t}]: {unknown(tags[i][t], classes)}")


def unknown(tag: Any, classes: Sequence[Any]) -> str:
    """What is said of a tag that is not among the classes."""
    return f"tag {tag!r} was not seen in training.{did_you_mean(tag, [str(each) for each in classes])}"


def read_allowed(
    sequences: Sequence[Any], allowed: Sequence[Any] | None, classes: Sequence[Any], what: str = "allowed"
) -> Bool | None:
    """Which tags each token may have, (tokens, K); None: any.

    Parameters
    ----------
    allowed : for each sequence None, or for each of its tokens None or a collection of tags

    Raises
    ------
    EvidenceError : another number of sequences or tokens, an unknown tag, a token without any.
    """
    if allowed is None:
        return None
    number: dict[Hashable, int] = {tag: i for i, tag in enumerate(classes)}
    mask = np.ones((sum(length_of(each) for each in sequences), len(classes)), np.bool_)
    at = 0
    count_alike(sequences, allowed, what)
    for i, (sequence, sets) in enumerate(zip(sequences, allowed)):
        n = length_of(sequence)
        if sets is not None:
            if isinstance(sets, str) or not isinstance(sets, Collection):
                raise EvidenceError(f"{what}[{i}] is None or a list with an entry for each token, not {sets!r}.")
            if len(sets) != n:
                raise EvidenceError(f"sequence {i} has {n} tokens and {what}[{i}] {len(sets)} entries.")
            for t, tags in enumerate(sets):
                if tags is not None:
                    mask[at + t] = _row(tags, number, classes, f"{what}[{i}][{t}]")
        at += n
    return mask


def _row(tags: Any, number: dict[Hashable, int], classes: Sequence[Any], where: str) -> Bool:
    if isinstance(tags, str) or not isinstance(tags, Collection):
        raise EvidenceError(f"{where} is None or a collection of tags, not {tags!r}. Write [{tags!r}].")
    row = np.zeros(len(classes), np.bool_)
    for tag in tags:
        if not isinstance(tag, Hashable) or tag not in number:
            raise EvidenceError(f"{where}: {unknown(tag, classes)}")
        row[number[tag]] = True
    if not row.any():
        raise EvidenceError(f"{where} is empty: a token must be allowed some tag.")
    return row


def read_forced(sequences: Sequence[Any], forced: Sequence[Any] | None, classes: Sequence[Any]) -> Bool | None:
    """The same for tags that are forced: for each sequence None, or for each token None or its tag."""
    if forced is None:
        return None
    sets = [None if each is None else [None if tag is None else [tag] for tag in plain(each)] for each in forced]
    return read_allowed(sequences, sets, classes, "forced")


def both(first: Bool | None, second: Bool | None) -> Bool | None:
    """What two masks allow."""
    if first is None or second is None:
        return first if second is None else second
    return first & second
