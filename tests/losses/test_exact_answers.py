"""What losses of exact answers keep: bounds, convexity, and what is known of them to each other.

Answers come from listing all 27 assignments of a chain of three variables over three states, whose energies are linear
in 27 numbers: three unary tables and two over pairs.
"""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose

from factorgraph_ebm import losses
from factorgraph_ebm.losses.costs import cost_row

K = 3
ASSIGNMENTS = np.array(list(itertools.product(range(K), repeat=3)))
RIGHT = np.array([0, 2, 1])
RIGHT_NUMBER = int(np.flatnonzero((ASSIGNMENTS == RIGHT).all(axis=1))[0])
UNARY = [K * v + ASSIGNMENTS[:, v] for v in range(3)]
PAIRS = [9 + 9 * v + K * ASSIGNMENTS[:, v] + ASSIGNMENTS[:, v + 1] for v in range(2)]
READ = np.stack([*UNARY, *PAIRS], axis=1)
"(27 assignments, 5 factors) the number that each factor reads"
TABLES = [np.arange(K * v, K * v + K) for v in range(3)] + [np.arange(9 + 9 * v, 18 + 9 * v) for v in range(2)]
DRAWN = 5
"the answer that stands for one drawn by Gibbs sampling"


def free_energy(energies, beta):
    return -np.logaddexp.reduce(-beta * energies) / beta


def ask(loss, query, numbers, beta):
    """Answer a query by listing: (1,), or (3,) for each variable."""
    energies = numbers[READ].sum(axis=1)
    if query.cost:
        rows = cost_row(loss.cost, "y", K, RIGHT)
        energies = energies - rows[np.arange(3), ASSIGNMENTS].sum(axis=1)
    wrong = np.arange(len(energies)) != RIGHT_NUMBER
    if query.kind == "target":
        return energies[[RIGHT_NUMBER]]
    if query.kind == "best":
        return energies.min(keepdims=True)
    if query.kind == "wrong":
        return energies[wrong].min(keepdims=True)
    if query.kind == "free":
        return np.array([free_energy(energies, beta)])
    if query.kind == "sample":
        return energies[[DRAWN]]
    if query.kind == "pieces":
        return np.array([sum(free_energy(numbers[table], beta) for table in TABLES)])
    hit = ASSIGNMENTS == RIGHT
    if query.kind == "hits":
        return np.array([beta * (free_energy(energies, beta) - free_energy(energies[h], beta)) for h in hit.T])
    assert query.kind == "sites"
    others = [np.delete(hit, v, axis=1).all(axis=1) for v in range(3)]
    return np.array([beta * (free_energy(energies[o], beta) - energies[RIGHT_NUMBER]) for o in others])


def value_of(loss, numbers, beta=1.0):
    answers = tuple(ask(loss, query, numbers, beta) for query in loss.queries)
    return float(loss.value(answers, beta)[0].sum())


def gradient_of(loss, numbers, beta=1.0):
    """Slopes times central differences of the answers, which are exact where those are affine."""
    answers = tuple(ask(loss, query, numbers, beta) for query in loss.queries)
    _, slopes = loss.value(answers, beta)
    total = np.zeros(len(numbers))
    for i, step in enumerate(1e-6 * np.eye(len(numbers))):
        for query, slope in zip(loss.queries, slopes):
            change = ask(loss, query, numbers + step, beta) - ask(loss, query, numbers - step, beta)
            total[i] += slope @ change / 2e-6
    return total


def draw(rng):
    return rng.choice([0.1, 1.0, 3.0]) * rng.normal(size=27)


def test_no_loss_is_below_its_lower_bound(loss):
    rng = np.random.default_rng(0)
    for beta in (0.5, 1.0, 3.0):
        values = [value_of(loss, draw(rng), beta) for _ in range(60)]
        assert min(values) >= loss.lower_bound - 1e-12


def test_convex_is_said_where_it_is_so_and_only_there(loss):
    """Along segments between drawn numbers; where it is not so, some segment shows it."""
    if not loss.is_objective or loss.name == "custom":
        return
    rng = np.random.default_rng(1)
    excess = []
    for _ in range(400):
        left, right, share = draw(rng), draw(rng), rng.random()
        chord = share * value_of(loss, left) + (1 - share) * value_of(loss, right)
        inside = value_of(loss, share * left + (1 - share) * right)
        excess.append((inside - chord) / max(1.0, abs(chord)))
    if loss.convex:
        assert max(excess) < 1e-12
    else:
        assert max(excess) > 1e-3


