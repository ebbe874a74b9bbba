"""Pairs of pixels, what they pay by their contrast, and pictures that are none."""

import numpy as np
import pytest

import factorgraph_ebm as fg
from factorgraph_ebm.pictures import alike, neighbours, smooth
from factorgraph_ebm.pictures.grid import channels_of, check_room


def test_neighbours_are_all_pairs_once():
    y = fg.output("y", shape=(3, 4), n_states=2)
    graph = fg.FactorGraph([fg.Potts(scope, penalty=1.0, name=name) for name, scope in neighbours(y)])
    assert sum(factor.size for factor in graph.factors) == 2 * 4 + 3 * 3
    one = np.zeros((3, 4), int)
    one[1, 2] = 1
    assert fg.energy(graph, {"y": one}) == 4.0  # a pixel inside has four neighbours


def test_alike_is_a_threshold_on_the_root_of_the_mean_square(rng):
    picture = rng.integers(0, 30, (5, 6, 3))
    down, right = alike(picture, threshold=9.0, factor=3.0)
    assert down.shape == (4, 6) and right.shape == (5, 5)
    for (y, x), weight in np.ndenumerate(right):
        root = np.sqrt(np.mean((picture[y, x + 1].astype(float) - picture[y, x]) ** 2))
        assert weight == (3.0 if root < 9.0 else 1.0)
    assert {1.0, 3.0} == set(down.ravel())


def test_smooth_is_one_where_nothing_changes_and_least_at_the_strongest_edge(rng):
    picture = rng.normal(size=(7, 5))
    down, right = smooth(picture)
    both = np.concatenate([down.ravel(), right.ravel()])
    steps = np.concatenate([np.diff(picture, axis=axis).ravel() for axis in (0, 1)])
    assert both.argmin() == np.abs(steps).argmax() and (0 < both).all() and (both < 1).all()
    np.testing.assert_allclose(both, np.exp(-(steps**2) / (2 * np.mean(steps**2))), rtol=1e-12)
    # It does not matter how bright the picture is, nor in which units.
    for other, same in zip(smooth(40.0 * picture + 3.0), (down, right), strict=True):
        np.testing.assert_allclose(other, same, rtol=1e-9)
    assert all((weights == 1.0).all() for weights in smooth(np.full((3, 3), 7)))
    assert [weights.shape for weights in smooth([[5]])] == [(0, 1), (1, 0)]


def test_bytes_are_subtracted_as_numbers():
    """Not modulo 256."""
    down, right = alike(np.array([[0, 255]], dtype=np.uint8))
    assert right.tolist() == [[1.0]] and down.shape == (0, 2)


@pytest.mark.parametrize("picture", [np.zeros(3), np.zeros((2, 3, 4, 5)), np.zeros((0, 4)), [[1, np.nan]], [[np.inf]]])
def test_what_is_no_picture(picture):
    with pytest.raises(fg.FactorError, match="A picture"):
        channels_of(picture)


def test_what_would_not_fit_states_the_bytes():
    check_room(np.zeros((100, 100)), 256)
    with pytest.raises(fg.VariableError, match=r"8,192,000,000 bytes \(7.63 GiB\)"):
        check_room(np.broadcast_to(0.0, (4000, 4000)), 64)
