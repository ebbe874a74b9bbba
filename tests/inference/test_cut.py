"""Minimum cuts against brute force, and what they refuse."""

from __future__ import annotations

import json

import numpy as np
import pytest
from checks import quietly
from conftest import DATA
from cuts import drawn

import factorgraph_ebm as fg
from factorgraph_ebm.engine import max_flow
from factorgraph_ebm.inference import fusion


def check(case, best):
    """Proved, the least, and of several the lowest."""
    if case.least == np.inf:
        assert best.status is fg.Status.INFEASIBLE
        return
    assert best.status is fg.Status.OPTIMAL
    assert abs(best.energy - case.least) <= 1e-13 * case.mass
    assert best.lower_bound == best.energy
    if case.kind.startswith("integer") or case.kind == "nothing":
        assert best.energy == case.least
        assert best.indices["y"].tolist() == case.lowest.tolist()


@pytest.mark.parametrize("block", range(20))
def test_a_thousand_drawn_graphs(block):
    """Forbidden entries, single cells, pairs that occur twice, given cells; zero, tiny, huge and mixed energies."""
    for seed in range(50 * block, 50 * block + 50):
        case = drawn(seed)
        try:
            check(case, fg.minimize(case.graph, case.given, method="cut"))
        except Exception as problem:
            raise AssertionError(f"drawn({seed})") from problem


def test_lists_are_as_good_as_single_graphs():
    """Tiny beside huge, infeasible beside feasible: units are those of a component, and so is what is impossible."""
    for first in range(2000, 2200, 40):
        cases = [drawn(seed) for seed in range(first, first + 40)]
        found = fg.minimize([c.graph for c in cases], [c.given for c in cases], method="cut")
        for case, best in zip(cases, found, strict=True):
            check(case, best)


def attractive_grid(height, width, rng, n_states=2):
    y = fg.output("y", shape=(height, width), n_states=n_states)
    down, right = rng.exponential(size=(height - 1, width)), rng.exponential(size=(height, width - 1))
    return fg.FactorGraph([
        fg.Table([y], energies=rng.normal(size=(height, width, n_states))),
        fg.Potts([y[1:], y[:-1]], penalty=down, name="down"),
        fg.Potts([y[:, 1:], y[:, :-1]], penalty=right, name="right"),
    ])  # fmt: skip


def test_larger_graphs_equal_a_junction_tree():
    rng = np.random.default_rng(1)
    for size in (5, 9, 13):
        graph = attractive_grid(size, 2 * size, rng)
        cut, tree = (fg.minimize(graph, method=m) for m in ("cut", "junction_tree"))
        assert cut.exact and abs(cut.energy - tree.energy) <= 1e-12 * abs(tree.energy)


def test_dense_graphs_with_ties_equal_a_junction_tree():
    rng = np.random.default_rng(2)
    for n in (6, 12, 16):
        y = fg.output("y", shape=n, n_states=2)
        i, j = np.triu_indices(n, 1)
        tables = rng.integers(0, 4, (len(i), 2, 2)).astype(float)
        tables[:, 0, 1] += 6
        unary = rng.integers(-9, 9, (n, 2)) * 3.0
        graph = fg.FactorGraph([fg.Table([y], unary), fg.Table([y[i], y[j]], tables)])
        cut, tree = (fg.minimize(graph, method=m) for m in ("cut", "junction_tree"))
        assert cut.energy == tree.energy


def test_hard_constraints_reach_along_chains():
    """Implications and equalities through arcs that no flow fills, from forced cells and between free ones."""
    y = fg.output("y", shape=300, n_states=2)
    implied = fg.Table([y[:-1], y[1:]], energies=[[0.0, 0.0], [np.inf, 0.0]])
    rng = np.random.default_rng(3)
    unary = rng.normal(size=(300, 2))
    graph = fg.FactorGraph([fg.Table([y], energies=unary), implied])
    best = fg.minimize(graph, method="cut")
    sums = np.concatenate([[0], np.cumsum(unary[:, 0])]) + np.concatenate([np.cumsum(unary[::-1, 1])[::-1], [0]])
    assert best.energy == pytest.approx(sums.min(), abs=1e-12) and best.exact
    assert (best["y"] == (np.arange(300) >= sums.argmin())).all()
    assert fg.minimize(graph, {y[7]: 1}, method="cut")["y"][7:].all()
    assert fg.minimize(graph, {y[7]: 1, y[8]: 0}, method="cut").status is fg.Status.INFEASIBLE
    equal = fg.FactorGraph([fg.Table([y], energies=unary), fg.Potts([y[1:], y[:-1]], penalty=np.inf)])
    assert fg.minimize(equal, method="cut").energy == pytest.approx(unary.sum(axis=0).min(), abs=1e-11)


