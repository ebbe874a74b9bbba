"""Decoding: states chosen one variable after another through the real kernels, and local search by the same pass."""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import I8, INTEGER, READ_I8, READ_U4, U1, call, inlined, kernel
from factorgraph_ebm.engine.addresses import after, of_runs, of_state, of_variables
from factorgraph_ebm.engine.driver import RUNS, STATE, VARIABLES

U8 = np.uint64


@kernel(INTEGER, READ_I8, READ_I8, *VARIABLES, READ_I8, *RUNS, *STATE, READ_U4, INTEGER, INTEGER, I8, U1, INTEGER)
def choose_states(  # type: ignore[no-untyped-def]
    kernels, slot_kernel,
    unary, start, slot_start, slot_split, slot_message, factor_slot,
    run_field, run_field_start, factor_number, constants, store, weight,
    to_variable, to_factor, out, scratch, scope, first, stop, state, settled, local,
):  # fmt: skip
    """Choose the states of variables first to stop; return how many changed.

    With `local` 0, one pass of decoding from the last variable to the first: each takes the least energy given what
    was chosen before it, through fresh messages of the factors that it shares with chosen variables, so ties can never
    contradict each other. With `local` 1, one pass of local search (ICM): all others are fixed, a variable moves only
    to a strictly better state. A chosen variable sends the message 0 at its state, +inf elsewhere. `state` is -1 where
    nothing is chosen yet; variables that are summed out enter as -2 and stay. `settled` (V,) is 1 where local search
    has nothing to look at, since no neighbour has moved since it last looked.
    """
    runs = len(run_field_start) - 1
    unary, start, slot_start, slot_split, slot_message = of_variables(
        unary, start, slot_start, slot_split, slot_message
    )
    run_field, run_field_start, factor_number, constants, store, weight = of_runs(
        run_field, run_field_start, factor_number, constants, store, weight
    )
    to_variable, to_factor, out, scratch = of_state(to_variable, to_factor, out, scratch)
    changed = 0
    one = U8(1)
    width = 0
    for r in range(runs):
        total = 0
        for slot in range(run_field[run_field_start[r] + 1]):
            total += run_field[run_field_start[r] + 8 + 4 * slot]
        width = total if total > width else width
    for i in range(stop - first):
        v = first + i if local == 1 else stop - 1 - i
        if state[v] == -2 or (local == 1 and settled[v] == 1):
            continue
        settled[v] = 1
        w = start[v]
        k = start[v + 1] - w
        # the belief is summed in `out` behind what a kernel writes for one factor
        b = U8(width)
        for s in range(k):
            out[b + s] = unary[w + s]
        for j in range(slot_start[v], slot_start[v + 1]):
            m = slot_message[j]
            r, f, slot = locate(run_field, run_field_start, runs, m)
            run = after(run_field, run_field_start[r])
            number = after(factor_number, run[3])
            call(kernels[slot_kernel[factor_slot[r] + slot]], (
                run, number, store, weight, constants, to_factor, out, scratch, f, f + one, slot,
            ))  # fmt: skip
            o = U8(0)
            for t in range(slot):
                o += U8(run[8 + 4 * t])
            for s in range(k):
                out[b + s] += out[o + s]
        best = U8(0)
        for s in range(k):
            if out[b + s] < out[b + best]:
                best = U8(s)
        now = state[v]
        if local == 1 and not out[b + best] < out[b + U8(now)]:
            continue
        if now == np.int64(best):
            continue
        changed += 1
        state[v] = np.int64(best)
        for j in range(slot_start[v], slot_start[v + 1]):
            m = slot_message[j]
            for s in range(k):
                to_factor[m + s] = np.inf
            to_factor[m + best] = 0.0
            r, f, slot = locate(run_field, run_field_start, runs, m)
            run = after(run_field, run_field_start[r])
            for t in range(run[1]):
                if t != slot:
                    settled[scope[run[2] + t * run[0] + np.int64(f)]] = 0
    return changed


@inlined
def locate(run_field, run_field_start, runs, m):  # type: ignore[no-untyped-def]
    """Run, factor and slot of the message row at element m: rows of runs lie one run after another."""
    low = 0
    high = runs
    while high - low > 1:
        middle = (low + high) // 2
        if run_field[run_field_start[middle] + 10] <= np.int64(m):
            low = middle
        else:
            high = middle
    first = run_field_start[low]
    slot = run_field[first + 1] - 1
    while run_field[first + 8 + 4 * slot + 2] > np.int64(m):
        slot -= 1
    f = (m - U8(run_field[first + 8 + 4 * slot + 2])) // U8(run_field[first + 8 + 4 * slot])
    return low, f, slot
