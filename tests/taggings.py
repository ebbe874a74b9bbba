"""Every tagging of a sequence with its energy, read off the weights that a tagger shows: what taggers are held to."""

from __future__ import annotations

import itertools
import math

import numpy as np

TAGS = ["A", "B", "C"]


def draw(n, seed=0, tags=TAGS, longest=5):
    """Sequences of feature dicts whose words say something of the tag, and their tags; some short, one empty."""
    rng = np.random.default_rng(seed)
    X, y = [], []
    for i in range(n):
        length = 0 if i == 2 else 1 if i == 3 else int(rng.integers(2, longest + 1))
        chosen = rng.integers(0, len(tags), length)
        noisy = np.where(rng.random(length) < 0.6, chosen, rng.integers(0, len(tags), length))
        X.append([
            {"word": f"w{k}{int(rng.integers(3))}", "bias": True, "size": float(rng.random())} for k in noisy.tolist()
        ])  # fmt: skip
        y.append([tags[k] for k in chosen.tolist()])
    return X, y


def features(token):
    """Names and values of the features of a token that is a dict of words and numbers."""
    for name, value in token.items():
        yield (f"{name}:{value}", 1.0) if isinstance(value, str) else (name, float(value))


def energy(tagger, sequence, tags, pair_features=()):
    """The energy of a tagging, from the weights by name: forbidden by nothing but what has a weight."""
    state, transition, pair = tagger.state_features_, tagger.transition_features_, tagger.pair_features_
    total = 0.0
    for t, (token, tag) in enumerate(zip(sequence, tags)):
        for name, value in features(token):
            if pair_features and name.startswith(pair_features):
                total -= value * pair.get((name, tags[t - 1], tag), 0.0) if t else 0.0
            else:
                total -= value * state.get((name, tag), 0.0)
        if t:
            total -= transition.get((tags[t - 1], tag), 0.0)
    if tags:
        total -= tagger.start_features_.get(tags[0], 0.0) + tagger.end_features_.get(tags[-1], 0.0)
    return total


def every(tagger, sequence, pair_features=(), allowed=lambda tags: True):
    """All taggings of a sequence with their energies."""
    found = itertools.product(tagger.classes_, repeat=len(sequence))
    return {tags: energy(tagger, sequence, tags, pair_features) for tags in found if allowed(tags)}


def log_sum(energies):
    """log sum exp(-E)."""
    energies = list(energies)
    least = min(energies)
    return math.log(sum(math.exp(least - e) for e in energies)) - least


def penalty(tagger):
    """c1 |w|_1 + c2 |w|^2."""
    shown = (
        tagger.state_features_, tagger.transition_features_, tagger.pair_features_, tagger.start_features_,
        tagger.end_features_,
    )  # fmt: skip
    w = np.array([weight for each in shown for weight in each.values()])
    return tagger.c1 * np.abs(w).sum() + tagger.c2 * (w**2).sum()
