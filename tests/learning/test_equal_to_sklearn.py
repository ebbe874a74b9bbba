"""Models that scikit-learn fits too: the same probabilities, the same objectives, the same margins.

scikit-learn minimises C sum_s L_s + 1/2 |w|^2, this library (1/P) sum_s L_s + s |w|^2: the same where s = 1 / (2 C P),
and then its objective divided by C P is ours. Its intercepts are not penalised, so neither is the parameter "b"; where
`LinearSVC` penalises an intercept, it is the weight of a feature that is 1.
"""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.datasets
import sklearn.linear_model
import sklearn.svm

import factorgraph_ebm as fg

C = 0.7
TIGHT = fg.optimizers.lbfgs(tolerance=1e-12)


def strength(n_samples, c=C):
    return 1.0 / (2.0 * c * n_samples)


def flower_data(n_classes):
    """Iris, standardised: `n_classes` of its three."""
    x, y = sklearn.datasets.load_iris(return_X_y=True)
    kept = y >= 3 - n_classes
    x = (x - x.mean(0)) / x.std(0)
    return x[kept], y[kept] - (3 - n_classes)


def blobs(n_classes, n_samples=90, n_features=5):
    """Classes that overlap."""
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(n_classes, n_features))
    y = rng.integers(0, n_classes, n_samples)
    return centres[y] + 1.2 * rng.normal(size=(n_samples, n_features)), y


def classes(n_features, n_classes, intercept=True):
    """A variable whose energies are x w, and b."""
    w = fg.Parameter("w", shape=(n_features, n_classes))
    b = fg.Parameter("b", shape=n_classes)

    def architecture(sample):
        y = fg.output("y", n_states=n_classes)
        factors = [fg.Table([y], energies=fg.Linear(sample["x"], w))]
        return fg.FactorGraph([*factors, fg.Table([y], energies=b)] if intercept else factors)

    return architecture


def signs(n_features, intercept=True):
    """LeCun's machine of two classes: E = -y w.x / 2 with y = -1 or +1, so that wrong minus right is y w.x."""
    w, b = fg.Parameter("w", shape=n_features), fg.Parameter("b")

    def architecture(sample):
        y = fg.output("y", states=[-1, 1])
        factors = [fg.Product([y], weight=fg.Linear(-0.5 * sample["x"], w))]
        return fg.FactorGraph([*factors, fg.Product([y], weight=fg.Linear([-0.5], b[None]))] if intercept else factors)

    return architecture


def fit(architecture, x, y, **choices):
    model = fg.EnergyModel(architecture, **choices)
    return model.fit([{"x": row} for row in x], [{"y": label} for label in y.tolist()])


def probabilities(model, x):
    return np.array([answer["y"] for answer in model.distribution([{"x": row} for row in x])])


def weights_only(c, n):
    return fg.l2(strength(n, c), only="w")


