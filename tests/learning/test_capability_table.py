"""Which choices work together: every loss with every inference, optimiser, latent= and regulariser.

Each combination trains, or is refused by a message that names something else to write; and what it names works.
"""

import itertools
import re

import numpy as np
import pytest

import factorgraph_ebm as fg
from factorgraph_ebm.inference import METHODS
from factorgraph_ebm.learning.choices import abilities
from factorgraph_ebm.learning.optimizers import OPTIMIZERS
from factorgraph_ebm.losses import LOSSES


def ramp(minimum, augmented):
    return minimum - augmented


TOLD = {
    "margin": lambda: fg.losses.margin(lambda d: np.maximum(0.0, 1.0 + d), lambda d: (d > -1.0) * 1.0, convex=True),
    "custom": lambda: fg.losses.custom(ramp),
}
LOSS = {name: TOLD[name]() if name in TOLD else make() for name, make in LOSSES.items()}
LOSS["hinge by cost"] = fg.losses.hinge(margin="hamming")
REGULARIZER = {
    "none": None, "l2": fg.l2(0.1), "l1": fg.l1(0.01), "elastic_net": fg.elastic_net(0.01, 0.1),
    "group": fg.group(0.01), "l2 and l1": [fg.l2(0.1), fg.l1(0.01)], "l2 twice": [fg.l2(0.1), fg.l2(0.1, only="w")],
}  # fmt: skip
INSTEAD = re.compile(r"Write |Use |use |Leave it out")


def graph(latent):
    """Two outputs, and perhaps a latent variable between them that is a chain with them: no method is approximate."""
    rng = np.random.default_rng(0)
    y = fg.output("y", shape=2, n_states=2)
    w = fg.Parameter("w", shape=(2, 2), initial=0.1 * rng.normal(size=(2, 2)))
    v = fg.Parameter("v", shape=2, initial=0.1 * rng.normal(size=2))
    if not latent:
        return fg.FactorGraph([fg.Table([y[0], y[1]], energies=w), fg.Table([y], energies=v)])
    z = fg.latent("z", n_states=2)
    return fg.FactorGraph([fg.Table([y[0], z], energies=w), fg.Table([z, y[1]], energies=w), fg.Table([y], energies=v)])


GRAPHS = {latent: graph(latent) for latent in (False, True)}
TARGETS = [{"y": [0, 1]}, {"y": [1, 1]}, {"y": [0, 0]}]


def attempt(latents, **choices):
    """The model after one update, or what refused it; and whether that was before any sample was seen."""
    try:
        model = fg.EnergyModel(GRAPHS[latents], **choices)
    except fg.MethodError as error:
        return str(error), True
    try:
        return model.fit(None, TARGETS, epochs=1), False
    except fg.MethodError as error:
        return str(error), False


def check(latents, **choices):
    found, at_once = attempt(latents, **choices)
    if isinstance(found, str):
        assert INSTEAD.search(found), found
    else:
        assert len(found.history) == 1 and np.isfinite(found.parameters["w"]).all()
        assert np.isfinite(found.history[0]["loss"]) or found.history[0]["loss"] != found.history[0]["loss"]
    return found, at_once


@pytest.mark.parametrize("loss", LOSS)
def test_loss_and_inference(loss):
    """Refused at construction exactly where the method lacks what the loss asks."""
    needs = {"free": "free", "hits": "free", "best": "best", "wrong": "wrong"}
    for method in ("auto", *METHODS):
        found, at_once = check(False, loss=LOSS[loss], inference=method, regularizer=fg.l2(0.1))
        able = abilities(METHODS["bp" if method == "auto" else method])
        lacking = {needs[q.kind] for q in LOSS[loss].queries if q.kind in needs} - able
        assert at_once == bool(lacking), (method, found)
        # Whether pairs attract is known when numbers are: cuts may refuse in training.
        assert isinstance(found, str) == at_once or (method in ("cut", "expansion") and "attract" in found)
        if at_once:
            named = re.search(r'Write inference="(\w+)"', found)[1]
            assert not isinstance(attempt(False, loss=LOSS[loss], inference=named, regularizer=fg.l2(0.1))[0], str)


@pytest.mark.parametrize("loss", LOSS)
def test_loss_and_optimizer(loss):
    """Refused at construction: it depends on nothing but the loss and the regulariser, where all is labelled."""
    for optimizer, regularizer in itertools.product(OPTIMIZERS, ("none", "l2")):
        if optimizer == "cccp":
            continue
        found, at_once = check(False, loss=LOSS[loss], optimizer=optimizer, regularizer=REGULARIZER[regularizer])
        bottomless = (loss, optimizer, regularizer) == ("energy", "lbfgs", "none")
        assert isinstance(found, str) == at_once or bottomless, (optimizer, regularizer, found)
        if at_once:
            other = re.search(r"(?:U|u)se (\w+)\(", found)
            if other:
                named, _ = attempt(False, loss=LOSS[loss], optimizer=other[1], regularizer=fg.l2(0.1))
                assert not isinstance(named, str), found


MADE_FOR = {
    "bcfw": {"hinge", "hinge by cost", "perceptron"},
    "passive_aggressive": {"hinge", "hinge by cost", "perceptron"},
    "averaged_perceptron": set(LOSS),
    "cutting_plane": {name for name, loss in LOSS.items() if loss.convex},
    "lbfgs": {name for name, loss in LOSS.items() if loss.is_objective},
    "sgd": set(LOSS), "adam": set(LOSS), "adagrad": set(LOSS),
}  # fmt: skip


