"""Slopes of weights of sparse features: block by block or column by column, they are X' G, on any number of threads."""

import numpy as np
import pytest
import scipy.sparse

import factorgraph_ebm as fg
from factorgraph_ebm.inference.threads import share_out
from factorgraph_ebm.learning import column_sums as module
from factorgraph_ebm.learning.asking import Inference
from factorgraph_ebm.learning.column_sums import column_sums
from factorgraph_ebm.learning.data import read_data
from factorgraph_ebm.learning.evaluate import evaluate, make_problem
from factorgraph_ebm.learning.layout import layout_of
from factorgraph_ebm.losses.likelihood import likelihood


def sharing(threads):
    return lambda shares, work: share_out(lambda number: work(*shares[number]), len(shares), threads)


@pytest.mark.parametrize("width", [1, 3, 5, 20])
@pytest.mark.parametrize("rows", [0, 1, 7, 200])
def test_sums_are_the_product_whatever_is_frequent(rng, monkeypatch, width, rows):
    matrix = scipy.sparse.random_array((rows, 30), density=0.1, format="csr", rng=rng)
    if rows > 1:  # one column that all rows have, one that none has
        dense = matrix.toarray()
        dense[:, 4], dense[:, 5] = rng.normal(size=rows), 0.0
        matrix = scipy.sparse.csr_array(dense)
    at = width * np.sort(rng.permutation(2 * rows)[:rows])
    right, begun = rng.normal(size=2 * rows * width), rng.normal(size=30 * width)
    expected = begun + (matrix.T @ right[at[:, None] + np.arange(width)]).ravel()
    found = []
    for block in (1 << 19, 8 * width * 8):
        monkeypatch.setattr(module, "BLOCK", block)
        sums = column_sums(matrix, at, width, work=20)
        assert (len(sums.columns) > 0) == (rows > 7 and block < 1 << 19)
        for threads in (1, 2, 3):
            out = begun.copy()
            sums.add(right, out, sharing(threads))
            np.testing.assert_allclose(out, expected, rtol=0, atol=1e-12)
            found.append(out)
        assert np.array_equal(found[-1], found[-2]) and np.array_equal(found[-1], found[-3])


def test_room_for_weights_that_are_partly_frozen_is_used_again(rng):
    """By another w, and by another layout of the same samples, without a trace of what was there before."""
    start = rng.normal(size=(12, 4))
    weight = fg.Parameter("weight", shape=(12, 4), initial=start)

    def architecture(sample):
        y = fg.output("y", n_states=4, shape=3)
        return fg.FactorGraph([fg.Table([y], energies=fg.Linear(sample["x"], weight))])

    samples = [{"x": scipy.sparse.random_array((3, 12), density=0.5, format="csr", rng=rng)} for _ in range(5)]
    data = read_data(architecture, samples, [{"y": rng.integers(0, 4, 3)} for _ in range(5)])
    masks = [rng.random((12, 4)) < 0.5 for _ in range(2)]
    layouts = [layout_of(data.graphs, seen={"weight": mask}) for mask in masks]
    problems = [make_problem(data, layout, likelihood(), Inference(), np.ones(5)) for layout in layouts]
    problems[1].blocks[:] = problems[0].blocks  # compiled once
    whole = layout_of(data.graphs)
    plain = make_problem(data, whole, likelihood(), Inference(), np.ones(5))
    for _ in range(3):
        for problem, mask in zip(problems, masks):
            w = rng.normal(size=problem.layout.n_free)
            full = start.copy()
            full[mask] = w
            found, expected = evaluate(problem, w), evaluate(plain, full.ravel())
            np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-12)
            np.testing.assert_allclose(found.gradient, expected.gradient.reshape(12, 4)[mask], atol=1e-12)
