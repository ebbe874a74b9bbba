"""Rows that do not overlap: what is written is not what is read.

Before a loop over rows of arrays runs on packed numbers, it compares the places of all of them, since what it writes
could be what it reads next. For rows of sixteen numbers that takes as long as the loop, so that LLVM leaves them
unpacked. `read` and `write` promise it: within one kernel, nothing that `read` reads is ever written by `write`. The
promise is the alias scope of LLVM's language reference; plain indexing promises nothing.

Where several rows are written in one loop, `write_0` to `write_15` promise besides that no two of them ever write the
same place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from factorgraph_ebm._jit import intrinsic


def _scopes(module: Any, numbers: Sequence[int]) -> Any:
    """A list of scopes: WRITTEN, of all that is written, and of what writers of one number write.

    Two accesses lie apart if one excludes all scopes of the other within one domain: so there are two.
    """
    from llvmlite import ir  # type: ignore[import-untyped]

    found = []
    for n in numbers:
        about, name = ("read", "written") if n == WRITTEN else ("written", f"row {n}")
        domain = module.add_metadata([ir.MetaDataString(module, f"rows that do not overlap what is {about}")])
        found.append(module.add_metadata([ir.MetaDataString(module, name), domain]))
    return module.add_metadata(found)


WRITTEN = -1


def _place(context: Any, builder: Any, of: Any, array: Any, index: Any) -> Any:
    from numba.core import types

    first = context.make_array(of)(context, builder, array).data if isinstance(of, types.Array) else array
    return builder.gep(first, [index])


@intrinsic(lambda array, index: array[index])
def read(typing: Any, array: Any, index: Any) -> Any:
    """array[index], which no `write` of this kernel writes."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = builder.load(_place(context, builder, signature.args[0], *arguments))
        value.set_metadata("noalias", _scopes(builder.module, [WRITTEN]))
        return value

    return array.dtype(array, index), build


def _write(array: Any, index: Any, value: Any) -> None:
    array[index] = value


def _writing(number: int | None) -> Callable[..., Any]:
    """`write` of one number, or of none, which says nothing about other rows that are written."""

    def write(typing: Any, array: Any, index: Any, value: Any) -> Any:
        from numba.core import types

        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = _place(context, builder, signature.args[0], *arguments[:2])
            stored = builder.store(arguments[2], place)
            mine = [WRITTEN] if number is None else [WRITTEN, number]
            stored.set_metadata("alias.scope", _scopes(builder.module, mine))
            if number is not None:
                stored.set_metadata("noalias", _scopes(builder.module, [n for n in range(MOST) if n != number]))
            return context.get_dummy_value()

        return types.void(array, index, value), build

    return write


MOST = 16
"rows that may be written at once"

write = intrinsic(_write)(_writing(None))
"array[index] = value, which no `read` of this kernel reads"
write_0, write_1, write_2, write_3, write_4, write_5, write_6, write_7 = (
    intrinsic(_write)(_writing(number)) for number in range(8)
)
write_8, write_9, write_10, write_11, write_12, write_13, write_14, write_15 = (
    intrinsic(_write)(_writing(number)) for number in range(8, MOST)
)
