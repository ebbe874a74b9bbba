"""Evaluation as a whole: bits, blocks and minibatches, weights, what is infinite, forbidden or not labelled."""

import math

import numpy as np
import pytest
from learning_cases import ARCHITECTURES
from numpy.testing import assert_allclose
from oracle import brute

import factorgraph_ebm as fg
from factorgraph_ebm import losses
from factorgraph_ebm.errors import FactorError, FactorGraphError
from factorgraph_ebm.inference import contracting, passing
from factorgraph_ebm.learning import evaluate as evaluating
from factorgraph_ebm.learning.asking import Inference
from factorgraph_ebm.learning.data import read_data
from factorgraph_ebm.learning.evaluate import evaluate, make_problem
from factorgraph_ebm.learning.layout import layout_of

WORDS = [name for name in losses.LOSSES if name not in ("margin", "custom")]
BY_VARIABLE = ("univariate", "expected_hamming")
K = 3
T = fg.Parameter("T", shape=(K, K))


def chain(sample):
    y = fg.output("y", shape=len(sample["x"]), n_states=K)
    w = fg.Parameter("W", shape=(sample["x"].shape[1], K))
    return fg.FactorGraph([fg.Table([y], energies=fg.Linear(sample["x"], w)), fg.Table([y[:-1], y[1:]], energies=T)])


def ring(sample):
    y = fg.output("y", shape=len(sample["x"]), n_states=K)
    w = fg.Parameter("W", shape=(sample["x"].shape[1], K))
    return fg.FactorGraph(
        [fg.Table([y], energies=fg.Linear(sample["x"], w)), fg.Table([y, y[np.arange(1, len(y) + 1) % len(y)]], T)]
    )


def problem_of(architecture, loss, sizes, *, seed=0, features=2, hide=0.0, weights=None, latent_beta=math.inf, **how):
    rng = np.random.default_rng(seed)
    samples = [{"x": rng.normal(size=(size, features))} for size in sizes]
    targets = [{"y": np.where(rng.random(size) < hide, -1, rng.integers(0, K, size))} for size in sizes]
    data = read_data(architecture, samples, targets)
    layout = layout_of(data.graphs)
    weights = np.ones(len(sizes)) if weights is None else np.asarray(weights)
    how = Inference(**{"beta": 1.3, "tolerance": 1e-10, "latent_beta": latent_beta, **how})
    return make_problem(data, layout, losses.as_loss(loss), how, weights), rng.normal(size=layout.n_free)


def rounding(word, found):
    """Of a sum in another order; a perturbation divides what rounding leaves by its step."""
    share = 1e-9 if word in BY_VARIABLE else 1e-12
    return share * max(1.0, np.abs(found.gradient).max())


@pytest.mark.parametrize("word", ["likelihood", "perceptron", "hinge", "univariate", "pseudo_likelihood", "piecewise"])
@pytest.mark.parametrize("architecture, sizes, method", [(chain, [60] * 150, "bp"), (ring, [200] * 8, "bp")])
def test_bits_do_not_depend_on_threads(monkeypatch, architecture, sizes, method, word):
    problem, w = problem_of(architecture, word, sizes, method=method, options={"max_iterations": 30}, features=40)
    found = []
    for threads in (1, 2, 3):
        for module in (passing, contracting):
            monkeypatch.setattr(module, "processors", lambda threads=threads: threads)
        found.append(evaluate(problem, w))
    for other in found[1:]:
        assert (other.losses == found[0].losses).all() and (other.gradient == found[0].gradient).all()
        assert other.unconverged == found[0].unconverged


@pytest.mark.parametrize("word", WORDS)
def test_blocks_change_no_loss_and_gradients_by_rounding_alone(monkeypatch, word):
    sizes = [4, 1, 5, 3, 2, 4]
    problem, w = problem_of(chain, word, sizes, weights=[1.0, 0.5, 2.0, 0.0, 1.0, 3.0])
    whole = evaluate(problem, w)
    for block in (1, 2500):
        monkeypatch.setattr(evaluating, "BLOCK", block)
        split, _ = problem_of(chain, word, sizes, weights=problem.weights)
        assert len(problem.blocks) == 1 and len(split.blocks) > 1
        assert [i for each in split.blocks for i in each.chosen] == list(range(len(sizes)))
        found = evaluate(split, w)
        assert (found.losses == whole.losses).all()
        assert_allclose(found.gradient, whole.gradient, rtol=0, atol=rounding(word, whole))


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("hide", [0.0, 0.4])
def test_minibatches_add_up_to_the_whole(word, hide):
    if hide and word == "pseudo_likelihood":
        return
    problem, w = problem_of(chain, word, [4, 1, 5, 3, 2, 4], hide=hide, weights=[1.0, 0.5, 2.0, 0.0, 1.0, 3.0])
    whole = evaluate(problem, w)
    for parts in ([[0], [1], [2], [3], [4], [5]], [[5, 0, 3], [2, 4, 1]]):
        found = [evaluate(problem, w, np.array(part)) for part in parts]
        for part, each in zip(parts, found):
            assert_allclose(each.losses, whole.losses[part], rtol=1e-13, atol=1e-13)
        assert_allclose(sum(each.gradient for each in found), whole.gradient, rtol=0, atol=rounding(word, whole))
    twice = evaluate(problem, w, np.array([2, 2]))
    assert_allclose(
        twice.gradient, 2.0 * evaluate(problem, w, np.array([2])).gradient, rtol=0, atol=rounding(word, whole)
    )


