"""Forests: samples that one sweep up and down solves, chunk by chunk in working space, without keeping messages."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from factorgraph_ebm import arrays as a
from factorgraph_ebm.arrays import F64, I64, Bool, Numbers, Steps
from factorgraph_ebm.compiler.layout import Layout, joined
from factorgraph_ebm.compiler.schedules import Operators, sequential
from factorgraph_ebm.engine.forest import decode_forests, solve_forests
from factorgraph_ebm.factors.pair_products import add_pair_products, room_for
from factorgraph_ebm.factors.sparse_weights import add_sparse_products, room_for_sparse
from factorgraph_ebm.inference.passing import Passing, Workspace, columns, paced
from factorgraph_ebm.inference.remembering import once_for
from factorgraph_ebm.inference.tables import run_of
from factorgraph_ebm.inference.threads import together

ENOUGH = 1 << 16
"elements of messages for which a second thread is worth waking: about 200 us of work"
LARGEST_SUMS = 1 << 27
"bytes of sums of products of rows, chunk by chunk"


class _Space(NamedTuple):
    """The working space of one thread: messages of one chunk, and the fields of its runs."""

    to_variable: F64
    to_factor: F64
    fields: I64
    work: Workspace
    room: F64
    "for products of rows"


class Forests:
    """The forests among the chunks of a passing."""

    def __init__(self, passing: Passing, chunks: Sequence[int]) -> None:
        self.passing = passing
        self.chunks = np.array(chunks, np.int64)
        layout = passing.layout
        plan = once_for(
            layout.compiled, ("forests", passing.form, passing.minimize), lambda: _plan_for(layout, passing.operators)
        )
        self.steps, self._blocks, self._size = plan
        self._spaces: list[_Space] = []
        self._summed = "SparseTable" if "SparseTable" in layout.kinds else "Table"
        self._sum_start = self._find_sums()
        self._share, self._sums = np.zeros(0), np.zeros(0)

    @property
    def has_sums(self) -> bool:
        """Whether sums of products of rows are all that statistics of factors need: see `factors.pair_products`."""
        return self._sum_start is not None

    def _find_sums(self) -> I64 | None:
        """Where the sums of each run begin, and where they end, where all factors are pairs that share their table.

        Or all share their list of configurations, which has a sum for each row.
        """
        if self.passing.form != "weights":
            return None
        layout = self.passing.layout
        block_start, block_run, _, _ = self._blocks
        inside = np.concatenate([np.arange(block_start[c], block_start[c + 1]) for c in self.chunks])
        start = [0]
        for r, kind in enumerate(layout.kinds):
            fields = run_of(layout.compiled, r)
            serves = kind == self._summed and fields.arity == 2 and fields.shared >= 0
            if not serves and np.any(block_run[inside] == r):
                return None
            size = math.prod(fields.states) if kind == "Table" else len(self._numbers_of(r))
            start.append(start[-1] + (size if serves else 0))
        fits = 8 * start[-1] * (len(block_start) - 1) <= LARGEST_SUMS
        return np.array(start, np.int64) if fits else None

    def _numbers_of(self, run: int) -> I64:
        """The number that each row of the list of a run reads; none for other structures."""
        if self.passing.layout.kinds[run] != "SparseTable":
            return np.zeros(0, np.int64)
        compiled = self.passing.compiled
        at = int(compiled.run_field[compiled.run_field_start[run] + a.RUN_CONSTANT])
        rows = int(compiled.constants[at + 1])
        return compiled.constants[at + 2 : at + 2 + rows].astype(np.int64)

    def add_statistics(self, share: F64, out: Numbers) -> None:
        """Add share (N,) * expected indicators of the numbers of factors; 0 for samples not answered here.

        They were made with the marginals, where these were asked for with the same shares.
        """
        assert self._sum_start is not None
        if not self._sum_start[-1]:
            return
        if not (len(self._sums) and np.array_equal(self._share, share)):
            self._find(share, np.empty(len(self.passing.unary)))  # those found before have been handed out
        total = self._sums.reshape(-1, self._sum_start[-1]).sum(axis=0)
        field = self.passing.runs[0]
        for r in range(len(self.passing.layout.kinds)):
            sums = total[self._sum_start[r] : self._sum_start[r + 1]]
            if not sums.any():
                continue
            fields = run_of(self.passing.compiled, r)
            if self._summed == "Table":
                entry = np.arange(fields.states[0])[:, None] * fields.strides[0]
                place = (entry + np.arange(fields.states[1]) * fields.strides[1]).ravel()
            else:
                place = self._numbers_of(r)
            read = int(field[self.passing.compiled.run_field_start[r] + a.RUN_SHARED])
            there = sums != 0.0  # what nobody reads may be NaN
            out.store[fields.shared + place[there]] += self.passing.weight[read + place[there]] * sums[there]

    def marginals(self, share: F64 | None = None) -> tuple[F64, F64, F64]:
        """Probabilities (unary_size,), free energies of samples (N,) and of the beliefs of variables (V,).

        `share` (N,): make sums for `add_statistics` with these.

        Only what belongs to these chunks means something. NaN where digits were lost. Free energies lack what the form
        took off the unary energies. Weights of unaries are overwritten with probabilities: nobody needs them again.
        """
        return self._find(share, self.passing.room_for_probabilities())

    def _find(self, share: F64 | None, probability: F64) -> tuple[F64, F64, F64]:
        compiled = self.passing.compiled
        free_energy = np.zeros(len(compiled.sample_chunk))
        variable_free = np.zeros(len(compiled.variable_cell))
        tail = compiled.scope, compiled.variable_sample
        out = self.passing.energy, self.passing.least, probability, variable_free, free_energy
        sum_start = np.zeros(1, np.int64) if self._sum_start is None else self._sum_start
        if share is not None and self._sum_start is not None:
            self._share, self._sums = share.copy(), np.zeros(sum_start[-1] * len(compiled.chunk_variable_start[1:]))
        adds = add_pair_products if self._summed == "Table" else add_sparse_products
        products = adds.address, self._share, self._sums, sum_start
        pointed = self.passing.join_kernel.address, self.passing.weigh_kernel.address
        unary = probability if self.passing.form == "weights" else self.passing.unary
        self._run(solve_forests, unary, pointed, tail, (*out, *products), ("room",))
        return probability, free_energy, variable_free

    def states(self, state: I64) -> None:
        """Write states of least energy, (V,); -1 where every state is forbidden."""
        layout = self.passing.layout
        arity = a.run_fields(layout.compiled, a.RUN_ARITY)
        is_table = np.array([k == "Table" and n == 2 for k, n in zip(layout.kinds, arity.tolist())], np.uint8)
        self._run(decode_forests, self.passing.unary, (), (layout.compiled.scope, is_table), (state,))

    def _run(
        self, driver: Any, unary: F64, pointed: tuple[Any, ...], tail: tuple[Any, ...], out: tuple[Any, ...],
        own: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """`own`: what the driver takes last of the space of its thread."""
        passing, steps = self.passing, self.steps
        compiled = passing.compiled
        _, start, slot_start, slot_split, _ = passing.variables
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
                    *(getattr(space, name) for name in own),
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
            work = works[len(self._spaces)]
            self._spaces.append(_Space(np.zeros(size), np.zeros(size), fields, work, np.zeros(self._room_size())))
        return self._spaces


    def _room_size(self) -> int:
        if self._sum_start is None:
            return 0
        runs = (run_of(self.passing.compiled, r) for r in range(len(self.passing.layout.kinds)))
        needs = room_for if self._summed == "Table" else room_for_sparse
        return max((needs(run.states[0], run.states[1]) for run in runs if run.arity == 2), default=0)


class _Plan(NamedTuple):
    """What does not depend on numbers."""

    steps: Steps
    blocks: tuple[I64, I64, I64, I64]
    "first block of each chunk; run, first factor, and factor after the last of each block"
    size: I64
    "(C,) elements of the messages of each chunk"


def _plan_for(layout: Layout, operators: Operators) -> _Plan:
    compiled = layout.compiled
    blocks = joined(layout.factor_block)
    order = np.lexsort((blocks.run, blocks.chunk))
    chunk, run = blocks.chunk[order], blocks.run[order]
    low, high = blocks.low[order], blocks.high[order]
    n_chunks = len(compiled.chunk_variable_start) - 1
    width = np.array([_width(layout, r) for r in range(len(layout.kinds))] or [0], np.int64)
    size = np.bincount(chunk, (high - low) * width[run], n_chunks).astype(np.int64)
    start = np.searchsorted(chunk, np.arange(n_chunks + 1))
    return _Plan(sequential(layout, operators), (start, run, low, high), size)


def joins_pairs(layout: Layout) -> Bool:
    """Which chunks have no factor over more than two variables, (C,)."""
    return once_for(layout.compiled, "pairs", lambda: _joining_pairs(layout))


def _joining_pairs(layout: Layout) -> Bool:
    wide = a.run_fields(layout.compiled, a.RUN_ARITY) > 2
    joins = np.ones(len(layout.compiled.chunk_variable_start) - 1, bool)
    if len(wide):
        joins[layout.factor_block.chunk[wide[layout.factor_block.run]]] = False
    return joins


def _width(layout: Layout, run: int) -> int:
    field, start = layout.compiled.run_field, layout.compiled.run_field_start
    return int(field[start[run] + a.RUN_HEADER + a.SLOT_STATES : start[run + 1] : a.SLOT_FIELDS].sum())

