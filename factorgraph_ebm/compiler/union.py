"""Compile: declared graphs -> one flat union, cached by declaration; bind: values -> its numbers, and back.

What is compiled depends on how graphs are declared and on which cells are given, not on any number, state or object
identity, so a list of thousands of sentences, or a video under new unaries, is compiled once.
"""

from __future__ import annotations

import collections
import copy
import hashlib
import math
import threading
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Bool, Compiled, Key, Numbers, Values
from factorgraph_ebm.compiler.binding import Fold, entries_of, pull, push
from factorgraph_ebm.compiler.layout import EnginePart, Layout, lay_out
from factorgraph_ebm.compiler.merging import absorb_nested, merge_equal_scopes
from factorgraph_ebm.compiler.parts import (
    Cells,
    Contribution,
    Group,
    Part,
    Piece,
    Sample,
    compact_of,
    gather_cells,
    gather_groups,
    parts_of,
    pieces_of,
    samples_of,
)
from factorgraph_ebm.errors import FactorError
from factorgraph_ebm.graph.table_map import TableMap, c_strides, constants_map

LARGEST_ENERGY = 1e306
"sums of energies beyond this could overflow into +inf, which means forbidden"


LARGEST_TABLES = 1 << 32
"bytes of tables that are made in the place of one declaration's factors"
MAP_BYTES = 24
"bytes of a `TableMap` for each entry"


class Place(NamedTuple):
    """Where factors of one declaration went, for reading messages and marginals back."""

    members: I64
    "(n,) numbers of the factors within their group, counting over its samples"
    contribution: Contribution
    states: tuple[int, ...]
    "of the slots of the engine's factor (one for a unary row, none for a constant)"
    position: I64 | None
    "(n,) their factors in the engine; None: folded into a unary row or a constant"
    variable: I64
    "(n,) engine variable, where folded"


