"""Diverse answers against brute force: the greedy choice along the order of all assignments."""

from __future__ import annotations

import importlib
import warnings

import numpy as np
import pytest
from checks import joint_of
from order import asked_by_default, columns_of, far_apart, in_order
from strategies import case_of

import factorgraph_ebm as fg

questions = importlib.import_module("factorgraph_ebm.questions.diverse")

INTEGRAL = ["integer", "integer forbidden", "tied"]


def chosen_by_brute_force(case, k, distance):
    joint = joint_of(case)
    cells = asked_by_default(case, joint)
    rows, energies = in_order(joint, cells)
    ranks = far_apart(rows, k, distance)
    return joint, cells, ranks, rows[ranks], energies[ranks]


def check_choice(case, results, k, distance):
    joint, cells, ranks, rows, energies = chosen_by_brute_force(case, k, distance)
    assert [r.rank for r in results] == ranks
    assert [columns_of(r, joint, cells) for r in results] == rows.tolist()
    assert [r.energy for r in results] == energies.tolist()


@pytest.mark.parametrize("distance", [1, 2, 3, 5])
@pytest.mark.parametrize("block", range(3))
def test_drawn_graphs(block, distance):
    for seed in range(80_000 + 25 * block, 80_025 + 25 * block):
        case = case_of(seed, forest=seed % 2 == 0, kinds=INTEGRAL)
        k = 1 + seed % 6
        check_choice(case, fg.diverse(case.graph, k, distance, case.given, parameters=case.parameters), k, distance)


@pytest.mark.parametrize("distance", [1, 2, 4])
def test_lists(distance):
    drawn = [case_of(81_000 + i, forest=i % 2 == 0, kinds=INTEGRAL, prefix=f"{i} ") for i in range(20)]
    parameters = {name: value for case in drawn for name, value in case.parameters.items()}
    lists = [case.graph for case in drawn], 4, distance, [case.given for case in drawn]
    for case, results in zip(drawn, fg.diverse(*lists, parameters=parameters), strict=True):
        check_choice(case, results, 4, distance)


def ladder(n: int = 10) -> fg.FactorGraph:
    """Cell i costs 2^i: energies are numbers, and states their binary digits."""
    y = fg.output("y", shape=n, n_states=2)
    return fg.FactorGraph([fg.Table([y], energies=np.stack([np.zeros(n), 2.0 ** np.arange(n)], axis=1))])


def test_a_walk_that_needs_several_rounds():
    found = fg.diverse(ladder(), 2, 10)
    assert [r.energy for r in found] == [0.0, 1023.0]
    # The lexicodes of Conway and Sloane (1986) with distance 3: 0, 7, 25, 30, 42, 45, ...
    assert [r.energy for r in fg.diverse(ladder(), 6, 3)] == [0.0, 7.0, 25.0, 30.0, 42.0, 45.0]


def test_a_walk_that_ends_says_so():
    with pytest.warns(fg.ConvergenceWarning, match="1 of 2 diverse answers among its 500 best.*limit=1000") as caught:
        found = fg.diverse(ladder(), 2, 10, limit=500, method="enumerate")
    assert [r.energy for r in found] == [0.0] and len(caught) == 1 and caught[0].filename == __file__
    with pytest.warns(fg.ConvergenceWarning, match="sample 1 has 1 of 2.*1 of 3 samples"):
        lists = fg.diverse([ladder(3), ladder(10), ladder(4)], 2, 10, limit=500, method="enumerate")
    assert [[r.energy for r in found] for found in lists] == [[0.0], [0.0], [0.0]]


def by_counters(case, k, distance, monkeypatch):
    """The answers where only the best comes from a walk."""
    with monkeypatch.context() as patched:
        patched.setattr(questions, "FIRST", 1)
        patched.setattr(questions, "SHORT", 1)
        patched.setattr(questions, "_apart", lambda states, wanted, apart: [0] if len(states) else [])
        return fg.diverse(
            case.graph, k, distance, case.given, parameters=case.parameters, method="junction_tree", limit=1
        )


@pytest.mark.parametrize("distance", [1, 2, 3])
def test_counters_find_what_the_walk_finds(distance, monkeypatch):
    counted = 0
    for seed in range(82_000, 82_040):
        case = case_of(seed, forest=seed % 2 == 0, kinds=INTEGRAL, limit=400)
        k = 1 + seed % 5
        results = by_counters(case, k, distance, monkeypatch)
        _, _, ranks, rows, energies = chosen_by_brute_force(case, k, distance)
        joint = joint_of(case)
        cells = asked_by_default(case, joint)
        assert [r.energy for r in results] == energies.tolist()
        assert [columns_of(r, joint, cells) for r in results] == rows.tolist()
        assert [r.rank for r in results] == ranks[:1] + [None] * (len(ranks) - 1)
        assert all(r.lower_bound == pytest.approx(energies[0]) for r in results)
        counted += len(ranks) > 1
    assert counted > 10


