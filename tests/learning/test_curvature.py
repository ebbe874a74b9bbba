"""The curvature before anything is learned, and what L-BFGS makes of it: the same optimum, sooner."""

import numpy as np
import pytest
import scipy.sparse
from learning_cases import ARCHITECTURES
from training_problems import optimum, softmax

import factorgraph_ebm as fg
from factorgraph_ebm.learning import pieces
from factorgraph_ebm.learning.asking import Inference
from factorgraph_ebm.learning.curvature import curvature_of
from factorgraph_ebm.learning.data import read_data
from factorgraph_ebm.learning.evaluate import evaluate, make_problem
from factorgraph_ebm.learning.layout import layout_of
from factorgraph_ebm.learning.optimizers import lbfgs, run
from factorgraph_ebm.learning.optimizers.products import rescale, scaled_square, unscaled_square
from factorgraph_ebm.learning.oracle import UNREGULARIZED, Regularizer, from_slopes, objective
from factorgraph_ebm.learning.problem_oracle import make_oracle
from factorgraph_ebm.learning.regularizers import VectorLayout, bind_regularizer, elastic_net, l2
from factorgraph_ebm.losses.likelihood import likelihood

UNKNOWN = {"computed"}
"architectures whose numbers are functions of parameters"


def problem_of(built, samples, targets, weights=None, **how):
    data = read_data(built, samples, targets)
    weights = np.ones(len(data.graphs)) if weights is None else weights
    return make_problem(data, layout_of(data.graphs), likelihood(), Inference(**how), weights)


def bent(problem, w, step=1e-4):
    """The diagonal of the Hessian of the sum of weighted losses, by differences of gradients."""
    found = np.empty(len(w))
    for j in range(len(w)):
        there, back = w.copy(), w.copy()
        there[j], back[j] = w[j] + step, w[j] - step
        found[j] = (evaluate(problem, there).gradient[j] - evaluate(problem, back).gradient[j]) / (2.0 * step)
    return found


def pair(sample, sparse=False, given=False):
    """Two variables, of features each and of each other; their numbers are all equal at first."""
    x = scipy.sparse.csr_array(sample["x"]) if sparse else sample["x"]
    y = fg.output("y", shape=2, n_states=3)
    factors = [
        fg.Table([y], energies=fg.Linear(x, fg.Parameter("weight", shape=(4, 3)))),
        fg.Table([y[0], y[1]], energies=fg.Parameter("table", shape=(3, 3))),
        fg.Potts([y[0], y[1]], penalty=fg.Parameter("penalty")),
    ]
    if given:
        z = fg.observed("z", n_states=5)
        factors.append(fg.Table([z, y[0]], energies=fg.Parameter("of_z", shape=(5, 3))))
    return fg.FactorGraph(factors)


@pytest.mark.parametrize("how", [{}, {"sparse": True}, {"given": True}], ids=str)
@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_it_is_the_diagonal_of_the_hessian_where_all_is_equally_likely(rng, how, beta):
    samples = [{"x": np.round(rng.normal(size=(2, 4)), 1)} for _ in range(4)]
    if how.get("given"):
        samples = [{**each, "z": int(rng.integers(0, 5))} for each in samples]
    targets = [{"y": rng.integers(0, 3, 2)} for _ in range(4)]
    problem = problem_of(lambda s: pair(s, **how), samples, targets, rng.uniform(0.5, 2.0, 4), beta=beta)
    found = curvature_of(problem)
    expected = bent(problem, np.zeros(len(found)))
    penalty = problem.layout.offset["penalty"]  # one number in many entries of a table: they are taken as independent
    assert expected[penalty] < found[penalty] < 3.0 * expected[penalty]
    np.testing.assert_allclose(np.delete(found, penalty), np.delete(expected, penalty), rtol=1e-5, atol=1e-7)


