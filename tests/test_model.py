"""The model's face: choices, what is asked and answered, in the user's labels."""

import functools
import itertools

import numpy as np
import pytest
from tagged_chains import TAGS, architecture, draw, energies, states

import factorgraph_ebm as fg

SAMPLES, TARGETS = draw(10)
TESTS, TRUTH = draw(5, seed=9)


@functools.cache
def fitted():
    return fg.EnergyModel(architecture, loss="likelihood", regularizer=fg.l2(0.05)).fit(SAMPLES, TARGETS)


def bits(model):
    return {name: value.tobytes() for name, value in model.parameters.items()}


# Choices.


def test_a_loss_and_an_optimizer_are_words_or_calls():
    by_word = fg.EnergyModel(architecture, loss="hinge", optimizer="sgd").fit(SAMPLES, TARGETS, epochs=2)
    by_call = fg.EnergyModel(architecture, loss=fg.losses.hinge(), optimizer=fg.optimizers.sgd())
    assert bits(by_call.fit(SAMPLES, TARGETS, epochs=2)) == bits(by_word)
    by_function = fg.EnergyModel(architecture, loss=fg.losses.hinge, optimizer="sgd")
    assert bits(by_function.fit(SAMPLES, TARGETS, epochs=2)) == bits(by_word)
    other = fg.EnergyModel(architecture, loss=fg.losses.hinge(margin=0.01), optimizer="sgd")
    assert bits(other.fit(SAMPLES, TARGETS, epochs=2)) != bits(by_word)


@pytest.mark.parametrize(
    ("choices", "match"),
    [
        ({"loss": "likelyhood"}, 'Did you mean "likelihood"'),
        ({"loss": 3}, "neither a word"),
        ({"optimizer": "lbgfs"}, 'Did you mean "lbfgs"'),
        ({"optimizer": fg.optimizers.lbfgs}, r"optimizer=lbfgs\(\)"),
        ({"latent": "maximize"}, '"minimize" or "marginalize"'),
        ({"beta": -1.0}, "beta= is a number from 0"),
        ({"beta": np.inf}, 'loss="perceptron"'),
        ({"beta": 0.0, "loss": "perceptron", "latent": "marginalize"}, "beta above 0"),
        ({"inference": "bpp"}, 'Did you mean "bp"'),
        ({"inference": {"method": "bp", "dampening": 0.3}}, "no option"),
        ({"inference": {"method": "bp", "damping": 3.0}}, "damping"),
        ({"inference": 3}, "inference= is the name of a method"),
        ({"regularizer": 0.1}, r"l2\(\.\.\.\)"),
        ({"regularizer": [fg.l2(0.1), "l1"]}, r"l2\(\.\.\.\)"),
    ],
)
def test_unknown_choices_are_refused_at_construction(choices, match):
    with pytest.raises(fg.FactorGraphError, match=match):
        fg.EnergyModel(architecture, **{"loss": "likelihood", **choices})


def test_an_architecture_is_a_graph_or_a_function_that_makes_one():
    with pytest.raises(fg.MethodError, match="a FactorGraph, or a function"):
        fg.EnergyModel([1, 2], loss="likelihood")
    with pytest.raises(fg.MethodError, match="returned int"):
        fg.EnergyModel(lambda sample: 3, loss="likelihood").fit(SAMPLES, TARGETS)
    with pytest.raises(fg.ParameterError, match="no free parameter"):
        y = fg.output("y", n_states=2)
        fg.EnergyModel(fg.FactorGraph([fg.Table([y], energies=[0.0, 1.0])]), loss="likelihood").fit(None, [{"y": 1}])


