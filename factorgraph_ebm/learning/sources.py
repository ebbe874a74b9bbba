"""The sources of numbers of a union of many samples, merged: one product of features and weights for all of them.

    bind: values -> declared numbers        pull: gradient with respect to these -> gradients of the values

A union reads the numbers of each declaration sample by sample. Over thousands of samples that share weights, and are
bound again at each step, it pays to put their features into one matrix once: X W is then one product, and so is X' G.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Numbers, Values
from factorgraph_ebm.compiler.parts import Group
from factorgraph_ebm.compiler.union import Union
from factorgraph_ebm.graph.linear import Linear
from factorgraph_ebm.graph.parametrisation import Parametrisation


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


class Sources:
    """How the declared numbers of a union are read, merged over samples."""

    def __init__(self, union: Union) -> None:
        self.union = union
        self.sources = _merged(_declared(union.groups))

    def bind(self, values: Sequence[Values], states: I64) -> Numbers:
        """The numbers of the union, as `Union.bind`."""
        store = np.zeros(self.union.store_size)
        for each in self.sources:
            here = values[each.sample]
            if len(each.places) == 1:
                region = store[each.places[0]]
                each.source.numbers(here, slice(0, each.rows), region.reshape(each.rows, each.width))
            else:
                region = np.empty((each.rows, each.width))
                each.source.numbers(here, slice(0, each.rows), region)
                _spread(region.reshape(-1), store, each.places)
            least = region.min()
            if not least > -np.inf or least < each.least:
                self._refuse(values)
        return self.union.fold(store, states)

    def pull(self, values: Sequence[Values], states: I64, gradient: Numbers, into: Mapping[str, F64]) -> None:
        """Add the gradient with respect to every named value to `into`, as `Union.pullback`."""
        store = self.union.unfold(gradient, states)
        for each in self.sources:
            if not any(name in into for name in each.source.names):
                continue
            flat = store[each.places[0]] if len(each.places) == 1 else np.concatenate([store[p] for p in each.places])
            rows = flat.reshape(each.rows, each.width)
            each.source.pullback(values[each.sample], slice(0, each.rows), rows, into)

    def _refuse(self, values: Sequence[Values]) -> None:
        """Let the declaration whose numbers are bad say what is wrong with them."""
        for group in self.union.groups:
            for factor, sample in zip(group.factors, group.samples.tolist()):
                if factor.slots:
                    factor.check_numbers(factor.slots[0].source.evaluate(values[sample]))


def _spread(flat: F64, store: F64, places: Sequence[slice]) -> None:
    at = 0
    for place in places:
        size = place.stop - place.start
        store[place] = flat[at : at + size]
        at += size


def _declared(groups: Sequence[Group]) -> list[Source]:
    """Every source of a union, one for each declaration and sample."""
    found = []
    for group in groups:
        size = group.rows * group.row_size
        if not size or not group.owns:
            continue
        for j in range(1 if group.shared else len(group.factors)):
            at = group.store + j * size
            source, least = group.factors[j].slots[0].source, group.factor.least_number
            place = (slice(at, at + size),)
            found.append(Source(source, group.rows, group.row_size, place, int(group.samples[j]), least))
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
            merged.append(first._replace(source=source, rows=rows, places=places))
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
