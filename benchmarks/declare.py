"""Declaring, compiling and asking many small questions: seconds, microseconds and bytes.

    python benchmarks/declare.py [--size 1000] [--chains 9000] [--json]

Figures of one process on one thread, medians of several runs, kernels compiled beforehand. Bytes are those of every
array that a compiled graph holds on to, messages aside.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np

import factorgraph_ebm as fg
from factorgraph_ebm.compiler import union
from factorgraph_ebm.compiler.parts import Sample


def median_seconds(run: Callable[[], object], repeats: int) -> float:
    run()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def grid(unary: np.ndarray) -> fg.FactorGraph:
    y = fg.output("y", shape=unary.shape[:2], n_states=unary.shape[2])
    vertical = fg.Potts([y[1:], y[:-1]], penalty=1.0)
    return fg.FactorGraph([fg.Table([y], energies=unary), vertical, fg.Potts([y[:, 1:], y[:, :-1]], penalty=1.0)])


def compile_afresh(graph: fg.FactorGraph) -> union.Union:
    union._cache.clear()
    return union.compile_union([Sample(graph)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--chains", type=int, default=9000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    size = arguments.size
    unary = rng.normal(size=(size, size, 2))
    graph = grid(unary)
    n_factors = sum(factor.size for factor in graph.factors)
    row = {
        "factors": n_factors,
        "declare_and_compile_s": median_seconds(lambda: compile_afresh(grid(unary)), 5),
        "bytes_per_factor": union._bytes(compile_afresh(graph)) / n_factors,
    }

    emission = fg.Parameter("emission", shape=(30, 10), initial=rng.normal(size=(30, 10)))
    transition = fg.Parameter("transition", shape=(10, 10), initial=rng.normal(size=(10, 10)))

    def architecture(x: np.ndarray) -> fg.FactorGraph:
        y = fg.output("y", shape=len(x), n_states=10)
        unary = fg.Table([y], energies=fg.Linear(x, emission))
        return fg.FactorGraph([unary, fg.Table([y[:-1], y[1:]], energies=transition)])

    sentences = [rng.normal(size=(rng.integers(11, 51), 30)) for _ in range(arguments.chains)]
    row["declare_chain_us"] = median_seconds(lambda: architecture(sentences[0]), 200) * 1e6
    chains = [architecture(x) for x in sentences]
    row["best_paths_s"] = median_seconds(lambda: fg.minimize(chains), 3)
    row["chain_marginals_s"] = median_seconds(lambda: fg.marginals(chains), 3)
    row = {name: round(value, 3) for name, value in row.items()}
    print(json.dumps(row) if arguments.json else "\n".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    main()
