"""`import factorgraph_ebm` brings numpy and nothing else that takes time."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("numba", "llvmlite", "networkx", "matplotlib", "scipy", "sklearn", "tqdm", "factorgraph_ebm.engine")


def loaded_after(program):
    """The modules that a fresh interpreter has after `program`."""
    listing = "\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program + listing], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def test_import_is_light():
    loaded = loaded_after("import factorgraph_ebm")
    assert "numpy" in loaded
    assert not loaded & set(HEAVY)


def test_declaring_is_light():
    """A graph can be declared, printed and asked what it is without the compiler."""
    loaded = loaded_after(
        "import factorgraph_ebm as fg\n"
        "y = fg.output('y', shape=(9, 9), n_states=2)\n"
        "w = fg.Parameter('w', (4, 2))\n"
        "x = fg.observed('x', shape=(9, 9), dim=4)\n"
        "graph = fg.FactorGraph([fg.Table([y], fg.Linear(x, w)), fg.Potts([y[1:], y[:-1]], 1.0, name='smooth')])\n"
        "assert str(graph) and graph.key\n"
    )
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize("name", ["minimize", "read", "Status", "to_networkx"])
def test_names_that_are_loaded_late_are_there(name):
    loaded_after(f"import factorgraph_ebm as fg\nassert fg.{name} is not None and {name!r} in dir(fg)")
