"""The distribution of the number of variables that are on: the slope of a Cardinality's free energy.

    p(k) in proportion to exp(-energies[k]) q(k),    q = the coefficients of the product over i of (off_i + on_i t)

with off_i and on_i = exp(-to_factor), as shares of their sum. One variable after another is multiplied in: O(n^2), of
sums of positive terms. Where what is left of the energies' own weights leaves the range of the probability domain, the
factor is counted again in energies.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import inlined, kernel
from factorgraph_ebm.factors.cardinality_kernels import NONE, RARE
from factorgraph_ebm.factors.elementary import exp_minus
from factorgraph_ebm.factors.statistics_kernels import SIGNATURE

U8 = np.uint64


@kernel(*SIGNATURE)
def cardinality_statistics(run, number, store, constants, to_factor, share, out, scratch, low, high):  # type: ignore[no-untyped-def]
    n = U8(run[1])
    for f in range(low, high):
        if share[f] == 0.0:
            continue
        t = U8(run[4]) if run[4] >= 0 else number[f]
        least = np.inf
        for k in range(n + U8(1)):
            least = store[t + k] if store[t + k] < least else least
        if least == np.inf:
            continue
        q = _count(run, to_factor, f, scratch)
        total = 0.0
        for k in range(n + U8(1)):
            scratch[q + k] *= exp_minus(store[t + k] - least)
            total += scratch[q + k]
        if not total > RARE:
            q, total = _count_in_energies(run, store, t, to_factor, f, scratch)
        if total > 0.0:
            scale = share[f] / total
            for k in range(n + U8(1)):
                out[t + k] += scale * scratch[q + k]


@inlined
def _count(run, to_factor, f, scratch):  # type: ignore[no-untyped-def]
    """q in one half of scratch; where that half begins. Each variable reads one half and writes the other."""
    one = U8(1)
    now, after = U8(0), U8(run[1]) + one
    scratch[0] = 1.0
    for slot in range(run[1]):
        size = U8(slot)
        m = U8(run[8 + 4 * slot + 2]) + U8(2) * f
        off, on = exp_minus(to_factor[m]), exp_minus(to_factor[m + one])
        mass = off + on
        if mass > 0.0:
            off, on = off / mass, on / mass
        scratch[after] = scratch[now] * off
        scratch[after + size + one] = scratch[now + size] * on
        for k in range(size):
            value = scratch[now + k + one] * off + scratch[now + k] * on
            scratch[after + k + one] = value if value > NONE else 0.0
        now, after = after, now
    return now


@inlined
def _count_in_energies(run, store, t, to_factor, f, scratch):  # type: ignore[no-untyped-def]
    """Weights in proportion to p in one half of scratch; where it begins, and their sum (0: all is forbidden)."""
    one = U8(1)
    now, after = U8(0), U8(run[1]) + one
    scratch[0] = 0.0
    for slot in range(run[1]):
        size = U8(slot)
        m = U8(run[8 + 4 * slot + 2]) + U8(2) * f
        off, on = to_factor[m], to_factor[m + one]
        scratch[after] = scratch[now] + off
        scratch[after + size + one] = scratch[now + size] + on
        for k in range(size):
            u, v = scratch[now + k + one] + off, scratch[now + k] + on
            value = u if u < v else v
            if value < np.inf:
                value -= np.log1p(np.exp(-abs(u - v)))
            scratch[after + k + one] = value
        now, after = after, now
    least = np.inf
    for k in range(U8(run[1]) + one):
        scratch[now + k] += store[t + k]
        least = scratch[now + k] if scratch[now + k] < least else least
    total = 0.0
    if least < np.inf:
        for k in range(U8(run[1]) + one):
            scratch[now + k] = exp_minus(scratch[now + k] - least)
            total += scratch[now + k]
    return now, total
