"""Class RBM: marginals of the class, the best image of a class with hidden units summed out, BP where it is large.

    E(v, h, y) = -v W h - b v - c h - h U(., y)

H. Larochelle and Y. Bengio, "Classification using discriminative restricted Boltzmann machines", ICML 2008.
"""

import itertools

import numpy as np
import pytest
from checks import quietly

import factorgraph_ebm as fg
from factorgraph_ebm.learning.layout import layout_of


def numbers(n, m, classes, rng, scale=1.0):
    """Wn (n, m) visible x hidden, b (n,), c (m,), U (m, classes)."""
    return (
        scale * rng.normal(size=(n, m)),
        scale * rng.normal(size=n),
        scale * rng.normal(size=m),
        scale * rng.normal(size=(m, classes)),
    )


def machine(Wn, b, c, U):
    n, m = Wn.shape
    v = fg.observed("v", shape=n, n_states=2)
    h = fg.latent("h", shape=m, n_states=2)
    y = fg.output("y", n_states=U.shape[1])
    W = fg.Parameter("W", shape=(n, m), initial=-Wn)
    return fg.FactorGraph(
        [
            fg.Product([v[:, None], h[None, :]], weight=W),
            fg.Product([v], weight=-b),
            fg.Product([h], weight=-c),
            fg.Table([h, y], energies=np.stack([0 * U, -U], 1)),
        ]
    )


def free_energies(Wn, b, c, U):
    """(2^n images, classes): -b v - sum over hidden units of log(1 + exp(c + v W + U)), and the images."""
    images = np.array(list(itertools.product([0, 1], repeat=len(b))))
    inputs = (images @ Wn + c)[:, :, None] + U
    return -(images @ b)[:, None] - np.logaddexp(0.0, inputs).sum(axis=1), images


def class_probabilities(Wn, b, c, U, image):
    score = np.logaddexp(0.0, (image @ Wn + c)[:, None] + U).sum(axis=0)
    weight = np.exp(score - score.max())
    return weight / weight.sum()


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_the_class_of_an_image_is_exact_at_any_size(scale, rng):
    """Given an image, hidden units are leaves of a star around the class: one sweep."""
    for n, m in [(6, 4), (300, 80)]:
        drawn = numbers(n, m, 10, rng, scale / np.sqrt(n))
        graph = machine(*drawn)
        images = rng.integers(0, 2, (5, n))
        for image, belief in zip(images, fg.marginals(graph, given=[{"v": image} for image in images]), strict=True):
            expected = class_probabilities(*drawn, image)
            assert belief.exact
            np.testing.assert_allclose(belief["y"], expected, atol=1e-12)
            best = fg.minimize(graph, given={"v": image}, latent="marginalize")
            assert best["y"] == expected.argmax()
        hidden = 1 / (1 + np.exp(-(images[0] @ drawn[0] + drawn[2] + drawn[3][:, 4])))
        belief = fg.marginals(graph, given={"v": images[0], "y": 4})
        assert belief.exact
        np.testing.assert_allclose(belief["h", 1], hidden, atol=1e-12)


@pytest.mark.parametrize("method", ["enumerate", "bp", None])
@pytest.mark.parametrize("seed", range(4))
def test_the_best_image_of_a_class_by_enumeration(seed, method):
    """All outputs are given, so the image is asked; hidden units are summed out of what is minimised."""
    rng = np.random.default_rng(seed)
    drawn = numbers(7, 3, 10, rng)
    graph = machine(*drawn)
    free, images = free_energies(*drawn)
    asked = {} if method is None else {"method": method}
    for label in (3, 8):
        best = quietly(fg.minimize, graph, given={"y": label}, latent="marginalize", **asked)
        found = np.flatnonzero((images == best["v"]).all(axis=1))[0]
        assert best.energy == pytest.approx(free[found, label], rel=1e-9)
        if method == "enumerate" or best.exact:
            assert best.exact
            np.testing.assert_array_equal(best["v"], images[free[:, label].argmin()])
        else:
            assert free[found, label] >= free[:, label].min() - 1e-9


def test_marginals_of_image_and_hidden_units_by_enumeration(rng):
    drawn = numbers(6, 3, 4, rng)
    graph = machine(*drawn)
    free, images = free_energies(*drawn)
    belief = fg.marginals(graph, asked=["v", "y"], method="enumerate")
    weight = np.exp(-free)
    np.testing.assert_allclose(belief["y"], weight.sum(axis=0) / weight.sum(), atol=1e-12)
    np.testing.assert_allclose(belief["v", 1], weight.sum(axis=1) @ images / weight.sum(), atol=1e-12)
    assert belief.log_partition == pytest.approx(np.log(weight.sum()), rel=1e-12)


