"""The driver that stops: iterate each chunk by itself until its likeliest states violate nothing.

Chunk by chunk, since what one works on stays in cache, and all in one call: after an iteration of a few hundred
microseconds Python would take as long to look. While much is violated, so is something among the first few factors, and
those need the states of few variables: the others are not looked at before these allow what is likeliest.
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
    U1,
    call,
    inlined,
    kernel,
)
from factorgraph_ebm.engine.addresses import address, after, of_runs, of_state, of_variables
from factorgraph_ebm.engine.driver import FORM, RUNS, STATE, STEPS, VARIABLES, is_over, larger, run_step
from factorgraph_ebm.engine.tickets import take

U8 = np.uint64

RULES = (
    FUNCTION, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, INTEGER,
    READ_I8, READ_U8, READ_F8, READ_U4, READ_U4, READ_U4, READ_U8, READ_U8, READ_F8, READ_U8, INTEGER,
)  # fmt: skip
"""What forbids: decide, kernels; of each range of factors of one run and chunk its kernel, run, low and high, where the
ranges of chunk c are range_start[c] to range_start[c + 1]; how many of a range are looked at first; run_field,
factor_number and store as compiled and bound; scope, variable_chunk; the variables to decide, and where those of each
chunk begin; where the variables of each chunk begin; energies of single variables, where they begin, and whether one is
+inf"""


@inlined
def _any_violated(  # type: ignore[no-untyped-def]
    c, first, stop, few, kernels, range_kernel, range_run, range_low, range_high,
    field, field_start, number, store, scope, variable_chunk, state, allowed,
    decide, unary, slot_start, slot_message, to_variable,
):  # fmt: skip
    """Whether chunk c violates one of the first few factors of these ranges, whose variables it decides before.

    few = -1: one of all, in the states that there are.
    """
    for i in range(first, stop):
        low, high = U8(range_low[i]), U8(range_high[i])
        run = after(field, field_start[range_run[i]])
        if few >= 0:
            high = min(high, low + U8(few))
            for slot in range(run[1]):
                variables = after(scope, run[2] + slot * run[0])
                call(decide, (unary, slot_start, slot_message, to_variable, variables, state, low, high))
        call(kernels[range_kernel[i]], (
            run, after(number, run[3]), store, scope, state, variable_chunk, allowed, low, high,
        ))  # fmt: skip
        if allowed[U8(c)] == 0:
            return True
    return False


@kernel(
    REAL, READ_I8, *FORM, *STEPS, READ_I8, READ_I8, I8, INTEGER, READ_I8, INTEGER, REAL, *RULES, I8, F8, U1, I8, U1,
    *VARIABLES, *RUNS, *STATE, F8, SIZE, REAL,
)  # fmt: skip
def run_until_feasible(  # type: ignore[no-untyped-def]
    kernels, send, keep, step_kernel, step_run, step_low, step_high, step_target,
    chunk_start, chunks, tickets, budget, limit, room, tolerance,
    decide, forbids, range_start, range_kernel, range_run, range_low, range_high, few,
    rule_field, rule_number, rule_store, scope, variable_chunk, decided, chunk_decided, chunk_variable,
    energy, energy_start, hard, count, residual, feasible, state, allowed,
    unary, start, slot_start, slot_split, slot_message,
    run_field, run_field_start, factor_number, constants, store, weight,
    to_variable, to_factor, out, scratch, shift, block, damping,
):  # fmt: skip
    """Iterate these chunks until each violates nothing or is at rest, limit[i] times at most; threads share the chunks.

    No chunk is iterated once all of them together have been iterated `budget` times, so Python hears of Ctrl-C.
    count[i] becomes the number of iterations of chunks[i], residual[i * room:] their residuals, feasible[i] 1 where its
    likeliest states, which `state` then has, are allowed. `tickets` (2,) are 0; `allowed` (C,) is working space.
    """
    unary, start, slot_start, slot_split, slot_message = of_variables(
        unary, start, slot_start, slot_split, slot_message
    )
    run_field, field_start, factor_number, constants, store, weight = of_runs(
        run_field, run_field_start, factor_number, constants, store, weight
    )
    to_variable, to_factor, out, scratch = of_state(to_variable, to_factor, out, scratch)
    shift, state, allowed, decided = address(shift), address(state), address(allowed), address(decided)
    rule_field, rule_number, rule_store = address(rule_field), address(rule_number), address(rule_store)
    scope, variable_chunk = address(scope), address(variable_chunk)
    while True:
        i = take(tickets, 0)
        if i >= len(chunks):
            return 0.0
        c = chunks[i]
        first, stop = range_start[c], range_start[c + 1]
        for iteration in range(limit[i]):
            if take(tickets, 1) >= budget:
                return 0.0
            change = 0.0
            for p in range(chunk_start[c], chunk_start[c + 1]):
                moved = run_step(
                    kernels, send, keep, step_kernel[p], step_run[p], step_low[p], step_high[p], step_target[p],
                    unary, start, slot_start, slot_split, slot_message,
                    run_field, field_start, factor_number, constants, store, weight,
                    to_variable, to_factor, out, scratch, shift, block, damping,
                )  # fmt: skip
                change = larger(change, moved)
            residual[i * room + iteration] = change
            count[i] = iteration + 1
            allowed[U8(c)] = np.uint8(1)
            violated = _any_violated(
                c, first, stop, few, forbids, range_kernel, range_run, range_low, range_high,
                rule_field, field_start, rule_number, rule_store, scope, variable_chunk, state, allowed,
                decide, unary, slot_start, slot_message, to_variable,
            )  # fmt: skip
            if not violated:
                low, high = chunk_decided[c], chunk_decided[c + 1]
                call(decide, (unary, slot_start, slot_message, to_variable, decided, state, low, high))
                if hard != 0:
                    for v in range(chunk_variable[c], chunk_variable[c + 1]):
                        if energy[energy_start[v] + U8(state[v])] == np.inf:
                            violated = True
            if not violated:
                violated = _any_violated(
                    c, first, stop, -1, forbids, range_kernel, range_run, range_low, range_high,
                    rule_field, field_start, rule_number, rule_store, scope, variable_chunk, state, allowed,
                    decide, unary, slot_start, slot_message, to_variable,
                )  # fmt: skip
            if not violated:
                feasible[i] = 1
                break
            if is_over(change, tolerance):
                break
