"""The command line: `factorgraph-ebm solve | info | warmup | demo`.

Exit codes: 0 answered, 2 bad input (one line on stderr), 3 proved infeasible. Energies are in nats. Cells are listed
in the order of `graph.variables`, each in C order, so the answer about a UAI file is in that file's order.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import factorgraph_ebm as fg
from factorgraph_ebm._jit import cache_directory
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.union import compile_union
from factorgraph_ebm.formats.solution import marginal_rows, state_indices, write_solution
from factorgraph_ebm.formats.text import bytes_in_words
from factorgraph_ebm.graph.assignment import describe_cell
from factorgraph_ebm.warmup import warm_up

ANSWERED, BAD_INPUT, INFEASIBLE = 0, 2, 3
TASKS = {
    "MAP": "the best assignment, its energy and a lower bound",
    "MAR": "the marginals of every cell",
    "PR": "the log partition function",
}
SHOWN = 20
"""Cells that the summary lists; the whole answer is for --json and --output."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `arguments` defaults to those of the process.

    Examples
    --------
    >>> main(["info", "no-such-file.uai"])
    2
    """
    parsed = _parser().parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = _show_warning
        try:
            code: int = parsed.command(parsed)
            sys.stdout.flush()
            return code
        except fg.InfeasibleError as error:
            _complain(error)
            return INFEASIBLE
        except (fg.FactorGraphError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                # The reader of a pipe has left, as `head` does: no complaint, nor when Python closes stdout.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return ANSWERED
            _complain(error)
            return BAD_INPUT


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="factorgraph-ebm",
        description="Ask a factor graph for its best assignment, its marginals or its partition function.",
        epilog="Exit codes: 0 answered, 2 bad input, 3 proved infeasible.",
    )
    commands = parser.add_subparsers(required=True, metavar="solve | info | warmup | demo")

    solve = commands.add_parser("solve", help="answer a question about a model file", epilog=parser.epilog)
    solve.add_argument("model", metavar="MODEL", help="a .uai, .fg, .bif, .alist or .fgz file, also with .gz")
    solve.add_argument("--evidence", metavar="FILE", help="a UAI evidence file")
    tasks = "; ".join(f"{task}: {what}" for task, what in TASKS.items())
    solve.add_argument("--task", choices=TASKS, default="MAP", help=tasks)
    methods = "auto (default), bp, cut, enumerate, expansion, icm, junction_tree"
    solve.add_argument("--method", default="auto", metavar="M", help=methods)
    solve.add_argument("--beta", type=_beta, default=1.0, metavar="B", help="1 / temperature, 0 to inf (1)")
    solve.add_argument("--time-limit", type=_seconds, metavar="S", help="seconds, then the best answer so far")
    solve.add_argument("--output", metavar="FILE", help="write the answer there in the UAI solution format")
    solve.add_argument("--json", action="store_true", help="print one JSON object instead of the summary")
    solve.set_defaults(command=_solve)

    info = commands.add_parser("info", help="describe a model file")
    info.add_argument("model", metavar="MODEL")
    info.set_defaults(command=_info)

    warmup = commands.add_parser("warmup", help="compile every kernel ahead, into the cache")
    warmup.set_defaults(command=_warmup)

    demo = commands.add_parser("demo", help="cut a person out of a photograph and write the pictures")
    demo.add_argument("--output", metavar="DIR", default="factorgraph-ebm-demo", help="default %(default)s")
    demo.set_defaults(command=_demo)
    return parser


def _beta(text: str) -> float:
    return _number(text, "is not a number from 0 to inf", lambda value: value >= 0)


def _seconds(text: str) -> float:
    return _number(text, "is not a positive number of seconds", lambda value: 0 < value < math.inf)


def _number(text: str, complaint: str, accepted: Callable[[float], bool]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not accepted(value):
        raise argparse.ArgumentTypeError(f"{text!r} {complaint}")
    return value


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
    seconds = time.perf_counter() - start
    answer = _answer(parsed.task, graph, result, seconds)
    if parsed.output:
        _write_solution(parsed.output, parsed.task, graph, result)
    if parsed.json:
        print(json.dumps(answer, allow_nan=False))
    else:
        print("\n".join(_summary(parsed.model, graph, answer)))
    return INFEASIBLE if result.status is fg.Status.INFEASIBLE else ANSWERED


def _answer(task: str, graph: fg.FactorGraph, result: Any, seconds: float) -> dict[str, Any]:
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
        "seconds": seconds,
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
        _complain(f"every assignment is forbidden, so {path} is not written")
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


def _info(parsed: argparse.Namespace) -> int:
    graph = fg.read(parsed.model)
    union = compile_union([Sample(graph)])
    compiled = union.compiled
    free = compiled.variable_cell >= 0
    numbers = 8 * (compiled.unary_size + compiled.store_size)
    messages = 2 * 8 * compiled.message_size
    arity_of = [np.broadcast_to(np.asarray(factor.arity, dtype=np.int64), factor.size) for factor in graph.factors]
    arities = np.concatenate([np.zeros(0, dtype=np.int64), *arity_of])
    rows = {
        "variables": f"{graph.n_cells:,}{_arrays(graph)}",
        "factors": f"{arities.size:,} in {len(graph.factors):,} declaration{'s'[: len(graph.factors) != 1]}",
        "states": _histogram(graph.cell_states),
        "arities": _histogram(arities),
        "forest": "yes: answers are exact" if compiled.sample_forest.all() else "no: it has loops",
        "components": f"{np.unique(compiled.variable_component[free]).size:,}",
        "memory": f"{bytes_in_words(numbers)} of numbers, {bytes_in_words(messages)} of messages",
    }
    print(parsed.model)
    for name, value in rows.items():
        print(f"  {name:12}{value}")
    return ANSWERED


def _arrays(graph: fg.FactorGraph) -> str:
    names = list(graph.variables)
    return f" in {len(names):,} arrays" if 1 < len(names) < graph.n_cells else ""


def _histogram(numbers: Any) -> str:
    values, counts = np.unique(np.asarray(numbers, dtype=np.int64), return_counts=True)
    shown = [f"{value} ({count:,})" for value, count in zip(values[:SHOWN], counts[:SHOWN], strict=True)]
    return ", ".join(shown) + (f", ... up to {values[-1]}" if len(values) > SHOWN else "") or "none"


def _warmup(parsed: argparse.Namespace) -> int:
    if cache_directory() is None:  # the warning has said so, and what to do
        return BAD_INPUT
    shows = sys.stderr.isatty()

    def report(done: int, total: int, name: str) -> None:
        print(f"\r{done} of {total} kernels: {name[:40]:40}", end="", file=sys.stderr, flush=True)

    start = time.perf_counter()
    try:
        warmed = warm_up(report if shows else None)
    finally:
        if shows:
            print(f"\r{'':64}\r", end="", file=sys.stderr, flush=True)
    seconds = time.perf_counter() - start
    if warmed.compiled + warmed.loaded == 0:
        print("nothing to compile: NUMBA_DISABLE_JIT is set")
    else:
        print(f"{warmed.compiled} kernels compiled and {warmed.loaded} found in the cache, in {seconds:.1f} s")
        print(f"cache: {warmed.directory}")
    return ANSWERED


def _demo(parsed: argparse.Namespace) -> int:
    from factorgraph_ebm import demo  # with it comes matplotlib, an extra

    try:
        demo.run(Path(parsed.output), progress=sys.stderr.isatty())
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        _complain("the demo needs matplotlib: pip install 'factorgraph-ebm[plot]'")
        return BAD_INPUT
    return ANSWERED


def _complain(error: object) -> None:
    print(f"factorgraph-ebm: error: {' '.join(str(error).split())}", file=sys.stderr)


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    print(f"factorgraph-ebm: warning: {' '.join(str(message).split())}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
