"""In which samples an assignment is allowed: asked after every iteration, so compiled, and only of what forbids.

While much is violated, so is something among the first few factors, and those need the states of few variables: the
others are not looked at before these allow what is likeliest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from factorgraph_ebm._jit import NOTHING, READ_F8, READ_I8, READ_U4, READ_U8, SIZE, U1, Kernel, kernel
from factorgraph_ebm.arrays import I64, U8, U64, Bool
from factorgraph_ebm.compiler.layout import joined
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


class First(NamedTuple):
    """The first few factors of a chunk."""

    ranges: tuple[tuple[int, int, int], ...]
    "run, low, high"
    variables: I64
    "that they are over"


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
        self._first: dict[int, First] = {}

    def unsure(self, passing: Passing, state: I64, chunks: Sequence[int]) -> list[int]:
        """Those of these chunks that may be allowed in the likeliest states; writes some of these into `state`."""
        first = [self._first_of(c) for c in chunks]
        if not first or not passing.likeliest_of(state, np.concatenate([f.variables for f in first])):
            return list(chunks)
        found = np.ones(len(self.problem.compiled.sample_chunk), np.uint8)
        for run, low, high in (r for f in first for r in f.ranges):
            self._look(run, low, high, state, found)
        violated = set(self.problem.compiled.sample_chunk[found == 0].tolist())
        return [c for c in chunks if c not in violated]

    def _first_of(self, chunk: int) -> First:
        if chunk not in self._first:
            blocks, compiled = self._blocks, self.problem.compiled
            few = max(4, FEW // max(1, len(self._kernels)))
            ranges: list[tuple[int, int, int]] = []
            variables = [np.zeros(0, np.int64)]
            for i in np.flatnonzero(blocks.chunk == chunk).tolist():
                run, low = int(blocks.run[i]), int(blocks.low[i])
                if self._kernels.get(run) is not None and run not in {r for r, _, _ in ranges}:
                    high = min(low + few, int(blocks.high[i]))
                    ranges.append((run, low, high))
                    variables.append(scope_of(compiled, run_of(compiled, run))[:, low:high].ravel())
            self._first[chunk] = First(tuple(ranges), np.unique(np.concatenate(variables)))
        return self._first[chunk]

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
