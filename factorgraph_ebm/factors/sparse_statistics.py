"""Expected indicators of a list of configurations: each row is walked, whatever the number of states.

    p(r) in proportion to exp(-(E_r + sum over slots of to_factor(x_rs)))
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import inlined, kernel
from factorgraph_ebm.factors.statistics_kernels import SIGNATURE

U8 = np.uint64


@kernel(*SIGNATURE)
def sparse_statistics(run, number, store, constants, to_factor, share, out, scratch, low, high):  # type: ignore[no-untyped-def]
    c = U8(run[5])
    rows = U8(constants[c + U8(1)])
    for f in range(low, high):
        if share[f] == 0.0:
            continue
        t = U8(run[4]) if run[4] >= 0 else number[f]
        least = np.inf
        for r in range(rows):
            energy = _energy(run, store, t, constants, to_factor, f, r, rows)
            least = energy if energy < least else least
        if least == np.inf:
            continue
        total = 0.0
        for r in range(rows):
            total += np.exp(least - _energy(run, store, t, constants, to_factor, f, r, rows))
        for r in range(rows):
            p = np.exp(least - _energy(run, store, t, constants, to_factor, f, r, rows)) / total
            out[t + U8(constants[c + U8(2) + U8(r)])] += share[f] * p


@inlined
def _energy(run, store, t, constants, to_factor, f, r, rows):  # type: ignore[no-untyped-def]
    """Energy of row r of a factor with what its variables send."""
    c = U8(run[5])
    energy = store[t + U8(constants[c + U8(2) + U8(r)])]
    row = c + U8(2) + rows + U8(r) * U8(run[1])
    for s in range(run[1]):
        energy += to_factor[U8(run[8 + 4 * s + 2]) + f * U8(run[8 + 4 * s]) + U8(constants[row + U8(s)])]
    return energy