@pytest.mark.parametrize(
    ("loss", "regularizer", "row"),
    [
        ("likelihood", None, "step"),
        ("likelihood", fg.group(0.01), "step"),  # lbfgs takes no groups, so sgd
        ("hinge", fg.l2(0.1), "bound"),
        ("hinge", None, "step"),
        ("perceptron", fg.l2(0.1), "step"),
        ("lvq2", None, "step"),
    ],
)
def test_the_default_optimizer_suits_loss_and_regularizer(loss, regularizer, row):
    found = fg.EnergyModel(architecture, loss=loss, regularizer=regularizer).fit(SAMPLES, TARGETS, epochs=2)
    assert row in found.history[-1]
    by_lines = fg.EnergyModel(architecture, loss="likelihood", optimizer="lbfgs").fit(SAMPLES, TARGETS, epochs=2)
    assert (found.history[-1]["loss"] == by_lines.history[-1]["loss"]) == (loss == "likelihood" and regularizer is None)


# What is learned.


def test_likelihood_is_of_targets_given_samples():
    model = fitted()
    total = sum(
        energy[np.flatnonzero((answers == states(target)).all(axis=1))[0]] + np.log(np.exp(-energy).sum())
        for sample, target in zip(SAMPLES, TARGETS)
        for energy, answers in [energies(model.parameters, sample["x"])]
    )
    assert model.history[-1]["loss"] == pytest.approx(total / len(SAMPLES), rel=1e-10)
    assert model.history[-1]["gradient_norm"] < 1e-4


def pair():
    x, y = fg.observed("x", states=["sun", "rain"]), fg.output("y", states=["dry", "wet"])
    return fg.FactorGraph([fg.Table([x, y], energies=fg.Parameter("w", shape=(2, 2)))])


PAIRS = [("sun", "dry")] * 5 + [("sun", "wet")] + [("rain", "wet")] * 2


def test_joint_and_conditional_models_find_the_shares_of_the_samples():
    both = [{"x": x, "y": y} for x, y in PAIRS]
    count = np.array([[5, 1], [0, 2]]) + 1e-300
    joint = fg.EnergyModel(pair(), loss="likelihood", optimizer=fg.optimizers.lbfgs(tolerance=1e-12)).fit(None, both)
    shares = np.exp(-joint.parameters["w"]) / np.exp(-joint.parameters["w"]).sum()
    np.testing.assert_allclose(shares, count / 8, atol=1e-5)
    assert joint.score(None, both) == 11 / 16  # the best guess is (sun, dry): 6 and 5 are right
    xs, ys = [{"x": x} for x, _ in PAIRS], [{"y": y} for _, y in PAIRS]
    conditional = fg.EnergyModel(pair(), loss="likelihood", optimizer=fg.optimizers.lbfgs(tolerance=1e-12)).fit(xs, ys)
    np.testing.assert_allclose(conditional.distribution({"x": "sun"})["y"], [5 / 6, 1 / 6], atol=1e-6)
    assert conditional.score(xs, ys) == 7 / 8
    with pytest.raises(fg.EvidenceError, match='sample 0: observed variable "x" is in neither'):
        conditional.fit(None, ys)


def test_what_is_missing_is_latent():
    """A hole, a masked element and a view are alike: the rest is summed out: the likelihood of what is seen."""
    y = fg.output("y", shape=2, n_states=2)
    graph = fg.FactorGraph([fg.Table([y[0], y[1]], energies=fg.Parameter("w", shape=(2, 2), initial=np.eye(2)))])
    ways = [
        [{"y": [0, 1]}, {"y": [1, -1]}],
        [{"y": [0, 1]}, {"y": np.ma.masked_array([1, 0], mask=[0, 1])}],
        [{"y": [0, 1]}, {y[0]: 1}],
    ]
    found = [fg.EnergyModel(graph, loss="likelihood", latent="marginalize").fit(None, t, epochs=4) for t in ways]
    assert len({str(bits(each)) for each in found}) == 1
    w = found[0].parameters["w"]
    log_z = np.log(np.exp(-w).sum())
    expected = (w[0, 1] + log_z - np.log(np.exp(-w[1]).sum()) + log_z) / 2
    assert found[0].history[-1]["loss"] == pytest.approx(expected, rel=1e-10)
    # With nothing seen of a sample there is nothing to learn from it, but its share of the mean.
    more = [*ways[0], {"y": [-1, -1]}, {}]
    again = fg.EnergyModel(graph, loss="likelihood", latent="marginalize").fit(None, more, epochs=0)
    assert again.parameters["w"].tolist() == np.eye(2).tolist()
    last = fg.EnergyModel(graph, loss="likelihood", latent="marginalize").fit(None, more).history[-1]
    first = fg.EnergyModel(graph, loss="likelihood", latent="marginalize").fit(None, ways[0]).history[-1]
    assert last["loss"] == pytest.approx(first["loss"] / 2, rel=1e-3)


