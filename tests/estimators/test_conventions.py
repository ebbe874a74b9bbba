"""The conventions of scikit-learn that an estimator of sequences can keep.

Of `check_estimator` those checks that make no data of their own: theirs is a matrix with a label a row, and a sequence
is a list of tokens.
"""

from __future__ import annotations

import importlib
import subprocess
import sys

import numpy as np
import pytest
import taggings

import factorgraph_ebm as fg
from factorgraph_ebm.estimators import ESTIMATORS
from factorgraph_ebm.estimators.conventions import PlainEstimator

X, Y = taggings.draw(24)

CHECKS = [
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_checks_of_estimators(name, check):
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    getattr(checks, check)(name, getattr(fg, name)())


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_registry_names_what_is_exported(name):
    module = importlib.import_module(f"factorgraph_ebm.estimators.{ESTIMATORS[name]}")
    assert getattr(module, name) is getattr(fg, name) and name in fg.__all__


def test_clone_search_and_cross_validation():
    selection = pytest.importorskip("sklearn.model_selection")
    from sklearn.base import clone
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    tagger = fg.SequenceTagger(c2=0.5, max_iterations=20)
    assert clone(tagger).get_params() == tagger.get_params()
    search = selection.GridSearchCV(tagger, {"c2": [0.1, 100.0]}, cv=2, scoring=fg.SequenceTagger.token_f1)
    assert search.fit(X, Y).best_params_ == {"c2": 0.1}
    scoring = {"f1": fg.SequenceTagger.token_f1}
    found = selection.cross_validate(tagger, X, Y, cv=3, scoring=scoring, error_score="raise")
    assert found["test_f1"].shape == (3,) and found["test_f1"].min() > 0.3
    lower = FunctionTransformer(lambda x: [[{"word": token["word"]} for token in tokens] for tokens in x])
    pipeline = make_pipeline(lower, tagger).fit(X, Y)
    assert pipeline.predict(X[:2]) and 0.5 < pipeline.score(X, Y) < 1.0


def test_token_f1_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    tagger = fg.SequenceTagger().fit(X, Y)
    flat = [np.concatenate([np.array(tags, object) for tags in each]) for each in (Y, tagger.predict(X))]
    assert tagger.token_f1(X, Y) == pytest.approx(metrics.f1_score(*map(list, flat), average="weighted"))


def test_parameters_without_scikit_learn():
    class Small(PlainEstimator):
        def __init__(self, a=1, b="word"):
            self.a, self.b = a, b

    small = Small(a=2)
    assert small.get_params() == {"a": 2, "b": "word"} and repr(small) == "Small(a=2)"
    assert small.set_params(b=None).b is None
    with pytest.raises(fg.MethodError, match='Did you mean "b"|Known'):
        small.set_params(c=1)


def test_a_tagger_works_without_scikit_learn():
    code = """
import sys
sys.modules["sklearn"] = None
import factorgraph_ebm as fg
tagger = fg.SequenceTagger(c2=0.5).fit([[["the"], ["dog"]]], [["D", "N"]])
assert tagger.predict([[["the"]]]) == [["D"]] and tagger.get_params()["c2"] == 0.5
assert repr(tagger) == "SequenceTagger(c2=0.5)"
"""
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
