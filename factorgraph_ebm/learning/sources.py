"""The sources of numbers of a union of many samples, merged: one product of features and weights for all of them.

    bind: values -> numbers        pull: gradient with respect to these -> gradients of the values

A union reads the numbers of each declaration sample by sample. Over thousands of samples that share weights, and are
bound again at each step, it pays to put their features into one matrix once: X W is then one product, and so is X' G.
Where each row of a sparse product is the unary energies of one variable, it is added to these, and its slopes are read
where theirs lie, and never touches the store.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Numbers, Values
from factorgraph_ebm.compiler.binding import Fold, pull, push
from factorgraph_ebm.compiler.parts import Group
from factorgraph_ebm.compiler.union import Union, largest_finite
from factorgraph_ebm.graph.linear import Linear
from factorgraph_ebm.graph.parameters import Parameter
from factorgraph_ebm.graph.parametrisation import Parametrisation
from factorgraph_ebm.graph.sparse_rows import FURTHEST
from factorgraph_ebm.inference.tables import run_of, scope_of
from factorgraph_ebm.learning.direct import Direct


class Source(NamedTuple):
    """A source and where its rows go."""

    source: Parametrisation
    rows: int
    width: int
    places: tuple[slice, ...]
    "parts of the store that its rows fill, in order"
    sample: int
    "whose values it reads"
    least: float
    "that its numbers may be"
    parts: tuple[tuple[int, int, slice], ...]
    "for each sample that reads some of its rows: the sample, the first of these rows, the part of the store they fill"


class _Share(NamedTuple):
    """What of the sources is a single sample's."""

    folds: list[Fold]
    sources: list[tuple[Source, int, slice]]
    "each with the first row that is the sample's, and the part of the store where these rows lie"
    direct: list[Direct]


