"""The k best in order, against brute force: every method that can list them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from checks import joint_of, states_of
from hypothesis import given
from hypothesis import strategies as st
from oracle import EPSILON
from order import asked_by_default, columns_of, in_order
from strategies import Case, case_of, cases

import factorgraph_ebm as fg
from factorgraph_ebm.inference import METHODS, ranked_trees

ABLE = sorted(name for name, method in METHODS.items() if method.k_best is not None)
K = 20


def check_order(case: Case, results, cells: list[int] | None = None) -> None:
    """The first K in order, each with the best completion; equal energies by states where sums are exact."""
    joint = joint_of(case)
    cells = asked_by_default(case, joint) if cells is None else cells
    rows, energies = in_order(joint, cells)
    assert len(results) == min(K, len(rows))
    slack = 1e-12 * max(1.0, np.abs(energies).max(initial=0.0)) + 8 * EPSILON * joint.mass
    for rank, (best, row, energy) in enumerate(zip(results, rows, energies)):
        assert best.rank == rank and best.status is fg.Status.OPTIMAL and best.exact and best.feasible
        assert fg.energy(case.graph, best, parameters=case.parameters) == best.energy
        states = states_of(case, best)
        assert all(states[cell] == state for cell, state in joint.known.items())
        assert abs(best.energy - energy) <= slack, (rank, best.energy, energy)
        assert best.lower_bound <= best.energy and abs(best.lower_bound - energies[0]) <= slack
        if case.integral:
            assert best.energy == energy
            assert columns_of(best, joint, cells) == row.tolist(), rank
    assert len({tuple(columns_of(best, joint, cells)) for best in results}) == len(results)


@pytest.mark.parametrize("method", ABLE)
@pytest.mark.parametrize("block", range(6))
def test_drawn_graphs(block, method):
    for seed in range(60_000 + 40 * block, 60_040 + 40 * block):
        case = case_of(seed, forest=seed % 2 == 0)
        try:
            check_order(case, fg.k_best(case.graph, K, case.given, parameters=case.parameters, method=method))
        except Exception as problem:
            raise AssertionError(f"case_of({seed}, forest={seed % 2 == 0})\n{case!r}") from problem


@given(cases(forest=False))
def test_shrinkable_graphs(case):
    check_order(case, fg.k_best(case.graph, K, case.given, parameters=case.parameters))


@given(cases(forest=False, kinds=["tied", "integer", "integer forbidden"], given=0), st.integers(0, 2**20))
def test_ties_and_what_is_asked(case, seed):
    """Any cells can be asked about; the rest is minimised over, and what differs only there counts once."""
    joint = joint_of(case)
    rng = np.random.default_rng(seed)
    chosen = [c for c in range(len(joint.where.cell_states)) if rng.random() < 0.5]
    names = [(name, i) for name, v in joint.where.variables.items() for i in range(v.size)]
    asked = [case.graph[names[c][0]].ravel()[names[c][1]] for c in chosen]
    cells = [c for c in chosen if c not in joint.known]
    found = fg.k_best(case.graph, K, case.given, asked=asked, parameters=case.parameters)
    check_order(case, found, cells)


@pytest.mark.parametrize("method", ABLE)
@pytest.mark.parametrize("group", range(4))
def test_lists(group, method):
    drawn = [case_of(61_000 + 10 * group + i, forest=i % 3 != 0, prefix=f"{i} ") for i in range(10)]
    parameters = {name: value for case in drawn for name, value in case.parameters.items()}
    lists = [case.graph for case in drawn], K, [case.given for case in drawn]
    for case, results in zip(drawn, fg.k_best(*lists, parameters=parameters, method=method), strict=True):
        check_order(case, results)


def test_what_differs_in_a_latent_only_counts_once():
    y, z = fg.output("y", n_states=3), fg.latent("z", n_states=2)
    graph = fg.FactorGraph([fg.Table([y, z], energies=[[5.0, 4.0], [1.0, 0.0], [3.0, 2.0]])])
    found = fg.k_best(graph, 9)
    assert [(int(b["y"]), int(b["z"]), b.energy) for b in found] == [(1, 1, 0.0), (2, 1, 2.0), (0, 1, 4.0)]
    both = fg.k_best(graph, 3, asked=["y", "z"])
    assert [(int(b["y"]), int(b["z"])) for b in both] == [(1, 1), (1, 0), (2, 1)]
    held = fg.k_best(graph, 9, {"y": 0})  # nothing is asked that is not given
    assert [(int(b["y"]), int(b["z"])) for b in held] == [(0, 1)]


def test_infeasible_graphs_and_empty_lists_have_none():
    y = fg.output("y", n_states=2)
    nothing = fg.FactorGraph([fg.Table([y], energies=[math.inf, math.inf])])
    something = fg.FactorGraph([fg.Table([y], energies=[math.inf, 1.0])])
    assert fg.k_best(nothing, 3) == [] == fg.k_best([], 3)
    found = fg.k_best([nothing, something], 3)
    assert found[0] == [] and [b.energy for b in found[1]] == [1.0]
    constant = fg.FactorGraph([fg.Table([], energies=np.array(math.inf))])
    assert fg.k_best(constant, 3) == []


def test_one_assignment():
    (only,) = fg.k_best(fg.FactorGraph([]), 5)
    assert only.energy == 0.0 and len(only) == 0
    y = fg.output("y", shape=3, states=["only"])
    (only,) = fg.k_best(fg.FactorGraph([fg.Table([y], energies=[2.0])]), 5)
    assert only.energy == 6.0 and only["y"].tolist() == ["only"] * 3


def test_many_independent_parts():
    """500 variables in 500 parts: the k best flip few of them, and are found from sums under a hyperbola."""
    rng = np.random.default_rng(0)
    y = fg.output("y", shape=500, n_states=2)
    excess = rng.permutation(np.arange(1.0, 501.0))
    graph = fg.FactorGraph([fg.Table([y], energies=np.stack([np.zeros(500), excess], axis=1))])
    found = fg.k_best(graph, 200)
    # Energy e is reached by as many flips as e has partitions into distinct parts: 1, 1, 1, 2, 2, 3, 4, 5, 6, 8, ...
    energies = [b.energy for b in found]
    assert energies == sorted(energies)
    assert [energies.count(e) for e in range(12)] == [1, 1, 1, 2, 2, 3, 4, 5, 6, 8, 10, 12]
    assert all((excess * b["y"]).sum() == b.energy for b in found)
    states = [b["y"].tolist() for b in found]
    assert [s for e in range(12) for s in sorted(s for s, b in zip(states, found) if b.energy == e)] == states[:55]


@given(cases(forest=False), st.sampled_from([1, 7, 60]))
def test_lists_made_in_slices_are_the_same(case, budget):
    """Between slices Python hears of Ctrl-C; a slice may end in the middle of a node."""
    asked = {"parameters": case.parameters, "method": "junction_tree"}
    whole = fg.k_best(case.graph, K, case.given, **asked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranked_trees, "SLICE", budget)
        sliced = fg.k_best(case.graph, K, case.given, **asked)
    assert [best.energy for best in whole] == [best.energy for best in sliced]
    for one, two in zip(whole, sliced):
        np.testing.assert_array_equal(states_of(case, one), states_of(case, two))


def test_no_call_looks_at_much_more_than_a_slice(monkeypatch):
    """2^8 lists of 64 energies at each of some 150 nodes of a grid: Python hears of Ctrl-C within a node."""
    rng = np.random.default_rng(0)
    y = fg.output("y", shape=(8, 10), n_states=2)
    pairs = [fg.Table(pair, rng.normal(size=(2, 2))) for pair in ([y[1:], y[:-1]], [y[:, 1:], y[:, :-1]])]
    graph = fg.FactorGraph([fg.Table([y], rng.normal(size=(8, 10, 2))), *pairs])
    calls, kernel = [], ranked_trees.rank_up

    def watched(*arguments):
        kernel(*arguments)
        calls.append(1)
        if len(calls) == 20:
            raise KeyboardInterrupt

    monkeypatch.setattr(ranked_trees, "SLICE", 1 << 12)
    monkeypatch.setattr(ranked_trees, "rank_up", watched)
    with pytest.raises(KeyboardInterrupt):
        fg.k_best(graph, 64, method="junction_tree")
    found = fg.k_best(graph, 64, method="junction_tree")
    assert len(calls) > 20 + 64
    assert [best.energy for best in found] == sorted(best.energy for best in found)


def test_results_are_results():
    y, x = fg.output("y", shape=2, states=["a", "b"]), fg.observed("x", dim=2)
    graph = fg.FactorGraph([fg.Table([y[0]], energies=x), fg.Potts([y[:1], y[1:]], penalty=0.5)])
    found = fg.k_best(graph, 4, {"x": [0.0, 3.0]})
    assert [b["y"].tolist() for b in found] == [["a", "a"], ["a", "b"], ["b", "b"], ["b", "a"]]
    second = found[1]
    assert list(second) == ["y", "x"] or list(second) == ["x", "y"]
    assert second.indices["y"].tolist() == [0, 1] and second["x"].tolist() == [0.0, 3.0]
    assert (second.energy, second.lower_bound, second.gap) == (0.5, 0.0, 0.5) and second.check() is second
    assert found[0].gap == 0.0
    assert repr(second).startswith("<RankedResult: energy 0.5, rank 1, optimal by ")
    assert fg.minimize(graph, {"x": [0.0, 3.0]}, start=second).energy == 0.0
    assert fg.rank(graph, [{"y": b["y"]} for b in reversed(found)], {"x": [0.0, 3.0]}).order.tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize(
    "keywords, said",
    [
        ({"k": 0}, "k, the number of results, is an int from 1, not 0"),
        ({"k": 2.0}, "not 2.0"),
        ({"k": True}, "not True"),
        ({"latent": "marginalize"}, "cannot sum variables out.*rank"),
        ({"latent": "sum"}, 'latent= is "minimize"'),
        ({"method": "icm"}, "cannot answer k_best.*'enumerate'"),
        ({"method": "bb"}, "no method"),
        ({"damping": 0.5}, 'method "auto" has no option "damping"'),
        ({"threads": 0}, "threads="),
    ],
)
def test_what_cannot_be_asked(keywords, said):
    y = fg.output("y", n_states=2)
    with pytest.raises(fg.MethodError, match=said):
        fg.k_best(fg.FactorGraph([], variables=[y]), **{"k": 3, **keywords})


def test_auto_asks_every_method_before_it_enumerates(monkeypatch):
    y = fg.output("y", shape=13, n_states=2)
    graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.0)])  # not tiny: 2^13 entries

    def refuse(problem, k, asked):
        raise fg.MethodError("too wide.")

    def answer(problem, k, asked, effort):
        return METHODS["enumerate"].k_best(problem, k, asked)._replace(method=f"another {effort}")

    narrow = METHODS["icm"]._replace(name="narrow", k_best=refuse, options={}, check=None)
    # Registered last, they come before enumeration all the same.
    monkeypatch.setitem(METHODS, "narrow", narrow)
    monkeypatch.setitem(METHODS, "junction_tree", METHODS["junction_tree"]._replace(k_best=None))
    assert fg.k_best(graph, 1)[0].method == "enumerate"
    with pytest.raises(fg.MethodError, match="^too wide.$"):
        fg.k_best(graph, 1, method="narrow")
    another = METHODS["icm"]._replace(name="another", k_best=answer, options={"effort": 3}, check=None)
    monkeypatch.setitem(METHODS, "another", another)
    assert fg.k_best(graph, 1)[0].method == "another 3"
    assert fg.k_best(graph, 1, effort=5)[0].method == "another 5"
    assert fg.k_best(graph, 1, method="enumerate")[0].method == "enumerate"
    wide = fg.FactorGraph([fg.Potts([y[0], fg.output("z", shape=30, n_states=2)], penalty=1.0)])
    monkeypatch.delitem(METHODS, "another")
    with pytest.raises(fg.MethodError, match="no method can answer k_best: too wide. method \"enumerate\" would need"):
        fg.k_best(wide, 1)


def test_a_graph_that_is_too_large_says_what_to_try():
    y = fg.output("y", shape=(9, 9), n_states=2)
    grid = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.0), fg.Potts([y[:, 1:], y[:, :-1]], penalty=1.0)])
    with pytest.raises(fg.MethodError, match=r"2 \*\* 84 bytes for a connected part of 81 variables.*given="):
        fg.k_best(grid, 3, method="enumerate")
    found = fg.k_best(grid, 2, {y[1::2]: np.zeros((4, 9), int), y[:, 1::2]: np.zeros((9, 4), int)}, method="enumerate")
    assert [b.energy for b in found] == [0.0, 2.0]
