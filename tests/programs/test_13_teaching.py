"""Two variables by hand: every message, against brute force."""

import numpy as np
import pytest
from oracle import brute

import factorgraph_ebm as fg


def by_hand():
    a = fg.output("a", states=["cold", "hot"])
    b = fg.output("b", states=["off", "on"])
    return fg.FactorGraph(
        [
            fg.Table([a], energies=[0.0, 1.0], name="prior"),
            fg.Table([a, b], energies=[[0, 2], [2, 0]], name="agree"),
        ]
    )


def test_every_message_by_hand():
    graph = by_hand()
    steps = []
    for step in fg.steps(graph, beta=1.0, schedule="sequential", every="message"):  # the real engine, paused
        steps.append(step)
        assert "\n" not in str(step)
        assert len(steps) < 100
    last = steps[-1]
    # agree -> b: -log(e^0 e^-E(a, b) summed over a), less its minimum
    message = -np.log([1 + np.exp(-3), np.exp(-2) + np.exp(-1)])
    np.testing.assert_allclose(last.messages.to_variable["agree"][1], message - message.min(), atol=1e-12)
    np.testing.assert_allclose(last.messages.to_variable["prior"][0], [0.0, 1.0], atol=1e-12)
    joint = brute(graph)
    np.testing.assert_allclose(last.beliefs["b"], joint.marginals(1.0)["b"], atol=1e-12)
    np.testing.assert_allclose(last.beliefs["a"], joint.marginals(1.0)["a"], atol=1e-12)
    assert any("agree -> b" in str(s) and "off: 0.000, on: 0.735" in str(s) for s in steps)
    assert last.residual == pytest.approx(0.0, abs=1e-9)


def test_energies_and_print():
    graph = by_hand()
    assert fg.factor_energies(graph, {"a": "hot", "b": "off"}) == {"prior": 1.0, "agree": 2.0}
    lines = str(graph).splitlines()
    assert any("prior" in line and "Table" in line for line in lines)
    assert any("agree" in line and "2 x 2" in line for line in lines)
