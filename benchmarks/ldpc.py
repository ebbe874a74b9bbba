"""Decoding of low-density parity-check codes: coded Mbit/s and frame errors, beside the package `ldpc` in the same run.

    pip install ldpc
    python benchmarks/ldpc.py [--n 10000] [--words 20] [--threads 1 2] [--repeats 3] [--frames 500]

First a regular (3,6) code over a binary symmetric channel, each frame until its syndrome is 0 or 50 iterations are
over: sum-product (`marginals`) beside product_sum, min-sum (`minimize`) beside minimum_sum. The library decodes all
frames in one call, a list of given dicts; its second call counts, and "engine" is the share of it spent iterating. The
package decodes one frame a call, in one thread. Both run flooding, called "parallel" there; the library's own order,
sequential, has rows of its own. Medians, the two sides taking turns. Without the package its rows are left out.

Plain min-sum decodes none of these frames on either side: over this channel all bits start with the same number, and
messages tie. Each side has its usual cure: here a damping of .2, there messages scaled by .75.

Then the share of frame errors over a Gaussian channel at three ratios of signal to noise, both sides decoding the same
frames by sum-product, with the standard error of their difference.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

import factorgraph_ebm as fg

# The package has the name of this file, whose folder comes first on the path of a script.
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [place for place in sys.path if os.path.abspath(place) != HERE]
try:
    from ldpc import BpDecoder
except ImportError as error:
    BpDecoder, MISSING = None, f"rows of the package ldpc are left out ({error}): pip install ldpc"

Array = NDArray[Any]
ITERATIONS = 50
DAMPING = {fg.marginals: 0.0, fg.minimize: 0.2}
SCALING = 0.75


class Decoded(NamedTuple):
    """What one pass over all frames gave."""

    words: Array
    "(frames, n) bits"
    iterations: Array
    "(frames,)"
    seconds: float
    engine: float
    "seconds spent iterating"


def regular_matrix(n: int, rng: np.random.Generator, column_degree: int = 3, row_degree: int = 6) -> Any:
    """Draw a parity-check matrix: sockets of columns dealt to rows, and dealt again where a row has a column twice."""
    rows = rng.permutation(np.repeat(np.arange(n), column_degree)).reshape(-1, row_degree)
    while True:
        order = np.argsort(rows, axis=1, kind="stable")
        row, place = np.nonzero(np.diff(np.take_along_axis(rows, order, axis=1)) == 0)
        if not row.size:
            break
        for r, s in zip(row.tolist(), order[row, place + 1].tolist()):
            other = divmod(int(rng.integers(rows.size)), row_degree)
            rows[r, s], rows[other] = rows[other], rows[r, s]
    ones = np.ones(rows.size, dtype=np.uint8)
    return scipy.sparse.csr_array((ones, np.sort(rows).reshape(-1), np.arange(len(rows) + 1) * row_degree))


def code_graph(matrix: Any) -> fg.FactorGraph:
    """A code behind a channel whose log-likelihoods come with each frame."""
    n = matrix.shape[1]
    cost, bits = fg.observed("cost", shape=n, dim=2), fg.output("bits", shape=n, n_states=2)
    return fg.FactorGraph(
        [fg.Table([bits], energies=cost, name="channel"), fg.Parity(bits, members=matrix, name="checks")]
    )


def library(verb: Callable[..., Any], graph: fg.FactorGraph, frames: Array, schedule: str, threads: int = 1) -> Decoded:
    """Decode all frames in one call; `frames` are log p(r | 0) - log p(r | 1)."""
    given = [{"cost": np.stack([0 * frame, frame], axis=-1)} for frame in frames]
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fg.ConvergenceWarning)
        answers = verb(
            graph, given, method="bp", schedule=schedule, damping=DAMPING[verb], max_iterations=ITERATIONS,
            stop="feasible", threads=threads,
        )  # fmt: skip
    if verb is fg.minimize:
        words = np.stack([answer["bits"] for answer in answers])
    else:
        words = np.stack([answer["bits", 1] > 0.5 for answer in answers])
    seconds = time.perf_counter() - began
    iterations = np.array([answer.iterations for answer in answers])
    engine = max(float(answer.trace["seconds"][-1]) for answer in answers)
    return Decoded(words.astype(np.uint8), iterations, seconds, engine)


def package(method: str, matrix: Any, frames: Array) -> Decoded:
    """Decode frame by frame with `ldpc`: the likely bits, and for each how likely it is not."""
    decoder = BpDecoder(
        scipy.sparse.csr_matrix(matrix), error_rate=0.1, max_iter=ITERATIONS, bp_method=method,
        ms_scaling_factor=SCALING, schedule="parallel", input_vector_type="received_vector",
    )  # fmt: skip
    flipped = 1 / (1 + np.exp(np.abs(frames)))
    received = (frames < 0).astype(np.uint8)
    words, iterations = np.empty_like(received), np.empty(len(frames), dtype=np.int64)
    began = time.perf_counter()
    for frame in range(len(frames)):
        decoder.update_channel_probs(flipped[frame])
        words[frame] = decoder.decode(received[frame])
        iterations[frame] = decoder.iter
    seconds = time.perf_counter() - began
    return Decoded(words, iterations, seconds, seconds)


def throughput(n: int, crossover: float, count: int, repeats: int, threads: Sequence[int]) -> None:
    """Print Mbit/s of every decoder over a binary symmetric channel. The word of zeros is sent: no decoder knows."""
    rng = np.random.default_rng(0)
    matrix = regular_matrix(n, rng)
    frames = np.where(rng.random((count, n)) < crossover, -1.0, 1.0) * np.log((1 - crossover) / crossover)
    graph = code_graph(matrix)
    rows: dict[str, Callable[[], Decoded]] = {}
    for name, verb, method in (("sum", fg.marginals, "product_sum"), ("min", fg.minimize, "minimum_sum")):
        for schedule, cores in itertools.product(("flooding", "sequential"), threads):
            said = f"{name}: this library, {schedule}, {cores} thread{'s'[: cores != 1]}"
            rows[said] = lambda v=verb, s=schedule, t=cores: library(v, graph, frames, s, t)
        if BpDecoder is not None:
            rows[f"{name}: ldpc {method}"] = lambda m=method: package(m, matrix, frames)
    for row in rows.values():
        row()  # compiles
    runs: dict[str, list[Decoded]] = {name: [] for name in rows}
    for _ in range(repeats):
        for name, row in rows.items():
            runs[name].append(row())
    print(f"(3,6) code, n = {n:,}, binary symmetric channel, p = {crossover}, {count} frames")
    print(f"{'':42}{'Mbit/s':>8}{'engine':>8}{'ratio':>7}{'iterations':>12}{'ns/edge':>9}{'frame errors':>14}")
    for name, each in runs.items():
        seconds, engine = (statistics.median(getattr(run, field) for run in each) for field in ("seconds", "engine"))
        last = each[-1]
        rate = n * count / seconds / 1e6
        peer = next((peer for peer in runs if "ldpc" in peer and peer[:3] == name[:3]), None)
        ratio = "" if peer is None else f"{statistics.median(run.seconds for run in runs[peer]) / seconds:.2f}"
        edge = engine / (last.iterations.sum() * matrix.nnz) * 1e9
        errors = int(last.words.any(axis=1).sum())
        print(
            f"{name:42}{rate:8.3f}{n * count / engine / 1e6:8.3f}{ratio:>7}{last.iterations.mean():12.1f}"
            f"{edge:9.1f}{errors:>8} of {count}"
        )


def error_rates(n: int, ratios: Sequence[float], count: int) -> None:
    """Print the share of frame errors over a Gaussian channel; `ratios` are Eb/N0 in dB, at rate 1/2."""
    rng = np.random.default_rng(1)
    matrix = regular_matrix(n, rng)
    graph = code_graph(matrix)
    print(f"\n(3,6) code, n = {n:,}, Gaussian channel, sum-product, {count} frames, share of frame errors")
    print(f"{'Eb/N0':>8}{'this library':>14}{'ldpc':>8}{'difference':>12}{'standard error':>16}{'unlike frames':>15}")
    for ratio in ratios:
        variance = 1 / (2 * 0.5 * 10 ** (ratio / 10))
        frames = 2 * (1 + np.sqrt(variance) * rng.normal(size=(count, n))) / variance
        ours = library(fg.marginals, graph, frames, "flooding").words.any(axis=1)
        if BpDecoder is None:
            print(f"{ratio:6.2f}dB{ours.mean():14.4f}")
            continue
        theirs = package("product_sum", matrix, frames).words.any(axis=1)
        difference = ours.astype(float) - theirs
        # Two independent samples, as if each side had drawn its own frames.
        error = np.sqrt((ours.var() + theirs.var()) / count)
        print(
            f"{ratio:6.2f}dB{ours.mean():14.4f}{theirs.mean():8.4f}{difference.mean():12.4f}{error:16.4f}"
            f"{int((difference != 0).sum()):15}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=10_000, help="bits of a frame")
    parser.add_argument("--crossover", type=float, default=0.07)
    parser.add_argument("--words", type=int, default=20, help="frames to time")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--frames", type=int, default=500, help="frames to count errors of; 0: none")
    parser.add_argument("--frame-bits", type=int, default=504)
    parser.add_argument("--ratios", type=float, nargs="+", default=[1.25, 1.75, 2.25], help="Eb/N0 in dB")
    options = parser.parse_args()
    if BpDecoder is None:
        print(MISSING)
    throughput(options.n, options.crossover, options.words, options.repeats, options.threads)
    if options.frames:
        error_rates(options.frame_bits, options.ratios, options.frames)


if __name__ == "__main__":
    main()
