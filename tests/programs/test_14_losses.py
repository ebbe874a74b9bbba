"""One word changes the loss."""

import pytest
from tagged_chains import architecture, draw, energies, states

import factorgraph_ebm as fg


@pytest.mark.parametrize("loss", ["perceptron", "hinge", "likelihood", fg.losses.hinge(margin="hamming")])
def test_one_word_changes_the_loss(loss):
    samples, targets = draw(60, longest=4)
    tests, truth = draw(60, seed=5, longest=4)
    model = fg.EnergyModel(architecture, loss=loss, regularizer=fg.l2(1e-3))
    model.fit(samples, targets, epochs=12)  # optimizer=None: the loss's own default
    share = model.score(tests, truth)  # share of target cells right
    right = total = 0
    for sample, target in zip(tests, truth):
        energy, answers = energies(model.parameters, sample["x"])
        right += (answers[energy.argmin()] == states(target)).sum()
        total += len(sample["x"])
    assert share == pytest.approx(right / total)
    assert share > 0.5 and model.score(samples, targets) > 0.5  # a third by chance
