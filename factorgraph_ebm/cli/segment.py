"""`factorgraph-ebm segment`: a picture cut into regions, by its colours or by brush strokes."""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from factorgraph_ebm.cli.picturing import (
    FORMATS,
    add_output,
    add_time_limit,
    ask,
    at_least,
    checked,
    not_negative,
    report,
    tell,
)
from factorgraph_ebm.cli.speaking import ANSWERED, BAD_INPUT, EXIT_CODES, complain
from factorgraph_ebm.errors import FormatError
from factorgraph_ebm.pictures.files import read_picture, read_strokes, write_labels
from factorgraph_ebm.pictures.segments import WEIGHT, cluster_colours, colour_energies, segments_graph

CLASSES = 2
STRENGTH = 50.0
"""What equal neighbours pay beside strokes, nats: the colours of these are modelled in detail, and say much"""
MOST_COLOURS = 32
"of strokes; more are the seams of brushes that blend, or a photograph"
ROUNDS = 10


def add(commands: Any) -> None:
    """Declare the command and its options."""
    segment = commands.add_parser("segment", help="cut a picture into regions", epilog=EXIT_CODES)
    segment.add_argument("image", metavar="IMAGE", help=FORMATS)
    add_output(segment, "the regions in their mean colours, in a .png file as numbers of a palette,")
    strokes = "brush strokes over the picture, transparent or black elsewhere: each colour of paint is a region"
    segment.add_argument("--scribbles", metavar="PNG", help=strokes)
    classes = f"regions of like colours ({CLASSES}); with --scribbles there are as many as colours of paint"
    segment.add_argument("--classes", type=at_least(1), metavar="K", help=classes)
    weight = f"nats that equal neighbours pay for different labels ({WEIGHT:g}; with --scribbles {STRENGTH:g})"
    segment.add_argument("--weight", type=not_negative, metavar="W", help=weight)
    add_time_limit(segment)
    segment.set_defaults(command=_segment)


@checked
def _segment(parsed: argparse.Namespace) -> int:
    picture = read_picture(parsed.image)
    return _by_colours(parsed, picture) if parsed.scribbles is None else _by_strokes(parsed, picture)


def _by_colours(parsed: argparse.Namespace, picture: Any) -> int:
    classes = parsed.classes or CLASSES
    colours = cluster_colours(picture, classes)
    weight = WEIGHT if parsed.weight is None else parsed.weight
    graph = segments_graph(picture, colour_energies(picture, colours), weight=weight)
    best, took = ask(parsed, graph, "cut" if classes <= 2 else "expansion")
    shares = _write(parsed, picture, best["y"], classes)
    tell(_title(parsed, picture), best, took, parsed.output, classes=classes, shares=shares)
    return ANSWERED


def _by_strokes(parsed: argparse.Namespace, picture: Any) -> int:
    """GrabCut: label maps and mixtures of colours in turn. Those of two labels are exact, given the mixtures."""
    known, paints = _labels_of_strokes(parsed, picture)
    for name, given in (("--classes", parsed.classes), ("--time-limit", parsed.time_limit)):
        if given is not None:
            raise FormatError(f"{name} cannot be given with --scribbles. Leave it out.")
    began = time.perf_counter()
    try:
        from factorgraph_ebm.estimators.interactive import Interactive

        weight = STRENGTH if parsed.weight is None else parsed.weight
        cut = Interactive(picture, scribbles=known, strength=weight, rounds=ROUNDS)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "sklearn":
            raise
        complain("--scribbles needs scikit-learn: pip install 'factorgraph-ebm[plot,sklearn]'")
        return BAD_INPUT
    took = time.perf_counter() - began
    shares = _write(parsed, picture, cut.labels, len(paints))
    rounds = len(cut.energies) // 2
    rows = {
        "classes": f"{len(paints)}: " + ", ".join("#" + bytes(paint.tolist()).hex() for paint in paints),
        "shares": shares,
        "status": "round limit" if rounds == ROUNDS else "labels rest",
        "method": "GrabCut by " + ("cut" if len(paints) == 2 else "expansion"),
        "rounds": rounds,
        "energy": cut.energy,
        "lower_bound": "unknown",
        "seconds": took,
        "written": parsed.output,
    }
    report(_title(parsed, picture), rows)
    return ANSWERED


def _labels_of_strokes(parsed: argparse.Namespace, picture: Any) -> tuple[Any, Any]:
    """Numbers of the colours of paint (H, W), -1 where there is none, and these colours in order, (K, 3)."""
    colours, painted = read_strokes(parsed.scribbles)
    if painted.shape != picture.shape[:2]:
        sizes = [f"{shape[1]} x {shape[0]} pixels" for shape in (painted.shape, picture.shape)]
        raise FormatError(
            f"{parsed.scribbles} is {sizes[0]} and {parsed.image} is {sizes[1]}: strokes are painted over the picture."
        )
    paints, numbers = np.unique(colours[painted], axis=0, return_inverse=True)
    if not 2 <= len(paints) <= MOST_COLOURS:
        found = "one colour" if len(paints) == 1 else f"{len(paints):,} colours" if len(paints) else "no stroke"
        raise FormatError(
            f"{parsed.scribbles} has {found} of paint, and needs from 2 to {MOST_COLOURS}: one for each region, with "
            "hard edges, and elsewhere nothing (or black, where there is no transparency)."
        )
    known = np.full(painted.shape, -1)
    known[painted] = numbers.reshape(-1)
    return known, paints


def _title(parsed: argparse.Namespace, picture: Any) -> str:
    return f"{parsed.image}: {picture.shape[1]} x {picture.shape[0]} pixels"


def _write(parsed: argparse.Namespace, picture: Any, labels: Any, n_labels: int) -> str:
    """Write the label map, and tell the share of each label."""
    write_labels(parsed.output, labels, mean_colours(picture, labels, n_labels))
    shares = np.bincount(labels.reshape(-1), minlength=n_labels) / labels.size
    return ", ".join(f"{share:.1%}" for share in shares)


def mean_colours(picture: Any, labels: Any, n_labels: int) -> Any:
    """The mean colour of each label, (n_labels, 3); black where nothing has it."""
    pixels = np.broadcast_to(picture.reshape(*labels.shape, -1), (*labels.shape, 3)).reshape(-1, 3)
    count = np.bincount(labels.reshape(-1), minlength=n_labels)
    sums = [np.bincount(labels.reshape(-1), weights=channel, minlength=n_labels) for channel in pixels.T]
    return np.stack(sums, axis=1) / np.maximum(count, 1)[:, None]
