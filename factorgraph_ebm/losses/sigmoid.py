"""The sigmoid 1 / (1 + exp(-d)), without overflow.

Not scipy's: importing `scipy.special` takes a quarter of a second, as long as importing everything else.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm.arrays import F64


def sigmoid(d: F64) -> F64:
    """Return 1 / (1 + exp(-d)) element by element, to full relative precision; d may be infinite.

    Examples
    --------
    >>> sigmoid(np.array([-np.inf, -1000.0, 0.0, np.inf]))
    array([0. , 0. , 0.5, 1. ])
    """
    small = np.exp(-np.abs(d))
    return np.where(d < 0.0, small, 1.0) / (1.0 + small)
