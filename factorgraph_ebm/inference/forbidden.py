"""Where most configurations are forbidden: whether to look only at the others, and what that takes.

Tables of an order of elimination may be far too large though few of their entries are not +inf, as where variables are
the outputs of gates or satisfy clauses. How few is found by finding them (`compiler.supports`), which stops as soon as
there are more than may be. Before that, a guess says whether there is hope: as if what one factor forbids said nothing
about what another forbids.
"""

from __future__ import annotations

import hashlib
import weakref
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, I64, U8, Numbers
from factorgraph_ebm.compiler.codes import Codes, Rows, entries_of, guess_rows, lay_codes, rows_of
from factorgraph_ebm.compiler.contraction import Nodes, join_leaves
from factorgraph_ebm.compiler.elimination import find_order
from factorgraph_ebm.compiler.row_checks import Checks, find_checks
from factorgraph_ebm.compiler.supports import Supports, guessed_pairs, join_rows
from factorgraph_ebm.compiler.union import Union
from factorgraph_ebm.inference.trees import WIDEST_TABLE, Shape, fill

CODED = 2.0**62
"entries of a table whose configurations are integers"
SEARCHED = 2.0**20, 2.0**24
"operations that each further search for an order may take: orders alike for tables are several times apart in rows"
WORSE = 64.0
"how many times larger than those of the first order tables of others may be"
LISTED = 2.0**27
"entries of all leaves"
HOPE = 64.0
"how many times more pairs than there may be are guessed where it is tried all the same"
FAR = 256.0
"how many times further off a guess may be by the first order for others to be looked for"
RUNG, NEXT = 2.0**20, 8.0
"pairs up to which each order is tried before any is tried further, and how many times more these are each time"
A_PAIR, A_NODE = 60e-9, 60e-6
"seconds: to find a pair of rows, and sum up and down over it, on one thread"
BYTES_OF_A_PAIR = 4.0
"that it keeps at least"
HELD = 1 << 28
"bytes of supports that are held for the next question"


class Way(NamedTuple):
    """A tree for codes, from the structure alone."""

    nodes: Nodes
    codes: Codes
    checks: tuple[I64, I64]
    "see `find_checks`"
    width: float
    "log2 of the entries of the largest table that is not made"


class Few(NamedTuple):
    """Supports of a union under some numbers."""

    shape: Shape
    "leaves as those of the union; its order of elimination and its tree are not those of the supports"
    supports: Supports
    width: float

    @property
    def rows(self) -> int:
        """Of the largest tensor."""
        return int(self.supports.rows.max(initial=1))

    @property
    def seconds(self) -> float:
        """That an answer takes on one thread, predicted as in `ways.Cost`."""
        return A_PAIR * self.supports.pairs + A_NODE * len(self.supports.links)


class Many(NamedTuple):
    """There are too many to be looked at, or there is no hope."""

    pairs: float
    bytes: float
    reason: str
    "empty: nothing is forbidden"


def find_few(
    union: Union,
    shape: Shape,
    numbers: Numbers,
    *,
    most_bytes: float,
    most_pairs: float = np.inf,
    hope: float = HOPE,
) -> Few | Many:
    """Supports under these numbers, if they are no larger than said.

    They are held until others of this union are looked for, or until `let_go`.

    Parameters
    ----------
    shape : of the union, with or without a tree of tables
    most_bytes, most_pairs : that they may have
    hope : how many times more pairs than these may be guessed where they are looked for all the same
    """
    if not (np.isinf(numbers.unary).any() or np.isinf(numbers.store).any() or shape.table_size):
        return Many(np.inf, np.inf, "")
    if shape.widest > WIDEST_TABLE or entries_of(shape.leaves, shape.states).sum() > LISTED:
        return Many(np.inf, np.inf, "tables of single factors are too large")
    if _way_of(union, shape, 0) is None:
        return _too_many(None)
    filled = fill(union, shape, numbers, weigh=False)
    if not np.isinf(filled.number).any():
        return Many(np.inf, np.inf, "")
    digest = _digest(filled.number)
    found = _held_for(union, digest, most_bytes, most_pairs)
    if found is None:
        found = _find(union, shape, filled.at, filled.number, most_bytes, most_pairs, hope)
        owner = union.compiled.variable_start
        if id(owner) not in _held:
            weakref.finalize(owner, _held.pop, id(owner), None)
        _held[id(owner)] = _Held(digest, found)
    return found


def held_few(union: Union, numbers: Numbers, most_bytes: float) -> Few | None:
    """Supports that were found before, for numbers that forbid the same."""
    held = _held.get(id(union.compiled.variable_start))
    if held is None or isinstance(held.found, Many):
        return None
    digest = _digest(fill(union, held.found.shape, numbers, weigh=False).number)
    found = _held_for(union, digest, most_bytes, np.inf)
    return found if isinstance(found, Few) else None


def _digest(energy: F64) -> bytes:
    return hashlib.blake2b(np.packbits(np.isinf(energy)).tobytes(), digest_size=16).digest()


def _held_for(union: Union, digest: bytes, most_bytes: float, most_pairs: float) -> Few | Many | None:
    held = _held.get(id(union.compiled.variable_start))
    if held is None or held.digest != digest:
        return None
    found = held.found
    size = found.supports if isinstance(found, Few) else found
    fits = size.pairs <= most_pairs and size.bytes <= most_bytes
    return found if fits == isinstance(found, Few) else None