@pytest.mark.parametrize("optimizer", MADE_FOR)
def test_an_optimizer_takes_the_losses_that_it_is_made_for(optimizer):
    regularizer = fg.l2(0.1) if optimizer in ("bcfw", "cutting_plane") else None
    taken = set()
    for name, loss in LOSS.items():
        try:
            fg.EnergyModel(GRAPHS[False], loss=loss, optimizer=optimizer, regularizer=regularizer)
            taken.add(name)
        except fg.MethodError as error:
            assert INSTEAD.search(str(error))
    assert taken == MADE_FOR[optimizer]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizer_and_regularizer(optimizer):
    for name, regularizer in REGULARIZER.items():
        loss = "perceptron" if optimizer == "averaged_perceptron" else fg.losses.hinge(margin="hamming")
        found, at_once = check(optimizer == "cccp", loss=loss, optimizer=optimizer, regularizer=regularizer)
        refused = {
            "bcfw": name not in ("l2", "l2 twice"), "cutting_plane": name not in ("l2", "l2 twice"),
            "averaged_perceptron": name != "none", "passive_aggressive": name != "none",
            "lbfgs": name == "group", "cccp": name == "group",
        }.get(optimizer, False)  # fmt: skip
        assert isinstance(found, str) == refused == at_once, (name, found)


@pytest.mark.parametrize("loss", LOSS)
def test_loss_latents_and_optimizer(loss):
    """With latent variables: which are refused is known when samples are seen, and all messages name another way."""
    for latent, optimizer in itertools.product(("minimize", "marginalize"), (None, *OPTIMIZERS)):
        regularizer = fg.l2(0.1) if optimizer in ("bcfw", "cutting_plane") else None
        found, at_once = check(True, loss=LOSS[loss], optimizer=optimizer, latent=latent, regularizer=regularizer)
        if optimizer in ("bcfw", "cutting_plane", "passive_aggressive"):
            assert isinstance(found, str), optimizer
        if optimizer == "cccp":
            assert at_once or latent == "minimize"
        if optimizer == "sgd" or (optimizer is None and loss != "energy"):  # which has no lower bound to search for
            assert isinstance(found, str) == (loss == "pseudo_likelihood"), found


def test_cccp_needs_latents():
    found, at_once = attempt(False, loss="likelihood", optimizer="cccp")
    assert isinstance(found, str) and not at_once and "Use the optimizer inside it" in found
    found, at_once = attempt(True, loss="likelihood", optimizer="cccp", latent="marginalize")
    assert isinstance(found, str) and at_once
    inside = fg.optimizers.cccp(fg.optimizers.bcfw())
    found, _ = check(True, loss=fg.losses.hinge(margin="hamming"), optimizer=inside, regularizer=fg.l2(0.1))
    assert not isinstance(found, str)


def test_what_samples_decide_is_refused_by_fit_naming_another_way():
    y = fg.output("y", n_states=2)
    power = fg.Parameter("power", initial=1.0)
    bent = fg.Computed(
        lambda p: np.array([0.0, 1.0]) * p**2, power, shape=(2,), pullback=lambda p, g: [(g * [0.0, 2.0 * p]).sum()]
    )
    crooked = fg.FactorGraph([fg.Table([y], energies=bent)])
    bounded = fg.FactorGraph([fg.Table([y], energies=fg.Parameter("w", shape=2, bounds=(0.0, 1.0)))])
    for architecture, match in [(crooked, "linear in the parameters"), (bounded, "within bounds")]:
        model = fg.EnergyModel(architecture, loss="hinge", optimizer="bcfw", regularizer=fg.l2(0.1))
        with pytest.raises(fg.MethodError, match=match + ".*Use lbfgs"):
            model.fit(None, [{"y": 0}, {"y": 1}])
        usual = fg.EnergyModel(architecture, loss="hinge", regularizer=fg.l2(0.1))
        assert usual.fit(None, [{"y": 0}, {"y": 1}], epochs=2).history


def test_a_sample_without_labels_stands_in_the_way_of_nothing():
    """It adds nothing to any loss, so what is convex stays convex; CCCP gives it no answer of its own."""
    by_cost = fg.losses.hinge(margin="hamming")
    more = [*TARGETS, {"y": [-1, -1]}]
    for optimizer in ("bcfw", "cutting_plane"):
        # The mean is over all samples: 3/4 of the losses, so as much of the strength.
        fewer = fg.EnergyModel(GRAPHS[False], loss=by_cost, optimizer=optimizer, regularizer=fg.l2(0.2))
        wholly = fg.EnergyModel(GRAPHS[False], loss=by_cost, optimizer=optimizer, regularizer=fg.l2(0.15))
        fewer.fit(None, TARGETS)
        wholly.fit(None, more)
        assert wholly.history[-1]["objective"] == pytest.approx(0.75 * fewer.history[-1]["objective"], rel=1e-3)
    rounds = [
        fg.EnergyModel(GRAPHS[True], loss="likelihood", optimizer="cccp", regularizer=fg.l2(0.2 * share)).fit(None, t)
        for t, share in ((TARGETS, 1.0), (more, 0.75))
    ]
    np.testing.assert_allclose(rounds[0].parameters["w"], rounds[1].parameters["w"], atol=1e-4)
