"""The messages of an answer as energies, made when they are read: most answers are never asked for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from factorgraph_ebm import arrays as a
from factorgraph_ebm.arrays import F64, Messages
from factorgraph_ebm.compiler.layout import Layout
from factorgraph_ebm.compiler.schedules import sequential
from factorgraph_ebm.inference.iterating import Plan, iterate
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.inference.passing import Passing
from factorgraph_ebm.inference.progress import Progress


class Part(NamedTuple):
    """Some chunks, and the passing that answered them."""

    passing: Passing
    chunks: tuple[int, ...]


class Kept:
    """The messages of all chunks as energies, made when they are read; forests are solved once more for it."""

    def __init__(self, problem: Problem, parts: Sequence[Part], progress: Progress, *, minimize: bool) -> None:
        self._problem, self._parts, self._minimize = problem, parts, minimize
        self._forests = np.flatnonzero(progress.exact).tolist()

    @cached_property
    def _all(self) -> Messages:
        layout = self._problem.union.layout
        size = layout.compiled.message_size
        into = Messages(np.zeros(size), np.zeros(size))
        for part in self._parts:
            loopy = set(part.chunks) - set(self._forests)
            if len(self._parts) == 1 and not self._forests:
                return part.passing.energies()
            if loopy:
                copy_messages(part.passing.energies(), into, layout, loopy)
        if self._forests:
            passing = Passing(layout, self._problem.scaled, minimize=self._minimize)
            steps = sequential(layout, passing.operators)
            iterate(passing, Plan(steps, 1, 0.0, -1.0), self._forests, lambda chunk, residuals: True)
            passing.send()
            copy_messages(passing.energies(), into, layout, self._forests)
        return into

    @property
    def to_variable(self) -> F64:
        return self._all.to_variable

    @property
    def to_factor(self) -> F64:
        return self._all.to_factor


def rows_of(layout: Layout, chunks: Iterable[int]) -> Iterable[slice]:
    """Where the messages of these chunks lie."""
    compiled, blocks = layout.compiled, layout.factor_block
    field, start = compiled.run_field, compiled.run_field_start
    for i in np.flatnonzero(np.isin(blocks.chunk, list(chunks))):
        run = int(blocks.run[i])
        for slot in field[start[run] + a.RUN_HEADER : start[run + 1]].reshape(-1, a.SLOT_FIELDS):
            first, k = int(slot[a.SLOT_MESSAGE]), int(slot[a.SLOT_STATES])
            yield slice(first + int(blocks.low[i]) * k, first + int(blocks.high[i]) * k)


def copy_messages(messages: Messages, into: Messages, layout: Layout, chunks: Iterable[int]) -> None:
    """Copy the messages of these chunks."""
    if len(set(chunks := list(chunks))) == len(layout.compiled.chunk_variable_start) - 1:
        into.to_variable[:], into.to_factor[:] = messages.to_variable, messages.to_factor
        return
    for rows in rows_of(layout, chunks):
        into.to_variable[rows] = messages.to_variable[rows]
        into.to_factor[rows] = messages.to_factor[rows]