@pytest.mark.parametrize("name", ["horse_64", "horse_full", "coins_contrast", "text_noise10"])
def test_pictures_equal_their_references(name):
    file = DATA / "mrf" / "binary" / f"{name}.npz"
    if not file.exists():
        pytest.skip("the pictures are not here")
    picture = np.load(file)
    y = fg.output("y", shape=picture["U0"].shape, n_states=2)
    graph = fg.FactorGraph([
        fg.Table([y], energies=np.stack([picture["U0"], picture["U1"]], axis=-1).astype(float)),
        fg.Potts([y[:, :-1], y[:, 1:]], penalty=picture["w_h"][:, : y.shape[1] - 1].astype(float)),
        fg.Potts([y[:-1], y[1:]], penalty=picture["w_v"][: y.shape[0] - 1].astype(float)),
    ])  # fmt: skip
    for method in ("cut", "auto", "expansion"):
        best = fg.minimize(graph, method=method)
        assert best.exact and best.energy == float(picture["energy"])
    assert json.loads((DATA / "mrf" / "binary" / "reference.json").read_text())


def test_refusals_name_the_factor_and_say_what_to_write():
    y, z = fg.output("y", shape=3, n_states=2), fg.output("z", n_states=5)
    pull = fg.Potts([y[:2], y[1:]], penalty=1.0)
    push = fg.Potts([y[:2], y[1:]], penalty=[1.0, -2.0], name="push")
    both = r'"cut".*factor 0 \(Potts\) .*factor "push" \[1\] over y\[1\], y\[2\].*"bp"'
    with pytest.raises(fg.MethodError, match=both):
        fg.minimize(fg.FactorGraph([pull, push]), method="cut")
    weak = fg.Potts([y[:2], y[1:]], penalty=[1.0, -0.5])
    assert fg.minimize(fg.FactorGraph([pull, weak]), method="cut").exact  # together they attract
    with pytest.raises(fg.MethodError, match=r'factor "push" \[1\] over .* of sample 1 does not.*"bp"'):
        fg.minimize([fg.FactorGraph([pull]), fg.FactorGraph([push])], method="cut")
    with pytest.raises(fg.MethodError, match=r"at most two variables.*factor 0 \(Parity\) over y\[0\], y\[1\], y\[2\]"):
        fg.minimize(fg.FactorGraph([fg.Parity([y[0], y[1], y[2]])]), method="cut")
    with pytest.raises(fg.MethodError, match='one has 5.*"expansion"'):
        fg.minimize(fg.FactorGraph([fg.Table([z], energies=np.zeros(5))]), method="cut")
    with pytest.raises(fg.MethodError, match='latent="marginalize"'):
        fg.minimize(fg.FactorGraph([pull]), asked=y[0], latent="marginalize", method="cut")
    with pytest.raises(fg.MethodError, match="no option"):
        fg.minimize(fg.FactorGraph([pull]), method="cut", damping=0.5)
    with pytest.raises(fg.MethodError, match="cannot answer marginals"):
        fg.marginals(fg.FactorGraph([pull]), method="cut")
    with pytest.raises(fg.MethodError, match="min-marginals"):
        fg.min_marginals(fg.FactorGraph([pull]), method="cut")["y"]


def test_rounded_sums_are_no_reason_to_refuse():
    """0.1 + 0.2 is more than 0.3: a table that adds up single energies attracts by nothing, or by less than nothing."""
    y = fg.output("y", shape=2, n_states=2)
    table = np.add.outer([0.0, 0.1], [0.0, 0.2])
    assert table[0, 0] + table[1, 1] > 0.3
    table[0, 1], table[1, 0] = 0.2, 0.1
    assert fg.minimize(fg.FactorGraph([fg.Table([y[0], y[1]], energies=table)]), method="cut").exact
    table[1, 1] = 0.3 + 1e-12
    with pytest.raises(fg.MethodError, match="attract"):
        fg.minimize(fg.FactorGraph([fg.Table([y[0], y[1]], energies=table)]), method="cut")


