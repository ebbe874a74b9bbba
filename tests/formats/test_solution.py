"""UAI solution files: PR, MAR, MPE, MAP."""

from __future__ import annotations

import math

import numpy as np
import pytest

import factorgraph_ebm as fg
from factorgraph_ebm.formats import marginal_rows, read_solution, state_indices, write_solution


def test_log_partition_is_log10_in_the_file(tmp_path):
    write_solution(tmp_path / "m.PR", log_partition=-3.5)
    assert (tmp_path / "m.PR").read_text() == f"PR\n{-3.5 / math.log(10)!r}\n"
    assert read_solution(tmp_path / "m.PR").log_partition == pytest.approx(-3.5, rel=1e-15)
    write_solution(tmp_path / "m.PR", log_partition=-math.inf)
    assert (tmp_path / "m.PR").read_text() == "PR\n-inf\n"
    assert read_solution(tmp_path / "m.PR").log_partition == -math.inf


def test_marginals_of_any_width(tmp_path):
    rows = [np.array([0.1, 0.9]), np.array([1.0]), np.array([1 / 3, 1 / 3, 1 / 3])]
    write_solution(tmp_path / "m.MAR", marginals=rows)
    assert (tmp_path / "m.MAR").read_text().startswith("MAR\n3 2 0.1 0.9 1 1.0 3 0.33")
    solution = read_solution(tmp_path / "m.MAR")
    assert solution.task == "MAR" and solution.marginals is not None
    for row, found in zip(rows, solution.marginals, strict=True):
        np.testing.assert_array_equal(row, found)


@pytest.mark.parametrize("task", ["MPE", "MAP"])
def test_assignment(tmp_path, task):
    write_solution(tmp_path / "m", assignment=[1, 0, 2], task=task)
    assert (tmp_path / "m").read_text() == f"{task}\n3 1 0 2\n"
    solution = read_solution(tmp_path / "m")
    assert solution.task == task
    assert solution.assignment is not None and solution.assignment.tolist() == [1, 0, 2]


def test_a_line_that_says_one_sample(tmp_path):
    (tmp_path / "m").write_text("MPE\n1\n1 2\n")
    assert read_solution(tmp_path / "m").assignment.tolist() == [2]
    (tmp_path / "m").write_text("MPE\n1\n2\n")
    assert read_solution(tmp_path / "m").assignment.tolist() == [2]
    (tmp_path / "m").write_text("MAR\n1\n1 2 0.5 0.5\n")
    assert read_solution(tmp_path / "m").marginals[0].tolist() == [0.5, 0.5]
    (tmp_path / "m").write_text("PR\n1\n-2.5\n")
    assert read_solution(tmp_path / "m").log_partition == pytest.approx(-2.5 * math.log(10))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'the file ends where "PR", "MAR", "MPE" or "MAP" should come'),
        ("MMAP 1 0", 'line 1: expected "PR", "MAR", "MPE" or "MAP", found "MMAP"'),
        ("PR\n", "the file ends where log10 of Z should come"),
        ("PR\nnan", 'line 2: expected log10 of Z .*, found "nan"'),
        ("PR\nx", 'found "x"'),
        ("PR\n1.5 2.5", "goes on after the answer"),
        ("MAR\n2 2 0.5 0.5", "line 2: the file ends where the number of states of variable 1 should come"),
        ("MAR\n1 1000000000000 0.5", "variable 0 says 1,000,000,000,000 states; 1 words follow"),
        ("MAR\n1 2 0.5 -0.5", 'expected a probability, found "-0.5"'),
        ("MAR\n1 2 0.5 x", 'expected a probability, found "x"'),
        ("MAR\n1 1 1\n7", "goes on after the last marginal"),
        ("MPE\n3 0 1", "line 2: 3 variables need 3 states; the file has 2"),
        ("MPE\n1 -1", 'found "-1"'),
    ],
)
def test_malformed(tmp_path, text, message):
    (tmp_path / "m").write_text(text)
    with pytest.raises(fg.FormatError, match=message):
        read_solution(tmp_path / "m")


def test_exactly_one_answer(tmp_path):
    with pytest.raises(fg.FormatError, match="exactly one"):
        write_solution(tmp_path / "m", log_partition=0.0, assignment=[0])
    with pytest.raises(fg.FormatError, match="exactly one"):
        write_solution(tmp_path / "m")


def test_results_cell_by_cell():
    a = fg.output("a", shape=2, n_states=[3, 2])
    b = fg.latent("b", states=["no", "yes"])
    graph = fg.FactorGraph([fg.Table([b, a[0]], energies=np.zeros((2, 3)))])
    rows = marginal_rows(graph, {"a": np.array([[0.2, 0.3, 0.5], [0.4, 0.6, 0.0]]), "b": np.array([0.1, 0.9])})
    assert [row.tolist() for row in rows] == [[0.1, 0.9], [0.2, 0.3, 0.5], [0.4, 0.6]]
    assert state_indices(graph, {"a": np.array([2, 1]), "b": "yes"}).tolist() == [1, 2, 1]
