"""Products of sparse rows equal dense products, for every width, and do not depend on ranges."""

import numpy as np
import pytest
import scipy.sparse

from factorgraph_ebm.graph.sparse_rows import sparse_rows


def drawn(rng, width, rows=40, columns=30):
    matrix = scipy.sparse.random_array((rows, columns), density=0.3, format="csr", rng=rng)
    return matrix, rng.normal(size=(columns, width))


@pytest.mark.parametrize("width", [*range(1, 25), 31, 32, 33, 52, 67])
def test_product(rng, width):
    """Every number of vectors and of columns that are left over."""
    matrix, right = drawn(rng, width)
    rows = sparse_rows(matrix, np.arange(40) * width, np.arange(30) * width, width)
    out = np.ones(40 * width)
    rows.add(right.ravel(), out)
    np.testing.assert_allclose(out.reshape(40, width), 1.0 + matrix @ right, rtol=0, atol=1e-13)


def test_transposed_product(rng):
    matrix, _ = drawn(rng, 20)
    slopes = rng.normal(size=(40, 20))
    columns = sparse_rows(matrix.T, np.arange(30) * 20, np.arange(40) * 20, 20)
    out = np.zeros(30 * 20)
    columns.add(slopes.ravel(), out)
    np.testing.assert_allclose(out.reshape(30, 20), matrix.T @ slopes, rtol=0, atol=1e-13)


def test_places(rng):
    """Rows go anywhere, and columns are read anywhere."""
    matrix, right = drawn(rng, 6)
    to, of = rng.permutation(50)[:40] * 6, rng.permutation(33)[:30] * 6
    source = np.full(33 * 6, np.nan)
    for c, place in enumerate(of):
        source[place : place + 6] = right[c]
    out = np.zeros(50 * 6)
    sparse_rows(matrix, to, of, 6).add(source, out)
    expected = np.zeros((50, 6))
    expected[to // 6] = matrix @ right
    np.testing.assert_allclose(out.reshape(50, 6), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("work", [1, 7, 50, 10**6])
def test_shares(rng, work):
    """Ranges make up all rows, and give the same bits as all rows at once."""
    matrix, right = drawn(rng, 13)
    rows = sparse_rows(matrix, np.arange(40) * 13, np.arange(30) * 13, 13)
    whole, parts = np.zeros(40 * 13), np.zeros(40 * 13)
    rows.add(right.ravel(), whole)
    for low, high in rows.shares(work):
        rows.add(right.ravel(), parts, low, high)
    assert np.array_equal(whole, parts)


def test_empty_rows():
    """Rows without nonzeros, also at the end, and no rows at all."""
    rows = sparse_rows(scipy.sparse.csr_array((3, 2)), np.arange(3) * 4, np.arange(2) * 4, 4)
    out = np.zeros(12)
    rows.add(np.ones(8), out)
    assert not out.any() and rows.shares(10) == [(0, 3)]
    assert sparse_rows(scipy.sparse.csr_array((0, 2)), [], np.arange(2) * 4, 4).shares(10) == []
