"""What optimisers see of a learning problem: planes below losses, traits, latents held at their best."""

import math

import numpy as np
import pytest
from tagged_chains import architecture, draw

import factorgraph_ebm as fg
from factorgraph_ebm.learning.asking import Inference
from factorgraph_ebm.learning.data import read_data
from factorgraph_ebm.learning.evaluate import make_problem
from factorgraph_ebm.learning.layout import layout_of
from factorgraph_ebm.learning.problem_oracle import make_oracle
from factorgraph_ebm.losses import as_loss

SAMPLES, TARGETS = draw(5)


def problem_of(loss, samples=SAMPLES, targets=TARGETS, weights=None, built=architecture, **how):
    data = read_data(built, samples, targets)
    shares = np.ones(len(data.graphs)) if weights is None else np.array(weights)
    return make_problem(data, layout_of(data.graphs), as_loss(loss), Inference(**how), shares)


def oracle_of(loss, told=None, **choices):
    problem = problem_of(loss, **choices)
    return make_oracle(problem, problem.layout.start, 0, told)


def hidden(sample):
    """A chain of three with a latent end: its targets are of the first two."""
    y, z = fg.output("y", shape=2, n_states=2), fg.latent("z", n_states=2)
    w = fg.Parameter("w", shape=(2, 2))
    return fg.FactorGraph([fg.Table([y[0], y[1]], energies=w), fg.Table([y[1], z], energies=fg.Parameter("v", (2, 2)))])


@pytest.mark.parametrize("loss", ["perceptron", "hinge", "likelihood", "log", fg.losses.hinge(margin="hamming")])
def test_planes_touch_their_loss_and_lie_below_it(loss, rng):
    weights = [1.0, 2.0, 0.5, 0.0, 1.0]
    oracle = oracle_of(loss, weights=weights)
    for _ in range(4):
        w, other = rng.normal(size=(2, len(oracle.start)))
        here, there = oracle.evaluate(w, None), oracle.evaluate(other, None)
        slope = np.zeros(len(w))
        for i, weight in enumerate(weights):
            plane = oracle.planes(w, np.array([i]))[0]
            assert plane.loss == pytest.approx(here.losses[i], rel=1e-12, abs=1e-12)
            assert plane.offset + plane.values @ w[plane.support] == pytest.approx(plane.loss, rel=1e-9, abs=1e-9)
            if weight:
                assert plane.offset + plane.values @ other[plane.support] <= there.losses[i] + 1e-9
            slope[plane.support] += weight * plane.values
        np.testing.assert_allclose(slope, here.gradient, atol=1e-9)


def test_every_evaluation_is_told():
    seen = []
    oracle = oracle_of("perceptron", lambda w, samples, found: seen.append((samples, len(found.losses))))
    oracle.evaluate(oracle.start, None)
    oracle.evaluate(oracle.start, np.array([1, 3]))
    oracle.planes(oracle.start, np.array([2]))
    assert [count for _, count in seen] == [5, 2, 1]
    assert seen[0][0] is None and seen[1][0].tolist() == [1, 3] and seen[2][0].tolist() == [2]


def test_traits_say_what_holds():
    everything = {"linear", "convex", "piecewise_linear", "objective", "fully_labelled", "exact"}
    assert oracle_of("hinge").traits == everything
    assert oracle_of("likelihood").traits == everything - {"piecewise_linear"} | {"smooth"}
    assert oracle_of("contrastive_divergence").traits >= {"linear", "fully_labelled"}
    assert "objective" not in oracle_of("contrastive_divergence").traits
    partly = {"samples": None, "targets": [{"y": [0, 1]}, {"y": [1, -1]}], "built": hidden}
    latent = oracle_of("likelihood", **partly)
    assert not latent.traits & {"convex", "fully_labelled", "smooth"}  # the least over latents has kinks
    summed = oracle_of("likelihood", **partly, latent_beta=1.0)
    assert "smooth" in summed.traits and summed.complete is None and latent.complete is not None
    # A sample of which nothing is known is no latent one: it adds nothing.
    empty = oracle_of("hinge", samples=[*SAMPLES, SAMPLES[0]], targets=[*TARGETS, {}])
    assert empty.traits == everything and empty.complete is None
    for method in ("icm", "gibbs"):
        assert "exact" not in oracle_of("perceptron", method=method).traits


def test_latents_are_held_at_their_best_and_the_bound_touches(rng):
    targets = [{"y": [0, 1]}, {"y": [1, -1]}, {"y": [-1, -1]}]
    for loss in ("perceptron", "likelihood"):
        oracle = oracle_of(loss, samples=None, targets=targets, built=hidden)
        w, other = rng.normal(size=(2, len(oracle.start)))
        held = oracle.complete(w)
        assert {"convex", "fully_labelled"} <= held.traits and held.start.tolist() == w.tolist()
        np.testing.assert_allclose(held.evaluate(w, None).losses, oracle.evaluate(w, None).losses, atol=1e-10)
        assert (held.evaluate(other, None).losses >= oracle.evaluate(other, None).losses - 1e-10).all()
        assert held.evaluate(other, None).losses[2] == 0.0


def test_draws_depend_on_the_parameters_and_the_seed_alone():
    problem = problem_of("contrastive_divergence", seed=3)
    w = 0.1 * np.ones(problem.layout.n_free)
    one, two = (make_oracle(problem, problem.layout.start, 3) for _ in range(2))
    two.evaluate(2.0 * w, None)
    assert one.evaluate(w, None).gradient.tobytes() == two.evaluate(w, None).gradient.tobytes()
    apart = one.evaluate(w, np.array([4])).gradient + one.evaluate(w, np.array([0, 1, 2, 3])).gradient
    np.testing.assert_allclose(apart, one.evaluate(w, None).gradient, atol=1e-9)
    assert math.isfinite(one.evaluate(w, None).losses.sum())
