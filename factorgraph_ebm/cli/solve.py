"""`factorgraph-ebm solve`: the answer to a question about a model file.

Cells are listed in the order of `graph.variables`, each in C order, so the answer about a UAI file is in that file's
order. Energies are in nats.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import factorgraph_ebm as fg
from factorgraph_ebm.cli.speaking import ANSWERED, EXIT_CODES, INFEASIBLE, beta, complain, seconds
from factorgraph_ebm.formats.solution import marginal_rows, state_indices, write_solution
from factorgraph_ebm.graph.assignment import describe_cell

TASKS = {
    "MAP": "the best assignment, its energy and a lower bound",
    "MAR": "the marginals of every cell",
    "PR": "the log partition function",
}
SHOWN = 20
"""Cells that the summary lists; the whole answer is for --json and --output."""


def add(commands: Any) -> None:
    """Declare the command and its options."""
    solve = commands.add_parser("solve", help="answer a question about a model file", epilog=EXIT_CODES)
    solve.add_argument("model", metavar="MODEL", help="a .uai, .fg, .bif, .alist or .fgz file, also with .gz")
    solve.add_argument("--evidence", metavar="FILE", help="a UAI evidence file")
    tasks = "; ".join(f"{task}: {what}" for task, what in TASKS.items())
    solve.add_argument("--task", choices=TASKS, default="MAP", help=tasks)
    methods = "auto (default), bp, cut, enumerate, expansion, icm, junction_tree"
    solve.add_argument("--method", default="auto", metavar="M", help=methods)
    solve.add_argument("--beta", type=beta, default=1.0, metavar="B", help="1 / temperature, 0 to inf (1)")
    solve.add_argument("--time-limit", type=seconds, metavar="S", help="seconds, then the best answer so far")
    solve.add_argument("--output", metavar="FILE", help="write the answer there in the UAI solution format")
    solve.add_argument("--json", action="store_true", help="print one JSON object instead of the summary")
    solve.set_defaults(command=_solve)


def _solve(parsed: argparse.Namespace) -> int:
    graph = fg.read(parsed.model)
    given = fg.read_evidence(parsed.evidence, graph) if parsed.evidence else None
    verb = fg.minimize if parsed.task == "MAP" else fg.marginals
    start = time.perf_counter()
    result = verb(
        graph,
        given,
        beta=parsed.beta,
        method=parsed.method,
        time_limit=parsed.time_limit,
        progress=sys.stderr.isatty(),
    )
    took = time.perf_counter() - start
    answer = _answer(parsed.task, graph, result, took)
    if parsed.output:
        _write_solution(parsed.output, parsed.task, graph, result)
    if parsed.json:
        print(json.dumps(answer, allow_nan=False))
    else:
        print("\n".join(_summary(parsed.model, graph, answer)))
    return INFEASIBLE if result.status is fg.Status.INFEASIBLE else ANSWERED


def _answer(task: str, graph: fg.FactorGraph, result: Any, took: float) -> dict[str, Any]:
    """What `--json` prints: numbers, lists and None, which stands for any infinite number."""
    impossible = result.status is fg.Status.INFEASIBLE
    answer: dict[str, Any] = {
        "task": task,
        "method": result.method,
        "status": result.status.value,
        "exact": bool(result.exact),
        "converged": bool(result.converged),
        "feasible": not impossible,
        "iterations": int(result.iterations),
        "seconds": took,
    }
    if task == "PR":
        answer["log_partition"] = _finite(result.log_partition)
    elif task == "MAR":
        answer["marginals"] = None if impossible else [row.tolist() for row in marginal_rows(graph, result)]
    else:
        answer["feasible"] = not impossible and bool(result.feasible)
        answer["assignment"] = None if impossible else state_indices(graph, result).tolist()
        answer["energy"] = None if impossible else _finite(result.energy)
        answer["lower_bound"] = None if result.lower_bound is None else _finite(result.lower_bound)
    return answer


def _write_solution(path: str, task: str, graph: fg.FactorGraph, result: Any) -> None:
    if task == "PR":
        write_solution(path, log_partition=result.log_partition)
    elif result.status is fg.Status.INFEASIBLE:
        complain(f"every assignment is forbidden, so {path} is not written")
    elif task == "MAR":
        write_solution(path, marginals=marginal_rows(graph, result))
    else:
        write_solution(path, assignment=state_indices(graph, result))


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


def _summary(model: str, graph: fg.FactorGraph, answer: dict[str, Any]) -> Iterator[str]:
    yield f"{model}: {TASKS[answer['task']]}"
    for name in ("status", "method", "iterations", "log_partition", "energy", "lower_bound", "seconds"):
        if name in answer:
            value = answer[name]
            shown = f"{value:.6f}" if isinstance(value, float) else "infinite" if value is None else value
            yield f"  {name:14} {shown}"
    cells = answer.get("assignment") or answer.get("marginals") or []
    for cell, (value, states) in enumerate(zip(cells[:SHOWN], _states(graph), strict=False)):
        if isinstance(value, list):
            shown = ", ".join(f"{state} {share:.4f}" for state, share in zip(states, value, strict=False))
        else:
            shown = str(states[value])
        yield f"  {describe_cell(graph, cell):14} {shown}"
    if len(cells) > SHOWN:
        yield f"  ... and {len(cells) - SHOWN:,} more cells: see --json or --output"


def _states(graph: fg.FactorGraph) -> Iterator[Sequence[Any]]:
    """The states of each cell, as its variable speaks of them."""
    for name, offset in graph.cell_offset.items():
        variable = graph[name]
        for n_states in graph.cell_states[offset : offset + variable.size]:
            yield variable.states or range(n_states)
