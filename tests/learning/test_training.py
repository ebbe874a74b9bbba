"""The loop that trains: interrupts, losses that are no numbers, what is told."""

import _thread
import os
import pathlib
import re
import signal
import sys
import threading

import numpy as np
import pytest
from tagged_chains import architecture, draw
from terminal import run_at_terminal

import factorgraph_ebm as fg
from factorgraph_ebm.learning.watching import WATCHED

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLES, TARGETS = draw(10)
ASIDE = draw(6, seed=3)
ONE_EPOCH = fg.optimizers.sgd(0.5, batch_size=4, momentum=0.5, average=True)
HAMMING = fg.losses.hinge(margin="hamming")


def model(loss="likelihood", **choices):
    return fg.EnergyModel(architecture, loss=loss, **choices)


def environment():
    here = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "learning")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(here)}


def bits(found):
    return {name: value.tobytes() for name, value in found.parameters.items()}


# Interrupts.


def test_an_interrupt_in_an_update_keeps_the_last_whole_one():
    interrupted = model(optimizer=ONE_EPOCH)
    started = threading.Event()
    timer = threading.Thread(target=lambda: started.wait(60) and (_thread.interrupt_main(), None))
    timer.start()

    def begin(row):
        if row["update"] == 5:
            started.set()

    with pytest.warns(fg.ConvergenceWarning, match=r"interrupted after \d+ updates") as caught:
        interrupted.fit(SAMPLES, TARGETS, epochs=100_000, callbacks=[begin])
    timer.join()
    assert caught[0].filename == __file__
    done = len(interrupted.history)
    assert done >= 5
    # A signal between an update and its row leaves the update in place.
    near = [bits(model(optimizer=ONE_EPOCH).fit(SAMPLES, TARGETS, epochs=n)) for n in (done, done + 1)]
    assert bits(interrupted) in near


def test_an_interrupt_keeps_the_best_by_validation():
    def stop(row):
        if row["update"] == 9:
            signal.raise_signal(signal.SIGINT)

    choices = {"optimizer": fg.optimizers.sgd(20.0, batch_size=2)}
    interrupted = model("perceptron", **choices)
    with pytest.warns(fg.ConvergenceWarning, match="interrupted after 9 updates"):
        interrupted.fit(SAMPLES, TARGETS, validation=ASIDE, callbacks=[stop])
    best = int(np.argmin([row["validation"] for row in interrupted.history])) + 1
    assert best < 9
    assert bits(interrupted) == bits(model("perceptron", **choices).fit(SAMPLES, TARGETS, epochs=best))


def test_an_interrupt_before_the_first_update_keeps_what_was_initial():
    def init(oracle, regularizer):
        raise KeyboardInterrupt

    slow = model(optimizer=fg.optimizers.sgd()._replace(init=init))
    with pytest.warns(fg.ConvergenceWarning, match="interrupted after 0 updates"):
        slow.fit(SAMPLES, TARGETS)
    assert slow.history == [] and not slow.parameters["emission"].any()


# What is no number.


def test_parameters_that_run_away_name_sample_and_factor():
    runaway = model("square_square", optimizer=fg.optimizers.sgd(10.0))
    with pytest.raises(fg.MethodError, match=r'in update \d+: the loss of sample \d+ was .* factor "(emission|trans)'):
        runaway.fit(SAMPLES, TARGETS)
    with pytest.raises(fg.MethodError, match=r'sample \d+: an energy of factor "emission" became -?(inf|nan)'):
        model(optimizer=fg.optimizers.sgd(1e308)).fit(SAMPLES, TARGETS)
    assert runaway.parameters == {} and runaway.history == []


@pytest.mark.parametrize("optimizer", ["lbfgs", "sgd", "adam", "adagrad", "cccp"])
def test_a_loss_that_is_nan_from_the_start_names_its_sample(optimizer):
    long = [i for i, s in enumerate(SAMPLES) if len(s["x"]) >= 4]  # log(3^4) > 4

    def log_ratio(correct, free_energy):
        return np.where(correct - free_energy < 4.0, correct - free_energy, np.nan)

    def with_latent(sample):
        z = fg.latent("z", n_states=2)
        hidden = fg.Parameter("hidden", shape=2, initial=[0.0, 1.0])
        return fg.FactorGraph([*architecture(sample).factors, fg.Table([z], energies=hidden)])

    used = with_latent if optimizer == "cccp" else architecture
    broken = fg.EnergyModel(used, loss=fg.losses.custom(log_ratio), optimizer=optimizer)
    with pytest.raises(fg.MethodError, match=r"sample \d+ was nan, .* factor \"(emission|2)") as caught:
        broken.fit(SAMPLES, TARGETS)
    assert int(re.search(r"sample (\d+)", str(caught.value))[1]) in long
    # What has no weight does not count.
    weights = [float(len(s["x"]) < 4) for s in SAMPLES]
    if optimizer == "lbfgs":
        assert broken.fit(SAMPLES, TARGETS, weights=weights).history


