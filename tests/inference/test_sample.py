"""Draws against exact probabilities by chi-square, with fixed seeds: every method that draws exactly.

The threshold is a probability of 1e-9 for each test statistic, of which there are some hundreds: a right sampler would
fail with other seeds once in a million runs.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from checks import betas_of, conditioned, joint_of
from frequencies import check_frequencies, drawn_rows
from strategies import case_of

import factorgraph_ebm as fg
from factorgraph_ebm.inference import METHODS

ABLE = sorted(name for name, method in METHODS.items() if method.sample is not None and method.draws_exactly)
N = 3000


@pytest.mark.parametrize("method", ABLE)
@pytest.mark.parametrize("block", range(4))
def test_drawn_graphs(block, method):
    for seed in range(70_000 + 15 * block, 70_015 + 15 * block):
        case = case_of(seed, forest=seed % 2 == 0, limit=200)
        joint = joint_of(case)
        for beta in betas_of(case):
            keywords = {"parameters": case.parameters, "beta": beta, "method": method, "rng": seed}
            if not joint.feasible:
                with pytest.raises(fg.InfeasibleError):
                    fg.sample(case.graph, N, case.given, **keywords)
            elif conditioned(joint):
                rows = drawn_rows(case, fg.sample(case.graph, N, case.given, **keywords), joint, N)
                check_frequencies(rows, joint.probabilities(beta))


@pytest.mark.parametrize("method", ABLE)
@pytest.mark.parametrize("group", range(3))
def test_lists(group, method):
    drawn = [case_of(71_000 + 20 * group + i, forest=i % 2 == 0, limit=100, prefix=f"{i} ") for i in range(20)]
    drawn = [case for case in drawn if joint_of(case).feasible and conditioned(joint_of(case))]
    parameters = {name: value for case in drawn for name, value in case.parameters.items()}
    lists = [case.graph for case in drawn], N, [case.given for case in drawn]
    found = fg.sample(*lists, parameters=parameters, method=method, rng=group)
    for case, each in zip(drawn, found, strict=True):
        joint = joint_of(case)
        check_frequencies(drawn_rows(case, each, joint, N), joint.probabilities(1.0))


@pytest.mark.parametrize("method", ABLE)
def test_draws_are_independent(method):
    """Each draw of two variables of a list, and the next one: all sixteen pairs of outcomes are equally likely."""
    y = fg.output("y", shape=2, n_states=2)
    found = fg.sample([fg.FactorGraph([], variables=[y])] * 2, 20_001, method=method, rng=5)
    one, other = (each["y"] @ [1, 2] for each in found)
    check_frequencies(one[1:] * 4 + one[:-1], np.full(16, 1 / 16))
    check_frequencies(one * 4 + other, np.full(16, 1 / 16))


def noisy(n: int = 3):
    y = fg.output("y", shape=n, states=["a", "b", "c"])
    return fg.FactorGraph([fg.Potts([y, y[np.roll(np.arange(n), 1)]], penalty=0.7)])


def test_seeds_generators_and_threads():
    graph = noisy()
    first = fg.sample(graph, 50, rng=3)["y"].tolist()
    assert fg.sample(graph, 50, rng=3, threads=1)["y"].tolist() == first
    assert fg.sample(graph, 50, rng=3, threads=2)["y"].tolist() == first
    assert fg.sample(graph, 50, rng=np.random.default_rng(3))["y"].tolist() == first
    rng = np.random.default_rng(3)
    two = [fg.sample(graph, 50, rng=rng)["y"].tolist() for _ in range(2)]
    assert two[0] == first != two[1]
    assert fg.sample(graph, 50)["y"].tolist() != fg.sample(graph, 50)["y"].tolist()


def test_what_is_given_is_in_every_draw():
    y, x = fg.output("y", shape=2, n_states=2), fg.observed("x", shape=2, dim=2)
    graph = fg.FactorGraph([fg.Table([y], energies=x)])
    drawn = fg.sample(graph, 7, {"x": [[0.0, 1.0], [0.0, math.inf]], y[0]: 1}, rng=0)
    assert drawn["y"].tolist() == [[1, 0]] * 7
    assert drawn["x"].shape == (7, 2, 2) and drawn["x"][6, 0].tolist() == [0.0, 1.0]
    assert fg.energy(graph, {name: values[3] for name, values in drawn.items()}) == 1.0
    many = fg.sample(graph, 3, [{"x": np.zeros((2, 2)), "y": [0, 1]}, {"x": np.zeros((2, 2)), "y": [1, 1]}])
    assert [each["y"].tolist() for each in many] == [[[0, 1]] * 3, [[1, 1]] * 3]


def test_nothing_to_draw():
    assert fg.sample(fg.FactorGraph([]), 4) == {} and fg.sample([], 4) == []
    assert fg.sample(noisy(), 0)["y"].shape == (0, 3)
    empty = fg.output("e", shape=(0, 2), n_states=2)
    assert fg.sample(fg.FactorGraph([], variables=[empty]), 4)["e"].shape == (4, 0, 2)


def test_observed_variables_are_asked_for():
    x, y = fg.observed("x", n_states=2), fg.output("y", n_states=2)
    graph = fg.FactorGraph([fg.Table([x, y], energies=[[0.0, math.inf], [math.inf, 0.0]])])
    with pytest.raises(fg.EvidenceError, match='asked=\\["x", "y"\\]'):
        fg.sample(graph, 3)
    both = fg.sample(graph, 200, asked=["x", "y"], rng=0)
    assert (both["x"] == both["y"]).all() and 0 < both["x"].sum() < 200


def test_infeasible_graphs_are_named():
    y = fg.output("y", n_states=2)
    nothing = fg.FactorGraph([fg.Table([y], energies=[math.inf, math.inf])])
    with pytest.raises(fg.InfeasibleError, match="every assignment is forbidden"):
        fg.sample(nothing, 1)
    with pytest.raises(fg.InfeasibleError, match="every assignment of sample 1 is forbidden"):
        fg.sample([noisy(), nothing], 1)


@pytest.mark.parametrize(
    "keywords, said",
    [
        ({"n": -1}, "n, the number of draws, is an int from 0, not -1"),
        ({"n": 1.0}, "not 1.0"),
        ({"rng": -3}, "rng= is None, a seed"),
        ({"rng": "seed"}, "rng="),
        ({"rng": True}, "rng="),
        ({"beta": -1.0}, "beta="),
        ({"latent": "marginalize"}, "no latent="),
        ({"method": "bp"}, "cannot answer sample.*'enumerate'"),
        ({"damping": 0.5}, 'method "auto" has no option "damping"'),
    ],
)
def test_what_cannot_be_asked(keywords, said):
    with pytest.raises(fg.MethodError, match=said):
        fg.sample(noisy(), **{"n": 3, **keywords})


def test_a_graph_that_is_too_large_says_what_to_try():
    y = fg.output("y", shape=(9, 9), n_states=2)
    grid = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.0), fg.Potts([y[:, 1:], y[:, :-1]], penalty=1.0)])
    with pytest.raises(fg.MethodError, match=r"2 \*\* 84 bytes for a connected part of 81 variables.*given="):
        fg.sample(grid, 3, method="enumerate")
