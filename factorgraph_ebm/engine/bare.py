"""Arrays without reference counts, for the time of one call.

A call through a pointer counts every array that it passes up and down again, with atomic instructions: 150 ns for ten
arrays, as much as the messages of a hundred two-state factors. Drivers drop the counters of what their caller holds
anyway.
"""

from __future__ import annotations

from typing import Any

from factorgraph_ebm._jit import inlined, intrinsic


@intrinsic(lambda array: array)
def bare(typing: Any, array: Any) -> Any:
    """The same array, not counted: whoever calls the driver keeps it alive."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        view.meminfo = view.meminfo.type(None)
        view.parent = view.parent.type(None)
        return view._getvalue()

    return array(array), build


@inlined
def bare_variables(unary, start, slot_start, slot_split, slot_message):  # type: ignore[no-untyped-def]
    return bare(unary), bare(start), bare(slot_start), bare(slot_split), bare(slot_message)


@inlined
def bare_runs(run_field, run_field_start, factor_number, constants, store, weight):  # type: ignore[no-untyped-def]
    return (
        bare(run_field), bare(run_field_start), bare(factor_number), bare(constants), bare(store), bare(weight),
    )  # fmt: skip


@inlined
def bare_state(to_variable, to_factor, out, scratch):  # type: ignore[no-untyped-def]
    return bare(to_variable), bare(to_factor), bare(out), bare(scratch)
