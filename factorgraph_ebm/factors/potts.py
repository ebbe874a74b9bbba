"""Potts: a penalty where two variables differ.

    E(a, b) = penalty * [a != b]

The penalty may have any sign (negative: the two repel agreement less than difference), and +inf means must agree.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm._jit import inlined, kernel
from factorgraph_ebm.factors.elementary import exp_minus, minus_log
from factorgraph_ebm.factors.extremes import lesser
from factorgraph_ebm.factors.message_kernels import LARGEST, SIGNATURE, SMALLEST, MessageKernels, is_target
from factorgraph_ebm.factors.packs import filled, least_in, least_of_row, lessers, load, store
from factorgraph_ebm.factors.potts_statistics import potts_statistics
from factorgraph_ebm.factors.statistics_kernels import StatisticsKernel
from factorgraph_ebm.factors.table_kernels import table_mixed
from factorgraph_ebm.graph.checks import check_arity, check_equal_domains, check_name
from factorgraph_ebm.graph.declaration import Factor, TableMap
from factorgraph_ebm.graph.expressions import Numbers
from factorgraph_ebm.graph.parametrisation import Floats, Values
from factorgraph_ebm.graph.scope import Scope
from factorgraph_ebm.graph.slots import number_slot
from factorgraph_ebm.graph.variables import Variable


class Potts(Factor):
    """A penalty where two variables of one domain differ: E = penalty * [a != b].

    Parameters
    ----------
    scope : a list of two variables, an array with `axis` of length two, or an array with `members`
    penalty : numbers broadcastable to the group shape, in nats, any sign; +inf means they must agree
    axis, members, name : as in `Table`

    Raises
    ------
    ScopeError : not two variables a factor, or members that do not broadcast.
    VariableError : the two have different states.
    FactorError : penalty of another shape, NaN or -inf.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> y = fg.output("y", shape=(1000, 1000), n_states=2)
    >>> smooth = Potts([y[1:], y[:-1]], penalty=1.0)
    >>> smooth.size, smooth.table()[0, 0].tolist()
    (999000, [[0.0, 1.0], [1.0, 0.0]])
    """

    __slots__ = ()

    kind = "Potts"

    def __init__(
        self,
        scope: Variable | Sequence[Variable],
        penalty: Numbers,
        *,
        axis: int | tuple[int, ...] | None = None,
        members: Any = None,
        name: str | None = None,
    ) -> None:
        self.name = check_name(name)
        self.scope = Scope(scope, axis=axis, members=members)
        check_arity("Potts", self.scope, 2)
        check_equal_domains("Potts", self.scope)
        self.state_shape = None if self.scope.ragged else self.scope.state_shape()
        self.slots = (number_slot("Potts", "penalty", penalty, (), self.scope, own_is="the own shape"),)

    def table_map(self, state_shape: tuple[int, ...], state_values: Sequence[Floats] | None = None) -> TableMap:
        """The one number, where the states differ."""
        first, second = np.indices(state_shape).reshape(2, -1)
        differs = (first != second).astype(np.float64)
        return TableMap(np.zeros(differs.size, dtype=np.intp), differs, np.zeros(differs.size))

    @staticmethod
    def message_kernels(states: tuple[int, ...]) -> MessageKernels:
        return MessageKernels(potts_min, potts_sum, table_mixed, potts_weights, potts_odds, potts_differences)

    @staticmethod
    def accumulate_kernel(states: tuple[int, ...]) -> StatisticsKernel:
        return StatisticsKernel(potts_statistics, 0)

    @staticmethod
    def dense_tables(penalty: Floats, states: tuple[int, ...], constants: Floats) -> Floats:
        """Return the tables of factors with these penalties, (n, *states)."""
        return np.where(np.eye(states[0]) == 1.0, 0.0, penalty[:, None, None])

    @staticmethod
    def state_energies(
        penalty: Floats, chosen: npt.NDArray[np.integer[Any]], states: tuple[int, ...], constants: Floats
    ) -> Floats:
        """Return the energies of factors with these penalties in the `chosen` states (2, n)."""
        return np.where(chosen[0] == chosen[1], 0.0, penalty)

    def energies(self, values: Values, states: npt.NDArray[np.integer[Any]]) -> Floats:
        pairs = states.reshape(-1, 2).T if self.scope.ragged else states
        slot = self.slots[0]
        penalty = slot.source.evaluate(values).reshape(-1)[slot.rows(self.shape)]
        return np.where(pairs[0] != pairs[1], penalty, 0.0)


U8 = np.uint64


@kernel(*SIGNATURE)
def potts_min(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    """m(b) = min(x(b), penalty + min of x over the other states): O(states), from the two smallest energies."""
    k = U8(run[8])
    n = high - low
    for slot in range(2):
        if not is_target(slot, target):
            continue
        base = U8(slot) * n * k
        for f in range(low, high):
            penalty = store[U8(run[4])] if run[4] >= 0 else store[number[f]]
            m = U8(run[8 + 4 * (1 - slot) + 2]) + f * k
            o = base + (f - low) * k
            if k == U8(2):
                # Two states in registers: 3 ns a message against 12 by the search for the two smallest.
                x, y = to_factor[m], to_factor[m + U8(1)]
                out[o] = x if x < y + penalty else y + penalty
                out[o + U8(1)] = y if y < x + penalty else x + penalty
                continue
            if penalty >= 0.0:
                # The least of all serves as the least of the others: at its own state nothing is less than itself.
                if k == U8(16):
                    _lower_sixteen(to_factor, m, penalty, out, o)
                else:
                    _lower(to_factor, m, least_of_row(to_factor, m, k) + penalty, out, o, k)
                continue
            least, second, where = np.inf, np.inf, U8(0)
            for s in range(k):
                x = to_factor[m + s]
                if x < least:
                    least, second, where = x, least, U8(s)
                elif x < second:
                    second = x
            for s in range(k):
                other = (second if s == where else least) + penalty
                out[o + s] = to_factor[m + s] if to_factor[m + s] < other else other


@inlined
def _lower(x, m, other, out, o, k):  # type: ignore[no-untyped-def]
    """The lesser of a row and one number."""
    fours = k & ~U8(3)
    for s in range(U8(0), fours, U8(4)):
        store(out, o + s, lessers(load(x, m + s), filled(other)))
    for s in range(fours, k):
        out[o + s] = lesser(x[m + s], other)


@inlined
def _lower_sixteen(x, m, penalty, out, o):  # type: ignore[no-untyped-def]
    """The lesser of a row of sixteen, which stays in registers, and its least plus the penalty."""
    p, q, r, t = load(x, m), load(x, m + U8(4)), load(x, m + U8(8)), load(x, m + U8(12))
    other = filled(least_in(lessers(lessers(p, q), lessers(r, t))) + penalty)
    store(out, o, lessers(p, other))
    store(out, o + U8(4), lessers(q, other))
    store(out, o + U8(8), lessers(r, other))
    store(out, o + U8(12), lessers(t, other))


@kernel(*SIGNATURE)
def potts_sum(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    """exp(-m(b)) = p(b) + exp(-penalty) * sum of p over the other states: O(states)."""
    k = U8(run[8])
    n = high - low
    for slot in range(2):
        if not is_target(slot, target):
            continue
        base = U8(slot) * n * k
        m = U8(run[8 + 4 * (1 - slot) + 2]) + low * k
        for i in range(n * k):
            scratch[i] = exp_minus(to_factor[m + i])
        doubtful = False
        for f in range(n):
            w = weight[U8(run[4])] if run[4] >= 0 else weight[number[low + f]]
            if k == U8(2):
                p, q = scratch[U8(2) * f], scratch[U8(2) * f + U8(1)]
                a, b = p + w * q, q + w * p
                out[base + U8(2) * f] = a
                out[base + U8(2) * f + U8(1)] = b
                if not (SMALLEST < a < LARGEST and SMALLEST < b < LARGEST):
                    doubtful = True
            else:
                doubtful |= _mix(w, scratch, f * k, k, out, base + f * k)
        for i in range(n * k):
            out[base + i] = minus_log(out[base + i])
        if doubtful:
            for f in range(n):
                t = U8(run[4]) if run[4] >= 0 else number[low + f]
                for s in range(k):
                    others = 0.0
                    for i in range(k):
                        others += 0.0 if i == s else scratch[f * k + i]
                    total = scratch[f * k + s] + weight[t] * others
                    if not SMALLEST < total < LARGEST:
                        out[base + f * k + s] = _soft_minimum(store[t], to_factor, m + f * k, k, s)


@inlined
def _mix(w, p, m, k, out, o):  # type: ignore[no-untyped-def]
    """Sums over the other states from both ends: taking p(b) off the total would lose small states of small weight."""
    before = 0.0
    for s in range(k):
        out[o + s] = before
        before += p[m + s]
    after = 0.0
    doubtful = False
    for j in range(k):
        s = k - U8(1) - j
        total = p[m + s] + w * (out[o + s] + after)
        after += p[m + s]
        out[o + s] = total
        if not SMALLEST < total < LARGEST:
            doubtful = True
    return doubtful


@kernel(*SIGNATURE)
def potts_weights(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    """m(b) = x(b) + w * sum of x over the other states, w = exp(-penalty)."""
    k = U8(run[8])
    n = high - low
    for slot in range(2):
        if not is_target(slot, target):
            continue
        base = U8(slot) * n * k
        for f in range(n):
            w = weight[U8(run[4])] if run[4] >= 0 else weight[number[low + f]]
            m = U8(run[8 + 4 * (1 - slot) + 2]) + (low + f) * k
            o = base + f * k
            if w <= 1.0:
                # (1 - w) x + w * all: a sum of positive terms
                total = 0.0
                for s in range(k):
                    total += to_factor[m + s]
                total *= w
                for s in range(k):
                    out[o + s] = (1.0 - w) * to_factor[m + s] + total
            else:
                _mix(w, to_factor, m, k, out, o)


@kernel(*SIGNATURE)
def potts_odds(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    n = high - low
    for slot in range(2):
        if not is_target(slot, target):
            continue
        base = U8(slot) * n
        below = base + U8(2) * n
        m = U8(run[8 + 4 * (1 - slot) + 2]) + low
        for f in range(n):
            w = weight[U8(run[4])] if run[4] >= 0 else weight[number[low + f]]
            r = to_factor[m + f]
            out[base + f] = w + r
            out[below + f] = 1.0 + w * r


@kernel(*SIGNATURE)
def potts_differences(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    n = high - low
    for slot in range(2):
        if not is_target(slot, target):
            continue
        base = U8(slot) * n
        m = U8(run[8 + 4 * (1 - slot) + 2]) + low
        for f in range(n):
            penalty = store[U8(run[4])] if run[4] >= 0 else store[number[low + f]]
            h = to_factor[m + f]
            on, off = penalty + h, 0.0
            out[base + f] = (h if h < penalty else penalty) - (on if on < off else off)


@inlined
def _soft_minimum(penalty, x, m, k, state):  # type: ignore[no-untyped-def]
    lowest = np.inf
    for i in range(k):
        value = x[m + i] if i == state else x[m + i] + penalty
        lowest = value if value < lowest else lowest
    if lowest == np.inf:
        return lowest
    total = 0.0
    for i in range(k):
        total += np.exp(lowest - (x[m + i] if i == state else x[m + i] + penalty))
    return lowest - np.log(total)