@pytest.mark.parametrize("optimizer", ["lbfgs", "cutting_plane"])
def test_weights_are_repeated_samples(optimizer):
    """Weight 0 leaves out, weight 2 repeats; P is the number of samples, so the regulariser is scaled with it."""
    weights = [0.0, 2.0, 1.0, 1.0, 3.0, 0.0, 1.0, 1.0, 0.0, 2.0]
    chosen = [i for i, w in enumerate(weights) for _ in range(int(w))]
    share = len(chosen) / len(weights)
    make = functools.partial(fg.EnergyModel, architecture, loss="likelihood", optimizer=optimizer)
    weighted = make(regularizer=fg.l2(0.2 * share)).fit(SAMPLES, TARGETS, weights=weights)
    repeated = make(regularizer=fg.l2(0.2)).fit([SAMPLES[i] for i in chosen], [TARGETS[i] for i in chosen])
    for name, value in weighted.parameters.items():
        np.testing.assert_allclose(value, repeated.parameters[name], atol=1e-3)
    assert weighted.history[-1]["objective"] == pytest.approx(share * repeated.history[-1]["objective"], rel=1e-4)


def test_latents_that_start_alike_and_computed_numbers_without_pullback_are_said():
    y, z = fg.output("y", n_states=2), fg.latent("z", n_states=3)
    alike = fg.FactorGraph([fg.Table([z, y], energies=fg.Parameter("w", shape=(3, 2)))])
    with pytest.warns(UserWarning, match=r"all parameters start equal.*initial=rng") as caught:
        fg.EnergyModel(alike, loss="likelihood").fit(None, [{"y": 0}, {"y": 1}], epochs=1)
    assert caught[0].filename == __file__
    square = fg.Computed(lambda a: a**2, fg.Parameter("a", shape=2, initial=[1.0, 2.0]), shape=(2,))
    graph = fg.FactorGraph(
        [fg.Table([y], energies=square, name="square"), fg.Table([y], energies=fg.Parameter("b", shape=2))]
    )
    with pytest.warns(UserWarning, match='factor "square": Computed has no pullback.*"a"') as caught:
        found = fg.EnergyModel(graph, loss="likelihood").fit(None, [{"y": 0}, {"y": 1}], epochs=3)
    assert caught[0].filename == __file__
    assert found.parameters["a"].tolist() == [1.0, 2.0]


def test_bounds_and_frozen_parameters_are_kept():
    y = fg.output("y", n_states=3)
    above = fg.Parameter("above", shape=3, bounds=(0.0, np.inf))
    still = fg.Parameter("still", shape=3, initial=[0.0, 0.0, 1.0], frozen=True)
    graph = fg.FactorGraph([fg.Table([y], energies=above), fg.Table([y], energies=still)])
    targets = [{"y": k} for k in (0, 0, 1, 2)]
    found = fg.EnergyModel(graph, loss="likelihood").fit(None, targets)
    assert found.parameters["still"].tolist() == [0.0, 0.0, 1.0]
    assert (found.parameters["above"] >= 0.0).all() and found.parameters["above"].max() > 0.5
    np.testing.assert_allclose(found.distribution({})["y"], [0.5, 0.25, 0.25], atol=1e-3)


def test_a_forbidden_right_answer_names_sample_and_factor():
    y = fg.output("y", shape=2, n_states=2)
    graph = fg.FactorGraph(
        [
            fg.Table([y], energies=fg.Parameter("w", shape=2)),
            fg.Table([y[0], y[1]], energies=[[0.0, 0.0], [0.0, np.inf]], name="apart"),
        ]
    )
    with pytest.raises(fg.FactorError, match='sample 1: the right answer is forbidden by factor "apart"'):
        fg.EnergyModel(graph, loss="likelihood").fit(None, [{"y": [0, 1]}, {"y": [1, 1]}])


