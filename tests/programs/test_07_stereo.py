"""Stereo: a disparity for each pixel, truncated linear smoothness, weights that depend on the contrast of each edge."""

import numpy as np
import pytest
from checks import quietly
from panels import colours_of, draw, shown

import factorgraph_ebm as fg
from factorgraph_ebm.pictures import matching_costs, stereo_graph

H, W, K = 12, 16, 6


def scene(rng):
    """A near square before a far plane, seen by two cameras: data costs (H, W, K), the left image, the truth."""
    truth = np.full((H, W), 1)
    truth[3:9, 6:12] = 4
    image = rng.integers(0, 40, (H, W + K)).astype(float)
    image[3:9, 6:12] += 100.0
    rows, columns = np.indices((H, W))
    left = image[rows, columns]
    right = np.full((H, W), 255.0)
    right[rows, np.maximum(columns - truth, 0)] = left
    shifted = columns[..., None] - np.arange(K)
    unary = np.minimum(abs(left[..., None] - right[rows[..., None], np.maximum(shifted, 0)]), 60.0)
    unary[shifted < 0] = 30.0  # out of view
    return unary + rng.uniform(0, 5, unary.shape), left, truth


def contrasts(image):
    return [20 * np.where(abs(np.diff(image, axis=axis)) < 8, 2, 1) for axis in (0, 1)]


def table(weight, limit):
    return weight[..., None, None] * np.minimum(abs(np.subtract.outer(np.arange(K), np.arange(K))), limit)


def test_stereo(rng):
    unary, image, truth = scene(rng)
    wv, wh = contrasts(image)
    d = fg.output("d", shape=(H, W), n_states=K)
    data = fg.Table([d], energies=unary, name="data")
    pairs = [("vertical", [d[1:], d[:-1]], wv), ("horizontal", [d[:, 1:], d[:, :-1]], wh)]
    graph = fg.FactorGraph([data, *(fg.TruncatedLinear(p, weight=w, limit=2.0, name=n) for n, p, w in pairs)])
    twin = fg.FactorGraph([data, *(fg.Table(p, energies=table(w, 2.0), name=n) for n, p, w in pairs)])
    lam = fg.Parameter("lam", shape=1, initial=[1.0], bounds=(0, np.inf))
    learned = fg.FactorGraph(
        [data, *(fg.TruncatedLinear(p, weight=fg.Linear(w[..., None], lam), limit=2.0, name=n) for n, p, w in pairs)]
    )

    best = quietly(fg.minimize, graph)
    assert best.energy == pytest.approx(fg.energy(twin, best), rel=1e-12)
    assert best.energy <= fg.energy(graph, {"d": unary.argmin(-1)})
    assert best.energy <= fg.energy(graph, {"d": truth})
    assert (best["d"] != truth).mean() < (unary.argmin(-1) != truth).mean()

    # The same sweeps, by distance transforms and by tables.
    options = {"method": "bp", "max_iterations": 7, "tolerance": 0.0}
    for ask, beta in [(fg.minimize, 1.0), (fg.marginals, 0.05)]:
        mine, table_, linear = (quietly(ask, g, beta=beta, **options) for g in (graph, twin, learned))
        for other in (table_, linear):
            for key in ("vertical", "horizontal"):
                for slot in (0, 1):
                    np.testing.assert_allclose(
                        mine.messages.to_variable[key][slot], other.messages.to_variable[key][slot], atol=1e-9
                    )
    np.testing.assert_allclose(mine["d"], table_["d"], atol=1e-10)

    # A learned weight: twice lam is twice the smoothness, a negative one is refused.
    double = fg.energy(learned, {"d": truth}, parameters={"lam": [2.0]})
    smooth = fg.energy(learned, {"d": truth}) - unary[(*np.indices((H, W)), truth)].sum()
    assert double == pytest.approx(fg.energy(learned, {"d": truth}) + smooth, rel=1e-12)
    with pytest.raises(fg.FactorError, match='"lam"'):
        quietly(fg.minimize, learned, parameters={"lam": [-1.0]})


