"""Segments and tags of schemes, read, written and refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorgraph_ebm.errors import EvidenceError, MethodError
from factorgraph_ebm.estimators.segments.targets import (
    LETTERS,
    lengths_of,
    number_segments,
    read_segments,
    refuse_long,
    tags_of_segments,
)
from factorgraph_ebm.estimators.tagging.spans import spans

X = [[["a"], ["b"], ["c"], ["d"]]]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from("PQ")), max_size=5), st.data())
def test_tags_of_every_scheme_mean_the_segments_that_they_were_made_of(parts, data):
    segments, at = [], 0
    for gap, length, label in parts:
        segments.append((at + gap, at + gap + length, label))
        at += gap + length
    scheme = data.draw(st.sampled_from([*LETTERS, "bio"]))
    tags = tags_of_segments(segments, at + 1, "O", scheme)
    assert len(tags) == at + 1
    assert [tuple(each) for each in spans(tags, scheme)] == segments


def test_tokens_that_no_segment_holds_are_outside_one_by_one():
    assert read_segments(X, [[(1, 3, "P")]], "O") == [[(0, 1, "O"), (1, 3, "P"), (3, 4, "O")]]
    assert read_segments(X, [[(0, 2, "O"), (2, 4, "P")]], "O") == [[(0, 1, "O"), (1, 2, "O"), (2, 4, "P")]]
    assert read_segments(X, [["O", "B-P", "I-P", "O"]], "O", "BIO") == read_segments(X, [[(1, 3, "P")]], "O")
    assert read_segments([[]], [[]], "O") == [[]]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([[(0, 2, "P"), (1, 3, "P")]], r"y\[0\]: segments \(0, 2, 'P'\) and \(1, 3, 'P'\) overlap"),
        ([[(2, 5, "P")]], r"\(2, 5, 'P'\) does not fit: .* 4 tokens"),
        ([[(-1, 2, "P")]], "does not fit"),
        ([[(2, 2, "P")]], "does not fit"),
        ([[(0, 2, None)]], "does not fit"),
        ([[(0, 2)]], r"is \(start, stop, label\), not \(0, 2\)"),
        ([[(0.0, 2, "P")]], "two ints and a word"),
        ([[(0, 2, ["P"])]], "two ints and a word"),
        ([["B-NP"]], r"is \(start, stop, label\), not 'B-NP'"),
        ([[], []], "1 sequences and y 2"),
    ],
)
def test_segments_that_cannot_be_are_refused(targets, message):
    with pytest.raises(EvidenceError, match=message):
        read_segments(X, targets, "O")


def test_all_tokens_must_be_in_segments_where_nothing_is_outside():
    assert read_segments(X, [[(2, 4, "P"), (0, 2, "Q")]], None) == [[(0, 2, "Q"), (2, 4, "P")]]
    with pytest.raises(EvidenceError, match="tokens 2 to 3 are in no segment"):
        read_segments(X, [[(0, 2, "P")]], None)


def test_tags_of_no_scheme_are_refused():
    with pytest.raises(EvidenceError, match=r"y\[0\]: .*'NP'"):
        read_segments(X, [["B-P", "NP", "O", "O"]], "O", "BIO")
    with pytest.raises(EvidenceError, match="4 tokens and 2 tags"):
        read_segments(X, [["O", "O"]], "O", "BIO")
    with pytest.raises(MethodError, match="BILO"):
        tags_of_segments([], 1, "O", "BILO")


def test_lengths_are_those_of_training_or_as_they_were_said():
    labels = ["O", "P", "Q"]
    right = number_segments([[(0, 1, "O"), (1, 4, "P")]], np.array([0, 4]), labels, "y")
    assert lengths_of(right, labels, None, "O").tolist() == [1, 3, 1]
    assert lengths_of(right, labels, 5, "O").tolist() == [1, 5, 5]
    assert lengths_of(right, labels, {"Q": 2}, "O").tolist() == [1, 3, 2]
    with pytest.raises(EvidenceError, match=r"y\[0\]: segment \(1, 4, 'P'\) has 3 tokens, and those of 'P' have at "):
        refuse_long(right, np.array([0, 4]), lengths_of(right, labels, 2, "O"), labels, "y")
    for wrong in (0, 2.5, True, {"P": 0}):
        with pytest.raises(MethodError, match="max_length= is a number of tokens from 1"):
            lengths_of(right, labels, wrong, "O")
    with pytest.raises(MethodError, match="have one token"):
        lengths_of(right, labels, {"O": 2}, "O")
    with pytest.raises(EvidenceError, match="max_length: tag 'R' was not seen"):
        lengths_of(right, labels, {"R": 2}, "O")
    with pytest.raises(EvidenceError, match=r"z\[0\]: segment \(0, 1, 'R'\)"):
        number_segments([[(0, 1, "R")]], np.array([0, 4]), labels, "z")
