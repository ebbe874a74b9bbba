"""From declarations to *parts*: arrays of factors that are alike once given cells are sliced away.

A `Group` is one declaration over all samples of one structure; it owns a region of the store. A `Part` holds factors of
one or more groups that have equal numbers of free cells, states and strides. What is left of a factor decides what
becomes of it: no free cell, a constant of its sample; one, a row added to the unary energies of its variable; two or
more, a factor of the engine, which reads declared numbers in place, or what `Factor.remaining` says, or a table.
Everything is done in arrays: a million factors cost a few passes over their cells.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import I64, Bool
from factorgraph_ebm.graph.declaration import Factor
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.graph.table_map import Compact, Remaining, c_strides

LARGEST_MERGED = 1 << 16
"entries up to which factors over more than two variables become a table, to be merged with others"


class Sample(NamedTuple):
    """One graph of a union with what is known of its discrete cells."""

    graph: FactorGraph
    known: Bool | None = None
    "(n_cells,) cells that are given; None: none"
    soft: Bool | None = None
    "(n_cells,) cells that are summed out of a minimisation; None: none"


class Cells(NamedTuple):
    """The cells of a union: sample after sample, N in all."""

    start: I64
    "(samples + 1,)"
    states: I64
    "(N,) number of states"
    known: Bool
    soft: Bool
    free: I64
    "(N,) number among the free cells, -1 where given"
    n_free: int
    sample: I64
    "(N,) sample of each cell"


class Group(NamedTuple):
    """One declaration over the samples whose graphs are declared alike."""

    factor: Factor
    factors: tuple[Factor, ...]
    "the declaration of each sample, for its numbers"
    samples: I64
    size: int
    "factors in each sample"
    key: int
    "position of the declaration in its graph"
    store: int
    "element of the store where its numbers begin"
    rows: int
    "rows of numbers of one sample"
    row_size: int
    shared: bool
    "all samples read the same numbers, which are stored once"
    owns: bool = True
    "its numbers are bound; False where it reads those of an earlier group, which are always the same"

    @property
    def end(self) -> int:
        """Element of the store after its numbers."""
        return self.store + self.rows * self.row_size * (1 if self.shared else len(self.factors))


class Piece(NamedTuple):
    """The factors of a group with one shape of table: all of them, unless the group is ragged."""

    group: int
    members: I64 | None
    "numbers of the factors within the group; None: all, in order"
    cells: I64
    "(arity, n) union cells"
    shape: tuple[int, ...]
    "states of each slot in the declared table"
    offset: int | I64
    "element of the store where the numbers of each factor begin"
    variant: int = 0
    "which of the constants of the declaration its factors have"


class Contribution(NamedTuple):
    """What factors of one piece add to the targets of a part: unary rows, constants, or tables derived from theirs."""

    piece: int
    rows: I64 | None
    "(n,) factors of the piece; None: all"
    slots: tuple[int, ...]
    "the free slots of the declared factor, first occurrences"
    strides: tuple[int, ...]
    "distance in the compact map of one state of each of these (repeated cells add up)"
    place: tuple[int, ...]
    "slot of the part's factor that each of them is"
    given: tuple[int, ...]
    "the given slots"
    given_strides: tuple[int, ...]


class Part(NamedTuple):
    """Factors of the engine, or what is folded into constants (no slot) and unary rows (one slot)."""

    columns: I64
    "(slots, n) free cells"
    states: tuple[int, ...]
    contributions: tuple[Contribution, ...]
    direct: bool
    "the engine reads the declared numbers in place; otherwise from a table or a row derived when numbers are bound"
    mergeable: bool = True
    "is a table, or may become one"
    remaining: Remaining | None = None
    "the row that is derived, where it is not a table"


def gather_cells(samples: Sequence[Sample]) -> Cells:
    sizes = np.array([s.graph.n_cells for s in samples], np.int64)
    start = np.concatenate([[0], np.cumsum(sizes)])
    n = int(start[-1])
    known = np.zeros(n, bool)
    soft = np.zeros(n, bool)
    for i, s in enumerate(samples):
        if s.known is not None:
            known[start[i] : start[i + 1]] = s.known
        if s.soft is not None:
            soft[start[i] : start[i + 1]] = s.soft
    states = np.concatenate([s.graph.cell_states for s in samples]) if n else np.zeros(0, np.int64)
    free = np.cumsum(~known) - 1
    n_free = int(free[-1]) + 1 if n else 0
    free[known] = -1
    return Cells(start, states, known, soft, free, n_free, np.repeat(np.arange(len(samples)), sizes))


def gather_groups(samples: Sequence[Sample]) -> list[Group]:
    """The groups of a union, with their places in the store of declared numbers."""
    alike: dict[object, list[int]] = {}
    for i, s in enumerate(samples):
        alike.setdefault(s.graph.key, []).append(i)
    groups: list[Group] = []
    store = 0
    stored: dict[Hashable, list[Group]] = {}
    for numbers in alike.values():
        graphs = [samples[i].graph for i in numbers]
        for key, factor in enumerate(graphs[0].factors):
            factors = tuple(g.factors[key] for g in graphs)
            rows, row_size = _rows_of_numbers(factor)
            shared = _same_numbers(factors)
            group = Group(factor, factors, np.array(numbers, np.int64), factor.size, key, store, rows, row_size, shared)
            if rows and shared:
                glance = factor.slots[0].source.fingerprint
                known = stored.setdefault((rows, row_size, glance), [])
                same = next((g for g in known if _same_numbers((g.factor, factor))), None)
                if same is not None:
                    group = group._replace(store=same.store, owns=False)
                elif len(known) < COMPARED:
                    known.append(group)
            groups.append(group)
            store = max(store, group.end)
    return groups


COMPARED = 64
"distinct sources, alike at a glance, that another is compared with, so that many cost no more than their number"


def _rows_of_numbers(factor: Factor) -> tuple[int, int]:
    if not factor.slots:
        return 0, 0
    slot = factor.slots[0]
    if slot.start is not None:
        return 1, int(slot.start[-1])
    return slot.n_rows, slot.row_size


def _same_numbers(factors: Sequence[Factor]) -> bool:
    first = factors[0]
    if not first.slots:
        return True
    source = first.slots[0].source
    if source.reals:  # an observed real variable has its own value in each sample
        return len(factors) == 1
    return all(f is first or source.equals(f.slots[0].source) for f in factors[1:])


def pieces_of(group: int, g: Group, samples: Sequence[Sample], cells: Cells) -> list[Piece]:
    """Cells and number offsets of a group's factors, split by the shape of their tables and by constants."""
    m = len(g.samples)
    variants = g.factor.variants()
    variant = None if variants is None else np.tile(variants, m)
    offsets = samples[int(g.samples[0])].graph.cell_offset
    sample_start = cells.start[g.samples]
    stride = 0 if g.shared else g.rows * g.row_size
    number_base = g.store + stride * np.arange(m)
    scope = g.factor.scope
    if scope.ragged:
        start, flat = scope.ragged_cells(offsets)
        own = g.factor.slots[0].start if g.factor.slots else None
        offset = _offset_of_factors(g, number_base) if own is None else (number_base[:, None] + own[:-1]).ravel()
        split = _split_ragged(start, flat, offset, variant, g, sample_start, cells)
        return [Piece(group, *piece) for piece in split]
    columns = scope.columns(offsets)
    if m > 1 or sample_start[0] != 0:
        columns = (columns[:, None, :] + sample_start[:, None]).reshape(len(columns), m * g.size)
    offset = _offset_of_factors(g, number_base)
    if g.factor.reads_table and g.factor.state_shape is not None:
        return [Piece(group, None, columns, g.factor.state_shape, offset)]
    pieces = []
    arity = len(columns)
    constants = [] if variant is None else [variant]
    for rows, value in split_rows([*(cells.states[c] for c in columns), *constants], columns.shape[1]):
        chosen = columns if rows is None else columns[:, rows]
        at = offset if rows is None or isinstance(offset, int) else offset[rows]
        pieces.append(Piece(group, rows, chosen, value[:arity], at, *value[arity:]))
    return pieces


