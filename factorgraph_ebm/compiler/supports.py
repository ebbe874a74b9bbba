"""Supports: the rows of each tensor of a tree of contractions that are not forbidden, and how those of a node are made.

    rows(node) = { kept states of (i, j) : i in rows(x), j in rows(y), equal in what x and y share }

A row is a configuration, a tensor a relation, and a node a join and a projection. Where most configurations are
forbidden, rows are few though tables are huge: A. Darwiche, "A differential approach to inference in Bayesian
networks", J. ACM 50(3), 2003, and D. Larkin and R. Dechter, "Bayesian inference in the presence of determinism",
AISTATS 2003. Supports do not depend on what is summed or minimised, nor on any number that is not +inf.

Both lists are sorted by what is shared, so a join is a merge into *blocks*: all pairs of some rows of x and some of y.
The pairs themselves are not stored, only the row of the node that each of them goes to, one after another.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from factorgraph_ebm._jit import I8, INTEGER, NOTHING, READ_I8, READ_U4, READ_U8, U4, U8, inlined, kernel
from factorgraph_ebm.arrays import F64, I64, U32, Bool
from factorgraph_ebm.compiler.codes import MOVE, Codes, Rows
from factorgraph_ebm.compiler.contraction import Nodes
from factorgraph_ebm.compiler.row_checks import Checks

BLOCK = 4
"numbers of a block: first row of x, row after the last, and the same of y"
MOST = 1 << 31
"pairs of rows of a node"
DIGIT = 11
"bits that one pass of a sort looks at"
LITTLE = 16
"bits of codes that are marked whatever they are"
KEPT, SORTING = 8, 24
"bytes of a row, and those that a pair takes while codes are sorted"


class Link(NamedTuple):
    """How the rows of a node are made of those of x and y."""

    block: U32
    "BLOCK numbers each, sorted"
    to: U32
    "row of the node of each pair, block by block, the rows of y fastest; as many as it has rows: struck"


class Supports(NamedTuple):
    """Supports of a whole tree."""

    nodes: Nodes
    leaves: Rows
    rows: I64
    "(T,) of each tensor"
    links: tuple[Link | None, ...]
    "of each node; None in a component in which everything is forbidden"
    allowed: Bool
    "(C,) not everything is forbidden"
    pairs: float
    "of all nodes"
    bytes: float
    "while they are made, or that they and one number for each row take"


class Excess(NamedTuple):
    """A support that would be too large."""

    pairs: float
    "at least"
    bytes: float
    "at least"


@kernel(INTEGER, READ_I8, READ_I8, INTEGER, INTEGER, U4)
def find_blocks(x, y, x_apart, y_apart, block):  # type: ignore[no-untyped-def]
    """Merge two sorted lists of codes; return how many blocks there are."""
    count = 0
    i, j = 0, 0
    while i < len(x) and j < len(y):
        one, two = x[i] >> x_apart, y[j] >> y_apart
        if one < two:
            i += 1
        elif two < one:
            j += 1
        else:
            block[BLOCK * count], block[BLOCK * count + 2] = i, j
            while i < len(x) and x[i] >> x_apart == one:
                i += 1
            while j < len(y) and y[j] >> y_apart == one:
                j += 1
            block[BLOCK * count + 1], block[BLOCK * count + 3] = i, j
            count += 1
    return count


@kernel(NOTHING, READ_I8, READ_I8, I8)
def move_codes(code, move, out):  # type: ignore[no-untyped-def]
    """What rows contribute to the codes of a node."""
    for i in range(len(code)):
        c = np.int64(0)
        for m in range(0, len(move), MOVE):
            c |= ((code[i] >> move[m]) & move[m + 1]) << move[m + 2]
        out[i] = c


@kernel(INTEGER, READ_U4, READ_I8, READ_I8, I8)
def join_codes(block, x, y, code):  # type: ignore[no-untyped-def]
    """Write the code of each pair; return how often one is less than the one before."""
    at = np.uint64(0)
    falls = 0
    before = np.int64(-1)
    for b in range(0, len(block), BLOCK):
        for i in range(block[b], block[b + 1]):
            for j in range(block[b + 2], block[b + 3]):
                c = x[np.uint64(i)] | y[np.uint64(j)]
                falls += c < before
                before = c
                code[at] = c
                at += np.uint64(1)
    return falls


@inlined
def count_bits(word):  # type: ignore[no-untyped-def]
    """How many bits of 64 are 1: in twos, fours and eights, and the eights by a product."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@kernel(INTEGER, READ_U4, READ_I8, READ_I8, U8, U4)
