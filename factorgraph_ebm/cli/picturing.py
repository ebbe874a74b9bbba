"""What the commands about pictures share: their files, their options, and what they print."""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import factorgraph_ebm as fg
from factorgraph_ebm.cli.speaking import BAD_INPUT, complain, number, seconds
from factorgraph_ebm.pictures.files import check_target

FORMATS = "a .png, .jpg, .pgm or .ppm picture"
Command = Callable[[argparse.Namespace], int]


def checked(command: Command) -> Command:
    """A command that says in one line that pictures need an extra, and that --output cannot be, before it begins."""

    @functools.wraps(command)
    def run(parsed: argparse.Namespace) -> int:
        try:
            check_target(parsed.output)
            return command(parsed)
        except ModuleNotFoundError as error:
            if error.name != "PIL":
                raise
            complain(error)
            return BAD_INPUT

    return run


def add_output(command: Any, what: str) -> None:
    command.add_argument("--output", metavar="PNG", required=True, help=f"{what} is written there")


def add_time_limit(command: Any) -> None:
    command.add_argument("--time-limit", type=seconds, metavar="S", help="seconds, then the best answer so far")


def not_negative(text: str) -> float:
    return number(text, "is not a number from 0 to inf", lambda value: value >= 0)


def at_least(least: int) -> Callable[[str], int]:
    """Read a whole number, `least` or more."""

    def whole(text: str) -> int:
        found = number(text, f"is not a whole number from {least} on", lambda value: value >= least and value % 1 == 0)
        return int(found)

    return whole


def ask(parsed: argparse.Namespace, graph: fg.FactorGraph, method: str, **keywords: Any) -> tuple[Any, float]:
    """Minimise with a progress bar at a terminal; the result and the seconds it took."""
    began = time.perf_counter()
    best = fg.minimize(
        graph, method=method, time_limit=parsed.time_limit, progress=sys.stderr.isatty(), **keywords
    )  # fmt: skip
    return best, time.perf_counter() - began


def tell(title: str, best: Any, took: float, output: str, **more: object) -> None:
    """Print what was asked and how it was answered: no status claims more than was proved."""
    rows = {
        **more,
        "status": best.status.value,
        "method": best.method,
        "iterations": best.iterations,
        "energy": best.energy,
        "lower_bound": "unknown" if best.lower_bound is None else best.lower_bound,
        "seconds": took,
        "written": output,
    }
    report(title, rows)


def report(title: str, rows: Mapping[str, object]) -> None:
    """Print a title and rows of a name and a value."""
    print(title)
    for name, value in rows.items():
        print(f"  {name:14} {f'{value:.6f}' if isinstance(value, float) else value}")
