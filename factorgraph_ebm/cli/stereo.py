"""`factorgraph-ebm stereo`: how near everything is, from two views."""

from __future__ import annotations

import argparse
import warnings
from typing import Any

from factorgraph_ebm.cli.picturing import (
    FORMATS,
    add_output,
    add_time_limit,
    ask,
    at_least,
    checked,
    not_negative,
    tell,
)
from factorgraph_ebm.cli.speaking import ANSWERED, EXIT_CODES
from factorgraph_ebm.errors import ConvergenceWarning, FormatError
from factorgraph_ebm.pictures.files import read_picture, write_picture
from factorgraph_ebm.pictures.stereo import COSTS, LIMIT, WEIGHT, stereo_graph

GREYS = 256
"of a picture: a map of more disparities could not tell them apart"
SWEEPS = 10
"""Of belief propagation, for expansion to start from: as low as from what has come to rest, on the standard pair"""


def add(commands: Any) -> None:
    """Declare the command and its options."""
    stereo = commands.add_parser("stereo", help="a map of disparities from a pair of views", epilog=EXIT_CODES)
    stereo.add_argument("left", metavar="LEFT", help=FORMATS)
    stereo.add_argument("right", metavar="RIGHT", help="the view from further right, rows aligned")
    add_output(stereo, "the map of disparities, near is bright,")
    disparities = "from 0 to N - 1 columns, N up to 256 (%(default)s)"
    stereo.add_argument("--disparities", type=at_least(2), default=16, metavar="N", help=disparities)
    weight = f"nats for a step of one disparity between neighbours, twice as much where they look alike ({WEIGHT:.3f})"
    stereo.add_argument("--weight", type=not_negative, default=WEIGHT, metavar="W", help=weight)
    limit = "steps beyond which a difference costs no more (%(default)g)"
    stereo.add_argument("--limit", type=not_negative, default=LIMIT, metavar="L", help=limit)
    cost = "how unlike two pixels are: birchfield-tomasi (default) or absolute"
    stereo.add_argument("--cost", choices=COSTS, default="birchfield-tomasi", help=cost)
    truncation = "grey values that a pixel costs at most (%(default)g)"
    stereo.add_argument("--truncation", type=not_negative, default=255.0, metavar="T", help=truncation)
    method = "expansion (default), bp, or both: some sweeps of bp and expansion from their answer, which is lowest"
    stereo.add_argument("--method", choices=("expansion", "bp", "both"), default="expansion", help=method)
    add_time_limit(stereo)
    stereo.set_defaults(command=_stereo)


@checked
def _stereo(parsed: argparse.Namespace) -> int:
    if parsed.disparities > GREYS:
        raise FormatError(f"--disparities {parsed.disparities}: a map has {GREYS} grey values. Write {GREYS} or less.")
    left, right = read_picture(parsed.left), read_picture(parsed.right)
    if left.shape != right.shape:
        raise FormatError(
            f"{parsed.left} is {_size(left)} and {parsed.right} is {_size(right)}: the views of a pair are of one size "
            "and both grey or both in colours."
        )
    graph = stereo_graph(
        left, right, n_disparities=parsed.disparities, weight=parsed.weight, limit=parsed.limit, cost=parsed.cost,
        truncation=parsed.truncation,
    )  # fmt: skip
    if parsed.method == "both":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # they need not come to rest, expansion does
            start, before = ask(parsed, graph, "bp", max_iterations=SWEEPS)
        best, took = ask(parsed, graph, "expansion", start=start)
        took += before
    else:
        best, took = ask(parsed, graph, parsed.method)
    scale = (GREYS - 1) // (parsed.disparities - 1)
    write_picture(parsed.output, scale * best["disparity"])
    title = f"{parsed.left}, {parsed.right}: {_size(left)}"
    tell(title, best, took, parsed.output, disparities=parsed.disparities, scale=f"{scale} grey values a disparity")
    return ANSWERED


def _size(picture: Any) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]} pixels{' in colours' if picture.ndim == 3 else ''}"