def _offset_of_factors(g: Group, number_base: I64) -> int | I64:
    """Element of the store of each factor's numbers: an int where all share one row."""
    if not g.factor.slots:
        return g.store
    slot = g.factor.slots[0]
    if g.rows == 1:
        return g.store if g.shared else np.repeat(number_base, g.size)
    row = slot.rows(g.factor.shape) * g.row_size
    return (number_base[:, None] + row).ravel()


def _split_ragged(
    start: I64, flat: I64, offset: int | I64, variant: I64 | None, g: Group, sample_start: I64, cells: Cells
) -> Iterator[tuple[I64, I64, tuple[int, ...], int | I64, int]]:
    """Members, cells, shape, number offsets and variant of the factors of a ragged group, split by arity and shape."""
    arity = np.diff(start)
    m = len(sample_start)
    for r in np.unique(arity):
        inside = np.flatnonzero(arity == r)
        columns = flat[start[inside][None, :] + np.arange(r)[:, None]]
        columns = (columns[:, None, :] + sample_start[:, None]).reshape(r, m * len(inside))
        members = (np.arange(m)[:, None] * g.size + inside).ravel()
        constants = [] if variant is None else [variant[members]]
        for rows, value in split_rows([*(cells.states[c] for c in columns), *constants], columns.shape[1]):
            chosen = members if rows is None else members[rows]
            at = offset if isinstance(offset, int) else offset[chosen]
            picked = columns if rows is None else columns[:, rows]
            yield chosen, picked, value[:r], at, value[r] if constants else 0


