"""A segmenter says what its energies say, learns what pictures were drawn from, and refuses what it cannot read."""

import itertools
import pathlib
import re

import numpy as np
import pytest
from checks import quietly
from label_maps import drawn, noisy
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score

import factorgraph_ebm as fg
from factorgraph_ebm.estimators.segmentation.scores import confusion_counts, mean_iou


def energy_by_hand(segmenter, image, unary, labels, n_steps):
    """E of a label map, from the parameters and the formulas of the documentation alone."""
    parameters = segmenter.model_.parameters
    steps = [(0, 1), (1, 0), (1, 1), (1, -1)][:n_steps]
    height, width = labels.shape
    pairs = [
        ((r, c), (r + a, c + b), np.hypot(a, b))
        for a, b in steps
        for r, c in itertools.product(range(height), range(width))
        if 0 <= r + a < height and 0 <= c + b < width
    ]
    mean = np.mean([((image[p] - image[q]) ** 2).sum() for p, q, _ in pairs])
    total = sum(unary[p][labels[p]] for p in np.ndindex(labels.shape))
    for p, q, length in pairs:
        if labels[p] != labels[q]:
            likeness = np.exp(-((image[p] - image[q]) ** 2).sum() / (2 * mean))
            total += (parameters["pair"][0] + parameters["pair"][1] * likeness) / length
    return total