def mark_codes(block, x, y, word, before):  # type: ignore[no-untyped-def]
    """Set the bit of the code of each pair, and write how many are set before each word; return how many there are."""
    for b in range(0, len(block), BLOCK):
        for i in range(block[b], block[b + 1]):
            for j in range(block[b + 2], block[b + 3]):
                c = np.uint64(x[np.uint64(i)] | y[np.uint64(j)])
                word[c >> np.uint64(6)] |= np.uint64(1) << (c & np.uint64(63))
    count = np.uint64(0)
    for i in range(len(word)):
        before[i] = count
        count += count_bits(word[i])
    return count


@kernel(NOTHING, READ_U4, READ_I8, READ_I8, READ_U8, READ_U4, U4, I8)
def number_marks(block, x, y, word, before, to, code):  # type: ignore[no-untyped-def]
    """Write the number of the code of each pair, and all codes in order."""
    at = np.uint64(0)
    for b in range(0, len(block), BLOCK):
        for i in range(block[b], block[b + 1]):
            for j in range(block[b + 2], block[b + 3]):
                c = np.uint64(x[np.uint64(i)] | y[np.uint64(j)])
                w = c >> np.uint64(6)
                below = (np.uint64(1) << (c & np.uint64(63))) - np.uint64(1)
                to[at] = before[w] + count_bits(word[w] & below)
                at += np.uint64(1)
    at = np.uint64(0)
    for i in range(len(word)):
        if word[i] != np.uint64(0):
            for bit in range(64):
                if (word[i] >> np.uint64(bit)) & np.uint64(1) == np.uint64(1):
                    code[at] = 64 * i + bit
                    at += np.uint64(1)


