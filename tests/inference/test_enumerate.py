"""The oracle method: dense joint tables, one for each connected part."""

from __future__ import annotations

import math

import numpy as np
import pytest
from checks import betas_of, check_marginals, check_minimum, joint_of
from oracle import brute
from strategies import case_of

import factorgraph_ebm as fg


@pytest.mark.parametrize("block", range(4))
def test_every_question_equals_brute_force(block):
    for seed in range(40_000 + 25 * block, 40_025 + 25 * block):
        case = case_of(seed, forest=seed % 2 == 0)
        joint = joint_of(case)
        options = {"parameters": case.parameters, "method": "enumerate"}
        check_minimum(case, fg.minimize(case.graph, case.given, **options), joint, exact=True)
        for beta in betas_of(case):
            belief = fg.marginals(case.graph, case.given, beta=beta, **options)
            check_marginals(case, belief, joint, beta, exact=True)


def test_the_first_of_equal_minimisers_has_the_lowest_states():
    y = fg.output("y", shape=3, n_states=2)
    differ = fg.Table([y[[0, 1, 2]], y[[1, 2, 0]]], energies=[[1.0, 0.0], [0.0, 1.0]])
    graph = fg.FactorGraph([differ])
    best = fg.minimize(graph, method="enumerate")
    assert best["y"].tolist() == brute(graph).minimisers()[0].tolist() == [0, 0, 1]


def test_what_is_summed_goes_first():
    rng = np.random.default_rng(0)
    y, z = fg.output("y", shape=2, n_states=2), fg.latent("z", shape=3, n_states=3)
    loop = fg.Table([z, z[[1, 2, 0]]], energies=rng.normal(size=(3, 3)))
    graph = fg.FactorGraph([loop, fg.Table([y[:, None], z], energies=rng.normal(size=(2, 3, 2, 3)))])
    joint = brute(graph)
    order = list(graph.variables)
    cells = [joint.where.cell("y", i) for i in range(2)]
    assert order == ["z", "y"]
    for beta in (0.3, 1.0, 4.0):
        rows, free = joint.eliminate(cells, beta)
        best = fg.minimize(graph, latent="marginalize", beta=beta, method="enumerate")
        assert best.exact and best.energy == pytest.approx(free.min(), rel=1e-12)
        assert best["y"].tolist() == rows[free.argmin()].tolist()


def test_summing_at_beta_zero_is_the_limit():
    """Most completions win, at free energy -inf; where every answer has one, the least energy does."""
    y, z = fg.output("y", n_states=2), fg.latent("z", n_states=3)
    inf = math.inf
    some = fg.FactorGraph([fg.Table([y, z], energies=[[-5.0, inf, inf], [0.0, 0.0, inf]])])
    best = fg.minimize(some, latent="marginalize", beta=0.0)
    assert best["y"] == 1 and best.energy == -inf
    one = fg.FactorGraph([fg.Table([y, z], energies=[[-5.0, inf, inf], [inf, -7.0, inf]])])
    best = fg.minimize(one, latent="marginalize", beta=0.0)
    assert best["y"] == 1 and best.energy == -7.0
    both = fg.minimize([some, one], latent="marginalize", beta=0.0)
    assert [b.energy for b in both] == [-inf, -7.0]


def test_states_of_one_are_no_axes():
    """Forty variables of one state and three of two: a tensor of eight entries."""
    counts = np.ones(43, int)
    counts[[5, 20, 42]] = 2
    y = fg.output("y", shape=43, n_states=counts)
    pairs = [[i, i + 1] for i in range(42)]
    graph = fg.FactorGraph(
        [fg.Table(y, members=pairs, energies=[np.full((counts[i], counts[i + 1]), 0.25) for i in range(42)])]
    )
    belief = fg.marginals(graph, method="enumerate")
    assert belief.log_partition == pytest.approx(3 * math.log(2) - 42 * 0.25)
    np.testing.assert_allclose(belief["y"][5], [0.5, 0.5])


def test_what_does_not_fit_is_refused_before_it_is_allocated():
    y = fg.output("y", shape=40, n_states=3)
    graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.0)])
    with pytest.raises(fg.MethodError, match=r'40 variables.*Write method="bp"'):
        fg.minimize(graph, method="enumerate")
    with pytest.raises(fg.MethodError, match="bytes"):
        fg.marginals(graph, method="enumerate")
    apart = fg.FactorGraph([fg.Table([y], energies=[0.0, 1.0, 2.0])])  # 3 entries each
    assert fg.minimize(apart, method="enumerate").exact


def test_auto_enumerates_small_loops_and_passes_messages_elsewhere():
    y = fg.output("y", shape=(3, 3), n_states=2)
    loop = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.0), fg.Potts([y[:, 1:], y[:, :-1]], penalty=1.0)])
    assert fg.minimize(loop).method == "enumerate"
    assert fg.marginals(loop).exact
    assert fg.marginals(loop, damping=0.5).method == "bp"  # an option of message passing asks for it
    chain = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.0)])
    assert fg.minimize(chain).method == "bp" and fg.minimize(chain).exact
