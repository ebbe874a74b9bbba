"""BIF: named variables and states, conditional probabilities."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

import factorgraph_ebm as fg

DOG = """
// the textbook network, after Charniak
network "Dog problem" { property "credal set" ; }
variable wet { type discrete [ 2 ] { <5, 12+ }; /* states may
   look odd */ property position = (1, 2) ; }
variable "out side" { type discrete[3]{a "b c" Asy/Patch}; }
variable C { type discrete [ 2 ] { yes, no }; }
probability ( wet | C, "out side" ) {
  (yes, Asy/Patch) 0.9, 0.1;   // any order
  (no, a) 0 1.0;
  default 0.25, 0.75;
}
probability ( C ) { table 1e-3, .999; }
probability ( "out side" "C" ) {
  table 0.1 0.2
        0.3 0.4
        0.6 0.4 ;
}
"""


def write(tmp_path, text, name="m.bif"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_names_states_rows_defaults_and_tables(tmp_path):
    graph = fg.read(write(tmp_path, DOG))
    assert list(graph.variables) == ["wet", "out side", "C"]  # the order of the blocks, not of the factors
    assert graph["wet"].states == ("<5", "12+")
    assert graph["out side"].states == ("a", "b c", "Asy/Patch")
    assert graph["C"].shape == ()
    assert [factor.name for factor in graph.factors] == ["P(wet | C, out side)", "P(C)", "P(out side | C)"]
    wet, c, out = (np.exp(-factor.table()) for factor in graph.factors)
    assert wet.shape == (2, 3, 2)
    np.testing.assert_allclose(wet[0, 2], [0.9, 0.1])
    np.testing.assert_allclose(wet[1, 0], [0.0, 1.0])
    np.testing.assert_allclose(wet[0, 0], [0.25, 0.75])
    np.testing.assert_allclose(c, [0.001, 0.999])
    # The child runs slowest, the last parent fastest: P(a | yes), P(a | no), P(b c | yes), ...
    np.testing.assert_allclose(out, [[0.1, 0.3, 0.6], [0.2, 0.4, 0.4]])
    assert graph.factor("P(out side | C)").scope.variables == (graph["C"], graph["out side"])


def test_gzip(tmp_path):
    (tmp_path / "m.bif.gz").write_bytes(gzip.compress(DOG.encode()))
    assert fg.read(tmp_path / "m.bif.gz").n_cells == 3


def test_evidence_by_number_counts_the_variable_blocks(tmp_path):
    graph = fg.read(write(tmp_path, DOG))
    (tmp_path / "e.evid").write_text("2 0 1 1 2")
    assert fg.read_evidence(tmp_path / "e.evid", graph) == {"wet": "12+", "out side": "Asy/Patch"}


def test_writing_is_refused_with_what_can_be_written(tmp_path):
    with pytest.raises(fg.FormatError, match=r"\.fg, \.fgz, \.uai"):
        fg.write(fg.read(write(tmp_path, DOG)), tmp_path / "n.bif")


def test_comment_with_braces_keeps_the_line_numbers(tmp_path):
    text = "network n { }\n/* { \n } */\nvariable a { type discrete [ 2 ] { x, y }; }\nprobability ( a ) { table 1; }"
    with pytest.raises(fg.FormatError, match=r'm\.bif, line 5: "a" needs 2 probabilities here; found 1'):
        fg.read(write(tmp_path, text))
