"""Tickets: how threads share the tasks of a stage without locks, inside one compiled call.

A thread takes the next number of a counter and does the task of that number; a stage is over when as many tasks are
done as there are. A thread only ever waits for tasks that another has taken and is working on, so the caller alone
always comes to the end, whether or not its helpers are given a processor. What a task computes does not depend on who
does it: results are bit-identical for any number of threads.
"""

from __future__ import annotations

from typing import Any

from factorgraph_ebm._jit import intrinsic


def _take(counters: Any, place: Any) -> Any:
    number = counters[place]
    counters[place] += 1
    return number


@intrinsic(_take)
def take(typing: Any, counters: Any, place: Any) -> Any:
    """Add one to `counters[place]`, atomically; return what it was."""
    from numba.core import types

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _element(context, builder, signature, arguments)
        return builder.atomic_rmw("add", pointer, context.get_constant(types.int64, 1), "seq_cst")

    return types.int64(counters, place), build


@intrinsic(lambda counters, place: counters[place])
def read(typing: Any, counters: Any, place: Any) -> Any:
    """Read `counters[place]` such that all that was written before it was raised is seen."""
    from numba.core import types

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_element(context, builder, signature, arguments), "acquire", 8)

    return types.int64(counters, place), build


def _element(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.gep(array.data, [arguments[1]])
