"""Alpha-expansion: every move the best of its kind, never worse than the start, and what it refuses."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from checks import quietly
from conftest import DATA
from cuts import drawn

import factorgraph_ebm as fg


def metric(rng, k):
    """A table of shortest ways between k points: a metric."""
    table = rng.integers(1, 9, (k, k)).astype(float)
    table = np.minimum(table, table.T)
    np.fill_diagonal(table, 0.0)
    for through in range(k):
        table = np.minimum(table, table[:, [through]] + table[[through]])
    return table


def small(seed):
    """Six variables of two to four states in any pairs: the graph, all assignments, their energies, and 2 c."""
    rng = np.random.default_rng(seed)
    n, k = 6, int(rng.integers(2, 5))
    y = fg.output("y", shape=n, n_states=k)
    unary = rng.integers(0, 12, (n, k)).astype(float)
    unary[rng.random((n, k)) < 0.1] = np.inf
    unary[:, 0] = np.minimum(unary[:, 0], 9.0)
    factors, terms = [fg.Table([y], energies=unary)], [((i,), unary[i]) for i in range(n)]
    ratio = 1.0
    for i, j in itertools.combinations(range(n), 2):
        if rng.random() < 0.5:
            continue
        if rng.random() < 0.5:
            table = metric(rng, k)
            factors.append(fg.Table([y[i], y[j]], energies=table))
        else:
            weight, limit = float(rng.integers(1, 4)), float(rng.integers(1, 4))
            factors.append(fg.TruncatedLinear([y[i], y[j]], weight=weight, limit=limit))
            table = weight * np.minimum(abs(np.subtract.outer(range(k), range(k))), limit)
        terms.append(((i, j), table))
        apart = table[~np.eye(k, dtype=bool)]
        ratio = max(ratio, apart.max() / apart.min())
    states = np.array(list(itertools.product(range(k), repeat=n)))
    energy = sum(table[tuple(states[:, c] for c in cells)] for cells, table in terms)
    return fg.FactorGraph(factors), states, energy, 2.0 * ratio


def energy_of(states, energy, chosen):
    return float(energy[(states == chosen).all(axis=1)][0])


@pytest.mark.parametrize("block", range(4))
def test_no_move_improves_the_answer(block):
    """Of all that differ from it by taking one state, none is better; its energy is within the bound that is proved."""
    for seed in range(30 * block, 30 * block + 30):
        graph, states, energy, factor = small(seed)
        best = quietly(fg.minimize, graph, method="expansion")
        found = best.indices["y"]
        assert best.energy == energy_of(states, energy, found)
        assert best.lower_bound is None or best.lower_bound <= energy.min()
        assert energy.min() <= best.energy <= factor * energy.min(), seed
        for alpha in range(states.max() + 1):
            reached = ((states == found) | (states == alpha)).all(axis=1)
            assert energy[reached].min() == best.energy, seed
        if best.exact:
            assert best.energy == energy.min()


@pytest.mark.parametrize("block", range(2))
def test_a_single_move_is_the_best_there_is(block):
    """From any start: one round over two states begins with the move to state 0."""
    for seed in range(200 + 30 * block, 230 + 30 * block):
        graph, states, energy, _ = small(seed)
        start = states[np.random.default_rng(seed).integers(len(states))]
        begun = energy_of(states, energy, start)
        best = quietly(fg.minimize, graph, method="expansion", start={"y": start}, max_iterations=1)
        assert best.energy <= begun
        at = start
        for alpha in range(states.max() + 1):
            reached = ((states == at) | (states == alpha)).all(axis=1)
            if energy[reached].min() < energy_of(states, energy, at):
                tied = states[reached & (energy == energy[reached].min())]
                # Of several the one that keeps most.
                at = tied[np.argmin((tied != at).sum(axis=1))]
        assert best.indices["y"].tolist() == at.tolist(), seed


def test_two_states_are_solved_as_by_a_cut():
    for seed in range(120):
        case = drawn(seed)
        best = quietly(fg.minimize, case.graph, case.given, method="expansion")
        assert best.status is not fg.Status.INFEASIBLE or case.least == np.inf
        if best.energy < np.inf:
            assert best.exact and abs(best.energy - case.least) <= 1e-13 * case.mass


def test_lists_and_limits():
    graphs = [small(seed)[0] for seed in range(8)]
    together = quietly(fg.minimize, graphs, method="expansion")
    for graph, best in zip(graphs, together, strict=True):
        assert best.energy <= quietly(fg.minimize, graph, method="icm").energy
        assert best.trace["energy"][-1] == best.energy and (np.diff(best.trace["energy"]) <= 0).all()
    rng = np.random.default_rng(0)
    y = fg.output("y", shape=(20, 20), n_states=5)
    pairs = [fg.Potts([y[1:], y[:-1]], penalty=0.6), fg.Potts([y[:, 1:], y[:, :-1]], penalty=0.6)]
    graph = fg.FactorGraph([fg.Table([y], energies=rng.normal(size=(20, 20, 5))), *pairs])
    best = fg.minimize(graph, method="expansion")
    assert best.status is fg.Status.CONVERGED and best.lower_bound < best.energy
    none = quietly(fg.minimize, graph, method="expansion", max_iterations=0)
    assert none.status is fg.Status.ITERATION_LIMIT
    late = quietly(fg.minimize, graph, method="expansion", time_limit=0)
    assert late.status is fg.Status.TIME_LIMIT and best.energy <= late.energy <= none.energy
    again = fg.minimize(graph, method="expansion", start=best)
    assert again.energy == best.energy and again.iterations == 1


def test_refusals_name_the_factor_and_say_what_to_write():
    y = fg.output("y", shape=3, n_states=3)
    pairs = [y[:2], y[1:]]
    bad = np.zeros((2, 3, 3))
    bad[1] = np.square(np.subtract.outer(range(3), range(3)))
    for factor, name in (
        (fg.Table(pairs, energies=bad, name="far"), r'factor "far" \[1\] over y\[1\], y\[2\]'),
        (fg.Table(pairs, energies=bad[1]), r"factor 0 \(Table\) \[\d\] over y"),
        (fg.Potts(pairs, penalty=[1.0, -0.1]), r"factor 0 \(Potts\) \[1\] over y\[1\], y\[2\]"),
        (fg.Potts(pairs, penalty=-0.1), r"factor 0 \(Potts\) \[\d\]"),
        (fg.TruncatedQuadratic(pairs, weight=1.0, limit=np.inf), r"factor 0 \(TruncatedQuadratic\) \[\d\]"),
    ):
        with pytest.raises(fg.MethodError, match=rf'"expansion" .* all states a, b, c, and {name}.*"bp"'):
            fg.minimize(fg.FactorGraph([factor]), method="expansion")
    with pytest.raises(fg.MethodError, match="at most two variables"):
        fg.minimize(fg.FactorGraph([fg.AllDifferent([y[0], y[1], y[2]])]), method="expansion")
    good = fg.FactorGraph([fg.Potts(pairs, penalty=1.0)])
    with pytest.raises(fg.MethodError, match='latent="marginalize"'):
        fg.minimize(good, asked=y[0], latent="marginalize", method="expansion")
    with pytest.raises(fg.MethodError, match="max_iterations="):
        fg.minimize(good, method="expansion", max_iterations=-1)


def test_stereo_is_as_good_as_the_published_labels():
    file = DATA / "mrf" / "stereo" / "tsukuba_middlebury.npz"
    if not file.exists():
        pytest.skip("the pictures are not here")
    read = np.load(file)
    shape = read["unary"].shape
    y = fg.output("y", shape=shape[:2], n_states=shape[2])
    options = {"limit": float(read["smooth_max"])}
    assert float(read["smooth_exp"]) == 1.0
    weight = float(read["lam"])
    graph = fg.FactorGraph([
        fg.Table([y], energies=read["unary"].astype(float)),
        fg.TruncatedLinear([y[:, :-1], y[:, 1:]], weight=weight * read["h_weight"][:, : shape[1] - 1], **options),
        fg.TruncatedLinear([y[:-1], y[1:]], weight=weight * read["v_weight"][: shape[0] - 1], **options),
    ])  # fmt: skip
    best = fg.minimize(graph, method="expansion")
    published = np.load(file.with_name("tsukuba_middlebury_expansion_labels.npz"))
    known = fg.energy(graph, {"y": published[published.files[0]]})
    assert best.energy <= 1.002 * known
    assert json.loads(file.with_name("tsukuba_reference.json").read_text())
