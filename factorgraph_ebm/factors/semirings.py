"""Minimum and soft minimum of energies: what a message does with alternatives, for kernels that serve both.

    hard:  min(a, b)        soft:  -log(exp(-a) + exp(-b))

Both are associative and commutative, +inf is neutral, and addition distributes over both, so one dynamic programme
serves min-sum and sum-product (Aji and McEliece, IEEE Trans. Inf. Theory 46(2), 2000). Neither ever subtracts what it
once added, so nothing cancels.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import inlined


@inlined
def join(a, b, soft):  # type: ignore[no-untyped-def]
    """The two alternatives as one energy."""
    low = a if a < b else b
    high = b if a < b else a
    if not soft or high == np.inf:
        return low
    return low - np.log1p(np.exp(low - high))