def test_what_rounding_may_have_lost_is_not_called_proved():
    """One pair of 1 among 300,000 of 1e-8: their units are too large for them, and the bound says by how much."""
    n = 300_000
    y = fg.output("y", shape=n, n_states=2)
    penalty = np.full(n - 1, 1e-8)
    penalty[0] = 1.0
    unary = np.random.default_rng(8).normal(scale=1e-8, size=(n, 2))
    graph = fg.FactorGraph([fg.Table([y], energies=unary), fg.Potts([y[1:], y[:-1]], penalty=penalty)])
    best, least = fg.minimize(graph, method="cut"), fg.minimize(graph)
    assert best.status is fg.Status.CONVERGED and least.exact
    assert best.lower_bound < least.energy <= best.energy < best.lower_bound + 1e-10


def test_time_that_is_up_gives_a_bound_and_the_best_so_far(monkeypatch):
    monkeypatch.setattr(fusion, "FIRST", 2000)
    graph = attractive_grid(60, 60, np.random.default_rng(4))
    unary = graph.factors[0].slots[0].source.evaluate({})
    least = fg.minimize(graph, method="cut")
    start = {"y": least["y"]}
    late = quietly(fg.minimize, graph, method="cut", time_limit=0)
    assert late.status is fg.Status.TIME_LIMIT and late.lower_bound < least.energy < late.energy
    assert late.energy <= fg.energy(graph, {"y": unary.argmin(axis=-1)})
    again = quietly(fg.minimize, graph, method="cut", time_limit=0, start=start)
    assert again.energy == least.energy and not again.exact


def test_stamps_begin_again(monkeypatch):
    """Where more nodes are looked at than a stamp can count."""
    graph = attractive_grid(20, 20, np.random.default_rng(5))
    least = fg.minimize(graph, method="cut").energy
    begin = fusion.begin_flow

    def late(excess, node, queue, cursor):
        begin(excess, node, queue, cursor)
        cursor[0] = int(max_flow.LATEST) - 40

    monkeypatch.setattr(fusion, "begin_flow", late)
    assert fg.minimize(graph, method="cut").energy == least


def test_auto_cuts_what_is_wide_and_attracts():
    rng = np.random.default_rng(6)
    graph = attractive_grid(40, 40, rng)
    best = fg.minimize(graph)
    assert (best.method, best.status) == ("cut", fg.Status.OPTIMAL)
    assert fg.minimize(graph, method="bp").energy >= best.energy
    plan = fg.plan(graph)
    assert (plan.method, plan.exact, plan.reason) == ("cut", True, "not a forest, and all pairs attract")
    assert [each.split(":")[0] for each in plan.ruled_out] == ["enumerate", "junction_tree"]
    y = graph["y"]
    repels = fg.FactorGraph([*graph.factors, fg.Potts([y[0, 0], y[1, 1]], penalty=-1.0)])
    assert quietly(fg.minimize, repels).method == fg.plan(repels).method == "bp"
    pairs = {"down": [y[1:], y[:-1]], "right": [y[:, 1:], y[:, :-1]]}
    down, right = (fg.Potts(scope, penalty=fg.Parameter(name)) for name, scope in pairs.items())
    unknown = fg.FactorGraph([graph.factors[0], down, right])
    plan = fg.plan(unknown)
    assert (plan.method, plan.exact) == ("bp", False) and "where all pairs attract, cut instead" in plan.reason
    for penalty, method in ((1.0, "cut"), (-1.0, "bp")):
        assert fg.plan(unknown, parameters={"down": penalty, "right": 1.0}).method == method
    assert quietly(fg.min_marginals, graph).method == "bp"
    assert quietly(fg.minimize, graph, damping=0.5).method == "bp"
    assert quietly(fg.marginals, graph).method == "bp"
    assert "cut" not in fg.plan(graph, "marginals").reason
    assert fg.plan(attractive_grid(40, 40, rng, 3)).method == "bp"