class Sources:
    """How the numbers of a union are read, merged over samples."""

    def __init__(self, union: Union) -> None:
        self.union = union
        merged = _merged(_declared(union.groups))
        rows = _unary_rows(union.folds)
        self.direct: list[Direct] = []
        self.sources: list[Source] = []
        self._of_direct: list[tuple[Source, I64]] = []
        "the source of each direct product, and the element of the unary energies where each of its rows begins"
        self._shares: dict[int, _Share] = {}
        self._most = union.largest_that_fits()
        taken: list[I64] = []
        for each in merged:
            direct, starts = _direct(each, rows)
            if direct is None:
                self.sources.append(each)
            else:
                self.direct.append(direct)
                self._of_direct.append((each, direct.at))
                taken.append(starts)
        done = np.zeros(union.store_size + 1, bool)
        for starts in taken:
            done[starts] = True
        self.folds = [fold for fold in union.folds if not done[fold.source].all()]

    def bind(self, values: Sequence[Values], states: I64, threads: int | None = None) -> Numbers:
        """The numbers of the union, as `Union.bind`; `threads` at most, None: as many as pay."""
        union = self.union
        store, unary = np.zeros(union.store_size), np.zeros(union.compiled.unary_size)
        largest = 0.0
        for each in self.sources:
            here = values[each.sample]
            if len(each.places) == 1:
                region = store[each.places[0]]
                each.source.numbers(here, slice(0, each.rows), region.reshape(each.rows, each.width))
            else:
                region = np.empty((each.rows, each.width))
                each.source.numbers(here, slice(0, each.rows), region)
                _spread(region.reshape(-1), store, each.places)
            least, high = float(region.min()), float(region.max())
            if not least > -np.inf or least < each.least:
                self._refuse(values)
            largest = max(largest, -least, high if high < np.inf else largest_finite(region))
        for direct in self.direct:
            direct.bind(values[0], unary, threads)
        if self.direct:
            low, high = float(unary.min()), float(unary.max())
            if not low > -np.inf:
                self._refuse(values)
            largest = max(largest, -low, high)
        if not largest <= self._most:
            return union.bind(values, states)  # which says what is too large
        push(self.folds, states, unary, store)
        return Numbers(unary, store)

    def pull(
        self, values: Sequence[Values], states: I64, gradient: Numbers, into: Mapping[str, F64],
        threads: int | None = None,
    ) -> None:  # fmt: skip
        """Add the gradient with respect to every named value to `into`, as `Union.pullback`; `gradient` is used up."""
        store = gradient.store
        for direct in self.direct:
            direct.pull(values[0], gradient.unary, into, threads)
        pull(self.folds, states, gradient.unary, store)
        for each in self.sources:
            if not any(name in into for name in each.source.names):
                continue
            flat = store[each.places[0]] if len(each.places) == 1 else np.concatenate([store[p] for p in each.places])
            rows = flat.reshape(each.rows, each.width)
            each.source.pullback(values[each.sample], slice(0, each.rows), rows, into)

    def pull_one(
        self, sample: int, values: Values, states: I64, gradient: Numbers, into: Mapping[str, F64]
    ) -> None:
        """As `pull`, of a gradient that is of this sample alone: what belongs to others is neither read nor written."""
        share = self._shares.get(sample)
        if share is None:
            share = self._shares[sample] = self._share_of(sample)
        for direct in share.direct:
            direct.pull(values, gradient.unary, into, 1)
        pull(share.folds, states, gradient.unary, gradient.store)
        for each, first, place in share.sources:
            if any(name in into for name in each.source.names):
                rows = gradient.store[place].reshape(-1, each.width)
                each.source.pullback(values, slice(first, first + len(rows)), rows, into)

    def _share_of(self, sample: int) -> _Share:
        folds = [own for fold in self.folds if (own := _fold_of(fold, self._owners(fold), sample)) is not None]
        sources = [(each, *part[1:]) for each in self.sources for part in each.parts if part[0] == sample]
        direct = []
        for each, at in self._of_direct:
            assert isinstance(each.source, Linear) and isinstance(each.source.W, Parameter)
            for _, first, place in [part for part in each.parts if part[0] == sample]:
                rows = slice(first, first + (place.stop - place.start) // each.width)
                direct.append(Direct(each.source.matrix[rows], each.source.W, at[rows]))
        return _Share(folds, sources, direct)

    def _owners(self, fold: Fold) -> I64 | None:
        """The sample of each target of a fold; None: they serve all."""
        compiled = self.union.compiled
        if fold.to_unary:
            variable = np.searchsorted(compiled.variable_start[:-1].astype(np.int64), fold.target, side="right") - 1
            return compiled.variable_sample[variable].astype(np.int64)
        number, sample = self._derived
        place = np.searchsorted(number, fold.target)
        if not len(number) or (number[np.minimum(place, len(number) - 1)] != fold.target).any():
            return None  # all factors share them
        return sample[place]

    @functools.cached_property
    def _derived(self) -> tuple[I64, I64]:
        """Where the own numbers of factors begin, ascending, and their samples."""
        compiled = self.union.compiled
        runs = [run_of(compiled, r) for r in range(len(self.union.layout.kinds))]
        own = [run for run in runs if run.shared < 0]
        nothing = np.zeros(0, np.int64)
        number = [compiled.factor_number[run.factor : run.factor + run.size].astype(np.int64) for run in own]
        sample = [compiled.variable_sample[scope_of(compiled, run)[0]].astype(np.int64) for run in own]
        numbers, samples = np.concatenate([*number, nothing]), np.concatenate([*sample, nothing])
        order = np.argsort(numbers, kind="stable")
        return numbers[order], samples[order]

    def _refuse(self, values: Sequence[Values]) -> None:
        """Let the declaration whose numbers are bad say what is wrong with them."""
        for group in self.union.groups:
            for factor, sample in zip(group.factors, group.samples.tolist()):
                if factor.slots:
                    factor.check_numbers(factor.slots[0].source.evaluate(values[sample]))


class _UnaryRows(NamedTuple):
    """Rows of numbers that are nothing but the unary energies of one variable."""

    source: I64
    "(n,) element of the store where each begins, ascending"
    target: I64
    "(n,) element of the unary energies where it goes"
    width: I64
    "(n,)"


def _unary_rows(folds: Sequence[Fold]) -> _UnaryRows:
    """The rows that a single fold reads, and adds to unary energies as they are."""
    plain = [f for f in folds if f.plain and f.to_unary and len(f.target) == len(f.source)]
    nothing = np.zeros(0, np.int64)
    source = np.concatenate([*(f.source for f in plain), nothing])
    target = np.concatenate([*(f.target for f in plain), nothing])
    width = np.concatenate([*(np.full(len(f.source), len(f.entry)) for f in plain), nothing])
    every, count = np.unique(np.concatenate([*(f.source for f in folds), nothing]), return_counts=True)
    order = np.argsort(source, kind="stable")
    source, target, width = source[order], target[order], width[order]
    once = count[np.searchsorted(every, source)] == 1 if len(source) else np.zeros(0, bool)
    return _UnaryRows(source[once], target[once], width[once])


def _direct(each: Source, rows: _UnaryRows) -> tuple[Direct | None, I64]:
    """The source as a direct product, where all of its rows allow that, and the elements where its rows would lie."""
    source = each.source
    starts = np.concatenate([np.arange(p.start, p.stop, each.width) for p in each.places]) if each.width else None
    if starts is None or not isinstance(source, Linear) or source.matrix is None or not len(rows.source):
        return None, np.zeros(0, np.int64)
    place = np.minimum(np.searchsorted(rows.source, starts), len(rows.source) - 1)
    fits = source.reads_rows_of(each.width) and each.least == -np.inf and 0 < source.W.size < FURTHEST
    fits = fits and len(starts) == source.matrix.shape[0] and int(rows.target.max()) < FURTHEST
    if not fits or (rows.source[place] != starts).any() or (rows.width[place] != each.width).any():
        return None, np.zeros(0, np.int64)
    assert isinstance(source.W, Parameter)
    return Direct(source.matrix, source.W, rows.target[place]), starts


def _fold_of(fold: Fold, owner: I64 | None, sample: int) -> Fold | None:
    """The part of a fold whose targets are of one sample; None: there is none."""
    if owner is None:
        return fold
    chosen = np.flatnonzero(owner == sample)
    if not len(chosen):
        return None
    one = len(fold.source) == 1 and len(owner) > 1
    return fold._replace(
        target=fold.target[chosen], source=fold.source if one else fold.source[chosen],
        given_cells=fold.given_cells[:, chosen],
    )  # fmt: skip


def _spread(flat: F64, store: F64, places: Sequence[slice]) -> None:
    at = 0
    for place in places:
        size = place.stop - place.start
        store[place] = flat[at : at + size]
        at += size


def _declared(groups: Sequence[Group]) -> list[Source]:
    """Every source of a union, one for each declaration and sample."""
    readers: dict[int, list[int]] = {}
    for group in groups:
        step = 0 if group.shared else group.rows * group.row_size
        for j, sample in enumerate(group.samples.tolist()):
            readers.setdefault(group.store + j * step, []).append(sample)
    found = []
    for group in groups:
        size = group.rows * group.row_size
        if not size or not group.owns:
            continue
        for j in range(1 if group.shared else len(group.factors)):
            at = group.store + j * size
            source, least = group.factors[j].slots[0].source, group.factor.least_number
            place = slice(at, at + size)
            parts = tuple((sample, 0, place) for sample in readers[at])
            found.append(Source(source, group.rows, group.row_size, (place,), int(group.samples[j]), least, parts))
    return found


def _merged(sources: Sequence[Source]) -> list[Source]:
    """The same numbers from fewer sources: products of constant features with the same weights become one."""
    alike: dict[object, list[Source]] = {}
    for each in sources:
        alike.setdefault(_kind_of(each), []).append(each)
    merged = []
    for like in alike.values():
        first = like[0]
        if len(like) > 1 and isinstance(first.source, Linear):
            source = first.source.stack([each.source for each in like[1:] if isinstance(each.source, Linear)])
            rows = sum(each.rows for each in like)
            places = _joined([each.places[0] for each in like])
            begins = np.cumsum([0, *(each.rows for each in like)]).tolist()
            parts = tuple((part[0], begin, part[2]) for each, begin in zip(like, begins) for part in each.parts)
            merged.append(first._replace(source=source, rows=rows, places=places, parts=parts))
        else:
            merged += like
    return merged


def _joined(places: Sequence[slice]) -> tuple[slice, ...]:
    """Neighbours as one."""
    found = [places[0]]
    for place in places[1:]:
        if place.start == found[-1].stop:
            found[-1] = slice(found[-1].start, place.stop)
        else:
            found.append(place)
    return tuple(found)


def _kind_of(each: Source) -> object:
    source = each.source
    if isinstance(source, Linear) and source.stacks_like(source) and source.reads_rows_of(each.width):
        return ("Linear", source.matrix is None, source.W.key, each.width, each.least)
    return id(each)
