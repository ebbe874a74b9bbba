"""Stamps of kernels: another one wherever machine code might differ, the same one wherever it cannot."""

from __future__ import annotations

import importlib.util
import itertools
import sys
import textwrap

import numpy as np
import pytest

from factorgraph_ebm import _jit
from factorgraph_ebm._stamps import stamp
from factorgraph_ebm.warmup import all_kernels

KERNELS = """
import math
import numpy as np
from factorgraph_ebm._jit import F8, REAL, inlined, kernel

STEP = 3
LIMITS = (1.0, (2, np.uint64(3)))
TABLE = np.array([1.0, 2.0])
UNREAD = 5

def unread(x):
    return x

@inlined
def deepest(x):
    return x * STEP

@inlined
def deep(x, scale=2.0):
    return deepest(x) + scale

@kernel(REAL, REAL)
def top(x):
    if x < LIMITS[0]:
        return top(x + 1.0)
    return deep(x) + TABLE[0] + math.sqrt(x) + np.exp(1.0)
"""
number = itertools.count()


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Import a text under one name, from a file of its own, and return its kernel."""
    name = "stamped"
    monkeypatch.setattr(_jit, "KERNELS", [])  # the library's list is not ours to add to

    def import_text(text):
        path = tmp_path / f"{next(number)}.py"
        path.write_text(textwrap.dedent(text))
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module.top

    yield import_text
    sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("STEP = 3", "STEP = 4"),
        ("STEP = 3", "STEP = 3.0"),
        ("(2, np.uint64(3))", "(2, np.int64(3))"),
        ("(1.0, (", "(-1.0, ("),
        ("np.array([1.0, 2.0])", "np.array([1.0, 2.5])"),
        ("np.array([1.0, 2.0])", "np.array([1.0, 2.0], np.float32)"),
        ("x * STEP", "x + STEP"),
        ("deepest(x) +", "deepest(x) -"),
        ("scale=2.0", "scale=3.0"),
        ("@kernel(REAL, REAL)", "@kernel(REAL, F8)"),
        ("math.sqrt", "math.cbrt"),
        ("x + 1.0", "x + 2.0"),
        ("import math", "import cmath as math"),
    ],
)
def test_another_stamp(load, old, new):
    assert KERNELS.count(old) == 1
    assert stamp(load(KERNELS)) != stamp(load(KERNELS.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("UNREAD = 5", "UNREAD = 6"),
        ("    return x\n", "    return -x\n"),
        ("import math", "# about\n\nimport math"),
        ("", ""),
    ],
)
def test_the_same_stamp(load, old, new):
    assert stamp(load(KERNELS)) == stamp(load(KERNELS.replace(old, new, 1)))


def test_a_global_that_cannot_be_told(load):
    top = load(KERNELS.replace("STEP = 3", "STEP = [3]"))
    with pytest.raises(TypeError, match=r"stamped\.deepest is compiled, and reads STEP, a list"):
        stamp(top)


def test_every_kernel_has_one_of_its_own():
    kernels = all_kernels()
    assert len({stamp(kernel) for kernel in kernels}) == len(kernels) > 100
    assert all(isinstance(stamp(k), str) and np.unique(list(stamp(k))).size > 8 for k in kernels)
