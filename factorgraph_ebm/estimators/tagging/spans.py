"""Spans that tags speak of, and how right they are: precision, recall and F1 as conlleval counts them.

A tag is O, outside every span, or a letter, a hyphen and the type of the span: B-NP. Schemes in one word:

    IOB2, BIO     B begins, I goes on, O is outside
    IOB1          I is inside; B begins only where a span of the same type ends just before
    IOE2, IOE1    the same from behind: E ends every span, or only one that a span of the same type follows
    BIOES, IOBES  B begins, I goes on, E ends, S is a span of one token
    BILOU         the same with L for E and U for S

Tags that break their scheme are read as conlleval reads them: a span begins at B, at a change of type, and after O; in
the schemes with E it also begins after E. Every token that is not O is in a span. A span is right if its start, its
stop and its type are.

    precision = right / said      recall = right / true      F1 = 2 precision recall / (precision + recall)

Sources: E. F. Tjong Kim Sang and S. Buchholz, "Introduction to the CoNLL-2000 shared task: chunking", and its program
conlleval; Ramshaw and Marcus, "Text chunking using transformation-based learning", 1995 (IOB1); Ratinov and Roth,
"Design challenges and misconceptions in named entity recognition", CoNLL 2009 (BILOU).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import I64, Bool
from factorgraph_ebm.errors import EvidenceError, MethodError, did_you_mean

OUTSIDE = "O"
SCHEMES = {
    "IOB1": "BI",
    "IOB2": "BI",
    "BIO": "BI",
    "IOE1": "IE",
    "IOE2": "IE",
    "BIOES": "BIES",
    "IOBES": "BIES",
    "BILOU": "BILU",
}
"scheme -> the letters of its tags"

_SAME = {"L": "E", "U": "S"}
_LETTERS = "OBIES"
# Pairs of letters, the type being the same, at which a span begins. By conlleval, that knows B, I and E at once:
_BEGINS_BY_LETTER = frozenset("BB IB OB OI EE EI OE".split())
# and where E and S end a span whatever comes:
_BEGINS_AFTER_END = frozenset(f"{before}{after}" for before in "OES" for after in "BIES") | set("BB IB BS IS".split())


class Span(NamedTuple):
    """Tokens start to stop - 1 of one sequence."""

    start: int
    stop: int
    type: str


class Score(NamedTuple):
    """How many spans were right."""

    true: int
    "spans that there are"
    said: int
    "spans that were found"
    right: int
    "spans that are both"

    @property
    def precision(self) -> float:
        """right / said; 0 where nothing was said."""
        return self.right / self.said if self.said else 0.0

    @property
    def recall(self) -> float:
        """right / true; 0 where there is nothing."""
        return self.right / self.true if self.true else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 0 where both are 0."""
        return 2 * self.right / (self.said + self.true) if self.right else 0.0


class SpanScores(NamedTuple):
    """Scores of all spans together and of each type; printed as conlleval prints them."""

    overall: Score
    by_type: dict[str, Score]
    "in the order of the alphabet"
    tokens: int
    right_tokens: int
    "tokens whose tag is right"

    @property
    def accuracy(self) -> float:
        """right tokens / tokens; 0 where there are none."""
        return self.right_tokens / self.tokens if self.tokens else 0.0

    def __str__(self) -> str:
        true, said, right = self.overall
        lines = [
            f"processed {self.tokens} tokens with {true} phrases; found: {said} phrases; correct: {right}.",
            f"accuracy: {100 * self.accuracy:6.2f}%; {_percent(self.overall)}",
        ]
        lines += [f"{name:>17}: {_percent(score)}  {score.said}" for name, score in self.by_type.items()]
        return "\n".join(lines)


