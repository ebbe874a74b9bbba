"""A template slid over an image: its place is latent; trained once, asked three ways."""

import numpy as np
import pytest

import factorgraph_ebm as fg

L, F, C = 9, 6, 3  # locations, pixels of a patch, classes
#: a parametrisation is an array with a shape; Linear(x, W) is x @ W, here (L, C) = the table of [z, y]
templates = fg.Parameter("templates", shape=(F, C), initial=np.random.default_rng(0).normal(scale=0.01, size=(F, C)))


def architecture(sample):  # sample["x"]: (L, F), the patch at each location
    y = fg.output("y", n_states=C)
    z = fg.latent("z", n_states=L)
    return fg.FactorGraph([fg.Table([z, y], energies=fg.Linear(sample["x"], templates))])


def draw(n, rng):
    """Images of noise, with the pattern of their class at a random place: samples, targets, places."""
    patterns = np.array([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], [1, 0, 1, 0, 1, 0]]) * 4.0 - 2.0
    samples, targets, places = [], [], []
    for _ in range(n):
        label, place = rng.integers(0, C), rng.integers(0, L)
        x = rng.normal(scale=0.4, size=(L, F))
        x[place] += patterns[label]
        samples.append({"x": x})
        targets.append({"y": label})
        places.append(int(place))
    return samples, targets, places


@pytest.mark.parametrize("latent", ["minimize", "marginalize"])
def test_hidden_crf(latent):
    rng = np.random.default_rng(4)
    samples, targets, _ = draw(24, rng)
    tests, truth, places = draw(20, rng)
    loss = "hinge" if latent == "minimize" else "likelihood"
    model = fg.EnergyModel(architecture, loss=loss, latent=latent).fit(samples, targets, epochs=40)
    assert model.score(samples, targets) == 1.0 and model.score(tests, truth) >= 0.9

    best = model.best_guess(tests[0])
    energy = tests[0]["x"] @ model.parameters["templates"]
    if latent == "minimize":
        assert (best["z"], best["y"]) == np.unravel_index(energy.argmin(), energy.shape)
        assert best.energy == pytest.approx(energy.min(), rel=1e-12)
        found = [int(guess["z"]) for guess in model.best_guess(tests)]
        assert np.mean(np.array(found) == places) >= 0.9  # nobody ever said where it was
    else:
        free = -np.log(np.exp(-energy).sum(axis=0))
        assert best["y"] == free.argmin() and best.energy == pytest.approx(free.min(), rel=1e-10)
        with pytest.raises(KeyError, match="summed over"):
            best["z"]
    ranked = model.rank(tests[0], [{"y": 1}, {"y": 2}])
    of = energy.min(axis=0) if latent == "minimize" else -np.log(np.exp(-energy).sum(axis=0))
    assert list(ranked.order) == np.argsort(of[1:]).tolist()
    weight = np.exp(-energy).sum(axis=0)
    np.testing.assert_allclose(model.distribution(tests[0])["y"], weight / weight.sum(), atol=1e-12)  # sums over z


def test_cccp_finds_places_as_well():
    rng = np.random.default_rng(4)
    samples, targets, places = draw(16, rng)
    inside = fg.optimizers.cccp(fg.optimizers.bcfw(), inner_updates=6)
    model = fg.EnergyModel(architecture, loss="hinge", optimizer=inside, regularizer=fg.l2(1e-3)).fit(samples, targets)
    assert model.score(samples, targets) > 0.9  # a local optimum: the first places are guesses
    bounds = [row["objective"] for row in model.history]
    assert all(after <= before for before, after in zip(bounds, bounds[1:]))
    found = [int(guess["z"]) for guess in model.best_guess(samples)]
    assert np.mean(np.array(found) == places) > 0.6  # a ninth by chance
