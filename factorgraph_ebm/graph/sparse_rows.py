"""Products of a sparse matrix with rows of numbers that lie anywhere, row by row.

    out[at_r + j] += sum over the nonzeros (r, c) of value_rc * right[place_c + j],      j < width

That is X W where `right` is W, and X' G where it is G and the matrix is the transpose: then each row of W is written by
one loop, which reads rows of G, so ranges of rows may be given to threads without changing a bit.

The sums of up to 32 columns stay in registers while the nonzeros of a row go by. LLVM vectorises a loop over columns,
but not with its sums in registers, and asks each time whether arrays overlap: that takes twice as long at 20 columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from factorgraph_ebm._jit import F8, NOTHING, READ_F8, READ_I8, READ_U4, SIZE, Intrinsic, intrinsic, kernel

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

U8 = np.uint64
FURTHEST = 1 << 32
"elements of `right` at most: places of nonzeros are kept in 32 bits"
LANES = 4
"columns in one vector"
AHEAD = 16
"nonzeros between the one at work and the one whose row is asked for"


def _plainly(columns: int) -> Callable[..., None]:
    def add(value: Any, place: Any, right: Any, r: int, out: Any, o: int, first: int, stop: int, end: int) -> None:
        for i in range(int(first), int(stop)):
            for j in range(columns):
                out[int(o) + j] += value[i] * right[int(place[i]) + int(r) + j]

    return add


def _adding(vectors: str) -> Intrinsic:
    """An instruction: out[o + j] += sum over nonzeros first to stop of value * right[place + r + j], for columns j.

    `end`: how many nonzeros there are in all.
    """

    @intrinsic(_plainly(LANES * int(vectors)))
    def adding(
        typing: Any, value: Any, place: Any, right: Any, r: Any, out: Any, o: Any, first: Any, stop: Any, end: Any
    ) -> Any:
        from llvmlite import ir  # type: ignore[import-untyped]
        from numba.core import types

        count = int(vectors)
        word, small, lane = ir.IntType(64), ir.IntType(32), ir.DoubleType()
        vector, byte = ir.VectorType(lane, LANES), ir.IntType(8).as_pointer()
        contract = ("contract",)

        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            def data(i: int) -> Any:
                return context.make_array(signature.args[i])(context, builder, arguments[i]).data

            def row(pointer: Any, at: Any) -> list[Any]:
                first_lane = builder.gep(pointer, [at])
                parts = [builder.gep(first_lane, [word(LANES * v)]) for v in range(count)]
                return [builder.bitcast(part, vector.as_pointer()) for part in parts]

            def read(pointer: Any) -> Any:
                found = builder.load(pointer)
                found.align = 8
                return found

            values, places, rights, outs = data(0), data(1), data(2), data(4)
            r, o = arguments[3], arguments[5]
            first, stop, end = arguments[6], arguments[7], arguments[8]
            target = row(outs, o)
            before = [read(part) for part in target]
            entry = builder.basic_block
            loop, done = builder.append_basic_block("nonzeros"), builder.append_basic_block("done")
            builder.cbranch(builder.icmp_unsigned("<", first, stop), loop, done)
            builder.position_at_end(loop)
            i = builder.phi(word)
            i.add_incoming(first, entry)
            sums = [builder.phi(vector) for _ in range(count)]
            one = builder.insert_element(vector(ir.Undefined), read(builder.gep(values, [i])), small(0))
            each = builder.shuffle_vector(one, vector(ir.Undefined), ir.VectorType(small, LANES)([0] * LANES))
            at = builder.add(builder.zext(builder.load(builder.gep(places, [i])), word), r)
            # Rows lie anywhere in what is read: those that come soon are asked for.
            soon = builder.add(i, word(AHEAD))
            soon = builder.select(builder.icmp_unsigned("<", soon, end), soon, i)
            there = builder.add(builder.zext(builder.load(builder.gep(places, [soon])), word), r)
            kind = ir.FunctionType(ir.VoidType(), [byte, small, small, small])
            ask = builder.module.declare_intrinsic("llvm.prefetch", (byte,), kind)
            for line in range(0, LANES * count, 8):
                ahead = builder.gep(rights, [builder.add(there, word(line))])
                builder.call(ask, [builder.bitcast(ahead, byte), small(0), small(3), small(1)])
            found = []
            for total, start, part in zip(sums, before, row(rights, at)):
                total.add_incoming(start, entry)
                found.append(builder.fadd(builder.fmul(each, read(part), flags=contract), total, flags=contract))
                total.add_incoming(found[-1], loop)
            following = builder.add(i, word(1))
            i.add_incoming(following, loop)
            builder.cbranch(builder.icmp_unsigned("<", following, stop), loop, done)
            builder.position_at_end(done)
            last = [builder.phi(vector) for _ in range(count)]
            for total, start, finish in zip(last, before, found):
                total.add_incoming(start, entry)
                total.add_incoming(finish, loop)
            for total, part in zip(last, target):
                builder.store(total, part).align = 8
            return context.get_dummy_value()

        return types.void(value, place, right, r, out, o, first, stop, end), build

    return adding


_add_1, _add_2, _add_3, _add_4, _add_5, _add_8 = (_adding(vectors) for vectors in ("1", "2", "3", "4", "5", "8"))


@kernel(NOTHING, READ_I8, READ_U4, READ_F8, READ_F8, READ_I8, SIZE, F8, SIZE, SIZE)
def add_products(start, place, value, right, at, width, out, low, high):  # type: ignore[no-untyped-def]
    vectors, end = width // U8(LANES), U8(len(place))
    for n in range(low, high):
        o = U8(at[n])
        first, stop = U8(start[n]), U8(start[n + U8(1)])
        done = U8(0)
        while done < vectors:
            left = vectors - done
            r = U8(LANES) * done
            if left >= U8(8):
                _add_8(value, place, right, r, out, o + r, first, stop, end)
                done += U8(8)
            elif left >= U8(5):
                _add_5(value, place, right, r, out, o + r, first, stop, end)
                done += U8(5)
            elif left == U8(4):
                _add_4(value, place, right, r, out, o + r, first, stop, end)
                done += U8(4)
            elif left == U8(3):
                _add_3(value, place, right, r, out, o + r, first, stop, end)
                done += U8(3)
            elif left == U8(2):
                _add_2(value, place, right, r, out, o + r, first, stop, end)
                done += U8(2)
            else:
                _add_1(value, place, right, r, out, o + r, first, stop, end)
                done += U8(1)
        for j in range(U8(LANES) * vectors, width):
            total = out[o + j]
            for i in range(first, stop):
                total += value[i] * right[U8(place[i]) + j]
            out[o + j] = total


class SparseRows(NamedTuple):
    """A sparse matrix (n, m) with places for its rows in what is written, and for its columns in what is read.

    Examples
    --------
    >>> import scipy.sparse
    >>> rows = sparse_rows(scipy.sparse.csr_array([[1.0, 0.0], [2.0, 3.0]]), at=[0, 2], place=[0, 2], width=2)
    >>> out = np.zeros(4)
    >>> rows.add(np.array([1.0, 10.0, 100.0, 1000.0]), out)
    >>> out.tolist()
    [1.0, 10.0, 302.0, 3020.0]
    """

    start: Ints
    "(n + 1,) first nonzero of each row"
    place: npt.NDArray[np.uint32]
    "(nonzeros,) element of `right` where the row of its column begins"
    value: Floats
    at: Ints
    "(n,) element of `out` where each row begins"
    width: int

    def add(self, right: Floats, out: Floats, low: int = 0, high: int | None = None) -> None:
        """Add the product to `out`, of rows low to high; `right` and `out` are flat."""
        high = len(self.at) if high is None else high
        add_products(self.start, self.place, self.value, right, self.at, self.width, out, low, high)

    def shares(self, work: int) -> list[tuple[int, int]]:
        """Ranges of rows of about `work` nonzeros each: the same whoever works on them."""
        count = max(1, int(self.start[-1]) // work)
        edges = np.searchsorted(self.start, np.linspace(0, self.start[-1], count + 1)[1:-1])
        bounds = [0, *edges.tolist(), len(self.at)]
        return [(low, high) for low, high in zip(bounds[:-1], bounds[1:]) if low < high]


def sparse_rows(matrix: Any, at: npt.ArrayLike, place: npt.ArrayLike, width: int) -> SparseRows:
    """A scipy.sparse matrix whose rows go to `at` and whose columns are read at `place`, below FURTHEST."""
    csr = matrix.tocsr()
    places = np.asarray(place).astype(np.uint32)[csr.indices]
    value = csr.data.astype(np.float64, copy=False)
    return SparseRows(csr.indptr.astype(np.int64), places, value, np.asarray(at, np.int64), width)
