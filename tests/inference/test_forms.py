"""Fast forms of messages against energies: the same fixed points, the same digits, and NaN never gets out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from bound import bind
from checks import check_marginals, check_minimum, joint_of, quietly
from strategies import case_of

import factorgraph_ebm as fg
from factorgraph_ebm.arrays import Messages
from factorgraph_ebm.compiler.schedules import flooding, sequential
from factorgraph_ebm.inference import bp, forms
from factorgraph_ebm.inference.forms import Differences, Odds, Weights
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.inference.passing import Passing
from factorgraph_ebm.inference.summing import log_partitions

FORMS = {"weights": (Weights, False), "odds": (Odds, False), "differences": (Differences, True)}


@pytest.fixture
def everywhere(monkeypatch):
    """Fast forms serve small loopy samples, too."""
    monkeypatch.setattr(forms, "SMALL", 0)


def binary_graph(rng, scale=1.0, n=6, parity=False):
    """Two states: pairs of both kinds of table and of strides, Potts, a hub of degree 11, an isolated variable."""
    y, z = fg.output("y", shape=(n, n), n_states=2), fg.output("z", shape=2, n_states=2)
    return fg.FactorGraph(
        [
            fg.Table([y], energies=scale * rng.normal(size=(n, n, 2))),
            fg.Table([y[1:], y[:-1]], energies=scale * rng.normal(size=(n - 1, n, 2, 2))),
            fg.Table([y[:, 1:], y[:, :-1]], energies=scale * rng.normal(size=(2, 2))),
            fg.Potts([y[0, 1:], y[-1, 1:]], penalty=scale * rng.normal(size=n - 1)),
            *([fg.Parity(y[2:5, 1:4], axis=1)] if parity else []),
            fg.Table([y.ravel()[:11], z[0]], energies=scale * rng.normal(size=(11, 2, 2)) / 4),
        ]
    )


def mixed_graph(rng, scale=1.0):
    """Two, three and seven states, shared and own tables, three-way and four-way factors."""
    x, y = fg.output("x", shape=7, n_states=3), fg.output("y", shape=5, n_states=7)
    return fg.FactorGraph(
        [
            fg.Table([x], energies=scale * rng.normal(size=(7, 3))),
            fg.Table([x[1:], x[:-1]], energies=scale * rng.normal(size=(3, 3))),
            fg.Table([y[1:], y[:-1]], energies=scale * rng.normal(size=(4, 7, 7))),
            fg.Potts([y[2:], y[:-2]], penalty=scale * rng.normal(size=3)),
            fg.Table([y[:1], x], energies=scale * rng.normal(size=(7, 3)) / 3),
            fg.Table([x[:5], y], energies=scale * rng.normal(size=(5, 3, 7))),
            fg.Table([x[:3], y[:3], x[4:]], energies=scale * rng.normal(size=(3, 7, 3)) / 3),
            fg.Table([x[:2], x[2:4], x[4:6], y[:2]], energies=scale * rng.normal(size=(3, 3, 3, 7)) / 3),
        ]
    )


@pytest.mark.parametrize("name", list(FORMS))
@pytest.mark.parametrize("schedule", [flooding, sequential])
@pytest.mark.parametrize("seed", range(3))
def test_undamped_messages_are_those_of_energies(name, schedule, seed):
    form, minimize = FORMS[name]
    rng = np.random.default_rng(seed)
    graph = mixed_graph(rng) if name == "weights" else binary_graph(rng, parity=True)
    union, numbers = bind(graph)
    fast = form(union.layout, numbers, minimize=minimize, repeated=True)
    plain = Passing(union.layout, numbers, minimize=minimize)
    one, two = (schedule(union.layout, p.operators) for p in (fast, plain))
    for _ in range(4):
        change, expected = fast.run(one, 0, len(one.kernel), 0.0), plain.run(two, 0, len(two.kernel), 0.0)
        for mine, theirs in zip(fast.energies(), plain.energies()):
            np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-11)
    # A change depends on what is kept fixed: the least energy, the sum of weights, or neither. At most twofold.
    assert 0.49 * expected - 1e-13 <= change <= 2.01 * expected + 1e-13


@pytest.mark.parametrize("name", list(FORMS))
@pytest.mark.parametrize("damping", [0.3, 0.5])
def test_damped_fixed_points_are_those_of_energies(name, damping):
    form, minimize = FORMS[name]
    rng = np.random.default_rng(7)
    graph = mixed_graph(rng, 0.2) if name == "weights" else binary_graph(rng, 0.2)
    union, numbers = bind(graph)
    found = []
    for each in (form, Passing):
        passing = each(union.layout, numbers, minimize=minimize)
        steps = flooding(union.layout, passing.operators)
        for _ in range(400):
            change = passing.run(steps, 0, len(steps.kernel), damping)
        assert change < 1e-11
        found.append(passing.energies())
    for mine, theirs in zip(*found):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", list(FORMS))
def test_energies_and_back(name):
    """A warm start takes messages of any form."""
    form, minimize = FORMS[name]
    rng = np.random.default_rng(3)
    union, numbers = bind(mixed_graph(rng) if name == "weights" else binary_graph(rng))
    plain = Passing(union.layout, numbers, minimize=minimize)
    steps = flooding(union.layout, plain.operators)
    plain.run(steps, 0, len(steps.kernel), 0.0)
    fast = form(union.layout, numbers, minimize=minimize, start=Messages(plain.to_variable, plain.to_factor))
    plain.send()
    for mine, theirs in zip(fast.energies(), plain.energies()):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("block", range(6))
def test_drawn_loopy_graphs_are_as_honest(block, everywhere):
    for seed in range(40 * block, 40 * block + 40):
        case = case_of(700_000 + seed, forest=False)
        joint = joint_of(case)
        best = quietly(fg.minimize, case.graph, case.given, parameters=case.parameters, method="bp")
        check_minimum(case, best, joint)
        for beta in (0.0, 0.1, 1.0, 10.0, 1e3):
            asked = {"parameters": case.parameters, "method": "bp", "beta": beta}
            check_marginals(case, quietly(fg.marginals, case.graph, case.given, **asked), joint, beta)


@pytest.mark.parametrize("schedule", ["sequential", "flooding", "residual"])
@pytest.mark.parametrize("draw", [binary_graph, mixed_graph])
def test_every_schedule_comes_to_the_same_rest(schedule, draw, everywhere, monkeypatch):
    graph = draw(np.random.default_rng(11), 0.25)
    fast = fg.marginals(graph, method="bp", schedule=schedule, tolerance=1e-11)
    monkeypatch.setattr(forms, "SMALL", 10**9)
    plain = fg.marginals(graph, method="bp", schedule=schedule, tolerance=1e-11)
    for name in fast:
        np.testing.assert_allclose(fast[name], plain[name], atol=1e-9)
    assert fast.log_partition == pytest.approx(plain.log_partition, abs=1e-8)
    assert fast.status == plain.status == fg.Status.CONVERGED


def test_a_chain_of_ten_thousand_with_wide_energies():
    """Energies of +-1e4: no product of weights could hold them; the answer is that of the log domain."""
    rng = np.random.default_rng(0)
    n, k = 10_000, 3
    unary, pair = rng.uniform(-1e4, 1e4, (n, k)), rng.uniform(-1e4, 1e4, (n - 1, k, k))
    y = fg.output("y", shape=n, n_states=k)
    graph = fg.FactorGraph([fg.Table([y], energies=unary), fg.Table([y[:-1], y[1:]], energies=pair)])
    belief = fg.marginals(graph)
    forward = np.zeros((n, k))
    backward = np.zeros((n, k))
    for t in range(1, n):
        forward[t] = -np.logaddexp.reduce(-(forward[t - 1] + unary[t - 1])[:, None] - pair[t - 1], axis=0)
        forward[t] -= forward[t].min()
    for t in range(n - 2, -1, -1):
        backward[t] = -np.logaddexp.reduce(-(backward[t + 1] + unary[t + 1])[None, :] - pair[t], axis=1)
        backward[t] -= backward[t].min()
    total = forward + backward + unary
    expected = np.exp(total.min(1, keepdims=True) - total)
    np.testing.assert_allclose(belief["y"], expected / expected.sum(1, keepdims=True), atol=1e-9)
    assert belief.exact and np.isfinite(belief.log_partition)


def test_contradicting_near_hard_evidence_from_both_ends():
    """400 links of 40 nats, evidence of 20 x 40 nats against 20 x 40.5: plain products would be sure, and wrong."""
    n = 10_000
    unary = np.zeros((n, 2))
    unary[:20, 0], unary[-20:, 1] = -40.0, -40.5
    y = fg.output("y", shape=n, n_states=2)
    penalty = np.full(n - 1, 1e3)
    graph = fg.FactorGraph([fg.Table([y], energies=unary), fg.Potts([y[1:], y[:-1]], penalty=penalty)])
    belief = fg.marginals(graph)
    # All agree with one end (20 x 40.5 wins), or the two halves disagree at one of n - 1 links, which costs 1000.
    np.testing.assert_allclose(belief["y", 1], 1 / (1 + math.exp(-10.0)), rtol=1e-12)
    assert belief.log_partition == pytest.approx(810 + math.log1p(math.exp(-10.0)), rel=1e-14)


@pytest.mark.parametrize("forbidden", [0.0, 0.2])
def test_lists_answer_as_single_calls_do(forbidden):
    """Bit by bit, whoever is beside a sample: one that loses digits, one that is infeasible, one that is loopy."""
    rng = np.random.default_rng(5)
    graphs = []
    for i in range(30):
        n = int(rng.integers(1, 12))
        y = fg.output("y", shape=n, n_states=3)
        pair = rng.normal(size=(max(0, n - 1), 3, 3)) * (1e4 if i % 7 == 0 else 1.0)
        pair[rng.random(pair.shape) < forbidden] = np.inf
        graphs.append(
            fg.FactorGraph(
                [fg.Table([y], energies=rng.normal(size=(n, 3))), fg.Table([y[:-1], y[1:]], energies=pair)]
            )
        )
    together = fg.marginals(graphs)
    for graph, belief in zip(graphs, together, strict=True):
        alone = fg.marginals(graph)
        assert belief.status == alone.status
        assert belief.log_partition == alone.log_partition
        if belief.status is not fg.Status.INFEASIBLE:
            np.testing.assert_array_equal(belief["y"], alone["y"])


def test_a_hub_of_many_neighbours_stays_in_range():
    rng = np.random.default_rng(2)
    y, hub = fg.output("y", shape=3000, n_states=4), fg.output("hub", n_states=4)
    pair = rng.normal(size=(3000, 4, 4))
    graph = fg.FactorGraph([fg.Table([y, hub], energies=pair)])
    expected = np.log(np.exp(-pair).sum(1)).sum(0)
    belief = fg.marginals(graph)
    np.testing.assert_allclose(belief["hub"], np.exp(expected - np.logaddexp.reduce(expected)), atol=1e-10)
    assert belief.log_partition == pytest.approx(np.logaddexp.reduce(expected), rel=1e-12)


@pytest.mark.parametrize("size", [1.0, 200.0])
def test_log_partitions_of_odds_are_those_of_the_same_messages_in_energies(size, rng):
    """By way of weights, and where those lose digits of energies: evidence of hundreds of nats, for and against."""
    union, numbers = bind(binary_graph(rng))
    problem = Problem(union, numbers, 1.0, False, None, np.inf, None)
    odds = Odds(union.layout, numbers, minimize=False)
    odds.take(np.exp2(rng.uniform(-size, size, odds.message_size)))
    plain = Passing(union.layout, numbers, minimize=False)
    plain.take(odds.energies().to_variable)
    _, expected, _ = plain.marginals()
    found = log_partitions(problem, odds)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert np.isfinite(found).all()


def test_a_log_partition_is_made_when_it_is_read(everywhere, rng, monkeypatch):
    graph = binary_graph(rng, scale=0.3)
    made = []
    monkeypatch.setattr(bp, "log_partitions", lambda *known: made.append(1) or log_partitions(*known))
    belief = fg.marginals([graph, graph], method="bp")
    assert belief[0].status.value == "converged" and not made
    first = belief[0].log_partition
    assert made == [1] and belief[1].log_partition == first and made == [1]
    monkeypatch.setattr(forms, "SMALL", 1 << 40)
    assert first == pytest.approx(fg.marginals(graph, method="bp").log_partition, rel=1e-9)
