"""What the machine code of a kernel depends on, as one digest: its bytecode, that of all it calls, and every constant.

Numba's own cache looks at the file of the kernel alone, and would serve stale code after an edit of a callee in another
file. A digest of all sources is safe, but an edit anywhere would compile everything again. This one follows the globals
that a function reads: another function of ours counts with its own bytecode and so on, a number or an array with its
value, a class or a plain function of ours with the whole file that defines it, and what belongs to another package with
its name, since versions are told apart elsewhere (`_jit.cache_directory`).
"""

from __future__ import annotations

import functools
import hashlib
import pathlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

PACKAGE = __name__.partition(".")[0]


class Traced:
    """A function that is compiled, alone or inside others."""

    function: Callable[..., Any]

    def besides(self) -> str:
        """What its machine code depends on besides the function."""
        return ""


def stamp(kernel: Traced) -> str:
    """A digest that differs where machine code might.

    Raises
    ------
    TypeError : a function reads a global whose value cannot be told: make it a number, a tuple or an array.
    """
    seen: dict[int, Traced] = {id(kernel): kernel}
    left, lines = [kernel], set()
    while left:
        each = left.pop()
        function = each.function
        if not isinstance(function, types.FunctionType):  # one of NumPy's, which stands in for an instruction
            lines.add(f"{function} {each.besides()}")
            continue
        words = [_named(function), each.besides(), repr(function.__defaults__), *_code(function.__code__)]
        for name in sorted(set(_names(function.__code__)) & function.__globals__.keys()):
            value = function.__globals__[name]
            if isinstance(value, Traced):
                words.append(f"{name} = {getattr(value.function, '__qualname__', value.function)}")
                if id(value) not in seen:
                    seen[id(value)] = value
                    left.append(value)
            else:
                words.append(f"{name} = {_value(value, name, function)}")
        lines.add("\n".join(words))
    return hashlib.sha256("\n\n".join(sorted(lines)).encode()).hexdigest()


def _named(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _code(code: types.CodeType) -> Iterator[str]:
    """The instructions, and what they name by number; where they stand in the file does not matter."""
    yield from (code.co_code.hex(), repr(code.co_varnames), repr(code.co_names), repr(code.co_argcount))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _code(constant)
        else:  # the order of a set is not the same in every process
            yield repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant)


def _value(value: Any, name: str, function: Callable[..., Any]) -> str:
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, np.generic)):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, tuple):
        return ", ".join(_value(each, name, function) for each in value)
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return f"{value.dtype.descr} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, types.ModuleType):
        return file_digest(value.__name__)
    if isinstance(value, np.ufunc):
        return f"numpy {value.__name__}"
    if hasattr(value, "__module__") and hasattr(value, "__qualname__"):
        return f"{_named(value)} {file_digest(value.__module__)}"
    raise TypeError(
        f"{_named(function)} is compiled, and reads {name}, a {type(value).__name__}: what that holds cannot be told. "
        "Make it a number, a tuple or an array."
    )


@functools.cache
def file_digest(module: str) -> str:
    """Of the file of a module of this package; of another package just the name."""
    file = getattr(sys.modules[module], "__file__", None)
    if module.partition(".")[0] != PACKAGE or file is None:
        return module
    return hashlib.sha256(pathlib.Path(file).read_bytes()).hexdigest()
