"""Schedules: in what order messages are sent, as a list of steps for the engine's driver.

sequential
    Level by level up, then down: on a forest one pair is exact, on a grid it is raster order.
flooding
    All factors, then all variables, from the messages of before.

Which kernel a step calls depends on what its target sums or minimises over: minimise everything; sum everything; or,
where some variables are summed out of a minimisation, one of the two for each slot, and both for a slot whose
factor has other variables of either kind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from factorgraph_ebm import arrays as a
from factorgraph_ebm._jit import Kernel
from factorgraph_ebm.arrays import ALL, I64, Steps, all_but
from factorgraph_ebm.compiler.layout import Blocks, Layout, joined
from factorgraph_ebm.factors import STRUCTURES

UP, DOWN = 1, 0


class Operators:
    """The kernels of a question, and which of them each slot of each run is sent by."""

    def __init__(self, layout: Layout, *, minimize: bool, form: str = "energies") -> None:
        self.kernels: list[Kernel] = []
        self.of_slot: list[list[int]] = []
        field, start = layout.compiled.run_field, layout.compiled.run_field_start
        for run, kind in enumerate(layout.kinds):
            row = field[start[run] : start[run + 1]]
            slots = row[a.RUN_HEADER :].reshape(-1, a.SLOT_FIELDS)
            offered = STRUCTURES[kind].message_kernels(tuple(slots[:, a.SLOT_STATES].tolist()))
            if form == "single":  # what has no such kernel is read in double precision
                self.of_slot.append([self._number(offered.single or offered.min)] * len(slots))
                continue
            if form != "energies" or not minimize:
                kernel = getattr(offered, form) if form != "energies" else offered.sum
                self.of_slot.append([-1 if kernel is None else self._number(kernel)] * len(slots))
                continue
            soft = slots[:, a.SLOT_SOFT].tolist()
            chosen = []
            for slot in range(len(slots)):
                others = soft[:slot] + soft[slot + 1 :]
                if not any(others):
                    kernel = offered.min
                else:
                    kernel = offered.sum if all(others) else offered.mixed
                chosen.append(self._number(kernel))
            self.of_slot.append(chosen)

    def _number(self, kernel: Kernel) -> int:
        if kernel not in self.kernels:
            self.kernels.append(kernel)
        return self.kernels.index(kernel)


def sequential(layout: Layout, operators: Operators) -> Steps:
    factors, variables = layout.factor_block, layout.variable_block
    n_levels = int(variables.level.max(initial=0)) + 1
    last = a.run_fields(layout.compiled, a.RUN_LAST)
    arity = a.run_fields(layout.compiled, a.RUN_ARITY)
    pieces = []
    # Sort keys: chunk, then 2 * level up and 4 * n_levels - 2 * level down, variables before factors going up.
    up = 2 * variables.level
    pieces.append(_variable_steps(variables, up, UP))
    pieces.append(_variable_steps(variables, 4 * n_levels - 2 * variables.level + 1, DOWN))
    for run, kernels in enumerate(operators.of_slot):
        chosen = np.flatnonzero(factors.run == run)
        level = factors.level[chosen]
        top = int(last[run])
        pieces.append(_factor_steps(factors, chosen, 2 * level + 1, kernels[top], top))
        if arity[run] == 1:
            continue
        down = 4 * n_levels - 2 * level
        others = [s for s in range(int(arity[run])) if s != top]
        if len({kernels[s] for s in others}) == 1:
            pieces.append(_factor_steps(factors, chosen, down, kernels[others[0]], all_but(top)))
        else:
            pieces += [_factor_steps(factors, chosen, down, kernels[s], s) for s in others]
    return _sorted(pieces, layout, upward=2 * n_levels)


def flooding(layout: Layout, operators: Operators) -> Steps:
    factors, variables = layout.factor_block, layout.variable_block
    last_level = int(variables.level.max(initial=0)) + 1
    pieces = [_variable_steps(joined(variables), last_level + np.zeros(1, np.int64), ALL)]
    whole = joined(factors)
    for run, kernels in enumerate(operators.of_slot):
        chosen = np.flatnonzero(whole.run == run)
        zero = np.zeros(len(chosen), np.int64)
        if len(set(kernels)) == 1:
            pieces.append(_factor_steps(whole, chosen, zero, kernels[0], ALL))
        else:
            pieces += [_factor_steps(whole, chosen, zero, k, s) for s, k in enumerate(kernels)]
    return _sorted(pieces, layout)


def _variable_steps(blocks: Blocks, key: I64, target: int) -> I64:
    """Columns of steps in which variables send: chunk, sort key, kernel, run, low, high, target."""
    n = len(blocks.low)
    key = np.broadcast_to(key, (n,))
    none = np.full(n, -1)
    return np.stack([blocks.chunk, key, none, none, blocks.low, blocks.high, np.full(n, target)])


def _factor_steps(blocks: Blocks, chosen: I64, key: I64, kernel: int, target: int) -> I64:
    """Columns of steps in which factors send."""
    n = len(chosen)
    low, high = blocks.low[chosen], blocks.high[chosen]
    return np.stack([blocks.chunk[chosen], key, np.full(n, kernel), blocks.run[chosen], low, high, np.full(n, target)])


def _sorted(pieces: Sequence[I64], layout: Layout, upward: int = 0) -> Steps:
    """Steps by chunk and sort key; keys below `upward` go up."""
    rows = np.concatenate(pieces, axis=1)
    chunk, key, *_ = rows
    order = np.lexsort((np.arange(rows.shape[1]), key, chunk))
    rows = _cut(rows[:, order], layout)
    n_chunks = len(layout.compiled.chunk_variable_start) - 1
    start = np.searchsorted(rows[0], np.arange(n_chunks + 1)).astype(np.int64)
    n = rows.shape[1]
    new = np.ones(n, bool)
    new[1:] = (rows[0, 1:] != rows[0, :-1]) | (rows[1, 1:] != rows[1, :-1])
    stage_start = np.append(np.flatnonzero(new), n)
    chunk_stage = np.searchsorted(stage_start, start)
    turn = start[:-1] + np.bincount(rows[0, rows[1] < upward], minlength=n_chunks)
    return Steps(start, rows[2], rows[3], rows[4], rows[5], rows[6], stage_start, chunk_stage, turn)


TASK = 2000.0
"""nanoseconds, roughly, of the steps that wide stages are cut into: ten times what it costs a thread to take one, and
little enough that two threads share the hundred variables of a diagonal"""
SHARES = 64
"steps that a wide stage is cut into at most, unless they would be wider than WIDEST"
WIDEST = 4096
"variables of one step at most"


def _cut(rows: I64, layout: Layout) -> I64:
    """Cut steps into pieces of about equal work."""
    compiled = layout.compiled
    states = max(1, compiled.unary_size // max(1, len(compiled.variable_cell)))
    grain = np.empty(len(layout.kinds) + 1, np.int64)
    grain[-1] = max(32, min(WIDEST, int(TASK / (2.0 + 2.0 * states))))  # run -1: variables
    for run, kind in enumerate(layout.kinds):
        row = compiled.run_field[compiled.run_field_start[run] : compiled.run_field_start[run + 1]]
        widths = row[a.RUN_HEADER + a.SLOT_STATES :: a.SLOT_FIELDS].tolist()
        work = 0.3 * math.prod(widths) if kind == "Table" else sum(widths)
        grain[run] = max(16, min(WIDEST, int(TASK / (2.0 + work))))
    width = rows[5] - rows[4]
    size = np.minimum(WIDEST, np.maximum(grain[rows[3]], -(-width // SHARES)))
    pieces = np.maximum(1, -(-width // size))
    if (pieces == 1).all():
        return np.ascontiguousarray(rows)
    cut = np.repeat(rows, pieces, axis=1)
    number = np.arange(cut.shape[1]) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    cut[4] += number * np.repeat(size, pieces)
    cut[5] = np.minimum(cut[5], cut[4] + np.repeat(size, pieces))
    return cut
