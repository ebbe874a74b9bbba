"""Spans and their scores: cases worked by hand, and conlleval's own rules, line by line."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import factorgraph_ebm as fg
from factorgraph_ebm.estimators.tagging.spans import SCHEMES, Score, allowed, span_scores, spans

# Tags, scheme, and the spans by hand.
BY_HAND = [
    ("O O", "IOB2", []),
    ("B-A I-A O B-A", "IOB2", [(0, 2, "A"), (3, 4, "A")]),
    ("B-A B-A", "IOB2", [(0, 1, "A"), (1, 2, "A")]),
    ("I-A I-A", "IOB2", [(0, 2, "A")]),  # no B: conlleval begins a span all the same
    ("B-A I-B", "IOB2", [(0, 1, "A"), (1, 2, "B")]),
    ("O I-A I-B I-B B-B O", "IOB1", [(1, 2, "A"), (2, 4, "B"), (4, 5, "B")]),
    ("I-A E-A I-A O E-A", "IOE2", [(0, 2, "A"), (2, 3, "A"), (4, 5, "A")]),
    ("I-A I-A I-A E-A I-A O", "IOE1", [(0, 4, "A"), (4, 5, "A")]),
    ("E-A E-A", "IOE2", [(0, 1, "A"), (1, 2, "A")]),
    ("S-A B-A I-A E-A S-A S-B O", "BIOES", [(0, 1, "A"), (1, 4, "A"), (4, 5, "A"), (5, 6, "B")]),
    ("U-A B-A I-A L-A U-A U-B O", "BILOU", [(0, 1, "A"), (1, 4, "A"), (4, 5, "A"), (5, 6, "B")]),
    # Broken: an end without a start, a start without an end, and a span that goes on after its end.
    ("E-A O B-A O B-A E-A I-A", "BIOES", [(0, 1, "A"), (2, 3, "A"), (4, 6, "A"), (6, 7, "A")]),
    ("S-A I-A E-B", "IOBES", [(0, 1, "A"), (1, 2, "A"), (2, 3, "B")]),
    ("B- I- O I-", "BIO", [(0, 2, ""), (3, 4, "")]),  # one type, without a name
    ("B-A-B I-A-B I-A", "BIO", [(0, 2, "A-B"), (2, 3, "A")]),  # the first hyphen parts
    ("NOUN O NOUN VERB VERB", None, [(0, 1, "NOUN"), (2, 3, "NOUN"), (3, 4, "VERB"), (4, 5, "VERB")]),
    ("", "IOB2", []),
]


@pytest.mark.parametrize(("tags", "scheme", "expected"), BY_HAND)
def test_spans_by_hand(tags, scheme, expected):
    assert [tuple(span) for span in spans(tags.split(), scheme)] == expected


def test_scores_by_hand():
    true = ["B-NP I-NP O B-VP B-NP".split(), [], "B-PP B-NP I-NP".split()]
    said = ["B-NP I-NP B-VP I-VP B-NP".split(), [], "B-PP B-NP O".split()]
    scores = span_scores(true, said)
    # True: NP 0-2, VP 3-4, NP 4-5; PP 0-1, NP 1-3. Said: NP 0-2, VP 2-4, NP 4-5; PP 0-1, NP 1-2.
    assert scores.overall == Score(true=5, said=5, right=3)
    assert scores.by_type == {"NP": Score(3, 3, 2), "PP": Score(1, 1, 1), "VP": Score(1, 1, 0)}
    assert (scores.tokens, scores.right_tokens, scores.accuracy) == (8, 5, 5 / 8)
    assert scores.by_type["NP"].f1 == pytest.approx(2 / 3) and scores.by_type["VP"].f1 == 0.0
    assert str(scores).splitlines() == [
        "processed 8 tokens with 5 phrases; found: 5 phrases; correct: 3.",
        "accuracy:  62.50%; precision:  60.00%; recall:  60.00%; FB1:  60.00",
        "               NP: precision:  66.67%; recall:  66.67%; FB1:  66.67  3",
        "               PP: precision: 100.00%; recall: 100.00%; FB1: 100.00  1",
        "               VP: precision:   0.00%; recall:   0.00%; FB1:   0.00  1",
    ]


def test_nothing_to_score():
    for sequences in ([], [[]], [["O"]]):
        scores = span_scores(sequences, sequences)
        assert scores.overall == Score(0, 0, 0) and scores.overall.f1 == 0.0 and scores.by_type == {}
    assert span_scores([], []).accuracy == 0.0


def test_a_type_that_was_said_and_never_true_counts():
    scores = span_scores([["B-A"]], [["B-B"]])
    assert scores.by_type == {"A": Score(1, 0, 0), "B": Score(0, 1, 0)}


def conlleval(true, said):
    """The counting loop of conlleval.pl, by its own two rules: found, guessed and right spans by type."""

    def end_of_chunk(previous, tag, previous_type, kind):
        pairs = {"BB", "BO", "IB", "IO", "EE", "EI", "EO"}
        return previous + tag in pairs or (previous != "O" and previous_type != kind)

    def start_of_chunk(previous, tag, previous_type, kind):
        pairs = {"BB", "IB", "OB", "OI", "EE", "EI", "OE"}
        return previous + tag in pairs or (tag != "O" and previous_type != kind)

    counts = {}

    def count(kind, place):
        counts.setdefault(kind, [0, 0, 0])[place] += 1

    last = [("O", ""), ("O", "")]
    inside = False
    for one, other in [*((a, b) for x, y in zip(true, said) for a, b in [*zip(x, y), ("O", "O")])]:
        now = [tuple(tag.split("-", 1)) if tag != "O" else ("O", "") for tag in (one, other)]
        ends = [end_of_chunk(before[0], tag[0], before[1], tag[1]) for before, tag in zip(last, now)]
        starts = [start_of_chunk(before[0], tag[0], before[1], tag[1]) for before, tag in zip(last, now)]
        if inside:
            if all(ends) and last[0][1] == last[1][1]:
                inside = False
                count(last[0][1], 2)
            elif ends[0] != ends[1] or now[0][1] != now[1][1]:
                inside = False
        if all(starts) and now[0][1] == now[1][1]:
            inside = True
        for place in (0, 1):
            if starts[place]:
                count(now[place][1], place)
        last = now
    return counts


@pytest.mark.parametrize("letters", ["BI", "IE"])
def test_counts_are_those_of_conlleval(letters):
    tags = st.sampled_from(["O", *(f"{letter}-{kind}" for letter in letters for kind in "AB")])
    pairs = st.lists(st.lists(st.tuples(tags, tags), max_size=8), max_size=3)

    @settings(max_examples=200, deadline=None)
    @given(pairs)
    def check(drawn):
        true, said = [[a for a, _ in each] for each in drawn], [[b for _, b in each] for each in drawn]
        scores = span_scores(true, said, {"BI": "IOB1", "IE": "IOE1"}[letters])
        assert {kind: list(score) for kind, score in scores.by_type.items()} == conlleval(true, said)
        assert scores.overall == tuple(map(sum, zip(*conlleval(true, said).values(), [0, 0, 0])))

    check()


def encoded(length, chosen, scheme):
    """Tags of spans that do not overlap, written by each scheme's definition."""
    tags = ["O"] * length
    taken = {span[1]: span for span in chosen}
    starting = {span[0]: span for span in chosen}
    for start, stop, kind in chosen:
        touches_before = start in taken and taken[start][2] == kind
        touches_after = stop in starting and starting[stop][2] == kind
        letters = ["I"] * (stop - start)
        if scheme in ("IOB2", "BIO") or (scheme == "IOB1" and touches_before):
            letters[0] = "B"
        if scheme == "IOE2" or (scheme == "IOE1" and touches_after):
            letters[-1] = "E"
        if scheme in ("BIOES", "IOBES", "BILOU"):
            letters[0], letters[-1] = "B", "E"
            if stop - start == 1:
                letters[0] = "S"
            if scheme == "BILOU":
                letters = [{"E": "L", "S": "U"}.get(letter, letter) for letter in letters]
        tags[start:stop] = [f"{letter}-{kind}" for letter in letters]
    return tags


