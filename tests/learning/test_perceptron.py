"""The perceptron, as Rosenblatt wrote it: E = y w.x with y = -1 or +1, and one step for each sample.

    w <- w - rate (y - y*) x,    y* = the y of least energy: -1 where w.x >= 0 (of two equal ones the first), else +1

With v = -w that is LeCun's E = -y v.x and v <- v + rate (y - sign(v.x)) x, sign(0) = -1.
"""

from __future__ import annotations

import numpy as np
import pytest

import factorgraph_ebm as fg
from factorgraph_ebm.learning.oracle import shuffled


def sign(number):
    return 1.0 if number > 0.0 else -1.0


def machine(n_features):
    w = fg.Parameter("w", shape=n_features)

    def architecture(sample):
        y = fg.output("y", states=[-1, 1])
        return fg.FactorGraph([fg.Product([y], weight=fg.Linear(sample["x"], w))])

    return architecture


def separable(rng, n_samples, n_features):
    """Integers, so that every sum is exact, with samples on which a start at 0 or an early w is undecided."""
    x = rng.integers(-3, 4, (n_samples, n_features)).astype(float)
    x[::5, 1:] = 0.0
    true = rng.integers(-3, 4, n_features) + 0.5
    return x, np.where(x @ true > 0.0, 1, -1)


def dicts(x, y):
    return [{"x": row} for row in x], [{"y": label} for label in y.tolist()]


def test_every_step_is_the_closed_form(rng):
    x, y = separable(rng, 60, 4)
    rate, v, ties, moved = 0.25, np.zeros(4), 0, 0
    model = fg.EnergyModel(machine(4), loss="perceptron", optimizer=fg.optimizers.sgd(rate, batch_size=1))
    for row, label in zip(x, y.tolist()):
        ties += int(v @ row == 0.0)
        step = rate * (label - sign(v @ row)) * row
        moved += int(step.any())
        v = v + step
        model.partial_fit([{"x": row}], [{"y": label}])
        assert np.array_equal(model.parameters["w"], -v)
    assert ties >= 2 and moved >= 5


def test_zero_is_minus_one():
    """Two equal energies: the answer is -1, so a sample of -1 changes nothing and one of +1 does."""
    for label, expected in ((-1, [0.0, 0.0]), (1, [-2.0, 6.0])):
        model = fg.EnergyModel(machine(2), loss="perceptron", optimizer=fg.optimizers.sgd(1.0, batch_size=1))
        model.partial_fit([{"x": np.array([1.0, -3.0])}], [{"y": label}])
        assert np.array_equal(model.parameters["w"], expected)
        assert model.history[-1]["loss"] == 0.0
    fresh = fg.EnergyModel(machine(2), loss="perceptron")
    graph = fresh.graph({"x": np.array([1.0, -3.0])})
    assert fg.minimize(graph, parameters={"w": np.zeros(2)})["y"] == -1


@pytest.mark.parametrize("seed", [0, 3])
def test_epochs_and_the_average_are_the_closed_form(rng, seed):
    """Until nothing changes, in the order of the seed; the answer is the mean of w after every sample."""
    x, y = separable(rng, 20, 3)
    order = shuffled(len(x), seed)
    v, total, seen, mistakes = np.zeros(3), np.zeros(3), 0, 0
    for epoch in range(20):
        before = mistakes
        for i in order(epoch).tolist():
            step = (y[i] - sign(v @ x[i])) * x[i]
            mistakes += int(step.any())
            v = v + step
            total += v
            seen += 1
        if mistakes == before:
            break
    optimizer = fg.optimizers.averaged_perceptron()
    model = fg.EnergyModel(machine(3), loss="perceptron", optimizer=optimizer).fit(*dicts(x, y), rng=seed)
    assert len(model.history) == epoch + 1 > 1
    np.testing.assert_allclose(model.parameters["w"], -total / seen, rtol=1e-12)
    plain = fg.EnergyModel(machine(3), loss="perceptron", optimizer=fg.optimizers.sgd(1.0, batch_size=1))
    plain.fit(*dicts(x, y), rng=seed, epochs=epoch + 1)
    assert np.array_equal(plain.parameters["w"], -v)
    assert plain.score(*dicts(x, y)) == 1.0


def test_mistakes_are_bounded_by_the_margin(rng):
    """Novikoff 1962: at most (R / margin)^2 mistakes on data that a unit vector separates with that margin."""
    x, y = separable(rng, 40, 2)
    x, y = x[(x != 0).any(axis=1)], y[(x != 0).any(axis=1)]
    angles = np.linspace(0.0, 2.0 * np.pi, 7200)
    margin = (y[:, None] * (x @ np.stack([np.cos(angles), np.sin(angles)]))).min(axis=0).max()
    assert margin > 0.0
    bound = (np.linalg.norm(x, axis=1).max() / margin) ** 2
    model = fg.EnergyModel(machine(2), loss="perceptron", optimizer=fg.optimizers.sgd(0.5, batch_size=1))
    steps, previous = 0, np.zeros(2)
    for _ in range(int(bound) + 2):
        changed = False
        for row, label in zip(x, y.tolist()):
            model.partial_fit([{"x": row}], [{"y": label}])
            now = model.parameters["w"]
            changed |= not np.array_equal(now, previous)
            steps += int(not np.array_equal(now, previous))
            previous = now
        if not changed:
            break
    assert not changed and 0 < steps <= bound
