"""In which samples an assignment is allowed: asked after every iteration, so compiled, and only of what forbids.

Where every structure of a chunk has a kernel for it, the driver asks by itself (`engine.until_feasible`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from factorgraph_ebm._jit import NOTHING, READ_F8, READ_I8, READ_U4, READ_U8, SIZE, U1, Kernel, addresses, kernel
from factorgraph_ebm.arrays import I64, U8, U64, Bool
from factorgraph_ebm.compiler.layout import joined, sizes, variable_chunks
from factorgraph_ebm.factors import STRUCTURES
from factorgraph_ebm.inference.energies import run_energies
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.inference.passing import Passing
from factorgraph_ebm.inference.tables import run_of, scope_of


@kernel(NOTHING, READ_F8, READ_U8, READ_I8, READ_U4, U1, SIZE, SIZE)
def unary_forbids(unary, start, state, variable_sample, allowed, low, high):  # type: ignore[no-untyped-def]
    for v in range(low, high):
        if unary[start[v] + np.uint64(state[v])] == np.inf:
            allowed[variable_sample[v]] = 0


FEW = 48
"factors of a chunk that are looked at first, of all its runs together"


class Feasible:
    """What a problem forbids."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        compiled = problem.compiled
        self._kernels: dict[int, Kernel | None] = {}
        tables_forbid = bool(np.isinf(problem.numbers.store).any())
        for run, kind in enumerate(problem.union.layout.kinds):
            if tables_forbid or kind != "Table":
                self._kernels[run] = STRUCTURES[kind].message_kernels(run_of(compiled, run).states).forbids
        self._rows = {run: _row_of(problem, run) for run in self._kernels}
        self._unary = bool(np.isinf(problem.numbers.unary).any())
        self._blocks = joined(problem.union.layout.factor_block)
        self.n_chunks = len(compiled.chunk_variable_start) - 1
        degree, states = sizes(compiled.variable_slot_start), sizes(compiled.variable_start)
        self.size = np.bincount(variable_chunks(compiled), degree * states, self.n_chunks)
        "elements of the messages of each chunk, (C,)"

    def served(self, passing: Passing) -> Bool:
        """Chunks of which the driver can say by itself whether they are allowed, (C,)."""
        able = np.full(self.n_chunks, passing.decide_kernel is not None)
        for run, forbids in self._kernels.items():
            if forbids is None:
                able[self._blocks.chunk[self._blocks.run == run]] = False
        return able

    def rules(self, passing: Passing) -> tuple[Any, ...]:
        """What the driver reads of all this, see `engine.until_feasible`."""
        compiled, numbers, blocks = self.problem.compiled, self.problem.numbers, self._blocks
        given = {run: k for run, k in self._kernels.items() if k is not None}
        kernels = list(dict.fromkeys(given.values()))
        looked = np.flatnonzero(np.isin(blocks.run, list(given)))
        looked = looked[np.argsort(blocks.chunk[looked], kind="stable")]
        run = blocks.run[looked]
        kernel = np.array([kernels.index(given[r]) for r in run.tolist()], np.int64)
        assert passing.decide_kernel is not None
        return (
            passing.decide_kernel.address, addresses(kernels),
            np.searchsorted(blocks.chunk[looked], np.arange(self.n_chunks + 1)),
            kernel, run, blocks.low[looked], blocks.high[looked], max(4, FEW // max(1, len(given))),
            compiled.run_field, compiled.factor_number, numbers.store, compiled.scope,
            variable_chunks(compiled).astype(np.uint32), *passing.pairs, compiled.chunk_variable_start,
            numbers.unary, compiled.variable_start, int(self._unary),
        )  # fmt: skip

    def _look(self, run: int, low: int, high: int, state: I64, found: U8) -> None:
        """Let `found` be 0 for the samples that these factors of a run forbid."""
        compiled = self.problem.compiled
        forbids = self._kernels[run]
        assert forbids is not None
        row, number = self._rows[run]
        tail = state, compiled.variable_sample, found
        forbids(row, number, self.problem.numbers.store, compiled.scope, *tail, low, high)

    def allowed(self, state: I64, chunks: Sequence[int]) -> Bool:
        """Which samples of these chunks these states (V,) are allowed in, (N,); anything for other chunks."""
        compiled, numbers = self.problem.compiled, self.problem.numbers
        found = np.ones(len(compiled.sample_chunk), np.uint8)
        if self._unary:
            tail = state, compiled.variable_sample, found
            unary_forbids(numbers.unary, compiled.variable_start, *tail, 0, len(state))
        for run, forbids in self._kernels.items():
            fields = run_of(compiled, run)
            if forbids is None:
                scope = scope_of(compiled, fields)
                bad = run_energies(self.problem.union, numbers, run, state[scope]) == np.inf
                found[compiled.variable_sample[scope[0][bad]]] = 0
                continue
            for low, high in self._ranges(run, fields.size, chunks):
                self._look(run, low, high, state, found)
        return found.astype(bool)

    def chunks(self, state: I64, chunks: Sequence[int]) -> Bool:
        """Which of these chunks have only samples that these states (V,) are allowed in, (len(chunks),)."""
        forbidden = self.problem.compiled.sample_chunk[~self.allowed(state, chunks)]
        return ~np.isin(chunks, forbidden)

    def _ranges(self, run: int, size: int, chunks: Sequence[int]) -> list[tuple[int, int]]:
        """Factors of a run to look at: those of these chunks."""
        blocks = self._blocks
        mine = np.flatnonzero(blocks.run == run)
        if len(chunks) >= len(mine):
            return [(0, size)]
        mine = mine[np.isin(blocks.chunk[mine], chunks)]
        return list(zip(blocks.low[mine].tolist(), blocks.high[mine].tolist()))


def _row_of(problem: Problem, run: int) -> tuple[I64, U64]:
    """The fields of a run, and the numbers of its factors."""
    compiled = problem.compiled
    fields = run_of(compiled, run)
    row = compiled.run_field[compiled.run_field_start[run] : compiled.run_field_start[run + 1]]
    return row, compiled.factor_number[fields.factor : fields.factor + fields.size]
