"""Four or eight columns of a table at once, in packed numbers.

A loop along a row of sixteen numbers is over before packed numbers pay, and its partial minima have to be joined at the
end. Columns side by side need no joining: their minima stay in registers while rows go by. LLVM does not find that by
itself where the number of rows is not known, so it is told, in vectors of its own, which every processor's code
generator cuts to what it has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from factorgraph_ebm._jit import Intrinsic, intrinsic

FOUR, EIGHT = 4, 8
"columns of one call"


def _plain(width: int) -> Callable[..., None]:
    def least(store: Any, t: Any, stride: Any, k: Any, x: Any, m: Any, out: Any, o: Any) -> None:
        columns = np.full(width, np.inf)
        for i in range(int(k)):
            first = int(t) + i * int(stride)
            columns = np.minimum(columns, store[first : first + width] + x[int(m) + i])
        out[int(o) : int(o) + width] = columns

    return least


def _least_of(width: int) -> Intrinsic:
    """out[o + j] = min over i below k of store[t + i * stride + j] + x[m + i], j below `width`, k > 0; of addresses.

    `store` may be of numbers in single precision. No number is NaN.
    """

    @intrinsic(_plain(width))
    def least(typing: Any, store: Any, t: Any, stride: Any, k: Any, x: Any, m: Any, out: Any, o: Any) -> Any:
        from llvmlite import ir  # type: ignore[import-untyped]
        from numba.core import types

        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            store, t, stride, k, x, m, out, o = arguments
            number, small, packed = ir.IntType(64), ir.IntType(32), ir.VectorType(ir.DoubleType(), width)
            entry = store.type.pointee
            read = ir.VectorType(entry, width)
            before, loop, end = builder.block, builder.append_basic_block(), builder.append_basic_block()
            builder.branch(loop)

            builder.position_at_end(loop)
            i, lowest = builder.phi(number), builder.phi(packed)
            first = builder.gep(store, [builder.add(t, builder.mul(i, stride))])
            row = builder.load(builder.bitcast(first, read.as_pointer()), align=context.get_abi_sizeof(entry))
            if read != packed:
                row = builder.fpext(row, packed)
            nothing = packed(ir.Undefined)
            y = builder.insert_element(nothing, builder.load(builder.gep(x, [builder.add(m, i)])), small(0))
            added = builder.fadd(row, builder.shuffle_vector(y, nothing, ir.VectorType(small, width)(None)))
            flags = ("nnan", "nsz")
            lower = builder.select(builder.fcmp_ordered("<", added, lowest, flags=flags), added, lowest, flags=flags)
            following = builder.add(i, number(1))
            for phi, at_first, later in ((i, number(0), following), (lowest, packed([np.inf] * width), lower)):
                phi.add_incoming(at_first, before)
                phi.add_incoming(later, loop)
            builder.cbranch(builder.icmp_unsigned("<", following, k), loop, end)

            builder.position_at_end(end)
            builder.store(lower, builder.bitcast(builder.gep(out, [o]), packed.as_pointer()), align=8)
            return context.get_dummy_value()

        return types.void(store, t, stride, k, x, m, out, o), build

    return least


least_of_four, least_of_eight = _least_of(FOUR), _least_of(EIGHT)
