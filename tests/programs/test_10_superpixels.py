"""Superpixels: an edge list, edge features, a different graph for each image, a matrix of costs."""

import numpy as np
import pytest

import factorgraph_ebm as fg

node_w = fg.Parameter("node_w", shape=(40, 21))
edge_w = fg.Parameter("edge_w", shape=(5, 21, 21))


def architecture(sample):
    y = fg.output("y", shape=len(sample["nodes"]), n_states=21)
    return fg.FactorGraph(
        [
            fg.Table([y], energies=fg.Linear(sample["nodes"], node_w)),
            fg.Table(y[sample["edges"]], axis=1, energies=fg.Linear(sample["pair"], edge_w)),  # one factor per row
        ]
    )


def draw(n, rng):
    """Images whose regions form a ring with a chord: classes come in runs, features hint at them."""
    samples, targets = [], []
    hints = np.random.default_rng(0).normal(size=(21, 40))
    for _ in range(n):
        size = int(rng.integers(5, 8))
        y = np.where(np.arange(size) < rng.integers(1, size), *rng.choice(4, 2, replace=False))
        edges = [*((i, (i + 1) % size) for i in range(size)), (0, size // 2)]
        pair = np.abs(rng.normal(size=(len(edges), 5)))
        pair[:, 0] = [2.0 * (y[i] == y[j]) for i, j in edges]
        nodes = hints[y] + 3.0 * rng.normal(size=(size, 40))
        samples.append({"nodes": nodes, "edges": np.array(edges), "pair": pair})
        targets.append({"y": y})
    return samples, targets


def test_superpixels():
    rng = np.random.default_rng(7)
    samples, targets = draw(8, rng)
    model = fg.EnergyModel(architecture, loss=fg.losses.hinge(margin={"y": 1 - np.eye(21)}))  # cost[true, said]
    model.fit(samples, targets, epochs=25)
    assert model.history[-1]["loss"] < 0.3 * model.history[0]["loss"]
    assert model.score(samples, targets) > 0.95
    assert 0 < model.score(*draw(6, rng)) <= 1
    assert all(row["unconverged"] == 0.0 for row in model.history)  # a ring with a chord is eliminated exactly



def test_costs_say_which_mistakes_matter(rng):
    """Where all energies are 0, the worst answer is what is dearest to say."""
    samples, targets = draw(1, rng)
    cost = rng.uniform(0.0, 3.0, (21, 21)) * (1 - np.eye(21))
    model = fg.EnergyModel(architecture, loss=fg.losses.hinge(margin={"y": cost})).fit(samples, targets, epochs=1)
    assert model.history[0]["loss"] == pytest.approx(cost[targets[0]["y"]].max(axis=1).sum(), rel=1e-12)
    with pytest.raises(fg.MethodError, match="region"):
        fg.EnergyModel(architecture, loss=fg.losses.hinge(margin={"region": cost})).fit(samples, targets)
