"""libDAI's .fg: sparse tables, the first variable fastest, labels of any kind."""

from __future__ import annotations

import numpy as np
from same import assert_equal_tables, tables

import factorgraph_ebm as fg

TEXT = """# two factors
# over labels 9, 2 and 40
2

2
9 2 # first runs fastest
3 2
4
0   0.5
5   0.25
3   2
1   4e0

1
40
2
0
"""


def test_first_variable_runs_fastest_and_labels_are_sorted(tmp_path):
    (tmp_path / "m.fg").write_text(TEXT)
    graph = fg.read(tmp_path / "m.fg")
    assert graph["x"].n_states.tolist() == [2, 3, 2]
    (table,) = graph.factors
    assert table.members == [[1, 0], [2]]
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(table.table()[0], -np.log([[0.5, 2], [4, 0], [0, 0.25]]))
    assert table.table()[1].tolist() == [np.inf, np.inf]


def test_no_factors(tmp_path):
    (tmp_path / "m.fg").write_text("# nothing\n0\n")
    assert fg.read(tmp_path / "m.fg").n_cells == 0


def test_factor_over_nothing(tmp_path):
    (tmp_path / "m.fg").write_text("1\n\n0\n1\n0 0.5\n")
    graph = fg.read(tmp_path / "m.fg")
    assert graph.factors[0].members == [[]]
    assert graph.factors[0].table()[0] == np.log(2.0)


def test_an_entry_listed_twice_with_one_value_is_harmless(tmp_path):
    (tmp_path / "m.fg").write_text("1\n1\n0\n2\n3\n0 0.5\n0 0.5\n1 1\n")
    assert fg.read(tmp_path / "m.fg").n_cells == 1


def test_zeros_are_left_out_and_untouched_variables_kept(tmp_path):
    a = fg.output("a", shape=2, n_states=[3, 2])
    b = fg.output("b", n_states=4)
    energies = np.array([[0.0, 1.0], [np.inf, 2.0], [3.0, np.inf]])
    graph = fg.FactorGraph([fg.Table([a[0], a[1]], energies=energies)], variables=[b])
    fg.write(graph, tmp_path / "m.fg")
    text = (tmp_path / "m.fg").read_text()
    assert text.startswith("2\n\n2\n0 1\n3 2\n4\n0 1.0\n2 ")
    again = fg.read(tmp_path / "m.fg")
    assert again.cell_states.tolist() == [3, 2, 4]
    assert_equal_tables(tables(graph), tables(again)[:1])
    assert tables(again)[1][1].tolist() == [0.0] * 4
