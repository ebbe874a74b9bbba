"""The order of the variables of a graph, which is the order of its cells in files."""

from __future__ import annotations

import factorgraph_ebm as fg


def test_order_of_appearance_unless_all_are_listed():
    a, b, c = (fg.output(name, n_states=2) for name in "abc")
    factor = fg.Table([b, a], energies=[[0, 1], [1, 0]])
    assert list(fg.FactorGraph([factor]).variables) == ["b", "a"]
    assert list(fg.FactorGraph([factor], variables=[c]).variables) == ["b", "a", "c"]
    assert list(fg.FactorGraph([factor], variables=[c, a]).variables) == ["b", "a", "c"]
    assert list(fg.FactorGraph([factor], variables=[c, a, b]).variables) == ["c", "a", "b"]
