"""Features of tokens to columns of a sparse matrix, block by block, each in a few passes that Python runs in C.

A string and the name before it are numbered apart, and joined once for each pair that differs: pairs are few, tokens
are many. A block that holds anything but strings, plain numbers and lists of strings is taken token by token.

The columns of hashed names: K. Weinberger and others, "Feature hashing for large scale multitask learning", ICML 2009.
"""

from __future__ import annotations

import operator
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import chain, compress, islice, repeat
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64, I64, Bool
from factorgraph_ebm.errors import EvidenceError
from factorgraph_ebm.formats.token_features import SEPARATOR, flat_token

if TYPE_CHECKING:
    import scipy.sparse

BLOCK = 1 << 14
"tokens whose features are mapped at a time: their names are still in the cache of the processor"

I32: TypeAlias = npt.NDArray[np.int32]

_NUMBERS = {bool, int, float, np.bool_, np.int32, np.int64, np.float32, np.float64}
_WORD = 0xFFFFFFFF
# Cells for each pair that a table of all pairs may have: 5 bytes each.
_DENSE = 4
# A prime near 2^32 / golden ratio: the highest bits of a product depend on all bits of the checksum.
_SPREAD = np.uint64(2654435761)

Lookup = Callable[[list[Any]], I32 | None]
"Columns of names, -1 for those that have none; None where something among them is no name."


def growing_columns(columns: defaultdict[str, int]) -> Lookup:
    """Names that are new get the next column."""

    def lookup(names: list[Any]) -> I32 | None:
        before = len(columns)
        found = np.fromiter(map(columns.__getitem__, names), np.int32, len(names))
        new = list(islice(reversed(columns), len(columns) - before))
        if all_text(new):
            return found
        for name in new:
            del columns[name]
        return None

    return lookup


def known_columns(columns: dict[str, int]) -> Lookup:
    """Names that are new have no column."""

    def lookup(names: list[Any]) -> I32 | None:
        found = np.fromiter(map(columns.get, names, repeat(-1)), np.int32, len(names))
        return found if all_text(names[at] for at in np.flatnonzero(found < 0).tolist()) else None

    return lookup


def hashed_columns(bits: int) -> Lookup:
    """Every name has the column that its checksum says."""

    def lookup(names: list[Any]) -> I32 | None:
        if not all_text(names):
            return None
        try:
            data = list(map(str.encode, names))
        except UnicodeEncodeError:  # half of a character that takes two in UTF-16
            data = [name.encode("utf-8", "surrogatepass") for name in names]
        checksums = np.fromiter(map(zlib.crc32, data), np.uint64, len(data))
        return (((checksums * _SPREAD) & np.uint64(0xFFFFFFFF)) >> np.uint64(32 - bits)).astype(np.int32)

    return lookup


def all_text(names: Iterable[Any]) -> bool:
    return all(isinstance(name, str) for name in names)


class _Pairs:
    """Names and the strings that are their values, as numbers; few pairs differ, so few strings are joined."""

    def __init__(self) -> None:
        self.names: defaultdict[str, int] = defaultdict(None)
        self.names.default_factory = self.names.__len__
        self.words: defaultdict[str, int] = defaultdict(None)
        self.words.default_factory = self.words.__len__
        self.codes: list[I64] = []

    def add(self, names: list[Any], words: list[str]) -> bool:
        """Take pairs; False where a name is not a string."""
        name = np.fromiter(map(self.names.__getitem__, names), np.int64, len(names))
        if not all_text(self.names):
            return False
        word = np.fromiter(map(self.words.__getitem__, words), np.int64, len(words))
        self.codes.append(name << 32 | word)
        return True

    def columns(self, lookup: Lookup) -> I32:
        """The columns of all pairs, in the order in which they came."""
        codes, n_words = np.concatenate(self.codes), len(self.words)
        if len(self.names) * n_words <= _DENSE * len(codes):
            # A table of all pairs costs a tenth of a search for those that differ.
            there = np.zeros(len(self.names) * n_words, bool)
            codes = (codes >> 32) * n_words + (codes & _WORD)
            there[codes] = True
            distinct = np.flatnonzero(there)
            place = np.cumsum(there, dtype=np.int32)[codes] - 1
            name, word = np.divmod(distinct, n_words)
        else:
            distinct, inverse = np.unique(codes, return_inverse=True)
            place = inverse.astype(np.int32)
            name, word = distinct >> 32, distinct & _WORD
        names, words = list(self.names), list(self.words)
        joined = [names[n] + SEPARATOR + words[w] for n, w in zip(name.tolist(), word.tolist())]
        found = lookup(joined)
        assert found is not None
        return found[place]


class _Block(NamedTuple):
    """The features of some tokens, token by token."""

    counts: I64
    "of each token"
    column: I32
    "-1: none"
    value: F64
    paired: Bool | None
    "those whose columns are to come from the pairs; None: none of them"