@inlined
def number_of_digits(bits):  # type: ignore[no-untyped-def]
    return max((bits + DIGIT - 1) // DIGIT, 1)


@kernel(INTEGER, I8, I8, U4, U4, INTEGER)
def sort_codes(code, spare, index, spare_index, bits):  # type: ignore[no-untyped-def]
    """Sort codes of so many bits, digit by digit; 1: they, and where each was before, lie in the spare arrays now."""
    digits = number_of_digits(bits)
    wide = (bits + digits - 1) // digits
    mask = (np.int64(1) << wide) - 1
    n = np.uint64(len(code))
    begin = np.empty(mask + 2, np.int64)
    for i in range(n):
        index[i] = i
    for d in range(digits):
        shift = np.int64(d * wide)
        a, b = (code, spare) if d % 2 == 0 else (spare, code)
        p, q = (index, spare_index) if d % 2 == 0 else (spare_index, index)
        for i in range(len(begin)):
            begin[i] = 0
        for i in range(n):
            begin[((a[i] >> shift) & mask) + 1] += 1
        for i in range(1, len(begin)):
            begin[i] += begin[i - 1]
        for i in range(n):
            digit = np.uint64((a[i] >> shift) & mask)
            to = np.uint64(begin[digit])
            begin[digit] += 1
            b[to] = a[i]
            q[to] = p[i]
    return digits % 2


@kernel(INTEGER, I8, READ_U4, U4)
def number_codes(code, index, to):  # type: ignore[no-untyped-def]
    """Number sorted codes, equal ones alike: to[index[i]] is that of code[i]. Those that differ come to the front.

    An empty index stands for 0, 1, 2, ... Returns how many differ.
    """
    count = 0
    for i in range(len(code)):
        c = code[i]
        if count == 0 or c != code[count - 1]:
            code[count] = c
            count += 1
        to[np.uint64(index[i] if len(index) > 0 else i)] = count - 1
    return count


def _number(block: U32, x: I64, y: I64, bits: int, pairs: int) -> tuple[I64, U32]:
    """Codes of the pairs of all blocks that differ, in order, and the number of each pair's."""
    to = np.empty(pairs, np.uint32)
    if _is_marked(bits, pairs):
        words = 1 << max(bits - 6, 0)
        word, before = np.zeros(words, np.uint64), np.empty(words, np.uint32)
        own = np.empty(mark_codes(block, x, y, word, before), np.int64)
        number_marks(block, x, y, word, before, to, own)
        return own, to
    code, index = np.empty(pairs, np.int64), np.zeros(0, np.uint32)
    if join_codes(block, x, y, code):
        index, spare, spare_index = np.empty_like(to), np.empty_like(code), np.empty_like(to)
        if sort_codes(code, spare, index, spare_index, bits):
            code, index = spare, spare_index
    count = number_codes(code, index, to)
    return code[:count].copy(), to


def _is_marked(bits: int, pairs: float) -> bool:
    """Whether a bit for each code there could be takes less room than to sort those there are."""
    return bits <= LITTLE or 1.5 * 2.0 ** (bits - 3) <= SORTING * pairs


def join_rows(
    nodes: Nodes,
    codes: Codes,
    leaves: Rows,
    checks: Checks | None = None,
    *,
    most_bytes: float = np.inf,
    most_pairs: float = np.inf,
) -> Supports | Excess:
    """Find the supports of all nodes, as far as they stay within so many bytes and pairs.

    Examples
    --------
    Three variables in a row, each unlike the one before: of eight configurations two are allowed.

    >>> import numpy as np
    >>> from factorgraph_ebm.compiler.codes import lay_codes, rows_of
    >>> from factorgraph_ebm.compiler.contraction import Leaves, join_leaves
    >>> pairs = Leaves(np.array([0, 2, 4]), np.array([0, 1, 1, 2]), np.array([2, 1, 2, 1]))
    >>> states, order = np.full(3, 2), np.array([0, 1, 2])
    >>> nodes = join_leaves(pairs, states, order, np.zeros(3, np.uint8))
    >>> codes = lay_codes(nodes, 2, states, order)
    >>> unlike = np.array([np.inf, 0.0, 0.0, np.inf])
    >>> found = join_rows(nodes, codes, rows_of(codes, pairs, states, np.zeros(2, np.int64), unlike))
    >>> found.rows, [link.to.tolist() for link in found.links]
    (array([2, 2, 2, 1]), [[0, 1], [0, 0]])
    """
    n_leaves, n = len(leaves.start) - 1, len(nodes.x)
    rows = np.zeros(n_leaves + n, np.int64)
    rows[:n_leaves] = np.diff(leaves.start)
    links: list[Link | None] = [None] * n
    allowed = np.ones(len(nodes.component) - 1, bool)
    code: dict[int, I64] = {}
    pairs, kept, peak = 0.0, float(KEPT * rows.sum()), 0.0

    def take(t: int) -> I64:
        return leaves.code[leaves.start[t] : leaves.start[t + 1]] if t < n_leaves else code.pop(t)

    for c, (first, stop) in enumerate(zip(nodes.component[:-1].tolist(), nodes.component[1:].tolist())):
        for i in range(first, stop):
            x, y = int(nodes.x[i]), int(nodes.y[i])
            one, two = take(x), take(y) if y >= 0 else np.zeros(1, np.int64)
            block = _blocks(one, two, int(codes.apart[x]), int(codes.apart[y]) if y >= 0 else 0)
            sizes = block.reshape(-1, BLOCK).astype(np.int64)
            products = float(((sizes[:, 1] - sizes[:, 0]) * (sizes[:, 3] - sizes[:, 2])).sum())
            pairs += products
            kept += 4.0 * (len(block) + products)
            working = 1.5 * 2.0 ** float(codes.bits[n_leaves + i] - 3)
            peak = max(peak, kept + min(working, SORTING * products) + KEPT * (len(one) + len(two) + products))
            if pairs > most_pairs or peak > most_bytes or products >= MOST:
                return Excess(pairs, peak)
            if products == 0:
                allowed[c] = False
                break
            moved = np.empty(len(one), np.int64), np.empty(len(two), np.int64)
            for side, (before, after) in enumerate(zip((one, two), moved)):
                move_codes(before, codes.move[_moves(codes, 2 * i + side)], after)
            own, to = _number(block, *moved, int(codes.bits[n_leaves + i]), int(products))
            if checks is not None:
                own = checks.strike(i, own, to)
            code[n_leaves + i], rows[n_leaves + i], links[i] = own, len(own), Link(block, to)
            kept += 2.0 * KEPT * len(own)
        if not allowed[c]:
            links[first:stop] = [None] * (stop - first)
    return Supports(nodes, leaves, rows, tuple(links), allowed, pairs, max(peak, kept))


def _moves(codes: Codes, of: int) -> slice:
    return slice(MOVE * int(codes.move_start[of]), MOVE * int(codes.move_start[of + 1]))


def _blocks(x: I64, y: I64, x_apart: int, y_apart: int) -> U32:
    block = np.empty(BLOCK * min(len(x), len(y)), np.uint32)
    count = find_blocks(x, y, x_apart, y_apart, block)
    return block[: BLOCK * count].copy()


def guessed_pairs(guess: F64, tensors: int) -> float:
    """Pairs of all nodes by `codes.guess_rows`; +inf where they are beyond numbers."""
    most = float(guess[tensors:].max(initial=0.0))
    return float(np.exp2(guess[tensors:]).sum()) if most < 1000 else np.inf
