"""`diagnose`: table 1 of LeCun et al. (2006), what architectures reach, and a parabola that collapses."""

import warnings
from math import comb

import numpy as np
import pytest

import factorgraph_ebm as fg
from factorgraph_ebm import losses
from factorgraph_ebm.errors import CollapseWarning, MethodError, ParameterError

INF = np.inf
EXACT = [[0.0, 1.0, 2.0], [3.0, 0.0, 4.0], [9.0, 9.0, 0.0]]

# "LeCun et al., A tutorial on energy-based learning, 2006, table 1" for the first ten: the margin with which each
# satisfies condition 3; "> 0", any, is inf here. The others are one of these on two answers: softmax-margin a
# likelihood of shifted energies; pseudo-likelihood, piecewise and univariate the likelihood; expected Hamming mee.
MARGINS = {
    "perceptron": 0.0,
    "hinge": 1.0,
    "log": INF,
    "lvq2": 0.0,
    "mce": INF,
    "square_square": 1.0,
    "square_exponential": INF,
    "likelihood": INF,
    "mee": INF,
    "softmax_margin": INF,
    "pseudo_likelihood": INF,
    "piecewise": INF,
    "univariate": INF,
    "expected_hamming": INF,
}


@pytest.mark.parametrize("name", MARGINS)
def test_table_1(name):
    found = fg.diagnose(name)
    assert found.loss == name
    assert found.margin == MARGINS[name]
    assert found.satisfied == (MARGINS[name] > 0)
    assert found.lower_bound == 0.0
    assert not found.can_collapse
    assert found.reachable == "the whole plane"


def test_the_energy_loss_has_no_margin_and_no_end():
    with pytest.warns(CollapseWarning, match="energy.*push"):
        found = fg.diagnose("energy")
    assert found[:5] == ("energy", False, None, -INF, True)


def test_contrastive_divergence_has_no_value_to_compare_but_pushes():
    found = fg.diagnose("contrastive_divergence")
    assert (found.satisfied, found.margin, found.can_collapse) == (None, None, False)
    assert "cannot be said" in str(found)


def test_every_loss_of_the_registry_is_known_here():
    assert set(losses.LOSSES) == {*MARGINS, "energy", "contrastive_divergence", "margin", "custom"}


@pytest.mark.parametrize(
    "loss, margin",
    [
        (losses.hinge(2.5), 2.5),
        (losses.hinge(100.0), 100.0),
        (losses.hinge(0.02), 0.02),
        (losses.hinge("hamming"), 1.0),
        (losses.hinge({"z": EXACT}), 1.0),
        (losses.square_square(3.0), 3.0),
        (losses.margin(lambda d: np.maximum(0, 4 + d) ** 2, lambda d: 2 * np.maximum(0, 4 + d)), 4.0),
        (losses.custom(lambda correct, free_energy: correct - free_energy, lower_bound=0.0), INF),
    ],
)
def test_margins_are_those_that_were_told(loss, margin):
    assert fg.diagnose(loss).margin == margin


def test_a_loss_that_prefers_nothing():
    with pytest.warns(CollapseWarning):
        found = fg.diagnose(losses.custom(lambda correct, wrong: 0.0 * correct))
    assert (found.satisfied, found.margin, found.can_collapse) == (False, None, True)


@pytest.mark.parametrize("beta", [0.1, 10.0])
def test_margins_do_not_depend_on_the_unit_of_energy(beta):
    assert fg.diagnose("likelihood", beta=beta).margin == INF
    assert fg.diagnose("univariate", beta=beta).margin == INF
    assert fg.diagnose("hinge", beta=np.inf).margin == 1.0


# What architectures reach.

Y = fg.output("y", n_states=3)


def table(**bounds):
    return fg.FactorGraph([fg.Table([Y], energies=fg.Parameter("w", shape=3, **bounds))])


def signs():
    """E = -w y: what lowers one answer raises the other."""
    return fg.FactorGraph([fg.Product([fg.output("s", states=[-1, 1])], weight=fg.Parameter("w"))])


def offset():
    """One number is added to all energies."""
    return fg.FactorGraph([
        fg.Table([Y], energies=[0.0, 1.0, 2.0]),
        fg.Table([Y], energies=fg.Linear(np.ones((3, 1)), fg.Parameter("b", shape=1))),
    ])  # fmt: skip


def regression():
    """E = (y - p)^2: the nearest wrong answer cannot come nearer than 1 when the right one is met."""
    states = np.arange(3.0)
    return fg.FactorGraph([
        fg.Table([Y], energies=fg.Computed(
            lambda p: (states - p) ** 2, fg.Parameter("p"), shape=3,
            pullback=lambda p, gradient: [np.sum(-2.0 * (states - p) * gradient)],
        )),
    ])  # fmt: skip


