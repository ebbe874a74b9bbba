"""Without the JIT, 1 << 54 of a byte is 0: what is summed was no longer eliminated before what is minimised.

A minimum inside a sum is less than the sum inside the minimum, and junction trees called it proved.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

ASK = """
import json, warnings
warnings.simplefilter("error")
import numpy as np
import factorgraph_ebm as fg
y, z = fg.output("y", shape=2, n_states=2), fg.latent("z", n_states=2)
graph = fg.FactorGraph([fg.Table([y, z], energies=5.0 * (1.0 - np.eye(2)))])
asked = [fg.minimize(graph, method=method, latent="marginalize") for method in ("junction_tree", "enumerate")]
print(json.dumps([each.energy for each in asked]))
"""


def test_the_sum_stays_inside():
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    run = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    found, expected = json.loads(run.stdout)
    assert abs(found - expected) < 1e-12, "-log(1 + exp(-10)), and not -log 2"
