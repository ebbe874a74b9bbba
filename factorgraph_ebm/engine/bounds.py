"""A valid lower bound on the least energy, from any messages.

    E(x) = sum_v [unary_v + sum_f m_(f,v)](x_v) + sum_f [table_f - sum_v m_(f,v)](x_f)

for every choice of m, so the sum of the minima of the brackets is below the least energy: the reparametrisation bound
of Wainwright, Jaakkola and Willsky, IEEE Trans. Inf. Theory 51(11), 2005, with one term for each factor.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import F8, READ_F8, READ_I8, READ_U4, READ_U8, REAL, SIZE, call, kernel
from factorgraph_ebm.engine.addresses import address, after, of_runs
from factorgraph_ebm.engine.driver import RUNS

U8 = np.uint64


@kernel(REAL, READ_I8, READ_I8, READ_U8, READ_U4, READ_U4, *RUNS, READ_F8, F8, F8, SIZE, READ_F8, F8, F8)
def add_lower_bounds(  # type: ignore[no-untyped-def]
    kernels, run_kernel, start, scope, variable_sample,
    run_field, run_field_start, factor_number, constants, store, weight,
    minus_messages, out, scratch, block, belief, bound, size,
):  # fmt: skip
    """Add each sample's terms to `bound`, and their magnitudes to `size`, which scales the rounding of the sum."""
    for v in range(len(start) - 1):
        least = np.inf
        for s in range(start[v], start[v + 1]):
            least = belief[s] if belief[s] < least else least
        sample = variable_sample[v]
        bound[sample] += least
        size[sample] += abs(least) if least < np.inf else 0.0
    runs = len(run_field_start) - 1
    run_field, run_field_start, factor_number, constants, store, weight = of_runs(
        run_field, run_field_start, factor_number, constants, store, weight
    )
    minus_messages, out, scratch = address(minus_messages), address(out), address(scratch)
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
                run, number, store, weight, constants, minus_messages, out, scratch, low, high, last,
            ))  # fmt: skip
            for f in range(low, high):
                o = (high - low) * before + (f - low) * k
                m = U8(run[8 + 4 * last + 2]) + f * k
                least = np.inf
                for s in range(k):
                    value = out[o + s] + minus_messages[m + s]
                    least = value if value < least else least
                sample = variable_sample[scope[run[2] + np.int64(f)]]
                bound[sample] += least
                size[sample] += abs(least) if least < np.inf else 0.0
            low = high
    return 0.0
