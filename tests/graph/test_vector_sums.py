"""What stands in for the instructions without the JIT; compiled they are tested where they are used."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from factorgraph_ebm.graph.vector_sums import LANES, summing, summing_nonzeros


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("vectors", [1, 3])
def test_plain_sums_are_products(vectors, rows):
    rng = np.random.default_rng(vectors)
    columns, n = LANES * vectors, 5
    x, w, out = rng.normal(size=2 * n * 3), rng.normal(size=(n, columns + 2)), rng.normal(size=2 * columns)
    expected = out.reshape(2, columns).copy()
    expected[:rows] += np.stack([x[r :: 2 * 3][:n] for r in range(2)])[:rows] @ w[:, 1 : 1 + columns]
    plain = summing(str(vectors), str(rows)).function
    plain(out, 0, columns, x, 0, 1, 2 * 3, w.ravel(), 1, columns + 2, n)
    assert_allclose(out, expected.ravel(), rtol=1e-12)


def test_plain_sums_of_nonzeros_are_products():
    rng = np.random.default_rng(0)
    value, place, right = rng.normal(size=6), np.array([3, 0, 9, 4, 2, 7], np.uint32), rng.normal(size=20)
    out = np.ones(2 + 2 * LANES)
    summing_nonzeros("2").function(value, place, right, 1, out, 2, 1, 5, 6)
    expected = 1.0 + sum(value[i] * right[place[i] + 1 :][: 2 * LANES] for i in range(1, 5))
    assert_allclose(out, np.concatenate([[1.0, 1.0], expected]), rtol=1e-12)
