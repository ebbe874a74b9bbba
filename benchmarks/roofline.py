"""How far messages are from the limits of the machine: memory bandwidth, arithmetic, divisions; one thread.

    python benchmarks/roofline.py [--size 256] [--chains 10000] [--repeats 5] [--quick] [--json]

First the limits: bytes a second of a copy and of a triad (a = s b + c, in two passes) over arrays that fit
the second cache, the third, and none; the rate of a matrix product; the time of a division. Then nanoseconds per
message of some kernels, timed as everywhere here, beside what they move and compute: `docs/roofline.md` counts it.
The bound is the largest of the three times; bandwidth is measured anew over as many bytes as the kernel works on.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

# Before NumPy, since it fixes the number of BLAS threads.
import timing

# isort: split
import numba
import numpy as np
import problems

import factorgraph_ebm as fg
from factorgraph_ebm.inference import run

SIZES = {"L2": 1 << 18, "L3": 1 << 23, "DRAM": 1 << 28}
"bytes of all arrays of a measurement together"
CHUNK = 4096
"variables of chains that are worked on together"


class Cost(NamedTuple):
    """What one message takes, with the share of the variables in it."""

    bytes: float
    "read and written beyond the first cache"
    flops: float
    "additions, multiplications, minima, comparisons"
    divisions: float
    working_set: float
    "bytes that an iteration goes through"


class Limits(NamedTuple):
    flops: float
    "a second"
    division: float
    "seconds"


def copying(size: int, moment: float) -> float:
    """Bytes a second, read and written, of a copy within `size` bytes."""
    a, b = np.zeros(size // 16), np.ones(size // 16)
    return 16 * len(a) / timing.each(lambda: np.copyto(a, b), moment)()


def triad(size: int, moment: float) -> float:
    """Bytes a second of a = s b + c within `size` bytes: a product, read and written, and a sum of two."""
    a, b, c = np.zeros(size // 24), np.ones(size // 24), np.ones(size // 24)

    def both() -> None:
        np.multiply(b, 3.0, out=a)
        np.add(a, c, out=a)

    return 40 * len(a) / timing.each(both, moment)()


RATES = {"copy": copying, "triad": triad}


@numba.njit
def divide(x: Any, y: Any, z: Any, times: int) -> None:
    """Compiled for this processor: a division of NumPy's is for any, and takes twice as long."""
    for _ in range(times):
        for i in range(np.uint64(len(x))):
            z[i] = x[i] / y[i]


def limits(moment: float, n: int = 512) -> Limits:
    a = np.random.default_rng(0).normal(size=(n, n))
    out = np.empty_like(a)
    product = timing.each(lambda: np.matmul(a, a, out=out), moment)()
    x, y, z = np.full(1024, 3.0), np.full(1024, 7.0), np.empty(1024)
    division = timing.each(lambda: divide(x, y, z, 100), moment)() / 100
    return Limits(2.0 * n**3 / product, division / len(x))


def single_numbers(problem: problems.Problem, flops: float, divisions: float) -> Cost:
    """Odds or differences, flooding: rows are one number, own tables are four columns read once for two messages."""
    table = 0.0 if problem.shared else 16.0
    held = problem.messages * (2 * 8 + table) + len(problem.unary) * 8
    return Cost(42.0 + table, flops, divisions, held)


def weights(problem: problems.Problem) -> Cost:
    """Rows of weights, flooding, damped, one table."""
    k = problem.states
    held = problem.messages * (16 * k + 8) + len(problem.unary) * (8 * k + 16)
    return Cost(42.0 * k + 12, 2.0 * k * k + 14 * k, k + 1.0, held)


def sweeps(problem: problems.Problem) -> Cost:
    """Energies, min-sum, one sweep forward and one back."""
    k = problem.states
    own = 8.0 * k * k if problem.kind == "Table" else 8.0
    factor = 2.0 * k * k if problem.kind == "Table" else 2.0 * k
    held = problem.messages * (16 * k + 8 + own) + len(problem.unary) * (8 * k + 16)
    return Cost(36.0 * k + 32 + own, factor + 10 * k, 0.0, held)


def forests(problem: problems.Chains) -> Cost:
    """Weights on chains, one sweep up and one down, with probabilities, log Z and the exponentials of the unaries."""
    k = len(problem.transition)
    return Cost(52.0 * k + 54, 2.0 * k * k + 30 * k, 2.0, CHUNK * (48.0 * k + 108))


def on_grid(problem: problems.Problem, moment: float, *, minimize: bool, **options: Any) -> timing.Measure:
    verb = fg.minimize if minimize else fg.marginals
    measure = timing.iterations_of(verb, problems.declare(problem), moment, threads=1, **options)
    return lambda: measure() / problem.messages


def on_chains(problem: problems.Chains, moment: float) -> timing.Measure:
    """The method alone, on what a call has compiled and bound."""
    asked = fg.marginals(problems.declare_chains(problem), threads=1)[0]._answered.problem
    measure = timing.each(lambda: run("bp", asked, {}), moment)
    messages = sum(2 * (len(each) - 1) for each in problem.emissions)
    return lambda: measure() / messages


