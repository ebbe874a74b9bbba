"""Graphs of up to 2^16 configurations with many loops, the largest buckets of 2 to 2^9 entries, against brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from oracle import Joint, brute
from order import in_order
from scipy.stats import chi2

import factorgraph_ebm as fg
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.union import compile_union
from factorgraph_ebm.inference.trees import shape_of

SEEDS = range(48)
RARE = 1e-6
"probability below which a statistic of a right sampler does not come out"
DRAWS = 4000
K = 20


def drawn_graph(seed: int) -> fg.FactorGraph:
    """Variables of 2 to 4 states, each joined to some of a clique of those before it; a third have forbidden entries.

    One assignment stays allowed.
    """
    rng = np.random.default_rng(seed)
    most = 1 + seed % 8
    states: list[int] = []
    while math.prod(states) < 1 << 14 and len(states) < 16:
        states.append(int(rng.choice([2, 2, 2, 3, 4] if seed % 3 == 0 else [2])))
    variables = [fg.output(f"v{i}", n_states=k) for i, k in enumerate(states)]
    planted = [int(rng.integers(k)) for k in states]
    cliques: list[list[int]] = [[]]
    scopes: list[tuple[int, ...]] = [(0,)]
    for v in range(1, len(states)):
        near = cliques[int(rng.integers(max(0, len(cliques) - 3), len(cliques)))]
        near = sorted(rng.choice(near, min(len(near), most - 1), replace=False).tolist()) if near else []
        near = near + [v - 1] if v - 1 not in near and len(near) < most else near
        cliques.append([*near, v])
        scopes += [(u, v) for u in near]
        scopes += [(v, *pair) for pair in itertools.combinations(near, 2) if rng.random() < 0.2]
    factors = []
    for i, scope in enumerate(scopes):
        energies = rng.normal(size=[states[v] for v in scope]) * float(rng.choice([0.3, 1.0, 3.0]))
        if seed % 3 == 1:
            forbidden = rng.random(energies.shape) < 0.15
            forbidden[tuple(planted[v] for v in scope)] = False
            energies[forbidden] = np.inf
        factors.append(fg.Table([variables[v] for v in scope], energies=energies, name=f"f{i}"))
    return fg.FactorGraph(factors)


def width_of(graph: fg.FactorGraph) -> float:
    return float(shape_of(compile_union([Sample(graph, None)])).elimination.width.max())


def states_of(joint: Joint, read) -> list[int]:
    return [int(read[name]) for name in joint.where.variables]


@pytest.mark.parametrize("block", range(4))
def test_sums_marginals_and_the_twenty_best(block):
    for seed in SEEDS[block::4]:
        graph = drawn_graph(seed)
        joint = brute(graph)
        belief = fg.marginals(graph, method="junction_tree")
        assert belief.exact and belief.status is fg.Status.OPTIMAL
        assert belief.log_partition == pytest.approx(joint.log_partition(1.0), rel=1e-10, abs=1e-10)
        for name, expected in joint.marginals(1.0).items():
            np.testing.assert_allclose(belief[name], expected, atol=1e-10, rtol=0, err_msg=str(seed))
        for (key, _), expected in joint.factor_marginals(1.0).items():
            found = np.squeeze(belief.factor_marginals[key])
            np.testing.assert_allclose(found, expected, atol=1e-10, rtol=0, err_msg=str(seed))
        best = fg.minimize(graph, method="junction_tree")
        rows, energies = in_order(joint, list(range(len(joint.where.cell_states))))
        assert best.exact and best.status is fg.Status.OPTIMAL
        assert states_of(joint, best) == rows[0].tolist() and best.energy == pytest.approx(energies[0], rel=1e-13)
        listed = fg.k_best(graph, K, method="junction_tree")
        assert [states_of(joint, each) for each in listed] == rows[:K].tolist(), seed


@pytest.mark.parametrize("block", range(2))
def test_draws(block):
    """Pearson's chi-square over the configurations of six variables, those that are rare taken as one."""
    for seed in SEEDS[block::6]:
        graph = drawn_graph(seed)
        joint = brute(graph)
        chosen = np.random.default_rng(seed).permutation(len(joint.where.cell_states))[:6].tolist()
        names = list(joint.where.variables)
        probability = joint.joint_marginal(chosen, 1.0)
        drawn = fg.sample(graph, DRAWS, rng=seed, method="junction_tree")
        columns = tuple(np.asarray(drawn[names[c]]) for c in chosen)
        count = np.zeros(probability.shape)
        np.add.at(count, columns, 1)
        assert not count[probability == 0].any()
        count, expected = count.ravel(), DRAWS * probability.ravel()
        common = expected >= 5.0
        classes = [*zip(count[common], expected[common])]
        if expected[~common].sum() >= 5.0:
            classes.append((count[~common].sum(), expected[~common].sum()))
        statistic = sum((c - e) ** 2 / e for c, e in classes)
        assert len(classes) == 1 or chi2.sf(statistic, len(classes) - 1) > RARE, (seed, statistic)


def test_widths_are_what_they_are_said_to_be():
    widths = [width_of(drawn_graph(seed)) for seed in SEEDS]
    assert min(widths) <= 2.0 and max(widths) >= 8.0
    assert sum(width >= 5.0 for width in widths) >= len(widths) // 3
