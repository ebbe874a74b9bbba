"""Answers for all model files of some folders, against what is known of them: rows of docs/exact_answers.md.

    python benchmarks/instances.py FOLDER [FOLDER ...] [--time-limit 20] [--only NAME ...]

A folder has .uai(.gz) or .fg files, evidence beside them, and a reference.json (`solutions.py`). Seconds are those of
one call for log Z and all marginals, and of one for the best assignment. The first finds order and tree; kernels are
compiled before. What is too wide is asked of method="bp" under a time limit.
"""

from __future__ import annotations

import argparse
import math
import pathlib
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import solutions

import factorgraph_ebm as fg
from factorgraph_ebm.compiler.elimination import find_order
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.union import compile_union
from factorgraph_ebm.graph.assignment import read_given
from factorgraph_ebm.inference.trees import shape_of

COLUMNS = (
    "instance", "variables", "width", "method", "status", "log Z and marginals, s", "log Z", "marginals", "best, s",
    "energy",
)  # fmt: skip


def width_of(graph: fg.FactorGraph, given: dict[Any, int]) -> float:
    """log2 of the entries of the largest bucket, however many they are."""
    shape = shape_of(compile_union([Sample(graph, read_given(graph, given).known)]))
    if shape.tree is not None:
        return float(shape.elimination.width.max(initial=0.0))
    found = find_order(shape.leaves.start, shape.leaves.variable, shape.states, limit=2.0**200)
    return float(found.width.max(initial=0.0))


def ask(verb: Any, graph: fg.FactorGraph, given: dict[Any, int], limit: float) -> tuple[Any, float]:
    began = time.perf_counter()
    try:
        found = verb(graph, given, method="junction_tree")
    except fg.WidthTooLargeError:
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fg.ConvergenceWarning)
            found = verb(graph, given, method="bp", time_limit=limit)
    return found, time.perf_counter() - began


def apart(found: float, reference: float | None, printed: float | None = None) -> str:
    """How far two numbers are apart, relative to the larger of 1 and the reference."""
    known = reference if reference is not None else printed
    if known is None:
        return "unknown"
    if math.isinf(known) or math.isinf(found):
        return "same" if found == known else f"{found:g}, not {known:g}"
    told = f"{abs(found - known) / max(1.0, abs(known)):.0e}"
    return told if reference is not None else f"{told} (6 digits)"


def marginals_apart(belief: fg.MarginalsResult, reference: dict[str, Any]) -> str:
    if reference["marginals"] is None or belief.status is fg.Status.INFEASIBLE:
        return "unknown" if reference["marginals"] is None else "none"
    rows = belief["x"]
    ids = reference["ids"]
    rows = rows if ids is None or len(ids) == len(rows) else rows[np.array(ids)]
    most = max(float(np.abs(row[: len(e)] - e).max()) for row, e in zip(rows, reference["marginals"], strict=True))
    return f"{most:.0e}" + (" (6 digits)" if reference["digits"] > 1e-9 else "")


def row_of(path: pathlib.Path, limit: float) -> str:
    graph, reference = fg.read(path), solutions.reference_of(path)
    given = {graph["x"][v]: s for v, s in solutions.evidence_of(path).items()}
    belief, seconds = ask(fg.marginals, graph, given, limit)
    best, best_seconds = ask(fg.minimize, graph, given, limit)
    statuses = dict.fromkeys((belief.status.value, best.status.value))
    cells = (
        f"{path.parent.name}/{path.name.removesuffix('.gz')}", graph["x"].size, f"{width_of(graph, given):.1f}",
        belief.method, ", ".join(statuses), f"{seconds:.3f}",
        apart(belief.log_partition, reference["log_partition"], reference["printed_log_partition"]),
        marginals_apart(belief, reference), f"{best_seconds:.3f}", apart(best.energy, reference["minimum"]),
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", type=pathlib.Path, nargs="+")
    parser.add_argument("--time-limit", type=float, default=20.0, help="seconds for what is too wide")
    parser.add_argument("--only", nargs="+", default=[], help="models whose names begin so")
    chosen = parser.parse_args(arguments)
    y = fg.output("y", shape=3, n_states=2)
    loop = fg.FactorGraph([fg.Table([y, y[[1, 2, 0]]], energies=np.eye(2))])
    for method in ("junction_tree", "bp"):
        fg.marginals(loop, method=method).log_partition  # noqa: B018 (kernels are compiled)
        fg.minimize(loop, method=method)
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for folder in chosen.folders:
        for path in solutions.models_in(folder):
            if not chosen.only or path.name.startswith(tuple(chosen.only)):
                print(row_of(path, chosen.time_limit), flush=True)


if __name__ == "__main__":
    main()
