"""What every statistics kernel is: the slope of a factor's free energy with respect to its numbers.

    d F / d number = sum over the states x of a factor of p(x) * d E(x) / d number,
    p(x) = exp(-(E(x) + sum over slots of to_factor(x_s))) / sum

A kernel adds share[f] times this, for the factors low to high of one run, to `out`, which is laid out as the store:
for a table the expected indicators of its entries, for a penalty the probability that it is paid. Incoming messages
that are 0 in one state and +inf elsewhere make it the slope of the energy of an assignment.

A factor with share 0 is skipped. A factor all of whose states are forbidden adds nothing, and a forbidden entry gets an
exact zero. Sums of products are trusted above SMALLEST, as in `message_kernels`; below, a factor is computed again from
shifted energies.
"""

from __future__ import annotations

from typing import NamedTuple

from factorgraph_ebm._jit import F8, NOTHING, READ_F8, READ_I8, READ_U8, SIZE, Kernel

SIGNATURE = (
    NOTHING,
    READ_I8,  # run: its fields, see `arrays`
    READ_U8,  # number: element of `store` of each factor's numbers, where they are not shared
    READ_F8,  # store: energies in the units of the messages
    READ_F8,  # constants
    READ_F8,  # to_factor
    READ_F8,  # share: (n,) of each factor of the run
    F8,  # out: laid out as the store
    F8,  # scratch
    SIZE,  # low
    SIZE,  # high
)


class StatisticsKernel(NamedTuple):
    """The kernel of one structure, and how many elements of working space it needs."""

    kernel: Kernel
    scratch: int
