"""Energies whose sum could overflow into +inf, which means forbidden, are refused by name."""

from __future__ import annotations

import numpy as np
import pytest

import factorgraph_ebm as fg
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.union import compile_union


def bind(*factors, values=None, copies=1):
    graph = fg.FactorGraph(factors)
    union = compile_union([Sample(graph)] * copies)
    return union.bind([values or {}] * copies, np.zeros(copies * graph.n_cells, np.int64))


def spins(states):
    s = fg.output("s", shape=3, states=states)
    return [s[:2], s[1:]]


def test_what_can_be_added_is_accepted():
    y = fg.output("y", shape=2, n_states=2)
    numbers = bind(fg.Table([y], np.full((2, 2), 1e300)), fg.Potts([y[0], y[1]], -1e300))
    assert np.isfinite(numbers.store).all() and np.isfinite(numbers.unary).all()
    assert np.isinf(bind(fg.Potts([y[0], y[1]], np.inf)).store).any()  # forbidden is not large


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_what_could_overflow_is_refused(sign):
    y = fg.output("y", shape=200, n_states=2)
    p = fg.Parameter("p", (2,))
    with pytest.raises(fg.FactorError, match="could overflow"):
        bind(fg.Table([y], sign * np.full((200, 2), 1e305)))
    with pytest.raises(fg.FactorError, match="could overflow"):
        bind(fg.Table([y], p), values={"p": np.array([0.0, sign * 1e305])})
    with pytest.raises(fg.FactorError, match="could overflow"):
        bind(fg.Potts([y[0], y[1]], sign * 1e305), copies=50)


@pytest.mark.parametrize("weight", [1e305, -1e305])
def test_a_product_is_as_large_as_its_states_make_it(weight):
    assert np.isfinite(bind(fg.Product(spins([0.0, 0.5, 1.0]), weight)).store).all()
    for states in ([0.0, 1.0, 100.0], list(np.arange(100.0))):  # a table, and a kernel of its own
        with pytest.raises(fg.FactorError, match="could overflow"):
            bind(fg.Product(spins(states), weight))


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
@pytest.mark.parametrize("source", ["parameter", "observed"])
def test_numbers_that_come_later_are_checked_like_constants(source, bad):
    y = fg.output("y", shape=3, n_states=2)
    if source == "parameter":
        energies = fg.Parameter("w", (3, 2))
    else:
        energies = fg.observed("w", shape=3, dim=2)
    value = np.zeros((3, 2))
    value[2, 1] = bad
    with pytest.raises(fg.FactorError, match=r"\[2, 1\]"):
        bind(fg.Table([y], energies), values={"w": value})


def test_tables_that_would_not_fit_are_refused_before_they_are_made():
    """A Product of forty bits has no kernel, and its table has 2 ** 40 entries."""
    y = fg.output("y", shape=40, n_states=2)
    graph = fg.FactorGraph([fg.Product(list(y), 1.0)])
    with pytest.raises(fg.FactorError, match=r"would need 35,184,372,088,832 bytes"):
        fg.minimize(graph)
    with pytest.raises(fg.FactorError, match="would need"):
        fg.minimize(graph, given={y[1:]: np.ones(39, int)})
    assert fg.energy(graph, {"y": np.ones(40, int)}) == 1.0
