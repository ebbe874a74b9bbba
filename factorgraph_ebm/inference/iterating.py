"""Iterating in compiled calls of a twentieth of a second: long enough for threads, short enough for Ctrl-C.

Threads share the steps of each stage of one large chunk, or many small chunks; which step does what, and in which order
sums are made, is fixed by the compiled graph.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from factorgraph_ebm import arrays as a
from factorgraph_ebm.arrays import F64, I64, Steps
from factorgraph_ebm.engine.driver import is_over, run_chunks, run_stages
from factorgraph_ebm.inference.passing import PACE, Passing, columns, paced
from factorgraph_ebm.inference.threads import together

Report: TypeAlias = Callable[[int, list[float]], bool]
"hears of some more iterations of a chunk (their residuals), and returns whether it may go on"

SMALL = 1 << 12
"steps of an iteration up to which a chunk is one among many; a larger one is iterated by itself"


class Plan(NamedTuple):
    """How to iterate."""

    steps: Steps
    limit: int
    "iterations of each chunk"
    tolerance: float
    damping: float


def iterate(passing: Passing, plan: Plan, chunks: Sequence[int], report: Report) -> None:
    """Iterate chunks until each is at rest, has had its iterations, or `report` says that it is over."""
    steps = plan.steps.start[1:] - plan.steps.start[:-1]
    small = [c for c in chunks if len(chunks) > 1 and steps[c] <= SMALL]
    for chunk in sorted(set(chunks) - set(small)):
        _iterate_one(passing, plan, chunk, report)
    if small:
        _iterate_many(passing, plan, small, report)


def _iterate_one(passing: Passing, plan: Plan, chunk: int, report: Report) -> None:
    """One chunk: threads share the steps of its stages, where those are worth it."""
    steps = plan.steps
    first, stop = int(steps.chunk_stage[chunk]), int(steps.chunk_stage[chunk + 1])
    low, high = int(steps.start[chunk]), int(steps.start[chunk + 1])
    work = _work(passing, steps, low, high)
    threads = passing.threads_for(work / max(1, stop - first))
    done, count, slow = 0, 1, threads == 1 and work > 1e9 * PACE
    if not slow:
        _ = run_stages.compiled  # before the clock runs: compiling would look like a slow iteration
    while done < plan.limit:
        count = min(count, plan.limit - done)
        began = time.perf_counter()
        if slow:  # in slices, between which Python hears of Ctrl-C
            residuals = [passing.run(steps, low, high, plan.damping)]
        else:
            residuals = _burst(passing, plan, first, stop, count, threads)
        done += len(residuals)
        if not report(chunk, residuals) or is_over.function(residuals[-1], plan.tolerance):
            return
        seconds = time.perf_counter() - began
        slow = threads == 1 and seconds / len(residuals) > PACE
        count = paced(count, seconds)


def _burst(passing: Passing, plan: Plan, first: int, stop: int, count: int, threads: int) -> list[float]:
    residual = np.zeros(count)
    tickets = np.zeros(2 * count * (stop - first + 1), np.int64)
    change = np.zeros(len(plan.steps.kernel))
    spaces = passing.workspaces(threads)

    def work(i: int) -> float:
        done: float = run_stages(
            passing.kernels, *passing.pointed, *columns(plan.steps), plan.steps.stage_start, first, stop, tickets,
            change, residual, count, plan.tolerance, *passing.arguments(spaces[i], plan.damping),
        )  # fmt: skip
        return done

    found: list[float] = residual[: int(together(work, threads))].tolist()
    return found


def _iterate_many(passing: Passing, plan: Plan, chunks: Sequence[int], report: Report) -> None:
    """Many small chunks: threads share the chunks."""
    left = dict.fromkeys(chunks, plan.limit)
    batch, count = 16, 1
    while left:
        active = list(left)
        for at in range(0, len(active), batch):
            part = active[at : at + batch]
            began = time.perf_counter()
            for chunk, residuals in _some(passing, plan, part, min(count, *(left[c] for c in part))):
                left[chunk] -= len(residuals)
                if not report(chunk, residuals) or is_over.function(residuals[-1], plan.tolerance) or left[chunk] <= 0:
                    del left[chunk]
            seconds = time.perf_counter() - began
        if batch < len(active):
            batch = paced(batch, seconds)
        else:
            count = paced(count, seconds)


def _some(passing: Passing, plan: Plan, chunks: list[int], limit: int) -> list[tuple[int, list[float]]]:
    """The residuals of up to `limit` iterations of each of these chunks."""
    numbers = np.array(chunks, np.int64)
    steps = float((plan.steps.start[numbers + 1] - plan.steps.start[numbers]).sum())
    threads = min(passing.threads_for(300.0 * steps * limit), len(chunks))
    count = np.zeros(len(chunks), np.int64)
    residual = np.zeros(len(chunks) * limit)
    tickets = np.zeros(1, np.int64)
    spaces = passing.workspaces(threads)

    def work(i: int) -> float:
        done: float = run_chunks(
            passing.kernels, *passing.pointed, *columns(plan.steps), plan.steps.start, numbers, tickets, count,
            residual, limit, plan.tolerance, *passing.arguments(spaces[i], plan.damping),
        )  # fmt: skip
        return done

    together(work, threads)
    rows = residual.reshape(len(chunks), limit)
    return [(c, rows[i, : count[i]].tolist()) for i, c in enumerate(chunks)]


def _work(passing: Passing, steps: Steps, low: int, high: int) -> float:
    """Nanoseconds of an iteration, roughly."""
    field, start = passing.compiled.run_field, passing.compiled.run_field_start
    cost = [_cost(field[start[r] : start[r + 1]], kind) for r, kind in enumerate(passing.layout.kinds)]
    rows: F64 = (steps.high[low:high] - steps.low[low:high]).astype(np.float64)
    return float(np.sum(rows * np.array([*cost, 3.0])[steps.run[low:high]]))


def _cost(field: I64, kind: str) -> float:
    """Nanoseconds of the messages of one factor, roughly."""
    states: list[int] = field[a.RUN_HEADER + a.SLOT_STATES :: a.SLOT_FIELDS].tolist()
    return 2.0 + (0.3 * math.prod(states) if kind == "Table" else 1.0 * sum(states))
