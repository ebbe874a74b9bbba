"""Addresses of arrays, which drivers hand to the kernels that they call by address (`_jit.call`).

An array passes as seven words and with a counter of references, an address as one word: a call with the ten arrays of a
message kernel takes some 5 ns instead of 20, or of 150 where references are counted. Whoever calls a driver keeps its
arrays alive. A kernel reads `x[i]` of an address as of an array, but an address has no length.
"""

from __future__ import annotations

from typing import Any

from factorgraph_ebm._jit import inlined, intrinsic


@intrinsic(lambda array: array)
def address(typing: Any, array: Any) -> Any:
    """The address of the first element of an array."""
    from numba.core import types

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return types.CPointer(array.dtype)(array), build  # type: ignore[no-untyped-call]


@intrinsic(lambda array, count: array[count:])
def after(typing: Any, pointer: Any, count: Any) -> Any:
    """The address of the element that lies `count` elements behind."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.gep(arguments[0], [arguments[1]])

    return pointer(pointer, count), build


@inlined
def of_variables(unary, start, slot_start, slot_split, slot_message):  # type: ignore[no-untyped-def]
    return address(unary), address(start), address(slot_start), address(slot_split), address(slot_message)


@inlined
def of_runs(run_field, run_field_start, factor_number, constants, store, weight):  # type: ignore[no-untyped-def]
    return (
        address(run_field), address(run_field_start), address(factor_number), address(constants), address(store),
        address(weight),
    )  # fmt: skip


@inlined
def of_state(to_variable, to_factor, out, scratch):  # type: ignore[no-untyped-def]
    return address(to_variable), address(to_factor), address(out), address(scratch)
