"""Time to converge: flooding, sequential and residual schedules on grids, in messages sent and in seconds.

    python benchmarks/convergence.py [--size 64] [--seeds 10] [--tolerance 1e-6] [--repeats 3] [--threads 1 2] [--json]

Sum-product on grids of two states: attractive, of mixed signs, and strongly coupled with mixed signs, each drawn from
several seeds, without damping and damped by half. Seconds are those of the method from its beginning, the laying out of
numbers included, to rest: the least of several runs, in which the schedules take turns. Updates are messages sent,
counted in whole iterations, in millions. Both are medians over the seeds that came to rest.

`flooding_ratio` is the time of flooding over that of this schedule, with equal damping and threads, where both came
to rest; `slower` counts the seeds on which flooding took less than 1 / 1.05 of the time, or alone came to rest, and the
last rows the share of all. The reference is flooding in NumPy, to the same tolerance, on the first seed on which it
came to rest here: its seconds and their ratio are of that seed.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence
from typing import Any

import problems
import timing
from agreement import same_beliefs
from reference import Flooding, dense

import factorgraph_ebm as fg

KINDS = ("attractive", "mixed", "strong")
SCHEDULES = ("flooding", "sequential", "residual")
DAMPINGS = (0.0, 0.5)


def to_rest(graph: fg.FactorGraph, repeats: int, **options: Any) -> dict[str, tuple[float, int]]:
    """Seconds, the least of several runs after a first, and iterations until messages rest; inf where they do not."""
    seconds: dict[str, float] = {}
    iterations = {}
    for turn in range(1 + repeats):
        for schedule in SCHEDULES:
            if seconds.get(schedule) == math.inf:
                continue
            found = timing.quietly(fg.marginals, graph, method="bp", schedule=schedule, **options)
            iterations[schedule] = found.iterations
            if not found.converged:
                seconds[schedule] = math.inf
            elif turn > 0:
                taken = float(found.trace["seconds"][-1])
                seconds[schedule] = min(taken, seconds.get(schedule, taken))
    return {schedule: (seconds[schedule], iterations[schedule]) for schedule in SCHEDULES}


def measure(
    kind: str, damping: float, threads: int, chosen: argparse.Namespace,
    slower_of: dict[tuple[str, float, int], list[int]],
) -> list[dict[str, Any]]:  # fmt: skip
    """The rows of one kind of grid; `slower_of` counts instances on which flooding was faster, and all."""
    size = 8 if chosen.quick else chosen.size
    drawn = [problems.grid(size, 2, kind, seed) for seed in range(2 if chosen.quick else chosen.seeds)]
    graphs = [problems.declare(problem) for problem in drawn]
    limits = {"tolerance": chosen.tolerance, "max_iterations": chosen.limit, "damping": damping, "threads": threads}
    repeats = chosen.repeats or (1 if chosen.quick else 3)
    found: dict[str, list[tuple[float, int]]] = {schedule: [] for schedule in SCHEDULES}
    for graph in graphs:
        for schedule, ended in to_rest(graph, repeats, **limits).items():
            found[schedule].append(ended)
    rested = [i for i, (seconds, _) in enumerate(found["flooding"]) if seconds < math.inf]
    reference = math.nan
    if rested:
        problem = drawn[rested[0]]
        flooding = Flooding(problem, dense(problem, minimize=False), damping)
        reference = timing.seconds(lambda: flooding.run(chosen.limit, chosen.tolerance))
    rows = []
    for schedule in SCHEDULES:
        ended = [(seconds, iterations) for seconds, iterations in found[schedule] if seconds < math.inf]
        row: dict[str, Any] = {
            "work": f"{kind} grid {size} x {size}, {schedule}, damping {damping:g}", "unit": "s", "threads": threads,
            "converged": f"{len(ended)} of {len(graphs)}",
        }  # fmt: skip
        if ended:
            row["fg"] = timing.round_to(statistics.median(seconds for seconds, _ in ended))
            row["updates"] = timing.round_to(
                statistics.median(iterations for _, iterations in ended) * drawn[0].messages / 1e6
            )
        if rested and found[schedule][rested[0]][0] < math.inf:
            row["numpy"] = timing.round_to(reference)
            row["numpy_ratio"] = timing.round_to(reference / found[schedule][rested[0]][0])
        if schedule != "flooding":
            pairs = [(mine, theirs) for (mine, _), (theirs, _) in zip(found[schedule], found["flooding"])]
            both = [theirs / mine for mine, theirs in pairs if max(mine, theirs) < math.inf]
            if both:
                row["flooding_ratio"] = timing.round_to(statistics.median(both))
            slower = sum(mine > 1.05 * theirs for mine, theirs in pairs)
            row["slower"] = f"{slower} of {len(graphs)}"
            counts = slower_of.setdefault((schedule, damping, threads), [0, 0])
            counts[0] += slower
            counts[1] += len(graphs)
        rows.append(row)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = timing.parser(__doc__)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--tolerance", type=float, default=1e-6)
    parser.add_argument("--limit", type=int, default=1000, help="iterations after which messages count as restless")
    chosen = parser.parse_args(arguments)
    if chosen.check:
        for schedule in SCHEDULES:
            same_beliefs(schedule, problems.grid(12, 2, "mixed"), minimize=False, schedule=schedule)
        return
    slower_of: dict[tuple[str, float, int], list[int]] = {}
    for kind in KINDS:
        for damping in DAMPINGS:
            for threads in chosen.threads:
                timing.show(measure(kind, damping, threads, chosen, slower_of), chosen.json)
    for (schedule, damping, threads), (slower, count) in sorted(slower_of.items()):
        row = {
            "work": f"{schedule} against flooding, damping {damping:g}, all grids", "unit": "%", "threads": threads,
            "slower": timing.round_to(100.0 * slower / count), "instances": count,
        }  # fmt: skip
        timing.show([row], chosen.json)


if __name__ == "__main__":
    main()
