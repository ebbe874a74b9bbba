"""Messages of parity checks in the faster forms (`engine.messages`), a slot after another, vectorised over factors.

With even and odd over the slots before, and the same over those behind:

    weights, odds   m(0) = even even' + odd odd',  m(1) = even odd' + odd even': sums of positive terms
    differences     sign and magnitude by themselves: the product of all other signs, the least other magnitude

The last is the min rule; it is exact at any magnitude, and a certain bit is one of magnitude +inf.
"""

import numpy as np

from factorgraph_ebm._jit import inlined, kernel
from factorgraph_ebm.factors.message_kernels import FORBIDS, SIGNATURE, is_target
from factorgraph_ebm.factors.parity_few import FEWEST, MOST, few_odds

U8 = np.uint64
I8 = np.int64
FAR = 2.0**-400


@kernel(*SIGNATURE)
def parity_odds(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    n = high - low
    one, two = U8(1), U8(2)
    arity = U8(run[1])
    if arity >= FEWEST and arity <= MOST:
        few_odds(run, number, weight, to_factor, out, scratch, low, n)
        return
    before = two * n
    for f in range(n):
        scratch[before + f] = 1.0
        scratch[before + n + f] = 0.0
    for i in range(arity - one):
        s = U8(i)
        m = U8(run[U8(10) + U8(4) * s]) + low
        a = before + two * s * n
        b = a + n
        c, d = b + n, b + two * n
        for f in range(n):
            r = to_factor[m + f]
            even, odd = scratch[a + f], scratch[b + f]
            scratch[c + f] = even + odd * r
            scratch[d + f] = odd + even * r
    for f in range(n):
        t = U8(run[4]) if run[4] >= 0 else number[low + f]
        scratch[f] = weight[t]
        scratch[n + f] = weight[t + one]
    for j in range(arity):
        s = arity - one - U8(j)
        m = U8(run[U8(10) + U8(4) * s]) + low
        a = before + two * s * n
        b = a + n
        if is_target(I8(s), target):
            o = s * n
            below = o + arity * n
            for f in range(n):
                even, odd = scratch[f], scratch[n + f]
                p, q = scratch[a + f], scratch[b + f]
                out[o + f] = p * odd + q * even
                out[below + f] = p * even + q * odd
        for f in range(n):
            r = to_factor[m + f]
            even, odd = scratch[f], scratch[n + f]
            scratch[f] = even + odd * r
            scratch[n + f] = odd + even * r


@inlined
def _less_certain(a, b):  # type: ignore[no-untyped-def]
    """The magnitude of the less certain, with the product of the signs."""
    x, y = np.float64(a).view(np.int64), np.float64(b).view(np.int64)
    sign = (x ^ y) & I8(-0x8000000000000000)
    x &= I8(0x7FFFFFFFFFFFFFFF)
    y &= I8(0x7FFFFFFFFFFFFFFF)
    return np.int64((x if x < y else y) | sign).view(np.float64)


@kernel(*SIGNATURE)
def parity_differences(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    n = high - low
    one = U8(1)
    arity = U8(run[1])
    for f in range(n):
        scratch[n + f] = np.inf
    for i in range(arity - one):
        s = U8(i)
        m = U8(run[U8(10) + U8(4) * s]) + low
        a = (s + one) * n
        b = a + n
        for f in range(n):
            scratch[b + f] = _less_certain(scratch[a + f], to_factor[m + f])
    for f in range(n):
        t = U8(run[4]) if run[4] >= 0 else number[low + f]
        scratch[f] = store[t + one] - store[t]
    for j in range(arity):
        s = arity - one - U8(j)
        m = U8(run[U8(10) + U8(4) * s]) + low
        a = (s + one) * n
        if is_target(I8(s), target):
            o = s * n
            for f in range(n):
                out[o + f] = _less_certain(scratch[f], scratch[a + f])
        for f in range(n):
            scratch[f] = _less_certain(scratch[f], to_factor[m + f])


@kernel(*SIGNATURE)
def parity_weights(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    n = high - low
    one, two = U8(1), U8(2)
    arity = U8(run[1])
    for f in range(n):
        even, odd = 1.0, 0.0
        for i in range(arity):
            s = U8(i)
            o = two * n * s + two * f
            out[o], out[o + one] = even, odd
            m = U8(run[U8(10) + U8(4) * s]) + two * (low + f)
            off, on = to_factor[m], to_factor[m + one]
            even, odd = _kept(even * off + odd * on, odd * off + even * on)
        t = U8(run[4]) if run[4] >= 0 else number[low + f]
        even, odd = weight[t], weight[t + one]
        for j in range(arity):
            s = arity - one - U8(j)
            o = two * n * s + two * f
            p, q = out[o], out[o + one]
            out[o] = p * even + q * odd
            out[o + one] = p * odd + q * even
            m = U8(run[U8(10) + U8(4) * s]) + two * (low + f)
            off, on = to_factor[m], to_factor[m + one]
            even, odd = _kept(even * off + odd * on, odd * off + even * on)


@inlined
def _kept(even, odd):  # type: ignore[no-untyped-def]
    """Both as they are, or NaN where products of many weights come near to an end of the number range."""
    total = even + odd
    if total == 0.0 or (total > FAR and total < 1.0 / FAR):
        return even, odd
    return np.nan, np.nan


@kernel(*FORBIDS)
def parity_forbids(run, number, store, scope, state, group, allowed, low, high):  # type: ignore[no-untyped-def]
    n = U8(run[0])
    for f in range(low, high):
        first = U8(run[2]) + f
        if allowed[group[scope[first]]] == 0:
            continue
        on = state[scope[first]]
        for s in range(U8(1), U8(run[1])):
            on ^= state[scope[first + s * n]]
        t = U8(run[4]) if run[4] >= 0 else number[f]
        if store[t + U8(on & 1)] == np.inf:
            allowed[group[scope[first]]] = 0