def farthest_on_a_chain(unary, pair, others, distance):
    """Least energy by the chain's own recursion over (state, cells that differ from each so far)."""
    best = {}
    for i, row in enumerate(unary):
        before = best if i else {(0, (0,) * len(others)): 0.0}
        best = {}
        for (state, counts), energy in before.items():
            for after, own in enumerate(row):
                moved = tuple(min(c + (after != other[i]), distance) for c, other in zip(counts, others))
                total = energy + own + (pair[i - 1, state, after] if i else 0.0)
                key = after, moved
                best[key] = min(best.get(key, np.inf), total)
    return min(energy for (_, counts), energy in best.items() if min(counts) == distance)


def test_far_apart_on_a_long_chain():
    rng = np.random.default_rng(0)
    n, k, distance = 50, 3, 10
    unary, pair = 3.0 * rng.normal(size=(n, k)), 0.3 * rng.normal(size=(n - 1, k, k))
    y = fg.output("y", shape=n, n_states=k)
    graph = fg.FactorGraph([fg.Table([y], energies=unary), fg.Table([y[:-1], y[1:]], energies=pair)])
    found = fg.diverse(graph, 3, distance)
    assert [each.rank for each in found] == [0, None, None]
    for m in (1, 2):
        others = [each["y"] for each in found[:m]]
        assert min((found[m]["y"] != other).sum() for other in others) >= distance
        expected = farthest_on_a_chain(unary, pair, others, distance)
        assert found[m].energy == pytest.approx(expected, rel=1e-12)
    second = found[1]
    assert "rank unknown" in repr(second) and second.gap == pytest.approx(second.energy - found[0].energy, rel=1e-9)


def test_where_counters_do_not_fit_the_walk_goes_on():
    y = fg.output("y", shape=(24, 24), n_states=2)
    rng = np.random.default_rng(0)
    graph = fg.FactorGraph([fg.Table([y], energies=rng.normal(size=(24, 24, 2)))])
    with pytest.warns(fg.ConvergenceWarning, match="1 of 2 diverse answers among its 2,000 best"):
        assert len(fg.diverse(graph, 2, 500, limit=2000)) == 1


def test_fewer_without_a_warning_where_there_are_no_more():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [r.energy for r in fg.diverse(ladder(3), 5, 3)] == [0.0, 7.0]
        assert [r.energy for r in fg.diverse(ladder(3), 5, 4)] == [0.0]
        assert [r.energy for r in fg.diverse(ladder(60), 5, 61)] == [0.0]
        y = fg.output("y", n_states=2)
        nothing = fg.FactorGraph([fg.Table([y], energies=[np.inf, np.inf])])
        assert fg.diverse(nothing, 3, 1) == [] == fg.diverse([], 3, 1)


def test_only_what_is_asked_counts():
    y, z = fg.output("y", shape=2, n_states=2), fg.latent("z", shape=4, n_states=2)
    graph = fg.FactorGraph([
        fg.Table([y], energies=[0.0, 4.0]),
        fg.Table([z], energies=[0.0, 1.0]),
        fg.Potts([y[:1], z[:1]], penalty=2.0),
    ])  # fmt: skip
    assert [(r.energy, r["y"].tolist()) for r in fg.diverse(graph, 3, 2)] == [(0.0, [0, 0]), (9.0, [1, 1])]
    asked = fg.diverse(graph, 2, 2, asked=["z"])
    assert [r["z"].tolist() for r in asked] == [[0, 0, 0, 0], [0, 0, 1, 1]]


@pytest.mark.parametrize(
    "keywords, said",
    [
        ({"distance": 0}, "distance, the number of cells that differ, is an int from 1, not 0"),
        ({"distance": 1.5}, "not 1.5"),
        ({"k": 0}, "k, the number of results"),
        ({"limit": 0}, "limit= is an int from 1"),
        ({"latent": "marginalize"}, "no latent="),
        ({"method": "bp"}, "cannot answer k_best"),
    ],
)
def test_what_cannot_be_asked(keywords, said):
    with pytest.raises(fg.MethodError, match=said):
        fg.diverse(ladder(3), **{"k": 2, "distance": 1, **keywords})
