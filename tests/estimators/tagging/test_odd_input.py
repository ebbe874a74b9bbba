"""What a first user may give a tagger: answered, or refused with what, where and how to mend it."""

from __future__ import annotations

import numpy as np
import pytest

import factorgraph_ebm as fg

X = [[{"w": "a"}, {"w": "b"}], [{"w": "c"}], []]
Y = [["D", "N"], ["D"], []]


@pytest.fixture(scope="module")
def tagger():
    return fg.SequenceTagger(c2=0.1).fit(X, Y)


def test_tokens_without_any_feature_have_transitions_alone():
    bare = fg.SequenceTagger(c2=0.1, optimizer=fg.optimizers.lbfgs(tolerance=1e-9)).fit([[{}, {}]] * 20, [Y[0]] * 20)
    assert bare.predict([[{}, {}]]) == [["D", "N"]]
    assert bare.state_features_ == {}
    paired = fg.SequenceTagger(pair_features="w").fit(X, Y)
    assert paired.state_features_ == {}
    assert paired.predict(X[:1]) == [["D", "N"]]


def test_arrays_of_negative_numbers_keep_their_weights():
    rng = np.random.default_rng(0)
    x, weights = [rng.normal(size=(20, 3)) for _ in range(30)], rng.normal(size=(3, 4))
    y = [(each @ weights).argmax(axis=1) for each in x]
    found = fg.SequenceTagger(c2=0.01).fit(x, y)
    assert len(found.state_features_) == 12
    assert found.score(x, y) > 0.97
    positive = fg.SequenceTagger(c2=0.01, min_freq=1e-9).fit(x, y)
    assert len(positive.state_features_) < 12


def test_tags_of_numpy_are_those_of_python(tmp_path):
    found = fg.SequenceTagger().fit(X, [list(np.arange(len(x))) for x in X])
    found.save(tmp_path / "numbers.npz")
    assert [type(tag) for tag in fg.SequenceTagger.load(tmp_path / "numbers.npz").classes_] == [int, int]
    began = fg.SequenceTagger().partial_fit(X, Y, classes=np.array(["D", "N"]))
    assert [type(tag) for tag in began.classes_] == [str, str]


def test_a_file_keeps_choices_of_numpy_and_the_name_of_an_optimizer(tmp_path):
    choices = {"c1": np.float32(0.5), "max_iterations": np.int64(3), "optimizer": fg.optimizers.sgd(0.1)}
    fg.SequenceTagger(**choices).fit(X, Y).save(tmp_path / "tagger.npz")
    kept = fg.SequenceTagger.load(tmp_path / "tagger.npz").get_params()
    assert (kept["c1"], kept["max_iterations"], kept["optimizer"]) == (0.5, 3, "sgd")


def test_a_forbidden_tagging_has_no_explanation():
    found = fg.SequenceTagger(scheme="BIO").fit(X[:1], [["B-P", "I-P"]])
    with pytest.raises(fg.InfeasibleError, match="sequence 0"):
        found.explain(X[0], ["I-P", "B-P"])


def test_pair_features_may_come_later_but_not_change():
    found = fg.SequenceTagger(pair_features="new").partial_fit(X, Y)
    found.partial_fit([[{"w": "a"}, {"new": "x"}]], [["D", "N"]])
    assert list(found.pair_features_) == [("new:x", "D", "N")]
    with pytest.raises(fg.MethodError, match="pair_features="):
        found.set_params(pair_features="w").partial_fit(X, Y)
    found = fg.SequenceTagger().partial_fit(X, Y).set_params(boundaries=True).partial_fit(X, Y)
    assert set(found.start_features_) == {"D"}


@pytest.mark.parametrize(
    ("x", "y", "more", "match"),
    [
        (iter(X), Y, {}, "X is a list"),
        (X, None, {}, "y is a list"),
        ([iter(X[0])], Y[:1], {}, "a sequence is a list of tokens"),
        (X, Y, {"allowed": [3, None, None]}, r"allowed\[0\]"),
        (X, Y, {"allowed": [[["D"], [["N"]]], None, None]}, r"a tag is a word|allowed\[0\]\[1\]"),
        (X, Y, {"validation": X}, "write validation="),
        (X, Y, {"validation": ([], [])}, "validation= has no token"),
        (X, Y, {"validation": (X, [[["D"], "N"], ["D"], []])}, "a tag is a word"),
    ],
)
def test_what_is_no_data_is_refused(x, y, more, match):
    with pytest.raises(fg.EvidenceError, match=match):
        fg.SequenceTagger().fit(x, y, **more)


@pytest.mark.parametrize(
    "choice",
    [
        {"threads": 0},
        {"threads": "a"},
        {"min_freq": "a"},
        {"pair_features": 3},
        {"template": 3},
        {"max_iterations": -1},
    ],
)
def test_what_is_no_choice_is_refused(choice):
    with pytest.raises(fg.MethodError, match=f"{next(iter(choice))}="):
        fg.SequenceTagger(**choice).fit(X, Y)


def test_what_cannot_be_asked_is_refused(tagger):
    with pytest.raises(fg.EvidenceError, match=r"forced\[0\]\[0\]"):
        tagger.predict(X[:1], forced=[[["D"], None]])
    with pytest.raises(fg.EvidenceError, match="a tag is a word"):
        tagger.score(X, [[["D"], "N"], ["D"], []])
    with pytest.raises(fg.EvidenceError, match="two ints"):
        tagger.span_probability(X[0], 0.0, 1.5, "D")


@pytest.mark.parametrize("sentences", [["the dog"], [X[0]], [[None, "dog"]]])
def test_a_template_takes_lists_of_words(sentences):
    words = fg.SequenceTagger(template="words").fit([["the", "dog"]], [["D", "N"]])
    with pytest.raises(fg.EvidenceError, match=r"list of words|a word or a row"):
        words.predict(sentences)
