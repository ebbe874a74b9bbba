"""Sums of rows times numbers, for one or two results at once, that stay in registers.

    out_r[j] += sum over i < count of x_r[i step] * w[i stride + j],      j < k,  r = 1, 2

LLVM vectorises a loop over j, but loads and stores the sums at each i, asks whether the arrays overlap, and leaves what
is over a multiple of eight to single numbers: at 20 states that takes two to three times as long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from factorgraph_ebm._jit import Intrinsic, inlined, intrinsic

U8 = np.uint64
LANES = 4
"columns in one vector"


def _plainly(columns: int, rows: int) -> Callable[..., None]:
    def add(out: Any, o: Any, p: Any, x: Any, y: Any, z: Any, step: Any, w: Any, e: Any, stride: Any, n: Any) -> None:
        for to, of in ((o, y), (p, z))[:rows]:
            for i in range(int(n)):
                for j in range(columns):
                    out[int(to) + j] += x[int(of) + i * int(step)] * w[int(e) + i * int(stride) + j]

    return add


def _summing(vectors: str, rows: str) -> Intrinsic:
    """An instruction: the sums of so many vectors of columns, for one result or two."""

    @intrinsic(_plainly(LANES * int(vectors), int(rows)))
    def summing(
        typing: Any, out: Any, o: Any, p: Any, x: Any, y: Any, z: Any, step: Any, w: Any, e: Any, stride: Any, n: Any
    ) -> Any:
        from llvmlite import ir  # type: ignore[import-untyped]
        from numba.core import types

        count, both = int(vectors), int(rows)
        word, small, lane = ir.IntType(64), ir.IntType(32), ir.DoubleType()
        vector = ir.VectorType(lane, LANES)
        contract = ("contract",)

        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            to, of, step, table, stride, total = (arguments[i] for i in (0, 3, 6, 7, 9, 10))

            def row(pointer: Any, at: Any) -> list[Any]:
                first = builder.gep(pointer, [at])
                parts = [builder.gep(first, [word(LANES * v)]) for v in range(count)]
                return [builder.bitcast(part, vector.as_pointer()) for part in parts]

            def read(pointer: Any) -> Any:
                found = builder.load(pointer)
                found.align = 8
                return found

            targets = [part for at in arguments[1 : 1 + both] for part in row(to, at)]
            before = [read(part) for part in targets]
            entry = builder.basic_block
            loop, done = builder.append_basic_block("terms"), builder.append_basic_block("summed")
            builder.cbranch(builder.icmp_unsigned("<", word(0), total), loop, done)
            builder.position_at_end(loop)
            i = builder.phi(word)
            i.add_incoming(word(0), entry)
            sums = [builder.phi(vector) for _ in targets]
            parts = [read(part) for part in row(table, builder.add(arguments[8], builder.mul(i, stride)))]
            found = []
            for r in range(both):
                number = read(builder.gep(of, [builder.add(arguments[4 + r], builder.mul(i, step))]))
                one = builder.insert_element(vector(ir.Undefined), number, small(0))
                each = builder.shuffle_vector(one, vector(ir.Undefined), ir.VectorType(small, LANES)([0] * LANES))
                found += [builder.fmul(each, part, flags=contract) for part in parts]
            found = [builder.fadd(term, so_far, flags=contract) for term, so_far in zip(found, sums)]
            for so_far, start, term in zip(sums, before, found):
                so_far.add_incoming(start, entry)
                so_far.add_incoming(term, loop)
            following = builder.add(i, word(1))
            i.add_incoming(following, loop)
            builder.cbranch(builder.icmp_unsigned("<", following, total), loop, done)
            builder.position_at_end(done)
            last = [builder.phi(vector) for _ in targets]
            for result, start, term in zip(last, before, found):
                result.add_incoming(start, entry)
                result.add_incoming(term, loop)
            for result, part in zip(last, targets):
                builder.store(result, part).align = 8
            return context.get_dummy_value()

        return types.void(out, o, p, x, y, z, step, w, e, stride, n), build

    return summing


_one_1, _one_2, _one_3, _one_4, _one_5 = (_summing(vectors, "1") for vectors in "12345")
_two_1, _two_2, _two_3, _two_4, _two_5 = (_summing(vectors, "2") for vectors in "12345")


@inlined
def sum_one(out, o, x, y, step, w, e, stride, n, k):  # type: ignore[no-untyped-def]
    """out[o + j] += sum over i < n of x[y + i step] * w[e + i stride + j], j < k; all are addresses."""
    vectors = k // U8(LANES)
    done = U8(0)
    while done < vectors:
        left = vectors - done
        at = U8(LANES) * done
        if left >= U8(5):
            _one_5(out, o + at, o, x, y, y, step, w, e + at, stride, n)
            done += U8(5)
        elif left == U8(4):
            _one_4(out, o + at, o, x, y, y, step, w, e + at, stride, n)
            done += U8(4)
        elif left == U8(3):
            _one_3(out, o + at, o, x, y, y, step, w, e + at, stride, n)
            done += U8(3)
        elif left == U8(2):
            _one_2(out, o + at, o, x, y, y, step, w, e + at, stride, n)
            done += U8(2)
        else:
            _one_1(out, o + at, o, x, y, y, step, w, e + at, stride, n)
            done += U8(1)
    for j in range(U8(LANES) * vectors, k):
        total = out[o + j]
        for i in range(n):
            total += x[y + i * step] * w[e + i * stride + j]
        out[o + j] = total


@inlined
def sum_two(out, o, p, x, y, z, step, w, e, stride, n, k):  # type: ignore[no-untyped-def]
    """The same for o and y, and for p and z, to the same bits: what is read of w is read once."""
    vectors = k // U8(LANES)
    done = U8(0)
    while done < vectors:
        left = vectors - done
        at = U8(LANES) * done
        if left >= U8(5):
            _two_5(out, o + at, p + at, x, y, z, step, w, e + at, stride, n)
            done += U8(5)
        elif left == U8(4):
            _two_4(out, o + at, p + at, x, y, z, step, w, e + at, stride, n)
            done += U8(4)
        elif left == U8(3):
            _two_3(out, o + at, p + at, x, y, z, step, w, e + at, stride, n)
            done += U8(3)
        elif left == U8(2):
            _two_2(out, o + at, p + at, x, y, z, step, w, e + at, stride, n)
            done += U8(2)
        else:
            _two_1(out, o + at, p + at, x, y, z, step, w, e + at, stride, n)
            done += U8(1)
    for j in range(U8(LANES) * vectors, k):
        first, second = out[o + j], out[p + j]
        for i in range(n):
            first += x[y + i * step] * w[e + i * stride + j]
            second += x[z + i * step] * w[e + i * stride + j]
        out[o + j], out[p + j] = first, second
