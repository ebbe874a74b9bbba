"""Every loss worked out by hand on a few answers."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from factorgraph_ebm import losses
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.losses.sigmoid import sigmoid

INF = np.inf
LOG2, LOG3 = np.log(2.0), np.log(3.0)

# loss, beta, answers of one sample (or of the variables of one), loss, slopes
BY_HAND = [
    ("energy", 1.0, ([-1.5],), [-1.5], ([1],)),
    ("perceptron", 1.0, ([3], [1]), [2], ([1], [-1])),
    ("perceptron", 1.0, ([1], [1]), [0], ([1], [-1])),
    ("hinge", 1.0, ([3], [1]), [3], ([1], [-1])),
    ("hinge", 1.0, ([1], [1.5]), [0.5], ([1], [-1])),
    ("hinge", 1.0, ([1], [2]), [0], ([0], [0])),  # at the margin, the slope of satisfaction
    (losses.hinge(5.0), 1.0, ([1], [2]), [4], ([1], [-1])),
    (losses.hinge("hamming"), 1.0, ([1], [-2]), [3], ([1], [-1])),
    ("log", 1.0, ([1 + LOG3], [1]), [np.log(4)], ([0.75], [-0.75])),
    ("log", 1.0, ([1000], [0]), [1000], ([1], [-1])),
    ("log", 1.0, ([0], [50]), [np.exp(-50)], ([np.exp(-50)], [-np.exp(-50)])),
    ("lvq2", 1.0, ([3], [2.75]), [0.25], ([1], [-1])),
    ("lvq2", 1.0, ([2], [2]), [0], ([1], [-1])),
    ("lvq2", 1.0, ([3], [2]), [1], ([0], [0])),
    ("lvq2", 1.0, ([1], [2]), [0], ([0], [0])),
    ("mce", 1.0, ([LOG3], [0]), [0.75], ([0.1875], [-0.1875])),
    ("mce", 1.0, ([50], [0]), [1], ([np.exp(-50)], [-np.exp(-50)])),
    ("square_square", 1.0, ([2], [0.25]), [4.5625], ([4], [-1.5])),
    ("square_square", 1.0, ([-2], [3]), [4], ([-4], [0])),
    ("square_exponential", 1.0, ([2], [LOG2]), [4.5], ([4], [-0.5])),
    ("likelihood", 1.0, ([2], [0.5]), [1.5], ([1], [-1])),
    ("softmax_margin", 1.0, ([2], [-1]), [3], ([1], [-1])),
    ("mee", 2.0, ([LOG2], [0]), [0.75], ([0.5], [-0.5])),
    ("mee", 1.0, ([1e-20], [0]), [1e-20], ([1], [-1])),
    ("pseudo_likelihood", 2.0, ([-1, 0, -4],), [0.5, 0, 2], ([-0.5, -0.5, -0.5],)),
    ("piecewise", 1.0, ([2], [-3]), [5], ([1], [-1])),
    ("contrastive_divergence", 1.0, ([2], [3]), [-1], ([1], [-1])),
    ("univariate", 2.0, ([-1, 0, -800],), [1, 0, 800], ([-1, -1, -1],)),
    ("expected_hamming", 2.0, ([-LOG2, 0, -1e-20, -800],), [0.5, 0, 1e-20, 1], ([-0.5, -1, -1, 0],)),
]
# What is left where no wrong answer exists and the right one has energy 2: loss, slope on the right one.
WITHOUT_WRONG = {
    "hinge": (0.0, 0.0),
    "log": (0.0, 0.0),
    "lvq2": (0.0, 0.0),
    "mce": (0.0, 0.0),
    "square_square": (4.0, 4.0),
    "square_exponential": (4.0, 4.0),
}


@pytest.mark.parametrize("loss, beta, answers, value, slopes", BY_HAND)
def test_worked_by_hand(loss, beta, answers, value, slopes):
    found, found_slopes = losses.as_loss(loss).value(tuple(np.array(a, float) for a in answers), beta)
    assert_allclose(found, value, rtol=1e-14)
    assert len(found_slopes) == len(slopes)
    for one, other in zip(found_slopes, slopes):
        assert_allclose(one, other, rtol=1e-14, atol=1e-300)


def test_every_loss_with_defaults_was_worked_by_hand():
    named = {losses.as_loss(loss).name for loss, *_ in BY_HAND}
    assert named == set(losses.LOSSES) - {"margin", "custom"}


@pytest.mark.parametrize("name, left", WITHOUT_WRONG.items())
def test_without_a_wrong_answer(name, left):
    value, (right, wrong) = losses.as_loss(name).value((np.array([2.0]), np.array([INF])), 1.0)
    assert (value[0], right[0], wrong[0]) == (*left, 0.0)


def test_a_right_answer_that_is_forbidden_has_an_infinite_loss_where_that_is_unbounded():
    answers = (np.array([INF]), np.array([1.0]))
    assert losses.hinge().value(answers, 1.0)[0] == INF
    assert losses.likelihood().value(answers, 1.0)[0] == INF
    assert losses.mee().value(answers, 1.0)[0] == 1.0
    assert losses.lvq2(2.0).value(answers, 1.0)[0] == 2.0


def test_a_margin_that_is_a_cost_takes_the_best_answer_of_energies_minus_costs():
    loss = losses.hinge({"y": [[0, 1], [4, 0]]})
    assert loss.queries == (losses.Query("target"), losses.Query("best", cost=True))
    assert loss.cost["y"].tolist() == [[0.0, 1.0], [4.0, 0.0]]
    assert losses.hinge().cost is None


def test_margin_asks_its_functions_for_finite_gaps_alone():
    asked = []

    def square(d):
        asked.append(d)
        return d**2

    loss = losses.margin(square, lambda d: 2 * d, lower_bound=0.5)
    value, slopes = loss.value((np.array([3.0, 3.0]), np.array([1.0, INF])), 1.0)
    assert [gap.tolist() for gap in asked] == [[2.0]]
    assert value.tolist() == [4.0, 0.5]
    assert slopes[1].tolist() == [-4.0, 0.0]
    unbounded = losses.margin(square, lambda d: 2 * d, lower_bound=-INF)
    assert unbounded.value((np.array([3.0]), np.array([INF])), 1.0)[0] == 0.0


@pytest.mark.parametrize("d", [-800.0, -40.0, -1e-9, 0.0, 1e-9, 40.0, 800.0])
def test_sigmoid_is_precise_at_both_ends(d):
    with np.errstate(under="ignore"):
        exact = 1 / (1 + np.exp(np.longdouble(-d)))
        assert_allclose(sigmoid(np.array([d])), float(exact), rtol=4e-16)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: losses.hinge(0.0), r"hinge\(margin=0.0\): margin must be a finite number > 0"),
        (lambda: losses.hinge(INF), "margin must be a finite number > 0"),
        (lambda: losses.hinge(np.nan), "margin must be a finite number > 0"),
        (lambda: losses.hinge(True), "margin must be a finite number > 0"),
        (lambda: losses.hinge("haming"), 'margin="haming" is not a cost. Did you mean "hamming"?'),
        (lambda: losses.hinge(None), "margin must be a square matrix .right, said., .* not NoneType"),
        (lambda: losses.lvq2(-1), r"lvq2\(M=-1\): M must be"),
        (lambda: losses.lvq2("1"), "M must be a finite number > 0"),
        (lambda: losses.square_square(m=0), r"square_square\(m=0\): m must be"),
        (lambda: losses.square_exponential(g=-2.0), r"square_exponential\(g=-2.0\): g must be"),
        (lambda: losses.contrastive_divergence(0), r"contrastive_divergence\(k=0\): k must be an integer >= 1"),
        (lambda: losses.contrastive_divergence(1.5), "k must be an integer >= 1"),
        (lambda: losses.softmax_margin([[0, 1]]), r"cost has shape \(1, 2\)"),
        (lambda: losses.margin(3.0, np.tanh), "Q must be a function"),
        (lambda: losses.margin(np.tanh, None), "dQ must be a function"),
        (lambda: losses.margin(np.tanh, np.tanh, lower_bound=INF), "a number, or -inf for none"),
        (lambda: losses.margin(np.tanh, np.tanh, lower_bound=np.nan), "a number, or -inf for none"),
        (lambda: losses.margin(np.tanh, np.tanh, convex=1), "write True or False"),
        (lambda: losses.margin(np.sum, np.tanh).value((np.ones(3), np.ones(3)), 1.0), r"Q returned .* shape \(\)"),
    ],
)
def test_wrong_arguments_say_what_to_write(make, message):
    with pytest.raises(MethodError, match=message):
        make()
