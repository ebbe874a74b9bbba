"""What must not change an answer, or must change it in a known way: no oracle needed, so loopy graphs too.

Every drawn graph is first rewritten as one array and one ragged Table, then transformed: states relabelled,
cells permuted, factors split, energies shifted or scaled, evidence sliced away, graphs put side by side.
Loopy belief propagation is run for a fixed number of flooding sweeps, so that both sides are the same
computation.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from checks import joint_of, quietly
from oracle import layout, terms
from strategies import Case, case_of

import factorgraph_ebm as fg

KINDS = ["normal", "forbidden", "integer", "integer forbidden"]
SEEDS = range(40)
SWEEPS = {"method": "bp", "schedule": "flooding", "tolerance": 0.0, "max_iterations": 6}


def flat(case: Case) -> tuple[list[int], list[tuple[tuple[int, ...], np.ndarray]]]:
    """Cardinalities of all cells, and every factor as (cells, table)."""
    return layout(case.graph).cell_states.tolist(), [(t.cells, t.table) for t in terms(case.graph, case.values)]


def build(states, factors):
    y = fg.output("y", shape=len(states), n_states=np.array(states, int))
    return fg.FactorGraph(
        [fg.Table(y, members=[list(c) for c, _ in factors], energies=[t for _, t in factors])], variables=[y]
    )


def held(case: Case) -> dict:
    joint = joint_of(case)
    return joint.known


def answers(graph, given=None, **options):
    belief = quietly(fg.marginals, graph, given, **options)
    feasible = belief.status is not fg.Status.INFEASIBLE
    return (np.asarray(belief["y"]) if feasible else None), belief.log_partition


def same(one, two, shift=0.0, tolerance=1e-9):
    assert (one[0] is None) == (two[0] is None)
    if one[0] is not None:
        np.testing.assert_allclose(one[0], two[0], atol=tolerance, rtol=0)
    if math.isfinite(two[1]):
        assert one[1] == pytest.approx(two[1] + shift, rel=tolerance, abs=tolerance)
    else:
        assert one[1] == two[1]


def drawn(seed):
    """(states, factors, given): every second graph is loopy; known cells stay known."""
    case = case_of(11_000 + seed, forest=seed % 2 == 0, kinds=KINDS)
    states, factors = flat(case)
    y = [-1] * len(states)
    for cell, state in held(case).items():
        y[cell] = state
    return states, factors, {"y": np.array(y, int)}


@pytest.mark.parametrize("seed", SEEDS)
def test_declaring_otherwise(seed):
    """Views, edge lists, parameters and structures are ways of writing: one ragged Table says the same."""
    case = case_of(12_000 + seed, forest=seed % 2 == 0, kinds=KINDS)
    states, factors = flat(case)
    where = layout(case.graph)
    y = np.full(len(states), -1)
    for cell, state in held(case).items():
        y[cell] = state
    mine = quietly(fg.marginals, case.graph, case.given, parameters=case.parameters, **SWEEPS)
    theirs = quietly(fg.marginals, build(states, factors), {"y": y}, **SWEEPS)
    assert mine.log_partition == pytest.approx(theirs.log_partition, rel=1e-9, abs=1e-9)
    if theirs.status is fg.Status.INFEASIBLE:
        return
    for name, variable in where.variables.items():
        width = int(np.max(variable.n_states, initial=0))
        rows = theirs["y"][where.offset[name] : where.offset[name] + variable.size, :width]
        np.testing.assert_allclose(mine[name].reshape(rows.shape), rows, atol=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_relabelling_states(seed):
    states, factors, given = drawn(seed)
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(k) for k in states]
    moved = [(c, t[np.ix_(*(orders[i] for i in c))]) for c, t in factors]
    y = np.array([np.flatnonzero(o == s)[0] if s >= 0 else -1 for o, s in zip(orders, given["y"], strict=True)], int)
    one, two = (
        answers(build(states, factors), given, **SWEEPS),
        answers(build(states, moved), {"y": y}, **SWEEPS),
    )
    if one[0] is not None:
        back = one[0].copy()
        for i, order in enumerate(orders):
            back[i, : len(order)] = one[0][i, order]
        one = (back, one[1])
    same(one, two)


@pytest.mark.parametrize("seed", SEEDS)
def test_permuting_cells_and_factors(seed):
    states, factors, given = drawn(seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(states))  # new place -> old cell
    place = np.argsort(order)
    moved = [(tuple(int(place[c]) for c in cells), t) for cells, t in factors]
    moved = [moved[i] for i in rng.permutation(len(moved))]
    one = answers(build(states, factors), given, **SWEEPS)
    two = answers(build([states[c] for c in order], moved), {"y": given["y"][order]}, **SWEEPS)
    same((None if one[0] is None else one[0][order], one[1]), two)


@pytest.mark.parametrize("seed", SEEDS)
def test_splitting_a_factor(seed):
    """T = A + (T - A), as two declarations on one scope, in another order of its cells."""
    states, factors, given = drawn(seed)
    rng = np.random.default_rng(seed)
    split = []
    for cells, table in factors:
        part = rng.integers(-2, 3, table.shape).astype(float)
        turn = rng.permutation(len(cells))
        split += [(cells, table - part), (tuple(cells[i] for i in turn), part.transpose(turn))]
    same(answers(build(states, factors), given, **SWEEPS), answers(build(states, split), given, **SWEEPS))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("beta", [0.3, 1.0, 7.0])
def test_shifting_energies(seed, beta):
    states, factors, given = drawn(seed)
    rng = np.random.default_rng(seed)
    shifts = rng.normal(size=len(factors)) * 10
    moved = [(c, t + s) for (c, t), s in zip(factors, shifts, strict=True)]
    one = answers(build(states, moved), given, beta=beta, **SWEEPS)
    two = answers(build(states, factors), given, beta=beta, **SWEEPS)
    same(one, two, shift=-beta * shifts.sum())
    best = quietly(fg.minimize, build(states, factors), given)
    other = quietly(fg.minimize, build(states, moved), given)
    if best.exact:
        assert other.energy == pytest.approx(best.energy + shifts.sum(), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scale", [0.25, 8.0])
def test_scaling_beta(seed, scale):
    states, factors, given = drawn(seed)
    scaled = [(c, scale * t) for c, t in factors]
    one = answers(build(states, scaled), given, beta=1.0, **SWEEPS)
    same(one, answers(build(states, factors), given, beta=scale, **SWEEPS))


@pytest.mark.parametrize("seed", SEEDS)
def test_evidence_is_slicing(seed):
    """A known cell is the same as its tables sliced at the known state."""
    states, factors, _ = drawn(seed)
    rng = np.random.default_rng(seed)
    y = np.array([int(rng.integers(k)) if rng.random() < 0.5 else -1 for k in states], int)
    free = [c for c in range(len(states)) if y[c] < 0]
    number, sliced, constant = {c: i for i, c in enumerate(free)}, [], 0.0
    for cells, table in factors:
        rest = tuple(number[c] for c in cells if y[c] < 0)
        piece = table[tuple(y[c] if y[c] >= 0 else slice(None) for c in cells)]
        if rest:
            sliced.append((rest, piece))
        else:
            constant += float(piece)
    one = answers(build(states, factors), {"y": y}, **SWEEPS)
    if constant == math.inf:
        assert one[0] is None and one[1] == -math.inf
        return
    two = answers(build([states[c] for c in free], sliced), **SWEEPS)
    if one[0] is not None:
        one = (one[0][free, : two[0].shape[1]], one[1])
    same(one, two, shift=-constant)


@pytest.mark.parametrize("seed", range(20))
def test_union_is_product(seed):
    """Side by side: log_partition adds, minima add, marginals and labels stay."""
    cases = [case_of(13_000 + 3 * seed + i, forest=True, kinds=KINDS, constants_only=True, given=0) for i in range(3)]
    cases = [c for c in cases if not c.given]
    union = fg.union([c.graph for c in cases])
    asked = list(union.variables.values())
    whole = fg.marginals(union, asked=asked)
    parts = [fg.marginals(c.graph, asked=list(c.graph.variables.values())) for c in cases]
    total = sum(p.log_partition for p in parts)
    assert whole.log_partition == pytest.approx(total, rel=1e-10, abs=1e-10)
    best = fg.minimize(union, asked=asked)
    minima = [fg.minimize(c.graph, asked=list(c.graph.variables.values())) for c in cases]
    assert best.energy == pytest.approx(sum(m.energy for m in minima), rel=1e-12, abs=1e-12)
    if math.isfinite(total):
        for number, (case, part, least) in enumerate(zip(cases, parts, minima, strict=True)):
            for name in case.graph.variables:
                np.testing.assert_allclose(whole[f"{number}/{name}"], part[name], atol=1e-12)
                np.testing.assert_array_equal(best.indices[f"{number}/{name}"], least.indices[name])


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("forest", [True, False])
def test_a_list_is_its_single_calls(seed, forest):
    """One engine run over many samples gives each what it would get alone, but for the order of a few sums."""
    cases = [case_of(14_000 + 8 * seed + i, forest=forest, constants_only=True) for i in range(8)]
    graphs, given = [c.graph for c in cases], [c.given for c in cases]
    options = {} if forest else SWEEPS
    together = quietly(fg.marginals, graphs, given, **options)
    minima = quietly(fg.minimize, graphs, given, **options)
    assert len(together) == len(minima) == 8
    for case, belief, best in zip(cases, together, minima, strict=True):
        alone = quietly(fg.marginals, case.graph, case.given, **options)
        least = quietly(fg.minimize, case.graph, case.given, **options)
        assert belief.status == alone.status and best.status == least.status
        assert belief.log_partition == pytest.approx(alone.log_partition, rel=1e-13)
        assert best.energy == pytest.approx(least.energy, rel=1e-13)
        if alone.status is not fg.Status.INFEASIBLE:
            for name in alone:
                np.testing.assert_allclose(belief[name], alone[name], rtol=0, atol=1e-13)
        if least.status is not fg.Status.INFEASIBLE:
            for name in least:
                np.testing.assert_array_equal(best[name], least[name])


def test_one_graph_many_givens_and_many_graphs_one_given():
    y = fg.output("y", shape=3, n_states=2)
    graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.0)])
    many = fg.marginals(graph, [{"y": [0, -1, -1]}, {"y": [-1, -1, 1]}, {}])
    assert [b["y", 1].tolist()[0] for b in many[:1]] == [0.0]
    assert many[1]["y", 1][2] == 1.0 and many[2]["y", 1].tolist() == pytest.approx([0.5] * 3)
    other = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=-1.0)])
    both = fg.minimize([graph, other], {"y": [1, -1, -1]})
    assert both[0]["y"].tolist() == [1, 1, 1] and both[1]["y"].tolist() == [1, 0, 1]
    assert fg.minimize([], []) == []
    with pytest.raises(ValueError):
        fg.minimize([graph, other], [{}, {}, {}])
