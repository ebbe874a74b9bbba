"""The distribution of a count over a thousand variables, in extended precision, one variable after another."""

from __future__ import annotations

import numpy as np
import pytest

from factorgraph_ebm.factors.cardinality_statistics import cardinality_statistics

KINDS = ["near", "forbidden", "apart", "contradicted"]


def expected(energies, off, on):
    """p(k) by the product of polynomials, in logarithms."""
    q = np.zeros(1, np.longdouble)
    for a, b in zip(off, on):
        q = -np.logaddexp(-np.append(q, np.inf) - a, -np.append(np.inf, q) - b)
    total = energies + q
    low = total.min()
    if np.isinf(low):
        return np.zeros(len(total))
    weight = np.exp(low - total)
    return (weight / weight.sum()).astype(float)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 7, 100, 1000])
def test_counts(n, kind, rng):
    m = 3
    rows = rng.uniform(0.0, {"apart": 800.0}.get(kind, 3.0), (n, m, 2))
    energies = rng.normal(scale=2.0, size=(m, n + 1))
    if kind == "contradicted":  # all had rather be on, and the factor wants none: e^-40 each
        rows[:] = [40.0, 0.0]
        energies += 30.0 * np.arange(n + 1)
    if kind == "forbidden":
        rows[rng.random((n, m, 2)) < 0.2] = np.inf
        rows[0, 0] = np.inf
        energies[rng.random(energies.shape) < 0.3] = np.inf
    low = rows.min(axis=2, keepdims=True)
    rows -= np.where(np.isinf(low), 0.0, low)
    header = [m, n, 0, 0, -1, 0, 0, 1]
    run = np.array(header + sum(([2, 0, 2 * m * i, 0] for i in range(n)), []), np.int64)
    number = (n + 1) * rng.permutation(m)
    store = np.empty(m * (n + 1))
    store[number[:, None] + np.arange(n + 1)] = energies
    share = np.array([0.7, 0.0, -1.3])
    out = np.zeros_like(store)
    cardinality_statistics(
        run, number.astype(np.uint64), store, np.zeros(0), rows.ravel(), share, out, np.full(2 * n + 2, np.nan), 0, m
    )
    for f in range(m):
        mine = out[number[f] : number[f] + n + 1]
        np.testing.assert_allclose(
            mine, share[f] * expected(energies[f], rows[:, f, 0], rows[:, f, 1]), rtol=1e-9, atol=1e-12
        )
        assert not mine[np.isinf(energies[f])].any()
