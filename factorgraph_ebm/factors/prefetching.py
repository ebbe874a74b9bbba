"""Asking for memory before it is needed.

Own tables are read once each, and the next one may lie anywhere: a processor guesses where only within a page. Asked
for two or three tables ahead, they arrive while others are added up.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from factorgraph_ebm._jit import inlined, intrinsic

U8 = np.uint64

LINE = 8
"numbers in a cache line"


def _nothing(array: Any, place: Any) -> None:
    """Without the JIT nothing is asked for."""


@intrinsic(_nothing)
def prefetch(typing: Any, array: Any, place: Any) -> Any:
    """Ask for the cache line of `array[place]`."""
    from llvmlite import ir  # type: ignore[import-untyped]
    from numba.core import cgutils, types

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first, at = arguments
        if isinstance(signature.args[0], types.Array):
            first = context.make_array(signature.args[0])(context, builder, first).data
        line = builder.bitcast(builder.gep(first, [at]), cgutils.voidptr_t)
        kind = ir.FunctionType(ir.VoidType(), [line.type, cgutils.int32_t, cgutils.int32_t, cgutils.int32_t])
        ask = builder.module.declare_intrinsic("llvm.prefetch", (line.type,), kind)
        reading, all_levels, data = (cgutils.int32_t(i) for i in (0, 3, 1))
        builder.call(ask, [line, reading, all_levels, data])
        return context.get_dummy_value()

    return types.void(array, place), build


@inlined
def prefetch_row(array, first, k):  # type: ignore[no-untyped-def]
    """Ask for the k numbers from element `first` on."""
    prefetch_lines(array, first, k, LINE)


@inlined
def prefetch_lines(array, first, k, line):  # type: ignore[no-untyped-def]
    """The same where a cache line has so many numbers."""
    for i in range(U8(0), k, U8(line)):
        prefetch(array, first + i)
