"""Segmentation by scribbles and boxes: energies never rise, what is known is kept, and colours are found."""

import numpy as np
import pytest

import factorgraph_ebm as fg


def scene(rng, size=40, colours=((0.2, 0.3, 0.6), (0.8, 0.4, 0.2), (0.3, 0.7, 0.3)), noise=0.08):
    """A picture with a block of each colour on the first, and its label map."""
    labels = np.zeros((size, size), int)
    labels[size // 4 : size // 2, size // 5 : size // 2] = 1
    if len(colours) > 2:
        labels[size // 2 :, size // 2 : 4 * size // 5] = 2
    return np.clip(np.array(colours)[labels] + noise * rng.normal(size=(size, size, 3)), 0.0, 1.0), labels


def strokes(labels, n_labels):
    known = np.full(labels.shape, -1)
    for label in range(n_labels):
        rows, columns = np.nonzero(labels == label)
        middle = len(rows) // 2
        known[rows[middle - 2 : middle + 2], columns[middle - 2 : middle + 2]] = label
    return known


@pytest.mark.parametrize("n_labels", [2, 3])
@pytest.mark.parametrize("strength", [0.0, 5.0, 50.0])
def test_the_energy_never_rises(n_labels, strength, rng):
    image, labels = scene(rng, noise=0.25)
    known = strokes(labels, 3)
    known[known >= n_labels] = 0
    cut = fg.Segmenter.interactive(image, scribbles=known, rounds=8, strength=strength)
    steps = np.diff(cut.energies)
    assert len(steps) >= 2 and (steps <= 1e-9 * np.abs(cut.energies[0])).all()
    assert steps.min() < 0.0
    assert (cut.labels[known >= 0] == known[known >= 0]).all()
    assert cut.energy == cut.energies[-1]


def test_strokes_find_the_blocks(rng):
    image, labels = scene(rng)
    cut = fg.Segmenter.interactive(image, scribbles=strokes(labels, 3), strength=10.0)
    assert (cut.labels == labels).mean() > 0.99
    share = cut.probabilities()
    assert share.sum(axis=-1) == pytest.approx(np.ones(labels.shape))
    assert (share.argmax(axis=-1) == labels).mean() > 0.99


def test_a_box_finds_what_is_inside(rng):
    image, labels = scene(rng, colours=((0.2, 0.3, 0.6), (0.8, 0.4, 0.2)))
    cut = fg.Segmenter.interactive(image, box=(7, 5, 24, 24), strength=10.0)
    assert (cut.labels == labels).mean() > 0.99
    known = np.full(labels.shape, -1)
    known[8, 6], known[12, 12] = 0, 1
    both = fg.Segmenter.interactive(image, box=(7, 5, 24, 24), scribbles=known, strength=10.0)
    assert both.labels[8, 6] == 0 and both.labels[12, 12] == 1 and (both.labels[:7] == 0).all()


def test_colours_alone(rng):
    image, labels = scene(rng)
    cut = fg.Segmenter.interactive(image, n_labels=3, strength=5.0)
    pairs = {(a, b) for a, b in zip(cut.labels.ravel().tolist(), labels.ravel().tolist())}
    counts = np.array([[((cut.labels == a) & (labels == b)).sum() for b in range(3)] for a in range(3)])
    assert len(pairs) >= 3 and counts.max(axis=1).sum() > 0.99 * labels.size


def test_more_scribbles_mend_what_is_wrong(rng):
    """A patch in the colour of the background becomes foreground once somebody says so, and stays."""
    image, labels = scene(rng, colours=((0.2, 0.3, 0.6), (0.8, 0.4, 0.2)))
    cut = fg.Segmenter.interactive(image, scribbles=strokes(labels, 2), strength=10.0)
    more = np.full(labels.shape, -1)
    more[30:34, 5:9] = 1
    assert (cut.labels[30:34, 5:9] == 0).all()
    assert cut.refine(more) is cut
    assert (cut.labels[30:34, 5:9] == 1).all() and (cut.known[30:34, 5:9] == 1).all()
    assert (np.diff(cut.energies) <= 1e-9 * np.abs(cut.energies[0])).all()
    with pytest.raises(fg.EvidenceError, match="label 2, and labels are 0 to 1"):
        cut.refine(np.where(more == 1, 2, -1))


def test_bytes_greys_and_hardly_any_pixels(rng):
    image, labels = scene(rng)
    known = strokes(labels, 3)
    whole = np.round(image * 255)
    one, other = (fg.Segmenter.interactive(x, scribbles=known) for x in (whole / 255, whole.astype(np.uint8)))
    assert (one.labels == other.labels).all()
    grey = fg.Segmenter.interactive(image[..., 0], scribbles=np.where(known == 2, -1, known))
    assert grey.labels.shape == labels.shape
    tiny = fg.Segmenter.interactive([[0.0, 1.0]], scribbles=[[0, 1]])
    assert tiny.labels.tolist() == [[0, 1]]
    plain = fg.Segmenter.interactive(np.full((5, 5), 0.5), scribbles=np.arange(25).reshape(5, 5) % 2)
    assert (plain.labels == np.arange(25).reshape(5, 5) % 2).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scribbles": np.zeros((3, 3), int)}, r"shape \(3, 3\), where whole numbers \(6, 6\)"),
        ({"scribbles": np.zeros((6, 6))}, "float64"),
        ({"scribbles": np.full((6, 6), -2)}, "-2"),
        ({"scribbles": np.zeros((6, 6), int)}, "label 1 has no scribble"),
        ({"scribbles": np.arange(36).reshape(6, 6) % 4, "n_labels": 3}, "n_labels=3"),
        ({"n_labels": 1}, "two at least"),
        ({"box": (0, 0, 6, 6)}, "whole picture"),
        ({"box": (4, 0, 2, 6)}, "top < bottom"),
        ({"box": (0, 0, 7, 6)}, "6 x 6 pixels"),
        ({"box": (0, 0, 7)}, "top, left, bottom, right"),
        ({"box": 7}, "four numbers"),
        ({"box": (np.nan, 0, 2, 6)}, "four numbers"),
        ({"rounds": -1}, "rounds="),
        ({"rounds": 1.5}, "whole numbers"),
        ({"n_labels": "3"}, "whole numbers"),
        ({"strength": None}, "is a number"),
        ({"scribbles": np.array([[0, 1, 255] * 2] * 6, np.uint8)}, "Labels are 0 to 255"),
        ({"n_components": 0}, "n_components="),
        ({"strength": -1.0}, "strength="),
        ({"neighbours": 5}, "4 or 8"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(fg.FactorGraphError, match=message):
        fg.Segmenter.interactive(np.linspace(0.0, 1.0, 36).reshape(6, 6), **options)
    with pytest.raises(fg.EvidenceError, match="is nan"):
        fg.Segmenter.interactive(np.full((6, 6), np.nan), n_labels=2)


def test_fewer_colours_than_labels():
    for image in (np.zeros((1, 1)), np.full((4, 4, 3), 0.5)):
        with pytest.raises(fg.EvidenceError, match="has 1 colour, too few for 2 labels"):
            fg.Segmenter.interactive(image)