def works(chosen: argparse.Namespace, moment: float) -> dict[str, tuple[Callable[[], timing.Measure], Cost]]:
    """What is timed: how to prepare it, and what it costs."""
    flooding = {"schedule": "flooding", "damping": 0.5}
    size = chosen.size
    own, shared = problems.grid(size, 2, "attractive"), problems.grid(size, 2, "shared")
    wide, general = problems.grid(size // 2, 16, "shared"), problems.grid(size // 2, 16, "general")
    potts, chains = problems.grid(size // 2, 16, "Potts"), problems.chains(chosen.chains, 26)
    return {
        "odds, 2 states, own tables, flooding": (
            lambda: on_grid(own, moment, minimize=False, **flooding), single_numbers(own, 22.0, 2.0)
        ),
        "odds, 2 states, one table, flooding": (
            lambda: on_grid(shared, moment, minimize=False, **flooding), single_numbers(shared, 22.0, 2.0)
        ),
        "differences, 2 states, own tables, flooding": (
            lambda: on_grid(own, moment, minimize=True, **flooding), single_numbers(own, 13.0, 0.0)
        ),
        "weights, 16 states, one table, flooding": (
            lambda: on_grid(wide, moment, minimize=False, **flooding), weights(wide)
        ),
        "min-sum, 16 states, own tables, sweeps": (
            lambda: on_grid(general, moment, minimize=True, schedule="sequential"), sweeps(general)
        ),
        "min-sum, 16 states, Potts, sweeps": (
            lambda: on_grid(potts, moment, minimize=True, schedule="sequential"), sweeps(potts)
        ),
        "weights, 26 states, chains": (lambda: on_chains(chains, moment), forests(chains)),
    }  # fmt: skip


def held_against(work: str, seconds: float, cost: Cost, machine: Limits, bandwidth: float) -> dict[str, Any]:
    """One row: what was measured, and the least that it could have been."""
    bound = {
        "memory": cost.bytes / bandwidth,
        "arithmetic": cost.flops / machine.flops,
        "division": cost.divisions * machine.division,
    }
    by = max(bound, key=lambda name: bound[name])
    return {
        "work": work, "unit": "ns/message", "threads": 1, "fg": timing.round_to(1e9 * seconds, 3),
        "bytes": cost.bytes, "flops": cost.flops, "divisions": cost.divisions,
        "working_set_MB": timing.round_to(cost.working_set / 1e6, 3),
        "GB/s": timing.round_to(cost.bytes / seconds / 1e9, 3), "of_GB/s": timing.round_to(bandwidth / 1e9, 3),
        "Gflop/s": timing.round_to(cost.flops / seconds / 1e9, 3),
        "bound": timing.round_to(1e9 * bound[by], 3), "by": by, "share": timing.round_to(bound[by] / seconds, 2),
    }  # fmt: skip


def show(row: Mapping[str, Any], as_json: bool) -> None:
    """A row of JSON, or of the tables of docs/roofline.md."""
    if as_json:
        print(json.dumps(row), flush=True)
        return
    told = (value for name, value in row.items() if name not in ("unit", "threads"))
    print(f"| {' | '.join(f'{value:g}' if isinstance(value, float) else str(value) for value in told)} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--size", type=int, default=256, help="of the grids of two states; the others are half as wide")
    parser.add_argument("--chains", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run, not how fast it is")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each row")
    chosen = parser.parse_args(arguments)
    moment, repeats = (0.001, 1) if chosen.quick else (0.2, chosen.repeats)
    if chosen.quick:
        chosen.size, chosen.chains = 16, 20
    for level, size in SIZES.items():
        size = 1 << 16 if chosen.quick else size
        rates = {name: max(f(size, moment) for _ in range(repeats)) / 1e9 for name, f in RATES.items()}
        row = {name: timing.round_to(rate, 3) for name, rate in rates.items()}
        show({"work": f"{level}, {size >> 10} KiB", "unit": "GB/s", "threads": 1, **row}, chosen.json)
    found = [limits(moment, 64 if chosen.quick else 512) for _ in range(repeats)]
    machine = Limits(max(each.flops for each in found), min(each.division for each in found))
    for work, unit, value in (
        ("matrix product", "Gflop/s", machine.flops / 1e9), ("division", "ns", machine.division * 1e9)
    ):  # fmt: skip
        show({"work": work, "unit": unit, "threads": 1, unit: timing.round_to(value, 3)}, chosen.json)
    for work, (prepare, cost) in works(chosen, moment).items():
        measure = prepare()
        size = max(1 << 12, int(cost.working_set))
        turns = [(measure(), max(f(size, moment) for f in RATES.values())) for _ in range(repeats)]
        seconds, bandwidth = statistics.median(t for t, _ in turns), max(b for _, b in turns)
        show(held_against(work, seconds, cost, machine, bandwidth), chosen.json)


if __name__ == "__main__":
    main()
