"""MacKay's alist: zeros that fill lists up or not, irregular degrees, two sets of lists that must agree."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import factorgraph_ebm as fg
from factorgraph_ebm.formats import FORMATS

H = np.array([[1, 0, 1, 0, 0, 0], [0, 1, 0, 1, 1, 0], [0, 0, 1, 1, 0, 1]])
BARE = """# columns and rows
6 3
2 3
1 1 2 2 1 1
2 3 3
# rows of each column
1
2
1 3
2 3
2
3
# columns of each row
1 3
2 4 5
3 4 6"""
FILLED = """6 3
2 3
1 1 2 2 1 1
2 3 3
1 0
2 0
1 3
2 3
2 0
3 0
1 3 0
2 4 5
3 4 6
"""


def check_matrix(path):
    return fg.read(path).factor("checks").members


@pytest.mark.parametrize(
    "text",
    [
        BARE,
        FILLED,
        FILLED.replace("1 3 0\n", "1 3\n"),  # columns filled up and rows not
        FILLED.replace("2 0", "0 2").replace("0 2\n1 3", "2 0\n1 3").replace("0 2\n3 0", "2\n3"),  # some are
        BARE.replace("2 4 5", "5 2 4"),  # in any order
        " ".join(FILLED.split()),
        FILLED.replace("\n", " \r\n"),
    ],
    ids=["bare", "filled", "columns filled", "some filled", "unsorted", "one line", "dos"],
)
def test_one_matrix_in_many_spellings(text, tmp_path):
    (tmp_path / "code.alist").write_text(text)
    graph = fg.read(tmp_path / "code.alist")
    assert list(graph.variables) == ["bits"]
    assert graph["bits"] == fg.output("bits", shape=6, n_states=2)
    (checks,) = graph.factors
    assert (checks.kind, checks.name, checks.arity.tolist()) == ("Parity", "checks", [2, 3, 3])
    assert checks.members.shape == (3, 6)
    assert checks.members.has_sorted_indices
    np.testing.assert_array_equal(checks.members.toarray(), H)


@st.composite
def matrices(draw):
    m, n = draw(st.integers(0, 5)), draw(st.integers(0, 7))
    ones = draw(st.sets(st.tuples(st.integers(0, max(m - 1, 0)), st.integers(0, max(n - 1, 0)))))
    matrix = np.zeros((m, n), dtype=np.int64)
    for row, column in ones:
        if m and n:
            matrix[row, column] = 1
    return matrix


@hypothesis.given(matrices())
def test_there_and_back(tmp_path_factory, matrix):
    """Degrees of 0, no rows and no columns included; the words that are written fill every list up."""
    path = tmp_path_factory.mktemp("alist") / "code.alist.gz"
    bits = fg.output("bits", shape=matrix.shape[1], n_states=2)
    members = [np.flatnonzero(row).tolist() for row in matrix]
    fg.write(fg.FactorGraph([fg.Parity(bits, members=members)], variables=[bits]), path)
    np.testing.assert_array_equal(check_matrix(path).toarray(), matrix)


def test_checks_said_in_any_way_are_rows(tmp_path):
    """Lists, an axis and members are one matrix; a variable that stands twice cancels."""
    a, b = fg.output("a", shape=(2, 2), n_states=2), fg.output("b", shape=3, n_states=2)
    graph = fg.FactorGraph(
        [
            fg.Parity([a[0], a[1]]),
            fg.Parity(a, axis=1),
            fg.Parity(b, members=[[0, 2, 2], []]),
        ]
    )
    fg.write(graph, tmp_path / "code.alist")
    rows = [[0, 2], [1, 3], [0, 1], [2, 3], [4], []]
    expected = [[int(column in row) for column in range(7)] for row in rows]
    assert check_matrix(tmp_path / "code.alist").toarray().tolist() == expected


def test_what_is_no_code_is_refused_by_name(tmp_path):
    y, z = fg.output("y", shape=3, n_states=2), fg.output("z", n_states=3)
    noisy = fg.FactorGraph([fg.Parity(y), fg.Table([y], energies=[0.0, 1.0], name="channel")])
    with pytest.raises(fg.FormatError, match='factor "channel" is a Table'):
        fg.write(noisy, tmp_path / "code.alist")
    with pytest.raises(fg.FormatError, match="other than 2 states"):
        fg.write(fg.FactorGraph([fg.Parity(y)], variables=[z]), tmp_path / "code.alist")
    assert not list(tmp_path.iterdir())


def test_the_registry_says_what_it_holds():
    assert FORMATS[".alist"].only == "Parity"
