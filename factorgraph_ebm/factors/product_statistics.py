"""The expected product of two numeric states, without a table.

    d F / d weight = sum over a, b of p(a, b) * a * b,    p(a, b) in proportion to exp(-(weight a b + x(a) + y(b)))
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import inlined, kernel
from factorgraph_ebm.factors.statistics_kernels import SIGNATURE

U8 = np.uint64


@kernel(*SIGNATURE)
def product_statistics(run, number, store, constants, to_factor, share, out, scratch, low, high):  # type: ignore[no-untyped-def]
    k0, k1 = U8(run[8]), U8(run[12])
    first = U8(run[5])
    second = first + k0
    for f in range(low, high):
        if share[f] == 0.0:
            continue
        t = U8(run[4]) if run[4] >= 0 else number[f]
        x = U8(run[10]) + f * k0
        y = U8(run[14]) + f * k1
        least = np.inf
        for i in range(k0):
            for j in range(k1):
                value = _energy(store[t], constants[first + i] * constants[second + j])
                value += to_factor[x + i] + to_factor[y + j]
                least = value if value < least else least
        if least == np.inf:
            continue
        total, mean = 0.0, 0.0
        for i in range(k0):
            for j in range(k1):
                product = constants[first + i] * constants[second + j]
                p = np.exp(least - (_energy(store[t], product) + to_factor[x + i] + to_factor[y + j]))
                total += p
                mean += p * product
        out[t] += share[f] * (mean / total)


@inlined
def _energy(weight, product):  # type: ignore[no-untyped-def]
    return 0.0 if product == 0.0 else weight * product
