"""Ctrl-C ends a long run, whatever compiled code is at work, and what was asked for lately can be asked again."""

import os
import signal
import subprocess
import sys

import pytest

LONG = """
import signal
import numpy as np
import factorgraph_ebm as fg

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin without
size, states, options = {size}, {states}, {options}
rng = np.random.default_rng(0)
y = fg.output("y", shape=(size, size), n_states=states)
pairs = [fg.Table(pair, 2.0 * rng.normal(size=(states, states))) for pair in ([y[1:], y[:-1]], [y[:, 1:], y[:, :-1]])]
graph = fg.FactorGraph([fg.Table([y], rng.normal(size=(size, size, states))), *pairs])
fg.{verb}(graph, max_iterations=2, **options)  # whatever must be compiled or loaded
print("begun", flush=True)
try:
    fg.{verb}(graph, max_iterations=10**8, tolerance=0.0, **options)
except KeyboardInterrupt:
    fg.{verb}(graph, max_iterations=2, **options)
    print("interrupted", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="sends a signal")
@pytest.mark.parametrize(
    "verb, size, states, options",
    [
        ("minimize", 300, 4, {"threads": 1}),  # sweeps in slices
        ("minimize", 60, 4, {"threads": 2}),  # threads that share stages
        ("marginals", 300, 2, {"schedule": "flooding", "damping": 0.5, "threads": 2}),
        ("marginals", 100, 2, {"schedule": "residual"}),
    ],
)
def test_ctrl_c_ends_a_run_that_would_take_days(verb, size, states, options):
    program = LONG.format(verb=verb, size=size, states=states, options=options)
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "begun\n", process.communicate()[1]
            # Not so early that it would meet Python's own work; what compiled calls take is a twentieth of a second.
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=0.5)
            process.send_signal(signal.SIGINT)
            said, errors = process.communicate(timeout=120)
        finally:
            process.kill()
    assert said == "interrupted\n", errors
    assert process.returncode == 0
