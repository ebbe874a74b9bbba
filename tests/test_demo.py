"""The main job: a real photograph, segmented."""

import builtins
import sys

import numpy as np
import pytest

from factorgraph_ebm import demo
from factorgraph_ebm.cli import main


def test_the_demo_writes_pictures_and_says_what_it_did(tmp_path, capsys):
    image = pytest.importorskip("matplotlib.image")
    output = tmp_path / "pictures"
    assert main(["demo", "--output", str(output)]) == 0
    said = capsys.readouterr().out
    before, after = (float(line.split("energy")[1].split()[0]) for line in said.splitlines() if " energy " in line)
    assert after < before
    assert "log_partition" in said
    for name in demo.PICTURES:
        assert str(output / name) in said
        assert image.imread(output / name).ndim == 3
    # Washed out is background: the cut keeps the face, and drops the wall and the flag.
    cut, photo = image.imread(output / "after.png")[..., :3], demo.photograph()
    kept = np.abs(cut - photo).max(axis=-1) < 0.02
    assert kept[220:300, 210:330].mean() > 0.99
    assert kept[400:590, 60:440].mean() > 0.99
    assert kept[:300, 385:].mean() < 0.02
    assert kept[:330, :125].mean() < 0.05


def test_a_colour_costs_less_under_the_mixture_that_has_seen_it():
    rng = np.random.default_rng(0)
    reds = np.array([0.9, 0.1, 0.1]) + 0.02 * rng.normal(size=(200, 3))
    blues = np.array([0.1, 0.1, 0.9]) + 0.02 * rng.normal(size=(200, 3))
    energy = demo.colour_energy(np.concatenate([reds, blues]), n_components=2)
    assert energy(reds[:5]).shape == (5,)
    assert energy(np.array([0.9, 0.1, 0.1])) < energy(np.array([0.5, 0.5, 0.5]))
    # An equal share of both, each a Gaussian: the density integrates to one, here on a grid around the reds.
    grid = np.stack(np.meshgrid(*[np.linspace(c - 0.3, c + 0.3, 61) for c in (0.9, 0.1, 0.1)]), axis=-1)
    assert np.exp(-energy(grid)).sum() * 0.01**3 == pytest.approx(0.5, abs=1e-3)


def test_without_matplotlib_one_line_names_the_extra(monkeypatch, capsys, tmp_path):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
        return real(name, *arguments, **keywords)

    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["demo", "--output", str(tmp_path / "pictures")]) == 2
    err = capsys.readouterr().err
    assert err == "factorgraph-ebm: error: the demo needs matplotlib: pip install 'factorgraph-ebm[plot]'\n"
    assert not (tmp_path / "pictures").exists()
