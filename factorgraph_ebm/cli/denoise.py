"""`factorgraph-ebm denoise`: what a noisy picture showed."""

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
from factorgraph_ebm.cli.speaking import ANSWERED, EXIT_CODES, number
from factorgraph_ebm.errors import FactorError
from factorgraph_ebm.pictures.denoising import WHITE, binary_graph, grey_graph, grey_levels, noise_of
from factorgraph_ebm.pictures.files import read_picture, write_picture

LEVELS = 32
FLIPPED, AGREE = 0.1, 1.0


def add(commands: Any) -> None:
    """Declare the command and its options."""
    denoise = commands.add_parser("denoise", help="take the noise out of a picture", epilog=EXIT_CODES)
    denoise.add_argument("image", metavar="IMAGE", help=f"{FORMATS}; colours are read as grey")
    add_output(denoise, "the picture without noise")
    levels = f"grey levels of the answer; default 2 for a picture of two values, else {LEVELS}"
    denoise.add_argument("--levels", type=at_least(2), metavar="N", help=levels)
    noise = f"standard deviation of the noise, in grey values (estimated); of 2 levels: share flipped ({FLIPPED})"
    denoise.add_argument("--noise", type=_positive, metavar="X", help=noise)
    weight = f"nats for each grey value (quadratic: squared) that neighbours differ by; of 2 levels: if so ({AGREE:g})"
    denoise.add_argument("--weight", type=not_negative, metavar="W", help=weight)
    limit = "grey values beyond which a difference costs no more; default 4 times the noise"
    denoise.add_argument("--limit", type=not_negative, metavar="L", help=limit)
    distance = "of neighbours: linear (default) or quadratic, each up to the limit"
    denoise.add_argument("--distance", choices=("linear", "quadratic"), default="linear", help=distance)
    method = "default cut for 2 levels, expansion for linear distances, bp for quadratic ones"
    denoise.add_argument("--method", choices=("cut", "expansion", "bp"), help=method)
    add_time_limit(denoise)
    denoise.set_defaults(command=_denoise)


@checked
def _denoise(parsed: argparse.Namespace) -> int:
    picture = read_picture(parsed.image)
    grey = picture if picture.ndim == 2 else np.asarray(picture @ LUMINANCE)
    values = np.unique(grey)
    levels = parsed.levels or (2 if len(values) <= 2 else LEVELS)
    if levels == 2:
        if parsed.limit is not None or parsed.distance != "linear":
            raise FactorError("2 levels differ or do not: --limit and --distance say nothing of them. Leave these out.")
        low, high = float(values[0]), float(values[-1])
        noise = FLIPPED if parsed.noise is None else parsed.noise
        if noise >= 0.5:
            raise FactorError(f"--noise {noise:g}: of 2 levels it is the share that was flipped, below .5.")
        seen = (grey - low) / (high - low) if high > low else np.zeros(grey.shape)
        graph = binary_graph(seen, flipped=noise, weight=AGREE if parsed.weight is None else parsed.weight)
        shades = np.array([low, high])
    else:
        noise = noise_of(grey) if parsed.noise is None else parsed.noise
        graph = grey_graph(
            grey, n_levels=levels, noise=noise, weight=parsed.weight, limit=parsed.limit, distance=parsed.distance
        )
        shades = grey_levels(levels)
    default = "cut" if levels == 2 else "expansion" if parsed.distance == "linear" else "bp"
    best, took = ask(parsed, graph, parsed.method or default)
    write_picture(parsed.output, shades[best["y"]])
    height, width = grey.shape
    was = "" if picture.ndim == 2 else ", colours read as grey"
    title = f"{parsed.image}: {width} x {height} pixels{was}"
    tell(title, best, took, parsed.output, levels=levels, noise=float(noise))
    return ANSWERED


LUMINANCE = np.array([0.299, 0.587, 0.114])
"what of red, green and blue the eye sees: ITU-R BT.601"


def _positive(text: str) -> float:
    return number(text, f"is not a number above 0, {WHITE:g} at most", lambda value: 0 < value <= WHITE)
