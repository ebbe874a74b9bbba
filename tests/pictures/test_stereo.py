"""Stereo graphs: costs pixel by pixel, and a scene of two planes."""

import numpy as np
import pytest

import factorgraph_ebm as fg
from factorgraph_ebm.pictures import COSTS, matching_costs, stereo_graph


def slow_cost(left, right, y, x, d, cost, truncation):
    """One entry, as the papers write it: I(x) against the other view within half a column, both ways."""
    if x - d < 0:
        return truncation

    def reach(view, at):
        ends = [view[y, at]]
        ends += [(view[y, at] + view[y, near]) / 2 for near in (at - 1, at + 1) if 0 <= near < view.shape[1]]
        return np.min(ends, axis=0), np.max(ends, axis=0)

    total = []
    for channel in range(left.shape[2]):
        one, other = left[..., channel], right[..., channel]
        if cost == "absolute":
            total.append(abs(one[y, x] - other[y, x - d]))
            continue
        (low, high), (other_low, other_high) = reach(one, x), reach(other, x - d)
        there = max(0, one[y, x] - other_high, other_low - one[y, x])
        back = max(0, other[y, x - d] - high, low - other[y, x - d])
        total.append(min(there, back))
    return min(np.mean(total), truncation)


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_costs_pixel_by_pixel(cost, channels, rng):
    left, right = rng.uniform(0, 255, (2, 4, 9, channels))
    found = matching_costs(left, right, 5, cost=cost, truncation=70.0)
    assert found.shape == (4, 9, 5)
    for (y, x, d), value in np.ndenumerate(found):
        assert value == pytest.approx(slow_cost(left, right, y, x, d, cost, 70.0), abs=1e-9)
    if channels == 1:
        np.testing.assert_array_equal(matching_costs(left[..., 0], right[..., 0], 5, cost=cost, truncation=70.0), found)


def test_half_columns_of_whole_grey_values_are_whole():
    left, right = np.array([[0, 0, 0]]), np.array([[4, 4, 1]])
    whole, half = (matching_costs(left.astype(kind), right.astype(kind), 1)[0, 1, 0] for kind in (int, float))
    assert (whole, half) == (2.0, 2.5)  # the right view reaches from 4 to (4 + 1) / 2


def test_a_view_costs_nothing_against_itself(rng):
    view = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    for cost in COSTS:
        assert (matching_costs(view, view, 3, cost=cost)[..., 0] == 0).all()


def test_two_planes(rng):
    truth = np.full((24, 40), 2)
    truth[6:18, 14:30] = 6
    texture = rng.integers(0, 256, (24, 48))
    rows, columns = np.indices(truth.shape)
    right = texture[:, :40]
    left = texture[rows, np.maximum(columns - truth, 0)]
    graph = stereo_graph(left, right, n_disparities=9)
    best = fg.minimize(graph, method="expansion")
    alone = matching_costs(left, right, 9).argmin(axis=-1)
    seen = columns >= truth
    assert (best["disparity"] == truth)[seen].mean() > 0.97 > (alone == truth)[seen].mean()
    assert best.energy <= fg.energy(graph, {"disparity": truth})
    assert best.energy <= fg.energy(graph, {"disparity": alone})
    assert best.lower_bound <= best.energy


def test_the_energy_by_hand(rng):
    left, right = rng.integers(0, 256, (2, 5, 12, 3))
    left[:, 4:8] = 90
    d = rng.integers(0, 4, (5, 12))
    graph = stereo_graph(left, right, n_disparities=4, weight=3.0, limit=2.0, truncation=50.0, factor=5.0)
    costs = matching_costs(left, right, 4, truncation=50.0)
    expected = costs[(*np.indices(d.shape), d)].sum()
    for axis in (0, 1):
        near = np.mean(np.diff(left.astype(float), axis=axis) ** 2, axis=-1) < 64.0
        assert near.any() and not near.all()
        expected += (3.0 * np.where(near, 5.0, 1.0) * np.minimum(np.abs(np.diff(d, axis=axis)), 2)).sum()
    assert fg.energy(graph, {"disparity": d}) == pytest.approx(expected, rel=1e-12)


def test_what_is_refused():
    view = np.zeros((4, 6))
    with pytest.raises(fg.FactorError, match=r"\(4, 6\) and \(4, 7\)"):
        stereo_graph(view, np.zeros((4, 7)))
    with pytest.raises(fg.FactorError, match="'absolute' or 'birchfield-tomasi'"):
        stereo_graph(view, view, n_disparities=2, cost="squared")
    for n in (0, 7):
        with pytest.raises(fg.VariableError, match="from 1 to 6"):
            stereo_graph(view, view, n_disparities=n)
    with pytest.raises(fg.FactorError, match="the right view"):
        stereo_graph(view, np.full((4, 6), np.nan))
    for keywords in ({"weight": -1.0}, {"limit": -1.0}):
        with pytest.raises(fg.FactorError):
            stereo_graph(view, view, n_disparities=2, **keywords)
