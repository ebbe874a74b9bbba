"""Segmenters in files: every bit of their answers comes back, nothing is pickled, and broken files are named."""

import json
import zipfile

import numpy as np
import pytest
from label_maps import noisy
from sklearn.linear_model import LogisticRegression

import factorgraph_ebm as fg


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"unary": "logistic", "class_weight": {1: 3.0}, "neighbours": 8},
        {"pairwise": "tables", "loss": fg.losses.likelihood(), "inference": {"method": "bp", "damping": 0.2}},
        {"pairwise": None, "regularizer": fg.l2(1e-3), "optimizer": fg.optimizers.sgd(0.5), "classes": [0, 1, 2]},
        {"features": "quadratic", "label_cost": np.array([0.5, 1.0])},
    ],
)
def test_what_is_saved_predicts_the_same(options, tmp_path, rng):
    pictures, maps = noisy(3, 8, 2, 1.0, rng)
    segmenter = fg.Segmenter(max_iterations=3, **options).fit(pictures, maps)
    segmenter.save(tmp_path / "model.npz")
    again = fg.Segmenter.load(tmp_path / "model.npz")
    assert all((one == other).all() for one, other in zip(segmenter.predict(pictures), again.predict(pictures)))
    if "label_cost" not in options:
        assert (segmenter.predict_proba(pictures[0]) == again.predict_proba(pictures[0])).all()
    assert len(again.model_.history) == len(segmenter.model_.history)
    assert again.pairwise == segmenter.pairwise and again.classes_.tolist() == segmenter.classes_.tolist()


def test_words_and_functions(tmp_path, rng):
    image = rng.normal(size=(6, 6))
    labels = np.where(image > 0, "day", "night")

    def squares(x):
        return np.concatenate([x, x**2], axis=-1)

    segmenter = fg.Segmenter(features=squares, max_iterations=3, ignore=None).fit(image, labels)
    segmenter.save(tmp_path / "model.npz")
    with pytest.raises(fg.FormatError, match="features="):
        fg.Segmenter.load(tmp_path / "model.npz")
    again = fg.Segmenter.load(tmp_path / "model.npz", features=squares)
    assert (again.predict(image) == segmenter.predict(image)).all()
    assert again.ignore is None


def test_what_cannot_be_saved(tmp_path, rng):
    image = rng.normal(size=(6, 6))
    labels = (image > 0).astype(int)
    with pytest.raises(fg.MethodError, match="Call fit first"):
        fg.Segmenter().save(tmp_path / "model.npz")
    segmenter = fg.Segmenter(unary=LogisticRegression(), max_iterations=3).fit(image, labels)
    with pytest.raises(fg.MethodError, match="pickle"):
        segmenter.save(tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())


def test_broken_files(tmp_path, rng):
    image = rng.normal(size=(6, 6))
    path = tmp_path / "model.npz"
    fg.Segmenter(max_iterations=3).fit(image, (image > 0).astype(int)).save(path)
    with zipfile.ZipFile(path) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    header = json.loads(entries["header.json"])

    def load(changed):
        with zipfile.ZipFile(path, "w") as file:
            for name, data in {**entries, "header.json": json.dumps(changed).encode()}.items():
                file.writestr(name, data)
        return fg.Segmenter.load(path)

    for broken, message in (
        ({**header, "kind": "model"}, "not a saved segmenter"),
        ({**header, "version": 2}, "version 2"),
        ({key: value for key, value in header.items() if key != "choices"}, "broken"),
        ({**header, "parameters": {"unary": "a9"}}, "a9"),
        ({**header, "choices": {**header["choices"], "depth": 3}}, "broken"),
        ({**header, "parameters": {}}, "parameters"),
    ):
        with pytest.raises(fg.FormatError, match=message):
            load(broken)
    assert load(header).predict(image).shape == (6, 6)
    path.write_bytes(b"PK")
    with pytest.raises(fg.FormatError, match="not an archive"):
        fg.Segmenter.load(path)
