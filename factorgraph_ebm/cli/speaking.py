"""How every command speaks: exit codes, complaints of one line, options that are numbers."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable

ANSWERED, BAD_INPUT, INFEASIBLE = 0, 2, 3
EXIT_CODES = "Exit codes: 0 answered, 2 bad input, 3 proved infeasible."


def beta(text: str) -> float:
    return number(text, "is not a number from 0 to inf", lambda value: value >= 0)


def seconds(text: str) -> float:
    return number(text, "is not a positive number of seconds", lambda value: 0 < value < math.inf)


def number(text: str, complaint: str, accepted: Callable[[float], bool]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not accepted(value):
        raise argparse.ArgumentTypeError(f"{text!r} {complaint}")
    return value


def complain(error: object) -> None:
    print(f"factorgraph-ebm: error: {' '.join(str(error).split())}", file=sys.stderr)


def show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    print(f"factorgraph-ebm: warning: {' '.join(str(message).split())}", file=sys.stderr)
