"""Every term on drawn graphs: its value against enumeration, its slopes against differences of what that finds."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_reference import Sample
from numpy.testing import assert_allclose
from strategies import case_of

import factorgraph_ebm as fg
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.graph.assignment import Given, read_given
from factorgraph_ebm.inference.method import Status
from factorgraph_ebm.inference.statistics import zeros
from factorgraph_ebm.learning.asking import Asking, Inference
from factorgraph_ebm.learning.batch import Batch
from factorgraph_ebm.learning.data import Data
from factorgraph_ebm.learning.terms import KINDS, ask
from factorgraph_ebm.losses.loss import PER_VARIABLE, Query

STEP = 1e-5
QUERIES = {
    "target": Query("target"),
    "target summed": Query("target", beta="model"),
    "best": Query("best"),
    "best with cost": Query("best", cost=True),
    "wrong": Query("wrong"),
    "free": Query("free"),
    "free with cost": Query("free", cost=True),
    "pieces": Query("pieces"),
    "hits": Query("hits"),
    "sites": Query("sites"),
}


def test_every_kind_of_query_is_asked_here():
    assert {query.kind for query in QUERIES.values()} == set(KINDS) - {"sample"}  # that is drawn: test_gradients


class Drawn:
    """Three drawn graphs as one batch, with right answers for some cells, and the same at two more points."""

    def __init__(self, seed, *, kinds, share, limit=150):
        rng = np.random.default_rng(seed)
        self.cases = [
            case_of(int(rng.integers(2**32)), forest=bool(rng.random() < 0.5), kinds=kinds, limit=limit, prefix=name)
            for name in "abc"
        ]
        data, self.right = Data([], [], []), []
        for case in self.cases:
            known = read_given(case.graph, case.given)
            chosen = (rng.random(case.graph.n_cells) < share) | (rng.random() < share)
            states = rng.integers(0, case.graph.cell_states) if case.graph.n_cells else np.zeros(0, np.int64)
            states = np.where(known.known, known.states, states)
            data.graphs.append(case.graph)
            data.given.append(known)
            data.targets.append(Given(chosen, np.where(chosen, states, 0), {}))
            cells = [(name, i) for name, offset in case.graph.cell_offset.items() for i in range(case.graph[name].size)]
            self.right.append({cell: int(s) for cell, s, there in zip(cells, states, chosen) if there})
        self.data, self.batch = data, Batch(data, range(3))
        self.values = {name: value for case in self.cases for name, value in case.values.items()}
        self.direction = {name: rng.normal(size=np.shape(value)) for name, value in self.values.items()}

    def samples(self, points):
        return [Sample(case.graph, case.known, right, points) for case, right in zip(self.cases, self.right)]

    def points(self):
        """Here, and one step to either side; weights that are >= 0 are moved in proportion."""
        return [
            {name: value + side * STEP * self.along(name) for name, value in self.values.items()}
            for side in (0.0, 1.0, -1.0)
        ]

    def along(self, name):
        """The direction of a value; what is forbidden stays."""
        value = self.values[name]
        return np.abs(np.where(np.isfinite(value), value, 0.0)) * self.direction[name]

    def ask(self, query, beta, latent_beta):
        parameters = {name: self.values[name] for graph in self.data.graphs for name in graph.parameters}
        asking = Asking(self.batch, parameters, Inference(beta=beta, latent_beta=latent_beta), "hamming")
        return ask(asking, query), parameters

    def slope(self, term, slope, parameters):
        """Of sum of slope * value along the direction, as the term says."""
        out = zeros(term.batch.union)
        term.accumulate(slope, out)
        into = {name: np.zeros(np.shape(value)) for name, value in self.values.items()}
        term.batch.pull(parameters, out, into)
        assert all(np.isfinite(gradient).all() for gradient in into.values())
        return sum(float(np.sum(gradient * self.along(name))) for name, gradient in into.items())

    def expected(self, query, beta, latent_beta, points):
        """(points, samples), or (points, labelled)."""
        found = []
        for sample in self.samples(points):
            answer = sample.ask(query, "hamming", beta, latent_beta)
            found.append(answer if query.kind in PER_VARIABLE else answer[:, None])
        return np.concatenate(found, axis=1)


def asked(name, beta, latent_beta, drawn):
    """The term, or None where it is rightly refused."""
    query = QUERIES[name]
    latent = drawn.batch.latent.any()
    if query.kind == "sites" and latent:
        with pytest.raises(MethodError, match="has latent variables"):
            drawn.ask(query, beta, latent_beta)
        return None
    return drawn.ask(query, beta, latent_beta)


@pytest.mark.parametrize("name", QUERIES)
@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    beta=st.sampled_from([1.0, 0.4, 2.5]),
    latent_beta=st.sampled_from([math.inf, 1.0, 0.7]),
    share=st.sampled_from([0.0, 0.5, 0.8, 1.0]),
    kind=st.sampled_from(["normal", "integer", "forbidden", "integer forbidden", "tied"]),
)
def test_values_and_slopes_are_those_of_enumeration(name, seed, beta, latent_beta, share, kind):
    query, drawn = QUERIES[name], Drawn(seed, kinds=[kind], share=share)
    found = asked(name, beta, latent_beta, drawn)
    if found is None:
        return
    term, parameters = found
    order = np.arange(len(term.value))
    if query.kind in PER_VARIABLE:  # here in the order of cells, there of the engine
        order = np.argsort(drawn.batch.compiled.variable_cell[drawn.batch.labelled])
    continuous = kind in ("normal", "forbidden")
    points = drawn.points() if continuous else drawn.points()[:1]
    expected = drawn.expected(query, beta, latent_beta, points)
    assert set(term.status) <= {Status.OPTIMAL, Status.INFEASIBLE, Status.CONVERGED}
    sure = np.ones(len(order), bool)
    if query.kind in PER_VARIABLE:
        # Where the whole sample is forbidden, its parts may be judged one by one, so that one of them says so.
        possible = drawn.expected(Query("free" if query.kind == "hits" else "target"), beta, math.inf, points[:1])[0]
        sure = np.isfinite(possible)[drawn.batch.owner[order]]
        if query.kind == "sites":
            lost = drawn.batch.by_sample(term.value == -np.inf) > 0
            assert ((lost == ~np.isfinite(possible)) | ~drawn.batch.judged).all()
    assert_allclose(term.value[order][sure], expected[0][sure], rtol=1e-10, atol=1e-10)
    if not continuous:
        return
    here, above, below = np.where(np.isfinite(expected[0]), expected, 0.0)  # what is +inf has no slope
    straight = sure & (np.abs(above + below - 2.0 * here) < 1e-7)  # elsewhere two answers are tied
    slope = np.where(straight, np.random.default_rng(seed).normal(size=len(straight)), 0.0)
    if query.kind == "hits":
        slope[here < math.log(1e-6)] = 0.0  # reported as unreliable: below
    differences = slope * (above - below) / (2 * STEP)
    bound = 1e-6 * (1.0 + np.abs(differences).sum())
    assert_allclose(drawn.slope(term, slope[np.argsort(order)], parameters), differences.sum(), rtol=0, atol=bound)


def test_slopes_of_log_probabilities_that_are_lost_in_rounding_are_reported():
    steep = fg.Parameter("steep", shape=(2,))
    y = fg.output("y", shape=3, n_states=2)
    graph = fg.FactorGraph([fg.Table([y], energies=steep), fg.Potts([y[1:], y[:-1]], penalty=0.1)])
    right = Given(np.ones(3, bool), np.zeros(3, np.int64), {})
    data = Data([graph], [read_given(graph, {})], [right])
    for gap, told in [(2.0, False), (16.0, True)]:
        asking = Asking(Batch(data, range(1)), {"steep": np.array([gap, 0.0])}, Inference())
        term = ask(asking, Query("hits"))
        term.accumulate(np.full(3, -1.0), zeros(term.batch.union))
        assert term.unreliable.tolist() == [told]
        term.accumulate(-np.exp(term.value), zeros(term.batch.union))  # slopes of probabilities are no trouble
        assert not term.unreliable.any()