def test_planes_of_piecewise_linear_losses_touch_them(loss):
    """L(w + s) = L(w) + gradient . s for small s, which is so of a smooth loss only where it is flat."""
    rng = np.random.default_rng(2)
    errors = []
    for _ in range(20):
        numbers, step = draw(rng), 1e-4 * rng.normal(size=27)
        plane = value_of(loss, numbers) + gradient_of(loss, numbers) @ step
        errors.append(abs(value_of(loss, numbers + step) - plane))
    if loss.piecewise_linear:
        assert np.median(errors) < 1e-12  # a kink may lie within the step
        assert max(errors) < 1e-2
    elif loss.smooth and loss.name != "energy":
        assert max(errors) > 1e-12


@pytest.mark.parametrize("make", [losses.perceptron, losses.hinge, lambda: losses.hinge("hamming"), losses.lvq2])
def test_a_right_answer_far_below_all_others_pulls_at_nothing(make):
    numbers = np.full(27, 4.0)
    numbers[READ[RIGHT_NUMBER]] = 0.0
    assert value_of(make(), numbers) == 0.0
    assert not gradient_of(make(), numbers).any()


@pytest.mark.parametrize("make", [losses.lvq2, losses.mce, losses.mee, losses.expected_hamming])
def test_a_hopeless_sample_does_not_pull(make):
    numbers = np.zeros(27)
    numbers[READ[RIGHT_NUMBER]] = 40.0
    assert np.abs(gradient_of(make(), numbers)).max() < 1e-12


def test_equal_energies_are_no_fixed_point_of_lvq2():
    (right, wrong) = losses.lvq2().value((np.zeros(1), np.zeros(1)), 1.0)[1]
    assert (right[0], wrong[0]) == (1.0, -1.0)


def test_losses_bound_each_other():
    rng = np.random.default_rng(3)
    for _ in range(50):
        numbers = draw(rng)
        perceptron, likelihood, softmax_margin, piecewise, hinge, hamming, log, mce = (
            value_of(losses.as_loss(loss), numbers)
            for loss in (
                "perceptron", "likelihood", "softmax_margin", "piecewise", "hinge",
                losses.hinge("hamming"), "log", "mce",
            )
        )  # fmt: skip
        slack = 1e-12 * max(1.0, likelihood)
        assert perceptron <= likelihood + slack
        assert likelihood <= softmax_margin + slack
        assert hamming <= softmax_margin + slack
        assert likelihood <= piecewise + slack
        assert perceptron <= hinge <= hamming + slack
        assert mce <= log + slack and log <= likelihood + slack
        assert value_of(losses.univariate(), numbers) <= 3 * likelihood + slack
        assert value_of(losses.expected_hamming(), numbers) <= value_of(losses.univariate(), numbers) + slack


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_mee_is_the_probability_of_a_wrong_answer(beta):
    numbers = np.random.default_rng(4).normal(size=27)
    weights = np.exp(-beta * numbers[READ].sum(axis=1))
    assert_allclose(value_of(losses.mee(), numbers, beta), 1 - weights[RIGHT_NUMBER] / weights.sum(), rtol=1e-12)
    assert_allclose(
        value_of(losses.likelihood(), numbers, beta), -np.log(weights[RIGHT_NUMBER] / weights.sum()) / beta, rtol=1e-12
    )


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_without_pairs_pseudo_likelihood_univariate_and_likelihood_agree(beta):
    numbers = np.random.default_rng(5).normal(size=27)
    numbers[9:] = 0.0
    likelihood = value_of(losses.likelihood(), numbers, beta)
    assert_allclose(value_of(losses.pseudo_likelihood(), numbers, beta), likelihood, rtol=1e-12)
    assert_allclose(value_of(losses.univariate(), numbers, beta), beta * likelihood, rtol=1e-12)
    # A table of zeros over a pair has free energy -log 9 / beta, and the right entry has energy 0.
    assert_allclose(value_of(losses.piecewise(), numbers, beta), likelihood + 2 * np.log(9) / beta, rtol=1e-12)


def test_likelihood_is_perceptron_in_the_cold():
    numbers = np.random.default_rng(6).normal(size=27)
    assert_allclose(value_of(losses.likelihood(), numbers, 1e4), value_of(losses.perceptron(), numbers), atol=1e-3)
    assert_allclose(
        value_of(losses.softmax_margin(), numbers, 1e4), value_of(losses.hinge("hamming"), numbers), atol=1e-3
    )
