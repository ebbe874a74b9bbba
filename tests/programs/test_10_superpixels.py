"""Superpixels: an edge list, edge features, a different graph for each image, a matrix of costs."""

import numpy as np
import pytest
from panels import colours_of, shown
from panels import draw as draw_panels

import factorgraph_ebm as fg

node_w = fg.Parameter("node_w", shape=(40, 21))
edge_w = fg.Parameter("edge_w", shape=(5, 21, 21))


def architecture(sample):
    y = fg.output("y", shape=len(sample["nodes"]), n_states=21)
    return fg.FactorGraph(
        [
            fg.Table([y], energies=fg.Linear(sample["nodes"], node_w)),
            fg.Table(y[sample["edges"]], axis=1, energies=fg.Linear(sample["pair"], edge_w)),  # one factor per row
        ]
    )


def draw(n, rng):
    """Images whose regions form a ring with a chord: classes come in runs, features hint at them."""
    samples, targets = [], []
    hints = np.random.default_rng(0).normal(size=(21, 40))
    for _ in range(n):
        size = int(rng.integers(5, 8))
        y = np.where(np.arange(size) < rng.integers(1, size), *rng.choice(4, 2, replace=False))
        edges = [*((i, (i + 1) % size) for i in range(size)), (0, size // 2)]
        pair = np.abs(rng.normal(size=(len(edges), 5)))
        pair[:, 0] = [2.0 * (y[i] == y[j]) for i, j in edges]
        nodes = hints[y] + 3.0 * rng.normal(size=(size, 40))
        samples.append({"nodes": nodes, "edges": np.array(edges), "pair": pair})
        targets.append({"y": y})
    return samples, targets


def test_superpixels():
    rng = np.random.default_rng(7)
    samples, targets = draw(8, rng)
    model = fg.EnergyModel(architecture, loss=fg.losses.hinge(margin={"y": 1 - np.eye(21)}))  # cost[true, said]
    model.fit(samples, targets, epochs=25)
    assert model.history[-1]["loss"] < 0.3 * model.history[0]["loss"]
    assert model.score(samples, targets) > 0.95
    assert 0 < model.score(*draw(6, rng)) <= 1
    assert all(row["unconverged"] == 0.0 for row in model.history)  # a ring with a chord is eliminated exactly


def test_costs_say_which_mistakes_matter(rng):
    """Where all energies are 0, the worst answer is what is dearest to say."""
    samples, targets = draw(1, rng)
    cost = rng.uniform(0.0, 3.0, (21, 21)) * (1 - np.eye(21))
    model = fg.EnergyModel(architecture, loss=fg.losses.hinge(margin={"y": cost})).fit(samples, targets, epochs=1)
    assert model.history[0]["loss"] == pytest.approx(cost[targets[0]["y"]].max(axis=1).sum(), rel=1e-12)
    with pytest.raises(fg.MethodError, match="region"):
        fg.EnergyModel(architecture, loss=fg.losses.hinge(margin={"region": cost})).fit(samples, targets)


PAINT = np.array([[0.45, 0.65, 0.9], [0.3, 0.55, 0.25], [0.55, 0.5, 0.35]])
"sky, meadow, house"


def landscape(rng, height=48, width=64):
    """A very noisy picture of a meadow under a sky and a house on it, in uneven light, and which is which."""
    y, x = np.indices((height, width))
    labels = (y > rng.integers(20, 30) + 3 * np.sin(x / rng.uniform(6, 12))).astype(int)
    top, left = rng.integers(10, 20), rng.integers(4, 40)
    labels[top : top + 20, left : left + 16] = 2
    light = 0.14 * np.sin(x / 9 + rng.uniform(0, 6)) * np.cos(y / 7)
    picture = PAINT[labels] + light[..., None] + rng.normal(scale=1.2, size=(height, width, 3))
    return picture, labels


def superpixels(picture, labels, rng, step=8):
    """Cells around shaken centres of a grid: a sample of nodes, edges and their features, targets, and the cells."""
    y, x = np.indices(labels.shape)
    rows, columns = (np.arange(step // 2, size, step) for size in labels.shape)
    centres = np.stack(np.meshgrid(rows, columns), axis=-1).reshape(-1, 2)
    centres = centres + rng.integers(-1, 2, centres.shape)
    cells = ((y[..., None] - centres[:, 0]) ** 2 + (x[..., None] - centres[:, 1]) ** 2).argmin(axis=-1)
    size = np.bincount(cells.ravel(), minlength=len(centres))
    mean = np.stack([np.bincount(cells.ravel(), c.ravel()) / size for c in np.moveaxis(picture, -1, 0)], axis=1)
    nodes = np.column_stack([mean, mean[:, [0]] * mean[:, [1]], np.ones(len(size))])
    down, right = (cells[:-1], cells[1:]), (cells[:, :-1], cells[:, 1:])
    borders = np.sort(np.concatenate([np.stack(ends).reshape(2, -1) for ends in (down, right)], axis=1), axis=0)
    edges, length = np.unique(borders[:, borders[0] != borders[1]], axis=1, return_counts=True)
    apart = np.abs(mean[edges[0]] - mean[edges[1]]).sum(axis=1)
    pair = np.column_stack([length / step, np.exp(-3 * apart) * length / step])
    votes = np.zeros((len(size), 3))
    np.add.at(votes, (cells.ravel(), labels.ravel()), 1)
    return {"nodes": nodes, "edges": edges.T, "pair": pair}, {"y": votes.argmax(axis=1)}, cells


def regions(with_pairs):
    weights = fg.Parameter("nodes", shape=(5, 3)), fg.Parameter("pairs", shape=(2, 3, 3))

    def architecture(sample):
        y = fg.output("y", shape=len(sample["nodes"]), n_states=3)
        factors = [fg.Table([y], energies=fg.Linear(sample["nodes"], weights[0]))]
        if with_pairs:
            factors.append(fg.Table(y[sample["edges"]], axis=1, energies=fg.Linear(sample["pair"], weights[1])))
        return fg.FactorGraph(factors)

    return architecture


def test_a_picture_of_the_whole_program(tmp_path):
    """Landscapes in cells: learned with the pairs of cells and without, drawn side by side."""
    rng = np.random.default_rng(3)
    scenes = [landscape(rng) for _ in range(28)]
    cut = [superpixels(*scene, rng) for scene in scenes]
    samples, targets, cells = ([each[part] for each in cut] for part in range(3))
    scores, labels = [], []
    for with_pairs in (False, True):
        model = fg.EnergyModel(regions(with_pairs), loss="likelihood", regularizer=fg.l2(1e-3))
        model.fit(samples[:16], targets[:16], epochs=60)
        scores.append(model.score(samples[16:], targets[16:]))
        labels.append(model.best_guess(samples[16])["y"])
    assert scores[1] > max(scores[0] + 0.02, 0.85)

    picture, truth = scenes[16]
    down, right = (np.diff(cells[16], axis=axis, prepend=-1) != 0 for axis in (0, 1))
    outlined = np.where((down | right)[..., None], 0.2, picture.clip(0, 1))
    panels = draw_panels(
        tmp_path / "superpixels.png",
        ("cells", shown(outlined)),
        (f"cells alone: {scores[0]:.0%}", shown(PAINT[labels[0]][cells[16]])),
        (f"with neighbours: {scores[1]:.0%}", shown(PAINT[labels[1]][cells[16]])),
        ("truth", shown(PAINT[truth])),
    )
    assert panels.shape == (180, 720, 3) and colours_of(panels) > 50
