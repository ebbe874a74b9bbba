"""exp(-x) and -log(x) that LLVM can vectorise, for the inside of kernels.

Numba from PyPI calls the scalar functions of the C library, which stop vectorisation: 8 ns an element. These are
straight-line arithmetic on 64-bit words and cost 1 ns in a loop over contiguous elements, to the last bit or two.

    exp(-x):  -x = k log 2 + r, |r| <= log(2)/2;  exp(r) by its Taylor polynomial of degree 13, times 2^k
    log(x):   x = 2^k m, sqrt(1/2) <= m < sqrt(2);  log(m) = 2 atanh(s), s = (m - 1)/(m + 1), a polynomial in s^2

k is taken from the low bits of a number moved to 1.5 * 2^52, since a conversion from double to integer has no vector
instruction before AVX-512. The coefficients of log are those of fdlibm's e_log.c (Sun Microsystems, 1993).
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import inlined

LARGEST = 708.0
"exp(-x) is taken as 0 beyond this: below the smallest normal number 2.2e-308."
_MAGIC = 1.5 * 2.0**52
_LOG2E = 1.4426950408889634
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10


@inlined
def exp_minus(x: float) -> float:
    """exp(-x) for x >= -700, +inf included (0); relative error below 3e-16."""
    bounded = x if x < LARGEST else LARGEST
    shifted = _MAGIC - bounded * _LOG2E
    k = shifted - _MAGIC
    r = -bounded - k * _LN2_HIGH - k * _LN2_LOW
    p = 1.6059043836821613e-10
    p = p * r + 2.08767569878681e-09
    p = p * r + 2.505210838544172e-08
    p = p * r + 2.755731922398589e-07
    p = p * r + 2.7557319223985893e-06
    p = p * r + 2.48015873015873e-05
    p = p * r + 1.984126984126984e-04
    p = p * r + 1.388888888888889e-03
    p = p * r + 8.333333333333333e-03
    p = p * r + 4.1666666666666664e-02
    p = p * r + 1.6666666666666666e-01
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    # The low bits of `shifted` are k; moved to the exponent field they multiply by 2^k.
    scale = np.int64((np.float64(shifted).view(np.int64) + np.int64(1023)) << np.int64(52)).view(np.float64)
    return p * scale if x < LARGEST else 0.0


@inlined
def minus_log(x: float) -> float:
    """-log(x) for normal positive x; relative error below 3e-16. Zero and subnormal numbers are not served."""
    bits = np.float64(x).view(np.int64)
    # Adding 2^52 - bits of sqrt(1/2) makes the exponent step at sqrt(2) instead of at 2.
    moved = bits + np.int64(0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
    exponent = (moved >> np.int64(52)) & np.int64(0x7FF)
    m = np.int64((moved & np.int64(0x000FFFFFFFFFFFFF)) + np.int64(0x3FE6A09E667F3BCD)).view(np.float64)
    k = np.int64(exponent + np.int64(0x4338000000000000)).view(np.float64) - _MAGIC - 1023.0
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    odd = 2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)
    even = 2.222219843214978396e-01 + w * 1.531383769920937332e-01
    r = z * (6.666666666666735130e-01 + w * odd) + w * (3.999999999940941908e-01 + w * even)
    half = 0.5 * f * f
    return -(k * _LN2_HIGH - ((half - (s * (half + r) + k * _LN2_LOW)) - f))
