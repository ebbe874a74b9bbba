"""Contractions of rows against sums over the list of pairs, in all three directions."""

from __future__ import annotations

import numpy as np
import pytest

from factorgraph_ebm.engine.sparse_contraction import (
    TO_NODE,
    TO_X,
    TO_Y,
    free_rows,
    least_rows,
    sum_rows,
    tied_rows,
)

BLOCKS = np.array([0, 2, 0, 3, 3, 4, 4, 5, 5, 8, 5, 7], np.uint32)
"rows 2 and 4 of x, and rows 3 of y, have no partner"
PAIRS = [(i, j) for a, b, c, d in BLOCKS.reshape(-1, 4).tolist() for i in range(a, b) for j in range(c, d)]
SIZES = 8, 7, 5
"rows of x, y and the node"


def drawn(seed: int, *, integral: bool):
    """Row of the node of each pair; numbers of x, y and the node, two of each, some of them +inf."""
    rng = np.random.default_rng(seed)
    to = rng.integers(0, SIZES[2], len(PAIRS)).astype(np.uint32)
    values = [rng.integers(0, 3, n).astype(float) if integral else rng.normal(size=n) for n in SIZES]
    for value in values:
        value[rng.random(len(value)) < 0.2] = np.inf
    return to, values, [rng.random(n) for n in SIZES]


@pytest.mark.parametrize("role", [TO_NODE, TO_X, TO_Y])
@pytest.mark.parametrize("seed", range(5))
def test_all_directions(role, seed):
    to, energy, ties = drawn(seed, integral=True)
    rows = np.array([(i, j, k) for (i, j), k in zip(PAIRS, to.tolist())])
    out, one, two = [(2, 0, 1), (0, 1, 2), (1, 0, 2)][role]
    target, a, b = rows[:, out], rows[:, one], rows[:, two]
    n = SIZES[out]

    def contract(kernel, values, counts):
        found, mass, count = np.empty(n), np.empty(n), np.empty(n)
        kernel(found, values[one], values[two], BLOCKS, to, role, mass, count, counts[one], counts[two])
        return found, count

    weight = [np.exp(-e) for e in energy]
    expected = np.bincount(target, weight[one][a] * weight[two][b], n)
    np.testing.assert_allclose(contract(sum_rows, weight, ties)[0], expected, rtol=1e-14)
    total = energy[one][a] + energy[two][b]
    least = np.full(n, np.inf)
    np.minimum.at(least, target, total)
    np.testing.assert_array_equal(contract(least_rows, energy, ties)[0], least)
    with np.errstate(divide="ignore"):
        free = -np.log(np.bincount(target, np.exp(-total), n))
    np.testing.assert_allclose(contract(free_rows, energy, ties)[0], free, rtol=1e-12, atol=1e-12)
    found, count = contract(tied_rows, energy, ties)
    np.testing.assert_array_equal(found, least)
    tied = np.isfinite(total) & (total == least[target])
    ways = np.bincount(target[tied], np.exp(-ties[one][a] - ties[two][b])[tied], n)
    finite = np.isfinite(least)
    np.testing.assert_allclose(count[finite], -np.log(ways[finite]), rtol=1e-12, atol=1e-12)