def test_loopy_answers_of_a_larger_machine_are_honest(rng):
    """No claim of exactness, and with weak weights marginals near those by Gibbs' own definition at a smaller size."""
    large = machine(*numbers(200, 50, 10, rng, 0.02))
    belief = fg.marginals(large, given={"y": 3})
    assert belief.status is fg.Status.CONVERGED and not belief.exact
    np.testing.assert_allclose(belief["v"].sum(-1), 1.0, atol=1e-9)
    best = quietly(fg.minimize, large, given={"y": 3}, latent="marginalize")
    assert best.status is not fg.Status.INFEASIBLE and set(np.unique(best["v"])) <= {0, 1}
    drawn = numbers(8, 5, 4, rng, 0.1)
    free, images = free_energies(*drawn)
    weight = np.exp(-free[:, 3])
    near = fg.marginals(machine(*drawn), given={"y": 3}, method="bp")
    assert near.status is fg.Status.CONVERGED and not near.exact
    np.testing.assert_allclose(near["v", 1], weight @ images / weight.sum(), atol=1e-3)


def test_parameters_said_anew(rng):
    drawn = numbers(5, 3, 4, rng)
    graph = machine(*drawn)
    other = rng.normal(size=(5, 3))
    image = rng.integers(0, 2, 5)
    belief = fg.marginals(graph, given={"v": image}, parameters={"W": -other})
    np.testing.assert_allclose(belief["y"], class_probabilities(other, *drawn[1:], image), atol=1e-12)


def bars(rng, n=40):
    """Images of 2 x 4 cells with one row on and some noise; the class is the row."""
    rows = rng.integers(0, 2, n)
    images = np.zeros((n, 2, 4), int)
    images[np.arange(n), rows] = 1
    flips = rng.random(images.shape) < 0.05
    return (images ^ flips).reshape(n, 8), rows


def test_learned_by_contrastive_divergence(rng):
    """P(v, y) jointly, so both are targets: afterwards classes are told, and what a class looks like."""
    images, rows = bars(rng)
    Wn, b, c, U = numbers(8, 3, 10, rng, 0.1)
    v = fg.observed("v", shape=8, n_states=2)
    h = fg.latent("h", shape=3, n_states=2)
    y = fg.output("y", n_states=10)
    W = fg.Parameter("W", shape=(8, 3), initial=-Wn)
    bias, hidden = fg.Parameter("b", shape=8, initial=-b), fg.Parameter("c", shape=3, initial=-c)
    label = fg.Parameter("U", shape=(3, 2, 10), initial=np.stack([0 * U, -U], 1))
    graph = fg.FactorGraph(
        [
            fg.Product([v[:, None], h[None, :]], weight=W),
            fg.Product([v], weight=bias),
            fg.Product([h], weight=hidden),
            fg.Table([h, y], energies=label),
        ]
    )
    targets = [{"v": image, "y": row} for image, row in zip(images, rows)]
    learn = fg.optimizers.sgd(0.3, batch_size=10)
    model = fg.EnergyModel(graph, loss=fg.losses.contrastive_divergence(), optimizer=learn, latent="marginalize")
    before = fg.EnergyModel(graph, loss="likelihood", latent="marginalize", inference="enumerate")
    start = before.fit(None, targets, epochs=0)._validator((None, targets), layout_of([graph]))
    model.fit(None, targets, epochs=40)
    # What it follows is no loss, but the likelihood of the images, which is known here, has risen.
    layout = layout_of([graph])
    assert start(layout.vector(model.parameters)) < 0.7 * start(layout.start)
    said = [model.best_guess({"v": image})["y"] for image in images]
    assert np.mean(said == rows) > 0.9
    for row in (0, 1):
        typical = fg.minimize(
            graph, given={"y": row}, latent="marginalize", parameters=model.parameters, method="enumerate"
        )["v"]
        np.testing.assert_array_equal(typical.reshape(2, 4)[row], 1)
        assert typical.reshape(2, 4)[1 - row].sum() <= 1


def test_the_programs_own_line_trains(rng):
    """Only W is learned in the program, and numpy arrays of cells are targets."""
    drawn = numbers(6, 3, 10, rng, 0.1)
    images, rows = rng.integers(0, 2, (6, 6)), rng.integers(0, 10, 6)
    graph = machine(*drawn)
    targets = [{"v": image, "y": row} for image, row in zip(images, rows)]
    model = fg.EnergyModel(graph, loss=fg.losses.contrastive_divergence()).fit(None, targets, epochs=5)
    again = fg.EnergyModel(graph, loss=fg.losses.contrastive_divergence()).fit(None, targets, epochs=5)
    assert (again.parameters["W"] == model.parameters["W"]).all()  # draws are by the seed
    other = fg.EnergyModel(graph, loss=fg.losses.contrastive_divergence()).fit(None, targets, epochs=5, rng=1)
    assert (other.parameters["W"] != model.parameters["W"]).any()
    assert set(model.parameters) == {"W"} and (model.parameters["W"] != -drawn[0]).any()
    assert all(row["unconverged"] == 0.0 for row in model.history)
