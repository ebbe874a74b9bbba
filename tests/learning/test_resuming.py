"""Checkpoints of training: a killed run goes on to the same bits, and another problem is refused."""

import os
import pathlib
import subprocess
import sys

import pytest
from tagged_chains import architecture, draw

import factorgraph_ebm as fg

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLES, TARGETS = draw(10)
ASIDE = draw(6, seed=3)
ONE_EPOCH = fg.optimizers.sgd(0.5, batch_size=4, momentum=0.5, average=True)
HAMMING = fg.losses.hinge(margin="hamming")
DIED = 13
"update in which a run is killed: three after its checkpoint"


def model(loss="likelihood", **choices):
    return fg.EnergyModel(architecture, loss=loss, **choices)


RUNS = {
    "lbfgs": lambda: (model(optimizer=fg.optimizers.lbfgs(tolerance=0.0), regularizer=fg.l2(0.1)), {"epochs": 18}),
    "sgd": lambda: (model(optimizer=ONE_EPOCH), {"epochs": 18, "rng": 5}),
    "bcfw": lambda: (
        model(HAMMING, optimizer=fg.optimizers.bcfw(gap_tolerance=0.0), regularizer=fg.l2(0.05)),
        {"epochs": 18},
    ),
    "patience": lambda: (
        model("perceptron", optimizer=fg.optimizers.sgd(2.0, batch_size=2)),
        {"epochs": 40, "validation": ASIDE, "patience": DIED + 2},
    ),
    "draws": lambda: (model("contrastive_divergence"), {"epochs": 15, "validation": 0.3}),
}
SCRIPT = """
import os, signal, sys
import test_resuming
for run in test_resuming.RUNS.values():  # kernels are loaded once, for all children
    run()[0].fit(test_resuming.SAMPLES, test_resuming.TARGETS, epochs=1)
def die(row):
    if row["update"] == test_resuming.DIED:
        os.kill(os.getpid(), signal.SIGKILL)
for name, run in test_resuming.RUNS.items():
    child = os.fork()
    if child == 0:
        model, how = run()
        path = os.path.join(sys.argv[1], name + ".npz")
        model.fit(test_resuming.SAMPLES, test_resuming.TARGETS, checkpoint=path, callbacks=[die], **how)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, name
"""


def environment():
    here = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "learning")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(here)}


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The checkpoints of runs that were killed by SIGKILL, by name."""
    folder = tmp_path_factory.mktemp("killed")
    subprocess.run([sys.executable, "-c", SCRIPT, str(folder)], env=environment(), check=True, timeout=300)
    return {name: folder / f"{name}.npz" for name in RUNS}


def bits(found):
    return {name: value.tobytes() for name, value in found.parameters.items()}


def told(found):
    """The history without what a clock says."""
    return [{name: value.hex() for name, value in row.items() if name != "seconds"} for row in found.history]


@pytest.mark.parametrize("name", RUNS)
def test_a_killed_run_goes_on_to_the_same_bits(name, killed):
    whole, how = RUNS[name]()
    whole.fit(SAMPLES, TARGETS, **how)
    assert len(whole.history) > DIED
    resumed, how = RUNS[name]()
    resumed.fit(SAMPLES, TARGETS, checkpoint=killed[name], **how)
    assert bits(resumed) == bits(whole) and told(resumed) == told(whole)
    assert [row["update"] for row in resumed.history] == list(range(1, len(whole.history) + 1))
    assert resumed.history[-1]["seconds"] >= resumed.history[DIED]["seconds"] > resumed.history[3]["seconds"]
    # From the checkpoint of the finished run nothing more is done.
    again, how = RUNS[name]()
    again.fit(SAMPLES, TARGETS, checkpoint=killed[name], callbacks=[lambda row: pytest.fail("an update")], **how)
    assert bits(again) == bits(whole)


def test_a_run_that_was_out_of_patience_at_its_checkpoint_stops_there_again(tmp_path):
    """Patience ends in update 10, which is written: a run from there makes no update more."""
    path, losses = tmp_path / "run.npz", iter([3.0, 2.0, *range(4, 100)])
    how = {"validation": ASIDE, "patience": 8, "checkpoint": path, "epochs": 30}
    first = model(optimizer=ONE_EPOCH)
    first._validator = lambda aside, layout: lambda w: next(losses)
    first.fit(SAMPLES, TARGETS, **how)
    assert len(first.history) == 10
    again = model(optimizer=ONE_EPOCH)
    again._validator = lambda aside, layout: lambda w: pytest.fail("an update")
    assert bits(again.fit(SAMPLES, TARGETS, **how)) == bits(first)
    assert bits(model(optimizer=ONE_EPOCH).fit(SAMPLES, TARGETS, epochs=2)) == bits(first)  # the best of them


def test_a_checkpoint_of_another_problem_is_refused(tmp_path):
    path = tmp_path / "run.npz"
    how = {"checkpoint": path, "epochs": 10}
    model(optimizer=ONE_EPOCH).fit(SAMPLES, TARGETS, **how)
    before = path.read_bytes()
    flipped = [{"y": t["y"][::-1]} for t in TARGETS]
    moved = [{"x": s["x"] + 0.1} for s in SAMPLES]
    others = {
        "targets": lambda: model(optimizer=ONE_EPOCH).fit(SAMPLES, flipped, **how),
        "samples": lambda: model(optimizer=ONE_EPOCH).fit(moved, TARGETS, **how),
        "fewer": lambda: model(optimizer=ONE_EPOCH).fit(SAMPLES[:-1], TARGETS[:-1], **how),
        "weights": lambda: model(optimizer=ONE_EPOCH).fit(SAMPLES, TARGETS, weights=[2.0] + [1.0] * 9, **how),
        "seed": lambda: model(optimizer=ONE_EPOCH).fit(SAMPLES, TARGETS, rng=1, **how),
        "loss": lambda: model("perceptron", optimizer=ONE_EPOCH).fit(SAMPLES, TARGETS, **how),
        "beta": lambda: model(optimizer=ONE_EPOCH, beta=2.0).fit(SAMPLES, TARGETS, **how),
        "optimizer": lambda: model(optimizer="lbfgs").fit(SAMPLES, TARGETS, **how),
        "regularizer": lambda: model(optimizer=ONE_EPOCH, regularizer=fg.l2(0.1)).fit(SAMPLES, TARGETS, **how),
    }
    for name, fit in others.items():
        with pytest.raises(fg.FormatError, match="another model"):
            fit()
        assert path.read_bytes() == before, name
    path.write_bytes(before[: len(before) // 2])
    with pytest.raises(fg.FormatError, match=r"run\.npz"):
        model(optimizer=ONE_EPOCH).fit(SAMPLES, TARGETS, **how)
    for bad in (tmp_path, tmp_path / "nowhere" / "run.npz"):
        with pytest.raises(fg.FormatError, match="a folder that exists"):
            model().fit(SAMPLES, TARGETS, checkpoint=bad)


def test_more_epochs_go_on_from_a_finished_run(tmp_path):
    path = tmp_path / "run.npz"
    model(optimizer=ONE_EPOCH).fit(SAMPLES, TARGETS, epochs=7, checkpoint=path)
    longer = model(optimizer=ONE_EPOCH).fit(SAMPLES, TARGETS, epochs=12, checkpoint=path)
    assert bits(longer) == bits(model(optimizer=ONE_EPOCH).fit(SAMPLES, TARGETS, epochs=12))
