"""What is remembered of a graph goes with it."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from bound import bind

import factorgraph_ebm as fg
from factorgraph_ebm.compiler import union as union_module
from factorgraph_ebm.inference import run
from factorgraph_ebm.inference.method import Problem


@pytest.mark.parametrize("minimize", [True, False])
@pytest.mark.parametrize("looped", [True, False])
def test_a_graph_is_forgotten(rng, minimize, looped):
    y = fg.output("y", shape=5, n_states=3)
    factors = [fg.Table([y[:-1], y[1:]], energies=rng.normal(size=(3, 3)))]
    factors += [fg.Table([y[0], y[4]], energies=rng.normal(size=(3, 3)))] if looped else []
    union, numbers = bind(fg.FactorGraph(factors))
    owner = weakref.ref(union.compiled.run_field)
    run("bp", Problem(union, numbers, 1.0, minimize, None, np.inf, None), {})
    assert owner() is not None
    union_module._cache.clear()
    del union, numbers
    gc.collect()
    assert owner() is None