def spans(tags: Sequence[str], scheme: str | None = "IOB2") -> list[Span]:
    """The spans of one sequence.

    Parameters
    ----------
    tags : of its tokens
    scheme : a word of SCHEMES, in capitals or not; None: every token that is not O is a span, whose type is its tag

    Raises
    ------
    MethodError : an unknown scheme.
    EvidenceError : a tag that is none of the scheme.

    Examples
    --------
    >>> spans(["B-NP", "I-NP", "O", "I-VP", "B-NP"])
    [Span(start=0, stop=2, type='NP'), Span(start=3, stop=4, type='VP'), Span(start=4, stop=5, type='NP')]
    >>> spans(["S-PER", "O", "B-LOC", "E-LOC"], "BIOES")
    [Span(start=0, stop=1, type='PER'), Span(start=2, stop=4, type='LOC')]
    """
    start, stop, kind, types = _flat_spans([tags], scheme)
    return [Span(*span[:2], types[span[2]]) for span in zip(start.tolist(), stop.tolist(), kind.tolist())]


def span_scores(
    true: Iterable[Sequence[str]], said: Iterable[Sequence[str]], scheme: str | None = "IOB2"
) -> SpanScores:
    """Compare the spans of sequences with those that were said.

    Parameters
    ----------
    true, said : tags of each token of each sequence
    scheme : as for `spans`

    Raises
    ------
    EvidenceError : sequences of different lengths, or a tag that is none of the scheme.
    MethodError : an unknown scheme.

    Examples
    --------
    >>> scores = span_scores([["B-NP", "I-NP", "O", "B-VP"]], [["B-NP", "I-NP", "O", "B-NP"]])
    >>> scores.accuracy, scores.overall.f1, scores.by_type["NP"].precision
    (0.75, 0.5, 0.5)
    >>> print(scores)
    processed 4 tokens with 2 phrases; found: 2 phrases; correct: 1.
    accuracy:  75.00%; precision:  50.00%; recall:  50.00%; FB1:  50.00
                   NP: precision:  50.00%; recall: 100.00%; FB1:  66.67  2
                   VP: precision:   0.00%; recall:   0.00%; FB1:   0.00  0
    """
    true, said = list(true), list(said)
    if len(true) != len(said):
        raise EvidenceError(f"there are {len(true)} true sequences, and {len(said)} were said.")
    for each, (one, other) in enumerate(zip(true, said)):
        if len(one) != len(other):
            raise EvidenceError(f"sequence {each} has {len(one)} tags, and {len(other)} were said.")
    true_spans, said_spans = _named_spans(true, scheme), _named_spans(said, scheme)
    names = sorted({name for *_, name in chain(true_spans, said_spans)})
    counted = {name: [0, 0, 0] for name in names}
    for place, found in enumerate((true_spans, said_spans, true_spans & said_spans)):
        for *_, name in found:
            counted[name][place] += 1
    by_type = {name: Score(*counts) for name, counts in counted.items()}
    overall = Score(len(true_spans), len(said_spans), len(true_spans & said_spans))
    right = sum(map(str.__eq__, chain.from_iterable(true), chain.from_iterable(said)))
    return SpanScores(overall, by_type, sum(map(len, true)), right)


class Allowed(NamedTuple):
    """Which tags may stand where."""

    start: Bool
    "(K,) at the start of a sequence"
    pair: Bool
    "(K, K) [before, after]"
    end: Bool
    "(K,) at the end of a sequence"


def allowed(scheme: str, tags: Sequence[str]) -> Allowed:
    """Which of `tags` may start a sequence, follow each other, and end it, by the scheme to the letter.

    Raises
    ------
    MethodError : an unknown scheme.
    EvidenceError : a tag that is none of the scheme.

    Examples
    --------
    >>> start, pair, end = allowed("BIO", ["O", "B-NP", "I-NP"])
    >>> start, end
    (array([ True,  True, False]), array([ True,  True,  True]))
    >>> pair
    array([[ True,  True, False],
           [ True,  True,  True],
           [ True,  True,  True]])
    """
    name = known_scheme(scheme)
    parts = [_parts(tag, name) for tag in tags]
    outside = ("O", "")
    pair = np.array([[_may_follow(name, a, b) for b in parts] for a in parts], bool).reshape(len(tags), len(tags))
    start = np.array([_may_follow(name, outside, part) for part in parts], bool)
    end = np.array([_may_follow(name, part, outside) for part in parts], bool)
    return Allowed(start, pair, end)


