"""Pages for those who come from another library: our half of each runs, and says what is true.

So does the program of the page about pictures.
"""

import pathlib
import re

import numpy as np
import pytest
from checks import quietly

import factorgraph_ebm as fg

DOCS = pathlib.Path(__file__).resolve().parents[1] / "docs"


def run(page):
    """Run the code cells of a page, one after another; return their names."""
    cells = re.findall(r"^```\{code-cell\}\n(.*?)^```$", (DOCS / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    assert len(cells) > 3
    names = {}
    for cell in cells:
        exec(compile(cell, page, "exec"), names)
    return names


def test_the_network_of_pgmpy():
    """Against the joint by hand."""
    names = run("coming_from_pgmpy.md")
    joint = np.zeros((2, 2, 2))
    for rain, sprinkler, grass in np.ndindex(2, 2, 2):
        # A column for each combination of parents, the last one fastest.
        wet = names["of_grass"][grass, 2 * rain + sprinkler]
        joint[rain, sprinkler, grass] = names["of_rain"][rain, 0] * names["of_sprinkler"][sprinkler, rain] * wet
    assert joint.sum() == pytest.approx(1.0)
    wet = joint[..., 1] / joint[..., 1].sum()
    belief, alone, both = names["belief"], names["alone"], names["both"]
    assert belief.exact
    np.testing.assert_allclose(belief["rain"], wet.sum(axis=1), atol=1e-12)
    np.testing.assert_allclose(belief.joint["rain", "sprinkler"], wet, atol=1e-12)
    assert alone["rain"] == ("no", "yes")[wet.sum(axis=1).argmax()]
    rain, sprinkler = np.unravel_index(wet.argmax(), wet.shape)
    assert (both["rain"], both["sprinkler"]) == (("no", "yes")[rain], ("off", "on")[sprinkler])
    assert np.exp(-both.energy) == pytest.approx(joint[..., 1].max(), rel=1e-12)
    assert fg.log_partition(names["network"], given={"grass": "wet"}) == pytest.approx(np.log(joint[..., 1].sum()))
    assert (names["draws"]["rain"] == "yes").mean() == pytest.approx(wet[1].sum(), abs=0.05)


def test_the_picture_of_pgmax():
    names = run("coming_from_pgmax.md")
    swept, best, belief = names["swept"], names["best"], names["belief"]
    assert best.status is fg.Status.OPTIMAL and best.method == "cut"
    assert best.energy <= swept.energy
    clean, noisy = names["clean"], names["noisy"]
    assert (best["pixels"] != clean).sum() < 0.15 * (noisy != clean).sum()
    flipped, cut = (noisy != best["pixels"]).sum(), sum((np.diff(best["pixels"], axis=a) != 0).sum() for a in (0, 1))
    kept = noisy.size - flipped
    assert best.energy == pytest.approx(-kept * np.log(0.8) - flipped * np.log(0.2) + 1.2 * cut, rel=1e-12)
    assert belief.status is fg.Status.CONVERGED and not belief.exact
    assert belief["pixels", 1][8:22, 10:30].mean() > 0.9


def test_a_pool_is_an_or_and_an_at_most_one():
    """PGMax's pool: all off, or the indicator and exactly one of the choices on."""
    y = fg.output("y", shape=4, n_states=2)
    *choices, indicator = y
    pool = fg.FactorGraph([fg.Or([*choices, indicator]), fg.AtMostOne(choices)])
    allowed = [states for states in np.ndindex(2, 2, 2, 2) if fg.energy(pool, {"y": np.array(states)}) == 0]
    assert allowed == [(0, 0, 0, 0), (0, 0, 1, 1), (0, 1, 0, 1), (1, 0, 0, 1)]


def test_the_program_of_the_page_about_pictures(tmp_path, monkeypatch, rng):
    pytest.importorskip("PIL")
    from factorgraph_ebm.pictures import read_picture, write_picture

    monkeypatch.chdir(tmp_path)
    texture = rng.integers(0, 256, (20, 50, 3))
    write_picture("right.png", texture[:, 5:45])
    write_picture("left.png", texture[:, :40])
    (program,) = re.findall(r"^```python\n(.*?)^```$", (DOCS / "pictures.md").read_text(), re.DOTALL | re.MULTILINE)
    quietly(exec, program, {})  # ten sweeps need not have come to rest
    assert (read_picture("near.png")[:, 6:] == 17 * 5).mean() > 0.99