@pytest.mark.parametrize("optimizer", ["lbfgs", "sgd"])
def test_energies_that_become_nan_name_sample_and_factor(optimizer):
    power = fg.Parameter("power", initial=1.0)

    def only_above(value):
        return np.where(value > 0.9, value, np.nan) * np.arange(3.0)

    def broken(sample):
        y = architecture(sample)["y"]
        numbers = fg.Computed(only_above, power, shape=(3,), pullback=lambda p, g: [(g * np.arange(3.0)).sum()])
        return fg.FactorGraph([*architecture(sample).factors, fg.Table([y], energies=numbers, name="bias")])

    targets = [{"y": ["I"] * len(s["x"])} for s in SAMPLES]  # the energy of "I" wants to fall
    with pytest.raises(fg.MethodError, match=r'sample \d+: an energy of factor "bias" became nan.*"power"'):
        fg.EnergyModel(broken, loss="likelihood", optimizer=optimizer).fit(SAMPLES, targets)


def test_an_objective_without_a_bottom_is_an_error_and_with_l2_is_none():
    with pytest.raises(fg.MethodError, match=r'fell to .*"energy" has no lower bound.*l2'):
        model("energy").fit(SAMPLES, TARGETS)
    assert model("energy", regularizer=fg.l2(1.0)).fit(SAMPLES, TARGETS).history[-1]["loss"] < 0.0


# Inference that does not converge.


def loop(sample):
    y = fg.output("y", shape=4, n_states=2)
    return fg.FactorGraph(
        [
            fg.Table([y], energies=fg.Linear(sample["x"], fg.Parameter("unary", shape=(2, 2)))),
            fg.Potts([y, y[[1, 2, 3, 0]]], penalty=fg.Parameter("pair", initial=-3.0)),
            fg.Potts([y[0], y[2]], penalty=-2.5),
        ]
    )


LOOPS = [{"x": x} for x in np.random.default_rng(2).normal(size=(6, 4, 2))]
STATES = [{"y": y} for y in np.random.default_rng(3).integers(0, 2, (6, 4))]


@pytest.mark.parametrize(
    ("loss", "optimizer"),
    [
        ("likelihood", "lbfgs"),
        ("likelihood", "sgd"),
        (HAMMING, "passive_aggressive"),
        ("perceptron", "averaged_perceptron"),
    ],
)
def test_samples_that_did_not_converge_are_counted_and_said_once(loss, optimizer):
    short = {"method": "bp", "max_iterations": 1, "tolerance": 0.0}
    loopy = fg.EnergyModel(loop, loss=loss, optimizer=optimizer, inference=short)
    with pytest.warns(fg.ConvergenceWarning, match=r"did not converge for \d samples.*damping") as caught:
        loopy.fit(LOOPS, STATES, epochs=3)
    assert len(caught) == 1 and caught[0].filename == __file__
    counts = [row["unconverged"] for row in loopy.history]
    assert counts == [6.0] * 3 if loss == "likelihood" else all(0 < count <= 6 for count in counts)
    exact = fg.EnergyModel(loop, loss=loss, optimizer=optimizer).fit(LOOPS, STATES, epochs=3)
    assert [row["unconverged"] for row in exact.history] == [0.0] * 3


def test_samples_are_counted_where_latents_are_held():
    """CCCP asks a problem of its own in each round, with an optimiser inside: it is counted with the rest."""
    short = {"method": "bp", "max_iterations": 1, "tolerance": 0.0}
    holes = [{"y": np.where([True, True, False, True], each["y"], -1)} for each in STATES]
    held = fg.EnergyModel(loop, loss="likelihood", optimizer="cccp", inference=short, regularizer=fg.l2(0.1))
    with pytest.warns(fg.ConvergenceWarning, match="did not converge for 6 samples"):
        held.fit(LOOPS, holes, epochs=2)
    assert [row["unconverged"] for row in held.history] == [6.0] * len(held.history)


# What is told.


