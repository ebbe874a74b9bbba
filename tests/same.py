"""What it means that two graphs are the same: for the lossless format everything, for the others all tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from factorgraph_ebm.formats.tables import cells_and_tables
from factorgraph_ebm.graph import Constant, Linear, Parameter


def assert_equal_graphs(one: Any, two: Any) -> None:
    """Equal structure, bit-equal numbers."""
    assert one.key == two.key
    assert list(one.variables) == list(two.variables)
    for name, variable in one.variables.items():
        assert variable == two.variables[name]
        assert _typed(variable.states) == _typed(two.variables[name].states)
    assert list(one.parameters) == list(two.parameters)
    for name, parameter in one.parameters.items():
        assert parameter.declared_like(two.parameters[name])
    assert one.keys == two.keys
    for a, b in zip(one.factors, two.factors, strict=True):
        assert (a.kind, a.name, a.shape, a.scope.axis) == (b.kind, b.name, b.shape, b.scope.axis)
        _assert_equal_members(a.members, b.members)
        for slot, other in zip(a.slots, b.slots, strict=True):
            assert (slot.name, slot.own) == (other.name, other.own)
            assert_equal_sources(slot.source, other.source)


def _typed(states: Any) -> Any:
    return None if states is None else [(type(state), state) for state in states]


def _assert_equal_members(one: Any, two: Any) -> None:
    if one is None:
        assert two is None
    elif hasattr(one, "tocsr"):
        assert type(one) is type(two)
        assert one.dtype == two.dtype and one.shape == two.shape
        assert (one.toarray() == two.toarray()).all()
    else:
        assert [list(map(int, member)) for member in one] == two


def assert_equal_sources(one: Any, two: Any) -> None:
    assert type(one) is type(two)
    assert one.shape == two.shape
    if isinstance(one, Constant):
        assert one.array.tobytes() == two.array.tobytes()
    elif isinstance(one, Parameter):
        assert one == two
    elif isinstance(one, Linear):
        assert_equal_sources(one.W, two.W)
        if one.x is None:
            _assert_equal_members(one.matrix, two.matrix)
        else:
            assert_equal_sources(one.x, two.x)
    else:
        assert one.key == two.key


def tables(graph: Any, parameters: Any = None) -> list[tuple[list[int], np.ndarray]]:
    return list(cells_and_tables("test", graph, parameters))


def assert_equal_tables(one: Any, two: Any, relative: float = 1e-12) -> None:
    """The same scopes, finite energies equal to `relative`, +inf in the same places."""
    assert len(one) == len(two)
    for (cells, energies), (other_cells, others) in zip(one, two, strict=True):
        assert cells == other_cells
        assert energies.shape == others.shape
        forbidden = np.isposinf(energies)
        assert (forbidden == np.isposinf(others)).all()
        finite, found = energies[~forbidden], others[~forbidden]
        assert (np.abs(finite - found) <= relative * np.abs(finite)).all()
