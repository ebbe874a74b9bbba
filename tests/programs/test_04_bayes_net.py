"""Sprinkler / asia: named states, evidence by state name, ranking diagnoses."""

import gzip
import shutil

import numpy as np
import pytest
from oracle import brute

import factorgraph_ebm as fg

no_yes = ["no", "yes"]


def sprinkler_net():
    rain, sprinkler, wet = (fg.output(name, states=no_yes) for name in ("rain", "sprinkler", "wet"))
    cpt = np.array([[[1, 0], [0.1, 0.9]], [[0.2, 0.8], [0.01, 0.99]]])
    return fg.FactorGraph(
        [
            fg.Table.from_probabilities([rain], [0.8, 0.2]),
            fg.Table.from_probabilities([rain, sprinkler], [[0.6, 0.4], [0.99, 0.01]]),
            fg.Table.from_probabilities([rain, sprinkler, wet], cpt),
        ]
    )


def test_sprinkler():
    graph = sprinkler_net()
    belief = fg.marginals(graph, given={"wet": "yes"})
    wet_by_rain, wet_dry = 0.2 * (0.99 * 0.8 + 0.01 * 0.99), 0.8 * 0.4 * 0.9
    assert belief["rain", "yes"] == pytest.approx(wet_by_rain / (wet_by_rain + wet_dry), rel=1e-12)
    assert belief["rain", "yes"] == pytest.approx(0.357, abs=1e-3)
    ranking = fg.rank(graph, [{"rain": "yes"}, {"sprinkler": "yes"}], given={"wet": "yes"}, latent="marginalize")
    joint = brute(graph, {("wet", 0): 1})
    odds = [-np.log(joint.marginals(1.0)[name][1]) - joint.log_partition(1.0) for name in ("rain", "sprinkler")]
    np.testing.assert_allclose(ranking.energies, odds, rtol=1e-12)
    assert list(ranking.order) == [1, 0]
    best = fg.minimize(graph, given={"wet": "yes"}, asked=["rain"], latent="marginalize")
    assert best["rain"] == "no"
    assert best.exact


def test_asia(data, tmp_path):
    with gzip.open(data / "bif" / "asia.bif.gz") as packed, open(tmp_path / "asia.bif", "wb") as plain:
        shutil.copyfileobj(packed, plain)
    asia = fg.read(tmp_path / "asia.bif")
    given = {"xray": "yes", "smoke": "no"}
    joint = brute(asia, {(n, 0): asia[n].states.index(v) for n, v in given.items()})
    belief = fg.marginals(asia, given=given)
    loop = belief["lung", "yes"]
    truth = joint.marginals(1.0)["lung"][asia["lung"].states.index("yes")]
    assert loop == pytest.approx(truth, abs=1e-10 if belief.exact else 0.02)
    exact = fg.marginals(asia, given=given, method="enumerate")
    assert exact["lung", "yes"] == pytest.approx(truth, abs=1e-12) and exact.exact