def mapped(
    sequences: list[Any], lookup: Lookup, width: Callable[[], int]
) -> tuple[I64, scipy.sparse.csr_array[np.float64]]:
    """Where each sequence starts, (sequences + 1,), and the features of all tokens, (tokens, columns).

    Parameters
    ----------
    width : number of columns, asked when all names are mapped

    Raises
    ------
    EvidenceError : a value that is no feature: names sequence, token and feature.
    """
    import scipy.sparse

    lengths = [_length(each, sequence) for each, sequence in enumerate(sequences)]
    start = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    tokens = list(chain.from_iterable(sequences))
    pairs, blocks = _Pairs(), []
    for first in range(0, len(tokens), BLOCK):
        some = tokens[first : first + BLOCK]
        try:
            block = _fast(some, lookup, pairs)
        except (TypeError, OverflowError):  # a name that is a list or dict, a number beyond all floats
            block = None
        blocks.append(block or _exact(some, first, start, lookup))
    if not blocks:
        return start, scipy.sparse.csr_array((0, width()), dtype=np.float64)
    column = np.concatenate([block.column for block in blocks])
    value = np.concatenate([block.value for block in blocks])
    pointer = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate([block.counts for block in blocks]))])
    if pairs.codes:
        paired = [np.zeros(len(block.column), bool) if block.paired is None else block.paired for block in blocks]
        column[np.concatenate(paired)] = pairs.columns(lookup)
    kept = column >= 0
    if not kept.all():
        pointer = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])[pointer]
        column, value = column[kept], value[kept]
    x = scipy.sparse.csr_array((value, column, pointer), shape=(len(tokens), width()))
    x.sum_duplicates()
    return start, x


def _length(each: int, sequence: Any) -> int:
    if isinstance(sequence, (str, bytes, dict)) or not hasattr(sequence, "__len__"):
        raise EvidenceError(
            f"sequence {each} is a {type(sequence).__name__}, and not a list of tokens. "
            "One sequence by itself goes into a list: [sequence]."
        )
    return len(sequence)


def _fast(tokens: list[Any], lookup: Lookup, pairs: _Pairs) -> _Block | None:
    """The features of a block of plain tokens; None where something in it is not plain."""
    kinds = set(map(type, tokens))
    if not (kinds <= {dict} or kinds <= {list, tuple}):
        return None
    counts = np.fromiter(map(len, tokens), np.int64, len(tokens))
    names: list[Any] = list(chain.from_iterable(tokens))
    if kinds != {dict}:
        column = lookup(names)
        return None if column is None else _Block(counts, column, np.ones(len(names)), None)
    values: list[Any] = list(chain.from_iterable(map(dict.values, tokens)))
    kinds = set(map(type, values))
    if list in kinds or tuple in kinds:
        opened = _opened(counts, names, values)
        if opened is None:
            return None
        counts, names, values = opened
        kinds = set(map(type, values))
    if kinds <= _NUMBERS:
        column, value = lookup(names), np.fromiter(values, np.float64, len(values))
        return None if column is None or not np.isfinite(value).all() else _Block(counts, column, value, None)
    if kinds == {str}:
        added = pairs.add(names, values)
        paired = np.ones(len(names), bool)
        return _Block(counts, np.full(len(names), -1, np.int32), np.ones(len(names)), paired) if added else None
    if not kinds <= _NUMBERS | {str}:
        return None
    is_text = list(map(operator.is_, map(type, values), repeat(str)))
    paired = np.fromiter(is_text, np.bool_, len(is_text))
    is_number = (~paired).tolist()
    numbered = list(compress(names, is_number))
    value, column = np.ones(len(values)), np.full(len(values), -1, np.int32)
    value[~paired] = np.fromiter(compress(values, is_number), np.float64, len(numbered))
    found = lookup(numbered)
    if found is None or not np.isfinite(value).all():
        return None
    column[~paired] = found
    if not pairs.add(list(compress(names, is_text)), list(compress(values, is_text))):
        return None
    return _Block(counts, column, value, paired)


def _opened(counts: I64, names: list[Any], values: list[Any]) -> tuple[I64, list[Any], list[Any]] | None:
    """Each string of a list as a value of its own; None where lists hold anything else."""
    lists = [value for value in values if type(value) is list or type(value) is tuple]
    if not set(map(type, chain.from_iterable(lists))) <= {str}:
        return None
    wrapped = [value if type(value) is list or type(value) is tuple else (value,) for value in values]
    lengths = list(map(len, wrapped))
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    counts = np.diff(before[np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])])
    return counts, list(chain.from_iterable(map(repeat, names, lengths))), list(chain.from_iterable(wrapped))


def _exact(tokens: list[Any], first: int, start: I64, lookup: Lookup) -> _Block:
    """The features of a block, token by token; `first` is the place of its first token among all."""
    names: list[str] = []
    values: list[float] = []
    counts: list[int] = []
    places = np.arange(first, first + len(tokens))
    sequence = np.searchsorted(start, places, side="right") - 1
    for token, *place in zip(tokens, sequence.tolist(), (places - start[sequence]).tolist()):
        before = len(names)
        for name, value in flat_token(token, tuple(place)):
            names.append(name)
            values.append(value)
        counts.append(len(names) - before)
    column = lookup(names)
    assert column is not None
    return _Block(np.array(counts, np.int64), column, np.array(values, np.float64), None)
