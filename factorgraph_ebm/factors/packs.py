"""Four numbers at once.

A loop over a row of sixteen numbers takes longer to set up than to run, once LLVM has made packed code of it that fits
rows of any length; a loop that keeps minima is unrolled first and never packed at all where its length is known. So
kernels of short rows say themselves what is done to four numbers at once. A pack is one register where there are
registers of four doubles, and two of two elsewhere.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from factorgraph_ebm._jit import Intrinsic, inlined, intrinsic
from factorgraph_ebm.factors.extremes import greater, lesser

U8 = np.uint64
SIZE = 4


@functools.cache
def _pack() -> Any:
    """The type of a pack, made known to Numba when the first kernel that has one is compiled."""
    from llvmlite import ir  # type: ignore[import-untyped]
    from numba.core import types
    from numba.core.datamodel import models
    from numba.extending import register_model

    class Pack(types.Type):
        def __init__(self) -> None:
            super().__init__(name="Pack")

    @register_model(Pack)
    class PackModel(models.PrimitiveModel):
        def __init__(self, manager: Any, of: Any) -> None:
            super().__init__(manager, of, ir.VectorType(ir.DoubleType(), SIZE))  # type: ignore[no-untyped-call]

    return Pack()


def _place(context: Any, builder: Any, of: Any, array: Any, index: Any) -> Any:
    from numba.core import types

    first = context.make_array(of)(context, builder, array).data if isinstance(of, types.Array) else array
    return builder.bitcast(builder.gep(first, [index]), context.get_value_type(_pack()).as_pointer())


@intrinsic(lambda array, index: array[index : index + SIZE].copy())
def load(typing: Any, array: Any, index: Any) -> Any:
    """array[index : index + 4]"""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_place(context, builder, signature.args[0], *arguments), align=8)

    return _pack()(array, index), build


def _store(array: Any, index: Any, pack: Any) -> None:
    array[index : index + SIZE] = pack


@intrinsic(_store)
def store(typing: Any, array: Any, index: Any, pack: Any) -> Any:
    """array[index : index + 4] = pack"""
    from numba.core import types

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _place(context, builder, signature.args[0], *arguments[:2]), align=8)
        return context.get_dummy_value()

    return types.void(array, index, pack), build


@intrinsic(lambda x: np.full(SIZE, x))
def filled(typing: Any, x: Any) -> Any:
    """Four times the same number."""
    from llvmlite import ir

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = ir.IntType(32)
        found = ir.Constant(context.get_value_type(_pack()), ir.Undefined)
        for i in range(SIZE):
            found = builder.insert_element(found, arguments[0], number(i))
        return found

    return _pack()(x), build


@intrinsic(lambda pack, i: pack[i])
def element(typing: Any, pack: Any, i: Any) -> Any:
    from numba.core import types

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.extract_element(*arguments)

    return types.float64(pack, i), build


def _each(plain: Callable[..., Any], instruct: Callable[..., Any]) -> Intrinsic:
    """What is done to each two numbers that stand in the same place of two packs."""

    @intrinsic(plain)
    def done(typing: Any, x: Any, y: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return instruct(builder, *arguments)

        return _pack()(x, y), build

    return done


def _finite(builder: Any, x: Any, y: Any) -> Any:
    from llvmlite import ir

    return builder.select(builder.fcmp_ordered("<", x, ir.Constant(x.type, [np.inf] * SIZE)), x, y)


def _chosen(builder: Any, relation: str, x: Any, y: Any) -> Any:
    return builder.select(builder.fcmp_ordered(relation, x, y), x, y)


added = _each(lambda x, y: x + y, lambda builder, x, y: builder.fadd(x, y))
less = _each(lambda x, y: x - y, lambda builder, x, y: builder.fsub(x, y))
times = _each(lambda x, y: x * y, lambda builder, x, y: builder.fmul(x, y))
lessers = _each(lambda x, y: np.where(x < y, x, y), lambda builder, x, y: _chosen(builder, "<", x, y))
"y where x is NaN"
greaters = _each(lambda x, y: np.where(x > y, x, y), lambda builder, x, y: _chosen(builder, ">", x, y))
"y where x is NaN"
finite = _each(lambda x, y: np.where(x < np.inf, x, y), lambda builder, x, y: _finite(builder, x, y))
"x, and y where x is not less than infinity"


def _mixed(*places: int) -> Intrinsic:
    """Four of the eight numbers of two packs."""

    def instruct(builder: Any, x: Any, y: Any) -> Any:
        from llvmlite import ir

        return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(ir.IntType(32), SIZE), places))

    return _each(lambda x, y: np.concatenate([x, y])[list(places)], instruct)


_evens = _mixed(0, 4, 2, 6)
_odds = _mixed(1, 5, 3, 7)
_front = _mixed(0, 1, 4, 5)
_back = _mixed(2, 3, 6, 7)


@inlined
def turned_square(x, y, z, t):  # type: ignore[no-untyped-def]
    """The columns of the square whose rows are these four packs."""
    a, b, c, d = _evens(x, y), _odds(x, y), _evens(z, t), _odds(z, t)
    return _front(a, c), _front(b, d), _back(a, c), _back(b, d)


@intrinsic(np.abs)
def magnitude(typing: Any, x: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        whole = ir.VectorType(ir.IntType(64), SIZE)
        bits = builder.bitcast(arguments[0], whole)
        kept = builder.and_(bits, ir.Constant(whole, [0x7FFFFFFFFFFFFFFF] * SIZE))
        return builder.bitcast(kept, context.get_value_type(_pack()))

    return _pack()(x), build


@inlined
def least_of_row(x, first, k):  # type: ignore[no-untyped-def]
    """Least of the k numbers from element `first` on, none of them NaN; +inf where k is 0."""
    low = filled(np.inf)
    sixteens = first + (k & ~U8(15))
    fours = first + (k & ~U8(3))
    for s in range(first, sixteens, U8(16)):
        near = lessers(load(x, s), load(x, s + U8(4)))
        far = lessers(load(x, s + U8(8)), load(x, s + U8(12)))
        low = lessers(lessers(near, far), low)
    for s in range(sixteens, fours, U8(4)):
        low = lessers(load(x, s), low)
    least = least_in(low)
    for s in range(fours, first + k):
        least = lesser(x[s], least)
    return least


@inlined
def least_in(pack):  # type: ignore[no-untyped-def]
    """Least of the four, none of them NaN."""
    return lesser(
        lesser(element(pack, U8(0)), element(pack, U8(2))), lesser(element(pack, U8(1)), element(pack, U8(3)))
    )


@inlined
def greatest_in(pack):  # type: ignore[no-untyped-def]
    """Greatest of the four, none of them NaN."""
    return greater(
        greater(element(pack, U8(0)), element(pack, U8(2))), greater(element(pack, U8(1)), element(pack, U8(3)))
    )