@pytest.mark.parametrize(
    ("samples", "targets", "match"),
    [
        (SAMPLES, TARGETS[:-1], "10 samples and 9 targets"),
        (SAMPLES[0], TARGETS, "samples is a list of dicts"),
        (SAMPLES, TARGETS[0], "targets is a list of dicts"),
        (SAMPLES[:1], [["O"]], r"targets\[0\] is a dict"),
        (None, None, "nothing to learn from"),
        ([], [], "the lists are empty"),
        (SAMPLES[:1], [{"y": ["X"] * len(SAMPLES[0]["x"])}], 'sample 0: .*"?X'),
        (SAMPLES[:1], [{"tag": ["O"]}], 'sample 0: .*"tag"'),
    ],
)
def test_samples_and_targets_that_do_not_fit_are_refused(samples, targets, match):
    with pytest.raises(fg.FactorGraphError, match=match):
        fg.EnergyModel(architecture, loss="likelihood").fit(samples, targets)


def test_partial_fit_goes_on():
    sgd = fg.optimizers.sgd(0.3, batch_size=2)
    model = fg.EnergyModel(architecture, loss="likelihood", optimizer=sgd)
    for half in (slice(0, 5), slice(5, 10), slice(0, 5)):
        before = model.parameters.get("emission", np.zeros(())).copy()
        assert model.partial_fit(SAMPLES[half], TARGETS[half]) is model
        assert (model.parameters["emission"] != before).any()
    assert [row["update"] for row in model.history] == [1.0, 2.0, 3.0]
    first = fg.EnergyModel(architecture, loss="likelihood", optimizer=sgd).fit(SAMPLES[:5], TARGETS[:5], epochs=1)
    again = fg.EnergyModel(architecture, loss="likelihood", optimizer=sgd).partial_fit(SAMPLES[:5], TARGETS[:5])
    assert bits(first) == bits(again)
    # Another order in each call.
    other = fg.EnergyModel(architecture, loss="likelihood", optimizer=sgd)
    other.parameters, other.history = dict(first.parameters), [{}]
    one = bits(other.partial_fit(SAMPLES[:5], TARGETS[:5]))
    other.parameters, other.history = dict(first.parameters), []
    assert bits(other.partial_fit(SAMPLES[:5], TARGETS[:5])) != one
    assert model.fit(SAMPLES, TARGETS, epochs=2).history[0]["update"] == 1.0


def test_partial_fit_refuses_what_begins_anew_and_the_default_goes_on():
    choices = {"loss": fg.losses.hinge(margin="hamming"), "regularizer": fg.l2(0.1)}
    with pytest.raises(fg.MethodError, match='"bcfw" keeps bounds.*optimizer="sgd"'):
        fg.EnergyModel(architecture, optimizer="bcfw", **choices).partial_fit(SAMPLES, TARGETS)
    model = fg.EnergyModel(architecture, **choices).fit(SAMPLES, TARGETS, epochs=5)
    before = model.parameters["emission"].copy()
    after = model.partial_fit(SAMPLES, TARGETS).parameters["emission"]
    assert 0.0 < abs(after - before).max() < 0.5 * abs(before).max()
    y = fg.output("y", n_states=2)
    model.architecture = fg.FactorGraph([fg.Table([y], energies=fg.Parameter("emission", shape=2))])
    with pytest.raises(fg.ParameterError, match='"emission" has shape'):
        model.partial_fit(None, [{"y": 1}])


# Asking.


