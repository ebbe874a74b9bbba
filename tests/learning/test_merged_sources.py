"""Merged sources give the numbers and gradients of the union itself, on any number of threads, to the bit."""

import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse

import factorgraph_ebm as fg
from factorgraph_ebm.arrays import Numbers
from factorgraph_ebm.errors import FactorError
from factorgraph_ebm.learning import direct
from factorgraph_ebm.learning.asking import Inference
from factorgraph_ebm.learning.batch import Batch
from factorgraph_ebm.learning.data import read_data
from factorgraph_ebm.learning.evaluate import evaluate, make_problem
from factorgraph_ebm.learning.layout import layout_of
from factorgraph_ebm.losses.likelihood import likelihood
from factorgraph_ebm.losses.mee import mee

FEATURES, TAGS = 50, 6


def sentences(rng, n, *, view=False, given=False, twice=False):
    """Chains of 1 to 9 tokens with sparse features: data, and the layout of their parameters."""
    weight = fg.Parameter("weight", shape=(2 * FEATURES, TAGS) if view else (FEATURES, TAGS))
    transition = fg.Parameter("transition", shape=(TAGS, TAGS))

    def architecture(sample):
        y = fg.output("y", n_states=TAGS, shape=sample["x"].shape[0])
        used = weight[::2] if view else weight
        factors = [fg.Table([y], energies=fg.Linear(sample["x"], used))] * (2 if twice else 1)
        return fg.FactorGraph([*factors, fg.Table([y[:-1], y[1:]], energies=transition)])

    samples, targets = [], []
    for _ in range(n):
        length = int(rng.integers(1, 10))
        x = scipy.sparse.random_array((length, FEATURES), density=0.2, format="csr", rng=rng)
        states = rng.integers(0, TAGS, length)
        samples.append({"x": x, **({"y": np.where(rng.random(length) < 0.3, states, -1)} if given else {})})
        targets.append({"y": states})
    data = read_data(architecture, samples, targets)
    return data, layout_of(data.graphs)


def pulled(batch, layout, values, gradient, threads=None):
    found = layout.gradient()
    batch.pull(values, gradient, found, threads)
    return found.vector()


