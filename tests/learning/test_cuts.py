"""Learning by minimum cuts: where pairs attract `auto` makes them, and what repels is named."""

import numpy as np
import pytest

import factorgraph_ebm as fg
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.learning.asking import Asking, Inference
from factorgraph_ebm.learning.batch import Batch
from factorgraph_ebm.learning.data import read_data

SHAPE = 40, 40


def pictures(shape=SHAPE, bounds=(0.0, np.inf)):
    """Noisy pictures of two regions and their right answers; what a pixel says, and how much neighbours attract."""
    says, attraction = fg.Parameter("says", shape=2), fg.Parameter("attraction", shape=2, bounds=bounds)

    def architecture(sample):
        y = fg.output("y", shape=shape, n_states=2)
        down, right = attraction[0], attraction[1]
        return fg.FactorGraph([
            fg.Product([y], weight=fg.Linear(sample["features"], says)),
            fg.Potts([y[1:], y[:-1]], penalty=down, name="down"),
            fg.Potts([y[:, 1:], y[:, :-1]], penalty=right),
        ])  # fmt: skip

    rng = np.random.default_rng(3)
    right = [(np.arange(shape[1]) > edge) * np.ones(shape, int) for edge in rng.integers(1, shape[1] - 1, 3)]
    noisy = [y + rng.normal(0.0, 0.5, shape) for y in right]
    samples = [{"features": np.stack([x, np.ones(shape)], -1)} for x in noisy]
    return architecture, samples, [{"y": y} for y in right]


def trained(inference, loss, epochs=3):
    architecture, samples, targets = pictures()
    model = fg.EnergyModel(
        architecture, loss=loss, regularizer=fg.l2(1e-3), optimizer=fg.optimizers.sgd(0.05, average=True),
        inference=inference,
    )  # fmt: skip
    return model.fit(samples, targets, epochs=epochs), samples, targets


@pytest.mark.parametrize("loss", [fg.losses.hinge(margin="hamming"), "perceptron"])
def test_auto_learns_by_cuts_where_pairs_attract(loss):
    """The grid is too wide for trees and too loopy for messages: what is found is what cuts find, bit for bit."""
    ours, samples, targets = trained("auto", loss, 12)
    cuts, _, _ = trained("cut", loss, 12)
    for name in ("says", "attraction"):
        assert np.array_equal(ours.parameters[name], cuts.parameters[name])
    assert [row["loss"] for row in ours.history] == [row["loss"] for row in cuts.history]
    assert all(row["unconverged"] == 0 for row in ours.history)
    assert (ours.parameters["attraction"] > 0.0).all()
    best = ours.best_guess(samples)
    assert {each.method for each in best} == {"cut"} and ours.score(samples, targets) > 0.97


def asking(method, attraction, shape=SHAPE):
    architecture, samples, targets = pictures(shape, bounds=(-np.inf, np.inf))
    batch = Batch(read_data(architecture, samples, targets), [2, 0])
    values = {"says": np.array([-1.0, 0.5]), "attraction": np.asarray(attraction)}
    return Asking(batch, values, Inference(method))


def test_auto_answers_otherwise_where_pairs_repel():
    repels = asking("auto", [0.3, -0.2])
    found = [repels.solve_best(repels.numbers).answer.method for _ in range(2)]
    assert found == ["bp", "bp"]
    attracts = asking("auto", [0.3, 0.2])
    assert attracts.solve_best(attracts.numbers).answer.method == "cut"
    assert attracts.solve_best(attracts.numbers, messages=True).answer.method == "bp"


def test_best_wrong_answers_are_found_where_the_best_is_found_by_a_cut():
    """A loss of wrong answers asks for more than cuts tell; the best answer, which is wrong here, is enough."""
    model, _, _ = trained("auto", "lvq2")
    assert all(np.isfinite(row["loss"]) for row in model.history)


@pytest.mark.parametrize(
    "attraction, named",
    [
        ([-0.2, 0.3], r'factor "down" \[0, 0\] over y\[1, 0\], y\[0, 0\] of sample 2'),
        ([0.2, -0.3], r"factor 2 \(Potts\) \[0, 0\] over y\[0, 1\], y\[0, 0\] of sample 2"),
    ],
)
def test_a_factor_that_repels_in_training_is_named_as_declared(attraction, named):
    with pytest.raises(MethodError, match=f'method "cut" needs pairs that attract.*{named} does not'):
        asking("cut", attraction, (3, 4)).solve_best(asking("cut", attraction, (3, 4)).numbers)


def test_the_sample_is_named_by_its_number():
    """Of three samples the last has a pair that repels, in training as in an evaluation."""
    w = fg.Parameter("w", shape=1, initial=[1.0])

    def architecture(sample):
        y = fg.output("y", shape=4, n_states=2)
        return fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=fg.Linear(sample["x"], w), name="pair")])

    samples = [{"x": np.ones((3, 1))}, {"x": np.ones((3, 1))}, {"x": np.array([[1.0], [-1.0], [1.0]])}]
    model = fg.EnergyModel(architecture, loss="perceptron", inference="cut")
    with pytest.raises(MethodError, match=r'factor "pair" \[1\] over y\[2\], y\[1\] of sample 2 does not'):
        model.fit(samples, [{"y": [0, 0, 1, 1]}] * 3)
