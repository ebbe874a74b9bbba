"""Small codes for tests: a regular parity-check matrix, and words that satisfy it."""

from __future__ import annotations

import numpy as np


def regular_code(n, rng, column_degree=3, row_degree=6):
    """Draw a parity-check matrix as R. G. Gallager does (1962): bands of rows, each with every column once."""
    band = np.arange(n) // row_degree
    rows = [band + b * (n // row_degree) for b in range(column_degree)]
    columns = [rng.permutation(n) for _ in range(column_degree)]
    matrix = np.zeros((n * column_degree // row_degree, n), dtype=np.int64)
    matrix[np.concatenate(rows), np.concatenate(columns)] = 1
    return matrix


def reduced(matrix):
    """Return the row echelon form over GF(2), without empty rows, and the column of each row's first one."""
    rows, pivots = matrix.astype(bool), []
    for column in range(rows.shape[1]):
        rank = len(pivots)
        below = np.flatnonzero(rows[rank:, column])
        if not below.size:
            continue
        rows[[rank, rank + below[0]]] = rows[[rank + below[0], rank]]
        others = rows[:, column].copy()
        others[rank] = False
        rows[others] ^= rows[rank]
        pivots.append(column)
    return rows[: len(pivots)].astype(np.int64), np.array(pivots, dtype=np.int64)


def draw_words(matrix, count, rng):
    """Draw words of the code, (count, n): free bits at random, the others as the checks demand."""
    rows, pivots = reduced(matrix)
    words = rng.integers(0, 2, size=(count, matrix.shape[1]))
    words[:, pivots] = 0
    words[:, pivots] = words @ rows.T % 2
    return words
