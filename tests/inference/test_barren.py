"""What sums to a constant is left out of sums that do not read it, and of nothing else."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import cases

import factorgraph_ebm as fg
from factorgraph_ebm.inference import barren, junction_tree


@pytest.fixture
def left(monkeypatch):
    """Looks at every graph; how many variables went, call by call."""
    found: list[int] = []
    ask = barren.needed_part

    def watched(problem, shape):
        needed = ask(problem, shape)
        gone = 0 if needed is None else int((needed.shape.leaf_component == len(needed.shape.sample)).sum())
        found.append(gone // 2)  # a variable goes with its unary leaf, and a factor
        return needed

    monkeypatch.setattr(barren, "LOOK", 0)
    monkeypatch.setattr(junction_tree, "needed_part", watched)
    return found


def network(rng: np.random.Generator, n: int, reach: int = 6, name: str = "x") -> fg.FactorGraph:
    """A Bayesian network: each variable given up to three of those before it, some probabilities 0."""
    x = fg.output(name, shape=n, n_states=3)
    factors = []
    for v in range(n):
        parents = rng.choice(np.arange(max(0, v - reach), v), min(v, int(rng.integers(1, 4))), replace=False).tolist()
        table = rng.integers(0, 4, (3,) * len(parents) + (3,)) + np.eye(3, dtype=int)[rng.integers(0, 3)]
        probabilities = table / table.sum(axis=-1, keepdims=True)
        factors.append(fg.Table.from_probabilities([*(x[p] for p in parents), x[v]], probabilities))
    return fg.FactorGraph(factors)


@pytest.mark.parametrize("seed", range(6))
def test_only_the_ancestors_of_findings_are_summed(seed, left):
    graph = network(np.random.default_rng(seed), 30)
    x = graph["x"]
    sure = fg.sample(graph, 1, rng=seed)["x"][0]
    assert fg.log_partition(graph, method="junction_tree") == pytest.approx(0.0, abs=1e-12)
    assert left == [29]  # and the first alone
    for cells in ([4], [12, 20], [29]):
        findings = {x[c]: int(sure[c]) for c in cells}
        belief = fg.marginals(graph, findings, method="junction_tree")
        found = fg.log_partition(graph, findings, method="junction_tree")
        assert found == pytest.approx(belief.log_partition, abs=1e-12)
    # A variable all of whose readers have gone is a part of its own. Marginals need all, and are not asked here.
    assert left[1] >= 18 and left[1] > left[2] >= 6 and len(left) == 4


@pytest.mark.parametrize("seed", range(4))
def test_the_best_of_a_few_variables_sums_over_what_bears_on_them(seed, left, monkeypatch):
    graph = network(np.random.default_rng(seed), 24)
    x = graph["x"]
    sure = fg.sample(graph, 1, rng=seed)["x"][0]
    asked = {"asked": [x[2], x[5], x[9]], "latent": "marginalize", "method": "junction_tree"}
    best = fg.minimize(graph, {x[11]: int(sure[11])}, **asked)
    assert left[0] >= 10
    monkeypatch.setattr(barren, "LOOK", math.inf)
    whole = fg.minimize(graph, {x[11]: int(sure[11])}, **asked)
    assert left[1:] == [0]
    assert best.energy == pytest.approx(whole.energy, abs=1e-12) and best.exact
    assert [best[x[c]] for c in (2, 5, 9)] == [whole[x[c]] for c in (2, 5, 9)]


def test_what_was_rounded_stays(left):
    x = fg.output("x", shape=3, n_states=2)
    rows = [[0.3, 0.7], [0.123457, 0.876544]]  # the second has 1e-6 too much
    graph = fg.FactorGraph(
        [
            fg.Table.from_probabilities([x[0]], [0.25, 0.75]),
            fg.Table.from_probabilities([x[0], x[1]], rows),
            fg.Table.from_probabilities([x[1], x[2]], [[0.5, 0.5], [0.1, 0.9]]),
        ]
    )
    assert fg.log_partition(graph, method="junction_tree") == pytest.approx(math.log(1 + 0.75e-6), abs=1e-12)
    assert left == [1]
    # At another temperature nothing sums to one.
    hot = fg.log_partition(graph, beta=0.5, method="junction_tree")
    assert hot == pytest.approx(fg.log_partition(graph, beta=0.5, method="enumerate"), abs=1e-12)


def test_a_list_is_told_apart_sample_by_sample(left):
    graphs = [network(np.random.default_rng(s), 12, name=f"x{s}") for s in range(3)]
    findings = [{}, {graphs[1]["x1"][3]: 0}, {graphs[2]["x2"][11]: 1}]
    found = fg.log_partition(graphs, findings, method="junction_tree")
    alone = [fg.marginals(g, f, method="enumerate").log_partition for g, f in zip(graphs, findings)]
    np.testing.assert_allclose(found, alone, atol=1e-12)
    assert left[0] >= 12
    # The tree of what is left is kept until something else goes.
    assert fg.log_partition(graphs, findings, method="junction_tree") == found


@given(cases(forest=False), st.sampled_from([0.0, 0.5, 1.0, 3.0, math.inf]))
def test_a_sum_alone_is_that_of_marginals(case, beta):
    asked = {"parameters": case.parameters, "beta": beta, "method": "junction_tree"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(barren, "LOOK", 0)
        found = fg.log_partition(case.graph, case.given, **asked)
        best = fg.minimize(case.graph, case.given, latent="marginalize", **asked)
    whole = fg.marginals(case.graph, case.given, **asked)
    assert found == pytest.approx(whole.log_partition, rel=1e-10, abs=1e-10)
    again = fg.minimize(case.graph, case.given, latent="marginalize", **asked)
    assert best.status is again.status
    if best.feasible and math.isfinite(again.energy):
        assert best.energy == pytest.approx(again.energy, rel=1e-9, abs=1e-9)


def test_joints_need_marginals(left):
    y = fg.output("y", shape=3, n_states=2)
    graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.0), fg.Potts([y[0], y[2]], penalty=1.0)])
    alone = fg.log_partition(graph, method="junction_tree")
    assert fg.log_partition(graph, method="junction_tree", joint=[(y[0], y[2])]) == alone
    with pytest.raises(fg.MethodError, match='has no option "alone"'):
        fg.marginals(graph, alone=True)
    with pytest.raises(fg.MethodError, match='has no option "alone"'):
        fg.log_partition(graph, alone=True)
