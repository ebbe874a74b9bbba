"""Residual schedule: fire the factor whose inputs have changed most since it last fired.

The priority of a factor is the sum of the changes of its incoming messages, in nats, so nothing is computed in vain to
find it (the zero-lookahead form of Sutton and McCallum, "Improved dynamic schedules for belief propagation", UAI 2007).
Priorities are kept in buckets by powers of two, first in first out inside a bucket: constant time and deterministic.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from factorgraph_ebm._jit import F8, I8, INTEGER, NOTHING, READ_I8, READ_U4, REAL, call, inlined, kernel, measure
from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.engine.addresses import address, after, of_runs, of_state, of_variables
from factorgraph_ebm.engine.decoding import locate
from factorgraph_ebm.engine.driver import FORM, RUNAWAY, RUNS, STATE, VARIABLES

U8 = np.uint64
BUCKETS = 64
LARGEST = 1024.0
"nats: changes beyond this, a newly forbidden state among them, all come first"


class Queue(NamedTuple):
    """Doubly linked lists of factors, one for each bucket; F factors."""

    priority: F64
    "(F,)"
    bucket: I64
    "(F,) -1 where not queued"
    following: I64
    "(F,)"
    preceding: I64
    "(F,)"
    ends: I64
    "(2 * BUCKETS,) first and last factor of each bucket, -1 where empty"


@kernel(NOTHING, F8, I8, I8, I8, I8, READ_I8)
def enqueue_all(priority, bucket, following, preceding, ends, factors):  # type: ignore[no-untyped-def]
    """Queue these factors, in order, at the top."""
    for i in range(len(factors)):
        _raise_priority(priority, bucket, following, preceding, ends, factors[i], LARGEST, 0.0)


def make_queue(n_factors: int, factors: I64) -> Queue:
    """A queue of these factors of a graph of `n_factors`."""
    filled = [np.full(n_factors, -1, np.int64) for _ in range(3)]
    bucket, following, preceding = filled
    queue = Queue(np.zeros(n_factors), bucket, following, preceding, np.full(2 * BUCKETS, -1, np.int64))
    enqueue_all(*queue, factors)
    return queue


@inlined
def _bucket_of(priority):  # type: ignore[no-untyped-def]
    """Exponent of the priority, from LARGEST in bucket 0 downwards."""
    b = 0
    edge = LARGEST * 0.5
    while priority < edge and b < BUCKETS - 1:
        edge *= 0.5
        b += 1
    return b


@inlined
def _remove(bucket, following, preceding, ends, f):  # type: ignore[no-untyped-def]
    b = bucket[f]
    if preceding[f] >= 0:
        following[preceding[f]] = following[f]
    else:
        ends[2 * b] = following[f]
    if following[f] >= 0:
        preceding[following[f]] = preceding[f]
    else:
        ends[2 * b + 1] = preceding[f]
    bucket[f] = -1


@inlined
def _raise_priority(priority, bucket, following, preceding, ends, f, change, tolerance):  # type: ignore[no-untyped-def]
    priority[f] = min(LARGEST, priority[f] + change)
    if priority[f] <= tolerance:
        return
    b = _bucket_of(priority[f])
    if bucket[f] == b:
        return
    if bucket[f] >= 0:
        _remove(bucket, following, preceding, ends, f)
    bucket[f] = b
    following[f] = -1
    preceding[f] = ends[2 * b + 1]
    if ends[2 * b + 1] >= 0:
        following[ends[2 * b + 1]] = f
    else:
        ends[2 * b] = f
    ends[2 * b + 1] = f


@kernel(
    REAL, READ_I8, *FORM, READ_I8, READ_I8, F8, I8, I8, I8, I8, READ_U4, *VARIABLES, *RUNS, *STATE, F8,
    INTEGER, REAL, REAL,
)  # fmt: skip
def fire_factors(  # type: ignore[no-untyped-def]
    kernels, send, keep, slot_kernel, run_slot, priority, bucket, following, preceding, ends, scope,
    unary, start, slot_start, slot_split, slot_message,
    run_field, run_field_start, factor_number, constants, store, weight,
    to_variable, to_factor, out, scratch, shift, firings, tolerance, damping,
):  # fmt: skip
    """Fire up to `firings` factors; return the largest priority left (at most `tolerance` when nothing is queued)."""
    runs = len(run_field_start) - 1
    unary, start, slot_start, slot_split, slot_message = of_variables(
        unary, start, slot_start, slot_split, slot_message
    )
    run_field, run_field_start, factor_number, constants, store, weight = of_runs(
        run_field, run_field_start, factor_number, constants, store, weight
    )
    to_variable, to_factor, out, scratch = of_state(to_variable, to_factor, out, scratch)
    shift = address(shift)
    one = U8(1)
    for _ in range(firings):
        b = 0
        while b < BUCKETS and ends[2 * b] < 0:
            b += 1
        if b == BUCKETS:
            break
        f = ends[2 * b]
        _remove(bucket, following, preceding, ends, f)
        priority[f] = 0.0
        r = _run_of(run_field, run_field_start, runs, f)
        run = after(run_field, run_field_start[r])
        number = after(factor_number, run[3])
        low = U8(f - run[3])
        # All slots at once where one kernel serves them: over many variables its work is mostly common to them.
        first = run_slot[r]
        alike = True
        for slot in range(1, run[1]):
            alike = alike and slot_kernel[first + slot] == slot_kernel[first]
        if alike:
            call(kernels[slot_kernel[first]], (
                run, number, store, weight, constants, to_factor, out, scratch, low, low + one, -1,
            ))  # fmt: skip
        for slot in range(run[1]):
            if not alike:
                call(kernels[slot_kernel[first + slot]], (
                    run, number, store, weight, constants, to_factor, out, scratch, low, low + one, slot,
                ))  # fmt: skip
            change = measure(keep, (run, out, to_variable, shift, low, low + one, slot, damping))
            if change != change or RUNAWAY < change < np.inf:
                return change
            if change <= 0.0:
                continue
            v = U8(scope[run[2] + slot * run[0] + np.int64(low)])
            call(send, (
                unary, start, slot_start, slot_split, slot_message, to_variable, to_factor, scratch, shift,
                v, v + one, -1,
            ))  # fmt: skip
            for i in range(slot_start[v], slot_start[v + one]):
                other, g, _ = locate(run_field, run_field_start, runs, slot_message[i])
                number_of = run_field[run_field_start[other] + 3] + np.int64(g)
                if number_of != f:
                    _raise_priority(priority, bucket, following, preceding, ends, number_of, change, tolerance)
            # A damped message has not arrived where it was going.
            if damping > 0.0:
                _raise_priority(priority, bucket, following, preceding, ends, f, damping * change, tolerance)
    left = 0.0
    for f in range(len(priority)):
        left = priority[f] if priority[f] > left else left
    return left


@inlined
def _run_of(run_field, run_field_start, runs, f):  # type: ignore[no-untyped-def]
    low = 0
    high = runs
    while high - low > 1:
        middle = (low + high) // 2
        if run_field[run_field_start[middle] + 3] <= f:
            low = middle
        else:
            high = middle
    return low
