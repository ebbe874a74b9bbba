"""TruncatedQuadratic: a weight times the squared distance of two states, up to a limit.

    E(a, b) = weight * min((a - b)^2, limit)

The minimum is the lower envelope of parabolas: Felzenszwalb and Huttenlocher, "Distance transforms of sampled
functions", Theory of Computing 8, 2012.
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
from factorgraph_ebm.factors.table_kernels import table_mixed
from factorgraph_ebm.factors.truncated import Truncated
from factorgraph_ebm.graph.parametrisation import Floats


class TruncatedQuadratic(Truncated):
    """A weight times the squared distance of two states, up to a limit: E = weight * min((a - b)^2, limit).

    States are counted 0 .. n - 1, whatever their labels. Messages take O(states), where they are sums times the square
    root of the limit.

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
    >>> down = TruncatedQuadratic([d[1:], d[:-1]], weight=20.0, limit=4.0)
    >>> down.size, down.table()[0, 0].tolist()
    (110208, [[0.0, 20.0, 80.0, 80.0], [20.0, 0.0, 20.0, 80.0], [80.0, 20.0, 0.0, 20.0], [80.0, 80.0, 20.0, 0.0]])
    """

    __slots__ = ()

    kind = "TruncatedQuadratic"

    @staticmethod
    def distance(steps: Floats) -> Floats:
        """The distance of states that are `steps` apart."""
        return steps * steps

    @staticmethod
    def message_kernels(states: tuple[int, ...]) -> MessageKernels:
        return MessageKernels(truncated_quadratic_min, truncated_quadratic_sum, table_mixed)


U8 = np.uint64

WIDEST = 16
"distances up to which comparing each of them, 4 factors an instruction, is faster than the envelope"


@kernel(*SIGNATURE)
def truncated_quadratic_min(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    """m(b) = min(min x + weight limit, min over a of x(a) + weight (a - b)^2)."""
    k = U8(run[8])
    n = high - low
    limit = constants[U8(run[5])]
    reach = U8(constants[U8(run[5]) + U8(1)])
    for slot in range(2):
        if not is_target(slot, target):
            continue
        o = U8(slot) * n * k
        m = U8(run[8 + 4 * (1 - slot) + 2]) + low * k
        f = U8(0)
        while f < n:
            lanes = lanes_of(k, n - f)
            if reach > U8(WIDEST) or lanes < U8(FEWEST) or k < U8(3):
                for i in range(f, f + lanes):
                    w = store[U8(run[4])] if run[4] >= 0 else store[number[low + i]]
                    _envelope(to_factor, m + i * k, w, limit, reach, k, scratch, out, o + i * k)
            else:
                _turned_min(
                    run, number, store, limit, reach, to_factor, m + f * k, low + f, k, lanes, out, o + f * k, scratch
                )  # fmt: skip
                turn_back(scratch, U8(0), k, out, o + f * k, lanes)
            f += lanes


@inlined
def _envelope(x, m, w, limit, reach, k, scratch, out, o):  # type: ignore[no-untyped-def]
    """The lower envelope of the parabolas x(a) + w (b - a)^2, O(states), then the truncation."""
    least = np.inf
    for s in range(k):
        value = x[m + s]
        least = value if value < least else least
    cap = least + truncated(w, k, True, limit) if reach + U8(1) < k else np.inf
    if not (0.0 < w < np.inf):
        # All parabolas are flat, or each is a point.
        for s in range(k):
            value = least if w == 0.0 else x[m + s]
            out[o + s] = value if value < cap else cap
        return
    # Parabola j of the envelope stands at scratch[j] and is the lowest from scratch[k + j] on.
    top = -1
    for q in range(k):
        height = x[m + q]
        if height == np.inf:
            continue
        begin = -np.inf
        while top >= 0:
            p = scratch[U8(top)]
            d = np.float64(q) - p
            # (height_q + w q^2 - height_p - w p^2) / (2 w (q - p)), without the cancellation of the squares
            begin = 0.5 * ((height - x[m + U8(p)]) / (w * d) + (np.float64(q) + p))
            if begin > scratch[k + U8(top)]:
                break
            top -= 1
        if top < 0:
            begin = -np.inf
        top += 1
        scratch[U8(top)] = np.float64(q)
        scratch[k + U8(top)] = begin
    j = 0
    for s in range(k):
        b = np.float64(s)
        value = np.inf
        if top >= 0:
            while j < top and scratch[k + U8(j) + U8(1)] < b:
                j += 1
            p = scratch[U8(j)]
            value = x[m + U8(p)] + w * ((b - p) * (b - p))
        out[o + s] = value if value < cap else cap


@inlined
def _turned_min(run, number, store, limit, reach, x, m, first, k, lanes, p, at, turned):  # type: ignore[no-untyped-def]
    """Distance by distance. Where the answer will be, at p[at:], is room for the turned messages till then."""
    one = U8(1)
    w = k * lanes
    c = w + lanes
    turn(x, m, k, p, at, lanes)
    for i in range(lanes):
        turned[w + i] = store[U8(run[4])] if run[4] >= 0 else store[number[first + i]]
        turned[c + i] = np.inf
    if reach + one < k:
        for s in range(k):
            y = at + s * lanes
            for i in range(lanes):
                turned[c + i] = p[y + i] if p[y + i] < turned[c + i] else turned[c + i]
        for i in range(lanes):
            turned[c + i] = turned[c + i] + truncated(turned[w + i], k, True, limit)
    for s in range(k):
        y = s * lanes
        for i in range(lanes):
            value = p[at + y + i]
            turned[y + i] = value if value < turned[c + i] else turned[c + i]
    for d in range(one, reach + one):
        for i in range(lanes):
            turned[c + i] = truncated(turned[w + i], d, True, limit)
        for s in range(k - d):
            lower = s * lanes
            upper = (s + d) * lanes
            for i in range(lanes):
                step = turned[c + i]
                value = p[at + upper + i] + step
                other = p[at + lower + i] + step
                turned[lower + i] = value if value < turned[lower + i] else turned[lower + i]
                turned[upper + i] = other if other < turned[upper + i] else turned[upper + i]


@kernel(*SIGNATURE)
def truncated_quadratic_sum(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    """exp(-m(b)) = sum of p(a) exp(-weight (a - b)^2) within the limit + exp(-weight limit) * p farther away.

    O(states * sqrt(limit)): what is farther away are two running sums.
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
        if n < U8(FEWEST) or k < U8(4):
            sum_rows(True, run, number, store, constants, to_factor, m, out, o, scratch, low, n)
        else:
            f = U8(0)
            while f < n:
                lanes = lanes_of(k, n - f)
                # Sums gather in scratch[: k * lanes]; where the answer will be is room for the turned exp(-x).
                p = o + f * k
                w = k * lanes
                factor = w + lanes
                turn(to_factor, m + f * k, k, out, p, lanes)
                for i in range(w):
                    out[p + i] = exp_minus(out[p + i])
                    scratch[i] = out[p + i]
                for i in range(lanes):
                    scratch[w + i] = store[U8(run[4])] if run[4] >= 0 else store[number[low + f + i]]
                # One more than the reach is truncated, and stands for all that is farther.
                for d in range(U8(1), reach + U8(2) if reach + U8(1) < k else k):
                    for i in range(lanes):
                        scratch[factor + i] = exp_minus(truncated(scratch[w + i], d, True, limit))
                    if d > reach:
                        add_farther(out, p, k, reach, scratch, factor, factor + lanes, lanes)
                        break
                    for s in range(k - d):
                        lower = s * lanes
                        upper = (s + d) * lanes
                        for i in range(lanes):
                            scratch[lower + i] += scratch[factor + i] * out[p + upper + i]
                            scratch[upper + i] += scratch[factor + i] * out[p + lower + i]
                turn_back(scratch, U8(0), k, out, p, lanes)
                f += lanes
        finish_sums(True, run, number, store, constants, to_factor, m, out, o, low, n)
