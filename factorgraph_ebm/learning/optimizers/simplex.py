"""Concave quadratics over the simplex, by exact steps between two coordinates.

    max over alpha >= 0, sum alpha = 1 of b . alpha - (1/2) alpha' K alpha

The coordinate with the highest slope takes from the one with the lowest that has something, as much as raises the
value most (Platt, "Fast training of support vector machines using sequential minimal optimization", 1998). Any alpha
on the way is feasible, so its value bounds whatever this is the dual of.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import F8, READ_F8, REAL, SIZE, kernel
from factorgraph_ebm.arrays import F64

MOST_STEPS = 1_000_000


def maximise(gram: F64, linear: F64, begin: F64, tolerance: float) -> F64:
    """The alpha at which no pair of coordinates promises more than `tolerance`, from `begin` on.

    Parameters
    ----------
    gram : (m, m), symmetric and positive semidefinite
    linear : (m,)
    begin : (m,) a point of the simplex

    Examples
    --------
    >>> maximise(np.eye(2), np.array([1.0, 0.5]), np.array([0.0, 1.0]), 1e-12)
    array([0.75, 0.25])
    """
    alpha = begin.copy()
    slope = linear - np.einsum("ij,j->i", gram, alpha)
    _pairwise(np.ascontiguousarray(gram).reshape(-1), alpha, slope, tolerance, MOST_STEPS)
    total: F64 = alpha / alpha.sum()
    return total


@kernel(SIZE, READ_F8, F8, F8, REAL, SIZE)
def _pairwise(gram, alpha, slope, tolerance, most):  # type: ignore[no-untyped-def]
    """Write alpha and the slopes there; returns the number of steps."""
    m = len(alpha)
    for step in range(most):
        up, down = 0, -1
        for i in range(m):
            if slope[i] > slope[up]:
                up = i
            if alpha[i] > 0.0 and (down < 0 or slope[i] < slope[down]):
                down = i
        promise = slope[up] - slope[down]
        if promise <= tolerance:
            return step
        curvature = gram[up * m + up] + gram[down * m + down] - 2.0 * gram[up * m + down]
        part = alpha[down]
        if part * curvature > promise:
            part = promise / curvature
            alpha[down] -= part
        else:
            alpha[down] = 0.0
        alpha[up] += part
        for i in range(m):
            slope[i] -= part * (gram[i * m + up] - gram[i * m + down])
    return most
