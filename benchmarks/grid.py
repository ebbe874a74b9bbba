"""Flooding on a square grid: nanoseconds per directed message, against vectorised NumPy in the same run.

    python benchmarks/grid.py [--size 256] [--states 2 16] [--repeats 5] [--json]

Both sides do the same work: every factor sends to both its variables, messages are normalised and damped by half, the
largest change is found, and every variable sends to all its factors. The NumPy side keeps one message array for each
of the four directions and works on whole arrays. Medians of several runs, the two sides taking turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

import factorgraph_ebm as fg
from factorgraph_ebm.compiler.schedules import flooding
from factorgraph_ebm.compiler.union import Sample, compile_union
from factorgraph_ebm.inference.passing import Passing

Array = NDArray[np.float64]
DAMPING = 0.5


def library_iteration(unary: Array, table: Array, *, minimize: bool) -> Callable[[], float]:
    """One flooding iteration of the engine on the grid, as a function of nothing."""
    height, width, states = unary.shape
    y = fg.output("y", shape=(height, width), n_states=states)
    graph = fg.FactorGraph(
        [
            fg.Table([y], energies=unary),
            fg.Table([y[:-1], y[1:]], energies=table),
            fg.Table([y[:, :-1], y[:, 1:]], energies=table),
        ]
    )
    union = compile_union([Sample(graph)])
    passing = Passing(union.layout, union.bind([{}], np.zeros(graph.n_cells, np.int64)), minimize=minimize)
    steps = flooding(union.layout, passing.operators)
    last = int(steps.start[-1])
    return lambda: passing.run(steps, 0, last, DAMPING)


def numpy_iteration(unary: Array, table: Array, *, minimize: bool) -> Callable[[], float]:
    """One flooding iteration in whole-array NumPy: messages as energies (min) or as probabilities (sum)."""
    height, width, states = unary.shape
    start = np.zeros if minimize else (lambda shape: np.full(shape, 1.0 / states))
    shapes = {
        "down": (height - 1, width, states), "up": (height - 1, width, states),
        "right": (height, width - 1, states), "left": (height, width - 1, states),
    }  # fmt: skip
    messages = {name: start(shape) for name, shape in shapes.items()}
    local = unary if minimize else np.exp(-unary)
    factor = table if minimize else np.exp(-table)

    def send(cavity: Array, pairs: Array) -> Array:
        if minimize:
            raw = (cavity[..., :, None] + pairs).min(axis=-2)
            return np.asarray(raw - raw.min(axis=-1, keepdims=True))
        raw = (cavity[..., :, None] * pairs).sum(axis=-2)
        return np.asarray(raw / raw.sum(axis=-1, keepdims=True))

    def iterate() -> float:
        down, up, right, left = (messages[name] for name in shapes)
        parts = {name: np.zeros_like(local) if minimize else np.ones_like(local) for name in shapes}
        parts["down"][1:], parts["up"][:-1] = down, up
        parts["right"][:, 1:], parts["left"][:, :-1] = right, left

        def cavity(without: str) -> Array:
            total = local.copy()
            for name, part in parts.items():
                if name != without:
                    total = total + part if minimize else total * part
            return total

        new = {
            "down": send(cavity("up")[:-1], factor), "up": send(cavity("down")[1:], factor.T),
            "right": send(cavity("left")[:, :-1], factor), "left": send(cavity("right")[:, 1:], factor.T),
        }  # fmt: skip
        change = max(float(np.abs(new[name] - messages[name]).max()) for name in shapes)
        for name in shapes:
            messages[name] = DAMPING * messages[name] + (1 - DAMPING) * new[name]
        return change

    return iterate


def seconds(run: Callable[[], float], at_least: float = 0.05) -> float:
    """Seconds of one call, over as many as take a moment."""
    count = 0
    began = time.perf_counter()
    while time.perf_counter() - began < at_least:
        run()
        count += 1
    return (time.perf_counter() - began) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--states", type=int, nargs="+", default=[2, 16])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    size = arguments.size
    n_messages = 4 * size * (size - 1)
    rng = np.random.default_rng(0)
    for states in arguments.states:
        unary = rng.normal(size=(size, size, states))
        table = rng.normal(size=(states, states)) * 0.5
        for minimize in (False, True):
            ours = library_iteration(unary, table, minimize=minimize)
            theirs = numpy_iteration(unary, table, minimize=minimize)
            ours(), theirs()  # compiled, and caches warm
            pairs = [(seconds(ours), seconds(theirs)) for _ in range(arguments.repeats)]
            row = {
                "grid": f"{size} x {size}",
                "states": states,
                "operator": "min-sum" if minimize else "sum-product",
                "ns_per_message": round(statistics.median(a for a, _ in pairs) / n_messages * 1e9, 2),
                "numpy_ns_per_message": round(statistics.median(b for _, b in pairs) / n_messages * 1e9, 1),
                "ratio": round(statistics.median(b / a for a, b in pairs), 1),
            }
            print(json.dumps(row) if arguments.json else "  ".join(f"{k} {v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
