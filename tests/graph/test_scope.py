"""Scopes: a list pairs elementwise, a bare array is the scope, members are ragged."""

import numpy as np
import pytest
import scipy.sparse

import factorgraph_ebm as fg
from factorgraph_ebm.graph import Scope

Y = fg.output("y", shape=(3, 4), n_states=2)
CELLS = np.arange(12).reshape(3, 4)


def test_a_list_pairs_elementwise_with_broadcasting():
    v, h = fg.output("v", shape=2, n_states=2), fg.output("h", shape=3, n_states=2)
    scope = Scope([v[:, None], h[None, :]])
    assert (scope.shape, scope.size, scope.arity) == ((2, 3), 6, 2)
    columns = scope.columns({"v": 0, "h": 2})
    np.testing.assert_array_equal(columns, [[0, 0, 0, 1, 1, 1], [2, 3, 4, 2, 3, 4]])
    assert [variable.name for variable in scope.variables] == ["v", "h"]


def test_a_list_of_the_elements_of_an_array_is_one_factor():
    y = fg.output("y", shape=4, n_states=2)
    scope = Scope(list(y))
    assert (scope.shape, scope.arity) == ((), 4)
    np.testing.assert_array_equal(scope.columns({"y": 10}), [[10], [11], [12], [13]])


@pytest.mark.parametrize(
    ("axis", "shape", "expected"),
    [
        (None, (), CELLS.reshape(-1, 1)),
        (0, (4,), CELLS),
        (1, (3,), CELLS.T),
        (-1, (3,), CELLS.T),
        ((0, 1), (), CELLS.reshape(-1, 1)),
        ((1, 0), (), CELLS.reshape(-1, 1)),
    ],
)
def test_a_bare_array_is_the_scope_along_axis(axis, shape, expected):
    scope = Scope(Y, axis=axis)
    assert (scope.shape, scope.arity) == (shape, len(expected))
    np.testing.assert_array_equal(scope.columns({"y": 0}), expected)


def test_an_edge_list():
    y = fg.output("y", shape=5, n_states=2)
    edges = np.array([[0, 4], [3, 1]])
    np.testing.assert_array_equal(Scope(y[edges], axis=1).columns({"y": 0}), edges.T)


def test_members_as_a_sparse_matrix_are_the_stored_nonzeros_ascending():
    x = fg.output("x", shape=5, n_states=2)
    matrix = scipy.sparse.csr_matrix(np.array([[0, 1, 0, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 0, 0]]))
    scope = Scope(x, members=matrix)
    start, cells = scope.ragged_cells({"x": 100})
    np.testing.assert_array_equal(start, [0, 2, 2, 5])
    np.testing.assert_array_equal(cells, [101, 104, 100, 101, 102])
    assert scope.members is matrix and scope.ragged and scope.arity.tolist() == [2, 0, 3]


def test_members_as_lists_keep_their_order():
    x = fg.output("x", shape=5, n_states=2)
    _, cells = Scope(x[::-1], members=[[2, 0], [-1]]).ragged_cells({"x": 0})
    assert cells.tolist() == [2, 4, 0]


def test_a_group_of_zero_factors_is_legal():
    y = fg.output("y", shape=1, n_states=3)
    for scope in (Scope([y[:-1], y[1:]]), Scope(y[np.zeros((0, 2), int)], axis=1)):
        assert (scope.shape, scope.size, scope.arity) == ((0,), 0, 2)
        assert scope.columns({"y": 0}).shape == (2, 0)
        assert scope.state_shape() == (3, 3)
    assert fg.Table([y[:-1], y[1:]], energies=np.zeros((3, 3))).table().shape == (0, 3, 3)


def test_keys_tell_scopes_apart():
    x = fg.output("x", shape=4, n_states=2)
    scopes = [
        Scope([x]), Scope(x), Scope([x[1:], x[:-1]]), Scope([x[:-1], x[1:]]), Scope(Y, axis=0), Scope(Y, axis=1),
        Scope(x, members=[[0, 1], [2]]), Scope(x, members=[[0], [1, 2]]),
    ]  # fmt: skip
    assert len({scope.key for scope in scopes}) == len(scopes)
    assert Scope([x[1:], x[:-1]]).key == Scope([x[1:], x[:-1]]).key


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Scope([Y, Y[1:]]), r"\(3, 4\).*\(2, 4\)"),
        (lambda: Scope([Y], axis=1), "axis= goes with a bare array"),
        (lambda: Scope(Y, axis=2), r"axis=2 is out of range: y has shape \(3, 4\)"),
        (lambda: Scope(Y, axis=(0, 0)), "twice"),
        (lambda: Scope(Y, members=[[0]]), r"Write y.ravel\(\)"),
        (lambda: Scope(Y[0], members=[[0, 4]]), r"members\[0\] names variable 4, but y\[...\] has 4"),
        (lambda: Scope(Y[0], members=scipy.sparse.eye(3).tocsr()), "3 columns"),
        (lambda: Scope(Y[0], members=[[0.5]]), "integer positions"),
        (lambda: Scope(Y[0], members=3), "list of index lists"),
        (lambda: Scope("y"), "a variable or a list of variables"),
        (lambda: Scope(["y"]), "a list of variables; found 'y'"),
        (lambda: Scope([fg.observed("u", dim=2)]), "holds real values"),
        (lambda: Scope([Y, fg.output("y", n_states=3)]), "declared differently"),
    ],
)
def test_impossible_scopes_say_what_to_write(make, message):
    with pytest.raises(fg.ScopeError, match=message):
        make()
