"""Assignment of old tracks to new detections: rows exactly one (last column: lost), columns at most one."""

import numpy as np
import pytest
from checks import quietly
from oracle import brute
from scipy.optimize import linear_sum_assignment

import factorgraph_ebm as fg


def tracking(cost):
    match = fg.output("match", shape=cost.shape, n_states=2)
    return fg.FactorGraph(
        [
            fg.Product([match], weight=cost),
            fg.ExactlyOne(match, axis=1, name="one per track"),
            fg.AtMostOne(match[:, :-1], axis=0),
        ]
    )


def scene(n, m, rng):
    """Costs of tracks at positions seen again with noise; some are lost, some detections are new."""
    old, kept = rng.uniform(0, 10, size=(n, 2)), rng.random(n) < 0.8
    seen = old[kept] + rng.normal(0, 0.2, size=(kept.sum(), 2))
    seen = rng.permutation(np.concatenate([seen, rng.uniform(0, 10, size=(max(m - len(seen), 0), 2))]))
    distance = np.linalg.norm(old[:, None] - seen, axis=2)
    return np.concatenate([distance**2 / 0.08 - 4.0, np.zeros((n, 1))], axis=1)


def optimum(cost):
    """The same as a square assignment: each track has a column of its own to be lost in."""
    n, m = cost.shape
    lost = np.where(np.eye(n) == 1, cost[:, -1:], 1e6)
    square = np.concatenate([cost[:, :-1], lost], axis=1)
    rows, columns = linear_sum_assignment(square)
    found = np.zeros((n, m), int)
    found[rows, np.minimum(columns, m - 1)] = 1
    return square[rows, columns].sum(), found


@pytest.mark.parametrize("n, m", [(3, 3), (12, 14), (40, 45)])
def test_tracks_are_assigned_as_by_the_hungarian_method(n, m, rng):
    """Belief propagation finds the best assignment where it is unique (Bayati, Shah and Sharma, 2008)."""
    for _ in range(3):
        cost = scene(n, m, rng)
        graph = tracking(cost)
        best = quietly(fg.minimize, graph)
        least, expected = optimum(cost)
        assert best.energy == pytest.approx(least, rel=1e-9)
        np.testing.assert_array_equal(best["match"], expected)
        assert (best["match"].sum(axis=1) == 1).all() and (best["match"][:, :-1].sum(axis=0) <= 1).all()
        if n == 3 and cost.size <= 16:
            assert best.energy == pytest.approx(brute(graph).minimum)


def test_one_track_is_exact(rng):
    cost = scene(1, 200, rng)
    belief = fg.marginals(tracking(cost))
    weight = np.exp(cost.min() - cost[0])
    assert belief.exact
    np.testing.assert_allclose(belief["match", 1][0], weight / weight.sum(), atol=1e-12)


def test_a_decided_pair_is_given(rng):
    cost = scene(12, 14, rng)
    graph = tracking(cost)
    _, expected = optimum(cost)
    track = 5
    match = graph["match"]
    best = quietly(fg.minimize, graph, given={match[track]: expected[track]})
    np.testing.assert_array_equal(best["match"], expected)


def test_the_scope_said_wrongly():
    match = fg.output("match", shape=(4, 6), n_states=2)
    assert fg.ExactlyOne(match[0]).size == 1
    with pytest.raises(fg.ScopeError, match="6 factors over 1 variable each"):
        fg.ExactlyOne([match[0]])