def test_it_is_of_products_and_of_views(rng):
    """A product of -1 and +1 has mean 0 and variance 1."""
    weight = fg.Parameter("weight", shape=4)

    def built(sample):
        y = fg.output("y", shape=2, states=[-1, 1])
        return fg.FactorGraph([fg.Product([y[0], y[1]], weight=weight[2]), fg.Product([y], weight=weight[:2])])

    problem = problem_of(built, [{}] * 3, [{"y": 2 * rng.integers(0, 2, 2) - 1} for _ in range(3)])
    np.testing.assert_allclose(bent(problem, np.zeros(4)), [3.0, 3.0, 3.0, 0.0], atol=1e-5)
    # Entries that read one number are taken as independent, which -1 and +1 are not.
    np.testing.assert_allclose(curvature_of(problem), [1.5, 1.5, 2.25, 0.0], atol=1e-12)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in ("Product", "given")])
def test_it_is_positive_where_a_loss_bends_or_not_known(name, rng):
    architecture = ARCHITECTURES[name]
    samples = [{"x": rng.normal(size=(size, 2)), **architecture.more(rng, size)} for size in architecture.sizes]
    targets = [{"y": rng.integers(0, architecture.states, len(each["x"]))} for each in samples]
    problem = problem_of(architecture.graph, samples, targets)
    found = curvature_of(problem)
    if found is not None:
        assert found.shape == (problem.layout.n_free,) and (found >= 0.0).all() and np.isfinite(found).all()
        assert found.any()
    assert (found is None) == (name in UNKNOWN)


def test_functions_of_parameters_are_not_known(rng):
    power = fg.Parameter("power", initial=2.0)

    def built(sample):
        y = fg.output("y", n_states=4)
        return fg.FactorGraph([fg.Table([y], energies=fg.Computed(
            lambda p: np.arange(4.0) ** p, power, shape=4, pullback=lambda p, g: (np.sum(g),)
        ))])  # fmt: skip

    problem = problem_of(built, [{}], [{"y": 1}])
    assert curvature_of(problem) is None
    assert not len(lbfgs().init(make_oracle(problem, problem.layout.start, 0), UNREGULARIZED).scale)


def scaled(scale):
    """A softmax whose features have other units, and its curvature at 0."""
    oracle = softmax()
    of_entry = np.repeat(scale, 3)

    def evaluate(w, samples):
        found = oracle.evaluate(w * of_entry, samples)
        return found._replace(gradient=found.gradient * of_entry)

    def curvature():
        step = 1e-4
        ahead = [oracle.evaluate(step * each, None).gradient for each in np.eye(15)]
        back = [oracle.evaluate(-step * each, None).gradient for each in np.eye(15)]
        return np.diag(np.array(ahead) - np.array(back)) / (2.0 * step) * of_entry**2

    return oracle._replace(evaluate=evaluate, curvature=curvature)


@pytest.mark.parametrize("penalty", [{"l2": 0.01}, {"l2": 0.01, "l1": 0.02}])
def test_the_optimum_is_the_same_and_other_units_cost_less(penalty):
    oracle = scaled(np.array([0.1, 1.0, 1.0, 10.0, 100.0]))
    regularizer = bind_regularizer(elastic_net(l1=penalty.get("l1", 0.0), l2=penalty["l2"]), VectorLayout(15))
    known = run(lbfgs(tolerance=1e-12), oracle, regularizer)
    unknown = run(lbfgs(tolerance=1e-12), oracle._replace(curvature=lambda: None), regularizer)
    assert known.value == pytest.approx(optimum(oracle, **penalty), abs=1e-9)
    assert known.value == pytest.approx(unknown.value, rel=1e-7)
    assert known.evaluations < unknown.evaluations


def test_bounds_hold_in_any_units():
    oracle = scaled(np.array([0.1, 1.0, 1.0, 10.0, 30.0]))._replace(lower=np.zeros(15), upper=np.full(15, 0.25))
    regularizer = bind_regularizer(l2(0.001), VectorLayout(15))
    state = run(lbfgs(tolerance=1e-12), oracle, regularizer)
    assert ((state.w >= 0.0) & (state.w <= 0.25)).all()
    gradient = objective(oracle, regularizer, state.w).gradient
    assert (gradient[state.w > 0.0] < 1e-5).all() and (gradient[state.w < 0.25] > -1e-5).all()


