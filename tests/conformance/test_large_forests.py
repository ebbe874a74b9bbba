"""Forests too large to enumerate, against plain variable elimination in logs: chains, hubs, trees, cold ones.

Where evidence contradicts itself by thousands of nats, a message of probabilities underflows; the answer must not.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from checks import quietly

import factorgraph_ebm as fg


def soft_min(energies: np.ndarray, beta: float) -> np.ndarray:
    """-(1/beta) log sum exp(-beta E) over the first axis; the minimum at beta = inf."""
    low = energies.min(0)
    if beta == math.inf:
        return low
    safe = np.where(np.isfinite(low), low, 0.0)
    with np.errstate(divide="ignore"):  # log 0 where everything is forbidden
        return safe - np.log(np.exp(-beta * (energies - safe)).sum(0)) / beta


def eliminate(states: list[int], factors: list[tuple[tuple[int, ...], np.ndarray]], beta: float) -> float:
    """Free energy by eliminating the variables, last first: each joined its tree as a leaf of earlier ones."""
    at: list[dict[int, tuple[tuple[int, ...], np.ndarray]]] = [{} for _ in states]
    tables = dict(enumerate(factors))
    for number, (scope, table) in tables.items():
        for cell in scope:
            at[cell][number] = (scope, table)
    total, fresh = 0.0, len(factors)
    for cell in reversed(range(len(states))):
        rest = sorted({v for scope, _ in at[cell].values() for v in scope} - {cell})
        axes = [cell, *rest]
        joint = np.zeros([states[v] for v in axes])
        for number, (scope, table) in list(at[cell].items()):
            order = sorted(range(len(scope)), key=lambda i: axes.index(scope[i]))
            shape = [states[v] if v in scope else 1 for v in axes]
            joint = joint + table.transpose(order).reshape(shape)
            for v in scope:
                del at[v][number]
        message = soft_min(joint, beta)
        if not rest:
            total += float(message)
            continue
        for v in rest:
            at[v][fresh] = (tuple(rest), message)
        fresh += 1
    return total


def draw(shape, rng, scale, forbidden):
    table = rng.normal(scale=scale, size=shape)
    return np.where(rng.random(shape) < forbidden, np.inf, table)


def chain(n, k, rng, scale, forbidden):
    tables = draw((n - 1, k, k), rng, scale, forbidden)
    unary = rng.normal(scale=scale, size=(n, k))
    y = fg.output("y", shape=n, n_states=k)
    graph = fg.FactorGraph([fg.Table([y[:-1], y[1:]], energies=tables), fg.Table([y], energies=unary)])
    factors = [((i, i + 1), t) for i, t in enumerate(tables)] + [((i,), u) for i, u in enumerate(unary)]
    return graph, [k] * n, factors


def star(n, k, rng, scale, forbidden):
    """One hub and n - 1 leaves: a product of very many messages."""
    tables = draw((n - 1, k, k), rng, scale, forbidden)
    y = fg.output("y", shape=n, n_states=k)
    graph = fg.FactorGraph([fg.Table([y[:1], y[1:]], energies=tables)])
    return graph, [k] * n, [((0, i + 1), t) for i, t in enumerate(tables)]


def tree(n, k, rng, scale, forbidden):
    """Random factors over a former cell and one or two new ones, any cardinalities, any order of slots."""
    states = rng.integers(1, k + 1, n).tolist()
    scopes, i = [], 1
    while i < n:
        new = [i] if i == n - 1 or rng.random() < 0.5 else [i, i + 1]
        scopes.append(tuple(rng.permutation([int(rng.integers(i)), *new]).tolist()))
        i += len(new)
    factors = [(s, draw([states[v] for v in s], rng, scale, forbidden)) for s in scopes]
    y = fg.output("y", shape=n, n_states=states)
    graph = fg.FactorGraph([fg.Table(y, members=[list(s) for s, _ in factors], energies=[t for _, t in factors])])
    return graph, states, factors


SHAPES = [
    pytest.param(make, n, k, id=name)
    for name, make, n, k in [
        ("chain", chain, 300, 4),
        ("long", chain, 1500, 2),
        ("star", star, 400, 3),
        ("tree", tree, 250, 4),
    ]
]


@pytest.mark.parametrize("make, n, k", SHAPES)
@pytest.mark.parametrize("scale", [0.5, 5.0, 200.0, 3000.0])
@pytest.mark.parametrize("forbidden", [0.0, 0.1])
@pytest.mark.parametrize("beta", [0.1, 1.0, 10.0])
def test_large_forests_are_exact(make, n, k, scale, forbidden, beta, rng):
    graph, states, factors = make(n, k, rng, scale, forbidden)
    belief = fg.marginals(graph, beta=beta)
    free = eliminate(states, factors, beta)
    if free == math.inf:
        assert belief.status is fg.Status.INFEASIBLE and belief.log_partition == -math.inf
        return
    assert belief.exact
    assert belief.log_partition == pytest.approx(-beta * free, rel=1e-10, abs=1e-10)
    for cell in rng.integers(0, n, 3).tolist():
        held = [
            eliminate(states, [*factors, ((cell,), np.where(np.arange(states[cell]) == s, 0.0, np.inf))], beta)
            for s in range(states[cell])
        ]
        # elimination rounds, too: the difference of two totals knows a few eps of them, in nats
        slack = 1e-10 + 64 * np.finfo(float).eps * beta * abs(free)
        np.testing.assert_allclose(
            belief["y"][cell, : states[cell]], np.exp(-beta * (np.array(held) - free)), atol=slack
        )


@pytest.mark.parametrize("make, n, k", SHAPES)
@pytest.mark.parametrize("scale", [1.0, 3000.0])
@pytest.mark.parametrize("forbidden", [0.0, 0.1])
def test_large_minima_are_exact(make, n, k, scale, forbidden, rng):
    graph, states, factors = make(n, k, rng, scale, forbidden)
    best, least = fg.minimize(graph), eliminate(states, factors, math.inf)
    if least == math.inf:
        assert best.status is fg.Status.INFEASIBLE
        return
    assert best.exact
    assert best.energy == pytest.approx(least, rel=1e-12)
    assert fg.energy(graph, best) == best.energy


def test_contrary_evidence_by_thousands_of_nats():
    """Each end insists on another state, by far more than exp can hold; between them only agreement is cheap."""
    n = 50
    y = fg.output("y", shape=n, n_states=2)
    unary = np.zeros((n, 2))
    unary[0], unary[-1] = [0.0, 5000.0], [5000.3, 0.0]
    graph = fg.FactorGraph([fg.Table([y], energies=unary), fg.Potts([y[1:], y[:-1]], penalty=20_000.0)])
    belief = fg.marginals(graph)
    first = 1 / (1 + math.exp(-(5000.3 - 5000.0)))
    # all 1 costs 5000, all 0 costs 5000.3
    np.testing.assert_allclose(belief["y", 1], first, atol=1e-12)
    assert belief.log_partition == pytest.approx(-5000.0 + math.log1p(math.exp(-0.3)), rel=1e-12)


def test_loops_with_huge_spans_hold_no_nan(rng):
    y = fg.output("y", shape=(8, 8), n_states=3)
    for scale in (1e3, 1e8, 1e300):
        unary = rng.normal(size=(8, 8, 3)) * scale
        for penalty in (0.5 * scale, -0.5 * scale, np.inf):
            graph = fg.FactorGraph(
                [
                    fg.Table([y], energies=unary),
                    fg.Potts([y[1:], y[:-1]], penalty=penalty),
                    fg.Potts([y[:, 1:], y[:, :-1]], penalty=penalty),
                ]
            )
            for schedule in ("flooding", "sequential", "residual"):
                belief = quietly(fg.marginals, graph, method="bp", schedule=schedule, max_iterations=20)
                assert not np.isnan(belief["y"]).any() and not math.isnan(belief.log_partition)
                best = quietly(fg.minimize, graph, method="bp", schedule=schedule, max_iterations=20)
                assert not math.isnan(best.energy) and best.energy < math.inf
                assert best.lower_bound is None or best.lower_bound <= best.energy + abs(best.energy) * 1e-12
