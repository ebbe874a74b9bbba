"""Orders that were searched for serve the same graph under another mask of what is given."""

import numpy as np
import pytest

import factorgraph_ebm as fg
from factorgraph_ebm.compiler import elimination
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.union import compile_union
from factorgraph_ebm.inference import known_orders
from factorgraph_ebm.inference.trees import shape_of


@pytest.fixture
def searches(monkeypatch):
    """What is searched for, from an empty memory."""
    monkeypatch.setattr(elimination, "BAND", np.inf)  # grids, too, are searched for better orders
    found: list[int] = []
    search = elimination.order_components
    monkeypatch.setattr(known_orders, "_kept", {})
    monkeypatch.setattr(elimination, "order_components", lambda *a: (found.append(1), search(*a))[1])
    return found


def grid(name: str, side: int = 15) -> fg.FactorGraph:
    y = fg.output(name, shape=(side, side), n_states=2)
    energies = np.random.default_rng(0).normal(size=(2, 2))
    return fg.FactorGraph([fg.Table([y[1:], y[:-1]], energies=energies), fg.Table([y[:, 1:], y[:, :-1]], energies)])


def shape_under(graph: fg.FactorGraph, *given: int, soft: int = 0):
    known, summed = np.zeros(graph.n_cells, bool), np.zeros(graph.n_cells, bool)
    known[list(given)] = True
    summed[graph.n_cells - soft :] = True
    return shape_of(compile_union([Sample(graph, known, summed & ~known)]))


def test_a_second_mask_does_not_search(searches):
    graph = grid("second")
    first = shape_under(graph, 40)
    assert len(searches) == 1
    more = shape_under(graph, 40, 100, 101)
    assert len(searches) == 1 and more.elimination.entries.sum() <= first.elimination.entries.sum()
    assert more.elimination.width.max() <= first.elimination.width.max()
    moved = shape_under(graph, 100)  # 40 takes a place among its neighbours
    assert len(searches) == 1
    assert moved.elimination.entries.sum() <= known_orders.DEARER * first.elimination.entries.sum()
    shape_under(grid("another"), 40)
    assert len(searches) == 2


def test_another_mask_altogether_is_searched_for(searches):
    graph = grid("altogether")
    shape_under(graph, *range(0, 60))
    shape_under(graph, *range(60, 120))
    assert len(searches) == 2
    # Where what is summed goes first, an order is another.
    shape_under(graph, *range(60, 120), soft=5)
    shape_under(graph, *range(60, 121), soft=5)
    assert len(known_orders._kept) == 2 and len(searches) in (2, 3)


def test_answers_do_not_depend_on_what_was_asked_before(searches):
    y = fg.output("mixed", shape=(14, 14), n_states=2)
    rng = np.random.default_rng(1)
    graph = fg.FactorGraph(
        [
            fg.Table([y], energies=rng.normal(size=(14, 14, 2))),
            fg.Table([y[1:], y[:-1]], energies=rng.normal(size=(13, 14, 2, 2))),
            fg.Table([y[:, 1:], y[:, :-1]], energies=rng.normal(size=(14, 13, 2, 2))),
            fg.Cardinality(y[:, 7].reshape(14), energies=0.1 * np.arange(15.0)),  # a chain with helpers
        ]
    )
    masks = [{y[3, 3]: 0}, {y[3, 3]: 0, y[5, 5]: 1}, {y[9, 7]: 1}, {y[0, 0]: 1}]
    together = [fg.marginals(graph, mask, method="junction_tree") for mask in masks]
    assert len(searches) < len(masks)
    for mask, found in zip(masks, together):
        known_orders._kept.clear()
        alone = fg.marginals(fg.FactorGraph(graph.factors), mask, method="junction_tree")
        np.testing.assert_allclose(found.log_partition, alone.log_partition, rtol=1e-12)
        np.testing.assert_allclose(found["mixed"], alone["mixed"], atol=1e-11)


def test_few_graphs_are_kept(searches, monkeypatch):
    monkeypatch.setattr(known_orders, "KEPT", 2)
    graphs = [grid(f"kept {i}", 14) for i in range(3)]
    for graph in graphs:
        shape_under(graph, 3)
    assert len(known_orders._kept) == 2 and len(searches) == 3
    shape_under(graphs[2], 3, 4)
    assert len(searches) == 3
    shape_under(graphs[0], 3, 4)
    assert len(searches) == 4


def test_what_is_cheap_is_not_kept(searches):
    shape_under(grid("cheap", 4), 3)
    assert not searches and not known_orders._kept
