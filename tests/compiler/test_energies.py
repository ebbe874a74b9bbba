"""A compiled and bound union has the energy of the declared graph, for every assignment and whatever is given."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from strategies import case_of, cases

import factorgraph_ebm as fg
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.union import compile_union
from factorgraph_ebm.inference.energies import assignment_energies


def declared_energy(graph, values, states):
    """The sum over the declared factors, and the sum of their magnitudes. `states`: (n_cells,)."""
    total, size = 0.0, 1.0
    for factor in graph.factors:
        if factor.scope.ragged:
            _, cells = factor.scope.ragged_cells(graph.cell_offset)
        else:
            cells = factor.scope.columns(graph.cell_offset)
        energies = factor.energies(values, states[cells])
        assert energies.shape == (factor.size,)
        total += energies.sum()
        size += np.abs(energies[np.isfinite(energies)]).sum()
    return total, size


def check(graphs, values, rng, *, share=0.4, assignments=4, **options):
    """Random cells given at random states, random states for the others."""
    known = [rng.random(g.n_cells) < share for g in graphs]
    union = compile_union([Sample(g, k) for g, k in zip(graphs, known)], **options)
    compiled = union.compiled
    fixed = [rng.integers(0, g.cell_states) for g in graphs]
    numbers = union.bind(values, np.concatenate([np.where(k, s, 0) for k, s in zip(known, fixed)]))
    free = compiled.cell_variable >= 0
    np.testing.assert_array_equal(free, ~np.concatenate(known))
    for _ in range(assignments):
        states = [np.where(k, s, rng.integers(0, g.cell_states)) for g, k, s in zip(graphs, known, fixed)]
        chosen = np.zeros(len(compiled.variable_cell), np.int64)  # grounds have one state
        chosen[compiled.cell_variable[free]] = np.concatenate(states)[free]
        found = assignment_energies(union, numbers, chosen)
        for sample, (graph, named, all_states) in enumerate(zip(graphs, values, states)):
            expected, size = declared_energy(graph, named, all_states)
            if np.isinf(expected):
                assert found[sample] == np.inf
            else:
                assert found[sample] == pytest.approx(expected, abs=1e-13 * size)


@given(cases(forest=False), st.integers(0, 2**32 - 1))
def test_drawn_graphs(case, seed):
    check([case.graph], [case.values], np.random.default_rng(seed))


@pytest.mark.parametrize("rewrite", [True, False])
@pytest.mark.parametrize("forest", [True, False])
def test_many_drawn_graphs(forest, rewrite):
    """Alone and in unions: 300 graphs of every structure, source, form of members and cardinality."""
    for seed in range(50_000, 50_060):
        drawn = [case_of(5 * seed + i, forest=forest, prefix=f"{i} ") for i in range(5)]
        rng = np.random.default_rng(seed)
        check(
            [c.graph for c in drawn], [c.values for c in drawn], rng, rewrite=rewrite, share=rng.choice([0, 0.3, 0.9])
        )


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_everything_at_once(share, rng):
    """Repeats, equal and nested scopes, mixed cardinalities, ragged members and all structures, written out."""
    y = fg.output("y", shape=6, n_states=3)
    m = fg.output("m", shape=5, n_states=[2, 3, 2, 4, 3])
    s = fg.output("s", shape=4, states=[-1.0, 0.0, 2.5, 3.0, 4.0])
    x = fg.observed("x", shape=(6, 3), dim=())
    w = fg.Parameter("w", (4, 3, 3))
    rows = scipy.sparse.csr_matrix(np.array([[1, 1, 0, 0, 1], [0, 1, 1, 0, 0], [0, 0, 0, 1, 0]]))
    numbers = rng.normal

    def graph():
        return fg.FactorGraph(
            [
                fg.Table([y], energies=x),
                fg.Table([y[1:], y[:-1]], energies=w[[0, 1, 1, 3, 0]]),
                fg.Table([y[:-1], y[1:]], energies=numbers(size=(3, 3))),  # the same pairs the other way round
                fg.Table([y[2:], y[1:-1], y[:-2]], energies=numbers(size=(4, 3, 3, 3))),  # and around them
                fg.Table([y, y], energies=numbers(size=(3, 3))),  # a variable twice
                fg.Table([y[:1], y[1:3], y[:1], y[1:3]], energies=numbers(size=(2, 3, 3, 3, 3))),
                fg.Table([m], energies=numbers(size=(5, 4))),  # padded to the largest
                fg.Table([m[:-1], m[1:]], energies=numbers(size=(4, 4, 4))),
                fg.Table(m, members=rows, energies=[numbers(size=k) for k in ((2, 3, 3), (3, 2), (4,))]),
                fg.Table(
                    m, members=[[3, 0], [], [4, 4, 1]], energies=[numbers(size=k) for k in ((4, 2), (), (3, 3, 3))]
                ),
                fg.Potts([y[3:], y[:3]], penalty=numbers(size=3)),
                fg.Potts([y, y[::-1]], penalty=2.0),
                fg.Product([s[1:], s[:-1]], weight=numbers(size=3)),  # large enough for a kernel of its own
                fg.Product([s[0], s[0], s[3]], weight=1.5),
                fg.Product(s, weight=numbers()),
                fg.Table([], energies=numbers()),
                fg.Table([y[:0], y[:0]], energies=numbers(size=(3, 3))),
            ]
        )

    graphs = [graph() for _ in range(3)]
    parameters = {"w": numbers(size=(4, 3, 3))}  # one value for all samples
    values = [{**parameters, "x": numbers(size=(6, 3))} for _ in graphs]
    for _ in range(10):
        check(graphs, values, rng, share=share)


def test_constants_of_empty_and_wholly_given_samples(rng):
    y = fg.output("y", shape=2, n_states=2)
    nothing = fg.FactorGraph([])
    constant = fg.FactorGraph([fg.Table([], energies=1.5), fg.Table([], energies=2.0)])
    isolated = fg.FactorGraph([], variables=[y])
    pair = fg.FactorGraph([fg.Table([y[0], y[1]], energies=rng.normal(size=(2, 2)))])
    for share in (0.0, 1.0):
        check([nothing, pair, constant, isolated, pair, nothing], [{}] * 6, rng, share=share)
    union = compile_union([Sample(constant), Sample(nothing)])
    numbers = union.bind([{}, {}], np.zeros(0, np.int64))
    assert assignment_energies(union, numbers, np.zeros(2, np.int64)).tolist() == [3.5, 0.0]


def test_a_union_is_each_graph_alone():
    """Unary rows and tables to the last bit, wherever a graph stands in a union."""
    drawn = [
        case_of(seed, forest=seed % 2 == 0, kinds=["normal", "forbidden"], prefix=f"{seed} ")
        for seed in range(60_000, 60_040)
    ]
    rng = np.random.default_rng(0)
    known = [rng.random(c.graph.n_cells) < 0.3 for c in drawn]
    states = [np.where(k, rng.integers(0, c.graph.cell_states), 0) for c, k in zip(drawn, known)]
    samples = [Sample(c.graph, k) for c, k in zip(drawn, known)]
    together = compile_union(samples)
    whole = together.bind([c.values for c in drawn], np.concatenate(states))
    start = together.compiled.variable_start.astype(int)
    for i, case in enumerate(drawn):
        alone = compile_union([samples[i]])
        bound = alone.bind([case.values], states[i])
        own = alone.compiled.variable_start.astype(int)
        first = int(together.compiled.sample_cell_start[i])
        cells = range(case.graph.n_cells)
        pairs = [(alone.compiled.cell_variable[c], together.compiled.cell_variable[first + c]) for c in cells]
        pairs.append((alone.compiled.ground[0], together.compiled.ground[i]))
        for one, other in pairs:
            assert (one < 0) == (other < 0)
            if one >= 0:
                assert together.compiled.variable_sample[other] == i
                np.testing.assert_array_equal(
                    whole.unary[start[other] : start[other + 1]], bound.unary[own[one] : own[one + 1]]
                )
        assert together.compiled.sample_forest[i] == alone.compiled.sample_forest[0]
