"""Colours found in a picture, and its regions."""

import numpy as np
import pytest

import factorgraph_ebm as fg
from factorgraph_ebm.pictures import cluster_colours, colour_energies, segments_graph, smooth
from factorgraph_ebm.pictures.segments import FLOOR

PAINT = np.array([[200.0, 40.0, 40.0], [30.0, 150.0, 60.0], [240.0, 240.0, 230.0]])


def flag(rng, noise=12.0):
    labels = np.repeat(np.repeat(np.array([[0, 1], [2, 0]]), 15, axis=0), 20, axis=1)
    labels[12:18, 16:24] = 1
    return PAINT[labels] + rng.normal(scale=noise, size=(*labels.shape, 3)), labels


def test_the_colours_are_found_largest_first(rng):
    picture, labels = flag(rng)
    colours = cluster_colours(picture, 3)
    order = np.argsort(-np.bincount(labels.ravel()))
    np.testing.assert_allclose(colours.means, PAINT[order], atol=2.0)
    np.testing.assert_allclose(colours.shares, np.bincount(labels.ravel())[order] / labels.size, atol=0.01)
    assert colours.variance == pytest.approx(144.0, rel=0.1)
    again = cluster_colours(picture, 3)
    assert all(np.array_equal(one, other) for one, other in zip(colours, again, strict=True))


def test_fewer_colours_than_clusters():
    for n in (1, 2, 5):
        colours = cluster_colours(np.full((6, 7, 3), 90), n)
        np.testing.assert_allclose(colours.means, 90.0, rtol=1e-9)
        assert colours.variance == 1.0
        energies = colour_energies(np.full((6, 7, 3), 90), colours)
        assert energies.shape == (6, 7, n) and np.isfinite(energies).all()


def test_energies_are_surprises(rng):
    """Up to a constant of each pixel, of Gaussians whose density integrates to one."""
    picture, _ = flag(rng)
    colours = cluster_colours(picture, 3)
    energies = colour_energies(picture, colours)
    density = np.exp(-((picture[..., None, :] - colours.means) ** 2).sum(-1) / (2 * colours.variance)) * colours.shares
    posterior = np.exp(-energies)
    posterior /= posterior.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(posterior, density / density.sum(axis=-1, keepdims=True), atol=1e-9)
    assert (energies.min(axis=-1) == 0.0).all()


@pytest.mark.parametrize("k, method", [(2, "cut"), (3, "expansion")])
def test_regions_are_found_under_noise(k, method, rng):
    picture, labels = flag(rng, noise=45.0)
    picture = np.where((labels == 2)[..., None] & (k == 2), PAINT[0], picture)
    labels = np.where((labels == 2) & (k == 2), 0, labels)
    colours = cluster_colours(picture, k)
    energies = colour_energies(picture, colours)
    best = fg.minimize(segments_graph(picture, energies), method=method)
    true = np.argmin(((PAINT[:k, None] - colours.means) ** 2).sum(-1), axis=1)[labels]
    alone = (energies.argmin(axis=-1) != true).mean()
    assert (best["y"] != true).mean() < max(0.2 * alone, 0.003)
    assert (best.status is fg.Status.OPTIMAL) == (k == 2)


def test_the_energy_by_hand(rng):
    picture, energies = rng.integers(0, 256, (5, 6, 3)), rng.uniform(0, 4, (5, 6, 3))
    y = rng.integers(0, 3, (5, 6))
    expected = energies[(*np.indices(y.shape), y)].sum()
    for axis, likeness in enumerate(smooth(picture)):
        expected += (2.0 * (FLOOR + (1 - FLOOR) * likeness))[np.diff(y, axis=axis) != 0].sum()
    assert fg.energy(segments_graph(picture, energies, weight=2.0), {"y": y}) == pytest.approx(expected, rel=1e-12)


def test_what_is_refused():
    picture = np.zeros((4, 5, 3))
    with pytest.raises(fg.VariableError, match="one colour"):
        cluster_colours(picture, 0)
    with pytest.raises(fg.FactorError, match="the picture 4 x 5"):
        segments_graph(picture, np.zeros((5, 4, 2)))
    with pytest.raises(fg.FactorError, match="weight=-1"):
        segments_graph(picture, np.zeros((4, 5, 2)), weight=-1.0)
    with pytest.raises(fg.VariableError, match="bytes"):
        colour_energies(np.broadcast_to(0.0, (4000, 4000, 3)), cluster_colours(picture, 12))
