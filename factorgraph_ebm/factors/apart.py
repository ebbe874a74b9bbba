"""Rows that do not overlap: what is written is not what is read.

Before a loop over rows of arrays runs on packed numbers, it compares the places of all of them, since what it writes
could be what it reads next. For rows of sixteen numbers that takes as long as the loop, so that LLVM leaves them
unpacked. `read` and `write` promise it: within one kernel, nothing that `read` reads is ever written by `write`. The
promise is the alias scope of LLVM's language reference; plain indexing promises nothing.
"""

from __future__ import annotations

from typing import Any

from factorgraph_ebm._jit import intrinsic


def _scope(module: Any) -> Any:
    """The one scope of what is written, as a list of scopes."""
    from llvmlite import ir  # type: ignore[import-untyped]

    domain = module.add_metadata([ir.MetaDataString(module, "rows that do not overlap")])
    written = module.add_metadata([ir.MetaDataString(module, "written"), domain])
    return module.add_metadata([written])


def _place(context: Any, builder: Any, of: Any, array: Any, index: Any) -> Any:
    from numba.core import types

    first = context.make_array(of)(context, builder, array).data if isinstance(of, types.Array) else array
    return builder.gep(first, [index])


@intrinsic(lambda array, index: array[index])
def read(typing: Any, array: Any, index: Any) -> Any:
    """array[index], which no `write` of this kernel writes."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = builder.load(_place(context, builder, signature.args[0], *arguments))
        value.set_metadata("noalias", _scope(builder.module))
        return value

    return array.dtype(array, index), build


def _write(array: Any, index: Any, value: Any) -> None:
    array[index] = value


@intrinsic(_write)
def write(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """array[index] = value, which no `read` of this kernel reads."""
    from numba.core import types

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], place).set_metadata("alias.scope", _scope(builder.module))
        return context.get_dummy_value()

    return types.void(array, index, value), build
