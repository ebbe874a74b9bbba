"""Eight columns of a table at once, in packed numbers.

A loop along a row of sixteen numbers is over before packed numbers pay, and its eight partial minima have to be joined
at the end. Eight columns need no joining: their minima stay in registers while rows go by. LLVM does not find that by
itself where the number of rows is not known, so it is told, in vectors of its own, which every processor's code
generator cuts to what it has.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from factorgraph_ebm._jit import intrinsic

EIGHT = 8
"columns of one call"


def _least_of_eight(store: Any, t: Any, stride: Any, k: Any, x: Any, m: Any, out: Any, o: Any) -> None:
    columns = np.full(EIGHT, np.inf)
    for i in range(int(k)):
        first = int(t) + i * int(stride)
        columns = np.minimum(columns, store[first : first + EIGHT] + x[int(m) + i])
    out[int(o) : int(o) + EIGHT] = columns


@intrinsic(_least_of_eight)
def least_of_eight(typing: Any, store: Any, t: Any, stride: Any, k: Any, x: Any, m: Any, out: Any, o: Any) -> Any:
    """out[o + j] = min over i below k of store[t + i * stride + j] + x[m + i], j = 0 to 7, k > 0; of addresses.

    `store` may be of numbers in single precision. No number is NaN.
    """
    from llvmlite import ir  # type: ignore[import-untyped]
    from numba.core import types

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        store, t, stride, k, x, m, out, o = arguments
        whole, small, eight = ir.IntType(64), ir.IntType(32), ir.VectorType(ir.DoubleType(), EIGHT)
        read = ir.VectorType(store.type.pointee, EIGHT)
        before, loop, end = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)

        builder.position_at_end(loop)
        i, least = builder.phi(whole), builder.phi(eight)
        first = builder.gep(store, [builder.add(t, builder.mul(i, stride))])
        row = builder.load(builder.bitcast(first, read.as_pointer()), align=context.get_abi_sizeof(store.type.pointee))
        if read != eight:
            row = builder.fpext(row, eight)
        y = builder.insert_element(eight(ir.Undefined), builder.load(builder.gep(x, [builder.add(m, i)])), small(0))
        added = builder.fadd(row, builder.shuffle_vector(y, eight(ir.Undefined), ir.VectorType(small, EIGHT)(None)))
        flags = ("nnan", "nsz")
        lower = builder.select(builder.fcmp_ordered("<", added, least, flags=flags), added, least, flags=flags)
        following = builder.add(i, whole(1))
        for phi, at_first, later in ((i, whole(0), following), (least, eight([np.inf] * EIGHT), lower)):
            phi.add_incoming(at_first, before)
            phi.add_incoming(later, loop)
        builder.cbranch(builder.icmp_unsigned("<", following, k), loop, end)

        builder.position_at_end(end)
        builder.store(lower, builder.bitcast(builder.gep(out, [o]), eight.as_pointer()), align=8)
        return context.get_dummy_value()

    return types.void(store, t, stride, k, x, m, out, o), build
