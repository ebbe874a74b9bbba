"""Expected indicators of a table that many pairs share, from rows of weights at hand, before they are gone.

With a, b the rows that the two variables of factor f send to it, and W = exp(-T),

    sum over f of share_f p_f(i, j) = W(i, j) * sum over f of (share_f / z_f) a_f(i) b_f(j),
    z_f = sum over i, j of a_f(i) W(i, j) b_f(j)

so each factor adds a product of two rows, and whoever asked multiplies W in once. No product with W is needed for z
either: of the message m that went down to the first variable, normalised, what it was divided by is a sum over b:

    m(i) = sum_j W(i, j) b(j) / d,   d = sum_j c(j) b(j),  c(j) = sum_i W(i, j),     z = d * sum_i a(i) m(i)
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import AT_F8, AT_I8, AT_U4, NOTHING, SIZE, inlined, kernel
from factorgraph_ebm.factors.register_sums import sum_one, sum_two
from factorgraph_ebm.factors.table_statistics import BLOCK

U8 = np.uint64


def room_for(k0: int, k1: int) -> int:
    """Elements of working space that `add_pair_products` needs for tables of k0 by k1 states."""
    return k0 * k1 + max(k0, k1) + BLOCK * (k0 + k1)


@inlined
def _dot(x, first, y, second, k):  # type: ignore[no-untyped-def]
    """In four chains, as `engine.messages.total_of`."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    whole = k & ~U8(3)
    for i in range(U8(0), whole, U8(4)):
        a += x[first + i] * y[second + i]
        b += x[first + i + U8(1)] * y[second + i + U8(1)]
        c += x[first + i + U8(2)] * y[second + i + U8(2)]
        d += x[first + i + U8(3)] * y[second + i + U8(3)]
    for i in range(whole, k):
        a += x[first + i] * y[second + i]
    return (a + b) + (c + d)


@kernel(NOTHING, AT_I8, AT_F8, AT_F8, AT_F8, AT_F8, AT_U4, AT_U4, AT_F8, AT_F8, AT_F8, SIZE, SIZE)
def add_pair_products(  # type: ignore[no-untyped-def]
    run, weight, constants, to_variable, to_factor, scope, variable_sample, share, sums, scratch, low, high
):  # fmt: skip
    """Add the products of factors low to high to `sums`, (k0 * k1,) in C order; `share` is by sample.

    The messages to the last variable went up, those to the other one down. A factor of which everything is forbidden
    adds nothing.
    """
    k0, s0, m0 = U8(run[8]), U8(run[9]), U8(run[10])
    k1, s1, m1 = U8(run[12]), U8(run[13]), U8(run[14])
    t, last = U8(run[4]), run[6]
    columns = k0 * k1
    first = columns + max(k0, k1)
    second = first + U8(BLOCK) * k0
    for e in range(first):
        scratch[e] = 0.0
    for i in range(k0):
        for j in range(k1):
            scratch[columns + (j if last == 1 else i)] += weight[t + i * s0 + j * s1]
    start = U8(low)
    while start < high:
        n = U8(high - start if high - start < U8(BLOCK) else BLOCK)
        for f in range(n):
            a, b = m0 + (start + f) * k0, m1 + (start + f) * k1
            x, y = first + f * k0, second + f * k1
            w = share[variable_sample[scope[U8(run[2]) + start + f]]]
            z = 0.0
            if w != 0.0 and last == 1:
                z = _dot(scratch, columns, to_factor, b, k1) * _dot(to_factor, a, to_variable, a, k0)
            elif w != 0.0:
                z = _dot(scratch, columns, to_factor, a, k0) * _dot(to_factor, b, to_variable, b, k1)
            if z > 0.0:
                scale = w / z
                for i in range(k0):
                    scratch[x + i] = scale * to_factor[a + i]
                for j in range(k1):
                    scratch[y + j] = to_factor[b + j]
            else:
                for i in range(k0):
                    scratch[x + i] = 0.0
                for j in range(k1):
                    scratch[y + j] = 0.0
        paired = k0 & ~U8(1)
        for i in range(U8(0), paired, U8(2)):
            x, y = first + i, first + i + U8(1)
            sum_two(scratch, i * k1, i * k1 + k1, scratch, x, y, k0, scratch, second, k1, n, k1)
        for i in range(paired, k0):
            sum_one(scratch, i * k1, scratch, first + i, k0, scratch, second, k1, n, k1)
        start += n
    for e in range(columns):
        sums[e] += scratch[e]
