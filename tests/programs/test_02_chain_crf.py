"""A linear-chain CRF by hand: sparse features, forbidden transitions, a start term, learned."""

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp

import factorgraph_ebm as fg

tags, F = ["O", "B", "I"], 50_000
emission = fg.Parameter("emission", shape=(F, 3))
transition = fg.Parameter("transition", shape=(3, 3))
start = fg.Parameter("start", shape=3)
bio = np.zeros((3, 3))
bio[0, 2] = np.inf  # O -> I forbidden


def architecture(sample):  # the sample's arrays used directly: no observed variable needed
    y = fg.output("y", shape=sample["x"].shape[0], states=tags)
    return fg.FactorGraph(
        [
            fg.Table([y], energies=fg.Linear(sample["x"], emission), name="emission"),
            fg.Table([y[:-1], y[1:]], energies=transition, name="transition"),
            fg.Table([y[:-1], y[1:]], energies=bio, name="BIO"),
            fg.Table([y[0]], energies=start),
        ]
    )


USED = np.array([3, 500, 7_000, 20_000, 49_999])
"features that words have"


def draw(rng, n=12):
    """Sentences of 9 words with one feature each, tagged in well-formed spans; features hint at tags."""
    samples, targets = [], []
    for _ in range(n):
        said = [int(rng.integers(0, 2))]
        for _ in range(8):
            said.append(int(rng.choice(3 if said[-1] else 2)))
        feature = np.where(rng.random(9) < 0.8, np.array(said), rng.integers(3, 5, 9))
        samples.append({"x": sp.csr_array((np.ones(9), (np.arange(9), USED[feature])), shape=(9, F))})
        targets.append({"y": [tags[k] for k in said]})
    return samples, targets


def objective(w, samples, targets):
    """Mean likelihood loss + 1e-3 |w|^2 of the used features and its slope, by forward and backward sums in numpy."""
    emit, move, first = w[:15].reshape(5, 3), w[15:24].reshape(3, 3), w[24:]
    total, slope = 0.0, [np.zeros((5, 3)), np.zeros((3, 3)), np.zeros(3)]
    table = move + bio
    for sample, target in zip(samples, targets):
        x = np.searchsorted(USED, sample["x"].indices)
        y = np.array([tags.index(tag) for tag in target["y"]])
        unary = emit[x].copy()
        unary[0] += first
        a, b = [-unary[0]], [np.zeros(3)]
        for t in range(1, 9):
            a.append(np.logaddexp.reduce(a[-1][:, None] - table, axis=0) - unary[t])
            b.insert(0, np.logaddexp.reduce(b[0] - unary[9 - t] - table, axis=1))
        log_z = np.logaddexp.reduce(a[-1])
        total += unary[np.arange(9), y].sum() + move[y[:-1], y[1:]].sum() + log_z
        for t in range(9):
            difference = np.eye(3)[y[t]] - np.exp(a[t] + b[t] - log_z)
            slope[0][x[t]] += difference
            slope[2] += difference * (t == 0)
            if t:
                slope[1][y[t - 1], y[t]] += 1.0
                slope[1] -= np.exp(a[t - 1][:, None] - table - unary[t] + b[t] - log_z)
    n = len(samples)
    return total / n + 1e-3 * w @ w, np.concatenate([s.ravel() for s in slope]) / n + 2e-3 * w


def test_chain_crf(rng):
    samples, targets = draw(rng)
    model = fg.EnergyModel(architecture, loss="likelihood", regularizer=fg.l2(1e-3)).fit(samples, targets)

    least = scipy.optimize.minimize(
        objective, np.zeros(27), args=(samples, targets), jac=True, options={"gtol": 1e-8, "maxiter": 500}
    )
    assert model.history[-1]["objective"] == pytest.approx(least.fun, rel=1e-4)
    assert np.flatnonzero(model.parameters["emission"].any(axis=1)).tolist() == USED.tolist()
    emit, move, first = (model.parameters[name] for name in ("emission", "transition", "start"))
    here = objective(np.concatenate([emit[USED].ravel(), move.ravel(), first]), samples, targets)
    assert model.history[-1]["objective"] == pytest.approx(here[0], rel=1e-12)
    assert abs(here[1]).max() < 1e-3

    said = model.best_guess(samples[0])["y"]  # array(["O", "B", "I", ...])
    assert said.shape == (9,) and set(said) <= set(tags)
    assert model.score(samples, targets) > 0.8
    for guess in model.best_guess(samples):
        assert ("O", "I") not in list(zip(guess["y"][:-1], guess["y"][1:]))

    pairs = fg.marginals(model.graph(samples[0]), parameters=model.parameters).factor_marginals["transition"]
    assert pairs.shape == (8, 3, 3)
    np.testing.assert_allclose(pairs.sum(axis=(1, 2)), 1.0)
    assert (pairs[:, 0, 2] == 0.0).all()

    forced = model.best_guess({**samples[0], "y": [None] * 8 + ["O"]})  # forced tag: None = not given
    assert forced["y"][8] == "O"
    assert forced.energy >= model.best_guess(samples[0]).energy
