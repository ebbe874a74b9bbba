"""Noisy-image MAP and marginals."""

import numpy as np
import pytest
from checks import quietly
from oracle import brute

import factorgraph_ebm as fg


def denoise(shape):
    x, y = fg.observed("x", shape=shape, n_states=2), fg.output("y", shape=shape, n_states=2)
    return fg.FactorGraph(
        [
            fg.Table([x, y], energies=[[0.0, 2.2], [2.2, 0.0]]),
            fg.Potts([y[1:], y[:-1]], penalty=1.0),
            fg.Potts([y[:, 1:], y[:, :-1]], penalty=1.0),
        ]
    )


def test_denoise():
    clean = np.zeros((64, 64), int)
    clean[16:48, 20:40] = 1
    noisy = np.where(np.random.default_rng(0).random(clean.shape) < 0.1, 1 - clean, clean)
    graph = denoise(clean.shape)
    best = quietly(fg.minimize, graph, given={"x": noisy})
    assert (best["y"] != clean).mean() < 0.03 < (noisy != clean).mean()
    assert best.energy <= fg.energy(graph, {"x": noisy, "y": noisy})
    assert best.energy <= fg.energy(graph, {"x": noisy, "y": clean})
    assert best.lower_bound is None or best.lower_bound <= best.energy
    assert isinstance(best.status, fg.Status)
    belief = quietly(fg.marginals, graph, given={"x": noisy}, beta=1.0)
    assert belief["y"].shape == (64, 64, 2)
    np.testing.assert_allclose(belief["y"].sum(-1), 1.0, atol=1e-12)
    assert np.isfinite(belief.log_partition) and not belief.exact
    with pytest.raises(
        fg.EvidenceError,
        match=r'observed variable "x" is not given\. Give it, or ask for it: asked=\["x", "y"\]',
    ):
        fg.minimize(graph)
    assert fg.energy(graph, best) == best.energy
    np.testing.assert_array_equal(belief["y", 1], belief["y"][..., 1])


def test_denoise_small_enough_for_the_oracle():
    noisy = np.array([[0, 1, 1], [0, 0, 1], [1, 0, 0]])
    graph, known = denoise((3, 3)), {("x", i): int(v) for i, v in enumerate(noisy.ravel())}
    joint = brute(graph, known)
    best = quietly(fg.minimize, graph, {"x": noisy}, method="enumerate")
    assert best.energy == pytest.approx(joint.minimum, rel=1e-12) and best.exact
    belief = quietly(fg.marginals, graph, {"x": noisy}, method="enumerate")
    np.testing.assert_allclose(belief["y"], joint.marginals(1.0)["y"], atol=1e-12)
    loopy = quietly(fg.marginals, graph, {"x": noisy}, method="bp")
    np.testing.assert_allclose(loopy["y"], joint.marginals(1.0)["y"], atol=0.05)