def test_a_scale_takes_the_diagonal_of_the_bfgs_formula(rng):
    n = 11
    scale, step, change = rng.uniform(0.1, 10.0, n), rng.normal(size=n), rng.normal(size=n)
    product = float(np.abs(step @ change)) + 1.0
    ratio, length = scaled_square(change, scale) / product, unscaled_square(step, scale)
    assert ratio == pytest.approx(np.sum(scale * change**2) / product)
    assert length == pytest.approx(np.sum(step**2 / scale))
    before = np.diag(ratio / scale)
    after = before - before @ np.outer(step, step) @ before / (step @ before @ step)
    after += np.outer(change, change) / product
    found = np.empty(n)
    rescale(scale, step, change, ratio, product, length, found)
    np.testing.assert_allclose(found, 1.0 / np.diag(after), rtol=1e-10)
    alone = np.zeros(n)
    alone[3] = 1.0  # all of a step in one entry, which did not bend: it may take steps a thousand times as long
    rescale(scale, alone, np.zeros(n), ratio, product, unscaled_square(alone, scale), found)
    assert found[3] == pytest.approx(1000.0 * scale[3] / ratio)


def test_threads_do_not_change_a_bit(monkeypatch):
    monkeypatch.setattr(pieces, "PIECE", 4)
    oracle = scaled(np.array([0.1, 1.0, 1.0, 10.0, 100.0]))
    regularizer = bind_regularizer(l2(0.01), VectorLayout(15))
    found = [run(lbfgs(tolerance=1e-9), oracle._replace(threads=t), regularizer) for t in (1, 2, 3)]
    for each in found[1:]:
        assert np.array_equal(each.w, found[0].w) and each.evaluations == found[0].evaluations


def test_what_rests_at_a_kink_has_no_part_in_the_scale():
    """Beside an entry that l1 holds at 0, the scale of the other one is what it is alone."""

    def evaluate(w, samples):
        a, b = w[0] - 1.0, w[-1] if len(w) > 1 else 0.0
        slope = [np.cosh(a) * np.sinh(a) + 30.0 * b, 30.0 * a + 9.0 * b]
        return np.array([0.5 * np.sinh(a) ** 2 + 30.0 * a * b + 4.5 * b**2]), np.array([slope[: len(w)]])

    states = []
    for start in ([3.0], [3.0, 0.0]):
        known, penalty = np.ones(len(start)), np.array([0.5, 1e4])[: len(start)]
        oracle = from_slopes(evaluate, start, n_samples=1)._replace(curvature=lambda known=known: known.copy())
        regularizer = Regularizer(lambda w, p=penalty: float(p @ abs(w)), None, lambda w, step: w, l1=penalty)
        optimizer = lbfgs()
        state = optimizer.init(oracle, regularizer)
        for _ in range(3):
            state = optimizer.update(state, oracle, regularizer)
        states.append(state)
    alone, beside = states
    assert beside.w[1] == 0.0 and beside.w[0] == alone.w[0]
    assert beside.scale[0] == alone.scale[0]


def test_regularizers_and_oracles_of_ones_own_may_hold_any_numbers():
    """Ints, and every other element of an array."""
    target = np.array([[1.0, 2.0], [3.0, 4.0]])
    oracle = from_slopes(
        lambda w, samples: (((w - target[samples]) ** 2).sum(axis=1), 2.0 * (w - target[samples])), [0.0, 0.0],
        n_samples=2,
    )  # fmt: skip
    apart = oracle._replace(
        evaluate=lambda w, samples: oracle.evaluate(w, samples)._replace(
            gradient=np.repeat(oracle.evaluate(w, samples).gradient, 2)[::2]
        )
    )
    for each in (oracle, apart):
        own = Regularizer(lambda w: float(w @ w), lambda w: 2.0 * w, None, l2=np.array([1, 1]))
        found = objective(each, own, np.array([1.0, 1.0]))
        assert found.value == 9.0 and found.gradient.tolist() == [0.0, -2.0]
