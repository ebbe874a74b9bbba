"""Schemes of tags forbid, and say what a span is: against all taggings of a sequence, read by `spans`."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import taggings

import factorgraph_ebm as fg
from factorgraph_ebm.estimators.tagging.spans import SCHEMES, allowed, spans

WORDS = [["Ann", "of", "Old", "Town", "left"], ["Town", "left"], ["Old"]]


def tags_of(scheme):
    return ["O", *(f"{letter}-{kind}" for kind in ("X", "Y") for letter in SCHEMES[scheme])]


@pytest.fixture(scope="module", params=sorted(SCHEMES))
def tagger(request):
    """Drawn weights: any tagging that the scheme allows is likely enough to be seen."""
    scheme, rng = request.param, np.random.default_rng(5)
    classes = tags_of(scheme)
    rules = allowed(scheme, classes)
    sequences, right = [], []
    for _ in range(60):
        words = [str(word) for word in rng.choice(sum(WORDS, []), 4)]
        tags = [int(rng.choice(np.flatnonzero(rules.start)))]
        while len(tags) < 4:
            last = rules.end if len(tags) == 3 else np.ones(len(classes), bool)
            options = np.flatnonzero(rules.pair[tags[-1]] & last)
            tags = [*tags, int(rng.choice(options))] if len(options) else tags[:1]
        sequences.append([{"word": word} for word in words])
        right.append([classes[k] for k in tags])
    return fg.SequenceTagger(c2=0.05, scheme=scheme, all_possible_transitions=True).fit(sequences, right)


def legal(tagger):
    rules = allowed(tagger.scheme, tagger.classes_)

    def is_legal(tags):
        k = [tagger.classes_.index(tag) for tag in tags]
        return rules.start[k[0]] and rules.end[k[-1]] and all(rules.pair[a, b] for a, b in itertools.pairwise(k))

    return is_legal


def test_what_a_scheme_forbids_is_never_said(tagger):
    for words in WORDS:
        x = [{"word": word} for word in words]
        energies = taggings.every(tagger, x, (), legal(tagger))
        assert tuple(tagger.predict([x])[0]) == min(energies, key=lambda tags: energies[tags])
        total = taggings.log_sum(energies.values())
        for (tags, p), expected in zip(tagger.predict_n_best([x], 5)[0], sorted(energies.values())):
            assert legal(tagger)(tags) and p == pytest.approx(math.exp(-expected - total))


def test_the_probability_that_a_span_is_just_there(tagger):
    x = [{"word": word} for word in WORDS[0]]
    energies = taggings.every(tagger, x, (), legal(tagger))
    total = taggings.log_sum(energies.values())
    expected = {}
    for tags, e in energies.items():
        for span in spans(tags, tagger.scheme):
            expected[span] = expected.get(span, 0.0) + math.exp(-e - total)
    for start, stop in itertools.combinations(range(len(x) + 1), 2):
        for kind in ("X", "Y"):
            found = tagger.span_probability(x, start, stop, kind)
            assert found == pytest.approx(expected.get((start, stop, kind), 0.0), abs=1e-9)


def test_the_objective_sums_over_what_is_allowed(tagger):
    x, tags = [{"word": "Old"}, {"word": "Town"}], tagger.predict([[{"word": "Old"}, {"word": "Town"}]])[0]
    again = fg.SequenceTagger(scheme=tagger.scheme, all_possible_states=True).fit([x], [tags])
    inside = taggings.every(again, x, (), legal(again))
    expected = inside[tuple(tags)] + taggings.log_sum(inside.values()) + taggings.penalty(again)
    assert again.objective_ == pytest.approx(expected, rel=1e-9)


def test_right_answers_that_break_the_scheme_are_refused():
    with pytest.raises(fg.FactorError, match="forbidden"):
        fg.SequenceTagger(scheme="BIO").fit([[["a"], ["b"]]], [["O", "I-X"]])
    with pytest.raises(fg.MethodError, match="scheme"):
        fg.SequenceTagger(scheme="BILO").fit([[["a"]]], [["O"]])


def test_a_sequence_without_any_allowed_tagging_is_named():
    tagger = fg.SequenceTagger(scheme="BIO").fit([[["a"], ["b"]]], [["B-X", "I-X"]])
    with pytest.raises(fg.InfeasibleError, match="sequence 1"):
        tagger.predict([[["a"]], [["a"], ["b"]]], forced=[None, ["I-X", None]])


def test_spans_are_scored():
    x, y = [[["a"], ["b"], ["c"]]] * 3, [["B-X", "I-X", "O"]] * 3
    assert fg.SequenceTagger().fit(x, y).span_f1(x, y) == 1.0
    assert fg.SequenceTagger(scheme="BIO").fit(x, y).span_f1(x, [["B-X", "O", "O"]] * 3) == 0.0
