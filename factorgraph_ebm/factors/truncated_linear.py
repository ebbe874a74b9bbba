"""TruncatedLinear: a weight times the distance of two states, up to a limit.

    E(a, b) = weight * min(|a - b|, limit)

The minimum is a distance transform, one pass up and one pass down the states: Felzenszwalb and Huttenlocher, "Efficient
belief propagation for early vision", Int. J. Computer Vision 70(1), 2006.
"""

import numpy as np

from factorgraph_ebm._jit import inlined, kernel
from factorgraph_ebm.factors.distance_kernels import (
    FEWEST,
    add_farther,
    finish_sums,
    lanes_of,
    sum_rows,
    truncated,
    turn,
    turn_back,
)
from factorgraph_ebm.factors.elementary import exp_minus
from factorgraph_ebm.factors.message_kernels import SIGNATURE, MessageKernels, is_target
from factorgraph_ebm.factors.packs import added, lessers, load, store
from factorgraph_ebm.factors.table_kernels import table_mixed
from factorgraph_ebm.factors.truncated import Truncated
from factorgraph_ebm.graph.parametrisation import Floats


class TruncatedLinear(Truncated):
    """A weight times the distance of two states, up to a limit: E = weight * min(|a - b|, limit).

    States are counted 0 .. n - 1, whatever their labels. Messages take O(states).

    Parameters
    ----------
    scope : a list of two variables, an array with `axis` of length two, or an array with `members`
    weight : numbers broadcastable to the group shape, in nats, at least 0; +inf: states must be equal
    limit : constant, broadcastable to the group shape, at least 0; +inf: not truncated
    axis, members, name : as in `Table`

    Raises
    ------
    ScopeError : not two variables a factor, or members that do not broadcast.
    VariableError : the two have different states.
    FactorError : a weight or limit of another shape, negative or NaN (also when parameters get their values), or a
        limit that is not constant.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> d = fg.output("d", shape=(288, 384), n_states=4)
    >>> down = TruncatedLinear([d[1:], d[:-1]], weight=20.0, limit=2.0)
    >>> down.size, down.table()[0, 0].tolist()
    (110208, [[0.0, 20.0, 40.0, 40.0], [20.0, 0.0, 20.0, 40.0], [40.0, 20.0, 0.0, 20.0], [40.0, 40.0, 20.0, 0.0]])
    """

    __slots__ = ()

    kind = "TruncatedLinear"

    @staticmethod
    def distance(steps: Floats) -> Floats:
        """The distance of states that are `steps` apart."""
        return steps

    @staticmethod
    def message_kernels(states: tuple[int, ...]) -> MessageKernels:
        return MessageKernels(truncated_linear_min, truncated_linear_sum, table_mixed)


U8 = np.uint64


