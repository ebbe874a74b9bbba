"""`factorgraph-ebm warmup`: every kernel compiled ahead, into the cache."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from factorgraph_ebm._jit import cache_directory
from factorgraph_ebm.cli.speaking import ANSWERED, BAD_INPUT
from factorgraph_ebm.warmup import warm_up


def add(commands: Any) -> None:
    """Declare the command."""
    warmup = commands.add_parser("warmup", help="compile every kernel ahead, into the cache")
    warmup.set_defaults(command=_warmup)


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
