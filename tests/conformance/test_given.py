"""What is given in the user's words, cell by cell: every drawn form against the cell numbers it was drawn from."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from oracle import layout
from strategies import cases

from factorgraph_ebm.graph import read_given, to_labels


@given(cases(forest=False, given=80))
def test_given_is_read_as_it_was_drawn(case):
    """Labels or indices; holes masked, None or -1; by name, array, view or cell: one meaning."""
    where, found = layout(case.graph), read_given(case.graph, case.given)
    expected = {where.cell(*cell): state for cell, state in case.known.items()}
    assert dict(zip(np.flatnonzero(found.known).tolist(), found.states[found.known].tolist(), strict=True)) == expected
    assert not found.states[~found.known].any()
    for name, value in found.reals.items():
        np.testing.assert_array_equal(value, case.values[name])


@given(cases(forest=True))
def test_labels_come_back_as_indices(case):
    """What a variable says of itself, it understands: labels of random states are read as those states."""
    where = layout(case.graph)
    rng = np.random.default_rng(0)
    for name, variable in where.variables.items():
        first = where.offset[name]
        counts = where.cell_states[first : first + variable.size].reshape(variable.shape)
        indices = rng.integers(0, counts) if variable.size else np.zeros(variable.shape, int)
        said = to_labels(variable, indices)
        found = read_given(
            case.graph, {variable: said, **{n: v for n, v in case.given.items() if not layout_name(n, where)}}
        )
        np.testing.assert_array_equal(found.states[first : first + variable.size], indices.ravel())
        assert found.known[first : first + variable.size].all()


def layout_name(key, where) -> bool:
    return getattr(key, "name", key) in where.variables
