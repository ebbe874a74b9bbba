"""Methods that go by planes: averages, bounds of the optimum, memory, the quadratic program, latents."""

import numpy as np
import pytest
import scipy.optimize
from training_problems import MARGIN, Svm, chains

from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.learning.optimizers import (
    OPTIMIZERS,
    averaged_perceptron,
    bcfw,
    cccp,
    cutting_plane,
    lbfgs,
    passive_aggressive,
    run,
    sgd,
)
from factorgraph_ebm.learning.optimizers.bcfw import MANY
from factorgraph_ebm.learning.optimizers.simplex import maximise
from factorgraph_ebm.learning.oracle import UNREGULARIZED, from_slopes, objective
from factorgraph_ebm.learning.regularizers import VectorLayout, l1, l2


def watched(oracle):
    """The oracle, and a list of every w at which it was asked for a plane."""
    seen = []

    def planes(w, samples):
        seen.append(w.copy())
        return oracle.planes(w, samples)

    return oracle._replace(planes=planes), seen


def test_the_averaged_perceptron_averages_every_iterate():
    svm = Svm(weighted=False)
    oracle, seen = watched(svm.oracle._replace(start=np.linspace(-1.0, 1.0, 12)))
    optimizer = averaged_perceptron()
    state = run(optimizer, oracle, UNREGULARIZED, 3)
    # Each iterate is seen by the next sample, and the last by none.
    iterates = [*seen[1:], state.w]
    assert len(iterates) == 3 * oracle.n_samples
    assert optimizer.best(state) == pytest.approx(np.mean(iterates, axis=0), rel=1e-12)
    assert optimizer.best(optimizer.init(oracle, UNREGULARIZED)) == pytest.approx(oracle.start)


def test_averages_hold_within_bounds_too():
    svm = Svm()
    oracle, seen = watched(svm.oracle._replace(lower=np.full(12, -0.5), upper=np.full(12, 0.5)))
    optimizer = averaged_perceptron()
    state = run(optimizer, oracle, UNREGULARIZED, 3)
    assert (abs(state.w) == 0.5).any()
    assert optimizer.best(state) == pytest.approx(np.mean([*seen[1:], state.w], axis=0), rel=1e-12)


def test_the_averaged_perceptron_is_sgd_on_single_samples():
    svm = Svm()
    one = run(averaged_perceptron(), svm.oracle, UNREGULARIZED, 3)
    other = run(sgd(1.0, batch_size=1), svm.oracle, UNREGULARIZED, 3)
    assert one.w == pytest.approx(other.w, abs=1e-12)
    assert one.loss == pytest.approx(other.loss, rel=1e-12)


def test_a_passive_aggressive_step_brings_one_loss_to_zero_or_is_cut_off():
    svm = Svm(n_classes=2, weighted=False)
    first = int(svm.oracle.order(0)[0])
    single = svm.oracle._replace(n_samples=1, order=lambda epoch: np.array([first]))
    w = run(passive_aggressive(C=1e9), single, UNREGULARIZED, 1).w
    assert svm.oracle.planes(w, np.array([first]))[0].loss == pytest.approx(0.0, abs=1e-12)
    cut = run(passive_aggressive(C=1e-3), single, UNREGULARIZED, 1).w
    plane = svm.oracle.planes(np.zeros(8), np.array([first]))[0]
    assert cut[plane.support] == pytest.approx(-1e-3 * plane.values)
    averaging = passive_aggressive(average=True)
    state = run(averaging, svm.oracle, UNREGULARIZED, 2)
    assert not np.array_equal(averaging.best(state), state.w)


@pytest.mark.parametrize("strength", [0.01, 0.2, np.linspace(0.02, 0.4, 12)])
def test_bounds_hold_the_optimum_between_them(strength):
    svm = Svm()
    regularizer = l2(1.0).bind(VectorLayout(12))
    strengths = np.broadcast_to(strength, (12,))
    regularizer = regularizer._replace(
        value=lambda w: float(np.sum(strengths * w * w)), gradient=lambda w: 2.0 * strengths * w, l2=strengths
    )
    least = svm.optimum(strengths)
    dual = -np.inf
    optimizer = bcfw(gap_tolerance=1e-3, check_every=1)
    state = optimizer.init(svm.oracle, regularizer)
    for _ in range(200):
        state = optimizer.update(state, svm.oracle, regularizer)
        assert dual - 1e-12 <= state.bound <= least + 1e-9 <= state.objective + 2e-9
        dual = state.bound
    plane = run(cutting_plane(tolerance=1e-9), svm.oracle, regularizer)
    assert plane.bound == pytest.approx(least, rel=1e-8) and plane.objective == pytest.approx(least, rel=1e-8)
    assert plane.bound <= least + 1e-9


