"""From energies to weights: what leaves of a tree of contractions hold where sums run in weights.

    weight = exp(least - energy),    0 where forbidden, NaN where it is not and yet too small or too large
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import F8, INTEGER, NOTHING, READ_F8, READ_U8, inlined, kernel
from factorgraph_ebm.factors.elementary import exp_minus

FAINTEST = 346.0
"nats: exp of more is beyond 2^500 or below 2^-500, and a product of two such weights is no number any more"


@inlined
def weight_of(energy):  # type: ignore[no-untyped-def]
    """exp(-energy), NaN where that is not forbidden and yet too small or too large."""
    w = exp_minus(max(min(energy, FAINTEST), -FAINTEST))
    return 0.0 if energy == np.inf else (w if abs(energy) < FAINTEST else np.nan)


@kernel(NOTHING, READ_F8, F8, INTEGER)
def weigh_from(energy, weight, first):  # type: ignore[no-untyped-def]
    """Weights of energies, from weight[first] on."""
    for i in range(len(energy)):
        weight[first + i] = weight_of(energy[i])


@kernel(NOTHING, READ_F8, READ_U8, F8, F8)
def weigh_rows(energy, start, weight, least):  # type: ignore[no-untyped-def]
    """The same for the rows of all variables, from weight[1] on, each less its least, which is written."""
    for v in range(len(least)):
        low = np.inf
        for i in range(start[v], start[v + 1]):
            low = min(low, energy[i])
        least[v] = low if low < np.inf else 0.0
        for i in range(start[v], start[v + 1]):
            weight[i + 1] = weight_of(energy[i] - least[v])
