"""A gradient with respect to bound numbers reaches every source: finite differences of a linear functional."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

import factorgraph_ebm as fg
from factorgraph_ebm.arrays import Numbers
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.union import compile_union

N, K = 5, 3
w = fg.Parameter("w", (K, K))
bank = fg.Parameter("bank", (4, K, K))
theta = fg.Parameter("theta", (6, K))
x = fg.observed("x", shape=N, dim=6)
u = fg.observed("u", shape=N, dim=K)

FEATURES = np.random.default_rng(1).normal(size=(N, 6))
SPARSE = scipy.sparse.random(N, 6, density=0.4, random_state=2, format="csr")


def square(gradient_of):
    shape = gradient_of.shape
    return fg.Computed(np.square, gradient_of, shape=shape, pullback=lambda v, gradient: (2.0 * v * gradient,))


# name -> declarations over the chain y, and whether they are affine in their sources
DECLARATIONS = {
    "parameter, one table": lambda y: [fg.Table([y[1:], y[:-1]], energies=w)],
    "parameter, padded and folded": lambda y: [fg.Table([y], energies=theta[:N])],
    "view, a table each": lambda y: [fg.Table([y[1:], y[:-1]], energies=bank[[0, 3, 3, 1]])],
    "view of one block, broadcast": lambda y: [fg.Table([y[1:], y[:-1]], energies=bank[2:3])],
    "penalty": lambda y: [fg.Potts([y[1:], y[:-1]], penalty=bank[:, 0, 1])],
    "weight": lambda y: [fg.Product([y[2:], y[1:-1], y[:-2]], weight=w[1])],
    "weights, limits of each": lambda y: [
        fg.TruncatedLinear([y[1:], y[:-1]], weight=square(bank[:, 0, 1]), limit=[1.0, 0.5, np.inf, 1.0]),
        fg.TruncatedQuadratic([y[2:], y[:-2]], weight=square(w[2]), limit=[2.5, 1.0, 2.5]),
    ],
    "listed rows": lambda y: [
        fg.SparseTable([y[1:], y[:-1]], [[0, 2], [1, 1], [2, 0]], energies=bank[:, 1], otherwise=0.5)
    ],
    "Linear dense": lambda y: [fg.Table([y], energies=fg.Linear(FEATURES, theta))],
    "Linear sparse": lambda y: [fg.Table([y], energies=fg.Linear(SPARSE, theta))],
    "Linear observed": lambda y: [fg.Table([y], energies=fg.Linear(x, theta))],
    "observed": lambda y: [fg.Table([y], energies=u)],
    "Computed": lambda y: [fg.Table([y[1:], y[:-1]], energies=square(w))],
    "merged both ways round": lambda y: [
        fg.Table([y[1:], y[:-1]], energies=w),
        fg.Table([y[:-1], y[1:]], energies=bank),
        fg.Potts([y[2:], y[1:-1]], penalty=w[0]),
    ],
    "nested": lambda y: [
        fg.Table([y[0], y[1], y[2]], energies=bank[:3]),
        fg.Table([y[1:3], y[:2]], energies=w),
        fg.Table([y[0], y[2]], energies=bank[3]),
    ],
    "a variable twice": lambda y: [fg.Table([y, y], energies=w), fg.Table([y[0], y[1], y[0]], energies=bank[:3])],
    "ragged": lambda y: [fg.Potts(y, members=[[0, 4], [2, 1], [3, 3]], penalty=w[2])],
    "two sources of one row": lambda y: [
        fg.Table([y], energies=fg.Linear(FEATURES, theta)),
        fg.Table([y], energies=u),
    ],
}


def draw(rng, graph):
    return {
        **{name: rng.normal(size=p.shape) for name, p in graph.parameters.items()},
        **{v.name: rng.normal(size=(*v.shape, *v.dim)) for v in graph.variables.values() if v.dim is not None},
    }


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("n_samples", [1, 3])
@pytest.mark.parametrize("name", DECLARATIONS)
def test_pullback_equals_finite_differences(name, n_samples, share, rng):
    graphs = []
    for _ in range(n_samples):
        y = fg.output("y", shape=N, n_states=K)
        graphs.append(fg.FactorGraph(DECLARATIONS[name](y), variables=[y]))
    drawn = [draw(rng, g) for g in graphs]
    # Parameters are one for all samples, observed reals are each sample's own.
    values = [{**d, **{p: drawn[0][p] for p in g.parameters}} for d, g in zip(drawn, graphs)]
    known = [rng.random(N) < share for _ in graphs]
    states = rng.integers(0, K, N * n_samples)
    union = compile_union([Sample(g, k) for g, k in zip(graphs, known)])
    numbers = union.bind(values, states)
    gradient = Numbers(rng.normal(size=numbers.unary.shape), rng.normal(size=numbers.store.shape))
    kept = [array.copy() for array in gradient]

    shared = {p: np.zeros(array.shape) for p, array in values[0].items() if p in graphs[0].parameters}
    into = [{**shared, **{r: np.zeros(a.shape) for r, a in v.items() if r not in shared}} for v in values]
    union.pullback(values, states, gradient, into)
    for array, before in zip(gradient, kept):
        np.testing.assert_array_equal(array, before)  # the caller's gradient is not worked in

    def functional(moved):
        bound = union.bind(moved, states)
        return (bound.unary * gradient.unary).sum() + (bound.store * gradient.store).sum()

    def slope(sample, source, place):
        """Of degree two at most, so central differences have no error but rounding, whatever the step."""
        ends = []
        for step in (0.5, -0.5):
            array = values[sample][source].copy()
            array[place] += step
            moved = [{**v, source: array} if source in shared or i == sample else v for i, v in enumerate(values)]
            ends.append(functional(moved))
        return ends[0] - ends[1]

    for sample in range(n_samples):
        for source, found in into[sample].items():
            if source in shared and sample > 0:
                continue
            for place in np.ndindex(found.shape):
                assert found[place] == pytest.approx(slope(sample, source, place), rel=1e-9, abs=1e-9), (source, place)


def test_only_what_is_asked_for_is_written_and_it_is_added_to(rng):
    y = fg.output("y", shape=N, n_states=K)
    graph = fg.FactorGraph(DECLARATIONS["Linear observed"](y) + DECLARATIONS["parameter, one table"](y))
    values = draw(rng, graph)
    union = compile_union([Sample(graph)])
    numbers = union.bind([values], np.zeros(N, np.int64))
    gradient = Numbers(rng.normal(size=numbers.unary.shape), rng.normal(size=numbers.store.shape))
    once, twice = {"theta": np.zeros((6, K))}, {"theta": np.zeros((6, K))}
    union.pullback([values], np.zeros(N, np.int64), gradient, [once])
    for _ in range(2):
        union.pullback([values], np.zeros(N, np.int64), gradient, [twice])
    np.testing.assert_allclose(twice["theta"], 2 * once["theta"], rtol=1e-13)
    assert once.keys() == {"theta"} and once["theta"].any()
    union.pullback([values], np.zeros(N, np.int64), gradient, [{}])
