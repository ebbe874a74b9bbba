"""In which samples an assignment is allowed: asked after every iteration, so compiled, and only of what forbids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from factorgraph_ebm._jit import NOTHING, READ_F8, READ_I8, READ_U4, READ_U8, SIZE, U1, Kernel, kernel
from factorgraph_ebm.arrays import I64, Bool
from factorgraph_ebm.compiler.layout import joined
from factorgraph_ebm.factors import STRUCTURES
from factorgraph_ebm.inference.energies import run_energies
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.inference.tables import run_of, scope_of


@kernel(NOTHING, READ_F8, READ_U8, READ_I8, READ_U4, U1, SIZE, SIZE)
def unary_forbids(unary, start, state, variable_sample, allowed, low, high):  # type: ignore[no-untyped-def]
    for v in range(low, high):
        if unary[start[v] + np.uint64(state[v])] == np.inf:
            allowed[variable_sample[v]] = 0


class Feasible:
    """What a problem forbids."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._kernels: dict[int, Kernel | None] = {}
        tables_forbid = bool(np.isinf(problem.numbers.store).any())
        for run, kind in enumerate(problem.union.layout.kinds):
            if tables_forbid or kind != "Table":
                self._kernels[run] = STRUCTURES[kind].message_kernels(run_of(problem.compiled, run).states).forbids
        self._unary = bool(np.isinf(problem.numbers.unary).any())
        self._blocks = joined(problem.union.layout.factor_block)

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
            row = compiled.run_field[compiled.run_field_start[run] : compiled.run_field_start[run + 1]]
            number = compiled.factor_number[fields.factor : fields.factor + fields.size]
            for low, high in self._ranges(run, fields.size, chunks):
                tail = state, compiled.variable_sample, found
                forbids(row, number, numbers.store, compiled.scope, *tail, low, high)
        return found.astype(bool)

    def _ranges(self, run: int, size: int, chunks: Sequence[int]) -> list[tuple[int, int]]:
        """Factors of a run to look at: all, unless few chunks are asked about."""
        blocks = self._blocks
        mine = np.flatnonzero(blocks.run == run)
        if 4 * len(chunks) > len(mine):
            return [(0, size)]
        mine = mine[np.isin(blocks.chunk[mine], chunks)]
        return list(zip(blocks.low[mine].tolist(), blocks.high[mine].tolist()))
