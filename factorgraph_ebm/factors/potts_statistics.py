"""The probability that a Potts penalty is paid, in O(states).

    p = w D / (S + w D),    w = exp(-penalty),    S = sum over s of a(s) b(s),    D = sum over s != t of a(s) b(t)

with a, b = exp(-to_factor) of the two slots. D is summed from the front, since taking S off the product of the sums
would lose small probabilities.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import inlined, kernel
from factorgraph_ebm.factors.elementary import exp_minus
from factorgraph_ebm.factors.message_kernels import SMALLEST
from factorgraph_ebm.factors.statistics_kernels import SIGNATURE

U8 = np.uint64


@kernel(*SIGNATURE)
def potts_statistics(run, number, store, constants, to_factor, share, out, scratch, low, high):  # type: ignore[no-untyped-def]
    k = U8(run[8])
    for f in range(low, high):
        if share[f] == 0.0:
            continue
        t = U8(run[4]) if run[4] >= 0 else number[f]
        x = U8(run[10]) + f * k
        y = U8(run[14]) + f * k
        same, differ, before_a, before_b = 0.0, 0.0, 0.0, 0.0
        for s in range(k):
            a, b = exp_minus(to_factor[x + s]), exp_minus(to_factor[y + s])
            same += a * b
            differ += a * before_b + b * before_a
            before_a += a
            before_b += b
        penalty = store[t]
        if penalty >= 0.0:
            differ *= exp_minus(penalty)
        else:
            same *= exp_minus(-penalty)
        if same + differ > SMALLEST:
            out[t] += share[f] * (differ / (same + differ))
        else:
            out[t] += share[f] * _shifted(penalty, to_factor, x, y, k)


@inlined
def _shifted(penalty, to_factor, x, y, k):  # type: ignore[no-untyped-def]
    """The same from energies above the least, 0 where all are forbidden."""
    least = np.inf
    for i in range(k):
        for j in range(k):
            value = to_factor[x + i] + to_factor[y + j] + (0.0 if i == j else penalty)
            least = value if value < least else least
    if least == np.inf:
        return 0.0
    total, differ = 0.0, 0.0
    for i in range(k):
        for j in range(k):
            p = np.exp(least - (to_factor[x + i] + to_factor[y + j] + (0.0 if i == j else penalty)))
            total += p
            differ += 0.0 if i == j else p
    return differ / total
