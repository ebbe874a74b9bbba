"""Some samples asked by themselves are asked as in the whole: sums, slopes one by one, what is together, bits."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_cases import ARCHITECTURES
from numpy.testing import assert_allclose
from scipy.special import logsumexp

import factorgraph_ebm as fg
from factorgraph_ebm import losses
from factorgraph_ebm.learning.asking import Asking, Inference
from factorgraph_ebm.learning.batch import Batch
from factorgraph_ebm.learning.data import read_data
from factorgraph_ebm.learning.evaluate import evaluate, make_problem
from factorgraph_ebm.learning.layout import layout_of
from factorgraph_ebm.learning.oracle import from_slopes, minibatches
from factorgraph_ebm.learning.planes import planes_of
from factorgraph_ebm.learning.points import right_states
from factorgraph_ebm.learning.terms import ask
from factorgraph_ebm.losses.loss import Query

HAMMING = losses.hinge(margin="hamming")
NAMES = sorted(
    name
    for name, each in ARCHITECTURES.items()
    if not each.loopy and name not in ("given", "forbidding", "SparseTable")  # right answers must be allowed
)
LOSSES = ["hinge", HAMMING, "perceptron", "likelihood", "softmax_margin"]


def problem_of(name, loss, seed, *, hide=0.0, give=0.0, n=6, **how):
    """Samples of one architecture, of several shapes; some labels missing or given, and one sample without any."""
    architecture = ARCHITECTURES[name]
    rng = np.random.default_rng(seed)
    samples, targets = [], []
    for i in range(n):
        size = int(rng.choice(architecture.sizes))
        sample = {"x": rng.normal(size=(size, 2)), **architecture.more(rng, size)}
        graph = architecture.graph(sample)
        declared = graph["y"].labels
        labels = list(range(int(graph["y"].n_states))) if declared is None else declared.array.tolist()
        y = np.array(labels)[rng.integers(0, len(labels), graph["y"].size)]
        place = rng.random(len(y))
        known = place < give if i % 3 == 1 else place < 0.0
        hidden = (place > 1.0 - hide) | (i == n - 1 and hide > 0.0)
        if known.any():
            sample["y"] = np.ma.array(y, mask=~known)
        targets.append({"y": np.ma.array(y, mask=hidden)})
        samples.append(sample)
    data = read_data(architecture.graph, samples, targets)
    layout = layout_of(data.graphs)
    how = Inference(**{"tolerance": 1e-13, **how})
    weights = rng.uniform(0.5, 1.5, n)
    w = np.clip(layout.start + 0.3 * rng.normal(size=layout.n_free), layout.lower, layout.upper)
    return make_problem(data, layout, losses.as_loss(loss), how, weights), w


def close(found, expected, tolerance=1e-12):
    assert_allclose(found, expected, rtol=tolerance, atol=tolerance * max(1.0, np.abs(expected).max(initial=0.0)))


@given(
    st.sampled_from(NAMES), st.sampled_from(LOSSES),
    st.integers(0, 1000), st.sampled_from([0.0, 0.3]), st.sampled_from([0.0, 0.4]),
    st.lists(st.integers(0, 5), min_size=1, max_size=5),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_samples_by_themselves_add_up(name, loss, seed, hide, give, chosen):
    """Of the block, of minibatches that may name a sample twice, of single samples, and of their planes."""
    problem, w = problem_of(name, loss, seed, hide=hide, give=give)
    whole = evaluate(problem, w)
    alone = [evaluate(problem, w, np.array([i])) for i in range(6)]
    close(whole.losses, np.concatenate([each.losses for each in alone]))
    close(whole.gradient, sum(each.gradient for each in alone))
    several = evaluate(problem, w, np.array(chosen))
    close(several.losses, whole.losses[chosen])
    close(several.gradient, sum(alone[i].gradient for i in chosen))
    planes, said = planes_of(problem, w, np.array(chosen))
    close(said.losses, several.losses)
    for i, plane in zip(chosen, planes, strict=True):
        slope = np.zeros(len(w))
        slope[plane.support] = plane.values
        close(problem.weights[i] * slope, alone[i].gradient)
        assert (np.diff(plane.support) > 0).all() and plane.values.all()
        close(plane.offset + plane.values @ w[plane.support], plane.loss)


@pytest.mark.parametrize("loss", [HAMMING, "likelihood"])
def test_bits_of_planes_do_not_depend_on_threads_or_on_what_was_asked_before(loss):
    found = []
    for threads, before in itertools.product((1, 2), (False, True)):
        problem, w = problem_of("chain", loss, 3, n=40, threads=threads)
        if before:
            planes_of(problem, 2.0 * w, np.arange(7))
        planes, _ = planes_of(problem, w, np.arange(3, 29))
        found.append([(p.loss, p.support.tobytes(), p.values.tobytes(), p.offset) for p in planes])
    assert all(each == found[0] for each in found)


def test_a_sample_of_weight_0_has_no_slope():
    problem, w = problem_of("chain", HAMMING, 0)
    problem.weights[2] = 0.0
    planes, _ = planes_of(problem, w, np.arange(6))
    assert not len(planes[2].support) and planes[2].offset == planes[2].loss > 0.0 and len(planes[1].support)


@given(st.integers(0, 40), st.integers(1, 45), st.integers(0, 5))
def test_minibatches_are_all_samples_and_the_same_in_every_epoch(n, size, epoch):
    oracle = from_slopes(lambda w, samples: (w, w[:, None]), [0.0], n_samples=n)
    parts = minibatches(oracle, epoch, size)
    assert sorted(i for part in parts for i in part.tolist()) == list(range(n))
    lengths = {len(part) for part in parts}
    assert not lengths or max(lengths) <= size and max(lengths) - min(lengths) <= 1
    first = {tuple(part.tolist()) for part in minibatches(oracle, 0, size)}
    assert {tuple(part.tolist()) for part in parts} == first


def test_minibatches_come_in_another_order_in_every_epoch():
    oracle = from_slopes(lambda w, samples: (w, w[:, None]), [0.0], n_samples=40)
    orders = [np.concatenate(minibatches(oracle, epoch, 4)).tolist() for epoch in range(4)]
    assert len({tuple(order) for order in orders}) == 4


# Hidden units that meet only in what is labelled.


def machine(rng, n=4, m=3):
    v, h = fg.output("v", shape=n, n_states=2), fg.latent("h", shape=m, n_states=2)
    W = fg.Parameter("W", shape=(n, m), initial=rng.normal(size=(n, m)))
    bias = fg.Parameter("b", shape=m, initial=rng.normal(size=m))
    return fg.FactorGraph([fg.Product([v[:, None], h[None, :]], weight=W), fg.Product([h], weight=bias)])


def machine_problem(rng, latent_beta, loss="likelihood", **how):
    graph = machine(rng)
    targets = [{"v": rng.integers(0, 2, 4)} for _ in range(5)]
    data = read_data(graph, None, targets)
    layout = layout_of(data.graphs)
    how = Inference(latent_beta=latent_beta, **how)
    return make_problem(data, layout, losses.as_loss(loss), how, np.ones(5)), layout.start, targets


@pytest.mark.parametrize("method", ["auto", "bp"])
@pytest.mark.parametrize("latent_beta", [1.0, 0.7, math.inf])
def test_what_is_latent_given_the_labels_is_exact_where_no_loop_is_left(rng, latent_beta, method):
    """The units of a Boltzmann machine, by one sweep: also where all is iterated by messages."""
    problem, w, targets = machine_problem(rng, latent_beta, method=method)
    batch = problem.blocks[0]
    assert not batch.compiled.sample_forest.any()
    asking = Asking(batch, problem.layout.values(w), problem.inference)
    term = ask(asking, Query("target"))
    values = problem.layout.values(w)
    hidden = np.array(list(itertools.product((0, 1), repeat=3)))
    for i, each in enumerate(targets):
        energy = hidden @ (each["v"] @ values["W"] + values["b"])
        expected = energy.min() if latent_beta == math.inf else -logsumexp(-latent_beta * energy) / latent_beta
        assert term.value[i] == pytest.approx(expected, rel=1e-12, abs=1e-12)
    if latent_beta == math.inf:
        assert {status.value for status in right_states(asking).status} == {"optimal"}
    else:
        assert term.batch is not batch and term.batch.compiled.sample_forest.all()


def test_the_likelihood_of_a_machine_has_the_slope_of_its_differences(rng):
    problem, w, _ = machine_problem(rng, 1.0, method="enumerate")
    found = evaluate(problem, w)
    numbers = [
        (evaluate(problem, w + step).losses.sum() - evaluate(problem, w - step).losses.sum()) / 2e-6
        for step in 1e-6 * np.eye(len(w))
    ]
    close(found.gradient, np.array(numbers), 1e-6)
    planes, _ = planes_of(problem, w, np.arange(5))
    total = np.zeros(len(w))
    for plane in planes:
        total[plane.support] += plane.values
    close(total, found.gradient)


def test_costs_are_found_once(rng, monkeypatch):
    problem, w = problem_of("chain", HAMMING, 0)
    evaluate(problem, w)
    monkeypatch.setattr(Batch, "_cost_of", lambda self, cost: pytest.fail("again"))
    evaluate(problem, 2.0 * w)
