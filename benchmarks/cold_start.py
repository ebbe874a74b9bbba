"""From nothing to a first answer: seconds in fresh processes, with an empty and with a full kernel cache.

    python benchmarks/cold_start.py [--repeats 3]

Each process imports the library, minimises over a 20 x 20 grid and asks for its marginals. Times are as the process
sees them, and "all" is the whole process from outside.
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
imported = time.perf_counter()
y = fg.output("y", shape=(20, 20), n_states=2)
unary = fg.Table([y], energies=np.random.default_rng(0).normal(size=(20, 20, 2)))
graph = fg.FactorGraph([unary, fg.Potts([y[1:], y[:-1]], 1.0), fg.Potts([y[:, 1:], y[:, :-1]], 1.0)])
fg.minimize(graph)
minimized = time.perf_counter()
fg.marginals(graph)
print(json.dumps([imported - began, minimized - imported, time.perf_counter() - minimized]))
"""


def run(cache: str) -> list[float]:
    """Seconds of import, first minimize, first marginals, and of the whole process."""
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
        words = zip(("import", "minimize", "marginals", "all"), medians)
        print(f"{name:12}", "  ".join(f"{word} {seconds:.2f} s" for word, seconds in words))


if __name__ == "__main__":
    main()
