"""Factors on one scope are one factor; nested ones are absorbed where that makes a forest, and nowhere else (C1)."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import cells_of
from strategies import case_of

import factorgraph_ebm as fg
from factorgraph_ebm import arrays as a
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.union import compile_union

TWO, THREE, FOUR = np.zeros((2, 2)), np.zeros((2, 2, 2)), np.zeros((2, 2, 2, 2))


def compiled_of(*factors, known=(), **options):
    graph = fg.FactorGraph(factors)
    mask = np.zeros(graph.n_cells, bool)
    mask[list(known)] = True
    return compile_union([Sample(graph, mask)], **options).compiled


def scopes(compiled):
    """The free cells of every factor of the engine, as a sorted list of sorted tuples."""
    found = []
    for first in compiled.run_field_start[:-1]:
        size, arity, scope = (int(compiled.run_field[first + i]) for i in (a.RUN_SIZE, a.RUN_ARITY, a.RUN_SCOPE))
        cells = compiled.variable_cell[compiled.scope[scope : scope + size * arity].reshape(arity, size)]
        found += [tuple(sorted(column)) for column in cells.T.tolist()]
    return sorted(found)


@pytest.fixture
def y():
    return fg.output("y", shape=6, n_states=2)


def test_three_declarations_on_the_links_of_a_chain_are_a_chain(y):
    factors = [
        fg.Table([y[1:], y[:-1]], TWO),
        fg.Table([y[:-1], y[1:]], np.zeros((5, 2, 2))),
        fg.Potts([y[2:4], y[1:3]], 1.0),
    ]
    merged = compiled_of(*factors)
    assert merged.sample_forest.tolist() == [True]
    assert scopes(merged) == [(i, i + 1) for i in range(5)]
    as_declared = compiled_of(*factors, rewrite=False)
    assert as_declared.sample_forest.tolist() == [False]
    assert len(scopes(as_declared)) == 12


def test_three_way_factors_on_one_set_in_any_order_are_one(y):
    merged = compiled_of(fg.Table([y[0], y[1], y[2]], THREE), fg.Table([y[2], y[0], y[1]], THREE))
    assert merged.sample_forest.tolist() == [True] and scopes(merged) == [(0, 1, 2)]


def test_nested_factors_are_absorbed_by_what_is_around_them(y):
    factors = [
        fg.Table([y[0], y[1], y[2]], THREE),
        fg.Table([y[2], y[0]], TWO),
        fg.Table([y[0], y[1]], TWO),
        fg.Table([y[2], y[3], y[4], y[5]], FOUR),
        fg.Table([y[5], y[3], y[4]], THREE),
        fg.Table([y[4], y[3]], TWO),  # inside the three, which is inside the four
    ]
    compiled = compiled_of(*factors)
    assert compiled.sample_forest.tolist() == [True]
    assert scopes(compiled) == [(0, 1, 2), (2, 3, 4, 5)]


def test_nothing_is_absorbed_where_a_loop_stays(y):
    """Two components: one is a forest once its pair is absorbed, the other has a loop besides; its pair stays."""
    z = fg.output("z", shape=4, n_states=2)
    factors = [
        fg.Table([y[0], y[1], y[2]], THREE),
        fg.Table([y[0], y[1]], TWO),
        fg.Table([z[0], z[1], z[2]], THREE),
        fg.Table([z[0], z[1]], TWO),
        fg.Table([z[2], z[3]], TWO),
        fg.Table([z[3], z[0]], TWO),
    ]
    compiled = compiled_of(*factors)
    assert compiled.sample_forest.tolist() == [False]
    assert scopes(compiled) == [(0, 1, 2), (6, 7), (6, 7, 8), (6, 9), (8, 9)]


def test_what_is_given_decides_what_is_equal_nested_and_a_loop(y):
    ring = fg.Table([y, y[[5, 0, 1, 2, 3, 4]]], TWO)
    assert compiled_of(ring).sample_forest.tolist() == [False]
    assert compiled_of(ring, known=[3]).sample_forest.tolist() == [True]
    triples = fg.Table([y[:-2], y[1:-1], y[2:]], THREE)  # a second-order chain: no forest by absorbing
    assert compiled_of(triples).sample_forest.tolist() == [False]
    sliced = compiled_of(triples, known=[2])
    assert sliced.sample_forest.tolist() == [True]
    assert scopes(sliced) == [(0, 1), (1, 3), (3, 4, 5)]  # (3, 4), what is left of the third, is nested


def test_many_copies_of_one_scope(rng):
    """Forty declarations, each link of the chain forty times."""
    y = fg.output("y", shape=200, n_states=2)
    factors = [fg.Table([y[1:], y[:-1]] if i % 2 else [y[:-1], y[1:]], rng.normal(size=(2, 2))) for i in range(40)]
    compiled = compiled_of(*factors)
    assert compiled.sample_forest.all() and len(scopes(compiled)) == 199


def test_wide_scopes_are_told_apart(rng):
    """200 ** 11 does not fit 64 bits: sets of eleven cells are compared all the same."""
    y = fg.output("y", shape=200, n_states=2)
    table = np.zeros((2,) * 11)
    one = np.arange(150, 161)
    for other, number in ((rng.permutation(one), 1), (np.append(one[:-1], 199), 2), (np.append(7, one[1:]), 2)):
        compiled = compiled_of(fg.Table([*y[one]], table), fg.Table([*y[other]], table))
        assert len(scopes(compiled)) == number
        assert compiled.sample_forest.tolist() == [number == 1]


def components(graph, known):
    """Sets of free cells that hang together."""
    groups = [{c} for c in np.flatnonzero(~known)]
    for scope in cells_of(graph):
        inside = {c for c in scope if not known[c]}
        touched = [g for g in groups if g & inside]
        groups = [g for g in groups if not g & inside] + ([set().union(*touched)] if touched else [])
    return sorted(sorted(int(c) for c in g) for g in groups)


def test_components_have_the_label_of_their_smallest_variable():
    for seed in range(70_000, 70_100):
        case = case_of(seed, forest=seed % 2 == 0)
        known = np.random.default_rng(seed).random(case.graph.n_cells) < 0.3
        compiled = compile_union([Sample(case.graph, known)]).compiled
        label = compiled.variable_component[compiled.cell_variable]
        free = np.flatnonzero(~known)
        found = [free[label[free] == one] for one in np.unique(label[free])]
        assert sorted(g.tolist() for g in found) == components(case.graph, known)
        for group in found:
            assert (compiled.variable_cell[label[group]] == group.min()).all()
        assert compiled.variable_component[compiled.ground[0]] == compiled.ground[0]
