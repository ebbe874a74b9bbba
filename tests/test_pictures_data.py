"""Pictures with published or recomputed energies: no answer is worse than the references, and exact ones are exact.

Sources: the README of the data, `mrf`. Graphs are declared by `factorgraph_ebm.pictures`, so costs, weights and
energies of the Middlebury benchmark are checked on the way. `benchmarks/pictures.py` asks all methods about all.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from checks import quietly

import factorgraph_ebm as fg
from factorgraph_ebm.pictures import alike, binary_graph, matching_costs, neighbours, read_picture, stereo_graph

pytest.importorskip("PIL")
BINARY = ("horse_64", "horse_full", "text_noise10", "coins_contrast")


@pytest.fixture(scope="module")
def pair(data):
    folder = data / "mrf" / "stereo"
    return [read_picture(folder / f"tsukuba-im{side}.png") for side in "LR"]


def test_costs_of_the_benchmark_are_made_from_its_pictures(data, pair):
    """Means over three channels, times three: every entry of both files of costs, and all weights."""
    plain, standard = (np.load(data / "mrf" / "stereo" / f"tsukuba_{name}.npz") for name in ("default16", "middlebury"))
    np.testing.assert_allclose(3 * matching_costs(*pair, 16, cost="absolute"), plain["unary"], atol=1e-9)
    np.testing.assert_allclose(3 * matching_costs(*pair, 16), standard["unary"], atol=1e-9)
    down, right = alike(pair[0], threshold=8.0, factor=2.0)
    np.testing.assert_array_equal(down, standard["v_weight"][:-1])
    np.testing.assert_array_equal(right, standard["h_weight"][:, :-1])


def test_published_labels_have_their_published_energies(data, pair):
    reference = json.loads((data / "mrf" / "stereo" / "tsukuba_reference.json").read_text())
    graph = stereo_graph(*pair, cost="absolute", factor=1.0)
    stored = np.load(data / "mrf" / "stereo" / "tsukuba_default16.npz")
    for name, published in reference["default_parameter_energy"]["energies_of_published_labelings"].items():
        labels = stored["labels_" + name.replace("-", "").replace(" ", "")].astype(int)
        assert 3 * fg.energy(graph, {"disparity": labels}) == pytest.approx(published, rel=1e-12)
    labels = np.load(data / "mrf" / "stereo" / "tsukuba_middlebury_expansion_labels.npz")["labels"].astype(int)
    assert 3 * fg.energy(stereo_graph(*pair), {"disparity": labels}) == pytest.approx(370889, rel=1e-12)


def test_stereo_is_no_worse_than_expansion_elsewhere(data, pair):
    """A few sweeps of belief propagation, then expansion from their answer: below expansion by itself, 370,889."""
    graph = stereo_graph(*pair)
    swept = quietly(fg.minimize, graph, method="bp", max_iterations=8)
    best = fg.minimize(graph, method="expansion", start=swept)
    assert best.status is fg.Status.CONVERGED and best.lower_bound <= best.energy < swept.energy
    assert 3 * best.energy < 370_000
    truth = read_picture(data / "mrf" / "stereo" / "tsukuba-truedispL.png") / 16.0
    known = truth > 0
    assert known.mean() > 0.75
    wrong = (np.abs(best["disparity"] - truth) > 1)[known].mean()
    assert wrong < 0.05
    assert wrong < 0.25 * (np.abs(matching_costs(*pair, 16).argmin(axis=-1) - truth) > 1)[known].mean()


@pytest.mark.parametrize("name", BINARY)
def test_cuts_are_exact(data, name):
    stored = np.load(data / "mrf" / "binary" / f"{name}.npz")
    y = fg.output("y", shape=stored["U0"].shape, n_states=2)
    weights = stored["w_v"][:-1], stored["w_h"][:, :-1]
    unary = np.stack([stored["U0"], stored["U1"]], axis=-1)
    pairs = [fg.Potts(scope, penalty=weight, name=n) for (n, scope), weight in zip(neighbours(y), weights, strict=True)]
    graph = fg.FactorGraph([fg.Table([y], energies=unary), *pairs])
    least = int(stored["energy"])
    for method in ("cut", "expansion", "auto"):
        best = fg.minimize(graph, method=method)
        assert best.status is fg.Status.OPTIMAL and best.energy == least
        assert best.lower_bound == pytest.approx(least, rel=1e-9)
    assert fg.energy(graph, {"y": stored["x_map"].astype(int)}) == least


def test_binary_denoising_mends_as_many_pixels(data):
    """The weights of two of these are those of `binary_graph`, in hundredths of a nat, rounded."""
    reference = json.loads((data / "mrf" / "binary" / "reference.json").read_text())
    for name in ("horse_64", "text_noise10"):
        stored, told = np.load(data / "mrf" / "binary" / f"{name}.npz"), reference[name]
        graph = binary_graph(stored["noisy"], flipped=told["flip"], weight=told["potts"] / 100)
        best = fg.minimize(graph)
        assert best.status is fg.Status.OPTIMAL
        assert (best["y"] != stored["clean"]).mean() == pytest.approx(told["map_err"], abs=1e-3)
        assert (stored["noisy"] != stored["clean"]).mean() == pytest.approx(told["noisy_err"], abs=1e-12)


def test_many_classes(data):
    """TextonBoost's probabilities of 21 classes, smoothed: the energy of expansion elsewhere, 253,171."""
    stored = np.load(data / "mrf" / "msrc21" / "1_9_s.npz")
    told = json.loads((data / "mrf" / "msrc21" / "1_9_s_reference.json").read_text())
    unary = stored["table_nll100"].astype(float)[stored["ids"]]
    y = fg.output("y", shape=unary.shape[:2], n_states=unary.shape[2])
    pairs = [fg.Potts(scope, penalty=float(stored["lam"]), name=name) for name, scope in neighbours(y)]
    graph = fg.FactorGraph([fg.Table([y], energies=unary), *pairs])
    assert fg.energy(graph, {"y": unary.argmin(axis=-1)}) == told["wta_energy"]
    best = fg.minimize(graph, method="expansion")
    assert best.energy <= told["alpha_expansion_run_here_energy"]
    assert best.status is fg.Status.CONVERGED and best.lower_bound <= best.energy


def test_grey_levels_of_the_house(data):
    """Two hundred and fifty-six levels, squares without a limit: convex, so the optimum is known to .3 per cent."""
    folder = data / "mrf" / "denoise"
    told = json.loads((folder / "house_reference.json").read_text())
    seen, mask = read_picture(folder / "house-input.png").astype(float), read_picture(folder / "house-mask.png") > 0
    levels = np.arange(256)
    y = fg.output("y", shape=seen.shape, n_states=256)
    unary = np.where(mask[..., None], (levels - seen[..., None]) ** 2, 0.0)
    pairs = [fg.TruncatedQuadratic(s, weight=float(told["lam"]), limit=np.inf, name=n) for n, s in neighbours(y)]
    graph = fg.FactorGraph([fg.Table([y], energies=unary), *pairs])
    rounded = np.load(folder / "house_rounded_relaxation.npz")["labels"].astype(int)
    assert fg.energy(graph, {"y": rounded}) == told["integer_upper_bound_rounded"]
