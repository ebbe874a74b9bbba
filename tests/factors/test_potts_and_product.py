"""Potts and Product: their tables, and what they refuse."""

import numpy as np
import pytest
import scipy.sparse

import factorgraph_ebm as fg


def test_potts_is_a_penalty_where_states_differ():
    y = fg.output("y", shape=3, n_states=3)
    table = fg.Potts([y[1:], y[:-1]], penalty=[1.0, np.inf])
    np.testing.assert_array_equal(table.table()[0], 1 - np.eye(3))
    np.testing.assert_array_equal(table.table()[1], np.where(np.eye(3), 0, np.inf))
    np.testing.assert_array_equal(table.energies({}, np.array([[0, 1], [0, 2]])), [0, np.inf])


def test_edge_lists_and_members_say_the_same():
    y = fg.output("y", shape=4, n_states=2)
    edges = np.array([[0, 1], [2, 3], [1, 3]])
    matrix = scipy.sparse.csr_matrix(([1] * 6, (np.repeat(range(3), 2), edges.ravel())), (3, 4))
    one, two, three = (
        fg.Potts(y[edges], 2.0, axis=1),
        fg.Potts(y, 2.0, members=edges.tolist()),
        fg.Potts(y, 2.0, members=matrix),
    )
    states = np.array([0, 1, 1, 0])
    expected = 2.0 * (states[edges[:, 0]] != states[edges[:, 1]])
    np.testing.assert_array_equal(one.energies({}, states[edges].T), expected)
    for ragged in (two, three):
        np.testing.assert_array_equal(ragged.energies({}, states[edges].ravel()), expected)
        np.testing.assert_array_equal(ragged.table()[0], [[0, 2], [2, 0]])


def test_potts_compares_two_variables_of_one_domain():
    y, z = fg.output("y", shape=3, n_states=2), fg.output("z", shape=3, n_states=3)
    named = fg.output("n", shape=3, states=["a", "b"])
    mixed = fg.output("m", shape=4, n_states=[2, 3, 2, 3])
    for scope in ([y, z], [y, named]):
        with pytest.raises(fg.VariableError, match="one domain"):
            fg.Potts(scope, 1.0)
    with pytest.raises(fg.VariableError, match=r"m\[0\], m\[1\] have 2, 3 states"):
        fg.Potts([mixed[:-1], mixed[1:]], 1.0)
    assert fg.Potts([mixed[:-2], mixed[2:]], 1.0).size == 2
    with pytest.raises(fg.VariableError, match="one domain"):
        fg.Potts(mixed, 1.0, members=[[0, 2], [0, 1]])
    for scope, message in [([y], "3 factors over 1 variable each"), (y, "ONE factor over 3 variables")]:
        with pytest.raises(fg.ScopeError, match=message):
            fg.Potts(scope, 1.0)
    with pytest.raises(fg.ScopeError, match=r"members\[1\] has 3"):
        fg.Potts(y, 1.0, members=[[0, 1], [0, 1, 2]])
    with pytest.raises(fg.FactorError, match=r"penalty of Potts is nan at \[1\]"):
        fg.Potts([y[1:], y[:-1]], [0.0, np.nan])


def test_product_reads_numeric_states():
    spin, bit = fg.output("s", shape=2, states=[-1, +1]), fg.output("b", shape=2, n_states=3)
    table = fg.Product([spin, bit], weight=[1.0, 2.0]).table()
    np.testing.assert_array_equal(table[1], 2 * np.outer([-1, 1], [0, 1, 2]))
    one = fg.Product(bit, weight=0.5)
    np.testing.assert_array_equal(one.table(), 0.5 * np.outer(range(3), range(3)))
    np.testing.assert_array_equal(one.energies({}, np.array([[2], [2]])), [2.0])


def test_product_of_zero_forgets_an_infinite_weight():
    bits = fg.output("b", shape=2, n_states=2)
    table = fg.Product(bits, weight=np.inf).table()
    np.testing.assert_array_equal(table, [[0, 0], [0, np.inf]])


def test_ragged_products():
    bits = fg.output("b", shape=3, states=[1.0, 2.0, 3.0])
    ragged = fg.Product(bits, weight=[1.0, 10.0, 5.0], members=[[0, 1], [2], []])
    np.testing.assert_array_equal(ragged.energies({}, np.array([1, 2, 0])), [6, 10, 5])
    assert [t.shape for t in ragged.table()] == [(3, 3), (3,), ()]


def test_large_products_never_make_their_table():
    bits = fg.output("b", shape=30, n_states=2)
    assert fg.Product(bits, 2.0).energies({}, np.ones((30, 1), int)).tolist() == [2.0]


def test_what_product_refuses():
    with pytest.raises(fg.VariableError, match="not numbers"):
        fg.Product([fg.output("y", states=["a", "b"])], 1.0)
    with pytest.raises(fg.FactorError, match="an energy would be -inf"):
        fg.Product([fg.output("y", states=[-1, 1])], np.inf)
    with pytest.raises(fg.ScopeError, match="at least one variable"):
        fg.Product([], 1.0)


def test_names_of_factors():
    y = fg.output("y", n_states=2)
    assert fg.Product([y], 1.0, name="field").name == "field"
    with pytest.raises(fg.FactorError, match="non-empty string"):
        fg.Product([y], 1.0, name="")