@pytest.mark.parametrize("word", WORDS)
def test_weights_multiply_gradients_and_leave_losses_alone(word):
    weights = np.array([1.0, 0.5, 2.0, 0.0])
    problem, w = problem_of(chain, word, [4, 1, 5, 3], weights=weights)
    found = evaluate(problem, w)
    ones = problem._replace(weights=np.ones(4))
    assert (found.losses == evaluate(ones, w).losses).all()
    each = np.array([evaluate(ones, w, np.array([i])).gradient for i in range(4)])
    assert_allclose(found.gradient, weights @ each, rtol=0, atol=1e-9)


@pytest.mark.parametrize("word", WORDS)
def test_samples_without_a_right_answer_add_exactly_nothing(word):
    rng = np.random.default_rng(1)
    samples = [{"x": rng.normal(size=(3, 2))} for _ in range(3)]
    targets = [{"y": [0, 2, 1]}, {}, {"y": [-1, -1, -1]}]
    if word == "pseudo_likelihood":  # there is no answer to hold the others at
        samples[1:] = [{**sample, "y": [0, 1, 1]} for sample in samples[1:]]
    found = []
    for n in (1, 3):
        data = read_data(chain, samples[:n], targets[:n])
        layout = layout_of(data.graphs)
        for latent_beta in (math.inf, 1.3):
            how = Inference(beta=1.3, latent_beta=latent_beta)
            found.append(
                evaluate(make_problem(data, layout, losses.as_loss(word), how, np.ones(n)), layout.start + 0.3)
            )
    for other in found[1:]:
        assert not other.losses[1:].any()
        assert other.losses[0] == found[0].losses[0]
        assert_allclose(other.gradient, found[0].gradient, rtol=0, atol=1e-13)
    alone = evaluate(
        make_problem(data, layout, losses.as_loss(word), Inference(beta=1.3), np.ones(3)),
        layout.start,
        np.array([1, 2]),
    )
    assert not alone.losses.any() and not alone.gradient.any()


@pytest.mark.parametrize("latent_beta", [math.inf, 1.3])
def test_right_answers_that_are_tied_but_for_rounding_were_not_missed(latent_beta):
    """Sums of tenths in another order differ in the last bit."""
    rng = np.random.default_rng(0)
    samples = [{"x": rng.integers(-2, 3, (4, 2)).astype(float)} for _ in range(200)]
    w = 0.1 * rng.integers(-2, 3, 15)
    graphs = [chain(sample) for sample in samples]
    layout = layout_of(graphs)
    targets = []
    for graph in graphs:
        found = brute(graph, values=layout.values(w))
        targets.append({"y": found.minimisers()[-1] if latent_beta == math.inf else [*found.minimisers()[-1][:3], -1]})
    data = read_data(chain, samples, targets)
    how = Inference(latent_beta=latent_beta, beta=1.3)
    found = evaluate(make_problem(data, layout, losses.perceptron(), how, np.ones(200)), w)
    assert found.unconverged == 0
    if latent_beta == math.inf:
        assert (found.losses >= 0.0).all() and found.losses.max() < 1e-12


def only(sample):
    """One answer is allowed, or there is one only."""
    y = fg.output("y", shape=2, n_states=sample["states"])
    own = fg.Parameter("own", shape=3)[: sample["states"]]
    never = np.where(np.arange(sample["states"]) == 0, 0.0, np.inf if sample["forbid"] else 0.0)
    return fg.FactorGraph([fg.Table([y], energies=own), fg.Table([y], energies=never, name="never")])


@pytest.mark.parametrize("states, forbid", [(1, False), (3, True), (2, True)])
@pytest.mark.parametrize("word", WORDS)
def test_where_no_wrong_answer_exists_nothing_is_pulled_up(states, forbid, word):
    samples = [{"states": states, "forbid": forbid}]
    data = read_data(only, samples, [{"y": [0, 0]}])
    layout = layout_of(data.graphs)
    problem = make_problem(data, layout, losses.as_loss(word), Inference(beta=1.3), np.ones(1))
    w = np.array([0.7, -0.4, 0.2])
    found = evaluate(problem, w)
    assert np.isfinite(found.losses).all() and not len(found.infeasible)
    right = np.array([2.0, 0.0, 0.0])  # the slope of the energy of the right answer
    expected = {"energy": right, "square_square": 2 * 1.4 * right, "square_exponential": 2 * 1.4 * right}
    assert_allclose(found.gradient, expected.get(word, np.zeros(3)), rtol=0, atol=1e-12)
    level = {"energy": 1.4, "square_square": 1.96, "square_exponential": 1.96}
    assert_allclose(found.losses, level.get(word, 0.0), rtol=0, atol=1e-12)


