"""Line searches and quasi-Newton steps: few evaluations, kinks, steps that leave the domain, limited memory."""

import numpy as np
import pytest
from training_problems import Svm, chains, optimum, softmax

from factorgraph_ebm.learning.optimizers import OPTIMIZERS, lbfgs, run
from factorgraph_ebm.learning.optimizers.line_search import CURVATURE, DECREASE, Point, wolfe
from factorgraph_ebm.learning.optimizers.products import add_and_dot, add_and_dot_free, dot, dot_free, norm
from factorgraph_ebm.learning.oracle import UNREGULARIZED, Evaluation, Objective, from_slopes, objective
from factorgraph_ebm.learning.regularizers import VectorLayout, bind_regularizer, elastic_net, group, l2


def along(f, slope):
    """A function of one number, as the search sees it."""
    return lambda t: Point(t, slope(t), np.array([t]), Objective(f(t), np.array([slope(t)]), f(t)))


# Moré and Thuente, "Line search algorithms with guaranteed sufficient decrease", 1994, functions (5.1) to (5.3).
def thuente_1(t):
    return -t / (t * t + 2.0), (t * t - 2.0) / (t * t + 2.0) ** 2


def thuente_2(t):
    return (t + 0.004) ** 5 - 2.0 * (t + 0.004) ** 4, 5.0 * (t + 0.004) ** 4 - 8.0 * (t + 0.004) ** 3