def test_every_row_has_the_figures_and_they_are_right():
    found = model(regularizer=fg.l2(0.1)).fit(SAMPLES, TARGETS)
    names = {"update", "loss", "objective", "gradient_norm", "gap", "gap_size", "spread", "unconverged", "seconds"}
    assert all(names <= set(row) for row in found.history)
    last = found.history[-1]
    square = sum((value**2).sum() for value in found.parameters.values())
    assert last["objective"] == pytest.approx(last["loss"] + 0.1 * square, rel=1e-12)
    losses, gaps = [], []
    for sample, target in zip(SAMPLES, TARGETS):
        ranked = fg.k_best(found.graph(sample), 2, parameters=found.parameters)
        right = found.energy(sample, target)
        losses.append(right + fg.log_partition(found.graph(sample), parameters=found.parameters))
        wrong = next(each.energy for each in ranked if each["y"].tolist() != target["y"])
        gaps.append(wrong - right)
    assert last["loss"] == pytest.approx(np.mean(losses), rel=1e-9)
    assert last["gap"] == pytest.approx(np.mean(gaps), rel=1e-9)
    assert last["gap_size"] == pytest.approx(np.mean(np.abs(gaps)), rel=1e-9)
    followed = [int(row["update"]) for row in found.history if row["gap"] == row["gap"]]
    assert followed == sorted({1, 2, 4, 8, 16, 32, len(found.history)} & set(range(1, len(found.history) + 1)))
    assert WATCHED >= len(SAMPLES)
    margin = model(HAMMING, regularizer=fg.l2(0.1)).fit(SAMPLES, TARGETS, epochs=10)
    assert margin.history[-1]["duality_gap"] >= 0.0 and margin.history[-1]["bound"] <= margin.history[-1]["objective"]


def test_callbacks_are_told_each_row_and_stop():
    rows, others = [], []

    def stop(row):
        rows.append(row)
        return row["update"] == 4

    found = model(optimizer=ONE_EPOCH).fit(SAMPLES, TARGETS, callbacks=[stop, others.append])
    assert rows == others == found.history and len(rows) == 4
    assert bits(found) == bits(model(optimizer=ONE_EPOCH).fit(SAMPLES, TARGETS, epochs=4))
    # Anything but True goes on: a callback may return what it likes.
    assert len(model(optimizer=ONE_EPOCH).fit(SAMPLES, TARGETS, epochs=3, callbacks=[lambda row: 1]).history) == 3


def test_patience_stops_and_keeps_the_best_of_validation():
    choices = {"optimizer": fg.optimizers.sgd(20.0, batch_size=2)}
    found = model("perceptron", **choices).fit(SAMPLES, TARGETS, validation=ASIDE, patience=3, epochs=60)
    seen = [row["validation"] for row in found.history]
    best = int(np.argmin(seen))
    assert len(seen) == best + 4 < 60
    kept = model("perceptron", **choices).fit(SAMPLES, TARGETS, epochs=best + 1)
    assert bits(found) == bits(kept)
    # The figure is the mean loss on what was set aside.
    guesses = found.best_guess(ASIDE[0])
    losses = [found.energy(s, t) - guess.energy for s, t, guess in zip(*ASIDE, guesses)]
    assert seen[best] == pytest.approx(np.mean(losses), abs=1e-12)


def test_a_share_is_set_aside_by_the_seed():
    found = [model().fit(SAMPLES, TARGETS, validation=0.3, rng=seed, epochs=3) for seed in (0, 0, 1)]
    assert bits(found[0]) == bits(found[1]) != bits(found[2])
    assert all("validation" in row for row in found[0].history)


def test_a_loss_without_a_value_is_validated_by_the_score():
    found = model("contrastive_divergence").fit(SAMPLES, TARGETS, validation=ASIDE, epochs=6)
    assert min(row["validation"] for row in found.history) == pytest.approx(1.0 - found.score(*ASIDE), abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"patience": 3}, "patience= waits for a better validation"),
        ({"patience": 0, "validation": 0.5}, "patience= is None or an int from 1"),
        ({"validation": 1.0}, "between 0 and 1"),
        ({"validation": 0.01}, "between 0 and 1"),
        ({"validation": "some"}, "between 0 and 1"),
        ({"validation": (SAMPLES, TARGETS[:-1])}, "a target for each"),
        ({"epochs": -1}, "epochs= is None or an int from 0"),
        ({"epochs": 2.5}, "epochs= is None or an int"),
        ({"rng": -1}, "rng= is a seed"),
        ({"rng": "seed"}, "rng= is a seed"),
        ({"weights": [1.0]}, "for each of 10 samples, not shape"),
        ({"weights": [-1.0] + [1.0] * 9}, "for each of 10 samples, not -1"),
        ({"weights": [np.nan] + [1.0] * 9}, "for each of 10 samples, not nan"),
        ({"weights": ["heavy"] * 10}, "for each of 10 samples"),
        ({"weights": [0.0] * 10}, "0 for all samples"),
    ],
)
def test_bad_arguments_are_refused_and_leave_the_model_as_it_was(arguments, match):
    found = model().fit(SAMPLES, TARGETS, epochs=1)
    before = bits(found), found.history
    with pytest.raises(fg.FactorGraphError, match=match):
        found.fit(SAMPLES, TARGETS, **arguments)
    assert (bits(found), found.history) == before