def two_codes():
    """E = (a(x) - b(y))^2 with both codes learned: they may become constant."""

    def pullback(a, b, gradient):
        slope = 2.0 * (a[:, None] - b) * gradient
        return slope.sum(axis=1), -slope.sum(axis=0)

    distance = fg.Computed(
        lambda a, b: (a[:, None] - b) ** 2, fg.Parameter("a", shape=2), fg.Parameter("b", shape=3), shape=(2, 3),
        pullback=pullback,
    )  # fmt: skip
    return fg.FactorGraph([fg.Table([fg.observed("x", n_states=2), Y], energies=distance)])


def normalised():
    """E = -log softmax: all energies cannot be low at once."""

    def energies(w):
        return np.log(np.exp(w - w.max()).sum()) + w.max() - w

    def pullback(w, gradient):
        return [np.exp(-energies(w)) * gradient.sum() - gradient]

    return fg.FactorGraph([
        fg.Table([Y], energies=fg.Computed(energies, fg.Parameter("w", shape=3), shape=3, pullback=pullback))
    ])  # fmt: skip


def test_a_free_table_reaches_the_whole_plane():
    with pytest.warns(CollapseWarning):
        found = fg.diagnose("energy", table())
    assert found[:6] == ("energy", False, None, -INF, True, "the whole plane")
    assert fg.diagnose("hinge", table())[1:6] == (True, 1.0, 0.0, False, "the whole plane")


def test_numbers_bounded_below_give_the_energy_loss_a_bound_and_it_collapses_onto_it():
    with pytest.warns(CollapseWarning):
        found = fg.diagnose("energy", table(bounds=(0.0, INF)))
    assert found[1:5] == (False, 0.0, 0.0, True)
    assert found.reachable == "the part of the plane where E_right >= 0, E_wrong >= 0"
    assert fg.diagnose("square_square", table(bounds=(0.0, INF)))[1:5] == (True, 1.0, 0.0, False)
    # All energies above the margin of 1: nothing is pushed any more.
    with pytest.warns(CollapseWarning):
        assert fg.diagnose("square_square", table(bounds=(3.0, INF)))[1:5] == (False, 0.0, 9.0, True)


def test_a_margin_that_has_no_end_ends_where_the_gap_does():
    found = fg.diagnose("log", table(bounds=(0.0, 2.0)))
    assert (found.margin, found.satisfied) == (2.0, True)
    assert found.lower_bound == pytest.approx(np.log1p(np.exp(-2.0)), rel=1e-5)
    assert "gap <= 2, gap >= -2" in found.reachable
    assert fg.diagnose("hinge", table(bounds=(0.0, 2.0))).margin == 1.0


def test_energies_that_move_against_each_other_need_no_push():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fg.diagnose("energy", signs())
    assert (found.satisfied, found.margin, found.lower_bound, found.can_collapse) == (True, INF, -INF, False)
    assert found.reachable.startswith("a line in the direction")


@pytest.mark.parametrize("loss", ["energy", "hinge", "likelihood"])
def test_no_loss_helps_where_the_gap_cannot_move(loss):
    found = fg.diagnose(loss, offset())
    assert (found.satisfied, found.margin, found.can_collapse) == (False, None, False)
    assert "the gap cannot move" in found.reachable


def test_a_chain_with_features_of_a_sample_is_looked_at_with_one():
    def architecture(sample):
        y = fg.output("y", shape=len(sample["x"]), n_states=3)
        return fg.FactorGraph([
            fg.Table([y], energies=fg.Linear(sample["x"], fg.Parameter("u", shape=(2, 3)))),
            fg.Table([y[1:], y[:-1]], energies=fg.Parameter("t", shape=(3, 3))),
        ])  # fmt: skip

    sample = {"x": np.random.default_rng(0).normal(size=(4, 2))}
    assert fg.diagnose("likelihood", architecture, sample)[1:6] == (True, INF, 0.0, False, "the whole plane")
    assert fg.diagnose("hinge", architecture, sample, {"y": [0, 1, 2, 0]}).margin == 1.0
    with pytest.raises(MethodError, match="sample="):
        fg.diagnose("hinge", architecture)


def test_a_grid_is_looked_at_whose_answers_are_approximate():
    y = fg.output("y", shape=(6, 6), n_states=3)
    pair = fg.Parameter("pair", shape=(3, 3))
    grid = fg.FactorGraph([
        fg.Table([y], energies=fg.Parameter("u", shape=(6, 6, 3))),
        fg.Table([y[1:], y[:-1]], energies=pair),
        fg.Table([y[:, 1:], y[:, :-1]], energies=pair),
    ])  # fmt: skip
    assert fg.diagnose("hinge", grid, inference="bp")[1:6] == (True, 1.0, 0.0, False, "the whole plane")
    assert fg.diagnose("likelihood", grid, inference={"method": "bp", "damping": 0.3}).margin == INF


def test_distances_to_a_prediction_cannot_all_be_low():
    found = fg.diagnose("energy", regression())
    assert found[1:5] == (True, 1.0, 0.0, False)
    assert "not linear" in found.reachable


def test_distances_between_two_learned_codes_can():
    with pytest.warns(CollapseWarning):
        found = fg.diagnose("energy", two_codes(), {"x": 0})
    assert found[1:5] == (False, 0.0, 0.0, True)


