"""`factorgraph-ebm demo`: a person cut out of a photograph."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from factorgraph_ebm.cli.speaking import ANSWERED, BAD_INPUT, complain


def add(commands: Any) -> None:
    """Declare the command and its options."""
    demo = commands.add_parser("demo", help="cut a person out of a photograph and write the pictures")
    demo.add_argument("--output", metavar="DIR", default="factorgraph-ebm-demo", help="default %(default)s")
    demo.set_defaults(command=_demo)


def _demo(parsed: argparse.Namespace) -> int:
    from factorgraph_ebm import demo  # with it comes matplotlib, an extra

    try:
        demo.run(Path(parsed.output), progress=sys.stderr.isatty())
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        complain("the demo needs matplotlib: pip install 'factorgraph-ebm[plot]'")
        return BAD_INPUT
    return ANSWERED
