"""Parameters come back: 300 times exact samples are drawn from a known model, and its parameters learned from them.

The estimate of most likelihood is about normal, with the inverse of the Fisher information for its covariance,

    standard error of w_j = sqrt([ (sum over samples of Cov phi)^-1 ]_jj),    E = phi . w

so the distance from the truth in standard errors falls within 3 in 99.7 of 100 runs, and its square has a mean of 1.
Samples, expectations and covariances here are enumerated, and none of the library's inference is asked for them.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

import factorgraph_ebm as fg

RUNS = 300
LBFGS = fg.optimizers.lbfgs(tolerance=1e-7)


def configurations(*shape):
    """All arrays of -1 and +1 of a shape, (2**size, *shape)."""
    return np.array(list(itertools.product([-1, 1], repeat=int(np.prod(shape))))).reshape(-1, *shape)


def drawn(rng, phi, w):
    """The number of a configuration for each row of phi (n, configurations, parameters), and the information."""
    energy = phi @ w
    p = np.exp(energy.min(axis=1, keepdims=True) - energy)
    p /= p.sum(axis=1, keepdims=True)
    states = (rng.random((len(p), 1)) > p.cumsum(axis=1)).sum(axis=1)
    mean = np.einsum("nc,ncj->nj", p, phi)
    information = np.einsum("nc,ncj,nck->jk", p, phi, phi) - mean.T @ mean
    return np.minimum(states, p.shape[1] - 1), information


def check(z):
    """(runs, parameters) distances from the truth in standard errors."""
    within = np.count_nonzero(np.abs(z) <= 3.0, axis=0)
    assert (within >= 0.99 * RUNS).all()
    # Neither wider nor narrower than normal: squares of RUNS of them are chi-squared, their mean is normal.
    low, high = scipy.stats.chi2.ppf([1e-3, 1 - 1e-3], RUNS)
    squares = (z * z).sum(axis=0)
    assert (squares > low).all() and (squares < high).all()
    assert (np.abs(z.mean(axis=0)) < 3.3 / np.sqrt(RUNS) + 0.1).all()  # a bias of the order 1/n is no error


def z_of(model, names, true, information):
    learned = np.concatenate([model.parameters[name].ravel() for name in names])
    return (learned - true) / np.sqrt(np.diag(np.linalg.inv(information)))


def test_grids_are_recovered(rng):
    """3 x 3 Ising grids, all of a sample in one graph: coupling and field."""
    n, true = 100, np.array([-0.25, 0.1])
    y = fg.output("y", shape=(n, 3, 3), states=[-1, 1])
    coupling, field = fg.Parameter("coupling"), fg.Parameter("field")
    graph = fg.FactorGraph([
        fg.Product([y[:, 1:], y[:, :-1]], weight=coupling),
        fg.Product([y[:, :, 1:], y[:, :, :-1]], weight=coupling),
        fg.Product([y], weight=field),
    ])  # fmt: skip
    every = configurations(3, 3)
    pairs = (every[:, 1:] * every[:, :-1]).sum((1, 2)) + (every[:, :, 1:] * every[:, :, :-1]).sum((1, 2))
    phi = np.broadcast_to(np.stack([pairs, every.sum((1, 2))], axis=1), (n, len(every), 2))
    z = []
    for _ in range(RUNS):
        states, information = drawn(rng, phi, true)
        model = fg.EnergyModel(graph, loss="likelihood", optimizer=LBFGS).fit(None, [{"y": every[states]}])
        z.append(z_of(model, ("coupling", "field"), true, information))
    check(np.array(z))


def test_chains_with_features_are_recovered(rng):
    """Chains of 4 given two features of each variable: their weights, and the coupling of neighbours."""
    n, true = 150, np.array([0.5, -0.3, -0.4])
    weights, coupling = fg.Parameter("weights", shape=2), fg.Parameter("coupling")

    def architecture(sample):
        y = fg.output("y", shape=(n, 4), states=[-1, 1])
        return fg.FactorGraph([
            fg.Product([y], weight=fg.Linear(sample["x"], weights)),
            fg.Product([y[:, 1:], y[:, :-1]], weight=coupling),
        ])  # fmt: skip

    every = configurations(4)
    pairs = (every[:, 1:] * every[:, :-1]).sum(1)
    z = []
    for _ in range(RUNS):
        x = rng.normal(size=(n, 4, 2))
        phi = np.concatenate(
            [np.einsum("ct,ntf->ncf", every, x), np.broadcast_to(pairs[:, None], (n, len(every), 1))], axis=2
        )
        states, information = drawn(rng, phi, true)
        model = fg.EnergyModel(architecture, loss="likelihood", optimizer=LBFGS)
        model.fit([{"x": x}], [{"y": every[states]}])
        z.append(z_of(model, ("weights", "coupling"), true, information))
    check(np.array(z))


@pytest.mark.parametrize("loss", ["pseudo_likelihood", "piecewise", "perceptron"])
def test_only_consistent_losses_recover(rng, loss):
    """Many samples: pseudo-likelihood finds the truth too; piecewise overlooks the loop, perceptron has no scale."""
    n, true = 4000, np.array([-0.4, 0.2])
    y = fg.output("y", shape=(n, 4), states=[-1, 1])
    coupling, field = fg.Parameter("coupling"), fg.Parameter("field")
    pairs = [(0, 1), (1, 2), (2, 3), (3, 0)]
    graph = fg.FactorGraph([
        fg.Product([y[:, np.array(pairs)[:, 0]], y[:, np.array(pairs)[:, 1]]], weight=coupling),
        fg.Product([y], weight=field),
    ])  # fmt: skip
    every = configurations(4)
    statistics = np.stack([sum(every[:, a] * every[:, b] for a, b in pairs), every.sum(1)], axis=1)
    states, information = drawn(rng, np.broadcast_to(statistics, (n, len(every), 2)), true)
    model = fg.EnergyModel(graph, loss=loss).fit(None, [{"y": every[states]}], epochs=50)
    z = np.abs(z_of(model, ("coupling", "field"), true, information))
    if loss == "pseudo_likelihood":
        assert (z < 4.0).all()  # it is less efficient than likelihood, whose errors are 1
    else:
        assert (z > 5.0).any()
