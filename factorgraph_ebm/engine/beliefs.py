"""What a leaf of a tree of contractions believes: its numbers times the message to it, entry by entry.

The message lies in C order; the numbers have the strides of their table. `engine.trees` calls kernels by address.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import AT_F8, AT_I8, NOTHING, SIZE, inlined, kernel
from factorgraph_ebm.engine.contraction import SECOND
from factorgraph_ebm.engine.ties import is_tied
from factorgraph_ebm.factors.elementary import exp_minus

BELIEVE = (NOTHING, AT_F8, AT_F8, AT_F8, AT_I8, AT_I8, SIZE)
"out in C order, numbers of the leaf, message to it in C order, loops, counters, elements"


@inlined
def reset(loop, counter):  # type: ignore[no-untyped-def]
    """Begin with the first entry; return the number of loops."""
    for j in range(loop[0]):
        counter[j] = 0
    return loop[0]


@inlined
def next_entry(loop, counter, depth):  # type: ignore[no-untyped-def]
    """The step to the next entry of a leaf in C order; `loop`: depth, then length and stride, innermost first."""
    step = np.int64(0)
    for j in range(depth):
        counter[j] += 1
        step += loop[2 + 2 * j]
        if counter[j] < loop[1 + 2 * j]:
            break
        counter[j] = 0
        step -= loop[1 + 2 * j] * loop[2 + 2 * j]
    return step


@inlined
def add_energies(out, number, row, loop, counter, size):  # type: ignore[no-untyped-def]
    """Write the sums of energies and messages; return the least."""
    least = np.inf
    at = np.int64(0)
    depth = reset(loop, counter)
    for i in range(size):
        out[i] = number[at] + row[i]
        least = min(least, out[i])
        at += next_entry(loop, counter, depth)
    return least


@kernel(*BELIEVE)
def believe_weights(out, number, row, loop, counter, size):  # type: ignore[no-untyped-def]
    """Probabilities: products over their sum."""
    total = 0.0
    at = np.int64(0)
    depth = reset(loop, counter)
    for i in range(size):
        out[i] = number[at] * row[i]
        total += out[i]
        at += next_entry(loop, counter, depth)
    for i in range(size):
        out[i] /= total


@kernel(*BELIEVE)
def believe_energies(out, number, row, loop, counter, size):  # type: ignore[no-untyped-def]
    """The same in energies."""
    least = add_energies(out, number, row, loop, counter, size)
    total = 0.0
    for i in range(size):
        out[i] = exp_minus(out[i] - least)
        total += out[i]
    for i in range(size):
        out[i] /= total


@kernel(*BELIEVE)
def excess_energies(out, number, row, loop, counter, size):  # type: ignore[no-untyped-def]
    """Least energies above the least of all."""
    least = add_energies(out, number, row, loop, counter, size)
    for i in range(size):
        out[i] -= least


@kernel(*BELIEVE)
def believe_ties(out, number, row, loop, counter, size):  # type: ignore[no-untyped-def]
    """Shares of the assignments of least energy."""
    second = counter[SECOND]
    least = add_energies(out, number, row, loop, counter, size)
    most = np.inf
    for i in range(np.int64(size)):
        if is_tied(out[i], least):
            most = min(most, row[second + i])
    total = 0.0
    for i in range(np.int64(size)):
        out[i] = exp_minus(row[second + i] - most) if is_tied(out[i], least) else 0.0
        total += out[i]
    for i in range(size):
        out[i] /= total