class _Start(NamedTuple):
    """A tree, the rows of its leaves, and the pairs that these let guess."""

    way: Way
    rows: Rows
    guessed: float


def _find(
    union: Union, shape: Shape, at: I64, energy: F64, most_bytes: float, most_pairs: float, hope: float
) -> Few | Many:
    """Orders take turns, each time with more pairs, until one is through; all together they look at `most_pairs`."""
    few = hope * min(most_pairs, most_bytes / BYTES_OF_A_PAIR)
    start = _start(shape, _way_of(union, shape, 0), at, energy)
    if start is None or start.guessed > FAR * few:
        return _too_many(start)
    others = (_start(shape, _way_of(union, shape, i), at, energy) for i in range(1, 1 + len(SEARCHED)))
    starts = sorted((each for each in (start, *others) if each is not None), key=lambda each: each.guessed)
    if starts[0].guessed > few:
        return _too_many(starts[0])
    pairs, size, looked, rung = np.inf, np.inf, 0.0, RUNG
    while starts and looked < most_pairs:
        for each in list(starts):
            way, most = each.way, min(rung, most_pairs - looked)
            checks = Checks(way.nodes, way.codes, each.rows, shape.states, way.checks)
            found = join_rows(way.nodes, way.codes, each.rows, checks, most_bytes=most_bytes, most_pairs=most)
            if isinstance(found, Supports):
                return Few(shape, found, way.width)
            pairs, size = min(pairs, found.pairs), min(size, found.bytes)
            looked += min(found.pairs, most)
            if found.bytes > most_bytes or found.pairs <= most:
                starts.remove(each)
        rung *= NEXT
    return Many(max(pairs, most_pairs if starts else 0.0), size, _said("more than", pairs, size))


def _too_many(start: _Start | None) -> Many:
    if start is None:
        return Many(np.inf, np.inf, "configurations do not fit into 62 bits")
    kept = BYTES_OF_A_PAIR * start.guessed
    return Many(start.guessed, kept, _said("by a guess", start.guessed, kept))


def _start(shape: Shape, way: Way | None, at: I64, energy: F64) -> _Start | None:
    if way is None:
        return None
    nodes, leaves = way.nodes, len(shape.leaf_component)
    rows = rows_of(way.codes, shape.leaves, shape.states, at, energy)
    tensors = leaves + len(nodes.x)
    guess = np.empty(tensors + len(nodes.x))
    guess[:leaves] = np.log2(np.maximum(np.diff(rows.start), 1))
    sizes = [_log_sizes(*ragged, shape) for ragged in ((nodes.start, nodes.axis), (nodes.union_start, nodes.union))]
    guess_rows(nodes.x, nodes.y, leaves, nodes.start, *sizes, guess)
    return _Start(way, rows, guessed_pairs(guess, tensors))


def _said(how: str, pairs: float, size: float) -> str:
    return f"what is not forbidden of them, {how} {pairs:.3g} pairs in {size:,.0f} bytes"


def _log_sizes(start: I64, axis: I64, shape: Shape) -> F64:
    """log2 of the entries of tables over axes."""
    logs: F64 = np.concatenate([[0.0], np.cumsum(np.log2(shape.states[axis]))])
    return logs[start[1:]] - logs[start[:-1]]


class _Held(NamedTuple):
    digest: bytes
    "of which numbers are +inf"
    found: Few | Many


_held: dict[int, _Held] = {}
_ways: dict[int, dict[int, Way | None]] = {}
"both by the identity of an array of a compiled union, for as long as it lives"


def let_go(union: Union) -> None:
    """Hold no supports any longer that are large."""
    held = _held.get(id(union.compiled.variable_start))
    if held is not None and isinstance(held.found, Few) and held.found.supports.bytes > HELD:
        del _held[id(union.compiled.variable_start)]


def _way_of(union: Union, shape: Shape, search: int) -> Way | None:
    """The tree of the first order of elimination, or of a further search; None: there is none."""
    owner = union.compiled.variable_start
    if id(owner) not in _ways:
        _ways[id(owner)] = {}
        weakref.finalize(owner, _ways.pop, id(owner), None)
    known = _ways[id(owner)]
    if search not in known:
        first = _way_of(union, shape, 0) if search else None
        found = _find_way(shape, None if first is None else first.width, search)
        same = first is not None and found is not None and np.array_equal(first.nodes.due, found.nodes.due)
        known[search] = None if same else found
    return known[search]


def _find_way(shape: Shape, width: float | None, search: int) -> Way | None:
    """None where the first order of elimination is hopeless: others would take long to find."""
    leaves, states = shape.leaves, shape.states
    stage: U8 = (shape.soft == 0).astype(np.uint8)
    graph = leaves.start, leaves.variable, states, stage
    if width is None:
        found = find_order(*graph, limit=CODED, cheap=np.inf, hopeful=True)
    else:
        limit, effort = min(WORSE * 2.0**width, CODED), SEARCHED[search - 1] / 2.0**width
        found = find_order(*graph, limit=limit, effort=min(effort, 0.25), hopeful=True)
    if not np.isfinite(found.entries).all():
        return None
    order = found.order[states[found.order] > 1]
    nodes = join_leaves(leaves, states, order, stage)
    codes = lay_codes(nodes, len(shape.leaf_component), states, order)
    if codes is None:
        return None
    checks = find_checks(nodes, len(shape.leaf_component), len(states))
    return Way(nodes, codes, checks, float(found.width.max(initial=0.0)))