@pytest.mark.parametrize("how", [{}, {"view": True}, {"given": True}, {"twice": True}], ids=str)
def test_numbers_and_gradient_are_those_of_the_union(rng, how):
    data, layout = sentences(rng, 12, **how)
    batch = Batch(data, range(12))
    values = layout.values(rng.normal(size=layout.n_free))
    ours, plain = batch.bind(values), batch.union.bind([values] * 12, batch.states)
    np.testing.assert_allclose(ours.unary, plain.unary, rtol=0, atol=1e-13)
    slope = rng.normal(size=len(plain.unary))
    into = layout.gradient()
    store = rng.normal(size=len(plain.store)) if not batch.sources.direct else np.zeros(len(plain.store))
    batch.union.pullback([values] * 12, batch.states, Numbers(slope, store), [into] * 12)
    expected = into.vector()
    found = pulled(batch, layout, values, Numbers(slope.copy(), store.copy()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_rows_of_one_variable_are_direct(rng):
    """And not where tokens are given."""
    assert Batch(sentences(rng, 5)[0], range(5)).sources.direct
    assert not Batch(sentences(rng, 5)[0], range(5)).sources.folds
    assert not Batch(sentences(rng, 5, given=True)[0], range(5)).sources.direct


def test_threads_do_not_change_a_bit(rng, monkeypatch):
    monkeypatch.setattr(direct, "SHARE", 8)
    data, layout = sentences(rng, 40)
    batch = Batch(data, range(40))
    values = layout.values(rng.normal(size=layout.n_free))
    once = batch.bind(values, 1)
    gradient = pulled(batch, layout, values, Numbers(once.unary.copy(), np.zeros(len(once.store))), 1)
    for threads in (2, 3, None):
        again = batch.bind(values, threads)
        assert np.array_equal(once.unary, again.unary) and np.array_equal(once.store, again.store)
        numbers = Numbers(once.unary.copy(), np.zeros(len(once.store)))
        assert np.array_equal(pulled(batch, layout, values, numbers, threads), gradient)


@pytest.mark.parametrize("loss", [likelihood(), mee()], ids=lambda loss: loss.name)
def test_evaluations_are_the_same_on_any_number_of_threads(rng, monkeypatch, loss):
    """Also where slopes are not those expected, and forests are swept again."""
    monkeypatch.setattr(direct, "SHARE", 8)
    data, layout = sentences(rng, 40)
    w, weights = 0.3 * rng.normal(size=layout.n_free), rng.uniform(0.5, 2.0, 40)
    found = [
        evaluate(make_problem(data, layout, loss, Inference(threads=threads), weights), w) for threads in (1, 2, None)
    ]
    for each in found[1:]:
        assert np.array_equal(each.losses, found[0].losses)
        assert np.array_equal(each.gradient, found[0].gradient)


def test_threads_of_blas_do_not_change_a_bit(rng, tmp_path):
    script = tmp_path / "gradient.py"
    script.write_text(
        "import numpy as np, sys\n"
        "import test_merged_sources as t\n"
        "rng = np.random.default_rng(5)\n"
        "data, layout = t.sentences(rng, 30)\n"
        "problem = t.make_problem(data, layout, t.likelihood(), t.Inference(), np.ones(30))\n"
        "found = t.evaluate(problem, rng.normal(size=layout.n_free))\n"
        "sys.stdout.write((found.losses.tobytes() + found.gradient.tobytes()).hex())\n"
    )
    here = os.pathsep.join([os.path.dirname(__file__), os.getcwd(), os.environ.get("PYTHONPATH", "")])
    said = {
        subprocess.run(
            [sys.executable, str(script)], capture_output=True, check=True, text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads, "PYTHONPATH": here},
        ).stdout
        for threads in ("1", "2")
    }  # fmt: skip
    assert len(said) == 1 and len(said.pop()) > 1000


def test_weights_that_are_no_numbers_are_refused(rng):
    data, layout = sentences(rng, 3)
    batch = Batch(data, range(3))
    with pytest.raises(FactorError, match="is nan at"):
        batch.bind(layout.values(np.full(layout.n_free, np.nan)))


def test_entries_that_are_not_seen_stay(rng):
    """Their gradient is left out, and the rest is that of the whole parameter."""
    data, whole = sentences(rng, 8)
    mask = rng.random((FEATURES, TAGS)) < 0.5
    part = layout_of(data.graphs, seen={"weight": mask})
    assert part.n_free == mask.sum() + TAGS**2
    w = rng.normal(size=part.n_free)
    values = part.values(w)
    assert not values["weight"][~mask].any() and np.array_equal(part.vector(values), w)
    found = evaluate(make_problem(data, part, likelihood(), Inference(), np.ones(8)), w)
    every = evaluate(make_problem(data, whole, likelihood(), Inference(), np.ones(8)), whole.vector(values))
    _, into = whole.gradient()
    kept = np.concatenate([np.flatnonzero(mask), FEATURES * TAGS + np.arange(TAGS**2)])
    assert np.array_equal(found.gradient, every.gradient[kept])
    assert part.fingerprint() != whole.fingerprint()
    assert np.array_equal(part.entries("weight").cells, np.flatnonzero(mask))


def test_few_features_of_weights_that_are_tied_add_up(rng):
    """So few that only these rows of weights are read: slopes of two rows that are one both count."""
    weight = fg.Parameter("weight", shape=(FEATURES, TAGS))
    tied = weight[np.arange(FEATURES) // 2]

    def architecture(sample):
        y = fg.output("y", n_states=TAGS, shape=3)
        return fg.FactorGraph([fg.Table([y], energies=fg.Linear(sample["x"], tied))])

    x = scipy.sparse.csr_array((np.array([1.0, 2.0, 3.0]), ([0, 1, 2], [0, 1, 4])), shape=(3, FEATURES))
    data = read_data(architecture, [{"x": x}], [{"y": [0, 1, 2]}])
    batch, layout = Batch(data, [0]), layout_of(data.graphs)
    assert batch.sources.direct
    values, slope = layout.values(rng.normal(size=layout.n_free)), rng.normal(size=batch.compiled.unary_size)
    found = pulled(batch, layout, values, Numbers(slope.copy(), np.zeros(batch.union.store_size)))
    expected = np.zeros((FEATURES, TAGS))
    np.add.at(expected, np.arange(FEATURES) // 2, x.T @ slope[: 3 * TAGS].reshape(3, TAGS))
    np.testing.assert_allclose(found, expected.ravel(), rtol=0, atol=1e-12)
    expected = (x @ values["weight"][np.arange(FEATURES) // 2]).ravel()
    np.testing.assert_allclose(batch.bind(values).unary[: 3 * TAGS], expected, rtol=0, atol=1e-13)


def test_products_without_a_feature_are_zero(rng):
    weight, transition = fg.Parameter("weight", shape=(0, TAGS)), fg.Parameter("transition", shape=(TAGS, TAGS))

    def architecture(sample):
        y = fg.output("y", n_states=TAGS, shape=3)
        features = fg.Linear(scipy.sparse.csr_array((3, 0)), weight)
        return fg.FactorGraph([fg.Table([y], energies=features), fg.Table([y[:-1], y[1:]], energies=transition)])

    data = read_data(architecture, [{}], [{"y": [0, 1, 2]}])
    layout = layout_of(data.graphs)
    found = evaluate(make_problem(data, layout, likelihood(), Inference(), np.ones(1)), layout.start)
    np.testing.assert_allclose(found.losses, 3 * np.log(TAGS))


def test_minibatches_share_the_room_of_weights_that_are_partly_frozen(rng):
    data, _ = sentences(rng, 12)
    layout = layout_of(data.graphs, seen={"weight": rng.random((FEATURES, TAGS)) < 0.5})
    problem = make_problem(data, layout, likelihood(), Inference(), np.ones(12))
    for low in range(0, 12, 3):
        evaluate(problem, rng.normal(size=layout.n_free), np.arange(low, low + 3))
    assert [len(layout.rooms.values["weight"]), len(layout.rooms.slopes["weight"])] == [1, 1]
