"""What a segmenter cannot read it refuses, and says what, where, and what to do."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import factorgraph_ebm as fg

IMAGE, LABELS = np.linspace(0.0, 1.0, 48).reshape(4, 6, 2), np.arange(24).reshape(4, 6) % 2
NODES, EDGES = np.linspace(0.0, 1.0, 10).reshape(5, 2), np.array([[0, 1], [1, 2], [3, 4]])
STATES = np.array([0, 1, 0, 1, 1])


def with_nan(array):
    changed = array.copy()
    changed.flat[3] = np.nan
    return changed


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ("cat.png", LABELS, "a picture or a list of pictures, not str"),
        (5, LABELS, "not int"),
        (with_nan(IMAGE), LABELS, r"X, image\[0, 1, 1\]: is nan"),
        ([IMAGE, with_nan(IMAGE)], [LABELS, LABELS], r"X\[1\], image"),
        ([["a", "b"]], [LABELS], "no array of numbers"),
        ([np.zeros(7)], [np.zeros(7, int)], r"shape \(7,\)"),
        (IMAGE, LABELS[:3], r"y: has shape \(3, 6\), and its picture \(4, 6\)"),
        ([IMAGE, IMAGE], [LABELS], "2 pictures and 1 label maps"),
        (IMAGE, LABELS + 0.5, "whole numbers or words"),
        (IMAGE, np.full((4, 6), -1), "no pixel has a label"),
        ({"image": IMAGE, "feature": IMAGE}, LABELS, 'Did you mean "features"'),
        ({"image": IMAGE, "features": IMAGE[:3]}, LABELS, "pixels"),
        ({}, LABELS, "an image, features or energies"),
        ([], [], "X is an empty list"),
        (np.stack([LABELS] * 3), np.stack([LABELS] * 3), "Several pictures are a list"),
        (IMAGE[:0], LABELS[:0], "no pixel"),
        ([IMAGE], None, "list of label maps"),
        ({"image": IMAGE, "edge_features": IMAGE}, LABELS, "there are none"),
        ([IMAGE, IMAGE[..., :1]], [LABELS, LABELS], "1 and 2 features"),
        ((NODES,), STATES, "superpixel graph"),
        ((NODES, EDGES + 3), STATES, r"edges\[1\]: is \[4, 5\], and nodes are 0 to 4"),
        ((NODES, -EDGES), STATES, "nodes are 0 to 4"),
        ((NODES, EDGES * 0.5), STATES, "pairs of node numbers"),
        ((NODES, EDGES.T), STATES, r"shape \(m, 2\)"),
        ((NODES, [[1, 1]]), STATES, r"edges\[0\]: joins a node to itself"),
        ((NODES, EDGES, np.ones((2, 3))), STATES, "3 edges, a row for each"),
        ((NODES[0], EDGES), STATES, "one row for each node"),
        ({"edges": EDGES}, STATES, "features or energies of its nodes"),
        ((NODES, EDGES), STATES[:4], r"shape \(4,\)"),
    ],
)
def test_bad_pictures_and_label_maps(x, y, message):
    with pytest.raises(fg.EvidenceError, match=message):
        fg.Segmenter().fit(x, y)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"unary": "linaer"}, fg.MethodError, 'Did you mean "linear"'),
        ({"unary": 3}, fg.MethodError, "predict_proba"),
        ({"unary": LogisticRegression}, fg.MethodError, r"unary=LogisticRegression\(\)"),
        ({"inference": None}, fg.MethodError, "inference= is the word"),
        ({"loss": None}, fg.MethodError, "neither a word"),
        ({"regularizer": -1.0}, fg.ParameterError, "finite number >= 0"),
        ({"regularizer": np.nan}, fg.ParameterError, "finite number >= 0"),
        ({"classes": []}, fg.EvidenceError, "classes= is empty"),
        ({"class_weight": {0: "much"}}, fg.EvidenceError, "no numbers"),
        ({"pairwise": "pots"}, fg.MethodError, 'Did you mean "potts"'),
        ({"neighbours": 6}, fg.MethodError, "4 or 8"),
        ({"features": "cubic"}, fg.MethodError, "quadratic"),
        ({"features": lambda x: x[0]}, fg.EvidenceError, "is needed"),
        ({"features": lambda x: x / 0.0}, fg.EvidenceError, "NaN or an infinity"),
        ({"loss": "hing"}, fg.MethodError, 'Did you mean "hinge"'),
        ({"loss": "likelihood", "inference": "cut"}, fg.MethodError, "cannot find"),
        ({"inference": "cutt"}, fg.MethodError, 'Did you mean "cut"'),
        ({"classes": [0, 2]}, fg.EvidenceError, "label 1 is none of the classes 0, 2"),
        ({"class_weight": "even"}, fg.EvidenceError, "balanced"),
        ({"class_weight": {7: 2.0}}, fg.EvidenceError, r"class_weight\[7\]"),
        ({"class_weight": [[0.0, 1.0]]}, fg.EvidenceError, r"\(2, 2\)"),
        ({"class_weight": {0: -1.0}}, fg.MethodError, ">= 0"),
        ({"class_weight": {0: 2.0}, "loss": fg.losses.hinge("hamming")}, fg.MethodError, "its own cost"),
    ],
)
def test_bad_choices(options, error, message):
    with np.errstate(divide="ignore", invalid="ignore"), pytest.raises(error, match=message):
        fg.Segmenter(**options).fit(IMAGE, LABELS)


def test_bad_questions():
    segmenter = fg.Segmenter(max_iterations=2)
    with pytest.raises(fg.MethodError, match="Call fit first"):
        segmenter.predict(IMAGE)
    segmenter.fit(IMAGE, LABELS)
    with pytest.raises(fg.EvidenceError, match="1 features, and the segmenter learned with 2"):
        segmenter.predict(IMAGE[..., :1])
    with pytest.raises(fg.EvidenceError, match=r"scribbles.*shape \(3, 6\)"):
        segmenter.predict(IMAGE, scribbles=LABELS[:3])
    with pytest.raises(fg.EvidenceError, match="label 4 is none"):
        segmenter.predict(IMAGE, scribbles=LABELS + 4)
    with pytest.raises(fg.EvidenceError, match="label 4 is none"):
        segmenter.score(IMAGE, LABELS + 4)
    with pytest.raises(fg.MethodError, match='"accuracy" or "iou"'):
        segmenter.score(IMAGE, LABELS, metric="f1")
    with pytest.raises(fg.EvidenceError, match="nothing to score"):
        segmenter.score(IMAGE, np.full((4, 6), -1))
    for cost in (-1.0, np.inf, [1.0, 2.0, 3.0]):
        with pytest.raises(fg.EvidenceError, match="label_cost"):
            segmenter.set_params(label_cost=cost).predict(IMAGE)


def test_energies_are_of_all_classes_and_have_no_colours():
    segmenter = fg.Segmenter(unary="energies", pairwise="potts", max_iterations=2).fit(IMAGE, LABELS)
    with pytest.raises(fg.EvidenceError, match="of 3 labels, and there are 2 classes"):
        segmenter.predict(np.zeros((4, 6, 3)))
    with pytest.raises(fg.EvidenceError, match="label 2 is none of the classes 0, 1"):
        segmenter.fit(IMAGE, LABELS + 1)
    for pairwise in ("contrast", "features"):
        with pytest.raises(fg.EvidenceError, match=f'pairwise="{pairwise}"'):
            fg.Segmenter(unary="energies", pairwise=pairwise).fit(IMAGE, LABELS)
    both = {"energies": IMAGE, "image": IMAGE[..., 0]}
    assert fg.Segmenter(unary="energies", max_iterations=2).fit(both, LABELS).predict(both).shape == (4, 6)


def test_cuts_want_features_of_pairs_that_are_not_negative():
    graph = (NODES, EDGES, np.array([[1.0], [-2.0], [0.0]]))
    with pytest.raises(fg.EvidenceError, match=r"edge_features\[1\]"):
        fg.Segmenter(pairwise="features", inference="cut").fit(graph, STATES)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (2, 2)])
@pytest.mark.parametrize("neighbours", [4, 8])
def test_pictures_of_few_pixels(shape, neighbours):
    labels = np.arange(shape[0] * shape[1]).reshape(shape) % 2
    for pairwise in ("potts", "contrast", "tables", "features", None):
        segmenter = fg.Segmenter(pairwise=pairwise, neighbours=neighbours, classes=[0, 1], max_iterations=3)
        segmenter.fit(labels + 0.5, labels)
        assert segmenter.predict(labels + 0.5).shape == shape
        assert segmenter.predict_proba(labels + 0.5).sum(axis=-1) == pytest.approx(np.ones(shape))


def test_a_graph_without_edges_and_pictures_without_labels():
    segmenter = fg.Segmenter(max_iterations=3).fit([(NODES, []), (NODES, [])], [STATES, np.full(5, -1)])
    assert segmenter.predict((NODES, np.zeros((0, 2), int))).shape == (5,)
    one_class = fg.Segmenter(max_iterations=3).fit(IMAGE, np.zeros((4, 6), int))
    assert (one_class.predict(IMAGE) == 0).all() and one_class.score(IMAGE, np.zeros((4, 6), int)) == 1.0


def test_pairs_that_training_did_not_have():
    tables = fg.Segmenter(pairwise="tables", max_iterations=2).fit(IMAGE, LABELS)
    with pytest.raises(fg.EvidenceError, match='X: has pairs of the kind "falling"'):
        tables.set_params(neighbours=8).predict(IMAGE)
    with pytest.raises(fg.EvidenceError, match=r'X\[1\]: has pairs of the kind "edge"'):
        tables.set_params(neighbours=4).predict([IMAGE, (NODES, EDGES)])
    graph = (NODES, EDGES, np.ones((3, 2)))
    features = fg.Segmenter(pairwise="features", max_iterations=2).fit(graph, STATES)
    with pytest.raises(fg.EvidenceError, match="have 1 features, and the segmenter learned with 2"):
        features.predict_proba((NODES, EDGES, np.ones((3, 1))))


def test_weights_of_every_kind_of_pairs_are_penalised():
    """Not only those of the first picture or graph."""
    graph = (IMAGE.reshape(-1, 2), [(0, 1), (1, 2), (2, 8)])
    pictures, maps = [graph, IMAGE], [LABELS.ravel(), LABELS]
    held = fg.Segmenter(pairwise="tables", loss="likelihood", regularizer=1e6).fit(pictures, maps)
    assert set(held.model_.parameters) == {"unary", "tables edge", "tables across", "tables down"}
    for value in held.model_.parameters.values():
        np.testing.assert_allclose(value, 0.0, atol=1e-4)


def test_a_loss_may_be_named_by_its_function(tmp_path):
    segmenter = fg.Segmenter(loss=fg.losses.likelihood, max_iterations=2).fit(IMAGE, LABELS)
    segmenter.save(tmp_path / "segmenter.npz")
    assert (fg.Segmenter.load(tmp_path / "segmenter.npz").predict(IMAGE) == segmenter.predict(IMAGE)).all()


def test_a_classifier_whose_other_pictures_have_one_label():
    """A fold that has nothing to tell apart takes the classifier of all pictures."""
    maps = [np.zeros((4, 6), int), LABELS]
    segmenter = fg.Segmenter(unary=LogisticRegression(), max_iterations=2).fit([IMAGE, IMAGE], maps)
    assert segmenter.predict(IMAGE).shape == (4, 6)