def test_no_epochs_leave_what_was_initial():
    found = model().fit(SAMPLES, TARGETS, epochs=0)
    assert found.history == [] and not found.parameters["emission"].any()


def test_a_generator_is_a_seed():
    one, two = (model(optimizer=ONE_EPOCH).fit(SAMPLES, TARGETS, epochs=2, rng=np.random.default_rng(3)) for _ in "ab")
    assert bits(one) == bits(two)


def test_collapse_is_said_where_all_answers_come_to_cost_the_same():
    """The energy loss with energies that cannot fall below 0: everything becomes 0 (LeCun et al., figure 6)."""
    collapsing = fg.Parameter("w", shape=3, initial=[1.0, 2.0, 3.0], bounds=(0.0, np.inf))
    graph = fg.FactorGraph([fg.Table([fg.output("y", n_states=3)], energies=collapsing)])
    targets = [{"y": k} for k in (0, 1, 2, 2)]
    with pytest.warns(fg.CollapseWarning, match='"energy" fell to 0.*hinge') as caught:
        fg.EnergyModel(graph, loss="energy").fit(None, targets)
    assert caught[0].filename == __file__
    # Answers that are as often above the right one as below it are no collapse.
    model(regularizer=fg.l2(0.01)).fit(SAMPLES, TARGETS)


def penalised(initial=None, bounds=(-np.inf, np.inf)):
    """Long sequences in which one state is not to follow another: all that is learned is small beside that penalty."""
    rng = np.random.default_rng(0)
    weights, penalty = rng.normal(size=(4, 3)), np.zeros((3, 3))
    penalty[0, 2] = 1e5
    start = None if initial is None else np.full((4, 3), initial)
    emission = fg.Parameter("emission", shape=(4, 3), initial=start, bounds=bounds)

    def architecture(sample):
        y = fg.output("y", shape=len(sample["x"]), n_states=3)
        emissions = fg.Table([y], energies=fg.Linear(sample["x"], emission))
        return fg.FactorGraph([emissions, fg.Table([y[:-1], y[1:]], energies=penalty)])

    samples = [{"x": np.abs(rng.normal(size=(40, 4)))} for _ in range(20)]
    y = fg.output("y", shape=40, n_states=3)
    never = fg.Table([y[:-1], y[1:]], energies=penalty)
    noisy = [sample["x"] @ weights + 0.2 * rng.gumbel(size=(40, 3)) for sample in samples]
    right = fg.minimize([fg.FactorGraph([fg.Table([y], energies=each), never]) for each in noisy])
    targets = [{"y": each["y"]} for each in right]
    return architecture, samples, targets


@pytest.mark.parametrize("loss", ["likelihood", "perceptron", "pseudo_likelihood"])
def test_a_model_that_gets_more_cells_right_has_not_collapsed(loss):
    """Its gaps are small beside the penalty, and no sequence is right throughout, but most cells are."""
    architecture, samples, targets = penalised()
    model = fg.EnergyModel(architecture, loss=loss).fit(samples, targets, epochs=10)  # a warning would be an error
    last = model.history[-1]
    assert last["gap_size"] < 1e-3 * last["spread"] and last["loss"] < model.history[0]["loss"]
    assert model.score(samples, targets) > 0.8 and model.score(samples, targets, per="sample") < 0.5


def test_a_collapse_beside_a_penalty_is_said():
    """The same graph, whose energies cannot fall below 0: all that is learned falls to 0."""
    architecture, samples, targets = penalised(initial=1.0, bounds=(0.0, np.inf))
    with pytest.warns(fg.CollapseWarning, match='"energy" fell to 0'):
        fg.EnergyModel(architecture, loss="energy").fit(samples, targets)


def test_a_search_that_ends_at_a_kink_says_so():
    with pytest.warns(fg.ConvergenceWarning, match='"log", which has kinks.*sgd'):
        model("log", optimizer="lbfgs").fit(SAMPLES, TARGETS)


def test_the_bar_shows_the_loss_and_the_time_left():
    script = (
        "import test_training as t\n"
        "t.model(optimizer=t.ONE_EPOCH).fit(t.SAMPLES, t.TARGETS, epochs=40, progress=True)\n"
        "print('done')"
    )
    code, out, seen = run_at_terminal([sys.executable, "-c", script], env=environment())
    assert (code, out) == (0, "done\n"), seen
    assert "loss=" in seen and "/40 " in seen and re.search(r"\d\d:\d\d<\d\d:\d\d", seen)


def test_without_progress_nothing_is_written(capfd):
    model().fit(SAMPLES, TARGETS, epochs=2)
    assert capfd.readouterr() == ("", "")
