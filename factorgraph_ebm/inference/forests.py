"""Forests: samples that one sweep up and down solves, chunk by chunk in working space, without keeping messages."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from factorgraph_ebm import arrays as a
from factorgraph_ebm.arrays import F64, I64, Bool
from factorgraph_ebm.compiler.layout import Layout, joined
from factorgraph_ebm.compiler.schedules import sequential
from factorgraph_ebm.engine.forest import decode_forests, solve_forests
from factorgraph_ebm.inference.passing import Passing, Workspace, columns, paced
from factorgraph_ebm.inference.threads import together

ENOUGH = 1 << 16
"elements of messages for which a second thread is worth waking: about 200 us of work"


class _Space(NamedTuple):
    """The working space of one thread: messages of one chunk, and the fields of its runs."""

    to_variable: F64
    to_factor: F64
    fields: I64
    work: Workspace


class Forests:
    """The forests among the chunks of a passing."""

    def __init__(self, passing: Passing, chunks: Sequence[int]) -> None:
        self.passing = passing
        self.chunks = np.array(chunks, np.int64)
        self.steps = sequential(passing.layout, passing.operators)
        layout = passing.layout
        compiled = layout.compiled
        blocks = joined(layout.factor_block)
        order = np.lexsort((blocks.run, blocks.chunk))
        chunk, run = blocks.chunk[order], blocks.run[order]
        low, high = blocks.low[order], blocks.high[order]
        n_chunks = len(compiled.chunk_variable_start) - 1
        self._blocks = np.searchsorted(chunk, np.arange(n_chunks + 1)), run, low, high
        width = np.array([_width(layout, r) for r in range(len(layout.kinds))] or [0], np.int64)
        self._size = np.bincount(chunk, (high - low) * width[run], n_chunks).astype(np.int64)
        self._spaces: list[_Space] = []

    def marginals(self) -> tuple[F64, F64, F64]:
        """Probabilities (unary_size,), free energies of samples (N,) and of the beliefs of variables (V,).

        Only what belongs to these chunks means something. NaN where digits were lost. Free energies lack what the form
        took off the unary energies. Weights of unaries are overwritten with probabilities: nobody needs them again.
        """
        compiled = self.passing.compiled
        probability = self.passing.room_for_probabilities()
        free_energy = np.zeros(len(compiled.sample_chunk))
        variable_free = np.zeros(len(compiled.variable_cell))
        tail = compiled.scope, compiled.variable_sample
        out = probability, variable_free, free_energy
        self._run(solve_forests, (self.passing.join_kernel.address,), tail, out)
        return probability, free_energy, variable_free

    def states(self, state: I64) -> None:
        """Write states of least energy, (V,); -1 where every state is forbidden."""
        layout = self.passing.layout
        arity = a.run_fields(layout.compiled, a.RUN_ARITY)
        is_table = np.array([k == "Table" and n == 2 for k, n in zip(layout.kinds, arity.tolist())], np.uint8)
        self._run(decode_forests, (), (layout.compiled.scope, is_table), (state,))

    def _run(self, driver: Any, pointed: tuple[Any, ...], tail: tuple[Any, ...], out: tuple[Any, ...]) -> None:
        passing, steps = self.passing, self.steps
        compiled = passing.compiled
        unary, start, slot_start, slot_split, _ = passing.variables
        variables = unary, start, slot_start, slot_split, compiled.slot_local
        at, count = 0, 8
        while at < len(self.chunks):
            chunks = self.chunks[at : at + count]
            at += len(chunks)
            threads = min(self._threads(chunks), len(chunks))
            spaces = self._room(threads)
            tickets = np.zeros(1, np.int64)
            began = time.perf_counter()

            def work(i: int, chunks: I64 = chunks, tickets: I64 = tickets, spaces: list[_Space] = spaces) -> float:
                space = spaces[i]
                done: float = driver(
                    passing.kernels, *passing.pointed, *pointed, *columns(steps), steps.start, steps.turn,
                    *self._blocks, compiled.chunk_variable_start, chunks, tickets, *variables, *passing.runs, *tail,
                    space.to_variable, space.to_factor, *space.work.arrays, space.fields, passing.block, *out,
                )  # fmt: skip
                return done

            together(work, threads)
            count = max(1, paced(count, time.perf_counter() - began))

    def _threads(self, chunks: I64) -> int:
        return self.passing.threads_for(1e9 if self._size[chunks].sum() > ENOUGH else 0.0)

    def _room(self, threads: int) -> list[_Space]:
        size = int(self._size[self.chunks].max(initial=0))
        works = self.passing.workspaces(threads)
        while len(self._spaces) < threads:
            fields = np.zeros(len(self.passing.compiled.run_field), np.int64)
            self._spaces.append(_Space(np.zeros(size), np.zeros(size), fields, works[len(self._spaces)]))
        return self._spaces


def joins_pairs(layout: Layout) -> Bool:
    """Which chunks have no factor over more than two variables, (C,)."""
    wide = a.run_fields(layout.compiled, a.RUN_ARITY) > 2
    joins = np.ones(len(layout.compiled.chunk_variable_start) - 1, bool)
    if len(wide):
        joins[layout.factor_block.chunk[wide[layout.factor_block.run]]] = False
    return joins


def _width(layout: Layout, run: int) -> int:
    field, start = layout.compiled.run_field, layout.compiled.run_field_start
    return int(field[start[run] + a.RUN_HEADER + a.SLOT_STATES : start[run + 1] : a.SLOT_FIELDS].sum())

