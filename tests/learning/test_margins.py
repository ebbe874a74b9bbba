"""Where data are separable, a hinge that has converged leaves every wrong answer above the right one by its margin.

Chains with features, labelled by a chain that is known to the test alone, so that some parameters separate them. Loss 0
of all samples is what the definition says, and it is checked on all answers, one by one.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import factorgraph_ebm as fg

LENGTH, STATES, FEATURES = 3, 3, 4


def architecture(sample):
    y = fg.output("y", shape=LENGTH, n_states=STATES)
    emission = fg.Parameter("emission", shape=(FEATURES, STATES))
    transition = fg.Parameter("transition", shape=(STATES, STATES))
    return fg.FactorGraph([
        fg.Table([y], energies=fg.Linear(sample["x"], emission)), fg.Table([y[:-1], y[1:]], energies=transition),
    ])  # fmt: skip


def separable(rng, n_samples=6, clearance=1.0):
    """Samples whose right answer, under parameters nobody is told, is the best by some clearance."""
    true = {"emission": rng.normal(size=(FEATURES, STATES)), "transition": rng.normal(size=(STATES, STATES))}
    samples, targets = [], []
    while len(samples) < n_samples:
        x = rng.normal(size=(LENGTH, FEATURES))
        best = fg.k_best(architecture({"x": x}), 2, parameters=true)
        if best[1].energy - best[0].energy > clearance:
            samples.append({"x": x})
            targets.append({"y": best[0]["y"]})
    return samples, targets


def above_right(model, samples, targets):
    """For each sample and wrong answer: its energy above that of the right one, and how many variables are wrong."""
    answers = np.array(list(itertools.product(range(STATES), repeat=LENGTH)))
    for sample, target in zip(samples, targets):
        energies = np.array(model.energy([sample] * len(answers), [{"y": answer} for answer in answers]))
        differ = (answers != target["y"]).sum(axis=1)
        yield energies[differ > 0] - energies[differ == 0][0], differ[differ > 0]


@pytest.mark.parametrize("margin", [2.0, "hamming"])
def test_every_gap_is_at_least_the_margin(rng, margin):
    samples, targets = separable(rng)
    optimizer = fg.optimizers.passive_aggressive(C=1e6)
    model = fg.EnergyModel(architecture, loss=fg.losses.hinge(margin=margin), optimizer=optimizer)
    model.fit(samples, targets, epochs=300)
    assert model.history[-1]["loss"] <= 1e-9 and len(model.history) < 300
    for gaps, differ in above_right(model, samples, targets):
        least = differ if margin == "hamming" else margin
        assert (gaps >= np.asarray(least) - 1e-9).all()
    assert model.score(samples, targets) == 1.0


def test_the_widest_margin_is_that_of_the_weakest_penalty(rng):
    """As l2 weakens the optimum has loss 0 and the least |w| that does: the closest answer is at the margin exactly."""
    samples, targets = separable(rng)
    model = fg.EnergyModel(
        architecture, loss="hinge", optimizer=fg.optimizers.cutting_plane(1e-7), regularizer=fg.l2(1e-4)
    ).fit(samples, targets)
    closest = min(gaps.min() for gaps, _ in above_right(model, samples, targets))
    assert closest == pytest.approx(1.0, abs=1e-2)
    # The row "gap" of the history is the mean over samples of the least of these.
    mean = np.mean([gaps.min() for gaps, _ in above_right(model, samples, targets)])
    assert model.history[-1]["gap"] == pytest.approx(mean, abs=1e-9)
