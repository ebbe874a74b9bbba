"""Sweeps of Gibbs sampling: each variable in turn drawn from its conditional given all others.

    P(v = s | all others) = exp(-beta (A(v, s) - F(v)))
    A(v, s) = unary(v, s) + sum over the factors f of v of E_f(s, the states of f's other variables)

S. Geman and D. Geman, "Stochastic relaxation, Gibbs distributions, and the Bayesian restoration of images", IEEE Trans.
Pattern Analysis and Machine Intelligence 6(6), 1984. Random numbers are counted, not passed on: the one for a variable
in a sweep is Philox4x32-10 of its sample's key, its cell and the number of the sweep (J. Salmon, M. Moraes, R. Dror and
D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011), so a draw is the same whatever else is drawn, and
however calls are cut. At beta = inf the states that are tied with the best are equally likely (`engine.ties`).
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import (
    F8,
    I8,
    INTEGER,
    NOTHING,
    READ_F8,
    READ_I8,
    READ_U4,
    READ_U8,
    REAL,
    SIZE,
    U8,
    call,
    inlined,
    kernel,
)
from factorgraph_ebm.engine.addresses import address, after, of_runs, of_variables
from factorgraph_ebm.engine.decoding import locate
from factorgraph_ebm.engine.ties import is_tied
from factorgraph_ebm.factors.elementary import exp_minus

U64 = np.uint64
WORD = U64(0xFFFFFFFF)
HALF = U64(32)
ONE_OF_TWO = 2.0**-53

READ = (READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_F8, READ_F8)
"""kernels; of each run the number of its kernel (-1: read from its table), its first element in `stride`, and its first
element in the maps (-1: entry e is number e); strides of the entries by slot; index, coefficient, constant of maps"""
GRAPH = (READ_F8, READ_U8, READ_U4, READ_U8, READ_I8, READ_I8, READ_U8, READ_F8, READ_F8, READ_U4, READ_U4, READ_U8)
"""unary, variable_start, variable_slot_start, slot_message, run_field, run_field_start, factor_number, constants,
store, scope, variable_sample, and the number of each variable's cell within its sample"""


@inlined
def philox(a, b, c, d, key):  # type: ignore[no-untyped-def]
    """Philox4x32-10 of a counter of four 32-bit words, under a key of 64 bits: four 32-bit words, as uint64."""
    k, l = key & WORD, key >> HALF  # noqa: E741
    for _ in range(10):
        p, q = U64(0xD2511F53) * a, U64(0xCD9E8D57) * c
        a, b, c, d = (q >> HALF) ^ b ^ k, q & WORD, (p >> HALF) ^ d ^ l, p & WORD
        k, l = (k + U64(0x9E3779B9)) & WORD, (l + U64(0xBB67AE85)) & WORD  # noqa: E741
    return a, b, c, d


@kernel(NOTHING, SIZE, SIZE, READ_U8, U8)
def make_keys(seed, update, samples, out):  # type: ignore[no-untyped-def]
    """out[i] = 64 bits for sample number samples[i] in an update under a seed."""
    for i in range(len(samples)):
        s = samples[i]
        a, b, _, _ = philox(s & WORD, s >> HALF, update & WORD, update >> HALF, seed)
        out[i] = (a << HALF) | b


@inlined
def uniform(key, cell, sweep):  # type: ignore[no-untyped-def]
    """In [0, 1), 53 bits."""
    a, b, _, _ = philox(cell & WORD, sweep & WORD, cell >> HALF, sweep >> HALF, key)
    return ((a >> U64(5)) * U64(1 << 26) + (b >> U64(6))) * ONE_OF_TWO


