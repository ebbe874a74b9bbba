"""Table: rule N1, ragged members, the constructors, and the silent failures (2) and (5)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import factorgraph_ebm as fg

Y = fg.output("y", shape=(3, 4), n_states=2)


def test_numbers_broadcast_to_the_group_and_are_not_expanded():
    for lead in [(), (1,), (4,), (3, 1), (3, 4), (1, 1)]:
        numbers = np.random.default_rng(0).normal(size=(*lead, 2))
        table = fg.Table([Y], energies=numbers)
        assert table.slots[0].source.array.shape == numbers.shape
        np.testing.assert_array_equal(table.table(), np.broadcast_to(numbers, (3, 4, 2)))
        rows = table.slots[0].rows(table.shape)
        np.testing.assert_array_equal(numbers.reshape(-1, 2)[rows], np.broadcast_to(numbers, (3, 4, 2)).reshape(-1, 2))


@pytest.mark.parametrize(
    ("scope", "energies", "message"),
    [
        ([Y], np.zeros((3, 4, 3)), r"shape \(3, 4, 3\), and must end with the state shape \(2,\)"),
        ([Y], np.zeros((4, 4, 2)), r"does not broadcast to the group shape \(3, 4\)"),
        ([Y[0, 0]], np.zeros((1, 2)), "does not broadcast"),
        ([Y[0, 0], fg.output("z", n_states=3)], np.zeros((3, 2)), "transposed"),
        ([Y], np.where(np.arange(24).reshape(3, 4, 2) == 13, np.nan, 0), r"is nan at \[1, 2, 1\].*np.where"),
        ([Y], [0.0, -np.inf], r"is -inf at \[1\]"),
        ([Y], ["a", "b"], "array of numbers"),
        ([Y], fg.Linear(np.full((3, 4, 2), np.nan), fg.Parameter("W", (2, 2))), "features of energies"),
    ],
)
def test_impossible_energies(scope, energies, message):
    with pytest.raises(fg.FactorError, match=message):
        fg.Table(scope, energies=energies)


def test_silent_failure_2_a_bare_array_is_one_factor_and_says_so():
    match = fg.output("match", shape=(64, 64), n_states=2)
    with pytest.raises(fg.ScopeError, match=r"is ONE factor over 4,096 variables. Write \[match\] for one factor per"):
        fg.Table(match, energies=[0.0, 1.0])
    with pytest.raises(fg.ScopeError, match="ONE factor over 4 variables"):
        fg.Table(Y[0], energies=[0.0, 1.0])
    assert fg.Table(Y[0, :2], energies=np.zeros((2, 2))).size == 1
    assert fg.Table([Y[0, :2]], energies=np.zeros(2)).size == 2


def test_silent_failure_5_a_transposed_conditional_table_is_refused():
    rain, wet = fg.output("rain", n_states=2), fg.output("wet", n_states=2)
    cpt = np.array([[0.9, 0.1], [0.2, 0.8]])
    np.testing.assert_allclose(np.exp(-fg.Table.from_probabilities([rain, wet], cpt).table()), cpt)
    with pytest.raises(fg.FactorError, match=r"p\[0\] sums to 1.1, not 1.*transposed\?"):
        fg.Table.from_probabilities([rain, wet], cpt.T)
    with pytest.raises(fg.FactorError, match="from_potentials"):
        fg.Table.from_probabilities([rain, wet], [[0.9, 0.2], [0.3, 0.7]])
    with pytest.raises(fg.FactorError, match="not 1"):
        fg.Table.from_probabilities([rain], [0.5, np.nan])
    # Per-factor tables: the group axis is not the first axis of the table.
    ys = fg.output("y", shape=3, n_states=2)
    assert fg.Table.from_probabilities([ys[:-1], ys[1:]], np.stack([cpt, cpt])).size == 2
    with pytest.raises(fg.FactorError, match="transposed"):
        fg.Table.from_probabilities([ys[:-1], ys[1:]], np.stack([cpt.T, cpt.T]))


def test_potentials_are_not_negative():
    y = fg.output("y", n_states=3)
    assert fg.Table.from_potentials([y], [1.0, 0.0, np.e]).table().tolist() == [0, np.inf, -1]
    for wrong in ([1, -1, 1], [1, np.nan, 1], [1, np.inf, 1]):
        with pytest.raises(fg.FactorError, match=r"at \[1\]: potentials are finite and not negative"):
            fg.Table.from_potentials([y], wrong)


def test_from_function_speaks_labels():
    y = fg.output("y", shape=3, states=["a", "bb"])
    k = fg.output("k", n_states=3)
    table = fg.Table.from_function([y, k], lambda label, n: len(label) * n)
    assert table.table()[2].tolist() == [[0, 1, 2], [0, 2, 4]]
    with pytest.raises(fg.FactorError, match="bytes"):
        fg.Table.from_function([fg.output("v", n_states=2**20), fg.output("w", n_states=2**20)], lambda a, b: 0)
    with pytest.raises(fg.ScopeError, match="ONE factor"):
        fg.Table.from_function(fg.output("v", shape=64, n_states=2), lambda *v: 0)


def test_ragged_members_take_one_array_each():
    y = fg.output("y", shape=3, n_states=[2, 3, 4])
    arrays = [np.random.default_rng(i).normal(size=s) for i, s in enumerate([(2, 3), (4, 3), (2, 3, 4), (3,), ()])]
    table = fg.Table(y, members=[[0, 1], [2, 1], [0, 1, 2], [1], []], energies=arrays)
    for mine, given_array in zip(table.table(), arrays, strict=True):
        np.testing.assert_array_equal(mine, given_array)
    states = np.array([1, 2, 3, 0, 0, 1, 2, 1])
    expected = [arrays[0][1, 2], arrays[1][3, 0], arrays[2][0, 1, 2], arrays[3][1], arrays[4][()]]
    np.testing.assert_array_equal(table.energies({}, states), expected)


@pytest.mark.parametrize(
    ("energies", "message"),
    [
        (np.zeros((2, 3)), "one array per factor"),
        ([np.zeros((2, 3))], "holds 1 arrays for 2 factors"),
        ([np.zeros((2, 3)), np.zeros((3, 3))], r"energies\[1\] has shape \(3, 3\).*\(3, 4\) of y\[1\], y\[2\]"),
        ([np.zeros((2, 3)), np.full((3, 4), np.nan)], r"energies\[1\] of Table is nan at \[0, 0\]"),
    ],
)
def test_impossible_ragged_energies(energies, message):
    y = fg.output("y", shape=3, n_states=[2, 3, 4])
    with pytest.raises(fg.FactorError, match=message):
        fg.Table(y, members=[[0, 1], [1, 2]], energies=energies)


@given(st.integers(0, 2**31), st.integers(1, 3))
def test_energies_are_entries_of_the_table(seed, arity):
    rng = np.random.default_rng(seed)
    variables = [fg.output(f"v{i}", shape=4, n_states=int(rng.integers(1, 4))) for i in range(arity)]
    shape = tuple(v.n_states for v in variables)
    numbers = np.where(rng.random((4, *shape)) < 0.2, np.inf, rng.normal(size=(4, *shape)))
    table = fg.Table(variables, energies=numbers)
    states = np.array([rng.integers(0, k, size=4) for k in shape])
    np.testing.assert_array_equal(table.energies({}, states), numbers[(np.arange(4), *states)])


def test_dense_numbers_over_cells_of_different_cardinality_are_padded():
    x = fg.output("x", shape=3, n_states=[2, 3, 4])
    assert fg.Table([x], energies=np.zeros((3, 4))).state_shape == (4,)
    assert fg.Table([x[:2]], energies=np.zeros((2, 3))).state_shape == (3,)
    assert fg.Table([x[2], x[0]], energies=np.zeros((4, 2))).state_shape == (4, 2)
    assert fg.Table(x, energies=np.zeros((2, 3, 4))).state_shape == (2, 3, 4)


def test_sparse_rows_are_the_group_ravelled():
    import scipy.sparse

    matrix = scipy.sparse.csr_matrix(np.arange(24.0).reshape(12, 2))
    table = fg.Table([Y], energies=fg.Linear(matrix, np.eye(2)))
    assert table.slots[0].source.shape == (3, 4, 2)
    np.testing.assert_array_equal(table.table(), np.arange(24.0).reshape(3, 4, 2))


def test_an_observed_variable_stands_where_numbers_stand():
    u = fg.observed("u", shape=(3, 4), dim=2)
    table = fg.Table([Y], energies=u)
    value = np.random.default_rng(0).normal(size=(3, 4, 2))
    np.testing.assert_array_equal(table.table({"u": value}), value)
    with pytest.raises(fg.FactorError, match='value of variable "u"'):
        table.table()