class Union:
    """A compiled union of samples with the folds that bind its numbers."""

    def __init__(self, samples: Sequence[Sample], groups: list[Group], *, rewrite: bool = True) -> None:
        cells = gather_cells(samples)
        self.structure: Hashable = ()
        "the same for unions of the same graphs, whatever is given of them"
        self.groups = groups
        self.declared_size = max((g.end for g in groups), default=0)
        self._pieces: list[Piece] = []
        parts: list[Part] = []
        for i, group in enumerate(groups):
            for piece in pieces_of(i, group, samples, cells):
                parts += parts_of(len(self._pieces), piece, group, cells, fold=rewrite)
                self._pieces.append(piece)
        self._reach = max((self._reach_of(p) for p in self._pieces), default=1.0)
        least = 2 if rewrite else 1
        folded = [p for p in parts if len(p.columns) < least]
        joint = [p for p in parts if len(p.columns) >= least]
        if rewrite:
            joint = absorb_nested(merge_equal_scopes(joint, cells.n_free), cells.n_free)
        self._constants: list[float] = []
        self._constants_at: dict[tuple[float, ...], int] = {}
        self._derived: list[tuple[Part, int, int]] = []
        self._constant_rows: dict[tuple[float, ...], int] = {}
        self.store_size = self.declared_size
        engine_parts = [self._engine_part(p) for p in joint]
        constants = np.array(self._constants, np.float64)
        self.layout: Layout = lay_out(engine_parts, cells, len(samples), constants, self.store_size)
        self._folded_folds = [self._fold_unary(p, cells) for p in folded]
        self.folds = [*self._folded_folds, *self._fold_derived()]
        # Arrays as long as the graph that nobody reads again go: what stays is about 40 bytes a factor.
        self._joint = [p._replace(columns=p.columns[:, :0].copy()) for p in joint]
        self._folded = [p._replace(columns=p.columns[:, :0].copy()) for p in folded]
        self._piece_sizes = [p.cells.shape[1] for p in self._pieces]
        self._pieces = [p._replace(cells=p.cells[:, :0].copy()) for p in self._pieces]

    @property
    def compiled(self) -> Compiled:
        return self.layout.compiled

    @property
    def n_samples(self) -> int:
        return len(self.compiled.sample_chunk)

    def _engine_part(self, part: Part) -> EnginePart:
        contribution = part.contributions[0]
        piece = self._pieces[contribution.piece]
        factor = self.groups[piece.group].factor
        if part.direct:
            offset = _rows(piece.offset, contribution.rows)
            if factor.reads_table:
                return EnginePart(part, "Table", offset, contribution.strides, 0)
            constants = factor.variant(piece.variant).kernel_constants(part.states)
            constant = self._constants_of(tuple(constants.tolist()))
            return EnginePart(part, factor.kind, offset, (0,) * len(part.states), constant)
        sources = [(self._pieces[c.piece].offset, c.given) for c in part.contributions]
        shared = all(isinstance(offset, int) and not given for offset, given in sources)
        count = 1 if shared else part.columns.shape[1]
        if part.remaining is not None and len(part.states) >= 2:
            return self._row_part(part, count, shared=shared)
        entries = math.prod(part.states)
        for c in part.contributions:
            self._refuse_size(c, entries * count, given_by_rule=part.remaining is not None)
        start = self._derive(part, entries, count)
        offset = start if shared else start + entries * np.arange(count)
        return EnginePart(part, "Table", offset, c_strides(part.states), 0)

    def _row_part(self, part: Part, count: int, *, shared: bool) -> EnginePart:
        """Factors that read a row derived from what is given; equal constant rows are stored once."""
        remaining, c = part.remaining, part.contributions[0]
        assert remaining is not None
        constant = self._constants_of(remaining.constants)
        strides = (0,) * len(part.states)
        if shared and remaining.rows is None:
            piece = self._pieces[c.piece]
            table = compact_of(self.groups[piece.group], piece).table
            entry = list(remaining.entry)
            if not self.groups[piece.group].factor.slots:
                row = tuple(table.constant[entry].tolist())
                if row not in self._constant_rows:
                    self._constant_rows[row] = self._derive(part, remaining.width, 1)
                return EnginePart(part, remaining.kind, self._constant_rows[row], strides, constant)
        start = self._derive(part, remaining.width, count)
        offset = start if shared else start + remaining.width * np.arange(count)
        return EnginePart(part, remaining.kind, offset, strides, constant)

    def _derive(self, part: Part, width: int, count: int) -> int:
        """Room in the store for numbers derived when they are bound."""
        start = self.store_size
        self.store_size += width * count
        self._derived.append((part, start, count))
        return start

    def _constants_of(self, constants: tuple[float, ...]) -> int:
        if constants not in self._constants_at:
            self._constants_at[constants] = len(self._constants)
            self._constants += constants
        return self._constants_at[constants]

    def _refuse_size(self, c: Contribution, derived: int = 0, *, given_by_rule: bool = False) -> None:
        """Raise FactorError before tables are made that would not fit: those derived, and the declared one."""
        piece = self._pieces[c.piece]
        factor = self.groups[piece.group].factor.variant(piece.variant)
        of_map = 0 if factor.reads_table or given_by_rule else MAP_BYTES * factor.compact_entries(piece.shape)
        needed = 8 * derived + of_map
        if needed > LARGEST_TABLES:
            raise FactorError(
                f"{factor.kind}({factor.scope}) has no kernel for these variables at once, and tables in its place "
                f"would need {_in_bytes(needed)} (at most {LARGEST_TABLES:,}). "
                "Write it as factors over fewer variables."
            )

    def _fold_unary(self, part: Part, cells: Cells) -> Fold:
        """Rows added to unary energies, or to the constants of samples where no slot is free."""
        compiled = self.compiled
        c = part.contributions[0]
        if len(part.columns):
            cell_of_free = np.flatnonzero(cells.free >= 0)
            variable = compiled.cell_variable[cell_of_free[part.columns[0]]]
        else:
            piece = self._pieces[c.piece]
            sample = samples_of(piece, self.groups[piece.group])
            variable = compiled.ground[sample if c.rows is None else sample[c.rows]]
        return self._fold(part, c, compiled.variable_start[variable].astype(np.int64), to_unary=True)

    def _fold_derived(self) -> list[Fold]:
        folds = []
        for part, first, count in self._derived:
            by_rule = part.remaining is not None and len(part.states) >= 2
            width = part.remaining.width if part.remaining is not None and by_rule else math.prod(part.states)
            for c in part.contributions:
                folds.append(self._fold(part, c, first + width * np.arange(count), to_unary=False))
        return folds

    def _fold(self, part: Part, c: Contribution, target: I64, *, to_unary: bool) -> Fold:
        piece = self._pieces[c.piece]
        source = np.atleast_1d(np.asarray(_rows(piece.offset, c.rows), np.int64))
        cells = piece.cells[list(c.given)]
        given = cells if c.rows is None else cells[:, c.rows]
        target = target.astype(np.int64)
        if not c.given:
            given = np.zeros((0, len(target)), np.int64)
        remaining = part.remaining
        if remaining is not None and (remaining.rows or remaining.picks):
            nothing = np.zeros(0, np.int64)
            given = given[:, : len(target)]  # a row that all share is made once
            return Fold(
                to_unary, target, source, nothing, given, (), constants_map(np.zeros(0)), remaining.rows,
                remaining.picks,
            )  # fmt: skip
        self._refuse_size(c)
        table, _ = compact_of(self.groups[piece.group], piece)
        if remaining is None:
            entry = entries_of(part.states, c.place, c.strides)
        else:
            entry = np.array(remaining.entry, np.int64)
        plain = not len(given) and _is_plain(table, entry)
        return Fold(to_unary, target, source, entry, given, c.given_strides, table, plain=plain)

    def bind(self, values: Sequence[Values], states: I64) -> Numbers:
        """The numbers of this union.

        `values`: of each sample, parameters (the same for all) and observed reals by name; one Mapping may stand in
        all places.
        `states`: (N,) state of every given union cell, anything elsewhere.
        """
        store = np.zeros(self.store_size)
        for group in self.groups:
            for j in range(1 if group.shared else len(group.factors)):
                size = group.rows * group.row_size
                if size and group.owns:
                    region = store[group.store + j * size : group.store + (j + 1) * size]
                    slot = group.factors[j].slots[0]
                    out = region.reshape(group.rows, group.row_size)
                    slot.source.numbers(values[int(group.samples[j])], slice(0, group.rows), out)
                    least = region.min()
                    if not least > -np.inf or least < group.factor.least_number:
                        group.factors[j].check_numbers(region.reshape(slot.source.shape))
        return self.fold(store, states)

    def fold(self, store: F64, states: I64) -> Numbers:
        """The numbers, of a `store` that holds the declared ones and 0 elsewhere; it becomes theirs."""
        unary = np.zeros(self.compiled.unary_size)
        self._refuse_overflow(store)
        push(self.folds, states, unary, store)
        return Numbers(unary, store)

    def unfold(self, gradient: Numbers, states: I64) -> F64:
        """`fold`, transposed: the gradient with respect to the declared numbers, where they lie in the store."""
        store = gradient.store.copy()
        pull(self.folds, states, gradient.unary, store)
        return store

    def pullback(
        self, values: Sequence[Values], states: I64, gradient: Numbers, into: Sequence[Mapping[str, F64]]
    ) -> None:
        """Bind, transposed: add the gradient with respect to each named value into `into`, sample by sample."""
        store = self.unfold(gradient, states)
        for group in self.groups:
            size = group.rows * group.row_size
            for j in range(1 if group.shared else len(group.factors)):
                if size and group.owns:
                    region = store[group.store + j * size : group.store + (j + 1) * size]
                    rows = region.reshape(group.rows, group.row_size)
                    sample = int(group.samples[j])
                    group.factors[j].slots[0].source.pullback(values[sample], slice(0, group.rows), rows, into[sample])

    def _refuse_overflow(self, store: F64) -> None:
        declared = store[: self.declared_size]
        if not len(declared):
            return
        if self.fits(largest_finite(declared)):
            return
        n = sum(g.size * len(g.samples) for g in self.groups)
        for i, group in enumerate(self.groups):
            numbers = store[group.store : group.end]
            reach = max((self._reach_of(p) for p in self._pieces if p.group == i), default=1.0)
            largest = reach * largest_finite(numbers)
            if largest * n > LARGEST_ENERGY:
                group.factor.refuse_magnitude(largest)

    def fits(self, largest: float) -> bool:
        """Whether sums of energies made of numbers of up to this magnitude cannot overflow."""
        return largest <= self.largest_that_fits()

    def largest_that_fits(self) -> float:
        """The largest magnitude of numbers sums of energies of which cannot overflow."""
        n = sum(g.size * len(g.samples) for g in self.groups)
        return LARGEST_ENERGY / max(1.0, n * self._reach)

    def _reach_of(self, piece: Piece) -> float:
        """The largest factor by which a number enters an energy of these factors."""
        return self.groups[piece.group].factor.amplification(piece.shape)

    def places(self, group: int) -> list[Place]:
        """Where the factors of one group went."""
        nowhere = np.zeros(0, np.int64)
        found = []
        for part, position in zip(self._joint, self.layout.position):
            for c in part.contributions:
                if self._pieces[c.piece].group == group:
                    found.append(Place(self._members(c), c, part.states, position.astype(np.int64), nowhere))
        start = self.compiled.variable_start[:-1].astype(np.int64)
        for part, fold in zip(self._folded, self._folded_folds):
            c = part.contributions[0]
            if self._pieces[c.piece].group == group:
                variable = np.searchsorted(start, fold.target)
                found.append(Place(self._members(c), c, part.states, None, variable))
        return found

    def _members(self, c: Contribution) -> I64:
        members = self._pieces[c.piece].members
        rows = np.arange(self._piece_sizes[c.piece]) if c.rows is None else c.rows
        return rows if members is None else members[rows]


