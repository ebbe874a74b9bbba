"""Parity: an even number of variables is on, a check of a binary code.

    E = 0 if the number on is even, else +inf

The tanh rule of Gallager's decoder in sums of products of probabilities, which lose no digit where a message is nearly
certain: with even and odd over the slots before, and the same over those behind,

    m_s(0) = -log(even even' + odd odd'),    m_s(1) = -log(even odd' + odd even')

and min of sums in place of sums of products for min-sum. R. G. Gallager, "Low-density parity-check codes", 1963.
"""

import numpy as np

from factorgraph_ebm._jit import kernel
from factorgraph_ebm.factors.automaton_kernels import (
    automaton,
    automaton_mixed,
    first_target,
    in_energies,
    last_target,
    to_messages,
    to_shares,
)
from factorgraph_ebm.factors.logic import Logic
from factorgraph_ebm.factors.message_kernels import SIGNATURE, MessageKernels, is_target
from factorgraph_ebm.factors.parity_forms import parity_differences, parity_forbids, parity_odds, parity_weights
from factorgraph_ebm.graph.parametrisation import Floats
from factorgraph_ebm.graph.table_map import Remaining


class Parity(Logic):
    """An even number of the variables is on: E = 0, else +inf.

    Parameters
    ----------
    scope : a list of variables, an array with `axis`, or an array with `members` (the rows of a parity-check matrix);
        all have two states, of which state 1 is on
    axis, members, name : as in `Table`

    Raises
    ------
    ScopeError : a list of one array, which would be factors over one variable each; or another form.
    VariableError : a variable with more or fewer than two states.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> bits = fg.output("bits", shape=7, n_states=2)
    >>> checks = Parity(bits, members=[[0, 1, 2, 4], [0, 1, 3, 5], [0, 2, 3, 6]])
    >>> checks.size, Parity(bits[:2]).table().tolist()
    (3, [[0.0, inf], [inf, 0.0]])
    """

    __slots__ = ()

    kind = "Parity"

    def compact_strides(self, state_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (1,) * len(state_shape)

    def compact_entries(self, state_shape: tuple[int, ...]) -> int:
        return len(state_shape) + 1

    def compact_energies(self, arity: int) -> Floats:
        return np.where(np.arange(arity + 1) % 2 == 0, 0.0, np.inf)

    def remaining(self, state_shape: tuple[int, ...], free: tuple[int, ...], given: tuple[int, ...]) -> Remaining:
        return Remaining("Parity", 2, automaton((0, 1), (1, 0)), (0, 1))

    @staticmethod
    def message_kernels(states: tuple[int, ...]) -> MessageKernels:
        return MessageKernels(
            parity_min, parity_sum, automaton_mixed, parity_weights, parity_odds, parity_differences, parity_forbids
        )


U8 = np.uint64

# What was read before a slot waits in the place of its message until the way back overwrites it.


@kernel(*SIGNATURE)
def parity_min(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    one, two = U8(1), U8(2)
    n = high - low
    arity = U8(run[1])
    first, stop = first_target(run[1], target), last_target(run[1], target)
    for f in range(n):
        scratch[f] = 0.0
        scratch[n + f] = np.inf
    for j in range(stop):
        s = U8(j)
        m = U8(run[U8(10) + U8(4) * s]) + two * low
        o = two * n * s
        for f in range(n):
            even, odd = scratch[f], scratch[n + f]
            out[o + two * f], out[o + two * f + one] = even, odd
            off, on = to_factor[m + two * f], to_factor[m + two * f + one]
            scratch[f] = even + off if even + off < odd + on else odd + on
            scratch[n + f] = odd + off if odd + off < even + on else even + on
    for f in range(n):
        t = U8(run[4]) if run[4] >= 0 else number[low + f]
        scratch[f] = store[t]
        scratch[n + f] = store[t + one]
    for j in range(arity - first):
        s = arity - one - j
        m = U8(run[U8(10) + U8(4) * s]) + two * low
        o = two * n * s
        if is_target(np.int64(s), target):
            for f in range(n):
                even, odd = scratch[f], scratch[n + f]
                p, q = out[o + two * f], out[o + two * f + one]
                out[o + two * f] = p + even if p + even < q + odd else q + odd
                out[o + two * f + one] = p + odd if p + odd < q + even else q + even
        for f in range(n):
            even, odd = scratch[f], scratch[n + f]
            off, on = to_factor[m + two * f], to_factor[m + two * f + one]
            scratch[f] = even + off if even + off < odd + on else odd + on
            scratch[n + f] = odd + off if odd + off < even + on else even + on


@kernel(*SIGNATURE)
def parity_sum(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    one, two = U8(1), U8(2)
    n = high - low
    arity = U8(run[1])
    first, stop = first_target(run[1], target), last_target(run[1], target)
    shares = two * n
    to_shares(run, to_factor, scratch, shares, low, n)
    masses = shares + two * arity * n
    logs = masses + arity * n
    for f in range(n):
        scratch[f] = 1.0
        scratch[n + f] = 0.0
    for j in range(stop):
        s = U8(j)
        m = shares + two * s * n
        o = two * n * s
        for f in range(n):
            even, odd = scratch[f], scratch[n + f]
            out[o + two * f], out[o + two * f + one] = even, odd
            off, on = scratch[m + f], scratch[m + n + f]
            scratch[f] = even * off + odd * on
            scratch[n + f] = odd * off + even * on
    for f in range(n):
        t = U8(run[4]) if run[4] >= 0 else number[low + f]
        scratch[f] = weight[t]
        scratch[n + f] = weight[t + one]
    doubtful = False
    for j in range(arity - first):
        s = arity - one - j
        m = shares + two * s * n
        o = two * n * s
        if is_target(np.int64(s), target):
            for f in range(n):
                even, odd = scratch[f], scratch[n + f]
                p, q = out[o + two * f], out[o + two * f + one]
                out[o + two * f] = p * even + q * odd
                out[o + two * f + one] = p * odd + q * even
            doubtful |= to_messages(out, o, scratch, masses + s * n, logs, n)
        for f in range(n):
            even, odd = scratch[f], scratch[n + f]
            off, on = scratch[m + f], scratch[m + n + f]
            scratch[f] = even * off + odd * on
            scratch[n + f] = odd * off + even * on
    if doubtful:
        in_energies(run, number, store, constants, to_factor, out, scratch, low, n, target, True)
