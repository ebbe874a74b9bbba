"""Merged sources bind and pull as the union does by itself, whatever stands for numbers."""

import numpy as np
import pytest
import scipy.sparse
from learning_cases import ARCHITECTURES
from numpy.testing import assert_allclose
from strategies import case_of

import factorgraph_ebm as fg
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.union import compile_union
from factorgraph_ebm.errors import FactorError
from factorgraph_ebm.graph.assignment import read_given
from factorgraph_ebm.inference.statistics import zeros
from factorgraph_ebm.learning.layout import layout_of
from factorgraph_ebm.learning.sources import Sources


def union_of(graphs, given):
    known = [
        read_given(graph, {k: v for k, v in each.items() if k in graph.variables}) for graph, each in zip(graphs, given)
    ]
    union = compile_union([Sample(g, k.known if k.known.any() else None) for g, k in zip(graphs, known)])
    return union, np.concatenate([each.states for each in known]), [each.reals for each in known]


def assert_equal_to_the_union(union, values, states):
    sources = Sources(union)
    merged, plain = sources.bind(values, states), union.bind(values, states)
    for one, two in zip(merged, plain):
        assert_allclose(one, two, rtol=1e-13, atol=1e-13)
    rng = np.random.default_rng(0)
    gradient = zeros(union)
    gradient.unary[:] = rng.normal(size=len(gradient.unary))
    gradient.store[:] = rng.normal(size=len(gradient.store))
    names = {name: np.shape(value) for name, value in values[0].items() if all(name in each for each in values)}
    for name in [name for name, shape in names.items() if any(np.shape(each[name]) != shape for each in values)]:
        del names[name]  # a real input, each sample's own
    found = [{name: np.ones(shape) for name, shape in names.items()} for _ in range(2)]
    sources.pull(values, states, gradient, found[0])
    union.pullback(values, states, gradient, [found[1]] * len(values))
    for name in names:
        assert_allclose(found[0][name], found[1][name], rtol=1e-12, atol=1e-12)
    some = {name: np.ones(shape) for name, shape in list(names.items())[::2]}
    sources.pull(values, states, gradient, some)  # only what is there
    for name, array in some.items():
        assert (array == found[0][name]).all()
    return sources


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures(name):
    architecture, rng = ARCHITECTURES[name], np.random.default_rng(1)
    sizes = architecture.sizes * 2
    samples = [{"x": rng.normal(size=(size, 2)), **architecture.more(rng, size)} for size in sizes]
    graphs = [architecture.graph(sample) for sample in samples]
    union, states, reals = union_of(graphs, samples)
    layout = layout_of(graphs)
    values = layout.values(np.abs(rng.normal(size=layout.n_free)))
    sources = assert_equal_to_the_union(union, [{**values, **each} for each in reals], states)
    if name in ("flat", "chain", "sparse", "Product"):  # one product of features and weights, whatever the lengths
        assert sum(hasattr(each.source, "W") for each in sources.sources) == 1


@pytest.mark.parametrize("seed", range(30))
def test_drawn_graphs(seed):
    cases = [case_of(3 * seed + i, forest=bool(i % 2), kinds=["normal"], prefix="abc"[i]) for i in range(3)]
    graphs = [case.graph for case in cases]
    known = [read_given(case.graph, case.given) for case in cases]
    union = compile_union([Sample(g, k.known if k.known.any() else None) for g, k in zip(graphs, known)])
    values = {name: value for case in cases for name, value in case.values.items()}
    assert_equal_to_the_union(union, [values] * 3, np.concatenate([each.states for each in known]))


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_features_of_neighbours_and_of_samples_far_apart_are_stacked(kind):
    """Two declarations with the same weights, in samples of two structures, which lie apart in the store."""
    rng, w, v = np.random.default_rng(2), fg.Parameter("W", shape=(3, 2)), fg.Parameter("v", shape=(3, 2))
    graphs = []
    for n in (2, 3, 2, 4, 3):
        y, z = fg.output("y", shape=n, n_states=2), fg.output("z", shape=n, n_states=2)
        x = [rng.normal(size=(n, 3)) * (rng.random((n, 3)) < 0.6) for _ in range(3)]
        x = [scipy.sparse.csr_matrix(each) for each in x] if kind == "sparse" else x
        graphs.append(
            fg.FactorGraph(
                [
                    fg.Table([y], fg.Linear(x[0], w)),
                    fg.Table([z], fg.Linear(x[1], w)),
                    fg.Table([y], fg.Linear(x[2], v)),
                ]
            )
        )
    union, states, _ = union_of(graphs, [{}] * 5)
    values = {"W": rng.normal(size=(3, 2)), "v": rng.normal(size=(3, 2))}
    sources = assert_equal_to_the_union(union, [values] * 5, states)
    assert len(sources.sources) == 2
    assert sorted(each.rows for each in sources.sources) == [14, 28]


def test_numbers_that_are_none_are_refused_with_their_declaration():
    w, y = fg.Parameter("W", shape=(1, 2)), fg.output("y", shape=2, n_states=2)
    graph = fg.FactorGraph([fg.Table([y], energies=fg.Linear([[1.0], [0.0]], w))])
    union, states, _ = union_of([graph], [{}])
    with np.errstate(invalid="ignore"), pytest.raises(FactorError, match=r"energies of Table\(y\) is -inf at \[0, 0\]"):
        Sources(union).bind([{"W": np.array([[-np.inf, 0.0]])}], states)
    u = fg.Parameter("u")
    graph = fg.FactorGraph([fg.TruncatedLinear([y[0], y[1]], weight=u, limit=2.0)])
    union, states, _ = union_of([graph], [{}])
    with pytest.raises(FactorError, match="weight of TruncatedLinear"):
        Sources(union).bind([{"u": np.array(-1.0)}], states)