def blocked(sample):
    y = fg.output("y", shape=3, n_states=2)
    stay = [[0.0, 0.0], [np.inf, 0.0]]
    return fg.FactorGraph(
        [fg.Table([y], energies=fg.Parameter("own", shape=2)), fg.Table([y[:-1], y[1:]], energies=stay, name="stay")]
    )


@pytest.mark.parametrize("word", [word for word in WORDS if word not in BY_VARIABLE])
def test_a_right_answer_that_is_forbidden_is_refused_by_name(word):
    data = read_data(blocked, [{}, {}], [{"y": [0, 0, 1]}, {"y": [0, 1, 0]}])
    layout = layout_of(data.graphs)
    problem = make_problem(data, layout, losses.as_loss(word), Inference(), np.ones(2))
    with pytest.raises(
        FactorError, match=r'^sample 1: the right answer is forbidden by factor "stay" \[1\] over y\[1\]'
    ):
        evaluate(problem, layout.start)
    with pytest.raises(FactorError, match="^sample 1: "):
        evaluate(problem, layout.start, np.array([0, 1]))
    assert np.isfinite(evaluate(problem, layout.start, np.array([0])).losses).all()


@pytest.mark.parametrize("word", [word for word in WORDS if word not in (*BY_VARIABLE, "pseudo_likelihood")])
@pytest.mark.parametrize("latent_beta", [math.inf, 1.0])
def test_a_partial_answer_that_nothing_completes_is_refused_too(word, latent_beta):
    data = read_data(blocked, [{}], [{"y": [1, -1, 0]}])
    layout = layout_of(data.graphs)
    how = Inference(latent_beta=latent_beta)
    problem = make_problem(data, layout, losses.as_loss(word), how, np.ones(1))
    with pytest.raises(FactorGraphError, match="sample 0: the right answer is forbidden"):
        evaluate(problem, layout.start)


def started(sample):
    """As `blocked`, and y[1] must be on."""
    graph = blocked(sample)
    return fg.FactorGraph([*graph.factors, fg.Table([graph["y"][1]], energies=[np.inf, 0.0], name="on")])


@pytest.mark.parametrize("word", BY_VARIABLE)
def test_losses_of_single_variables_refuse_states_that_are_forbidden_by_themselves(word):
    """Together they may be: nothing is asked of right states together."""
    for architecture, right, bad in [
        (blocked, [0, 1, 0], False), (blocked, [1, 0, 0], False), (started, [1, 1, 1], False),
        (started, [1, 0, 1], True), (started, [-1, 0, 1], True),
    ]:  # fmt: skip
        data = read_data(architecture, [{}], [{"y": right}])
        layout = layout_of(data.graphs)
        problem = make_problem(data, layout, losses.as_loss(word), Inference(), np.ones(1))
        if bad:
            with pytest.raises(FactorError, match='^sample 0: the right answer is forbidden by factor "'):
                evaluate(problem, layout.start)
        else:
            found = evaluate(problem, layout.start)
            assert np.isfinite(found.losses).all() and np.isfinite(found.gradient).all()


@pytest.mark.parametrize("name", ["chain", "leaves"])
def test_one_graph_for_all_samples_is_as_good_as_one_for_each(name):
    sample = {"x": np.random.default_rng(3).normal(size=(3, 2))}
    graph = ARCHITECTURES[name].graph(sample)
    targets = [{"y": [0, 1, 2]}, {"y": [2, 2, -1]}]
    found = []
    for architecture, samples in [(graph, None), (ARCHITECTURES[name].graph, [sample, sample])]:
        data = read_data(architecture, samples, targets)
        layout = layout_of(data.graphs)
        problem = make_problem(data, layout, losses.likelihood(), Inference(), np.ones(2))
        found.append(evaluate(problem, np.linspace(-1.0, 1.0, layout.n_free)))
    assert_allclose(found[0].losses, found[1].losses, rtol=1e-13)
    assert_allclose(found[0].gradient, found[1].gradient, rtol=0, atol=1e-13)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("scale", [0.0, 50.0, 1e3, 1e6])
@pytest.mark.parametrize("architecture", [chain, ring])
def test_energies_of_any_size_raise_nothing_and_warn_of_nothing(architecture, scale, word):
    """As a search along a line meets them: a loss may be inf there, and its gradient is no NaN."""
    problem, w = problem_of(architecture, word, [4, 3, 4], method="junction_tree")
    found = evaluate(problem, scale * w)
    assert np.isfinite(found.gradient).all() and not np.isnan(found.losses).any()
    assert (found.losses >= losses.as_loss(word).lower_bound - 1e-9 * scale).all()
    if word == "univariate":  # a probability that is too small for a number is told
        assert (found.unconverged > 0) >= np.isinf(found.losses).any()
    elif word != "square_exponential":
        assert np.isfinite(found.losses).all()
