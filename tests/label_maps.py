"""Pictures of blocks with noise, and label maps drawn by Gibbs sampling from known energies."""

import numpy as np

import factorgraph_ebm as fg


def noisy(n, size, n_labels, noise, rng):
    """Pictures (size, size, 3), one colour for each class and normal noise, and label maps with blocks of each."""
    colours = np.random.default_rng(5).normal(size=(n_labels, 3))
    pictures, maps = [], []
    for _ in range(n):
        labels = np.zeros((size, size), int)
        for label in [*range(1, n_labels)] * 2:
            height, width = rng.integers(size // 4, size // 2, 2)
            top, left = rng.integers(size - height), rng.integers(size - width)
            labels[top : top + height, left : left + width] = label
        pictures.append(colours[labels] + noise * rng.normal(size=(size, size, 3)))
        maps.append(labels)
    return pictures, maps


def drawn(n, size, strength, scale, seed):
    """Normal energies (size, size, 2), and label maps drawn from exp(-scale energies - strength [neighbours differ])."""
    rng = np.random.default_rng(seed)
    y = fg.output("y", shape=(size, size), n_states=2)
    pictures, maps = [], []
    for _ in range(n):
        energies = rng.normal(size=(size, size, 2))
        graph = fg.FactorGraph([
            fg.Table([y], scale * energies), fg.Potts([y[1:], y[:-1]], strength),
            fg.Potts([y[:, 1:], y[:, :-1]], strength),
        ])  # fmt: skip
        maps.append(fg.sample(graph, 1, method="gibbs", rng=rng, chains=1)["y"][0])
        pictures.append(energies)
    return pictures, maps