def _is_plain(table: TableMap, entry: I64) -> bool:
    """Whether these entries are the first numbers of a factor, in order."""
    m = len(entry)
    if m > len(table.index) or table.constant[entry].any():
        return False
    return bool(np.all(table.index[entry] == np.arange(m)) and np.all(table.coefficient[entry] == 1.0))


def largest_finite(numbers: F64) -> float:
    """The largest magnitude of those that are finite; none is NaN or -inf."""
    if numbers.size and np.isfinite(high := float(numbers.max())):
        return max(-float(numbers.min()), high)
    # Forbidden ones are left out in many passes, which are worth avoiding where there are none.
    return float(np.max(np.abs(numbers), where=np.isfinite(numbers), initial=0.0))


def _in_bytes(needed: int) -> str:
    return f"{needed:,} bytes" if needed < 10**18 else f"2 ** {needed.bit_length() - 1} bytes"


def _rows(offset: int | I64, rows: I64 | None) -> int | I64:
    return offset if isinstance(offset, int) or rows is None else offset[rows]


_CACHE_BYTES = 1 << 30
_cache: collections.OrderedDict[Key, tuple[Union, int]] = collections.OrderedDict()
_lock = threading.Lock()


def compile_union(samples: Sequence[Sample], *, rewrite: bool = True) -> Union:
    """The union of these samples, from the cache where the like was compiled with the same cells given."""
    groups = gather_groups(samples)
    distinct: dict[Key, int] = {}
    of_sample = tuple(
        (distinct.setdefault(s.graph.key, len(distinct)), _digest(s.known), _digest(s.soft)) for s in samples
    )
    key: Key = (rewrite, of_sample, tuple(distinct), tuple((g.shared, g.store) for g in groups))
    with _lock:
        cached = _cache.get(key)
        if cached is not None:
            _cache.move_to_end(key)
    if cached is None:
        union = Union(samples, groups, rewrite=rewrite)
        union.structure = tuple(number for number, _, _ in of_sample), tuple(distinct)
        structure = copy.copy(union)
        structure.groups = []  # the cache keeps structure, not the numbers of whoever compiled it first
        with _lock:
            _cache[key] = structure, _bytes(structure)
            while len(_cache) > 1 and sum(size for _, size in _cache.values()) > _CACHE_BYTES:
                _cache.popitem(last=False)
        return union
    union = copy.copy(cached[0])
    union.groups = groups
    return union


def _digest(mask: Bool | None) -> bytes | None:
    if mask is None or not mask.any():
        return None
    return hashlib.blake2b(np.packbits(mask).tobytes(), digest_size=16).digest()


def _bytes(union: Union) -> int:
    arrays = [a for a in union.compiled if isinstance(a, np.ndarray)]
    for fold in union.folds:
        arrays += [fold.target, fold.source, fold.entry, fold.given_cells, *fold.table]
    return sum(a.nbytes for a in [*arrays, *union.layout.position])