def known_scheme(scheme: str) -> str:
    """The word of SCHEMES that is meant.

    Raises
    ------
    MethodError : none is.

    Examples
    --------
    >>> known_scheme("bilou")
    'BILOU'
    """
    name = scheme.upper() if isinstance(scheme, str) else scheme
    if name not in SCHEMES:
        raise MethodError(f"scheme {scheme!r} is unknown.{did_you_mean(name, SCHEMES)}")
    return name


def _may_follow(scheme: str, before: tuple[str, str], after: tuple[str, str]) -> bool:
    """Whether a tag may stand after another, O being around a sequence."""
    same = before[1] == after[1]
    goes_on = same and before[0] in "BIE" and after[0] in "BIE"  # of IOB and IOE: two tags of one type, side by side
    if scheme in ("IOB2", "BIO"):
        return goes_on or after[0] != "I"
    if scheme == "IOB1":
        return goes_on or after[0] != "B"
    if scheme == "IOE2":
        return goes_on or before[0] != "I"
    if scheme == "IOE1":
        return goes_on or before[0] != "E"
    opens, closes = before[0] in "BI", after[0] in "IE"
    return opens == closes and (same or not opens)


def _parts(tag: str, scheme: str) -> tuple[str, str]:
    """Letter and type of a tag, L and U said as E and S."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    letter, _, name = tag.partition("-") if isinstance(tag, str) else ("", "", "")
    if len(letter) != 1 or letter not in SCHEMES[scheme]:
        letters = SCHEMES[scheme]
        raise EvidenceError(
            f"tag {tag!r} is none of scheme {scheme}: it is O, or {', '.join(letters[:-1])} or {letters[-1]}, a hyphen "
            'and a type, as in "B-NP".'
        )
    return _SAME.get(letter, letter), name


def _flat_spans(sequences: Sequence[Sequence[str]], scheme: str | None) -> tuple[I64, I64, I64, list[str]]:
    """The spans of all sequences: start, stop, number of the type; and the types.

    Sequences lie one after the other, with an O after each.
    """
    name = None if scheme is None else known_scheme(scheme)
    flat = list(chain.from_iterable((*sequence, OUTSIDE) for sequence in sequences))
    distinct = {tag: place for place, tag in enumerate(dict.fromkeys(flat))}
    parts = [(OUTSIDE if tag == OUTSIDE else "S", tag) if name is None else _parts(tag, name) for tag in distinct]
    types = list(dict.fromkeys(kind for _, kind in parts))
    code = np.fromiter(map(distinct.__getitem__, flat), np.int64, len(flat))
    letter = np.array([_LETTERS.index(part) for part, _ in parts], np.int64)[code]
    kind = np.array([types.index(each) for _, each in parts], np.int64)[code]
    pairs = _BEGINS_BY_LETTER if name is not None and len(SCHEMES[name]) == 2 else _BEGINS_AFTER_END
    begins = np.array([[a + b in pairs for b in _LETTERS] for a in _LETTERS])
    outside = letter == 0
    starts = begins[np.concatenate([[0], letter[:-1]])[: len(letter)], letter]
    starts[1:] |= ~outside[1:] & (kind[1:] != kind[:-1])
    edges = np.flatnonzero(starts | outside)
    start = np.flatnonzero(starts)
    stop = edges[np.searchsorted(edges, start, side="right")]
    return start, stop, kind[start], types


def _named_spans(sequences: Sequence[Sequence[str]], scheme: str | None) -> set[tuple[int, int, str]]:
    start, stop, kind, types = _flat_spans(sequences, scheme)
    return set(zip(start.tolist(), stop.tolist(), map(types.__getitem__, kind.tolist())))


def _percent(score: Score) -> str:
    precision, recall, f1 = 100 * score.precision, 100 * score.recall, 100 * score.f1
    return f"precision: {precision:6.2f}%; recall: {recall:6.2f}%; FB1: {f1:6.2f}"
