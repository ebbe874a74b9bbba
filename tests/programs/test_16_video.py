"""Warm start on changing unaries, time limit; different images in one call."""

import numpy as np
from checks import quietly
from oracle import brute

import factorgraph_ebm as fg

H, W, K = 24, 32, 4


def unary_of(frame):
    """A square walks to the right; every pixel prefers its own label, noisily."""
    rng = np.random.default_rng(frame)
    truth = np.zeros((H, W), int)
    truth[6:18, 4 + frame : 14 + frame] = 2
    return truth, rng.normal(0, 0.6, (H, W, K)) - 1.5 * np.eye(K)[truth]


def smoothing(y):
    return [fg.Potts([y[1:], y[:-1]], penalty=1.0), fg.Potts([y[:, 1:], y[:, :-1]], penalty=1.0)]


def test_video():
    u, y = fg.observed("u", shape=(H, W), dim=K), fg.output("y", shape=(H, W), n_states=K)
    graph = fg.FactorGraph([fg.Table([y], energies=u), *smoothing(y)])
    best = None
    for frame in range(4):
        truth, unary = unary_of(frame)
        best = quietly(fg.minimize, graph, given={"u": unary}, start=best, time_limit=2.0)
        assert (best["y"] != truth).mean() < 0.05
        assert fg.energy(graph, best) == best.energy
        assert best.energy <= fg.energy(graph, {"u": unary, "y": unary.argmin(-1)})
        np.testing.assert_array_equal(best["u"], unary)
    tiny = quietly(fg.minimize, graph, given={"u": unary}, start=best, time_limit=1e-9)
    assert np.isfinite(tiny.energy) and fg.energy(graph, tiny) == tiny.energy


def grid_graph(unary):
    y = fg.output("y", shape=unary.shape[:2], n_states=unary.shape[2])
    return fg.FactorGraph([fg.Table([y], energies=unary), *smoothing(y)])


def test_images_of_different_sizes():
    images = [np.random.default_rng(i).normal(size=(2, 2 + i, 3)) for i in range(3)]
    labels = [b["y"] for b in quietly(fg.minimize, [grid_graph(i) for i in images])]
    assert [a.shape for a in labels] == [(2, 2), (2, 3), (2, 4)]
    for image, label in zip(images, labels, strict=True):
        assert fg.energy(grid_graph(image), {"y": label}) <= brute(grid_graph(image)).minimum + 0.5
