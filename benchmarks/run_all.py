"""Run every benchmark, one process after another, and write one table in Markdown.

    python benchmarks/run_all.py [--output FILE] [--only grid_shared chains] [--threads 1 2] [--repeats 5] [--quick]

The table goes to stdout, or to FILE; the rows as they come go to stderr. Leave the machine alone meanwhile. Figures are
medians, with the least in brackets; a ratio is the time of the other over ours, again median and of the minima.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

FILES = (
    "grid_sum_product", "grid_min_sum", "grid_general", "grid_shared", "grid_structured", "sparse", "chains", "exact",
    "cut", "segmentation", "ldpc", "declare", "convergence", "learning", "tagging", "cold_start",
)  # fmt: skip
ALONE = ("ldpc", "cold_start")
"these have options of their own, and are run as they are"
COMMON = {"work", "unit", "threads", "fg", "fg_min"}


def run(name: str, options: Sequence[str]) -> tuple[list[dict[str, Any]], str]:
    """The rows of one benchmark, and what it printed besides."""
    file = pathlib.Path(__file__).with_name(f"{name}.py")
    command = [sys.executable, str(file), *([] if name in ALONE else ["--json", *options])]
    # One thread for the products of references, whichever of the files imports NumPy first.
    one = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=one) as process:
        assert process.stdout is not None
        rows, words = [], []
        for line in process.stdout:
            print(line, end="", file=sys.stderr, flush=True)
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                row = None
            if isinstance(row, dict) and "work" in row:
                rows.append(row)
            else:
                words.append(line)
    if process.returncode:
        words.append(f"{file.name} ended with exit code {process.returncode}\n")
    return rows, "".join(words)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line for each row: what ours and the references took, their ratios, and everything else a row says."""
    lines = ["| work | unit | threads | factorgraph_ebm | others | ratio | besides |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        others = [name for name in row if f"{name}_ratio" in row]
        told = COMMON | {f"{name}{end}" for name in others for end in ("", "_min", "_ratio", "_ratio_of_minima")}
        besides = ", ".join(f"{name} {value}" for name, value in row.items() if name not in told)
        cells = [
            row["work"], row.get("unit", ""), row.get("threads", ""), _figure(row, "fg"),
            "; ".join(f"{name} {_figure(row, name)}" for name in others),
            "; ".join(_ratio(row, name) for name in others), besides,
        ]  # fmt: skip
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return "\n".join(lines)


def _figure(row: Mapping[str, Any], name: str) -> str:
    if name not in row:
        return "-"
    return f"{row[name]:g} ({row[f'{name}_min']:g})" if f"{name}_min" in row else f"{row[name]:g}"


def _ratio(row: Mapping[str, Any], name: str) -> str:
    least = f" ({row[f'{name}_ratio_of_minima']:g})" if f"{name}_ratio_of_minima" in row else ""
    return f"{name} {row[f'{name}_ratio']:g}{least}"


def machine() -> str:
    """One line that says where and with what this was measured."""
    cpu = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            cpu = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), cpu)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("numpy", "numba", "scipy"))
    return f"{cpu}, {cores} cores; Python {platform.python_version()}, {versions}; {time.strftime('%Y-%m-%d')}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--only", nargs="+", choices=FILES, default=FILES)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--networks", help="for exact.py")
    chosen = parser.parse_args(arguments)
    options = ["--threads", *map(str, chosen.threads)]
    options += ["--repeats", str(chosen.repeats)] if chosen.repeats else []
    options += ["--quick"] if chosen.quick else []
    rows: list[dict[str, Any]] = []
    said = ""
    for name in chosen.only:
        if not pathlib.Path(__file__).with_name(f"{name}.py").exists():
            continue
        own = ["--networks", chosen.networks] if name == "exact" and chosen.networks else []
        found, words = run(name, [*options, *own])
        rows += found
        said += f"\n`{name}.py`:\n\n```\n{words}```\n" if words else ""
    text = f"{machine()}\n\n{table(rows)}\n{said}"
    if chosen.output:
        chosen.output.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
