"""Assignment of old tracks to new detections: rows exactly one (last column: lost), columns at most one."""

import numpy as np
import pytest
from checks import quietly
from oracle import brute
from panels import colours_of, draw
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


def film(n, frames, rng):
    """Balls that fly straight and bounce off the walls: where they were seen, (k, 2) each frame, and whose it was."""
    place, speed = rng.uniform(1, 9, (n, 2)), rng.normal(scale=0.35, size=(n, 2))
    seen, owner = [], []
    for _ in range(frames):
        place = place + speed
        speed = np.where((place < 0) | (place > 10), -speed, speed)
        order = rng.permutation(np.flatnonzero(rng.random(n) < 0.93))  # now and then a ball is missed
        clutter = rng.uniform(0, 10, (rng.poisson(1.0), 2))
        seen.append(np.concatenate([place[order] + rng.normal(scale=0.05, size=(len(order), 2)), clutter]))
        owner.append(np.concatenate([order, np.full(len(clutter), -1)]))
    return seen, owner


def follow(seen, sigma=0.3, price=12.0):
    """Tracks (first frame, indices of detections with None where lost), by the best assignment of every frame."""
    tracks = [(0, [i]) for i in range(len(seen[0]))]
    for frame in range(1, len(seen)):
        live = [t for t, (_, found) in enumerate(tracks) if any(i is not None for i in found[-3:])]
        cost = np.zeros((len(live), len(seen[frame]) + 1))
        for row, t in enumerate(live):
            cost[row, :-1] = ((expected(tracks[t], seen, frame) - seen[frame]) ** 2).sum(1) / (2 * sigma**2) - price
        taken = set()
        match = quietly(fg.minimize, tracking(cost), method="bp")["match"]
        assert (match.sum(axis=1) == 1).all() and (match[:, :-1].sum(axis=0) <= 1).all()
        for row, t in enumerate(live):
            chosen = int(match[row].argmax())
            tracks[t][1].append(chosen if chosen < len(seen[frame]) else None)
            taken.add(chosen)
        tracks += [(frame, [i]) for i in range(len(seen[frame])) if i not in taken]
    return tracks


def expected(track, seen, frame):
    """Straight on from the last two detections, or where the only one was."""
    first, found = track
    known = [(first + i, seen[first + i][d]) for i, d in enumerate(found) if d is not None][-2:]
    (when, where), *_ = known[::-1]
    if len(known) == 1:
        return where
    return where + (where - known[0][1]) * (frame - when) / (when - known[0][0])


def test_a_picture_of_the_whole_program(tmp_path):
    """A film of balls that cross, are missed now and then, and lie among clutter: nearly every step is right."""
    rng = np.random.default_rng(2)
    seen, owner = film(7, 25, rng)
    tracks = follow(seen)
    right = steps = 0
    for first, found in tracks:
        known = [owner[first + i][d] for i, d in enumerate(found) if d is not None]
        steps += sum(o >= 0 for o in known[1:])
        right += sum(a == b >= 0 for a, b in zip(known, known[1:], strict=False))
    assert steps > 100 and right > 0.95 * steps

    def dots(axes):
        for frame, each in enumerate(seen):
            axes.scatter(*each.T, s=6, color=(0, 0, 0, 0.2 + 0.8 * frame / len(seen)))

    def lines(axes):
        for first, found in tracks:
            path = np.array([seen[first + i][d] for i, d in enumerate(found) if d is not None])
            if len(path) > 3:
                axes.plot(*path.T, marker=".", markersize=3)

    picture = draw(tmp_path / "tracks.png", ("seen, frame by frame", dots), (f"{right} of {steps} steps right", lines))
    assert picture.shape == (180, 360, 3) and colours_of(picture) > 20