def test_bcfw_averages_with_growing_weights_and_answers_the_better():
    svm = Svm(weighted=False)
    regularizer = l2(0.05).bind(VectorLayout(12))
    oracle, seen = watched(svm.oracle)
    optimizer = bcfw(gap_tolerance=0.0, check_every=4, batch_size=1, passes=0)
    state = run(optimizer, oracle, regularizer, 4)
    iterates = [*seen[1:], state.w]
    weights = np.arange(1.0, len(iterates) + 1.0)
    average = weights @ np.array(iterates) / weights.sum()
    values = [objective(oracle, regularizer, w).value for w in (state.w, average)]
    assert state.objective == pytest.approx(min(values), rel=1e-12)
    assert optimizer.best(state) == pytest.approx([state.w, average][int(np.argmin(values))], rel=1e-9)
    assert optimizer.best(state._replace(averaged=True)) == pytest.approx(average, rel=1e-9)
    # w is what the stored planes say it is.
    mixed = np.zeros(12)
    np.add.at(mixed, state.support, state.values)
    assert state.w == pytest.approx(-mixed / oracle.n_samples / 0.1, rel=1e-12)


def test_bcfw_tells_what_it_knows_after_every_epoch():
    """The losses that it met, until the objective is compared with the bound; no gap that nothing proves."""
    svm = Svm()
    regularizer = l2(0.05).bind(VectorLayout(12))
    optimizer = bcfw(gap_tolerance=0.0, check_every=3)
    state, least = optimizer.init(svm.oracle, regularizer), svm.optimum(0.05)
    for epoch in range(1, 7):
        state = optimizer.update(state, svm.oracle, regularizer)
        report = optimizer.report(state)
        assert report["bound"] <= least + 1e-9 and report["objective"] >= report["loss"] > 0.0
        assert ("gap" in report) == (epoch % 3 == 0)
    assert report["objective"] == objective(svm.oracle, regularizer, optimizer.best(state)).value