@st.composite
def chosen_spans(draw):
    cuts = draw(st.lists(st.integers(1, 3), max_size=5))
    at, found = 0, []
    for width in cuts:
        kind = draw(st.sampled_from(["A", "B", None]))
        if kind:
            found.append((at, at + width, kind))
        at += width
    return at, found


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_a_scheme_writes_is_read_back_and_allowed(scheme):
    tags = ["O", *(f"{letter}-{kind}" for letter in SCHEMES[scheme] for kind in "AB")]
    start, pair, end = allowed(scheme, tags)
    number = {tag: place for place, tag in enumerate(tags)}

    @settings(max_examples=60, deadline=None)
    @given(chosen_spans())
    def check(drawn):
        length, chosen = drawn
        written = encoded(length, chosen, scheme)
        assert [tuple(span) for span in spans(written, scheme.lower())] == chosen
        states = [number[tag] for tag in written]
        if states:
            assert start[states[0]] and end[states[-1]]
        assert all(pair[a, b] for a, b in zip(states, states[1:]))

    check()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_is_allowed_is_what_the_scheme_writes(scheme):
    """Of all taggings of up to three tokens, the allowed ones are those that come back from their own spans."""
    tags = ["O", *(f"{letter}-{kind}" for letter in SCHEMES[scheme] for kind in "AB")]
    start, pair, end = allowed(scheme, tags)
    for length in range(1, 4):
        for states in np.ndindex(*[len(tags)] * length):
            written = [tags[state] for state in states]
            fits = start[states[0]] and end[states[-1]] and all(pair[a, b] for a, b in zip(states, states[1:]))
            again = encoded(length, [tuple(span) for span in spans(written, scheme)], scheme)
            assert fits == (again == written), written


@pytest.mark.parametrize(("tags", "scheme"), [(["NOUN"], "BIO"), (["E-A"], "BIO"), ([""], "BIO"),
                                              (["S-A"], "BILOU"), ([None], "BIO"), (["-A"], "IOE1")])  # fmt: skip
def test_a_tag_of_no_scheme_is_named(tags, scheme):
    with pytest.raises(fg.EvidenceError, match=f"tag {tags[0]!r} is none of scheme"):
        spans(tags, scheme)
    with pytest.raises(fg.EvidenceError, match="is none of scheme"):
        allowed(scheme, tags)


def test_an_unknown_scheme_is_named():
    with pytest.raises(fg.MethodError, match="scheme 'BIOE' is unknown. Did you mean \"BIOES\""):
        spans(["O"], "BIOE")


def test_sequences_that_differ_in_length():
    with pytest.raises(fg.EvidenceError, match="sequence 1 has 1 tags, and 2 were said"):
        span_scores([["O"], ["O"]], [["O"], ["O", "O"]])
    with pytest.raises(fg.EvidenceError, match="1 true sequences, and 2"):
        span_scores([["O"]], [["O"], ["O"]])
