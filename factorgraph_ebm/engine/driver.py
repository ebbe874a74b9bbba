"""The drivers: run the tasks of a schedule, on one thread or several.

Kernels are called by address, so a driver compiles once and in a moment, whatever kernels there are, and one driver
serves every form of messages: a factor kernel writes raw messages, `keep` normalises, compares, damps and
stores them (`engine.messages`), `send` lets variables send (`engine.variables` and its like).
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import (
    F8,
    FUNCTION,
    I8,
    INTEGER,
    READ_F8,
    READ_I8,
    READ_U4,
    READ_U8,
    REAL,
    SIZE,
    call,
    inlined,
    kernel,
    measure,
)
from factorgraph_ebm.engine.addresses import address, after, of_runs, of_state, of_variables
from factorgraph_ebm.engine.tickets import read, take

U8 = np.uint64

VARIABLES = (READ_F8, READ_U8, READ_U4, READ_U4, READ_U8)
"unary, variable_start, variable_slot_start, variable_slot_split, slot_message"
RUNS = (READ_I8, READ_I8, READ_U8, READ_F8, READ_F8, READ_F8)
"run_field, run_field_start, factor_number, constants, store, weight"
STATE = (F8, F8, F8, F8)
"to_variable, to_factor, out, scratch"
STEPS = (READ_I8, READ_I8, READ_I8, READ_I8, READ_I8)
"kernel, run, low, high, target of each step"
FORM = (FUNCTION, FUNCTION)
"send, keep"


RUNAWAY = 1e200
"""nats: messages that change by so much grow without bound around loops of hard factors, and would overflow into +inf,
which is a proof; before that, iteration stops, not converged"""


@inlined
def larger(change, moved):  # type: ignore[no-untyped-def]
    """The larger of two changes; NaN once there was one, since it says that digits were lost."""
    return change if moved <= change or change != change else moved


@inlined
def is_over(change, tolerance):  # type: ignore[no-untyped-def]
    """Whether iterating ends after this change: at rest, running away, or digits were lost."""
    return change != change or RUNAWAY < change < np.inf or (tolerance > 0.0 and change <= tolerance)


@inlined
def run_step(  # type: ignore[no-untyped-def]
    kernels, send, keep, kernel, r, low, stop, target,
    unary, start, slot_start, slot_split, slot_message,
    run_field, run_field_start, factor_number, constants, store, weight,
    to_variable, to_factor, out, scratch, shift, block, damping,
):  # fmt: skip
    """Run one step; return the largest change of a message."""
    if kernel < 0:
        call(send, (
            unary, start, slot_start, slot_split, slot_message, to_variable, to_factor, scratch, shift,
            U8(low), U8(stop), target,
        ))  # fmt: skip
        return 0.0
    change = 0.0
    run = after(run_field, run_field_start[r])
    number = after(factor_number, run[3])
    at = U8(low)
    end = U8(stop)
    while at < end:
        high = at + block if at + block < end else end
        call(kernels[kernel], (run, number, store, weight, constants, to_factor, out, scratch, at, high, target))
        change = larger(change, measure(keep, (run, out, to_variable, shift, at, high, target, damping)))
        at = high
    return change


@kernel(
    REAL, READ_I8, *FORM, *STEPS, INTEGER, INTEGER,
    *VARIABLES, *RUNS, *STATE, F8, SIZE, REAL,
)  # fmt: skip
def run_steps(  # type: ignore[no-untyped-def]
    kernels, send, keep, step_kernel, step_run, step_low, step_high, step_target, first, stop,
    unary, start, slot_start, slot_split, slot_message,
    run_field, run_field_start, factor_number, constants, store, weight,
    to_variable, to_factor, out, scratch, shift, block, damping,
):  # fmt: skip
    """Run steps first to stop; return the largest change of a message."""
    unary, start, slot_start, slot_split, slot_message = of_variables(
        unary, start, slot_start, slot_split, slot_message
    )
    run_field, run_field_start, factor_number, constants, store, weight = of_runs(
        run_field, run_field_start, factor_number, constants, store, weight
    )
    to_variable, to_factor, out, scratch = of_state(to_variable, to_factor, out, scratch)
    shift = address(shift)
    change = 0.0
    for p in range(first, stop):
        moved = run_step(
            kernels, send, keep, step_kernel[p], step_run[p], step_low[p], step_high[p], step_target[p],
            unary, start, slot_start, slot_split, slot_message,
            run_field, run_field_start, factor_number, constants, store, weight,
            to_variable, to_factor, out, scratch, shift, block, damping,
        )  # fmt: skip
        change = larger(change, moved)
    return change


@kernel(
    REAL, READ_I8, *FORM, *STEPS, READ_I8, READ_I8, I8, I8, F8, INTEGER, REAL,
    *VARIABLES, *RUNS, *STATE, F8, SIZE, REAL,
)  # fmt: skip
def run_chunks(  # type: ignore[no-untyped-def]
    kernels, send, keep, step_kernel, step_run, step_low, step_high, step_target,
    chunk_start, chunks, tickets, count, residual, limit, tolerance,
    unary, start, slot_start, slot_split, slot_message,
    run_field, run_field_start, factor_number, constants, store, weight,
    to_variable, to_factor, out, scratch, shift, block, damping,
):  # fmt: skip
    """Up to `limit` iterations of each of these chunks, until it is at rest; threads share the chunks.

    count[i] becomes the number of iterations of chunks[i], residual[i * limit:] their residuals. `tickets` (1,) is 0.
    """
    unary, start, slot_start, slot_split, slot_message = of_variables(
        unary, start, slot_start, slot_split, slot_message
    )
    run_field, run_field_start, factor_number, constants, store, weight = of_runs(
        run_field, run_field_start, factor_number, constants, store, weight
    )
    to_variable, to_factor, out, scratch = of_state(to_variable, to_factor, out, scratch)
    shift = address(shift)
    while True:
        i = take(tickets, 0)
        if i >= len(chunks):
            return 0.0
        c = chunks[i]
        for iteration in range(limit):
            change = 0.0
            for p in range(chunk_start[c], chunk_start[c + 1]):
                moved = run_step(
                    kernels, send, keep, step_kernel[p], step_run[p], step_low[p], step_high[p], step_target[p],
                    unary, start, slot_start, slot_split, slot_message,
                    run_field, run_field_start, factor_number, constants, store, weight,
                    to_variable, to_factor, out, scratch, shift, block, damping,
                )  # fmt: skip
                change = larger(change, moved)
            residual[i * limit + iteration] = change
            count[i] = iteration + 1
            if is_over(change, tolerance):
                break


@kernel(
    REAL, READ_I8, *FORM, *STEPS, READ_I8, INTEGER, INTEGER, I8, F8, F8, INTEGER, REAL,
    *VARIABLES, *RUNS, *STATE, F8, SIZE, REAL,
)  # fmt: skip
def run_stages(  # type: ignore[no-untyped-def]
    kernels, send, keep, step_kernel, step_run, step_low, step_high, step_target,
    stage_start, first, stop, tickets, change_of, residual, limit, tolerance,
    unary, start, slot_start, slot_split, slot_message,
    run_field, run_field_start, factor_number, constants, store, weight,
    to_variable, to_factor, out, scratch, shift, block, damping,
):  # fmt: skip
    """Up to `limit` iterations over the stages first to stop; threads share the steps of each stage.

    `residual` (limit,) receives the residual of each iteration; `change_of` (steps,) is working space. `tickets` enter
    as zeros: for each iteration and stage, tickets taken and steps done, and two more for each iteration.
    Returns the number of iterations.
    """
    unary, start, slot_start, slot_split, slot_message = of_variables(
        unary, start, slot_start, slot_split, slot_message
    )
    run_field, run_field_start, factor_number, constants, store, weight = of_runs(
        run_field, run_field_start, factor_number, constants, store, weight
    )
    to_variable, to_factor, out, scratch = of_state(to_variable, to_factor, out, scratch)
    shift = address(shift)
    at = 0
    for iteration in range(limit):
        for stage in range(first, stop):
            low = stage_start[stage]
            size = stage_start[stage + 1] - low
            while True:
                i = take(tickets, at)
                if i >= size:
                    break
                p = low + i
                change_of[p] = run_step(
                    kernels, send, keep, step_kernel[p], step_run[p], step_low[p], step_high[p], step_target[p],
                    unary, start, slot_start, slot_split, slot_message,
                    run_field, run_field_start, factor_number, constants, store, weight,
                    to_variable, to_factor, out, scratch, shift, block, damping,
                )  # fmt: skip
                take(tickets, at + 1)
            while read(tickets, at + 1) < size:
                pass
            at += 2
        # One thread adds up, in the order of the steps, and all read the same.
        if take(tickets, at) == 0:
            change = 0.0
            for p in range(stage_start[first], stage_start[stop]):
                change = larger(change, change_of[p])
            residual[iteration] = change
            take(tickets, at + 1)
        while read(tickets, at + 1) < 1:
            pass
        at += 2
        change = residual[iteration]
        if is_over(change, tolerance):
            return iteration + 1.0
    return np.float64(limit)
