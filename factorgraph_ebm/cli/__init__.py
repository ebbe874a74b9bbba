"""The command line, one file for each command: `factorgraph-ebm solve | tag | denoise | ...`.

Exit codes: 0 answered, 2 bad input (one line on stderr), 3 proved infeasible.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

import factorgraph_ebm as fg
from factorgraph_ebm.cli import demo, denoise, info, segment, solve, stereo, tag, warmup
from factorgraph_ebm.cli.speaking import ANSWERED, BAD_INPUT, EXIT_CODES, INFEASIBLE, complain, show_warning

COMMANDS = {
    "solve": solve,
    "info": info,
    "tag": tag,
    "denoise": denoise,
    "stereo": stereo,
    "segment": segment,
    "warmup": warmup,
    "demo": demo,
}


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
        warnings.showwarning = show_warning
        try:
            code: int = parsed.command(parsed)
            sys.stdout.flush()
            return code
        except fg.InfeasibleError as error:
            complain(error)
            return INFEASIBLE
        except (fg.FactorGraphError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                # The reader of a pipe has left, as `head` does: no complaint, nor when Python closes stdout.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return ANSWERED
            complain(error)
            return BAD_INPUT


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="factorgraph-ebm",
        description="Ask a factor graph for its best assignment, its marginals or its partition function.",
        epilog=EXIT_CODES,
    )
    commands = parser.add_subparsers(required=True, metavar=" | ".join(COMMANDS))
    for command in COMMANDS.values():
        command.add(commands)
    return parser
