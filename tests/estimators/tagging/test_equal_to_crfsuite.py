"""The same objective, weights, features and tags as CRFsuite at its optimum."""

from __future__ import annotations

import numpy as np
import pytest
import taggings

import factorgraph_ebm as fg

sklearn_crfsuite = pytest.importorskip("sklearn_crfsuite")

X, Y = taggings.draw(60, longest=9)
X, Y = [x for x in X if x], [y for y in Y if y]
NEW = [x for x in taggings.draw(20, seed=1)[0] if x]


def theirs(**choices):
    crf = sklearn_crfsuite.CRF(max_iterations=5000, epsilon=1e-9, delta=1e-10, period=30, **choices)
    return crf.fit(X, Y)


def ours(**choices):
    return fg.SequenceTagger(optimizer=fg.optimizers.lbfgs(tolerance=1e-9), **choices).fit(X, Y)


@pytest.mark.parametrize("choices", [
    {"c1": 0.0, "c2": 1.0},
    {"c1": 0.7, "c2": 0.0},
    {"c1": 0.2, "c2": 0.05},
    {"c2": 0.5, "all_possible_states": True},
    {"c2": 0.5, "all_possible_transitions": True},
    {"c2": 0.5, "all_possible_states": True, "all_possible_transitions": True},
    {"c2": 0.5, "min_freq": 3.0},
], ids=str)  # fmt: skip
def test_objective_weights_and_tags(choices):
    crf, tagger = theirs(**choices), ours(**choices)
    assert tagger.objective_ == pytest.approx(float(crf.training_log_.last_iteration["loss"]), rel=1e-5)
    for x in (X, NEW):
        assert tagger.predict(x) == [list(tags) for tags in crf.predict(x)]
    if not choices.get("c1"):  # without it the optimum is a single point
        for shown, known in (
            (tagger.state_features_, crf.state_features_),
            (tagger.transition_features_, crf.transition_features_),
        ):
            # Their model leaves out what is 0.
            assert set(known) <= set(shown)
            assert all(weight == pytest.approx(known.get(key, 0.0), abs=2e-3) for key, weight in shown.items())
    for told, said in zip(tagger.predict_marginals(NEW), crf.predict_marginals(NEW)):
        for mine, other in zip(told, said):
            assert mine == pytest.approx(other, abs=1e-3)


def test_as_many_weights_are_generated():
    """CRFsuite says how many features it generates before it trains."""
    for choices in ({}, {"all_possible_states": True, "all_possible_transitions": True}, {"min_freq": 2.5}):
        crf = sklearn_crfsuite.CRF(max_iterations=1, **choices).fit(X, Y)
        tagger = fg.SequenceTagger(max_iterations=1, **choices).fit(X, Y)
        shown = len(tagger.state_features_) + len(tagger.transition_features_)
        assert shown == crf.training_log_.featgen_num_features


def test_negative_values_count_as_they_do_there():
    """A feature whose values sum to less than nothing with a tag is not generated."""
    x = [[{"f": float(v), "bias": True} for v in row] for row in np.random.default_rng(0).normal(size=(12, 3)).tolist()]
    y = [["A", "B", "C"]] * 12
    crf = sklearn_crfsuite.CRF(max_iterations=1).fit(x, y)
    tagger = fg.SequenceTagger(max_iterations=1).fit(x, y)
    assert len(tagger.state_features_) + len(tagger.transition_features_) == crf.training_log_.featgen_num_features
