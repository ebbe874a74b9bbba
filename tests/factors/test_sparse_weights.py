"""Lists of pairs of states on forests: the same answers and slopes as tables with +inf."""

import numpy as np
import pytest
from bound import bind
from hypothesis import given, settings
from hypothesis import strategies as st

import factorgraph_ebm as fg
from factorgraph_ebm.inference import forests
from factorgraph_ebm.inference.forms import Weights
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.inference.summing import started
from factorgraph_ebm.learning.asking import Inference
from factorgraph_ebm.learning.data import read_data
from factorgraph_ebm.learning.evaluate import evaluate, make_problem
from factorgraph_ebm.learning.layout import layout_of
from factorgraph_ebm.losses import as_loss


def _architectures(k, seed, share):
    """The same chain with a list of pairs and with a table, unary energies from features."""
    rng = np.random.default_rng(seed)
    allowed = rng.random((k, k)) < share
    allowed[np.arange(k), np.arange(k)] = True
    rows = np.argwhere(allowed)[rng.permutation(int(allowed.sum()))]
    emission, transition = fg.Parameter("emission", shape=(2, k)), fg.Parameter("transition", shape=(k, k))

    def chain(sample, pair):
        y = fg.output("y", shape=len(sample["x"]), n_states=k)
        return fg.FactorGraph([fg.Table([y], energies=fg.Linear(sample["x"], emission)), *pair(y)])

    def listed(sample):
        energies = transition[tuple(rows.T)]
        return chain(sample, lambda y: [fg.SparseTable([y[:-1], y[1:]], rows, energies=energies)])

    def tables(sample):
        return chain(sample, lambda y: [
            fg.Table([y[:-1], y[1:]], energies=transition),
            fg.Table([y[:-1], y[1:]], energies=np.where(allowed, 0.0, np.inf)),
        ])  # fmt: skip

    return listed, tables


@settings(max_examples=25, deadline=None)
@given(
    st.integers(2, 6), st.lists(st.integers(1, 12), min_size=1, max_size=9), st.integers(0, 1000),
    st.sampled_from([0.0, 0.4, 1.0]), st.sampled_from([1.0, 300.0]),
)  # fmt: skip
def test_losses_and_slopes_are_those_of_tables(k, lengths, seed, share, scale):
    """`scale`: energies so far apart that weights lose digits are answered in energies."""
    rng = np.random.default_rng(seed)
    samples = [{"x": rng.normal(size=(n, 2))} for n in lengths]
    targets = [{"y": np.full(n, int(rng.integers(k)))} for n in lengths]
    found = []
    for architecture in _architectures(k, seed, share):
        data = read_data(architecture, samples, targets)
        layout = layout_of(data.graphs)
        problem = make_problem(data, layout, as_loss("likelihood"), Inference(), 1.0 + np.arange(len(lengths)))
        rng = np.random.default_rng([seed, 1])
        values = {"emission": scale * rng.normal(size=(2, k)), "transition": rng.normal(size=(k, k))}
        evaluation = evaluate(problem, layout.vector({name: values[name] for name in layout.names}))
        found.append((evaluation.losses, layout.values(evaluation.gradient)))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-10, atol=1e-10 * scale)
    for name in found[0][1]:
        np.testing.assert_allclose(found[0][1][name], found[1][1][name], rtol=1e-8, atol=1e-9)


def test_chains_of_lists_are_answered_without_messages(monkeypatch):
    """Their slopes come from sums that are made on the way, as those of tables do."""
    asked = []
    add = forests.Forests.add_statistics
    monkeypatch.setattr(forests.Forests, "add_statistics", lambda self, *rest: asked.append(add(self, *rest)))
    listed, _ = _architectures(4, 0, 0.5)
    data = read_data(listed, [{"x": np.ones((5, 2))}] * 3, [{"y": np.zeros(5, int)}] * 3)
    layout = layout_of(data.graphs)
    problem = make_problem(data, layout, as_loss("likelihood"), Inference(), np.ones(3))
    evaluate(problem, 0.1 * np.ones(layout.n_free))
    assert asked


@pytest.mark.parametrize("n", [2, 5, 11])
def test_marginals_are_those_of_tables(n):
    rng = np.random.default_rng(n)
    rows = np.argwhere(rng.random((5, 5)) < 0.5)
    energies, unary = rng.normal(size=len(rows)), rng.normal(size=(n, 5))
    table = np.full((5, 5), np.inf)
    table[tuple(rows.T)] = energies
    y = fg.output("y", shape=n, n_states=5)
    pair = [y[:-1], y[1:]]
    one, two = (
        fg.marginals(fg.FactorGraph([fg.Table([y], unary), each]))
        for each in (fg.SparseTable(pair, rows, energies, name="pair"), fg.Table(pair, table, name="pair"))
    )
    np.testing.assert_allclose(one.log_partition, two.log_partition, rtol=1e-13)
    np.testing.assert_allclose(one["y"], two["y"], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(one.factor_marginals["pair"], two.factor_marginals["pair"], rtol=1e-11, atol=1e-14)


def test_room_does_not_grow_with_the_square_of_the_states():
    listed, _ = _architectures(40, 0, 0.1)
    data = read_data(listed, [{"x": np.ones((3, 2))}], [{"y": np.zeros(3, int)}])
    union, numbers = bind(data.graphs[0], values={"emission": np.zeros((2, 40)), "transition": np.zeros((40, 40))})
    problem = Problem(union, numbers, 1.0, False, None, np.inf, None)
    solver = forests.Forests(started(problem, Weights, minimize=False, silent=True), [0])
    assert solver.has_sums and solver._room_size() == 44