def test_one_or_a_list_is_asked_in_labels():
    model = fitted()
    one, many = model.best_guess(TESTS[0]), model.best_guess(TESTS)
    assert one["y"].tolist() == many[0]["y"].tolist() and len(many) == len(TESTS)
    for sample, guess in zip(TESTS, many):
        energy, answers = energies(model.parameters, sample["x"])
        assert guess["y"].tolist() == [TAGS[k] for k in answers[energy.argmin()]]
        assert guess.energy == pytest.approx(energy.min(), rel=1e-12)
        assert guess.exact
    beliefs = model.distribution(tuple(TESTS))
    assert model.distribution(TESTS[1])["y", "B"].tolist() == beliefs[1]["y", "B"].tolist()
    energy, answers = energies(model.parameters, TESTS[1]["x"])
    weight = np.exp(-energy) / np.exp(-energy).sum()
    np.testing.assert_allclose(beliefs[1]["y", "B"], weight @ (answers == 1), atol=1e-12)
    assert model.best_guess([]) == []


def test_energies_and_rankings():
    model = fitted()
    values, single = model.energy(TESTS, TRUTH), model.energy(TESTS[0], TRUTH[0])
    assert isinstance(single, float) and values[0] == single
    energy, answers = energies(model.parameters, TESTS[0]["x"])
    assert single == pytest.approx(energy[(answers == states(TRUTH[0])).all(axis=1)][0], rel=1e-12)
    candidates = [{"y": [tag] * len(TESTS[0]["x"])} for tag in TAGS]
    ranked = model.rank(TESTS[0], candidates)
    costs = [model.energy(TESTS[0], each) for each in candidates]
    assert list(ranked.order) == np.argsort(costs).tolist()
    np.testing.assert_allclose(ranked.energies, costs, rtol=1e-12)
    assert list(model.rank([TESTS[0]], candidates)[0].order) == list(ranked.order)
    with pytest.raises(fg.EvidenceError, match="5 samples and 4 assignments"):
        model.energy(TESTS, TRUTH[:-1])
    with pytest.raises(fg.EvidenceError, match="sample 0 is a str"):
        model.best_guess(["words"])


def test_keywords_are_those_of_the_verbs_and_overrule_the_model():
    model = fg.EnergyModel(architecture, loss="likelihood", inference={"method": "bp", "damping": 0.3})
    model.fit(SAMPLES, TARGETS, epochs=2)
    assert model.best_guess(TESTS[0]).method == "bp"
    assert model.best_guess(TESTS[0], method="enumerate").method == "enumerate"  # which has no damping
    cold = model.distribution(TESTS[0], beta=50.0)["y"].max(axis=-1)
    assert (cold > model.distribution(TESTS[0])["y"].max(axis=-1)).all()
    other = {"emission": np.zeros((4, 3)), "transition": np.zeros((3, 3))}
    np.testing.assert_allclose(model.distribution(TESTS[0], parameters=other)["y"], 1 / 3)
    forced = model.best_guess({**TESTS[0], "y": ["I"] + [None] * (len(TESTS[0]["x"]) - 1)})
    assert forced["y"][0] == "I"


def test_before_fit_initial_values_answer_or_their_lack_is_said():
    with pytest.raises(fg.ParameterError, match='"emission" has no value yet. Call fit first'):
        fg.EnergyModel(architecture, loss="likelihood").best_guess(TESTS[0])
    y = fg.output("y", n_states=2)
    graph = fg.FactorGraph([fg.Table([y], energies=fg.Parameter("w", shape=2, initial=[1.0, 0.0]))])
    assert fg.EnergyModel(graph, loss="likelihood").best_guess({})["y"] == 1


def test_graph_shows_what_the_architecture_builds():
    graph = fitted().graph(TESTS[0])
    assert graph["y"].shape == (len(TESTS[0]["x"]),) and [f.name for f in graph.factors] == ["emission", "transition"]


def test_the_score_counts_labelled_cells_only():
    model = fitted()
    guesses = model.best_guess(TESTS)
    right = [g["y"] == np.array(t["y"]) for g, t in zip(guesses, TRUTH)]
    assert model.score(TESTS, TRUTH) == np.concatenate(right).mean()
    holes = [{"y": [tag if i % 2 == 0 else None for i, tag in enumerate(t["y"])]} for t in TRUTH]
    assert model.score(TESTS, holes) == np.concatenate([r[::2] for r in right]).mean()
    with pytest.raises(fg.EvidenceError, match="no labels to compare"):
        model.score(TESTS, [{}] * len(TESTS))
    with pytest.raises(fg.EvidenceError, match="a target for each"):
        model.score(TESTS, TRUTH[:2])


