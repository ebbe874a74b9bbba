"""Tables in single precision: two numbers in the place of one.

A table of 16 x 16 numbers is read once for each message, from memory where graphs are large, and takes half as long to
read if its numbers are half as wide. What is added to them are messages, in double precision as ever, so a kernel for
such tables is the same kernel: only what it reads is of another type.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from factorgraph_ebm._jit import inlined, intrinsic

LARGEST = float(np.finfo(np.float32).max)
"what is larger and not +inf becomes this: nothing that is allowed becomes forbidden"


@intrinsic(lambda store: np.asarray(store).view(np.float32))
def singles(typing: Any, store: Any) -> Any:
    """The same memory as numbers in single precision."""
    from numba.core import types

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.float32)(store), build  # type: ignore[no-untyped-call]


@inlined
def rounded(energy):  # type: ignore[no-untyped-def]
    """An energy in single precision."""
    if energy == np.inf:
        return np.float32(np.inf)
    return np.float32(min(max(energy, -LARGEST), LARGEST))