def wall(t):
    """Infinite beyond 1, least at 0.5."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return (-np.log(t * (1.0 - t) + 0.1) if t < 1.0 else np.inf), -(1.0 - 2.0 * t) / (t * (1.0 - t) + 0.1)


@pytest.mark.parametrize("function", [thuente_1, thuente_2, wall])
@pytest.mark.parametrize("step", [1e-3, 0.1, 1.0, 10.0, 1e3])
def test_a_search_ends_where_the_strong_wolfe_conditions_hold(function, step):
    try_step = along(lambda t: function(t)[0], lambda t: function(t)[1])
    begin = try_step(0.0)
    assert begin.slope < 0.0
    found, tried = wolfe(try_step, begin, step)
    assert found.value <= begin.value + DECREASE * found.step * begin.slope
    assert abs(found.slope) <= CURVATURE * abs(begin.slope)
    assert tried <= 20


def test_a_search_gives_up_where_nothing_decreases():
    found, tried = wolfe(along(lambda t: 1.0 + t, lambda t: -1.0), along(lambda t: 1.0, lambda t: -1.0)(0.0), 1.0)
    assert found is None
    assert tried <= 30


def test_most_iterations_take_one_evaluation():
    oracle = softmax()
    state = run(lbfgs(tolerance=1e-12), oracle, bind_regularizer(l2(0.001), VectorLayout(15)))
    assert state.finished and state.evaluations <= 1.2 * state.iteration + 3


@pytest.mark.parametrize("memory", [1, 3, 30])
def test_any_memory_reaches_the_optimum(memory):
    oracle = softmax()
    regularizer = bind_regularizer(l2(0.01), VectorLayout(15))
    state = run(lbfgs(tolerance=1e-13, memory=memory), oracle, regularizer)
    assert state.value == pytest.approx(optimum(oracle, l2=0.01), abs=1e-10)
    assert len(state.steps) == len(state.changes) == len(state.curvatures) <= memory


def test_the_start_does_not_matter_and_an_optimum_is_seen_at_once():
    oracle = softmax()
    regularizer = bind_regularizer(l2(0.01), VectorLayout(15))
    first = run(lbfgs(tolerance=1e-12), oracle, regularizer)
    far = oracle._replace(start=100.0 * np.random.default_rng(0).normal(size=15))
    assert run(lbfgs(tolerance=1e-12), far, regularizer).value == pytest.approx(first.value, rel=1e-12)
    again = lbfgs().init(oracle._replace(start=first.w), regularizer)
    assert again.finished and again.evaluations == 1


def test_iterations_can_be_limited():
    oracle = softmax()
    optimizer = lbfgs(max_iterations=3)
    state = run(optimizer, oracle, UNREGULARIZED, 100)
    assert state.iteration == 3 and optimizer.finished(state) and optimizer.updates == 3
    assert run(lbfgs(max_iterations=0), oracle, UNREGULARIZED).iteration == 0


def test_kinks_of_hinge_are_allowed():
    svm = Svm()
    regularizer = bind_regularizer(l2(0.5), VectorLayout(12))
    state = run(lbfgs(tolerance=1e-8), svm.oracle, regularizer)
    assert state.value == pytest.approx(svm.optimum(0.5), rel=1e-6)
    oracle = chains("hinge")
    regularizer = bind_regularizer(l2(0.05), VectorLayout(10))
    bound = run(OPTIMIZERS["cutting_plane"](tolerance=1e-9), oracle, regularizer).bound
    assert run(lbfgs(tolerance=1e-8), oracle, regularizer).value == pytest.approx(bound, rel=1e-4)


def test_a_step_into_an_infinite_objective_is_taken_back():
    def barrier(w, samples):
        inside = np.prod(w) > 0.0 and (w > 0.0).all()
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.sum(w - 0.01 * np.log(w)) if inside else np.inf
            return np.array([value]), (1.0 - 0.01 / w)[None]

    oracle = from_slopes(barrier, [3.0, 0.5], n_samples=1)
    state = run(lbfgs(tolerance=1e-13), oracle, UNREGULARIZED)
    assert state.w == pytest.approx([0.01, 0.01], rel=1e-5)
    kinked = oracle._replace(lower=np.array([-np.inf, 0.02]))
    assert run(lbfgs(tolerance=1e-13), kinked, UNREGULARIZED).w == pytest.approx([0.01, 0.02], rel=1e-5)


def test_an_objective_that_is_not_a_number_ends_it():
    def broken(w, samples):
        return np.array([np.nan]), np.full((1, 2), np.nan)

    state = run(lbfgs(), from_slopes(broken, [1.0, 2.0], n_samples=1), UNREGULARIZED)
    assert state.finished and np.array_equal(state.w, [1.0, 2.0])


def test_entries_at_their_optimal_bounds_lie_on_them_exactly():
    oracle = softmax(lower=0.0, upper=0.25)
    state = run(lbfgs(tolerance=1e-12), oracle, UNREGULARIZED)
    gradient = objective(oracle, UNREGULARIZED, state.w).gradient
    assert ((gradient > 1e-6) <= (state.w == 0.0)).all()
    assert ((gradient < -1e-6) <= (state.w == 0.25)).all()
    assert (state.w == 0.0).any() and (state.w == 0.25).any()


def test_groups_by_prox_reach_the_same_point_in_any_metric():
    oracle = softmax(n_samples=60)
    layout = VectorLayout(15)

    class Rows:
        n_free, names = 15, ("w",)

        def entries(self, name):
            return layout.entries(name)._replace(shape=(5, 3))

    regularizer = bind_regularizer([l2(0.001), group(0.15)], Rows())
    found = {}
    for name, rate in [("sgd", 1.0), ("adagrad", 0.3), ("adam", 0.02)]:
        optimizer = OPTIMIZERS[name](rate, batch_size=60)
        w = optimizer.best(run(optimizer, oracle, regularizer, 1500)).reshape(5, 3)
        found[name] = objective(oracle, regularizer, w.ravel()).value
        zero = ~w.any(axis=1)
        assert zero.any() and not zero.all()
        # The optimality condition of each row: its gradient has length 0.15 against it, or less where it is 0.
        gradient = objective(oracle, regularizer, w.ravel()).gradient.reshape(5, 3)
        length = np.sqrt((gradient**2).sum(axis=1))
        assert length[~zero] == pytest.approx(0.15, abs=1e-4) and (length[zero] <= 0.15 + 1e-9).all()
    assert max(found.values()) - min(found.values()) < 1e-6


def test_products_in_fixed_order(rng):
    for n in (0, 1, 7, 8, 9, 1000):
        x, y, q = rng.normal(size=(3, n))
        held = (rng.random(n) < 0.5).astype(np.uint8)
        free = held == 0
        assert dot(x, y) == pytest.approx(float(np.sum(x * y)), rel=1e-12, abs=1e-12)
        assert norm(x) == pytest.approx(float(np.sqrt(np.sum(x * x))))
        assert dot_free(x, y, held) == pytest.approx(float(np.sum(x[free] * y[free])), rel=1e-12, abs=1e-12)
        expected = q + 0.3 * x
        got = q.copy()
        assert add_and_dot(got, 0.3, x, y) == pytest.approx(float(np.sum(expected * y)), rel=1e-12, abs=1e-12)
        assert got == pytest.approx(expected, rel=1e-15)
        got = np.where(free, q, 0.0)
        product = add_and_dot_free(got, 0.3, x, y, held)
        assert got == pytest.approx(np.where(free, expected, 0.0), rel=1e-15)
        assert product == pytest.approx(float(np.sum(got * y)), rel=1e-12, abs=1e-12)


def test_expected_minibatch_gradient_is_that_of_the_objective():
    """An epoch of plain SGD with a tiny rate moves w by the rate times the gradient for each batch."""
    oracle = softmax(n_samples=60)
    regularizer = bind_regularizer(l2(0.1), VectorLayout(15))
    oracle = oracle._replace(start=np.linspace(-1.0, 1.0, 15))
    rate = 1e-7
    state = run(OPTIMIZERS["sgd"](rate, batch_size=6), oracle, regularizer, 1)
    moved = (state.w - oracle.start) / (-rate * 10)
    assert moved == pytest.approx(objective(oracle, regularizer, oracle.start).gradient, abs=1e-5)
    assert state.steps == 10


@pytest.mark.parametrize("options", [{"momentum": 0.9}, {"schedule": lambda epochs: 1.0 / (1.0 + 0.001 * epochs)}])
def test_momentum_and_schedules_leave_the_optimum_where_it_is(options):
    """With l1 too: the prox takes the step that the gradient takes in the long run."""
    oracle = softmax()
    regularizer = bind_regularizer(elastic_net(l1=0.02, l2=0.01), VectorLayout(15))
    state = run(OPTIMIZERS["sgd"](1.0, batch_size=60, **options), oracle, regularizer, 1000)
    found = objective(oracle, regularizer, state.w).value
    assert found == pytest.approx(optimum(oracle, l2=0.01, l1=0.02), abs=1e-8)
    assert (state.w == 0.0).any()


def test_a_schedule_sees_epochs_and_their_fractions():
    seen = []
    oracle = softmax(n_samples=60)
    optimizer = OPTIMIZERS["sgd"](batch_size=20, schedule=lambda epochs: seen.append(epochs) or 1.0)
    run(optimizer, oracle, UNREGULARIZED, 2)
    assert seen == pytest.approx([0.0, 1 / 3, 2 / 3, 1.0, 4 / 3, 5 / 3])
    assert run(OPTIMIZERS["sgd"](0.4, schedule="inverse"), oracle, UNREGULARIZED, 3).step < 0.4 / 3.0


def test_losses_of_an_epoch_are_means_over_all_samples():
    def evaluate(w, samples):
        return Evaluation(2.0 + 0.0 * samples, np.zeros(1))

    oracle = from_slopes(lambda w, s: None, [0.0], n_samples=7, weights=np.arange(7.0))._replace(evaluate=evaluate)
    state = run(OPTIMIZERS["sgd"](batch_size=3), oracle, UNREGULARIZED, 1)
    assert state.loss == pytest.approx(2.0 * 21.0 / 7.0)
