"""Denoising graphs: their energies by hand, and what they take away."""

import math

import numpy as np
import pytest
from checks import quietly

import factorgraph_ebm as fg
from factorgraph_ebm.pictures import binary_graph, grey_graph, grey_levels, noise_of


def steps(labels):
    return np.concatenate([np.diff(labels, axis=axis).ravel() for axis in (0, 1)])


def test_the_energy_of_two_values_by_hand(rng):
    seen, y = rng.integers(0, 2, (5, 7)), rng.integers(0, 2, (5, 7))
    graph = binary_graph(seen, flipped=0.2, weight=0.7)
    expected = math.log(4.0) * (seen != y).sum() + 0.7 * (steps(y) != 0).sum()
    assert fg.energy(graph, {"y": y}) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("distance, power", [("linear", 1), ("quadratic", 2)])
def test_the_energy_of_grey_values_by_hand(distance, power, rng):
    """In grey values: the number of levels says how fine the answer is, and changes no weight."""
    seen = rng.uniform(0, 255, (4, 6))
    for n_levels in (2, 6, 52):
        y = rng.integers(0, n_levels, seen.shape)
        graph = grey_graph(
            seen, n_levels=n_levels, noise=20.0, weight=0.05, limit=60.0, distance=distance, outlier=9.0
        )
        grey = 255.0 * y / (n_levels - 1)
        data = np.minimum((grey - seen) ** 2 / 800.0, 9.0).sum()
        smooth = 0.05 * np.minimum(np.abs(steps(grey)) ** power, 60.0**power).sum()
        assert fg.energy(graph, {"y": y}) == pytest.approx(data + smooth, rel=1e-12)


def test_flipped_pixels_are_mostly_mended(rng):
    clean = np.zeros((40, 50), int)
    clean[10:30, 12:40] = 1
    noisy = np.where(rng.random(clean.shape) < 0.1, 1 - clean, clean)
    best = fg.minimize(binary_graph(noisy))
    assert best.status is fg.Status.OPTIMAL and best.lower_bound == pytest.approx(best.energy, rel=1e-9)
    assert (best["y"] != clean).sum() < 0.15 * (noisy != clean).sum()


@pytest.mark.parametrize("distance, method", [("linear", "expansion"), ("linear", "bp"), ("quadratic", "bp")])
def test_noise_and_speckles_go_and_edges_stay(distance, method, rng):
    clean = np.full((32, 40), 60.0)
    clean[8:24, 10:30] = 190.0
    noisy = clean + rng.normal(scale=15.0, size=clean.shape)
    noisy[rng.random(clean.shape) < 0.02] = 255.0
    best = quietly(fg.minimize, grey_graph(noisy, distance=distance), method=method, max_iterations=40)
    found = grey_levels(32)[best["y"]]
    assert np.sqrt(np.mean((found - clean) ** 2)) < 0.5 * np.sqrt(np.mean((noisy - clean) ** 2))
    assert (np.abs(found - clean) < 30.0).mean() > 0.97
    assert best.lower_bound <= best.energy


def test_a_picture_without_noise_stays(rng):
    clean = np.repeat(np.repeat(rng.choice(grey_levels(8), (4, 5)), 6, axis=0), 6, axis=1)
    best = fg.minimize(grey_graph(clean, n_levels=8, noise=1.0, limit=10.0), method="expansion")
    np.testing.assert_allclose(grey_levels(8)[best["y"]], clean)


@pytest.mark.parametrize("scale", [5.0, 20.0, 50.0])
def test_noise_is_estimated_under_edges_and_slopes(scale, rng):
    clean = np.add.outer(np.arange(120.0), 2.0 * np.arange(150.0))
    clean[30:70, 40:100] += 100.0
    assert noise_of(clean + rng.normal(scale=scale, size=clean.shape)) == pytest.approx(scale, rel=0.12)
    assert noise_of(np.full((9, 9), 40.0)) == noise_of([[3, 200]]) == 1.0


def test_what_is_refused():
    for keywords in ({"flipped": 0.5}, {"flipped": 0.0}, {"flipped": math.nan}):
        with pytest.raises(fg.FactorError, match="flipped"):
            binary_graph([[0, 1]], **keywords)
    with pytest.raises(fg.FactorError, match="from 0 to 255"):
        binary_graph([[0, 255]])
    for keywords in ({"noise": 0.0}, {"noise": math.inf}, {"weight": -1.0}, {"limit": -1.0}, {"distance": "cubic"}):
        with pytest.raises(fg.FactorError, match=next(iter(keywords))):
            grey_graph([[0, 255]], **keywords)
    with pytest.raises(fg.VariableError, match="two grey levels"):
        grey_graph([[0, 255]], n_levels=1)
    with pytest.raises(fg.FactorError, match="3 channels"):
        grey_graph(np.zeros((4, 4, 3)))
    with pytest.raises(fg.VariableError, match="bytes"):
        grey_graph(np.zeros((2000, 2000)), n_levels=256)
