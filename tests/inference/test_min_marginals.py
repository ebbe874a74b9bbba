"""Min-marginals in arrays against brute force, sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
from bound import bind
from checks import conditioned, rounding
from oracle import layout
from strategies import case_of
from unions import bind_cases

import factorgraph_ebm as fg
from factorgraph_ebm.inference import run
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.inference.min_marginals import min_marginals

KINDS = ["normal", "integer", "forbidden", "integer forbidden", "tied", "denormal", "cold"]


@pytest.mark.parametrize("method", ["bp", "enumerate"])
@pytest.mark.parametrize("seed", range(60))
def test_drawn_unions(seed, method):
    rng = np.random.default_rng(seed)
    first = case_of(seed, forest=method == "bp", limit=100, kinds=KINDS, prefix="a")
    second = case_of(seed + 10_000, forest=method == "bp", limit=100, kinds=KINDS, prefix="b")
    bound = bind_cases([first, second, first], rng)
    problem = Problem(bound.union, bound.numbers, 1.0, True, None, np.inf, None)
    found = min_marginals(problem, run(method, problem, {}))
    assert not np.isnan(found).any()
    compiled = bound.union.compiled
    for s in range(bound.n):
        joint = bound.joint(s)
        if not conditioned(joint) or not (compiled.sample_exact[s] or method == "enumerate"):
            continue
        variables = compiled.cell_variable[bound.cells(s)]
        where = layout(bound.cases[s].graph)
        for cell, v in enumerate(variables):
            if v >= 0:
                least = np.full(where.cell_states[cell], np.inf)
                np.minimum.at(least, joint.states[:, cell], joint.energies)
                row = found[int(compiled.variable_start[v]) : int(compiled.variable_start[v + 1])]
                np.testing.assert_array_equal(np.isinf(row), np.isinf(least))
                np.testing.assert_allclose(row, least, rtol=1e-11, atol=1e-11 + rounding(joint))


def test_who_has_none_is_named():
    y, z = fg.output("y", shape=3, n_states=2), fg.latent("z", n_states=2)
    graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.0), fg.Potts([y[0], z], penalty=1.0)])
    union, numbers = bind(graph)
    problem = Problem(union, numbers, 1.0, True, None, np.inf, None)
    with pytest.raises(fg.MethodError, match='"icm" has no min-marginals'):
        min_marginals(problem, run("icm", problem, {}))
    union, numbers = bind(graph, soft=[z])
    problem = Problem(union, numbers, 1.0, True, None, np.inf, None)
    with pytest.raises(fg.MethodError, match="Sum none of them out"):
        min_marginals(problem, run("bp", problem, {}))
