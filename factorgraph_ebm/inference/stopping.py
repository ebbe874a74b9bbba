"""Stopping at the first assignment that violates nothing, in compiled calls: each chunk goes on until its own.

Chunks are not iterated in turn but one after another, so a call ends after a number of iterations of all together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from factorgraph_ebm.arrays import I64
from factorgraph_ebm.engine.until_feasible import run_until_feasible
from factorgraph_ebm.inference.feasible import Feasible
from factorgraph_ebm.inference.iterating import Plan
from factorgraph_ebm.inference.passing import Passing, columns, paced
from factorgraph_ebm.inference.threads import together

SMALL = 1 << 19
"elements of a chunk's messages up to which one thread iterates it: some two milliseconds"
ITERATION = 3.0
"nanoseconds of an iteration for each element, roughly"
FIRST = 5e6
"nanoseconds, roughly, of the first call"

Report: TypeAlias = Callable[[int, list[float], bool], bool]
"hears of some more iterations of a chunk (their residuals), whether it stopped, and returns whether it may go on"


def iterate_until_feasible(
    passing: Passing, plan: Plan, chunks: Sequence[int], feasible: Feasible, state: I64, report: Report,
    is_late: Callable[[], bool],
) -> None:  # fmt: skip
    """Iterate these chunks, all of them `feasible.served`, until each stops or `report` says that it is over.

    `state` (V,) receives the likeliest states of those that stopped for violating nothing.
    """
    left = dict.fromkeys(chunks, plan.limit)
    rules = feasible.rules(passing)
    work = ITERATION * float(feasible.size[list(chunks)].mean())
    budget = max(1, int(FIRST / max(work, 1.0)))
    _ = run_until_feasible.compiled  # before the clock runs: compiling would look like a slow iteration
    while left:
        late = is_late()  # then each chunk is iterated once more, to say so
        some = list(left)[:budget]
        limit = np.array([1 if late else min(left[c], budget) for c in some], np.int64)
        threads = min(passing.threads_for(work * min(budget, int(limit.sum()))), len(some))
        began = time.perf_counter()
        done = 0
        for chunk, residuals, stopped in _burst(passing, plan, some, limit, budget, rules, state, threads):
            done += len(residuals)
            left[chunk] -= len(residuals)
            if not report(chunk, residuals, stopped) or left[chunk] <= 0:
                del left[chunk]
        budget = paced(done, time.perf_counter() - began)


def _burst(
    passing: Passing, plan: Plan, chunks: list[int], limit: I64, budget: int, rules: tuple[Any, ...], state: I64,
    threads: int,
) -> list[tuple[int, list[float], bool]]:  # fmt: skip
    """The residuals of some iterations of those of these chunks that had any, and whether they violate nothing."""
    numbers, room = np.array(chunks, np.int64), int(limit.max())
    tickets, count = np.zeros(2, np.int64), np.zeros(len(chunks), np.int64)
    residual, found = np.empty(len(chunks) * room), np.zeros(len(chunks), np.uint8)
    allowed = np.empty(len(plan.steps.start) - 1, np.uint8)
    spaces = passing.workspaces(threads)

    def work(i: int) -> float:
        done: float = run_until_feasible(
            passing.kernels, *passing.pointed, *columns(plan.steps), plan.steps.start, numbers, tickets, budget, limit,
            room, plan.tolerance, *rules, count, residual, found, state, allowed,
            *passing.arguments(spaces[i], plan.damping),
        )  # fmt: skip
        return done

    together(work, threads)
    rows = residual.reshape(len(chunks), room)
    return [(chunks[i], rows[i, : count[i]].tolist(), bool(found[i])) for i in np.flatnonzero(count).tolist()]
