"""The driver: runs the steps of a schedule, and stores what kernels send.

Kernels are called through pointers, so the driver compiles once and in a moment, whatever kernels there are. A raw
message is normalised (minimum 0), damped, compared with the former one, and stored:

    message = damping * former + (1 - damping) * new,  in energies; a state that is or was forbidden takes the new one

The change is measured before damping, in nats, so that damping never makes a run look converged.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import (
    F8,
    I8,
    INTEGER,
    READ_F8,
    READ_I8,
    READ_U4,
    READ_U8,
    REAL,
    SIZE,
    driver,
    inlined,
)
from factorgraph_ebm.engine.variables import send_to_factors
from factorgraph_ebm.factors.message_kernels import SIGNATURE, is_target

U8 = np.uint64

VARIABLES = (READ_F8, READ_U8, READ_U4, READ_U4, READ_U8)
"unary, variable_start, variable_slot_start, variable_slot_split, slot_message"
RUNS = (READ_I8, READ_I8, READ_U8, READ_F8, READ_F8, READ_F8)
"run_field, run_field_start, factor_number, constants, store, weight"
STATE = (F8, F8, F8, F8)
"to_variable, to_factor, out, scratch"


@driver(
    SIGNATURE, REAL, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, INTEGER, INTEGER,
    *VARIABLES, *RUNS, *STATE, SIZE, REAL,
)  # fmt: skip
def run_steps(  # type: ignore[no-untyped-def]
    kernels, step_kernel, step_run, step_low, step_high, step_target, first, stop,
    unary, start, slot_start, slot_split, slot_message,
    run_field, run_field_start, factor_number, constants, store, weight,
    to_variable, to_factor, out, scratch, block, damping,
):  # fmt: skip
    """Run steps first to stop; return the largest change of a message."""
    change = 0.0
    for p in range(first, stop):
        k = step_kernel[p]
        if k < 0:
            send_to_factors(
                unary, start, slot_start, slot_split, slot_message, to_variable, to_factor, scratch,
                U8(step_low[p]), U8(step_high[p]), step_target[p],
            )  # fmt: skip
            continue
        r = step_run[p]
        run = run_field[run_field_start[r] : run_field_start[r + 1]]
        number = factor_number[run[3] : run[3] + run[0]]
        low = U8(step_low[p])
        stop_low = U8(step_high[p])
        while low < stop_low:
            high = low + block if low + block < stop_low else stop_low
            kernels[k](run, number, store, weight, constants, to_factor, out, scratch, low, high, step_target[p])
            moved = store_messages(run, out, to_variable, low, high, step_target[p], damping)
            change = moved if moved > change else change
            low = high
    return change


@inlined
def store_messages(run, out, to_variable, low, high, target, damping):  # type: ignore[no-untyped-def]
    """Normalise, damp and store the raw messages of a block; return the largest change."""
    n = high - low
    one = U8(1)
    change = 0.0
    o = U8(0)
    for slot in range(run[1]):
        k = U8(run[8 + 4 * slot])
        if not is_target(slot, target):
            o += n * k
            continue
        m = U8(run[8 + 4 * slot + 2]) + low * k
        if k == U8(2):
            for _ in range(n):
                x, y = out[o], out[o + one]
                least = x if x < y else y
                if least < np.inf:
                    x -= least
                    y -= least
                p, q = to_variable[m], to_variable[m + one]
                moved = abs(x - p) if x != p else 0.0
                change = moved if moved > change else change
                moved = abs(y - q) if y != q else 0.0
                change = moved if moved > change else change
                if damping > 0.0:
                    if x < np.inf and p < np.inf:
                        x = damping * p + (1.0 - damping) * x
                    if y < np.inf and q < np.inf:
                        y = damping * q + (1.0 - damping) * y
                to_variable[m] = x
                to_variable[m + one] = y
                o += U8(2)
                m += U8(2)
            continue
        for _ in range(n):
            least = np.inf
            for s in range(k):
                value = out[o + s]
                least = value if value < least else least
            if least == np.inf:
                least = 0.0
            for s in range(k):
                value = out[o + s] - least
                former = to_variable[m + s]
                moved = abs(value - former) if value != former else 0.0
                change = moved if moved > change else change
                if damping > 0.0 and value < np.inf and former < np.inf:
                    value = damping * former + (1.0 - damping) * value
                to_variable[m + s] = value
            o += k
            m += k
    return change


@driver(SIGNATURE, REAL, READ_I8, *VARIABLES, READ_U4, READ_U4, *RUNS, *STATE, SIZE, F8, F8)
def add_free_energies(  # type: ignore[no-untyped-def]
    kernels, run_kernel,
    unary, start, slot_start, slot_split, slot_message, scope, variable_sample,
    run_field, run_field_start, factor_number, constants, store, weight,
    to_variable, to_factor, out, scratch, block, belief, free_energy,
):  # fmt: skip
    """Add to each sample its Bethe free energy -log Z, in nats, from messages that are at rest.

        -log Z = sum_v F(belief_v) + sum_f F(table_f + incoming) - sum_(f, v) F(to_variable + to_factor),
        F(e) = -log sum exp(-e)

    Exact on forests. It does not depend on how messages are normalised. Yedidia, Freeman and Weiss, IEEE Trans. Inf.
    Theory 51(7), 2005.
    """
    for v in range(len(start) - 1):
        free_energy[variable_sample[v]] += _free_energy(belief, start[v], start[v + 1] - start[v])
    for r in range(len(run_field_start) - 1):
        run = run_field[run_field_start[r] : run_field_start[r + 1]]
        number = factor_number[run[3] : run[3] + run[0]]
        last = run[6]
        before = U8(0)
        for slot in range(last):
            before += U8(run[8 + 4 * slot])
        k = U8(run[8 + 4 * last])
        low = U8(0)
        stop = U8(run[0])
        while low < stop:
            high = low + block if low + block < stop else stop
            kernels[run_kernel[r]](run, number, store, weight, constants, to_factor, out, scratch, low, high, last)
            for f in range(low, high):
                sample = variable_sample[scope[run[2] + np.int64(f)]]
                o = (high - low) * before + (f - low) * k
                m = U8(run[8 + 4 * last + 2]) + f * k
                for s in range(k):
                    out[o + s] += to_factor[m + s]
                whole = _free_energy(out, o, k)
                if whole == np.inf:
                    free_energy[sample] = np.inf
                    continue
                for slot in range(run[1]):
                    ks = U8(run[8 + 4 * slot])
                    m = U8(run[8 + 4 * slot + 2]) + f * ks
                    for s in range(ks):
                        scratch[s] = to_factor[m + s] + to_variable[m + s]
                    whole -= _free_energy(scratch, U8(0), ks)
                free_energy[sample] += whole
            low = high
    return 0.0


@inlined
def _free_energy(energy, first, k):  # type: ignore[no-untyped-def]
    least = np.inf
    for s in range(first, first + k):
        least = energy[s] if energy[s] < least else least
    if least == np.inf:
        return least
    total = 0.0
    for s in range(first, first + k):
        total += np.exp(least - energy[s])
    return least - np.log(total)


@driver(SIGNATURE, INTEGER, READ_I8, *VARIABLES, READ_I8, *RUNS, *STATE, INTEGER, INTEGER, I8, INTEGER)
def choose_states(  # type: ignore[no-untyped-def]
    kernels, slot_kernel,
    unary, start, slot_start, slot_split, slot_message, factor_slot,
    run_field, run_field_start, factor_number, constants, store, weight,
    to_variable, to_factor, out, scratch, first, stop, state, local,
):  # fmt: skip
    """Choose the states of variables first to stop; return how many changed.

    With `local` 0, one pass of decoding from the last variable to the first: each takes the least energy given what
    was chosen before it, through fresh messages of the factors that it shares with chosen variables, so ties can never
    contradict each other. With `local` 1, one pass of local search (ICM): all others are fixed, a variable moves only
    to a strictly better state. A chosen variable sends the message 0 at its state, +inf elsewhere. `state` is -1 where
    nothing is chosen yet; variables that are summed out enter as -2 and stay.
    """
    changed = 0
    one = U8(1)
    width = 0
    for r in range(len(run_field_start) - 1):
        total = 0
        for slot in range(run_field[run_field_start[r] + 1]):
            total += run_field[run_field_start[r] + 8 + 4 * slot]
        width = total if total > width else width
    for i in range(stop - first):
        v = first + i if local == 1 else stop - 1 - i
        if state[v] == -2:
            continue
        w = start[v]
        k = start[v + 1] - w
        # the belief is summed in `out` behind what a kernel writes for one factor
        b = U8(width)
        for s in range(k):
            out[b + s] = unary[w + s]
        for j in range(slot_start[v], slot_start[v + 1]):
            m = slot_message[j]
            r, f, slot = locate(run_field, run_field_start, m)
            run = run_field[run_field_start[r] : run_field_start[r + 1]]
            number = factor_number[run[3] : run[3] + run[0]]
            kernels[slot_kernel[factor_slot[r] + slot]](
                run, number, store, weight, constants, to_factor, out, scratch, f, f + one, slot
            )
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
    return changed


@inlined
def locate(run_field, run_field_start, m):  # type: ignore[no-untyped-def]
    """Run, factor and slot of the message row at element m: rows of runs lie one run after another."""
    low = 0
    high = len(run_field_start) - 1
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