def test_part_of_the_scene_is_known(rng):
    """Given cells leave tables and unary rows of the truncated factors: a strip small enough for brute force."""
    unary, image, truth = scene(rng)
    d = fg.output("d", shape=(2, W), n_states=K)
    wv, wh = contrasts(image[2:4])
    graph = fg.FactorGraph(
        [
            fg.Table([d], energies=unary[2:4]),
            fg.TruncatedLinear([d[1:], d[:-1]], weight=wv, limit=2.0),
            fg.TruncatedLinear([d[:, 1:], d[:, :-1]], weight=wh, limit=2.0),
        ]
    )
    known = np.where(np.indices((2, W))[0] == 0, truth[2:4], -1)
    best, belief = fg.minimize(graph, given={"d": known}), fg.marginals(graph, given={"d": known}, beta=0.1)
    assert best.exact and belief.exact  # what is left is a chain
    cost = unary[3] + table(wv[0], 2.0)[np.arange(W), :, known[0]]
    least = cost[0]
    for x in range(1, W):
        least = (least[:, None] + table(wh[1, x - 1], 2.0)).min(0) + cost[x]
    above = table(wh[0], 2.0)[np.arange(W - 1), known[0, 1:], known[0, :-1]]
    base = unary[2][np.arange(W), known[0]].sum() + above.sum()
    assert best.energy == pytest.approx(least.min() + base, rel=1e-12)


def test_a_strip_of_tsukuba(data):
    """On a strip of a real pair, sweeps find less energy than the published labels of ICM, and close to those of BP."""
    stored = np.load(data / "mrf" / "stereo" / "tsukuba_default16.npz")
    strip = slice(140, 180)
    unary = stored["unary"][strip].astype(float)
    height, width, k = unary.shape
    d = fg.output("d", shape=(height, width), n_states=k)
    graph = fg.FactorGraph(
        [
            fg.Table([d], energies=unary),
            fg.TruncatedLinear([d[1:], d[:-1]], weight=20.0, limit=2.0),
            fg.TruncatedLinear([d[:, 1:], d[:, :-1]], weight=20.0, limit=2.0),
        ]
    )
    best = quietly(fg.minimize, graph, method="bp", max_iterations=20)
    smooth = sum(20 * np.minimum(abs(np.diff(best["d"], axis=a)), 2).sum() for a in (0, 1))
    assert best.energy == unary[(*np.indices((height, width)), best["d"])].sum() + smooth
    published = {key: fg.energy(graph, {"d": stored[f"labels_{key}"][strip].astype(int)}) for key in ("ICM", "BPM")}
    assert best.energy < published["ICM"]
    assert best.energy < 1.02 * published["BPM"]


def test_a_picture_of_the_whole_program(tmp_path, rng):
    """Two views of a slope with a ball and a post before it, to a map of 24 disparities, in four panels."""
    height, width, k = 60, 90, 24
    y, x = np.indices((height, width))
    truth = 3 + (y // 12)
    height_of = 18.0**2 - (y - 32) ** 2 - (x - 40) ** 2
    truth = np.where(height_of > 0, (10 + np.sqrt(np.maximum(height_of, 0)) / 3).astype(int), truth)
    truth[:, 70:76] = 20
    right = rng.uniform(0, 255, (height, width + k, 3))
    right = (right[1:] + right[:-1])[:, 1:] / 4 + (right[1:] + right[:-1])[:, :-1] / 4
    right = np.concatenate([right, right[-1:]])
    left = right[y, np.maximum(x - truth, 0)] + rng.normal(scale=4.0, size=(height, width, 3))
    right = right[:, :width]

    costs = matching_costs(left, right, k, truncation=60.0)
    alone = costs.argmin(axis=-1)
    graph = stereo_graph(left, right, n_disparities=k, weight=4.0, limit=3.0, truncation=60.0)
    swept = quietly(fg.minimize, graph, method="bp", max_iterations=10)
    best = fg.minimize(graph, method="expansion", start=swept)
    assert best.lower_bound <= best.energy <= swept.energy < fg.energy(graph, {"disparity": alone})
    seen = x >= truth
    wrong = [(np.abs(each - truth) > 1)[seen].mean() for each in (alone, swept["disparity"], best["disparity"])]
    assert wrong[2] < 0.05 < 3 * wrong[2] + 0.05 < wrong[0]

    maps = {"vmin": 0, "vmax": k - 1, "cmap": "viridis"}
    picture = draw(
        tmp_path / "stereo.png",
        ("left view", shown((left / 255).clip(0, 1))),
        (f"pixel by pixel: {wrong[0]:.0%} wrong", shown(alone, **maps)),
        (f"least energy: {wrong[2]:.1%} wrong", shown(best["disparity"], **maps)),
        ("truth", shown(truth, **maps)),
    )
    assert picture.shape == (180, 720, 3) and colours_of(picture) > 50
