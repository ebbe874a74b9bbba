"""What every loss of the registry keeps, whatever answers it is given."""

import copy

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from factorgraph_ebm import losses
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.losses.loss import PER_VARIABLE, SUMMED

STEP = 1e-5
# A second difference of a function that bends within a nat is STEP^2; across a kink it is STEP.
KINK = 1e-7


def draw_answers(loss, rng, n=40, scale=2.0):
    """Any numbers, whether or not a graph could give them; log-probabilities are negative."""
    return tuple(
        -rng.exponential(scale, n) if query.kind in PER_VARIABLE else scale * rng.normal(size=n)
        for query in loss.queries
    )


def moved(answers, place, by):
    return tuple(answer + by if i == place else answer for i, answer in enumerate(answers))


def assert_slopes_are_central_differences(loss, answers, beta):
    value, slopes = loss.value(answers, beta)
    for place, slope in enumerate(slopes):
        high = loss.value(moved(answers, place, STEP), beta)[0]
        low = loss.value(moved(answers, place, -STEP), beta)[0]
        straight = np.abs(high + low - 2 * value) < KINK * np.maximum(1.0, np.abs(value))
        assert straight.mean() > 0.9
        assert_allclose(slope[straight], ((high - low) / (2 * STEP))[straight], rtol=1e-6, atol=1e-6)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 1.0, 2.0]))
def test_slopes_are_central_differences_of_the_value(loss, seed, beta):
    assert_slopes_are_central_differences(loss, draw_answers(loss, np.random.default_rng(seed)), beta)


def test_no_wrong_answer_leaves_a_finite_loss_with_slope_zero(loss):
    rng = np.random.default_rng(1)
    answers = draw_answers(loss, rng)
    for place, query in enumerate(loss.queries):
        if query.kind != "wrong":
            continue
        none = rng.random(len(answers[place])) < 0.5
        answers = moved(answers, place, np.where(none, np.inf, 0.0))
        value, slopes = loss.value(answers, 1.0)
        assert np.isfinite(value).all()
        assert not slopes[place][none].any()
        assert all(np.isfinite(slope).all() for slope in slopes)
        assert slopes[place][~none].any()
        with np.errstate(invalid="ignore"):
            assert_slopes_are_central_differences(loss, answers, 1.0)


def test_a_sample_without_any_allowed_answer_is_no_nan_and_pulls_at_nothing(loss):
    answers = tuple(np.array([-np.inf if query.kind in PER_VARIABLE else np.inf]) for query in loss.queries)
    value, slopes = loss.value(answers, 1.0)
    assert not np.isnan(value).any()
    if len(loss.queries) > 1:
        assert not slopes[-1].any()


@pytest.mark.parametrize("size", [0.0, 1e-300, 30.0, 800.0, 1e6, 1e200])
def test_extreme_answers_give_no_nan_and_no_warning(loss, size):
    signs = np.array(np.meshgrid(*[[-size, 0.0, size]] * len(loss.queries))).reshape(len(loss.queries), -1)
    answers = tuple(-np.abs(row) if query.kind in PER_VARIABLE else row for query, row in zip(loss.queries, signs))
    if loss.name in ("custom", "margin") and size > 1e100:
        answers = tuple(row / 1e50 for row in answers)  # their functions here square them
    value, slopes = loss.value(answers, 1.0)
    assert not np.isnan(value).any()
    assert not any(np.isnan(slope).any() for slope in slopes)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_slopes_are_float64_arrays_shaped_like_the_answers_which_stay_as_they_are(loss, n):
    answers = draw_answers(loss, np.random.default_rng(2), n)
    kept = [answer.copy() for answer in answers]
    for answer in answers:
        answer.flags.writeable = False
    value, slopes = loss.value(answers, 1.0)
    for array in (value, *slopes):
        assert array.shape == (n,) and array.dtype == np.float64
    assert len(slopes) == len(loss.queries)
    assert all((answer == before).all() for answer, before in zip(answers, kept))


def test_a_copy_is_as_good(loss):
    copied = copy.deepcopy(loss)  # as scikit-learn copies the arguments of an estimator
    answers = draw_answers(loss, np.random.default_rng(7))
    assert (copied.value(answers, 1.0)[0] == loss.value(answers, 1.0)[0]).all()


def test_samples_do_not_see_each_other(loss):
    answers = draw_answers(loss, np.random.default_rng(3))
    value, slopes = loss.value(answers, 1.0)
    halves = [loss.value(tuple(answer[part] for answer in answers), 1.0) for part in (slice(7), slice(7, None))]
    assert_allclose(value, np.concatenate([half[0] for half in halves]), rtol=0, atol=0)
    for place, slope in enumerate(slopes):
        assert_allclose(slope, np.concatenate([half[1][place] for half in halves]), rtol=0, atol=0)


def test_differences_do_not_see_the_zero_of_energy(loss):
    if loss.name in ("energy", "square_square", "square_exponential") or loss.queries[0].kind in PER_VARIABLE:
        return
    answers = draw_answers(loss, np.random.default_rng(4))
    value, slopes = loss.value(answers, 1.0)
    shifted, _ = loss.value(tuple(answer + 3.0 for answer in answers), 1.0)
    assert_allclose(shifted, value, rtol=1e-12, atol=1e-12)
    assert_allclose(sum(slopes), 0.0, atol=1e-9)


def test_flags_agree_with_the_queries(loss):
    kinds = {query.kind for query in loss.queries}
    assert loss.name in losses.LOSSES
    assert loss.smooth == (not kinds & {"best", "wrong", "sample"})
    assert loss.convex or not loss.piecewise_linear
    assert not loss.piecewise_linear or loss.lower_bound == 0.0
    assert (loss.cost is not None) == any(query.cost for query in loss.queries)
    assert loss.is_objective == ("sample" not in kinds)
    assert all((query.sweeps > 0) == (query.kind == "sample") for query in loss.queries)


def test_only_losses_without_sums_take_an_infinite_beta(loss):
    losses.check_beta(loss, 0.5)
    if not {query.kind for query in loss.queries} & SUMMED:
        losses.check_beta(loss, np.inf)
        return
    with pytest.raises(MethodError, match=f'loss "{loss.name}" sums over answers at beta, which is inf. Write '):
        losses.check_beta(loss, np.inf)
    with pytest.raises(MethodError, match="a finite beta > 0"):
        losses.check_beta(loss, 0.0)
    assert loss.at_infinite_beta or loss.name == "custom"


@pytest.mark.parametrize("name", losses.LOSSES)
def test_every_loss_says_its_formula_its_source_and_an_example(name):
    doc = losses.LOSSES[name].__doc__
    assert "L = " in doc or name == "contrastive_divergence"
    assert "Source" in doc or name == "custom"
    assert ">>> " in doc


@pytest.mark.parametrize("name", losses.LOSSES)
def test_every_loss_is_exported(name):
    assert name in losses.__all__
    assert getattr(losses, name) is losses.LOSSES[name]
