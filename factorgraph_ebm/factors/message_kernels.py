"""What every message kernel is: its one signature, and how sums stay exact.

A kernel writes the raw messages (energies, not normalised) of the factors low to high of one run to the slots that
`target` names. The rows of slot s begin in `out` at (high - low) * (sum of states of the slots before s); the engine
normalises, damps and stores them.

Sum-product messages are energies too. Inside a kernel a row x becomes exp(-x), where min x = 0, and sums of products
with exp(-table) become energies again by -log. A sum within [SMALLEST, LARGEST] is right to rounding: what underflowed
on the way is below 1e-17 of it. Outside, that one entry is computed again as a shifted log-sum-exp, so nothing is
ever lost, however far apart two pieces of evidence are, and a forbidden state stays exactly +inf.
"""

from __future__ import annotations

from typing import NamedTuple

from factorgraph_ebm._jit import (
    AT_F8,
    AT_I8,
    AT_U1,
    AT_U4,
    AT_U8,
    INTEGER,
    NOTHING,
    SIZE,
    Kernel,
    inlined,
)

BLOCK = 256
"factors that a kernel is asked for at once: their rows stay in the first-level cache"

SIGNATURE = (
    NOTHING,
    AT_I8,  # run: its fields, see `arrays`
    AT_U8,  # number: element of `store` of each factor's numbers, where they are not shared
    AT_F8,  # store: energies
    AT_F8,  # weight: exp(-store), +inf beyond HEAVIEST
    AT_F8,  # constants
    AT_F8,  # to_factor
    AT_F8,  # out
    AT_F8,  # scratch
    SIZE,  # low
    SIZE,  # high
    INTEGER,  # target
)

FORBIDS = (
    NOTHING,
    AT_I8,  # run
    AT_U8,  # number
    AT_F8,  # store
    AT_U4,  # scope
    AT_I8,  # state of each variable
    AT_U4,  # group of each variable: its sample, or its chunk
    AT_U1,  # allowed: becomes 0 for the group of each factor from low to high that is +inf in these states
    SIZE,  # low
    SIZE,  # high
)

SMALLEST = 1e-150
LARGEST = 1e150
HEAVIEST = 1e140
"a state whose exp(-x) underflowed to 0 loses at most 1e-308 of this: nothing beside SMALLEST"


class MessageKernels(NamedTuple):
    """The kernels of one structure: minimise over the other slots, sum over them, or sum soft slots, then minimise.

    These three take and give energies, and every structure with kernels has them. The others are faster forms of
    messages, where a structure has them: see `engine.messages`.
    """

    min: Kernel
    sum: Kernel
    mixed: Kernel
    weights: Kernel | None = None
    "sum over rows of weights"
    odds: Kernel | None = None
    "sum, two states, one number a message: sums of state 1, and behind those of all slots the sums of state 0"
    differences: Kernel | None = None
    "minimise, two states, one number a message"
    forbids: Kernel | None = None
    "whether states are forbidden, see FORBIDS"
    single: Kernel | None = None
    "minimise over tables in single precision, see `factors.singles`"


@inlined
def is_target(slot, target):  # type: ignore[no-untyped-def]
    """Whether `target` (ALL, a slot, or all but one) names this slot."""
    return target == -1 or target == slot or (target < -1 and slot != -2 - target)
