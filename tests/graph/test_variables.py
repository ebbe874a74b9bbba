"""Variables: numpy's indexing, equality by value, domains, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import factorgraph_ebm as fg


@given(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4).flatmap(
    lambda shape: st.tuples(st.just(shape), hnp.basic_indices(shape, allow_newaxis=True))
))  # fmt: skip
def test_a_view_has_the_cells_that_numpy_would_pick(drawn):
    shape, index = drawn
    y = fg.output("y", shape=shape, n_states=2)
    expected = np.arange(y.size).reshape(shape)[index]
    view = y[index]
    assert view.shape == np.shape(expected)
    np.testing.assert_array_equal(view.cells, expected)
    # The same cells reached through copies are an equal view with an equal hash.
    copied = y.ravel()[np.asarray(expected, dtype=int)]
    assert view == copied and hash(view) == hash(copied)


def test_masks_integer_arrays_and_reshaping():
    y = fg.output("y", shape=(3, 4), n_states=2)
    cells = np.arange(12).reshape(3, 4)
    mask = cells % 3 == 0
    np.testing.assert_array_equal(y[mask].cells, cells[mask])
    np.testing.assert_array_equal(y[[2, 0], [1, 1]].cells, [9, 1])
    np.testing.assert_array_equal(y.T.cells, cells.T)
    np.testing.assert_array_equal(y.reshape(2, -1).cells, cells.reshape(2, -1))
    np.testing.assert_array_equal(y.transpose(1, 0)[::-1].ravel().cells, cells.T[::-1].ravel())
    assert [row.shape for row in y] == [(4,)] * 3 and len(y) == 3
    assert y[1, 2].shape == () and str(y[1, 2]) == "y[1, 2]"


def test_slicing_copies_no_cell():
    y = fg.output("y", shape=(1000, 1000), n_states=2)
    assert np.shares_memory(y[1:].cells, y.cells)
    assert not y.cells.flags.writeable


def test_views_made_in_the_same_way_have_the_same_key_and_others_do_not():
    y, twin = (fg.output("y", shape=(3, 4), n_states=2) for _ in range(2))
    assert y[1:].key == twin[1:].key == y[-2:].key
    assert y[1:2].key == y[1][None].key, "the stride of an axis of length one means nothing"
    assert len({y.key, y[1:].key, y[:2].key, y.T.key, y[[1, 2]].key, y[[2, 1]].key}) == 6
    assert y[:].key == y.key and y[:] == y


def test_equality_is_by_value_of_the_whole_declaration():
    y = fg.output("y", shape=2, n_states=2)
    assert y == fg.output("y", shape=2, n_states=2)
    assert y == fg.output("y", shape=2, n_states=[2, 2])
    assert y != fg.latent("y", shape=2, n_states=2)
    assert y != fg.output("y", shape=2, n_states=[2, 3])
    assert fg.output("y", states=[0, 1]) != fg.output("y", states=[False, True])
    assert {y[0]: 1}[fg.output("y", shape=2, n_states=2)[0]] == 1


def test_a_growing_shared_array_leaves_old_views_alone():
    small = fg.output("small", shape=10, n_states=2)
    view = small[3:]
    fg.output("large", shape=5_000_000, n_states=2)
    assert view == small[3:] == fg.output("small", shape=10, n_states=2)[3:]
    assert view.key == fg.output("small", shape=10, n_states=2)[3:].key


def test_cells_of_different_cardinality():
    x = fg.output("x", shape=(3,), n_states=[2, 3, 4])
    assert x[1].n_states == 3 and x[:2].n_states.tolist() == [2, 3]
    assert x.max_states == 4 and x[:2].max_states == 3


def test_real_variables_have_a_dim_and_no_states():
    u = fg.observed("u", shape=(2, 3), dim=4)
    assert (u.dim, u.n_states, u.states) == ((4,), None, None)
    assert fg.observed("s", dim=()).dim == ()


def test_labels_come_back_as_they_were_named():
    assert fg.output("y", states=range(1, 10)).states == tuple(range(1, 10))
    assert fg.output("y", states=np.array([-1, 1])).states == (-1, 1)
    assert fg.output("y", states=np.array(["a", "b"])).n_states == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, 'variable "y" needs exactly one of n_states=, states= or dim='),
        ({"n_states": 2, "dim": 1}, "exactly one"),
        ({"n_states": 0}, "n_states >= 1"),
        ({"n_states": True}, "n_states >= 1"),
        ({"n_states": 2.0}, "int or an int array"),
        ({"n_states": [2, 3]}, r"n_states has shape \(2,\), the variable has shape \(\)"),
        ({"states": []}, "at least one state"),
        ({"states": ["a", "b", "a"]}, "found 'a' twice"),
        ({"states": [0, False]}, "twice"),
        ({"states": [0.0, float("nan")]}, "str, int, float or bool"),
        ({"states": "ab"}, r"states=\['a', 'b'\]"),
        ({"states": [[1], [2]]}, "y"),
        ({"dim": -1}, "dim must be"),
        ({"n_states": 2, "shape": -1}, "shape must be"),
        ({"n_states": 2, "shape": 1.5}, "shape must be"),
    ],
)
def test_impossible_declarations_say_what_is_wrong(options, message):
    with pytest.raises(fg.VariableError, match=message):
        fg.output("y", **options)


def test_a_name_is_a_string():
    with pytest.raises(fg.VariableError, match="non-empty string"):
        fg.output("", n_states=2)


def test_arithmetic_with_an_array_is_refused():
    with pytest.raises(TypeError):
        np.ones(2) * fg.output("y", shape=2, n_states=2)
