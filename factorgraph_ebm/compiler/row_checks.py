"""Rows that a factor forbids before its turn: what the rest of a graph says of the axes of a node.

A factor is joined where one of its variables is taken out. Before, nodes may hold several of its variables in states
that it forbids whatever its others are: such rows are of no use, and are struck as soon as these variables meet. Only
which rows there are changes, no sum and no minimum. This is the pruning of constraint propagation, tree by tree:
R. Dechter and R. Mateescu, "AND/OR search spaces for graphical models", Artificial Intelligence 171, 2007.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import I8, INTEGER, NOTHING, READ_I8, U1, U4, kernel
from factorgraph_ebm.arrays import I64, U32
from factorgraph_ebm.compiler.codes import Codes, Rows
from factorgraph_ebm.compiler.contraction import Nodes

CHECKED = 16
"bits of the states that a check looks at, at most"
FEW = 16
"rows up to which none are struck"


@kernel(INTEGER, READ_I8, READ_I8, INTEGER, READ_I8, READ_I8, READ_I8, READ_I8, I8, I8, I8, I8)
def list_checks(x, y, leaves, start, axis, of_start, of, held, stamp, check_start, check):  # type: ignore[no-untyped-def]
    """Write leaves that hold two axes or more of a node which no node below has together; return how many there are.

    `of[of_start[v]:of_start[v + 1]]` are the leaves that hold v. `held` (3 L,) and `stamp` (V,), which says which
    sides of which node hold a variable, are working space of 0s; `check` gets what fits.
    """
    count = 0
    for n in range(len(x)):
        check_start[n] = count
        for side in range(2):
            t = x[n] if side == 0 else y[n]
            if t >= leaves:
                for i in range(start[t], start[t + 1]):
                    v = axis[i]
                    if stamp[v] >> 2 != n + 1:
                        stamp[v] = (n + 1) << 2
                    stamp[v] |= 1 << side
        node = leaves + n
        # Three counts for each leaf: axes that the node holds, and of these what each side below holds.
        for turn in range(2):
            for i in range(start[node], start[node + 1]):
                v = axis[i]
                sides = stamp[v] & 3 if stamp[v] >> 2 == n + 1 else 0
                for j in range(of_start[v], of_start[v + 1]):
                    t = of[j]
                    if turn == 0:
                        held[3 * t] += 1
                        held[3 * t + 1] += sides & 1
                        held[3 * t + 2] += sides >> 1
                    else:
                        whole = held[3 * t]
                        if whole >= 2 and held[3 * t + 1] < whole and held[3 * t + 2] < whole:
                            if count < len(check):
                                check[count] = t
                            count += 1
                        held[3 * t] = 0
                        held[3 * t + 1] = 0
                        held[3 * t + 2] = 0
    check_start[len(x)] = count
    return count


def find_checks(nodes: Nodes, leaves: int, variables: int) -> tuple[I64, I64]:
    """Leaves to check the rows of each node against: first of each node (N + 1,), and which."""
    slots = int(nodes.start[leaves])
    leaf = np.repeat(np.arange(leaves), np.diff(nodes.start[: leaves + 1]))
    order = np.argsort(nodes.axis[:slots], kind="stable")
    of_start = np.concatenate([[0], np.cumsum(np.bincount(nodes.axis[:slots], minlength=variables))]).astype(np.int64)
    check_start, check = np.zeros(len(nodes.x) + 1, np.int64), np.empty(4 * slots, np.int64)
    while True:
        count = list_checks(
            nodes.x, nodes.y, leaves, nodes.start, nodes.axis, of_start, leaf[order], np.zeros(3 * leaves, np.int64),
            np.zeros(variables, np.int64), check_start, check,
        )  # fmt: skip
        if count <= len(check):
            return check_start, check[:count].copy()
        check = np.empty(count, np.int64)


@kernel(
    INTEGER, READ_I8, INTEGER, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, I8, U1, I8, U4,
)  # fmt: skip
def strike_rows(check, node, start, axis, shift, states, row_start, row_code, place, table, code, origin):  # type: ignore[no-untyped-def]
    """Strike codes of a tensor that a leaf forbids, and write which each was before; return how many are left.

    `place` (V,) of -1 and `table` are working space.
    """
    count = len(code)
    for i in range(count):
        origin[i] = i
    for i in range(start[node], start[node + 1]):
        place[axis[i]] = shift[i]
    moves = np.empty((64, 4), np.int64)
    for t in check:
        m = 0
        low = 0
        entries = 1
        for i in range(start[t], start[t + 1]):
            v = axis[i]
            if place[v] >= 0:
                width = 0
                while (1 << width) < states[v]:
                    width += 1
                moves[m, 0], moves[m, 1], moves[m, 2], moves[m, 3] = shift[i], place[v], (1 << width) - 1, low
                low += width
                entries *= states[v]
                m += 1
        if low > CHECKED:
            continue
        for i in range(1 << low):
            table[i] = 0
        allowed = 0
        for r in range(row_start[t], row_start[t + 1]):
            key = np.int64(0)
            for k in range(m):
                key |= ((row_code[r] >> moves[k, 0]) & moves[k, 2]) << moves[k, 3]
            allowed += 1 - table[key]
            table[key] = 1
        if allowed == entries:
            continue
        left = 0
        for r in range(count):
            key = np.int64(0)
            for k in range(m):
                key |= ((code[r] >> moves[k, 1]) & moves[k, 2]) << moves[k, 3]
            if table[key] == 1:
                code[left], origin[left] = code[r], origin[r]
                left += 1
        count = left
    for i in range(start[node], start[node + 1]):
        place[axis[i]] = -1
    return count


@kernel(NOTHING, U4, U4, U4)
def renumber(origin, number, to):  # type: ignore[no-untyped-def]
    """Let pairs go to rows as they are numbered now; what goes to none goes to one behind the last."""
    for i in range(len(number)):
        number[i] = len(origin)
    for i in range(len(origin)):
        number[origin[i]] = i
    for i in range(len(to)):
        to[i] = number[to[i]]


class Checks:
    """The checks of a tree, at work on the rows of its leaves."""

    def __init__(self, nodes: Nodes, codes: Codes, rows: Rows, states: I64, found: tuple[I64, I64]) -> None:
        self.nodes, self.codes, self.rows, self.states = nodes, codes, rows, states
        self._start, self._check = found
        self._place, self._table = np.full(len(states), -1, np.int64), np.empty(1 << CHECKED, np.uint8)

    def strike(self, n: int, code: I64, to: U32) -> I64:
        """The codes of node n that are left; `to` is rewritten where any are struck."""
        check = self._check[self._start[n] : self._start[n + 1]]
        if not len(check) or len(code) <= FEW:
            return code
        origin = np.empty(len(code), np.uint32)
        leaves = len(self.rows.start) - 1
        left = strike_rows(
            check, leaves + n, self.nodes.start, self.codes.axis, self.codes.shift, self.states, self.rows.start,
            self.rows.code, self._place, self._table, code, origin,
        )  # fmt: skip
        if left == len(code):
            return code
        renumber(origin[:left].copy(), np.empty(len(code), np.uint32), to)
        return code[:left].copy()
