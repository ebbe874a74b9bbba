"""Numbers laid out in the order in which factors are visited: other places, the same messages."""

from __future__ import annotations

import numpy as np
import pytest

import factorgraph_ebm as fg
from factorgraph_ebm import arrays as a
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.schedules import sequential
from factorgraph_ebm.compiler.union import compile_union
from factorgraph_ebm.inference import in_order
from factorgraph_ebm.inference.passing import Passing


def grid_of_many_kinds(rng, size):
    """Own tables, a shared one, own penalties and weights, tables by turns, and given cells that cut strides."""
    y = fg.output("y", shape=(size, size), n_states=4)
    z = fg.output("z", shape=(size, size), n_states=3)
    x = fg.output("x", shape=size, n_states=2)
    tables = rng.normal(size=(3, 4, 3))
    own = rng.normal(size=(size - 1, size, 4, 4))
    own[rng.random(own.shape) < 0.02] = np.inf
    return fg.FactorGraph(
        [
            fg.Table([y], energies=rng.normal(size=(size, size, 4))),
            fg.Table([z], energies=rng.normal(size=(size, size, 3))),
            fg.Table([y[:-1], y[1:]], energies=own),
            fg.Table([y[:, :-1], y[:, 1:]], energies=rng.normal(size=(4, 4))),
            fg.Table([y, z], energies=tables[rng.integers(3, size=(size, size))]),
            fg.Potts([z[:-1], z[1:]], penalty=rng.normal(size=(size - 1, size))),
            fg.TruncatedLinear([z[:, :-1], z[:, 1:]], rng.uniform(size=(size, size - 1)), limit=1.0),
            fg.Table([x, y[0], z[0]], energies=rng.normal(size=(size, 2, 4, 3))),
        ]
    )


def both(monkeypatch, graph, *, minimize=True, known=None):
    """Message passing over declared places, and over places in order; `known` cells are in their first state."""
    union = compile_union([Sample(graph, known)])
    numbers = union.bind([{}], np.zeros(graph.n_cells, np.int64))
    found = []
    for few in (1 << 60, 0):
        monkeypatch.setattr(in_order, "FEW", few)
        found.append(Passing(union.layout, numbers, minimize=minimize, repeated=True))
    return found


@pytest.mark.parametrize("minimize", [True, False])
def test_messages_do_not_depend_on_where_numbers_lie(minimize, monkeypatch, rng):
    graph = grid_of_many_kinds(rng, 6)
    known = np.zeros(graph.n_cells, bool)
    known[graph.cell_offset["x"] :][:6] = True
    declared, ordered = both(monkeypatch, graph, minimize=minimize, known=known)
    assert len(ordered.store) != len(declared.store) or (ordered.store != declared.store).any()
    for passing in (declared, ordered):
        steps = sequential(passing.layout, passing.operators)
        for _ in range(3):
            passing.run(steps, 0, len(steps.kernel), 0.25)
    np.testing.assert_array_equal(declared.to_variable, ordered.to_variable)
    np.testing.assert_array_equal(declared.lower_bounds(), ordered.lower_bounds())


def test_own_numbers_lie_one_after_another(monkeypatch, rng):
    y = fg.output("y", shape=(9, 9), n_states=3)
    graph = fg.FactorGraph([fg.Table([y[:-1], y[1:]], energies=rng.normal(size=(8, 9, 3, 3)))])
    _, passing = both(monkeypatch, graph)
    field, _, number, _, store, _ = passing.runs
    np.testing.assert_array_equal(np.diff(number.astype(int)), 9)
    # the mirror: the same tables transposed
    size = int(field[a.RUN_MIRROR])
    tables = store[:size].reshape(-1, 3, 3)
    np.testing.assert_array_equal(store[size:].reshape(-1, 3, 3), tables.transpose(0, 2, 1))


def test_tables_that_many_factors_share_are_not_copied_for_each(monkeypatch, rng):
    y = fg.output("y", shape=(30, 30), n_states=4)
    graph = fg.FactorGraph([fg.Table([y[:-1], y[1:]], energies=rng.normal(size=(29, 1, 4, 4)))])
    declared, ordered = both(monkeypatch, graph)
    assert len(np.unique(ordered.runs[2])) == 29
    assert len(ordered.store) == len(declared.store)
