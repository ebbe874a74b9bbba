"""Losses from functions: names, slopes, and what is refused."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from factorgraph_ebm import losses
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.losses import Query, custom

INF = np.inf


def test_argument_names_say_what_is_asked():
    def everything(correct, minimum, wrong, augmented, free_energy, free_energy_augmented, free_energy_correct):
        return correct

    loss = custom(everything, cost=[[0, 2], [3, 0]])
    assert loss.queries == (
        Query("target"),
        Query("best"),
        Query("wrong"),
        Query("best", cost=True),
        Query("free"),
        Query("free", cost=True),
        Query("target", beta="model"),
    )
    assert loss.cost.tolist() == [[0.0, 2.0], [3.0, 0.0]]


def test_flags_are_what_the_queries_allow_and_the_user_says():
    assert custom(lambda correct, free_energy: correct - free_energy).smooth
    assert not custom(lambda correct, minimum: correct - minimum).smooth
    assert custom(lambda correct, wrong: correct - wrong).cost is None
    loss = custom(lambda minimum, augmented: minimum - augmented, lower_bound=0.0, convex=True)
    assert (loss.lower_bound, loss.convex, loss.piecewise_linear) == (0.0, True, False)


# Losses that exist, written by a user; "shift" moves all energies, which costs digits of the differences.
WRITTEN = {
    "log": lambda correct, wrong: np.logaddexp(0.0, correct - wrong),
    "mce": lambda wrong, correct: 1 / (1 + np.exp(wrong - correct)),
    "likelihood": lambda correct, free_energy: correct - free_energy,
    "square_exponential": lambda correct, wrong: correct**2 + np.exp(-wrong),
}


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(sorted(WRITTEN)), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e3, 1e6]))
def test_central_differences_find_the_slopes_of_known_losses(name, seed, shift):
    if name == "square_exponential":
        shift = 0.0
    first, second = np.random.default_rng(seed).normal(size=(2, 30)) * 3 + shift
    known, mine = losses.as_loss(name), custom(WRITTEN[name])
    value, (on_first, on_second) = known.value((first, second), 1.0)
    swapped = mine.queries[0].kind == "wrong"
    found, slopes = mine.value((second, first) if swapped else (first, second), 1.0)
    tolerance = 1e-9 * max(1.0, shift) ** (2 / 3)
    assert_allclose(found, value, rtol=1e-12, atol=1e-9)
    assert_allclose(slopes[int(swapped)], on_first, rtol=1e-8, atol=tolerance)
    assert_allclose(slopes[1 - int(swapped)], on_second, rtol=1e-8, atol=tolerance)


def test_a_given_derivative_is_used_in_the_order_of_the_function():
    def derivative(wrong, correct):
        return 3 * np.ones_like(correct), 5 * np.ones_like(wrong)

    loss = custom(lambda correct, wrong: correct - wrong, derivative)
    slopes = loss.value((np.zeros(2), np.array([1.0, INF])), 1.0)[1]
    assert_array_equal(slopes[0], [3, 0])  # inf is no loss: the sample is let go
    assert_array_equal(slopes[1], [5, 0])


@pytest.mark.parametrize("shape", [lambda slope: slope, lambda slope: (slope,), lambda slope: [slope.tolist()]])
def test_the_derivative_of_one_energy_may_be_the_array_itself(shape):
    loss = custom(lambda correct: correct**2, lambda correct: shape(2 * correct))
    assert_array_equal(loss.value((np.array([1.0, 3.0]),), 1.0)[1][0], [2, 6])


def test_a_derivative_may_be_one_array_of_rows():
    loss = custom(lambda correct, minimum: correct - minimum, lambda correct, minimum: np.array([[1, 1], [-1, -1]]))
    assert_array_equal(loss.value((np.ones(2), np.zeros(2)), 1.0)[1], [[1, 1], [-1, -1]])


def test_other_arguments_keep_their_defaults_and_keywords_are_filled():
    def scaled(correct, scale=3.0, *, minimum):
        return scale * (correct - minimum)

    loss = custom(scaled)
    assert [query.kind for query in loss.queries] == ["target", "best"]
    value, slopes = loss.value((np.array([2.0]), np.array([1.0])), 1.0)
    assert value[0] == 3.0
    assert_allclose(slopes, [[3.0], [-3.0]], rtol=1e-9)
    assert custom(functools.partial(scaled, scale=1.0)).value((np.array([2.0]), np.array([1.0])), 1.0)[0] == 1.0


@pytest.mark.parametrize(
    "function, left, on_correct",
    [
        (lambda correct, wrong: np.maximum(0, 1 + correct - wrong), 0.0, 0.0),
        (lambda correct, wrong: correct - wrong, 0.0, 0.0),
        (lambda correct, wrong: correct**2 + np.exp(-wrong), 4.0, 4.0),
        (lambda correct, wrong: correct + 0 * wrong, 0.0, 0.0),
    ],
)
def test_where_no_wrong_answer_exists_the_loss_is_finite_and_its_slope_zero(function, left, on_correct):
    value, slopes = custom(function).value((np.array([2.0, 2.0]), np.array([INF, 3.0])), 1.0)
    assert value[0] == left
    assert slopes[1][0] == 0.0
    assert_allclose(slopes[0][0], on_correct, rtol=1e-9)
    assert np.isfinite(value).all() and np.isfinite(slopes).all()


def test_a_forbidden_right_answer_keeps_its_infinite_loss_and_pulls_at_nothing():
    loss = custom(lambda correct, free_energy: correct - free_energy)
    value, slopes = loss.value((np.array([INF, INF]), np.array([1.0, INF])), 1.0)
    assert_array_equal(value, [INF, 0.0])  # the second has no allowed answer at all
    assert not np.any(slopes)


def test_the_function_cannot_change_the_energies():
    def greedy(correct):
        correct += 1.0
        return correct

    with pytest.raises(ValueError, match="read-only"):
        custom(greedy).value((np.zeros(2),), 1.0)


def test_a_nan_of_finite_energies_is_not_hidden():
    assert np.isnan(custom(lambda correct: correct * np.nan).value((np.ones(1),), 1.0)[0][0])


KNOWN = "correct, minimum, wrong, augmented, free_energy, free_energy_augmented, free_energy_correct"


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: custom(lambda corect: corect), f'"corect" is not an energy.*Did you mean "correct".* {KNOWN}'),
        (lambda: custom(lambda x: x), f'argument "x" is not an energy, and has no default. Energies: {KNOWN}'),
        (lambda: custom(lambda *energies: 0), 'argument ".energies" has no name to be called by'),
        (lambda: custom(lambda correct, /: correct), "has no name to be called by"),
        (lambda: custom(lambda: 0), "it takes no energy"),
        (lambda: custom(3.0), r"custom\(function=3.0\): it must be a function of correct"),
        (lambda: custom(np.logaddexp), "Write a function of correct|has no name|not an energy"),
        (lambda: custom(lambda correct: 0, lambda minimum: 0), "takes .'minimum'., and the function .'correct'."),
        (lambda: custom(lambda augmented: 0, cost="ham"), 'cost="ham" is not a cost'),
        (lambda: custom(lambda correct: 0, lower_bound=np.nan), "a number, or -inf"),
        (lambda: custom(lambda correct: 0, convex="yes"), "write True or False"),
    ],
)
def test_functions_that_cannot_be_asked_are_refused(make, message):
    with pytest.raises(MethodError, match=message):
        make()


@pytest.mark.parametrize(
    "function, derivative, message",
    [
        (lambda correct: correct.sum(), None, r"the function returned an array of shape \(\) for .* shape \(3,\)"),
        (lambda correct: None, None, "the answer of the function must be an array of shape .*, not NoneType"),
        (lambda correct: (correct, correct), None, r"returned an array of shape \(2, 3\)"),
        (lambda correct: correct * 1j, None, "not an array of complex128"),
        (lambda correct: "high", None, "not str"),
        (lambda correct: correct, lambda correct: 1.0, r"derivative in correct returned .* \(\)"),
        (lambda correct: correct, lambda correct: (correct, correct), "returned 2 entries. Return 1 arrays of slopes"),
    ],
)
def test_answers_of_another_shape_are_refused(function, derivative, message):
    with pytest.raises(MethodError, match=message):
        custom(function, derivative).value((np.ones(3),), 1.0)


def test_a_derivative_with_too_few_slopes_is_refused():
    loss = custom(lambda correct, minimum: correct - minimum, lambda correct, minimum: correct)
    with pytest.raises(MethodError, match=r"array of shape \(3,\). Return 2 arrays of slopes, in the order"):
        loss.value((np.ones(3), np.ones(3)), 1.0)