@kernel(*SIGNATURE)
def truncated_linear_min(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    """m(b) = min(min x + weight limit, min over a of x(a) + weight |a - b|): O(states), a pass up and a pass down."""
    k = U8(run[8])
    n = high - low
    limit = constants[U8(run[5])]
    truncates = constants[U8(run[5]) + U8(1)] < np.float64(k) - 1.0
    for slot in range(2):
        if not is_target(slot, target):
            continue
        o = U8(slot) * n * k
        m = U8(run[8 + 4 * (1 - slot) + 2]) + low * k
        turned = n & ~U8(7) if k >= U8(3) else U8(0)
        for f in range(U8(0), turned, U8(8)):
            turn(to_factor, m + f * k, k, scratch, U8(0), U8(8))
            for i in range(U8(8)):
                w = store[U8(run[4])] if run[4] >= 0 else store[number[low + f + i]]
                scratch[U8(8) * k + i] = w
                scratch[U8(8) * k + U8(8) + i] = truncated(w, k, False, limit) if truncates else np.inf
            _turned_min(scratch, k)
            turn_back(scratch, U8(0), k, out, o + f * k, U8(8))
        for f in range(turned, n):
            w = store[U8(run[4])] if run[4] >= 0 else store[number[low + f]]
            _row_min(to_factor, m + f * k, w, limit, truncates, k, out, o + f * k)


@inlined
def _row_min(x, m, w, limit, truncates, k, out, o):  # type: ignore[no-untyped-def]
    best, least = np.inf, np.inf
    for s in range(k):
        value = x[m + s]
        least = value if value < least else least
        best = value if value < best + w else best + w
        out[o + s] = best
    cap = least + truncated(w, k, False, limit) if truncates else np.inf
    best = np.inf
    for j in range(k):
        s = k - U8(1) - j
        value = out[o + s]
        best = value if value < best + w else best + w
        best = best if best < cap else cap
        out[o + s] = best


@inlined
def _turned_min(turned, k):  # type: ignore[no-untyped-def]
    """The two passes over eight rows that are turned; behind them lie their weights, and what the cap adds.

    Eight, since each step waits for the one before: while four rows wait, four others are at work.
    """
    at = U8(8) * k
    w, v = load(turned, at), load(turned, at + U8(4))
    x, y = load(turned, U8(0)), load(turned, U8(4))
    low, other = x, y
    for s in range(U8(8), at, U8(8)):
        p, q = load(turned, s), load(turned, s + U8(4))
        low, other = lessers(p, low), lessers(q, other)
        x, y = lessers(p, added(x, w)), lessers(q, added(y, v))
        store(turned, s, x)
        store(turned, s + U8(4), y)
    low, other = added(low, load(turned, at + U8(8))), added(other, load(turned, at + U8(12)))
    x, y = lessers(x, low), lessers(y, other)
    store(turned, at - U8(8), x)
    store(turned, at - U8(4), y)
    for j in range(U8(16), at + U8(8), U8(8)):
        s = at - j
        p, q = load(turned, s), load(turned, s + U8(4))
        x, y = lessers(lessers(p, added(x, w)), low), lessers(lessers(q, added(y, v)), other)
        store(turned, s, x)
        store(turned, s + U8(4), y)


@kernel(*SIGNATURE)
def truncated_linear_sum(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    """exp(-m(b)) = sum over |a - b| <= limit of p(a) g^|a - b| + exp(-weight limit) * p farther away, g = exp(-weight).

    O(states): geometric sums are recursions, and none of them takes anything off a sum.
    """
    k = U8(run[8])
    n = high - low
    limit = constants[U8(run[5])]
    reach = U8(constants[U8(run[5]) + U8(1)])
    for slot in range(2):
        if not is_target(slot, target):
            continue
        o = U8(slot) * n * k
        m = U8(run[8 + 4 * (1 - slot) + 2]) + low * k
        # Windows need room for the powers of g; a band almost as wide as the states leaves none.
        if n < U8(FEWEST) or k < U8(4) or (reach + U8(4) > k and reach + U8(1) < k):
            sum_rows(False, run, number, store, constants, to_factor, m, out, o, scratch, low, n)
        else:
            f = U8(0)
            while f < n:
                lanes = lanes_of(k, n - f)
                # Sums gather in scratch[: k * lanes]; where the answer will be is room for the turned exp(-x).
                p = o + f * k
                w = k * lanes
                farther = w + lanes
                total = farther + lanes
                turn(to_factor, m + f * k, k, out, p, lanes)
                for i in range(w):
                    out[p + i] = exp_minus(out[p + i])
                    scratch[i] = out[p + i]
                for i in range(lanes):
                    scratch[w + i] = store[U8(run[4])] if run[4] >= 0 else store[number[low + f + i]]
                for i in range(lanes):
                    scratch[farther + i] = exp_minus(truncated(scratch[w + i], k, False, limit))
                    scratch[w + i] = exp_minus(scratch[w + i])
                if reach + U8(1) < k:
                    add_farther(out, p, k, reach, scratch, farther, total, lanes)
                if reach > U8(0):
                    _add_windows(out, p, k, reach, scratch, w, total, lanes)
                turn_back(scratch, U8(0), k, out, p, lanes)
                f += lanes
        finish_sums(False, run, number, store, constants, to_factor, m, out, o, low, n)


@inlined
def _add_windows(p, at, k, reach, turned, g, total, lanes):  # type: ignore[no-untyped-def]
    """turned(b) += sum over 1 <= j <= reach of g^j (p(b - j) + p(b + j)).

    States are cut into blocks of `reach`. A window of that length is the end of one block and the beginning of the
    next, and each of the two is a recursion from the cut outwards (van Herk, Pattern Recognition Letters 13, 1992).
    """
    one = U8(1)
    power = total + lanes
    block = k
    if reach + one < k:
        block = reach
        for i in range(lanes):
            turned[power + i] = 1.0
        for j in range(one, reach + one):
            for i in range(lanes):
                turned[power + j * lanes + i] = turned[power + (j - one) * lanes + i] * turned[g + i]
    for way in range(2):
        s = U8(0)
        while s < k:
            stop = s + block if s + block < k else k
            for i in range(lanes):
                turned[total + i] = 0.0
            for b in range(s, stop):
                y = (b if way == 0 else k - one - b) * lanes
                for i in range(lanes):
                    near = turned[g + i] * turned[total + i]
                    turned[y + i] += near
                    turned[total + i] = p[at + y + i] + near
            if stop < k:
                for i in range(lanes):
                    turned[total + i] = 0.0
                for j in range(block):
                    a = stop - one - j
                    b = a + block
                    x = at + (a if way == 0 else k - one - a) * lanes
                    q = power + j * lanes
                    for i in range(lanes):
                        turned[total + i] += turned[q + i] * p[x + i]
                    if b < k:
                        y = (b if way == 0 else k - one - b) * lanes
                        q = power + (block - j) * lanes
                        for i in range(lanes):
                            turned[y + i] += turned[q + i] * turned[total + i]
            s = stop