@pytest.mark.parametrize("neighbours", [4, 8])
@pytest.mark.parametrize("inference", ["auto", "cut"])
def test_two_labels_are_predicted_exactly(neighbours, inference, rng):
    """Against all label maps of tiny pictures, whose energies are worked out here."""
    pictures, maps = noisy(4, 10, 2, 1.0, rng)
    segmenter = fg.Segmenter(neighbours=neighbours, inference=inference, loss="hinge", max_iterations=5)
    segmenter.fit(pictures, maps)
    assert (segmenter.model_.parameters["pair"] > 0.0).any()
    every = np.array(list(itertools.product([0, 1], repeat=9))).reshape(-1, 3, 3)
    scaling, weights = segmenter._scaling, segmenter.model_.parameters["unary"]
    for _ in range(5):
        image = rng.normal(size=(3, 3, 3))
        scaled = np.concatenate([(image - scaling.mean) / scaling.scale, np.ones((3, 3, 1))], axis=-1)
        energies = [energy_by_hand(segmenter, image, scaled @ weights, y, neighbours // 2) for y in every]
        said = segmenter.predict(image)
        least = np.min(energies)
        assert energies[int((every == said).all(axis=(1, 2)).argmax())] == pytest.approx(least, rel=1e-12)
        share = np.exp(least - np.array(energies))
        belief = (share[:, None, None] * every).sum(axis=0) / share.sum()
        assert segmenter.predict_proba(image)[..., 1] == pytest.approx(belief, abs=1e-10)


def test_scribbles_are_kept_and_felt_by_neighbours(rng):
    pictures, maps = noisy(4, 12, 2, 1.0, rng)
    segmenter = fg.Segmenter().fit(pictures, maps)
    scribbles = np.full(maps[0].shape, -1)
    scribbles[2:4, 2:4] = 1 - segmenter.predict(pictures[0])[2:4, 2:4]
    said = segmenter.predict(pictures[0], scribbles=scribbles)
    assert (said[2:4, 2:4] == scribbles[2:4, 2:4]).all()
    share = segmenter.predict_proba(pictures[0], scribbles=scribbles)
    assert share[2, 2, scribbles[2, 2]] == 1.0
    alone = segmenter.predict_proba(pictures[0])
    assert (share[2:4, 4, scribbles[2, 2]] > alone[2:4, 4, scribbles[2, 2]]).all()


@pytest.mark.parametrize("loss", ["likelihood", "pseudo_likelihood"])
def test_the_strength_of_neighbours_is_recovered(loss):
    """Pictures that were drawn by Gibbs sampling from known energies."""
    pictures, maps = drawn(30, 20, strength=0.6, scale=1.0, seed=3)
    segmenter = fg.Segmenter(unary="energies", pairwise="potts", loss=loss, regularizer=0.0).fit(pictures, maps)
    found = segmenter.model_.parameters
    assert found["pair"][0] == pytest.approx(0.6, abs=0.05)
    assert found["scale"][0] == pytest.approx(1.0, abs=0.08)
    assert np.abs(found["bias"] - found["bias"].mean()).max() < 0.05


@pytest.mark.parametrize("optimizer", ["lbfgs", None])
@pytest.mark.parametrize("pairwise", ["potts", "contrast", "tables", "features"])
def test_hinge_through_cuts_keeps_neighbours_attracting(pairwise, optimizer, rng):
    """Also where a checkerboard would have them repel; and it learns."""
    board = np.indices((10, 10)).sum(axis=0) % 2
    noise = rng.normal(size=(10, 10, 2))
    segmenter = fg.Segmenter(pairwise=pairwise, inference="cut", optimizer=optimizer, max_iterations=20, neighbours=8)
    quietly(segmenter.fit, noise + board[..., None], board)
    pairs = [value for name, value in segmenter.model_.parameters.items() if name != "unary"]
    assert pairs and all((value >= 0.0).all() for value in pairs)
    pictures, maps = noisy(6, 16, 2, 1.5, rng)
    alone = fg.Segmenter(pairwise=None, loss="likelihood").fit(pictures, maps).score(pictures, maps)
    quietly(segmenter.set_params(max_iterations=50).fit, pictures, maps)  # lbfgs may end at a kink
    history = segmenter.model_.history
    assert history[-1]["loss"] < 0.4 * history[0]["loss"]
    assert segmenter.score(pictures, maps) > alone + 0.02


def test_many_labels_by_expansion(rng):
    pictures, maps = noisy(6, 16, 4, 1.0, rng)
    alone = fg.Segmenter(pairwise=None, loss="likelihood").fit(pictures, maps)
    segmenter = fg.Segmenter(max_iterations=30).fit(pictures, maps)
    assert (segmenter.model_.parameters["pair"] >= 0.0).all()
    assert segmenter.score(pictures, maps) > alone.score(pictures, maps) + 0.05
    assert segmenter.score(pictures, maps, metric="iou") > alone.score(pictures, maps, metric="iou") + 0.05


def test_neighbours_that_repel_are_left_to_belief_propagation(rng):
    """Tables of three labels that learn a checkerboard are no metric, so moves by cuts cannot do them."""
    board = np.indices((12, 12)).sum(axis=0) % 3
    image = board + rng.normal(scale=0.6, size=board.shape)
    segmenter = fg.Segmenter(pairwise="tables", loss="pseudo_likelihood").fit(image, board)
    assert quietly(segmenter.score, image, board) > 0.95


def test_ignored_pixels_count_for_nothing(rng):
    """Neither their colours nor those of their pairs: every bit of what is learned stays."""
    pictures, maps = noisy(4, 10, 2, 1.0, rng)
    hidden = [np.where(rng.random(y.shape) < 0.3, 255, y) for y in maps]
    other = [np.where((y == 255)[..., None], 10.0 * rng.normal(size=x.shape), x) for x, y in zip(pictures, hidden)]
    for loss in ("hinge", "likelihood", "pseudo_likelihood", "univariate"):
        segmenter = fg.Segmenter(loss=loss, ignore=255, max_iterations=5)
        one = {name: value.tobytes() for name, value in segmenter.fit(pictures, hidden).model_.parameters.items()}
        assert one == {name: v.tobytes() for name, v in segmenter.fit(other, hidden).model_.parameters.items()}
        assert segmenter.classes_.tolist() == [0, 1]
    counted = segmenter.confusion(pictures, hidden)
    assert counted.sum() == sum((y != 255).sum() for y in hidden)
    # A picture whose right half is ignored is its left half.
    half = [y.copy() for y in maps]
    for y in half:
        y[:, 5:] = 255
    segmenter.set_params(loss="likelihood", max_iterations=3).fit(pictures, half)
    whole = {name: value.copy() for name, value in segmenter.model_.parameters.items()}
    segmenter.fit([x[:, :5] for x in pictures], [y[:, :5] for y in half])
    for name, value in segmenter.model_.parameters.items():
        assert value == pytest.approx(whole[name], rel=1e-6)


def test_class_weights_move_mistakes(rng):
    """What is dearer to miss is missed less, and said more where it is wrong."""
    pictures, maps = noisy(6, 14, 2, 2.0, rng)
    counts = {}
    for weight in (None, {1: 4.0}, {0: 4.0}, "balanced", [[0.0, 1.0], [4.0, 0.0]]):
        segmenter = fg.Segmenter(class_weight=weight, max_iterations=30).fit(pictures, maps)
        counts[str(weight)] = segmenter.confusion(pictures, maps)
    missed = {name: c[1, 0] for name, c in counts.items()}
    wrong = {name: c[0, 1] for name, c in counts.items()}
    assert missed["{1: 4.0}"] < missed["None"] < missed["{0: 4.0}"]
    assert wrong["{1: 4.0}"] > wrong["None"] > wrong["{0: 4.0}"]
    assert missed["balanced"] < missed["None"]
    assert (counts["[[0.0, 1.0], [4.0, 0.0]]"] == counts["{1: 4.0}"]).all()
    with pytest.raises(fg.MethodError, match="counts none"):
        fg.Segmenter(loss="likelihood", class_weight="balanced").fit(pictures, maps)


def test_any_classifier_makes_unary_energies(rng):
    """Pairs learn beside energies of classifiers that have not seen the picture."""
    pictures, maps = noisy(6, 14, 3, 1.0, rng)
    scores = {}
    for name, unary in (("classifier", LogisticRegression()), ("logistic", "logistic")):
        segmenter = fg.Segmenter(unary=unary, max_iterations=30).fit(pictures, maps)
        scores[name] = segmenter.score(pictures, maps)
    alone = fg.Segmenter(pairwise=None, loss="likelihood").fit(pictures, maps).score(pictures, maps)
    assert min(scores.values()) > alone + 0.05
    assert scores["classifier"] == pytest.approx(scores["logistic"], abs=0.03)


def test_label_costs_leave_out_what_is_little_used(rng):
    """Against all label maps; and with more labels than are tried in all sets."""
    for _ in range(4):
        energies = rng.normal(size=(2, 3, 2))
        segmenter = fg.Segmenter(unary="energies", pairwise="potts", max_iterations=1, label_cost=[0.4, 0.9])
        segmenter.fit(energies, rng.integers(2, size=(2, 3)))
        graph = segmenter.model_.graph(segmenter._asked(energies, None)[1][0])
        price = np.array([0.4, 0.9])

        def total(labels, graph=graph, price=price, parameters=segmenter.model_.parameters):
            return fg.energy(graph, {"y": labels}, parameters=parameters) + price[np.unique(labels)].sum()

        every = [np.array(y).reshape(2, 3) for y in itertools.product([0, 1], repeat=6)]
        assert total(segmenter.predict(energies)) == pytest.approx(min(map(total, every)), rel=1e-12)
    pictures, maps = noisy(4, 12, 6, 1.0, rng)
    segmenter = fg.Segmenter(max_iterations=5).fit(pictures, maps)
    used = [len(np.unique(segmenter.set_params(label_cost=c).predict(pictures[0]))) for c in (None, 0.0, 5.0, 1e6)]
    assert used[0] == used[1] >= used[2] >= used[3] == 1
    with pytest.raises(fg.MethodError, match="label_cost=None"):
        segmenter.predict_proba(pictures[0])


def test_superpixel_graphs(rng):
    """Regions in a ring, whose features say little and whose edges tell which regions belong together."""
    def draw(n):
        graphs, labels = [], []
        for _ in range(n):
            size = int(rng.integers(5, 12))
            y = np.repeat(rng.integers(3, size=size), 3)[:size]
            edges = np.array([(i, (i + 1) % size) for i in range(size)])
            same = (y[edges[:, 0]] == y[edges[:, 1]]).astype(float)
            features = np.eye(3)[y] + rng.normal(size=(size, 3))
            graphs.append((features, edges, np.stack([same, rng.normal(size=size)], axis=1)))
            labels.append(y)
        return graphs, labels

    train, test = draw(40), draw(20)
    scores = {}
    for pairwise in (None, "potts", "contrast", "tables", "features"):
        segmenter = fg.Segmenter(pairwise=pairwise, loss="likelihood", inference="bp", regularizer=1e-3)
        scores[pairwise] = quietly(quietly(segmenter.fit, *train).score, *test)
    assert scores["features"] > max(scores[None], scores["potts"]) + 0.05
    assert scores["potts"] > scores[None] and scores["tables"] > scores[None]
    graph = {"features": train[0][0][0], "edges": train[0][0][1], "edge_features": train[0][0][2]}
    assert (segmenter.predict(graph) == segmenter.predict(train[0][0])).all()


def test_snakes(data):
    """Which way a snake goes on is seen where tables of pairs depend on the picture."""
    file = np.load(data / "snakes" / "snakes.npz")
    code = np.array([-1, 0, 1, 2, 3, -1, 4])  # of a colour's bits; 3 is the background

    def read(kind, most):
        pictures, maps = [], []
        for name in sorted(name for name in file.files if name.startswith(f"X_{kind}_"))[:most]:
            colour = code[(file[name] // 255) @ np.array([1, 2, 4])]
            height, width = colour.shape
            padded = np.pad(colour, 1, constant_values=3)
            around = [padded[a : a + height, b : b + width] for a in range(3) for b in range(3)]
            pictures.append(np.eye(5)[np.stack(around, axis=-1)].reshape(height, width, -1))
            maps.append(file[name.replace("X", "Y", 1)])
        return pictures, maps

    segmenter = fg.Segmenter(
        pairwise="features", loss="likelihood", regularizer=1e-4, inference={"method": "bp", "damping": 0.3},
        max_iterations=SNAKE_UPDATES,
    )  # fmt: skip
    quietly(segmenter.fit, *read("train", 200))
    assert quietly(segmenter.score, *read("test", 100)) >= 0.99


SNAKE_UPDATES = 20


def test_an_estimator_of_scikit_learn(rng):
    pictures, maps = noisy(6, 8, 2, 1.5, rng)
    segmenter = fg.Segmenter(max_iterations=5, class_weight={1: 2.0}, features="quadratic")
    again = clone(segmenter)
    assert {k: str(v) for k, v in again.get_params().items()} == {k: str(v) for k, v in segmenter.get_params().items()}
    assert cross_val_score(segmenter, pictures, maps, cv=3).shape == (3,)
    search = GridSearchCV(segmenter, {"pairwise": [None, "potts"]}, cv=2).fit(pictures, maps)
    assert search.best_params_["pairwise"] == "potts"
    assert search.best_estimator_.n_features_in_ == 9


def test_words_as_labels_and_one_picture(rng):
    labels = np.where(np.arange(10)[:, None] + np.zeros(8) < 5, "sky", "tree")
    image = (labels == "tree") + rng.normal(scale=0.4, size=labels.shape)
    segmenter = fg.Segmenter(ignore=None, features=lambda x: np.concatenate([x, x**2], axis=-1)).fit(image, labels)
    assert segmenter.predict(image).dtype == labels.dtype
    assert segmenter.predict_proba(image).shape == (10, 8, 2)
    assert segmenter.score(image, labels) == 1.0
    assert (segmenter.predict([image])[0] == segmenter.predict(image)).all()


def test_bytes_count_as_shares_of_one(rng):
    image = rng.integers(256, size=(6, 7, 3)).astype(np.uint8)
    labels = (image[..., 0] > 128).astype(int)
    one, other = (fg.Segmenter(max_iterations=5).fit(x, labels) for x in (image, image / 255.0))
    assert (one.predict_proba(image) == other.predict_proba(image / 255.0)).all()


def test_scores_by_hand():
    counts = confusion_counts([np.array([0, 0, 1, -1])], [np.array([0, 1, 1, 0])], 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert mean_iou(counts) == 0.5


def test_the_guide_runs():
    guide = pathlib.Path(__file__).resolve().parents[3] / "docs" / "segmentation.md"
    blocks = re.findall(r"^```python\n(.*?)^```$", guide.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    scope = {}
    for block in blocks:
        exec(block, scope)
    assert scope["segmenter"].score(scope["pictures"][3], scope["maps"][3]) > 0.97
    assert scope["cut"].labels.sum() == 140
