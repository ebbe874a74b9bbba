"""A small tagging problem: chains of labelled words with features, and the model of a conditional random field."""

import numpy as np

import factorgraph_ebm as fg

TAGS = ["O", "B", "I"]
F = 4


def architecture(sample):
    n = len(sample["x"])
    y = fg.output("y", shape=n, states=TAGS)
    emission, transition = fg.Parameter("emission", shape=(F, 3)), fg.Parameter("transition", shape=(3, 3))
    return fg.FactorGraph(
        [
            fg.Table([y], energies=fg.Linear(sample["x"], emission), name="emission"),
            fg.Table([y[:-1], y[1:]], energies=transition, name="transition"),
        ]
    )


def draw(n=12, seed=0, longest=5):
    """Samples {"x": (length, F)} and targets {"y": (length,) tags}; tags follow features, and like to stay."""
    rng = np.random.default_rng([seed, n])
    weights = np.random.default_rng(1).normal(size=(F, 3))
    samples, targets = [], []
    for length in rng.integers(1, longest + 1, n):
        x = rng.normal(size=(length, F))
        score, tags = x @ weights + rng.gumbel(size=(length, 3)), []
        for each in score:
            tags.append(int(np.argmax(each + (np.arange(3) == tags[-1] if tags else 0.0))))
        samples.append({"x": x})
        targets.append({"y": [TAGS[k] for k in tags]})
    return samples, targets


def energies(parameters, x):
    """Of all answers, in lexicographic order: (3^n,), and the answers as states (3^n, n)."""
    n = len(x)
    answers = np.stack(np.meshgrid(*[np.arange(3)] * n, indexing="ij"), axis=-1).reshape(-1, n)
    unary = np.asarray(x) @ parameters["emission"]
    found = unary[np.arange(n), answers].sum(axis=1)
    found += parameters["transition"][answers[:, :-1], answers[:, 1:]].sum(axis=1)
    return found, answers


def states(target):
    return np.array([TAGS.index(tag) for tag in target["y"]])
