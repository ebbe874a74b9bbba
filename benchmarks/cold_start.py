"""From nothing to a first answer: seconds in fresh processes, with an empty and with a full kernel cache.

    python benchmarks/cold_start.py [--repeats 3]

Each process imports the library, minimises over a 20 x 20 grid and asks for its marginals. Times are as the process
sees them, and "all" is the whole process from outside. "Kernels" are those compiled, or loaded, for each question.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

PROGRAM = """
import json, time
began = time.perf_counter()
import numpy as np, factorgraph_ebm as fg
from factorgraph_ebm import _jit
kernels = lambda: sum("compiled" in vars(kernel) for kernel in _jit.KERNELS)
imported = time.perf_counter()
y = fg.output("y", shape=(20, 20), n_states=2)
unary = fg.Table([y], energies=np.random.default_rng(0).normal(size=(20, 20, 2)))
graph = fg.FactorGraph([unary, fg.Potts([y[1:], y[:-1]], 1.0), fg.Potts([y[:, 1:], y[:, :-1]], 1.0)])
fg.minimize(graph)
minimized, first = time.perf_counter(), kernels()
fg.marginals(graph)
print(json.dumps([imported - began, minimized - imported, time.perf_counter() - minimized, first, kernels() - first]))
"""


def run(cache: str) -> list[float]:
    """Seconds of import, first minimize, first marginals, the kernels of both, and seconds of the whole process."""
    began = time.perf_counter()
    environment = {**os.environ, "FACTORGRAPH_EBM_CACHE_DIR": cache}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    return [*json.loads(done.stdout), time.perf_counter() - began]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    cold, warm = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(run(cache))
            warm.append(run(cache))
    for name, runs in (("empty cache", cold), ("full cache", warm)):
        medians = [statistics.median(column) for column in zip(*runs)]
        imported, minimized, summed, first, second, whole = medians
        print(
            f"{name:12} import {imported:.2f} s  minimize {minimized:.2f} s ({first:.0f} kernels)  "
            f"marginals {summed:.2f} s ({second:.0f} more)  all {whole:.2f} s"
        )


if __name__ == "__main__":
    main()
