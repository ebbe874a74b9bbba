"""How things are timed and told: slopes, turns, ratios, and rows of text or JSON.

An iteration of the library is timed through its public verbs as the slope between two numbers of iterations, so what
happens once a call (reading, compiling, binding, decoding) drops out. The library, the reference and the peers take
turns, and ratios are taken within a turn: what slows the machine for a while slows all of them.
"""

from __future__ import annotations

import os

# Before NumPy is imported: the reference is whole-array NumPy on one thread.
for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse  # noqa: E402
import json  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable, Iterable, Mapping, Sequence  # noqa: E402
from typing import Any  # noqa: E402

import factorgraph_ebm as fg  # noqa: E402

Measure = Callable[[], float]
"does its work once and returns seconds per unit of it"


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    made = argparse.ArgumentParser(description=(description or "").split("\n")[0])
    made.add_argument("--repeats", type=int, help="turns; 5, or 1 with --quick")
    made.add_argument("--threads", type=int, nargs="+", default=[1], help="threads= of the library, each one row")
    made.add_argument("--quick", action="store_true", help="tiny sizes: does it run, not how fast it is")
    made.add_argument("--check", action="store_true", help="no times: compare small answers with the reference")
    made.add_argument("--json", action="store_true", help="one line of JSON for each row")
    return made


def repeats_of(arguments: argparse.Namespace) -> int:
    return int(arguments.repeats or (1 if arguments.quick else 5))


def quietly(ask: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Call a verb that is stopped before it has converged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fg.ConvergenceWarning)
        return ask(*arguments, **keywords)


def seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def each(run: Callable[[], object], at_least: float) -> Measure:
    """Seconds of one call, over as many as take a moment; the first, with its cold caches, is not counted."""
    run()

    def measure() -> float:
        count = 0
        began = time.perf_counter()
        while count == 0 or time.perf_counter() - began < at_least:
            run()
            count += 1
        return (time.perf_counter() - began) / count

    return measure


def slope(run: Callable[[int], object], at_least: float, low: int = 10, high: int = 60) -> Measure:
    """Seconds of one iteration: between `low` of them and as many more as take a moment."""

    def longer(high: int) -> float:
        short = seconds(lambda: run(low))
        return seconds(lambda: run(high)) - short

    run(low)
    while high < 1 << 20 and longer(high) < at_least:
        high = low + 2 * (high - low)

    def measure() -> float:
        for _ in range(20):
            found = longer(high) / (high - low)
            if found > 0:  # on a busy machine a short call can take longer than a long one
                return found
        raise RuntimeError("calls of more iterations do not take longer: the machine is too busy to measure this")

    return measure


def iterations_of(verb: Callable[..., Any], graph: fg.FactorGraph, at_least: float, **options: Any) -> Measure:
    """Seconds of one iteration of message passing on a graph, residual test included, nothing stopping it early."""
    return slope(lambda n: quietly(verb, graph, method="bp", max_iterations=n, tolerance=0.0, **options), at_least)


def compare(
    works: Mapping[str, Mapping[int, Measure]],
    unit: str,
    scale: float,
    reference: Measure | None,
    peers: Mapping[str, Measure] | None = None,
    *,
    repeats: int,
    besides: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Let all take turns; one row for each work and number of threads.

    `works` has the measures of the library, by what is done and by threads; all are held against the same reference
    and peers. `scale` turns seconds into the unit; `besides` is told in every row.
    """
    others = dict(peers or {}) if reference is None else {"numpy": reference, **(peers or {})}
    mine: dict[tuple[str, int], list[float]] = {(work, t): [] for work, ours in works.items() for t in ours}
    times: dict[str, list[float]] = {name: [] for name in others}
    for _ in range(repeats):
        for work, threads in mine:
            mine[work, threads].append(works[work][threads]() * scale)
        for name, measure in others.items():
            times[name].append(measure() * scale)
    rows = []
    for (work, threads), taken in mine.items():
        row: dict[str, Any] = {"work": work, "unit": unit, "threads": threads, **_summary("fg", taken)}
        for name, values in times.items():
            row.update(_summary(name, values))
            row[f"{name}_ratio"] = round_to(statistics.median(b / a for a, b in zip(taken, values)))
            row[f"{name}_ratio_of_minima"] = round_to(min(values) / min(taken))
        rows.append({**row, **(besides or {})})
    return rows


def _summary(name: str, values: Sequence[float]) -> dict[str, float]:
    return {name: round_to(statistics.median(values)), f"{name}_min": round_to(min(values))}


def round_to(value: float, digits: int = 4) -> float:
    return float(f"{value:.{digits}g}")


def show(rows: Iterable[Mapping[str, Any]], as_json: bool) -> None:
    for row in rows:
        if as_json:
            print(json.dumps(row), flush=True)
            continue
        shown = dict(row)
        print(f"{shown.pop('work')} ({shown.pop('unit')}): ", end="")
        print("  ".join(f"{name} {value}" for name, value in shown.items()), flush=True)


def agree(what: str, difference: float, tolerance: float) -> None:
    """Say how far two answers are apart; leave with an error where that is more than rounding explains."""
    print(f"{what}: the library and the reference differ by {difference:.1e}", file=sys.stderr)
    if not difference <= tolerance:
        raise SystemExit(f"{what}: the library and the reference differ by {difference:.3g} > {tolerance:g}")