def test_normalised_energies_turn_the_energy_loss_into_likelihood():
    assert fg.diagnose("energy", normalised())[1:5] == (True, INF, 0.0, False)


def test_what_cannot_be_diagnosed():
    with pytest.raises(ParameterError, match="nothing to learn"):
        fg.diagnose("hinge", fg.FactorGraph([fg.Table([Y], energies=[0.0, 1.0, 2.0])]))
    one = fg.output("y", n_states=1)
    with pytest.raises(MethodError, match="no wrong answer"):
        fg.diagnose("hinge", fg.FactorGraph([fg.Table([one], energies=fg.Parameter("w", shape=1))]))
    with pytest.raises(MethodError, match="Did you mean"):
        fg.diagnose("hing")


# y = x^2 on a grid where squares are grid points, energies a sum of positive bumps with weights >= 0.


def bumps(n, degree):
    """Bernstein polynomials at n points of [0, 1], (n, degree + 1): positive inside, and they sum to 1."""
    t, k = np.linspace(0.0, 1.0, n)[:, None], np.arange(degree + 1)
    return np.array([comb(degree, each) for each in k]) * t**k * (1.0 - t) ** (degree - k)


FEATURES = (bumps(9, 10)[:, None, :, None] * bumps(17, 8)[None, :, None, :]).reshape(9, 17, -1)
SQUARES = np.arange(-4, 5) ** 2
SAMPLES = [{"x": i} for i in range(9)]


def parabola(seed):
    start = np.random.default_rng(seed).uniform(0.0, 2.0, FEATURES.shape[-1])
    weights = fg.Parameter("weights", shape=len(start), initial=start, bounds=(0.0, INF))
    x, y = fg.observed("x", n_states=9), fg.output("y", n_states=17)
    return fg.FactorGraph([fg.Table([x, y], energies=fg.Linear(FEATURES, weights))])


def fitted(loss, seed):
    model = fg.EnergyModel(parabola(seed), loss=loss, optimizer="lbfgs")
    model.fit(SAMPLES, [{"y": int(square)} for square in SQUARES], epochs=80 if loss == "hinge" else 30)
    return model, np.array([int(best["y"]) for best in model.best_guess(SAMPLES)])


@pytest.mark.parametrize("seed", range(10))
def test_the_energy_loss_flattens_the_parabola(seed):
    with pytest.warns(CollapseWarning, match="collapsed"):
        model, _ = fitted("energy", seed)
    surface = FEATURES @ model.parameters["weights"]
    assert np.ptp(surface) < 1e-6 * np.ptp(FEATURES @ parabola(seed).parameters["weights"].initial)


@pytest.mark.parametrize("loss", ["square_square", "likelihood", "hinge"])
@pytest.mark.parametrize("seed", range(10))
def test_losses_with_a_margin_carve_the_parabola(loss, seed):
    _, said = fitted(loss, seed)  # a warning would be an error
    assert np.abs(said - SQUARES).max() <= 1


def test_the_parabola_was_to_be_expected():
    with pytest.warns(CollapseWarning):
        assert fg.diagnose("energy", parabola(0), SAMPLES[0])[1:5] == (False, 0.0, 0.0, True)
    for loss in ("square_square", "likelihood", "hinge"):
        found = fg.diagnose(loss, parabola(0), SAMPLES[0])
        assert found.satisfied and not found.can_collapse


def test_small_gaps_on_a_fine_grid_are_no_collapse():
    """Neighbours among 64 states differ by 1 part in 3969, and yet every right answer is the best."""
    states = np.arange(64.0)
    y = fg.output("y", n_states=64)

    def architecture(sample):
        distance = (states - sample["x"]) ** 2
        weight = fg.Parameter("weight", shape=1, initial=[-1.0])
        return fg.FactorGraph([fg.Table([y], energies=fg.Linear(distance[:, None], weight))])

    samples = [{"x": x} for x in (0, 17, 40, 63)]
    model = fg.EnergyModel(architecture, loss="perceptron", optimizer="sgd")
    model.fit(samples, [{"y": sample["x"]} for sample in samples], epochs=8)  # a warning would be an error
    assert model.history[-1]["loss"] < model.history[0]["loss"]
    assert model.history[-1]["gap"] < 1e-3 * model.history[-1]["spread"]


def test_equal_energies_that_nothing_was_learned_from_are_no_collapse():
    model = fg.EnergyModel(table(), loss="likelihood").fit(None, [{"y": 0}, {"y": 1}, {"y": 2}])
    assert model.history == [] or abs(model.history[-1]["gap"]) < 1e-6


def test_a_collapse_is_noticed_where_a_callback_stops_the_training():
    model = fg.EnergyModel(parabola(0), loss="energy", optimizer="lbfgs")
    with pytest.warns(CollapseWarning, match="collapsed"):
        targets = [{"y": int(square)} for square in SQUARES]
        model.fit(SAMPLES, targets, epochs=80, callbacks=[lambda row: row["loss"] < 1e-9])