@kernel(NOTHING, *READ, *GRAPH, READ_U8, F8, F8, F8, I8, REAL, INTEGER, INTEGER, INTEGER, INTEGER, INTEGER)
def sweep_variables(  # type: ignore[no-untyped-def]
    kernels, run_kernel, run_stride, run_map, stride, index, coefficient, constant,
    unary, start, slot_start, slot_message, run_field, run_field_start, factor_number, constants, store, scope,
    variable_sample, cell, key, to_factor, out, scratch, state, beta, first, begin, count, low, high,
):  # fmt: skip
    """Draw `state` (V,) anew at the positions low to high of sweeps over `count` variables from `begin` on.

    Position p is variable begin + p % count in sweep first + p // count.

    `key` (N,) of each sample. `to_factor` holds the states clamped (0 at the state, +inf elsewhere) where a run has a
    kernel. A variable all of whose states are forbidden by what surrounds it stays as it is.
    """
    runs = len(run_field_start) - 1
    clamps = len(to_factor) > 0
    kernels, run_kernel, run_stride, run_map = (
        address(kernels), address(run_kernel), address(run_stride), address(run_map)
    )  # fmt: skip
    stride, index, coefficient, constant = address(stride), address(index), address(coefficient), address(constant)
    unary, start, slot_start, _, slot_message = of_variables(unary, start, slot_start, slot_start, slot_message)
    run_field, run_field_start, factor_number, constants, store, _ = of_runs(
        run_field, run_field_start, factor_number, constants, store, store
    )
    scope, variable_sample, cell, key = address(scope), address(variable_sample), address(cell), address(key)
    to_factor, out, scratch, state = address(to_factor), address(out), address(scratch), address(state)
    one = U64(1)
    width = 0
    for r in range(runs):
        states = 0
        for i in range(run_field[run_field_start[r] + 1]):
            states += run_field[run_field_start[r] + 8 + 4 * i]
        width = states if states > width else width
    b = U64(width)  # what a kernel writes lies before it
    # Slots of one run and one place in its scopes come one after another: what is the same for them is read once.
    from_m, to_m = U64(1), U64(0)
    at, slot, arity, asked, mapped, shared, place = 0, 0, 0, -1, -1, -1, 0
    n, step, rows, own = U64(0), U64(0), U64(0), U64(0)
    for p in range(low, high):
        sweep = p // count
        v = U64(begin + p - sweep * count)
        w = start[v]
        k = start[v + one] - w
        if k < U64(2):
            continue
        for s in range(k):
            out[b + s] = unary[w + s]
        for j in range(slot_start[v], slot_start[v + one]):
            m = slot_message[j]
            if m < from_m or m >= to_m:
                r, _, slot = locate(run_field, run_field_start, runs, m)
                at, asked, mapped, own = run_field_start[r], run_kernel[r], run_map[r], U64(run_stride[r])
                n, arity, place, shared = U64(run_field[at]), run_field[at + 1], run_field[at + 2], run_field[at + 4]
                from_m = U64(run_field[at + 10 + 4 * slot])
                to_m = from_m + n * k
                step = U64(stride[own + U64(slot)])
                rows = U64(0)
                for u in range(slot):
                    rows += U64(run_field[at + 8 + 4 * u])
            f = (m - from_m) // k
            if asked >= 0:
                run = after(run_field, at)
                number = after(factor_number, run[3])
                call(kernels[asked], (
                    run, number, store, store, constants, to_factor, out, scratch, f, f + one, slot,
                ))  # fmt: skip
                for s in range(k):
                    out[b + s] += out[rows + s]
                continue
            t = U64(shared) if shared >= 0 else factor_number[U64(run_field[at + 3]) + f]
            e = U64(0)
            for u in range(arity):
                if u != slot:
                    e += U64(stride[own + U64(u)] * state[scope[U64(place) + U64(u) * n + f]])
            if mapped < 0:
                for s in range(k):
                    out[b + s] += store[t + e + s * step]
                continue
            e += U64(mapped)
            for s in range(k):
                out[b + s] += constant[e]
                # A coefficient of 0 is a plain 0, whatever the number: 0 * inf would be NaN.
                if coefficient[e] != 0.0 and index[e] >= 0:
                    out[b + s] += coefficient[e] * store[t + U64(index[e])]
                e += step
        least = np.inf
        for s in range(k):
            least = out[b + s] if out[b + s] < least else least
        if least == np.inf:
            continue
        total = 0.0
        for s in range(k):
            energy = out[b + s]
            if beta == np.inf:
                total += 1.0 if is_tied(energy, least) else 0.0
            elif energy < np.inf:  # also at beta = 0
                total += exp_minus(beta * (energy - least))
            out[b + s] = total
        # Less than the last sum, as a uniform number is less than 1: the state has a weight that is not 0.
        aim = uniform(key[variable_sample[v]], cell[v], U64(first + sweep)) * total
        chosen = 0
        while not aim < out[b + U64(chosen)]:
            chosen += 1
        if chosen == state[v]:
            continue
        if clamps:
            for j in range(slot_start[v], slot_start[v + one]):
                m = slot_message[j]
                to_factor[m + U64(state[v])] = np.inf
                to_factor[m + U64(chosen)] = 0.0
        state[v] = chosen
