"""UAI evidence files in all their forms."""

from __future__ import annotations

import numpy as np
import pytest

import factorgraph_ebm as fg


@pytest.fixture
def graph():
    x = fg.output("x", shape=4, n_states=[2, 3, 2, 5])
    return fg.FactorGraph([fg.Table([x], energies=np.zeros(5))])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 1 2 3 4", [-1, 2, -1, 4]),
        ("2 1 2 3 4\n", [-1, 2, -1, 4]),
        ("2\n1 2\n3 4\n", [-1, 2, -1, 4]),
        ("1\n2 1 2 3 4\n", [-1, 2, -1, 4]),
        ("1\n1 0\n", [-1, 0, -1, -1]),  # one variable, 1, in state 0
        ("1\n1 0 1\n", [1, -1, -1, -1]),  # one sample of one variable, 0, in state 1
        ("2 1 2 1 2", [-1, 2, -1, -1]),
        ("", None),
        (" \n\n", None),
        ("0", None),
        ("0\n\n", None),
        ("1\n0\n", None),
    ],
)
def test_forms(tmp_path, graph, text, expected):
    (tmp_path / "m.evid").write_text(text)
    given = fg.read_evidence(tmp_path / "m.evid", graph)
    if expected is None:
        assert given == {}
    else:
        assert list(given) == ["x"]
        assert given["x"].filled(-1).tolist() == expected


def test_a_stray_line_after_zero_is_ignored_with_a_warning(tmp_path, graph):
    (tmp_path / "m.evid").write_text("0\n2 0\n")
    with pytest.warns(UserWarning, match=r'm\.evid, line 2: "2 0" is ignored'):
        assert fg.read_evidence(tmp_path / "m.evid", graph) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 4 0", r"line 1: variable 4 is given, but the model has 4\."),
        ("2 0 0\n1 3", r"line 2: variable 1 was given state 3, but has 3 states \(0-2\)\."),
        ("2 1 0 1 2", r"line 1: variable 1 is given twice, as 0 and as 2\."),
        ("2 0 1", r"line 1: 2 given variables need 4 numbers after the count; the file has 2\."),
        ("0 2 0", r"line 1: 0 given variables need 0 numbers after the count; the file has 2\."),
        ("0\n2 0\n3 0\n", r"0 given variables need 0 numbers"),
        ("2\n1 0 1\n1 0 0\n", r"2 given variables need 4 numbers after the count; the file has 6\."),
        ("one", r'line 1: expected the number of given variables \(an integer >= 0\), found "one"\.'),
        ("1 0 -1", r'line 1: expected a variable or its state \(an integer >= 0\), found "-1"\.'),
        ("1 0 1.0", r'found "1.0"'),
    ],
)
def test_malformed(tmp_path, graph, text, message):
    (tmp_path / "m.evid").write_text(text)
    with pytest.raises(fg.FormatError, match=message) as caught:
        fg.read_evidence(tmp_path / "m.evid", graph)
    assert str(tmp_path / "m.evid") in str(caught.value)


def test_each_variable_in_its_own_language(tmp_path):
    a = fg.observed("a", states=["no", "yes"])
    b = fg.output("b", shape=(2, 2), states=[-1, 1])
    c = fg.latent("c", n_states=3)
    u = fg.observed("u", dim=2)
    d = fg.output("d", n_states=2)
    graph = fg.FactorGraph([fg.Table([a], energies=u)], variables=[b, c, d])
    (tmp_path / "m.evid").write_text("4 0 1 2 1 4 0 5 2")
    given = fg.read_evidence(tmp_path / "m.evid", graph)
    assert given["a"] == "yes"
    assert given["b"].mask.tolist() == [[True, False], [True, False]]
    assert given["b"][0, 1] == 1 and given["b"][1, 1] == -1
    assert given["c"] == 2
    assert "d" not in given
