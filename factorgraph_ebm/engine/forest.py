"""Forests, chunk by chunk: one sweep up, one sweep down, and the answer read off while everything is in cache.

The messages of a chunk live in working space that the next chunk uses again, so ten thousand sentences never stream
through memory. Shifts that are taken off the messages on the way up add up to the free energy:

    -log Z = sum of the shifts + sum over the last variables of components of F(belief),  F(e) = -log sum exp(-e)
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import (
    AT_F8,
    AT_U4,
    AT_U8,
    F8,
    FUNCTION,
    I8,
    NOTHING,
    READ_F8,
    READ_I8,
    READ_U1,
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
from factorgraph_ebm.engine.driver import FORM, RUNS, STATE, STEPS, VARIABLES
from factorgraph_ebm.engine.tickets import take
from factorgraph_ebm.factors.elementary import exp_minus
from factorgraph_ebm.factors.extremes import least_of

U8 = np.uint64

JOIN = (NOTHING, AT_F8, AT_U8, AT_U4, AT_U8, AT_F8, AT_F8, AT_F8, SIZE, SIZE)
"unary, start, slot_start, slot_message, to_variable, probability, free_energy (V,), low, high"

WEIGH = (NOTHING, AT_F8, AT_U8, AT_F8, AT_F8, SIZE, SIZE)
"energy, start, unary, least (V,), low, high"


@kernel(*WEIGH)
def keep_unaries(energy, start, unary, least, low, high):  # type: ignore[no-untyped-def]
    """Unary energies are what messages in energies are made of."""


@kernel(*JOIN)
def join_energies(unary, start, slot_start, slot_message, to_variable, probability, free_energy, low, high):  # type: ignore[no-untyped-def]
    """Probabilities of the variables low to high and the free energies of their beliefs: 0 and +inf if forbidden."""
    for v in range(low, high):
        w = start[v]
        k = start[v + U8(1)] - w
        for s in range(k):
            probability[w + s] = unary[w + s]
        for i in range(U8(slot_start[v]), U8(slot_start[v + U8(1)])):
            m = slot_message[i]
            for s in range(k):
                probability[w + s] += to_variable[m + s]
        least = least_of(probability, w, k)
        if least == np.inf:
            for s in range(k):
                probability[w + s] = 0.0
            free_energy[v] = np.inf
            continue
        for s in range(k):
            probability[w + s] = exp_minus(probability[w + s] - least)
        total = 0.0
        for s in range(k):
            total += probability[w + s]
        for s in range(k):
            probability[w + s] /= total
        free_energy[v] = least - np.log(total)


@inlined
def place_messages(field, field_start, block_run, block_low, block_high, first, stop, local):  # type: ignore[no-untyped-def]
    """Copy the fields of the runs of a chunk to `local`, with their messages packed one after another from 0 on."""
    at = 0
    for b in range(first, stop):
        r = block_run[b]
        for i in range(field_start[r], field_start[r + 1]):
            local[i] = field[i]
        row = field_start[r] + 8
        for slot in range(field[field_start[r] + 1]):
            k = field[row + 4 * slot]
            # Less what factors before the chunk's would take: the sum of both is what counts.
            local[row + 4 * slot + 2] = at - block_low[b] * k
            at += (block_high[b] - block_low[b]) * k


BLOCKS = (READ_I8, READ_I8, READ_I8, READ_I8)
"first block of each chunk; run, first factor, and factor after the last of each block"


@kernel(
    REAL, READ_I8, *FORM, FUNCTION, FUNCTION, *STEPS, READ_I8, READ_I8, *BLOCKS, READ_U8, READ_I8, I8,
    *VARIABLES, *RUNS, READ_U4, READ_U4, *STATE, F8, I8, SIZE, READ_F8, F8, F8, F8, F8,
    FUNCTION, F8, F8, READ_I8, F8,
)  # fmt: skip
def solve_forests(  # type: ignore[no-untyped-def]
    kernels, send, keep, join, weigh, step_kernel, step_run, step_low, step_high, step_target, chunk_start, turn,
    block_start, block_run, block_low, block_high, chunk_variable, chunks, tickets,
    unary, start, slot_start, slot_split, slot_message,
    run_field, run_field_start, factor_number, constants, store, weight, scope, variable_sample,
    to_variable, to_factor, out, scratch, shift, local, block, energy, least, probability, variable_free, free_energy,
    products, share, sums, sum_start, room,
):  # fmt: skip
    """Probabilities and free energies of the samples of these chunks; threads share the chunks.

    `turn[c]` is the first step of chunk c that goes down. `slot_message` says where rows lie in the chunk's own space.
    In forms that weigh, the unary weights and then the probabilities of a chunk lie in one place.
    Where there are `sums`, the kernel `products` adds the products of rows of each run of a chunk, times the share of
    the sample, from sums[chunk * size + sum_start[run]] on. A sample that has no answer in this form gets share 0.
    """
    unary, start, slot_start, slot_split, slot_message = of_variables(
        unary, start, slot_start, slot_split, slot_message
    )
    run_field, run_field_start, factor_number, constants, store, weight = of_runs(
        run_field, run_field_start, factor_number, constants, store, weight
    )
    to_variable, to_factor, out, scratch = of_state(to_variable, to_factor, out, scratch)
    shift, local = address(shift), address(local)
    probability, variable_free, free_energy = address(probability), address(variable_free), address(free_energy)
    energy, least = address(energy), address(least)
    summing, width = len(sums) > 0, sum_start[len(sum_start) - 1]
    of_scope, of_sample, share, sums, room = (
        address(scope), address(variable_sample), address(share), address(sums), address(room)
    )  # fmt: skip
    while True:
        ticket = take(tickets, 0)
        if ticket >= len(chunks):
            return 0.0
        c = chunks[ticket]
        place_messages(
            run_field, run_field_start, block_run, block_low, block_high, block_start[c], block_start[c + 1], local
        )
        call(weigh, (energy, start, probability, least, chunk_variable[c], chunk_variable[c + 1]))
        for p in range(chunk_start[c], chunk_start[c + 1]):
            upward = p < turn[c]
            k, r, target = step_kernel[p], step_run[p], step_target[p]
            low, stop = U8(step_low[p]), U8(step_high[p])
            if k < 0:
                call(send, (
                    unary, start, slot_start, slot_split, slot_message, to_variable, to_factor, scratch, shift,
                    low, stop, target,
                ))  # fmt: skip
                if upward:
                    for v in range(low, stop):
                        if slot_split[v] < slot_start[v + U8(1)]:
                            free_energy[variable_sample[v]] += shift[v - low]
                continue
            run = after(local, run_field_start[r])
            number = after(factor_number, run[3])
            while low < stop:
                high = low + block if low + block < stop else stop
                call(kernels[k], (run, number, store, weight, constants, to_factor, out, scratch, low, high, target))
                measure(keep, (run, out, to_variable, shift, low, high, target, -1.0))
                if upward:
                    for f in range(low, high):
                        free_energy[variable_sample[scope[run[2] + np.int64(f)]]] += shift[f - low]
                low = high
        first, stop = chunk_variable[c], chunk_variable[c + 1]
        call(join, (unary, start, slot_start, slot_message, to_variable, probability, variable_free, first, stop))
        for v in range(first, stop):
            if U8(slot_split[v]) == U8(slot_start[v + U8(1)]):
                free_energy[variable_sample[v]] += variable_free[v]
        if not summing:
            continue
        for v in range(first, stop):
            found = variable_free[v] + free_energy[variable_sample[v]]
            if not (found > -np.inf and found < np.inf):
                share[variable_sample[v]] = 0.0
        for b in range(block_start[c], block_start[c + 1]):
            r = block_run[b]
            call(products, (
                after(local, run_field_start[r]), weight, constants, to_variable, to_factor, of_scope, of_sample, share,
                after(sums, c * width + sum_start[r]), room, U8(block_low[b]), U8(block_high[b]),
            ))  # fmt: skip


@kernel(
    REAL, READ_I8, *FORM, *STEPS, READ_I8, READ_I8, *BLOCKS, READ_U8, READ_I8, I8,
    *VARIABLES, *RUNS, READ_U4, READ_U1, *STATE, F8, I8, SIZE, I8,
)  # fmt: skip
def decode_forests(  # type: ignore[no-untyped-def]
    kernels, send, keep, step_kernel, step_run, step_low, step_high, step_target, chunk_start, turn,
    block_start, block_run, block_low, block_high, chunk_variable, chunks, tickets,
    unary, start, slot_start, slot_split, slot_message,
    run_field, run_field_start, factor_number, constants, store, weight, scope, is_table,
    to_variable, to_factor, out, scratch, shift, local, block, state,
):  # fmt: skip
    """Least-energy states of the variables of these chunks, whose factors join at most two variables.

    On the way down a variable takes its best state and sends 0 for it, +inf for the others, so what comes next is
    the best given what was chosen; of a table that is a row of it. A variable all of whose states are forbidden gets
    state -1.
    """
    unary, start, slot_start, slot_split, slot_message = of_variables(
        unary, start, slot_start, slot_split, slot_message
    )
    run_field, run_field_start, factor_number, constants, store, weight = of_runs(
        run_field, run_field_start, factor_number, constants, store, weight
    )
    to_variable, to_factor, out, scratch = of_state(to_variable, to_factor, out, scratch)
    shift, local = address(shift), address(local)
    while True:
        ticket = take(tickets, 0)
        if ticket >= len(chunks):
            return 0.0
        c = chunks[ticket]
        place_messages(
            run_field, run_field_start, block_run, block_low, block_high, block_start[c], block_start[c + 1], local
        )
        for p in range(chunk_start[c], chunk_start[c + 1]):
            k, r, target = step_kernel[p], step_run[p], step_target[p]
            low, stop = U8(step_low[p]), U8(step_high[p])
            if k < 0 and p < turn[c]:
                call(send, (
                    unary, start, slot_start, slot_split, slot_message, to_variable, to_factor, scratch, shift,
                    low, stop, target,
                ))  # fmt: skip
            elif k < 0:
                for v in range(low, stop):
                    state[v] = _choose(unary, start, slot_start, slot_message, to_variable, to_factor, scratch, v)
            elif p >= turn[c] and is_table[r] == 1:
                run = after(local, run_field_start[r])
                number = after(factor_number, run[3])
                _read_rows(run, number, store, scope, state, to_variable, low, stop)
            else:
                run = after(local, run_field_start[r])
                number = after(factor_number, run[3])
                while low < stop:
                    high = low + block if low + block < stop else stop
                    call(kernels[k], (
                        run, number, store, weight, constants, to_factor, out, scratch, low, high, target,
                    ))  # fmt: skip
                    measure(keep, (run, out, to_variable, shift, low, high, target, -1.0))
                    low = high


@inlined
def _read_rows(run, number, store, scope, state, to_variable, low, stop):  # type: ignore[no-untyped-def]
    """To the other variable of each table: its energies in the state that the last variable was given."""
    last = U8(8 + 4 * run[6])
    other = U8(20) - last
    k, stride, m = U8(run[other]), U8(run[other + U8(1)]), U8(run[other + U8(2)])
    n = U8(run[0])
    for f in range(low, stop):
        chosen = state[scope[U8(run[2]) + U8(run[6]) * n + f]]
        t = U8(run[4]) if run[4] >= 0 else number[f]
        t += U8(max(chosen, 0)) * U8(run[last + U8(1)])
        for s in range(k):
            to_variable[m + f * k + s] = store[t + s * stride]


@inlined
def _choose(unary, start, slot_start, slot_message, to_variable, to_factor, scratch, v):  # type: ignore[no-untyped-def]
    w = start[v]
    k = start[v + U8(1)] - w
    a, b = U8(slot_start[v]), U8(slot_start[v + U8(1)])
    for s in range(k):
        scratch[s] = unary[w + s]
    for i in range(a, b):
        m = slot_message[i]
        for s in range(k):
            scratch[s] += to_variable[m + s]
    least = least_of(scratch, U8(0), k)
    best = U8(0)
    while best + U8(1) < k and scratch[best] > least:
        best += U8(1)
    for i in range(a, b):
        m = slot_message[i]
        for s in range(k):
            to_factor[m + s] = np.inf
        to_factor[m + best] = 0.0
    return np.int64(best) if least < np.inf else np.int64(-1)
