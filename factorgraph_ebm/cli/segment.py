"""`factorgraph-ebm segment`: a picture cut into regions."""

from __future__ import annotations

import argparse
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
    tell,
)
from factorgraph_ebm.cli.speaking import ANSWERED, EXIT_CODES
from factorgraph_ebm.pictures.files import read_picture, write_labels
from factorgraph_ebm.pictures.segments import WEIGHT, cluster_colours, colour_energies, segments_graph


def add(commands: Any) -> None:
    """Declare the command and its options."""
    segment = commands.add_parser("segment", help="cut a picture into regions", epilog=EXIT_CODES)
    segment.add_argument("image", metavar="IMAGE", help=FORMATS)
    add_output(segment, "the regions in their mean colours, in a .png file as numbers of a palette,")
    segment.add_argument("--classes", type=at_least(1), default=2, metavar="K", help="colours (%(default)s)")
    weight = "nats that equal neighbours pay for different labels (%(default)g)"
    segment.add_argument("--weight", type=not_negative, default=WEIGHT, metavar="W", help=weight)
    add_time_limit(segment)
    segment.set_defaults(command=_segment)


@checked
def _segment(parsed: argparse.Namespace) -> int:
    picture = read_picture(parsed.image)
    colours = cluster_colours(picture, parsed.classes)
    graph = segments_graph(picture, colour_energies(picture, colours), weight=parsed.weight)
    best, took = ask(parsed, graph, "cut" if parsed.classes <= 2 else "expansion")
    labels = best["y"]
    write_labels(parsed.output, labels, mean_colours(picture, labels, parsed.classes))
    height, width = labels.shape
    shares = np.bincount(labels.reshape(-1), minlength=parsed.classes) / labels.size
    told = ", ".join(f"{share:.1%}" for share in shares)
    tell(f"{parsed.image}: {width} x {height} pixels", best, took, parsed.output, classes=parsed.classes, shares=told)
    return ANSWERED


def mean_colours(picture: Any, labels: Any, n_labels: int) -> Any:
    """The mean colour of each label, (n_labels, 3); black where nothing has it."""
    pixels = np.broadcast_to(picture.reshape(*labels.shape, -1), (*labels.shape, 3)).reshape(-1, 3)
    count = np.bincount(labels.reshape(-1), minlength=n_labels)
    sums = [np.bincount(labels.reshape(-1), weights=channel, minlength=n_labels) for channel in pixels.T]
    return np.stack(sums, axis=1) / np.maximum(count, 1)[:, None]