def test_the_score_counts_what_it_is_asked_to():
    """Of cells or of whole answers, of some variables, by weights of samples, under other keywords of minimize."""
    a, b = fg.output("a", shape=3, n_states=2), fg.output("b", n_states=2)
    graph = fg.FactorGraph([fg.Table([a], energies=[0.0, 1.0]), fg.Table([b], energies=[1.0, 0.0])])
    model = fg.EnergyModel(graph, loss="energy")  # it says a = 0 and b = 1, always
    truth = [{"a": [0, 0, 0], "b": 1}, {"a": [0, 1, -1], "b": 1}, {"b": 0}]
    assert model.score(None, truth) == 6 / 8
    assert (model.score(None, truth, of="a"), model.score(None, truth, of=[b])) == (4 / 5, 2 / 3)
    assert model.score(None, truth, per="sample") == 1 / 3
    assert model.score(None, truth, per="sample", of="a") == 1 / 2  # the third says nothing of it
    assert model.score(None, truth, weights=[1, 2, 0]) == (4 + 2 * 2) / (4 + 2 * 3)
    assert model.score(None, truth, weights=[1, 2, 3], per="sample") == 1 / 6
    assert model.score(None, truth, method="icm") == 6 / 8
    with pytest.raises(fg.MethodError, match='no sample has a variable "c"'):
        model.score(None, truth, of="c")
    with pytest.raises(fg.MethodError, match='per= is "cell" or "sample"'):
        model.score(None, truth, per="variable")
    with pytest.raises(fg.EvidenceError, match="no labels to compare with, where weights"):
        model.score(None, truth, of="a", weights=[0, 0, 1])
    with pytest.raises(fg.EvidenceError, match="weights="):
        model.score(None, truth, weights=[1, 2])
    with pytest.raises(fg.MethodError, match="no option"):
        model.score(None, truth, method="icm", damping=0.5)


def test_latents_are_summed_or_minimised_as_the_model_says():
    """Two ways to be y = 1, each above the one way to be y = 0: together they weigh more."""
    y, z = fg.output("y", n_states=2), fg.latent("z", n_states=2)
    table = fg.Parameter("w", shape=(2, 2), initial=[[0.0, 0.3], [5.0, 0.3]])
    graph = fg.FactorGraph([fg.Table([z, y], energies=table)])
    least, summed = (fg.EnergyModel(graph, loss="likelihood", latent=how) for how in ("minimize", "marginalize"))
    assert least.best_guess({})["y"] == 0 and summed.best_guess({})["y"] == 1
    assert least.best_guess({})["z"] == 0
    with pytest.raises(KeyError, match="summed over"):
        summed.best_guess({})["z"]
    assert (least.score(None, [{"y": 0}]), summed.score(None, [{"y": 0}])) == (1.0, 0.0)
    assert list(least.rank({}, [{"y": 0}, {"y": 1}]).order) == [0, 1]
    assert list(summed.rank({}, [{"y": 0}, {"y": 1}]).order) == [1, 0]


def test_the_repr_says_what_it_is():
    assert repr(fitted()) == "<EnergyModel: loss likelihood, 2 parameters>"
    assert repr(fg.EnergyModel(architecture, loss="hinge")) == "<EnergyModel: loss hinge, not fitted>"


def test_threads_change_no_bit():
    found = [
        fg.EnergyModel(architecture, loss="likelihood", inference={"method": "bp", "threads": n}).fit(
            SAMPLES, TARGETS, epochs=3
        )
        for n in (1, 2)
    ]
    assert bits(found[0]) == bits(found[1])
    assert all(a.tolist() == b.tolist() for a, b in itertools.pairwise([f.best_guess(TESTS[0])["y"] for f in found]))
