"""Instructions that add up vectors of columns in registers, for kernels of products.

    out[j] += sum over i of x_i * w_i[j],      for so many vectors of columns j

LLVM vectorises a loop over j, but loads and stores the sums at each i, asks whether the arrays overlap, and leaves what
is over a multiple of eight to single numbers: at 20 columns that takes two to three times as long. Here the sums stay
in registers while terms go by. What differs is where numbers and rows are found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from factorgraph_ebm._jit import Intrinsic, intrinsic

LANES = 4
"columns in one vector"
AHEAD = 16
"nonzeros between the one at work and the one whose row is asked for"


class _Code:
    """What is written into one instruction, of so many vectors."""

    def __init__(self, builder: Any, vectors: str) -> None:
        from llvmlite import ir  # type: ignore[import-untyped]

        self.ir, self.builder, self.count = ir, builder, int(vectors)
        self.word, self.small = ir.IntType(64), ir.IntType(32)
        self.vector = ir.VectorType(ir.DoubleType(), LANES)

    def row(self, pointer: Any, at: Any) -> list[Any]:
        """Pointers to the vectors of a row that begins at an element."""
        first = self.builder.gep(pointer, [at])
        parts = [self.builder.gep(first, [self.word(LANES * v)]) for v in range(self.count)]
        return [self.builder.bitcast(part, self.vector.as_pointer()) for part in parts]

    def read(self, pointer: Any) -> Any:
        found = self.builder.load(pointer)
        found.align = 8
        return found

    def everywhere(self, number: Any) -> Any:
        """A vector of one number."""
        nothing = self.vector(self.ir.Undefined)
        one = self.builder.insert_element(nothing, number, self.small(0))
        return self.builder.shuffle_vector(one, nothing, self.ir.VectorType(self.small, LANES)([0] * LANES))

    def sum_up(
        self,
        targets: Sequence[Any],
        first: Any,
        stop: Any,
        terms: Callable[[Any], tuple[Sequence[Any], Sequence[Any]]],
    ) -> None:
        """Add to the vectors at `targets` the terms i from first to below stop: `terms(i)` are numbers and vectors.

        Each number, a vector of it, goes with all vectors; their products are as many as there are targets, in order.
        """
        builder = self.builder
        before = [self.read(target) for target in targets]
        entry = builder.basic_block
        loop, done = builder.append_basic_block("terms"), builder.append_basic_block("summed")
        builder.cbranch(builder.icmp_unsigned("<", first, stop), loop, done)
        builder.position_at_end(loop)
        i = builder.phi(self.word)
        i.add_incoming(first, entry)
        sums = [builder.phi(self.vector) for _ in targets]
        numbers, vectors = terms(i)
        # A product and its sum may be rounded together.
        contract = ("contract",)
        products = [builder.fmul(number, each, flags=contract) for number in numbers for each in vectors]
        found = [builder.fadd(product, so_far, flags=contract) for product, so_far in zip(products, sums, strict=True)]
        for so_far, start, total in zip(sums, before, found):
            so_far.add_incoming(start, entry)
            so_far.add_incoming(total, loop)
        following = builder.add(i, self.word(1))
        i.add_incoming(following, loop)
        builder.cbranch(builder.icmp_unsigned("<", following, stop), loop, done)
        builder.position_at_end(done)
        last = [builder.phi(self.vector) for _ in targets]
        for result, start, total in zip(last, before, found):
            result.add_incoming(start, entry)
            result.add_incoming(total, loop)
        for result, target in zip(last, targets):
            builder.store(result, target).align = 8

    def ask_for(self, pointer: Any, at: Any) -> None:
        """Have a row brought near that is read soon."""
        builder, byte = self.builder, self.ir.IntType(8).as_pointer()
        kind = self.ir.FunctionType(self.ir.VoidType(), [byte, self.small, self.small, self.small])
        ask = builder.module.declare_intrinsic("llvm.prefetch", (byte,), kind)
        for line in range(0, LANES * self.count, 8):
            ahead = builder.gep(pointer, [builder.add(at, self.word(line))])
            builder.call(ask, [builder.bitcast(ahead, byte), self.small(0), self.small(3), self.small(1)])


def _plain_sums(columns: int, rows: int) -> Callable[..., None]:
    def add(out: Any, o: Any, p: Any, x: Any, y: Any, z: Any, step: Any, w: Any, e: Any, stride: Any, n: Any) -> None:
        for to, of in ((o, y), (p, z))[:rows]:
            for i in range(int(n)):
                for j in range(columns):
                    out[int(to) + j] += x[int(of) + i * int(step)] * w[int(e) + i * int(stride) + j]

    return add


def summing(vectors: str, rows: str) -> Intrinsic:
    """out[o + j] += sum over i below n of x[y + i step] * w[e + i stride + j]; of two `rows` also for p and z.

    `out`, `x` and `w` are addresses; what is read of `w` is read once.
    """

    @intrinsic(_plain_sums(LANES * int(vectors), int(rows)))
    def instruction(
        typing: Any, out: Any, o: Any, p: Any, x: Any, y: Any, z: Any, step: Any, w: Any, e: Any, stride: Any, n: Any
    ) -> Any:
        from numba.core import types

        both = int(rows)

        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = _Code(builder, vectors)
            to, of, step, table, first, stride, stop = (arguments[i] for i in (0, 3, 6, 7, 8, 9, 10))

            def terms(i: Any) -> tuple[list[Any], list[Any]]:
                parts = [code.read(part) for part in code.row(table, builder.add(first, builder.mul(i, stride)))]
                places = [builder.add(arguments[4 + r], builder.mul(i, step)) for r in range(both)]
                return [code.everywhere(code.read(builder.gep(of, [at]))) for at in places], parts

            targets = [part for at in arguments[1 : 1 + both] for part in code.row(to, at)]
            code.sum_up(targets, code.word(0), stop, terms)
            return context.get_dummy_value()

        return types.void(out, o, p, x, y, z, step, w, e, stride, n), build

    return instruction


def _plain_nonzeros(columns: int) -> Callable[..., None]:
    def add(value: Any, place: Any, right: Any, r: int, out: Any, o: int, first: int, stop: int, end: int) -> None:
        for i in range(int(first), int(stop)):
            for j in range(columns):
                out[int(o) + j] += value[i] * right[int(place[i]) + int(r) + j]

    return add


def summing_nonzeros(vectors: str) -> Intrinsic:
    """out[o + j] += sum over nonzeros i from first to below stop of value[i] * right[place[i] + r + j].

    `end`: how many nonzeros there are in all. Rows lie anywhere in what is read: those that come soon are asked for.
    """

    @intrinsic(_plain_nonzeros(LANES * int(vectors)))
    def instruction(
        typing: Any, value: Any, place: Any, right: Any, r: Any, out: Any, o: Any, first: Any, stop: Any, end: Any
    ) -> Any:
        from numba.core import types

        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = _Code(builder, vectors)

            def data(i: int) -> Any:
                return context.make_array(signature.args[i])(context, builder, arguments[i]).data

            values, places, rights, outs = data(0), data(1), data(2), data(4)
            r, o, first, stop, end = (arguments[i] for i in (3, 5, 6, 7, 8))

            def row_of(i: Any) -> Any:
                return builder.add(builder.zext(builder.load(builder.gep(places, [i])), code.word), r)

            def terms(i: Any) -> tuple[list[Any], list[Any]]:
                number = code.everywhere(code.read(builder.gep(values, [i])))
                at = row_of(i)
                soon = builder.add(i, code.word(AHEAD))
                code.ask_for(rights, row_of(builder.select(builder.icmp_unsigned("<", soon, end), soon, i)))
                return [number], [code.read(part) for part in code.row(rights, at)]

            code.sum_up(code.row(outs, o), first, stop, terms)
            return context.get_dummy_value()

        return types.void(value, place, right, r, out, o, first, stop, end), build

    return instruction