def split_rows(descriptors: Sequence[I64], n: int) -> list[tuple[I64 | None, tuple[int, ...]]]:
    """Rows with equal values of all descriptors, with these values; rows is None where all are equal."""
    if n == 0:
        return []
    code = None
    for d in descriptors:
        if d[0] == d[-1] and np.all(d == d[0]):
            continue
        _, narrow = np.unique(d, return_inverse=True)
        code = narrow if code is None else np.unique(code * (narrow.max() + 1) + narrow, return_inverse=True)[1]
    if code is None:
        return [(None, tuple(int(d[0]) for d in descriptors))]
    order = np.argsort(code, kind="stable")
    edges = np.flatnonzero(np.diff(code[order])) + 1
    return [(rows, tuple(int(d[rows[0]]) for d in descriptors)) for rows in np.split(order, edges)]


def parts_of(number: int, piece: Piece, g: Group, cells: Cells, *, fold: bool) -> list[Part]:
    """The parts of one piece: split by which slots are given, which are repeated, and how many states they have."""
    columns = piece.cells
    arity, n = columns.shape
    known = [cells.known[c] for c in columns]
    descriptors: list[I64] = [k.astype(np.int64) for k in known if k.any()]
    given_slots = [s for s in range(arity) if known[s].any()]
    states = [cells.states[c] for c in columns]
    repeats = _repeats(columns)
    descriptors += [(columns[i] == columns[j]).astype(np.int64) for i, j in repeats]
    descriptors += states
    parts = []
    declaration = g.factor.variant(piece.variant)
    step = strides_of(g, piece)
    for rows, value in split_rows(descriptors, n):
        is_given = dict(zip(given_slots, value))
        same = dict(zip(repeats, value[len(given_slots) :]))
        k = value[len(given_slots) + len(repeats) :]
        first: dict[int, int] = {}
        slots: list[int] = []
        strides: list[int] = []
        for s in range(arity):
            if is_given.get(s):
                continue
            earlier = next((i for i in range(s) if same.get((i, s))), None) if repeats else None
            if earlier is None:
                first[s] = len(slots)
                slots.append(s)
                strides.append(step[s])
            else:
                strides[first[earlier]] += step[s]
        given = tuple(s for s in given_slots if is_given[s])
        contribution = Contribution(
            number, rows, tuple(slots), tuple(strides), tuple(range(len(slots))), given, tuple(step[s] for s in given)
        )
        chosen = columns[slots] if rows is None else columns[slots][:, rows]
        shape = tuple(k[s] for s in slots)
        distinct = len(slots) + len(given) == arity
        in_place = (g.factor.reads_table and not given) or (
            distinct and not given and bool(g.factor.slots) and g.factor.reads_in_place(shape)
        )
        direct = in_place and (len(slots) >= 2 or (not fold and len(slots) == 1))
        remaining = None
        if not direct and distinct and not g.factor.reads_table:
            remaining = declaration.remaining(piece.shape, tuple(slots), given)
            if remaining is not None and len(slots) < 2 and not (remaining.rows or remaining.picks):
                remaining = None  # its few entries are picked from the compact map
        is_table = g.factor.reads_table or not (direct or remaining is not None)
        mergeable = is_table or (
            (len(slots) <= 2 or math.prod(shape) <= LARGEST_MERGED)
            and (remaining is None or declaration.compact_entries(piece.shape) <= LARGEST_MERGED)
        )
        parts.append(Part(cells.free[chosen], shape, (contribution,), direct, mergeable, remaining))
    return parts


def _repeats(columns: I64) -> list[tuple[int, int]]:
    """Pairs of slots that are the same cell in some factor."""
    arity = len(columns)
    if arity > 8:  # all pairs of a thousand slots would be half a million comparisons
        ordered = np.sort(columns, axis=0)
        twice = np.flatnonzero((ordered[1:] == ordered[:-1]).any(axis=0))
        if not len(twice):
            return []
        columns = columns[:, twice]
    return [(i, j) for j in range(arity) for i in range(j) if np.any(columns[i] == columns[j])]


def samples_of(piece: Piece, g: Group) -> I64:
    """Sample of each factor of a piece, (n,)."""
    members = np.arange(piece.cells.shape[1]) if piece.members is None else piece.members
    return g.samples[members // max(g.size, 1)]


def strides_of(g: Group, piece: Piece) -> tuple[int, ...]:
    """Distance in the compact map of one state of each slot of a piece from the next."""
    if g.factor.reads_table:
        return c_strides(piece.shape)
    return g.factor.variant(piece.variant).compact_strides(piece.shape)


def compact_of(g: Group, piece: Piece) -> Compact:
    """The affine map from the numbers of a factor of this piece to its energies."""
    return g.factor.variant(piece.variant).compact(piece.shape)
