"""Costs: how they are written, read and refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_array_equal

from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.losses.costs import check_cost, check_cost_names, cost_row

MATRIX = [[0, 1, 2], [3, 0, 4], [5, 6, 0]]


def test_hamming_is_one_for_each_wrong_state():
    assert_array_equal(cost_row("hamming", "y", 3, np.array([0, -1, 2])), [[0, 1, 1], [0, 0, 0], [1, 1, 0]])


def test_hamming_is_the_matrix_of_ones_off_the_diagonal():
    right = np.array([2, 0, -1, 1, 1])
    ones = check_cost(1 - np.eye(3))
    assert_array_equal(cost_row("hamming", "y", 3, right), cost_row(ones, "y", 3, right))


def test_a_matrix_is_read_by_right_and_said():
    cost = check_cost(MATRIX)
    assert_array_equal(cost_row(cost, "y", 3, np.array([1, 2, -1])), [[3, 0, 4], [5, 6, 0], [0, 0, 0]])


def test_a_mapping_has_a_cost_for_each_name_and_none_for_the_others():
    cost = check_cost({"y": MATRIX, "z": "hamming"})
    assert_array_equal(cost_row(cost, "y", 3, np.array([0])), [[0, 1, 2]])
    assert_array_equal(cost_row(cost, "z", 2, np.array([0])), [[0, 1]])
    assert_array_equal(cost_row(cost, "x", 2, np.array([0])), [[0, 0]])


@given(st.integers(1, 5).flatmap(lambda k: arrays(np.float64, (k, k), elements=st.floats(0, 1e6))), st.data())
def test_what_is_right_and_what_is_unlabelled_cost_nothing(matrix, data):
    np.fill_diagonal(matrix, 0.0)
    k = len(matrix)
    right = np.array(data.draw(st.lists(st.integers(-1, k - 1), max_size=6)), np.int64)
    row = cost_row(check_cost(matrix), "y", k, right)
    assert row.shape == (len(right), k) and row.dtype == np.float64
    assert not row[right < 0].any()
    labelled = np.flatnonzero(right >= 0)
    assert not row[labelled, right[labelled]].any()
    assert_array_equal(row[labelled], matrix[right[labelled]])


def test_a_checked_matrix_is_a_read_only_copy():
    given_matrix = np.array(MATRIX, float)
    cost = check_cost(given_matrix)
    given_matrix[0, 1] = 99.0
    assert cost[0, 1] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        cost[0, 1] = 2.0


@pytest.mark.parametrize(
    "cost, message",
    [
        ("hammin", 'cost="hammin" is not a cost. Did you mean "hamming"?'),
        (1.0, r"cost has shape \(\): it must be a square matrix"),
        ([0, 1], r"cost has shape \(2,\)"),
        ([[0, 1, 1], [1, 0, 1]], r"cost has shape \(2, 3\)"),
        (np.zeros((0, 0)), r"cost has shape \(0, 0\)"),
        ([[0, 1], [1]], "not rows of different lengths"),
        (None, "not NoneType"),
        (lambda y: y, "not function"),
        ([[0, -1], [1, 0]], r"cost\[0, 1\] is -1.0: costs must be finite and >= 0"),
        ([[0, 1], [np.inf, 0]], r"cost\[1, 0\] is inf"),
        ([[0, np.nan], [1, 0]], r"cost\[0, 1\] is nan"),
        ([[0, 1], [1, 2]], r"cost\[1, 1\] is 2.0: what is right costs nothing"),
        (np.zeros((2, 2, 2, 2)), "costs are over single variables"),
        ({("y", "z"): np.zeros((2, 2))}, "costs are over single variables"),
        ({}, "cost names no variable"),
        ({0: MATRIX}, r"cost\[0\]: the keys of a cost are names of variables"),
        ({"y": [[0, 1], [1, 2]]}, r'cost\["y"\]\[1, 1\] is 2.0'),
        ({"y": {"z": MATRIX}}, r'cost\["y"\] must be a matrix'),
    ],
)
def test_what_is_no_cost_is_refused(cost, message):
    with pytest.raises(MethodError, match=message):
        check_cost(cost)


def test_a_matrix_for_another_number_of_states_is_refused():
    with pytest.raises(MethodError, match='the cost matrix is 3 x 3, but variable "y" has 4 states'):
        cost_row(check_cost(MATRIX), "y", 4, np.array([0]))


def test_a_name_that_nothing_has_is_refused():
    cost = check_cost({"tags": MATRIX})
    check_cost_names(cost, ["tags", "y"])
    check_cost_names("hamming", [])
    check_cost_names(None, [])
    with pytest.raises(MethodError, match='cost."tags".: no variable of that name has labels. Did you mean "tag"?'):
        check_cost_names(cost, ["tag"])
