"""A user's factor from a Python function, learned; a user's loss."""

import numpy as np
import pytest

import factorgraph_ebm as fg

y = fg.output("y", shape=50, states=[0.0, 0.5, 1.0, 2.0])
K = 4
d = np.abs(np.subtract.outer(y.states, y.states))


def ramp(minimum, augmented):
    return minimum - augmented  # argument names say which energies are needed: arrays (n_samples,), nats


def learned(power):
    energies = fg.Computed(
        lambda p: d**p, power, shape=(K, K),
        pullback=lambda p, g: [(g * np.where(d > 0, d**p * np.log(np.where(d > 0, d, 1)), 0)).sum()],
    )  # fmt: skip
    return fg.Table([y[:-1], y[1:]], energies=energies)


def chain(p, n, rng):
    """Draws of the chain whose pairs cost |a - b|^p, by its own transition matrices."""
    weight = np.exp(-(d**p))
    ahead = [np.ones(K)]
    for _ in range(49):
        ahead.insert(0, weight @ ahead[0])
    said = []
    for _ in range(n):
        cells = [rng.choice(K, p=ahead[0] / ahead[0].sum())]
        for t in range(1, 50):
            row = weight[cells[-1]] * ahead[t]
            cells.append(rng.choice(K, p=row / row.sum()))
        said.append({"y": [y.states[k] for k in cells]})
    return said


def test_a_function_of_states_is_a_table():
    graph = fg.FactorGraph([fg.Table.from_function([y[:-1], y[1:]], lambda a, b: abs(a - b) ** 1.5)])
    cells = np.random.default_rng(0).integers(0, K, 50)
    values = np.array(y.states)[cells]
    assert fg.energy(graph, {"y": values.tolist()}) == pytest.approx((abs(np.diff(values)) ** 1.5).sum(), rel=1e-12)
    # The same numbers, computed from a parameter at its initial value.
    same = fg.FactorGraph([learned(fg.Parameter("power", initial=1.5, bounds=(0, np.inf)))])
    assert fg.log_partition(same) == pytest.approx(fg.log_partition(graph), rel=1e-12)


def test_the_power_is_recovered_from_draws(rng):
    targets = chain(0.6, 60, rng)
    graph = fg.FactorGraph([learned(fg.Parameter("power", initial=1.5, bounds=(0, np.inf)))])
    model = fg.EnergyModel(graph, loss="likelihood").fit(None, targets)
    assert model.parameters["power"] == pytest.approx(0.6, abs=0.15)
    # The likelihood there is above that on either side.
    def loss(p):
        numbers = {"power": np.array(p)}
        return np.mean([fg.energy(graph, t, parameters=numbers) for t in targets[:60]]) + fg.log_partition(
            graph, parameters=numbers
        )

    best = float(model.parameters["power"])
    assert loss(best) == pytest.approx(model.history[-1]["loss"], rel=1e-9)
    assert loss(best) < min(loss(best - 0.05), loss(best + 0.05))


def test_a_loss_of_ones_own(rng):
    """The ramp loss with Hamming costs: at most 1 for each cell, so one wrong label among many pulls no further."""
    x = rng.normal(size=(30, 2))
    labels = (x[:, 0] > 0).astype(int)
    labels[0] = 1 - labels[0]
    weights = fg.Parameter("w", shape=(2, 2), initial=[[0.1, -0.1], [0.0, 0.0]])

    def architecture(sample):
        return fg.FactorGraph(
            [fg.Table([fg.output("said", n_states=2)], energies=fg.Linear(sample["x"], weights))]
        )

    samples, targets = [{"x": row} for row in x], [{"said": k} for k in labels]
    model = fg.EnergyModel(architecture, loss=fg.losses.custom(ramp)).fit(samples, targets, epochs=5)
    energy = x @ model.parameters["w"]
    each = energy.min(axis=1) - (energy - (np.arange(2) != labels[:, None])).min(axis=1)
    assert (each >= 0).all() and (each <= 1 + 1e-12).all()
    whole = fg.EnergyModel(architecture, loss=fg.losses.custom(ramp), optimizer=fg.optimizers.sgd(1e-9, batch_size=30))
    begun = whole.fit(samples, targets, epochs=1).history[0]["loss"]
    start = x @ np.array([[0.1, -0.1], [0.0, 0.0]])
    by_hand = start.min(axis=1) - (start - (np.arange(2) != labels[:, None])).min(axis=1)
    assert begun == pytest.approx(by_hand.mean(), abs=1e-9)
    assert model.score(samples, targets) >= 0.9
