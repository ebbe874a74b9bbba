"""Sudoku with hard constraints."""

import itertools

import numpy as np
import pytest

import factorgraph_ebm as fg

#: Each has one solution and is solved by elimination alone.
EASY = """
530070000 600195000 098000060
800060003 400803001 700020006
060000280 000419005 000080079
"""


def grid(text):
    return np.array([[int(digit) for digit in row] for row in text.split()])


def sudoku(box):
    """Cells, and rows, columns and boxes of box x box cells that must differ."""
    n = box * box
    cell = fg.output("cell", shape=(n, n), states=range(1, n + 1))
    boxes = cell.reshape(box, box, box, box).transpose(0, 2, 1, 3).reshape(n, n)
    return cell, fg.FactorGraph(
        [
            fg.AllDifferent(cell, axis=1, name="rows"),
            fg.AllDifferent(cell, axis=0, name="columns"),
            fg.AllDifferent(boxes, axis=1, name="boxes"),
        ]
    )


def check_solution(found, puzzle, box=3):
    """By counting digits, with no help of the library."""
    n = box * box
    digits = set(range(1, n + 1))
    assert (found[puzzle > 0] == puzzle[puzzle > 0]).all()
    for i in range(n):
        r, c = box * (i // box), box * (i % box)
        assert set(found[i]) == set(found[:, i]) == set(found[r : r + box, c : c + box].ravel()) == digits


def test_an_easy_puzzle():
    puzzle = grid(EASY)
    cell, graph = sudoku(3)
    best = fg.minimize(graph, given={cell[puzzle > 0]: puzzle[puzzle > 0]})
    check_solution(best["cell"], puzzle)
    assert best.feasible and best.energy == 0.0
    assert fg.energy(graph, best) == 0.0
    belief = fg.marginals(graph, given={cell[puzzle > 0]: puzzle[puzzle > 0]})
    np.testing.assert_array_equal(belief["cell"].argmax(-1) + 1, best["cell"])  # there is one solution


def four_by_four(puzzle):
    """All solutions of a 4 x 4 puzzle, by trying permutations of each row."""
    lines = list(itertools.permutations(range(1, 5)))
    fits = [[line for line in lines if all(g in (0, d) for g, d in zip(row, line))] for row in puzzle.tolist()]
    found = []
    for rows in itertools.product(*fits):
        square = np.array(rows)
        columns = all(len(set(column)) == 4 for column in square.T)
        boxes = all(len(set(square[r : r + 2, c : c + 2].ravel())) == 4 for r in (0, 2) for c in (0, 2))
        if columns and boxes:
            found.append(square)
    return np.array(found)


@pytest.mark.filterwarnings("ignore::factorgraph_ebm.ConvergenceWarning")  # several solutions pull apart
@pytest.mark.parametrize("seed", range(8))
def test_small_puzzles_against_all_their_solutions(seed):
    """Some cells of a solution are given; what BP answers, and what enumeration counts, are the solutions there are."""
    rng = np.random.default_rng(seed)
    solved = np.array([[1, 2, 3, 4], [3, 4, 1, 2], [2, 1, 4, 3], [4, 3, 2, 1]])
    solved = rng.permutation(4)[solved - 1] + 1
    puzzle = np.where(rng.permutation(16).reshape(4, 4) < 5 + seed % 3, solved, 0)
    solutions = four_by_four(puzzle)
    cell, graph = sudoku(2)
    given = {cell[puzzle > 0]: puzzle[puzzle > 0]}
    best = fg.minimize(graph, given=given)
    if best.feasible:
        check_solution(best["cell"], puzzle, box=2)
        assert any((best["cell"] == each).all() for each in solutions)
    assert best.status is not fg.Status.INFEASIBLE
    if (puzzle > 0).sum() >= 7:
        exact = fg.marginals(graph, given=given, method="enumerate")
        assert exact.log_partition == pytest.approx(np.log(len(solutions)))
        share = (solutions[..., None] == np.arange(1, 5)).mean(axis=0)
        np.testing.assert_allclose(exact["cell"], share, atol=1e-12)


@pytest.mark.parametrize("where", [(0, 2), (2, 0), (1, 1)], ids=["row", "column", "box"])
def test_two_equal_digits_are_proved_impossible(where):
    puzzle = grid(EASY)
    puzzle[where] = 5
    cell, graph = sudoku(3)
    best = fg.minimize(graph, given={cell[puzzle > 0]: puzzle[puzzle > 0]})
    assert best.status is fg.Status.INFEASIBLE and not best.feasible
    with pytest.raises(fg.InfeasibleError):
        best["cell"]


def test_a_contradiction_that_only_follows_is_proved_too():
    """No two given digits are equal in a unit, but one cell has no digit left."""
    puzzle = np.zeros((9, 9), int)
    puzzle[0, :8] = [1, 2, 3, 4, 5, 6, 7, 8]
    puzzle[4, 8] = 9
    cell, graph = sudoku(3)
    best = fg.minimize(graph, given={cell[puzzle > 0]: puzzle[puzzle > 0]})
    assert best.status is fg.Status.INFEASIBLE
