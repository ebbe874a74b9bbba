"""Partly observed arrays, semi-supervised training, {-1, +1} states."""

import numpy as np
import pytest
from oracle import brute

import factorgraph_ebm as fg


def test_partly_given():
    y = fg.output("y", shape=5, states=[-1, +1])
    graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=fg.Parameter("coupling", initial=1.0))])
    values = {"coupling": np.array(1.0)}
    asked = {
        "view": ({y[:2]: [+1, -1]}, {0: 1, 1: 0}),
        "None": ({"y": [+1, None, None, -1, None]}, {0: 1, 3: 0}),
        "masked": ({"y": np.ma.masked_array([1, -1, 1, 1, 1], mask=[0, 1, 1, 0, 0])}, {0: 1, 3: 1, 4: 1}),
    }
    for given, known in asked.values():
        belief = fg.marginals(graph, given=given)
        joint = brute(graph, {("y", i): s for i, s in known.items()}, values)
        np.testing.assert_allclose(belief["y"], joint.marginals(1.0)["y"], atol=1e-12)
        assert belief.log_partition == pytest.approx(joint.log_partition(1.0), rel=1e-12)
        assert belief.exact
        assert [belief["y", [-1, 1][s]][i] for i, s in known.items()] == [1.0] * len(known)


def test_semi_supervised():
    """The joint likelihood of what is seen, holes summed out; a sample of which nothing is seen says nothing."""
    y = fg.output("y", shape=5, states=[-1, +1])
    graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=fg.Parameter("coupling", initial=1.0))])
    model = fg.EnergyModel(graph, loss="likelihood", latent="marginalize")
    model.fit(None, [{"y": [+1, None, -1, -1, -1]}, {"y": [None] * 5}])
    # P(seen) = [2 e^-c / (1 + e^-c)^2] / (1 + e^-c)^2 / 2: one change in two steps, then two steps without one.
    c = float(model.parameters["coupling"])
    e = np.exp(-c)
    loss = -np.log(2 * e / (1 + e) ** 2 / (1 + e) ** 2 / 2)
    assert model.history[-1]["loss"] == pytest.approx(loss / 2, rel=1e-10)
    assert e == pytest.approx(1 / 3, rel=1e-2)  # where log e - 4 log(1 + e) is largest
    guess = model.best_guess({"y": [+1, None, None, -1, None]})["y"]
    assert guess[0] == 1 and guess[3] == guess[4] == -1
    assert model.score(None, [{"y": [+1, +1, +1, +1, None]}]) in (0.0, 1.0)