def test_bcfw_stops_where_its_objective_has_come_to_rest():
    """Unless a gap is asked for, which with so little l2 takes long, or an epoch costs next to nothing."""
    svm = Svm()
    regularizer = l2(1e-6).bind(VectorLayout(12))
    many = bcfw(passes=MANY // (5 * svm.oracle.n_samples))
    state = run(many, svm.oracle, regularizer)
    assert state.finished and state.epoch < 200 and state.objective - state.bound > 1e-3 * state.objective
    for goes_on in (bcfw(), bcfw(gap_tolerance=1e-3)):
        assert run(goes_on, svm.oracle, regularizer, 100).epoch == 100


def test_more_passes_over_the_planes_raise_the_bound():
    svm = Svm()
    regularizer = l2(0.01).bind(VectorLayout(12))
    bounds = [run(bcfw(0.0, batch_size=7, passes=passes), svm.oracle, regularizer, 2).bound for passes in (0, 3, 20)]
    assert bounds[0] < bounds[1] < bounds[2] <= svm.optimum(0.01) + 1e-9


def test_gaps_are_called_working_gaps_where_inference_is_not_exact():
    svm = Svm()
    loose = svm.oracle._replace(traits=MARGIN - {"exact"})
    regularizer = l2(0.05).bind(VectorLayout(12))
    for optimizer in (bcfw(check_every=1), cutting_plane()):
        report = optimizer.report(run(optimizer, loose, regularizer, 3))
        assert {"working_gap", "working_bound"} <= set(report) and not {"gap", "bound"} & set(report)
        assert {"gap", "bound"} <= set(optimizer.report(run(optimizer, svm.oracle, regularizer, 3)))


def test_an_oracle_that_errs_does_not_break_the_steps():
    """Planes of answers that are too good, as poor inference gives them: shares stay in [0, 1], bounds do not fall."""
    svm = Svm()
    rng = np.random.default_rng(1)
    w_other = rng.normal(size=12)

    def planes(w, samples):
        found = svm.oracle.planes(w if rng.random() < 0.5 else w_other, samples)
        return [each._replace(loss=each.offset + float(each.values @ w[each.support])) for each in found]

    regularizer = l2(0.05).bind(VectorLayout(12))
    optimizer = bcfw(check_every=1)
    state, bound = optimizer.init(svm.oracle, regularizer), -np.inf
    for _ in range(30):
        state = optimizer.update(state, svm.oracle._replace(planes=planes), regularizer)
        assert state.bound >= bound - 1e-12
        bound = state.bound
    assert bound <= svm.optimum(0.05) + 1e-9


def test_planes_that_do_not_fit_are_refused_with_their_bytes():
    svm = Svm()
    regularizer = l2(0.05).bind(VectorLayout(12))
    with pytest.raises(MethodError, match=r"14 samples: about [\d,]+ bytes .*memory=100.*sgd\(average=True\)"):
        run(bcfw(memory=100), svm.oracle, regularizer)
    with pytest.raises(MethodError, match=r"3 planes of 12 entries: 288 bytes, more than memory=200.*bcfw\(\)"):
        run(cutting_plane(memory=200), svm.oracle, regularizer)
    for optimizer in (bcfw(), cutting_plane()):
        with pytest.raises(MethodError, match=r"regularizer=l2\(strength\)"):
            run(optimizer, svm.oracle, l1(0.1).bind(VectorLayout(12)))


def test_planes_that_serve_no_more_are_forgotten():
    """Losses of many kinks: every iteration brings a plane, and old ones drop out of the mixture for good."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(120, 12)), 10.0 * rng.normal(size=120)

    def distances(w, samples):
        residual = a[samples] @ w - b[samples]
        return abs(residual), np.sign(residual)[:, None] * a[samples]

    oracle = from_slopes(distances, np.zeros(12), n_samples=120)
    regularizer = l2(1e-3).bind(VectorLayout(12))
    optimizer = cutting_plane(tolerance=1e-9)
    state, updates = optimizer.init(oracle, regularizer), 0
    while not optimizer.finished(state):
        state, updates = optimizer.update(state, oracle, regularizer), updates + 1
    assert len(state.slopes) == len(state.alpha) == len(state.gram) < updates
    other = run(lbfgs(tolerance=1e-9), oracle._replace(traits=oracle.traits - {"smooth"}), regularizer)
    assert state.bound <= other.value + 1e-9 and state.objective == pytest.approx(other.value, rel=1e-2)


@pytest.mark.parametrize("m", [1, 2, 5, 40])
def test_the_quadratic_program_equals_slsqp(m, rng):
    planes = rng.normal(size=(m, 15))
    planes[m // 2] = planes[0]  # twins: a flat direction
    gram, linear = planes @ planes.T, rng.normal(size=m)
    found = maximise(gram, linear, np.full(m, 1.0 / m), 1e-12)
    assert found.min() >= 0.0 and found.sum() == pytest.approx(1.0, rel=1e-14)
    exact = scipy.optimize.minimize(
        lambda alpha: 0.5 * alpha @ gram @ alpha - linear @ alpha,
        np.full(m, 1.0 / m),
        jac=lambda alpha: gram @ alpha - linear,
        bounds=[(0.0, 1.0)] * m,
        constraints={"type": "eq", "fun": lambda alpha: alpha.sum() - 1.0, "jac": lambda alpha: np.ones(m)},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    assert linear @ found - 0.5 * found @ gram @ found == pytest.approx(-exact.fun, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("kind, inner", [("likelihood", lbfgs()), ("hinge", cutting_plane(1e-8)), ("hinge", bcfw())])
def test_rounds_of_completion_never_raise_the_objective(kind, inner):
    oracle = chains(kind, latent=(0, 2))
    regularizer = l2(0.05).bind(VectorLayout(10))
    optimizer = cccp(inner, inner_updates=200)
    state = optimizer.init(oracle, regularizer)
    values = [objective(oracle, regularizer, state.w).value]
    while not optimizer.finished(state):
        state = optimizer.update(state, oracle, regularizer)
        values.append(objective(oracle, regularizer, state.w).value)
        assert values[-1] <= state.bound + 1e-12
    assert len(values) > 2 and (np.diff(values) <= 1e-12).all()
    assert "convex" not in optimizer.needs and ("l2" in optimizer.needs) == ("l2" in inner.needs)


def test_an_inner_optimizer_that_cannot_is_refused():
    oracle = chains("likelihood", latent=(0,))
    with pytest.raises(MethodError, match='"bcfw" needs a problem that is piecewise_linear'):
        run(cccp(bcfw()), oracle, l2(0.1).bind(VectorLayout(10)))
    with pytest.raises(MethodError, match="nothing is latent"):
        run(cccp(), chains("hinge"), UNREGULARIZED)
    assert OPTIMIZERS["cccp"]().needs == {"latents", "objective", "no_rest_but_l1"}
