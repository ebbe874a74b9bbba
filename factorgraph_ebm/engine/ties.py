"""Which energies count as equal: sums in another order differ by rounding.

    energy is tied with the least  <=>  energy - least <= TIE * max(1, |least|)
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import inlined
from factorgraph_ebm.arrays import F64

TIE = 1e-9
"nats, relative to the least energy where that exceeds 1"


@inlined
def is_tied(energy, least):  # type: ignore[no-untyped-def]
    return energy - least <= TIE * max(1.0, abs(least))


def margins(least: F64) -> F64:
    """How far above each least energy others are tied with it; TIE where it is infinite.

    Examples
    --------
    >>> margins(np.array([0.0, -256.0, np.inf])).tolist()
    [1e-09, 2.56e-07, 1e-09]
    """
    found: F64 = TIE * np.maximum(1.0, np.where(np.isfinite(least), np.abs(least), 0.0))
    return found
