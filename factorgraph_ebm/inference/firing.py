"""The residual schedule over one chunk: its blocks, the queue of what is left to do, and iterations of it."""

from __future__ import annotations

import time

import numpy as np

from factorgraph_ebm import arrays as a
from factorgraph_ebm.arrays import I64
from factorgraph_ebm.compiler.layout import Layout, joined
from factorgraph_ebm.compiler.schedules import WIDEST
from factorgraph_ebm.engine.driver import RUNAWAY
from factorgraph_ebm.engine.residual import fire_units, make_queue, make_units
from factorgraph_ebm.inference.passing import Passing, paced

ROWS = 256
"numbers of a block's messages, about: of 64 to 1024, on grids of 2, 4 and 16 states, where rest comes soonest"
FACTORS = 64
"factors of a block at most"
FIRST = 1 << 14
"messages of the first call"


class Firing:
    """A chunk of which the messages whose inputs changed most are sent first."""

    def __init__(self, passing: Passing, chunk: int, damping: float, tolerance: float, most: int = FACTORS) -> None:
        """`most`: factors of a block at most; they are fewer where their messages are long."""
        compiled = passing.compiled
        self.passing = passing
        self.damping = damping
        self.tolerance = tolerance
        first, stop = (int(v) for v in compiled.chunk_variable_start[chunk : chunk + 2])
        self.variables = first, stop
        run, low, high = _cut(passing.layout, chunk, min(most, int(passing.block)))
        self.n_messages = int(((high - low) * a.run_fields(compiled, a.RUN_ARITY)[run]).sum())
        slots = compiled.variable_slot_start[first : stop + 1]
        self.units = make_units(
            compiled.run_field, compiled.run_field_start, compiled.scope, slots, (run, low, high), first
        )
        self.queue = make_queue(len(self.units.block), first, stop - first)
        self._arguments = (
            passing.kernels, *passing.pointed, *passing.slot_kernels(), *self.units, *self.queue,
            *passing.arguments(passing.spaces[0], damping)[:-2],
        )  # fmt: skip
        self._count = FIRST

    def fire(self, messages: int, times: int = 1) -> list[float]:
        """Send about so many messages, so many times, most changed first; the largest priority left each time."""
        residual = np.zeros(times)
        done = fire_units(*self._arguments, messages, residual, self.tolerance, self.damping)
        found: list[float] = residual[: int(done)].tolist()
        return found

    def iterate(self, limit: int) -> list[float]:
        """One iteration or more, in calls between which Python hears of Ctrl-C; the residuals.

        In an iteration as many messages are sent as the chunk has.
        """
        began = time.perf_counter()
        if self._count > self.n_messages > 0:
            times = min(limit, self._count // self.n_messages)
            found = self.fire(self.n_messages, times)
            self._count = paced(times * self.n_messages, time.perf_counter() - began)
            return found
        todo, left = self.n_messages, 0.0
        while todo > 0:
            began = time.perf_counter()
            count = min(todo, self._count)
            (left,) = self.fire(count)
            self._count = paced(count, time.perf_counter() - began)
            todo -= count
            if not left > self.tolerance or RUNAWAY < left < np.inf:
                break
        return [left]

    def settle(self) -> None:
        """Let the variables send that have not since a message to them changed."""
        if not self.queue.stale.any():
            return
        passing = self.passing
        space = passing.spaces[0]
        state = passing.to_variable, passing.to_factor, space.scratch, space.shift
        for low in range(self.variables[0], self.variables[1], WIDEST):
            for side in (0, 1):
                passing.send_kernel(*passing.variables, *state, low, min(low + WIDEST, self.variables[1]), side)
        self.queue.stale[:] = 0


def _cut(layout: Layout, chunk: int, most: int) -> tuple[I64, I64, I64]:
    """Runs and ranges of the blocks of a chunk, in the order of levels."""
    compiled, every = layout.compiled, layout.factor_block
    inside = every.chunk == chunk
    here = every._replace(**{name: getattr(every, name)[inside] for name in every._fields})
    whole = joined(here)
    runs, lows, highs, levels = ([np.zeros(0, np.int64)] for _ in range(4))
    for run, low, high in zip(whole.run.tolist(), whole.low.tolist(), whole.high.tolist()):
        slots = compiled.run_field[compiled.run_field_start[run] + a.RUN_HEADER : compiled.run_field_start[run + 1]]
        size = max(1, min(most, ROWS // int(slots[a.SLOT_STATES :: a.SLOT_FIELDS].sum())))
        starts = np.arange(low, high, size)
        mine = here.run == run
        runs.append(np.full(len(starts), run))
        lows.append(starts)
        highs.append(np.minimum(starts + size, high))
        levels.append(here.level[mine][np.searchsorted(here.low[mine], starts, side="right") - 1])
    order = np.argsort(np.concatenate(levels), kind="stable")
    return np.concatenate(runs)[order], np.concatenate(lows)[order], np.concatenate(highs)[order]
