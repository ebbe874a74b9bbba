"""The Bethe free energy of each sample, from messages that are at rest; exact on forests.

    -log Z = sum_v F(belief_v) + sum_f F(table_f + incoming) - sum_(f, v) F(to_variable + to_factor),
    F(e) = -log sum exp(-e)

It does not depend on how messages are normalised. Yedidia, Freeman and Weiss, IEEE Trans. Inf. Theory 51(7), 2005.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import F8, READ_I8, READ_U4, REAL, SIZE, call, inlined, kernel
from factorgraph_ebm.engine.addresses import after, of_runs, of_state, of_variables
from factorgraph_ebm.engine.driver import RUNS, STATE, VARIABLES

U8 = np.uint64


@kernel(REAL, READ_I8, READ_I8, *VARIABLES, READ_U4, READ_U4, *RUNS, *STATE, SIZE, F8, F8)
def add_free_energies(  # type: ignore[no-untyped-def]
    kernels, run_kernel,
    unary, start, slot_start, slot_split, slot_message, scope, variable_sample,
    run_field, run_field_start, factor_number, constants, store, weight,
    to_variable, to_factor, out, scratch, block, belief, free_energy,
):  # fmt: skip
    """Add to each sample its Bethe free energy, in nats; +inf where a factor allows nothing."""
    variables, runs = len(start) - 1, len(run_field_start) - 1
    unary, start, slot_start, slot_split, slot_message = of_variables(
        unary, start, slot_start, slot_split, slot_message
    )
    run_field, run_field_start, factor_number, constants, store, weight = of_runs(
        run_field, run_field_start, factor_number, constants, store, weight
    )
    to_variable, to_factor, out, scratch = of_state(to_variable, to_factor, out, scratch)
    for v in range(variables):
        free_energy[variable_sample[v]] += _free_energy(belief, start[v], start[v + 1] - start[v])
    for r in range(runs):
        run = after(run_field, run_field_start[r])
        number = after(factor_number, run[3])
        last = run[6]
        before = U8(0)
        for slot in range(last):
            before += U8(run[8 + 4 * slot])
        k = U8(run[8 + 4 * last])
        low = U8(0)
        stop = U8(run[0])
        while low < stop:
            high = low + block if low + block < stop else stop
            call(kernels[run_kernel[r]], (
                run, number, store, weight, constants, to_factor, out, scratch, low, high, last,
            ))  # fmt: skip
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


@kernel(REAL, READ_I8, READ_I8, *VARIABLES, READ_U4, READ_U4, *RUNS, *STATE, SIZE, F8)
def add_log_partitions(  # type: ignore[no-untyped-def]
    kernels, run_kernel,
    unary, start, slot_start, slot_split, slot_message, scope, variable_sample,
    run_field, run_field_start, factor_number, constants, store, weight,
    to_variable, to_factor, out, scratch, block, log_partition,
):  # fmt: skip
    """As `add_free_energies`, for messages that are weights: add the factors' terms of log Z to each sample."""
    runs = len(run_field_start) - 1
    run_field, run_field_start, factor_number, constants, store, weight = of_runs(
        run_field, run_field_start, factor_number, constants, store, weight
    )
    to_variable, to_factor, out, scratch = of_state(to_variable, to_factor, out, scratch)
    for r in range(runs):
        if run_kernel[r] < 0:
            continue
        run = after(run_field, run_field_start[r])
        number = after(factor_number, run[3])
        last = run[6]
        before = U8(0)
        for slot in range(last):
            before += U8(run[8 + 4 * slot])
        k = U8(run[8 + 4 * last])
        low = U8(0)
        stop = U8(run[0])
        while low < stop:
            high = low + block if low + block < stop else stop
            call(kernels[run_kernel[r]], (
                run, number, store, weight, constants, to_factor, out, scratch, low, high, last,
            ))  # fmt: skip
            for f in range(low, high):
                o = (high - low) * before + (f - low) * k
                m = U8(run[8 + 4 * last + 2]) + f * k
                total = 0.0
                for s in range(k):
                    total += out[o + s] * to_factor[m + s]
                whole = np.log(total)
                for slot in range(run[1]):
                    ks = U8(run[8 + 4 * slot])
                    m = U8(run[8 + 4 * slot + 2]) + f * ks
                    total = 0.0
                    for s in range(ks):
                        total += to_factor[m + s] * to_variable[m + s]
                    if whole > -np.inf:
                        whole -= np.log(total)
                log_partition[variable_sample[scope[run[2] + np.int64(f)]]] += whole
            low = high
    return 0.0