@pytest.mark.parametrize("data", [flower_data, blobs])
@pytest.mark.parametrize("c", [0.05, C, 20.0])
def test_likelihood_of_two_classes_is_logistic_regression(data, c):
    x, y = data(2)
    theirs = sklearn.linear_model.LogisticRegression(C=c, tol=1e-10, max_iter=10_000).fit(x, y)
    model = fit(
        signs(x.shape[1]), x, 2 * y - 1, loss="likelihood", optimizer=TIGHT, regularizer=weights_only(c, len(x))
    )
    np.testing.assert_allclose(probabilities(model, x), theirs.predict_proba(x), rtol=0, atol=1e-5)
    np.testing.assert_allclose(model.parameters["w"], theirs.coef_[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("data", [flower_data, blobs])
@pytest.mark.parametrize("c", [0.05, C, 20.0])
def test_likelihood_of_three_classes_is_multinomial_logistic_regression(data, c):
    x, y = data(3)
    theirs = sklearn.linear_model.LogisticRegression(C=c, tol=1e-10, max_iter=10_000).fit(x, y)
    model = fit(classes(x.shape[1], 3), x, y, loss="likelihood", optimizer=TIGHT, regularizer=weights_only(c, len(x)))
    np.testing.assert_allclose(probabilities(model, x), theirs.predict_proba(x), rtol=0, atol=1e-5)
    assert np.array_equal([g["y"] for g in model.best_guess([{"x": row} for row in x])], theirs.predict(x))
    np.testing.assert_allclose(model.parameters["w"], -theirs.coef_.T, rtol=1e-4, atol=1e-4)


def test_sample_weights_are_those_of_logistic_regression():
    x, y = blobs(3)
    weights = np.random.default_rng(1).uniform(0.2, 3.0, len(x))
    theirs = sklearn.linear_model.LogisticRegression(C=C, tol=1e-10, max_iter=10_000).fit(x, y, sample_weight=weights)
    model = fg.EnergyModel(
        classes(x.shape[1], 3), loss="likelihood", optimizer=TIGHT, regularizer=weights_only(C, len(x))
    )
    model.fit([{"x": row} for row in x], [{"y": label} for label in y.tolist()], weights=weights)
    np.testing.assert_allclose(probabilities(model, x), theirs.predict_proba(x), rtol=0, atol=1e-5)


def test_l1_has_the_zeros_of_logistic_regression():
    x, y = blobs(2, n_features=12)
    theirs = sklearn.linear_model.LogisticRegression(
        C=0.1, l1_ratio=1.0, solver="saga", fit_intercept=False, tol=1e-10, max_iter=100_000
    ).fit(x, y)
    model = fit(
        signs(12, intercept=False), x, 2 * y - 1, loss="likelihood", optimizer=TIGHT,
        regularizer=fg.l1(1.0 / (0.1 * len(x))),
    )  # fmt: skip
    assert 0 < np.count_nonzero(theirs.coef_[0]) < 12
    assert np.array_equal(model.parameters["w"] == 0.0, theirs.coef_[0] == 0.0)
    np.testing.assert_allclose(probabilities(model, x), theirs.predict_proba(x), rtol=0, atol=1e-5)


# Margins. A hinge has kinks, so optimisers are those that certify a gap.


def svm_objective(x, y, w, b, c, penalised_intercept):
    """scikit-learn's, divided by C P; `y` is -1 or +1."""
    loss = np.maximum(0.0, 1.0 - y * (x @ w + b)).mean()
    return loss + strength(len(x), c) * (w @ w + (b * b if penalised_intercept else 0.0))


def with_one(x):
    return np.hstack([x, np.ones((len(x), 1))])


@pytest.mark.parametrize("data", [flower_data, blobs])
def test_hinge_of_two_classes_is_a_linear_support_vector_machine(data):
    x, y = data(2)
    sign = 2 * y - 1
    theirs = sklearn.svm.LinearSVC(loss="hinge", C=C, tol=1e-10, max_iter=1_000_000).fit(x, y)
    model = fit(
        signs(x.shape[1] + 1, intercept=False), with_one(x), sign, loss="hinge",
        optimizer=fg.optimizers.cutting_plane(1e-6), regularizer=fg.l2(strength(len(x))),
    )  # fmt: skip
    w = model.parameters["w"]
    ours = svm_objective(x, sign, w[:-1], w[-1], C, True)
    least = svm_objective(x, sign, theirs.coef_[0], theirs.intercept_[0], C, True)
    assert model.history[-1]["objective"] == pytest.approx(ours, abs=1e-12)
    assert ours == pytest.approx(least, rel=1e-4)
    assert model.history[-1]["bound"] <= least * (1.0 + 1e-9)
    np.testing.assert_allclose(with_one(x) @ w, theirs.decision_function(x), atol=2e-2)


def test_both_bounds_of_bcfw_hold_the_optimum_of_the_machine():
    x, y = blobs(2, n_samples=40)
    theirs = sklearn.svm.LinearSVC(loss="hinge", C=C, tol=1e-10, max_iter=1_000_000).fit(x, y)
    least = svm_objective(x, 2 * y - 1, theirs.coef_[0], theirs.intercept_[0], C, True)
    model = fg.EnergyModel(
        signs(x.shape[1] + 1, intercept=False), loss="hinge", optimizer=fg.optimizers.bcfw(1e-3, check_every=10),
        regularizer=fg.l2(strength(len(x))),
    )  # fmt: skip
    model.fit([{"x": row} for row in with_one(x)], [{"y": s} for s in (2 * y - 1).tolist()], epochs=20)
    last = model.history[-1]
    assert last["bound"] <= least * (1.0 + 1e-9) and least <= last["objective"] * (1.0 + 1e-9)
    assert last["objective"] - last["bound"] < 0.05 * least


@pytest.mark.parametrize("data", [flower_data, blobs])
def test_hinge_has_the_objective_of_the_dual_solver(data):
    """`SVC` of a linear kernel, by another algorithm. It penalises no intercept, which is held where it found it."""
    x, y = data(2)
    sign = 2 * y - 1
    theirs = sklearn.svm.SVC(kernel="linear", C=C, tol=1e-8).fit(x, y)
    b = float(theirs.intercept_[0])
    w, fixed = fg.Parameter("w", shape=x.shape[1]), fg.Parameter("b", initial=b, frozen=True)

    def architecture(sample):
        y = fg.output("y", states=[-1, 1])
        return fg.FactorGraph([
            fg.Product([y], weight=fg.Linear(-0.5 * sample["x"], w)),
            fg.Product([y], weight=fg.Linear([-0.5], fixed[None])),
        ])  # fmt: skip

    model = fit(
        architecture, x, sign, loss="hinge", optimizer=fg.optimizers.cutting_plane(1e-6),
        regularizer=fg.l2(strength(len(x))),
    )  # fmt: skip
    least = svm_objective(x, sign, theirs.coef_[0], b, C, False)
    assert svm_objective(x, sign, model.parameters["w"], b, C, False) == pytest.approx(least, rel=1e-4)


@pytest.mark.parametrize("margin", [1.0, "hamming"])
@pytest.mark.parametrize("data", [flower_data, blobs])
def test_hinge_of_three_classes_is_the_machine_of_crammer_and_singer(data, margin):
    """One variable: its Hamming cost of 1 is a margin of 1."""
    x, y = data(3)
    theirs = sklearn.svm.LinearSVC(
        multi_class="crammer_singer", C=C, fit_intercept=False, tol=1e-10, max_iter=1_000_000
    ).fit(x, y)
    model = fit(
        classes(x.shape[1], 3, intercept=False), x, y, loss=fg.losses.hinge(margin=margin),
        optimizer=fg.optimizers.cutting_plane(1e-6), regularizer=fg.l2(strength(len(x))),
    )  # fmt: skip

    def objective(w):
        score = x @ w
        each = np.arange(len(x))
        wrong = score.copy()
        wrong[each, y] = -np.inf
        loss = np.maximum(0.0, 1.0 + wrong.max(1) - score[each, y]).mean()
        return loss + strength(len(x)) * np.sum(w * w)

    ours = objective(-model.parameters["w"])
    assert model.history[-1]["objective"] == pytest.approx(ours, abs=1e-12)
    assert ours == pytest.approx(objective(theirs.coef_.T), rel=1e-4)
    np.testing.assert_allclose(-model.parameters["w"], theirs.coef_.T, atol=2e-2)
