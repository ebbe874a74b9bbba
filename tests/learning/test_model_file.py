"""Saved models: every bit comes back, and a broken file is an error of its own, whatever is broken."""

import functools
import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tagging import architecture, draw

import factorgraph_ebm as fg

SAMPLES, TARGETS = draw(10)
TESTS, _ = draw(5, seed=9)


@functools.cache
def fitted():
    return fg.EnergyModel(architecture, loss="likelihood", regularizer=fg.l2(0.05)).fit(SAMPLES, TARGETS)


def bits(model):
    return {name: value.tobytes() for name, value in model.parameters.items()}


def test_a_saved_model_comes_back_bit_for_bit(tmp_path):
    model = fg.EnergyModel(
        architecture, loss="softmax_margin", beta=0.7, inference={"method": "bp", "damping": 0.25}, latent="marginalize"
    ).fit(SAMPLES, TARGETS, epochs=4)
    path = tmp_path / "model.npz"
    model.save(path)
    again = fg.EnergyModel.load(path, architecture)
    assert bits(again) == bits(model)
    assert [list(map(float.hex, row.values())) for row in again.history] == [
        list(map(float.hex, row.values())) for row in model.history
    ]
    assert (again.loss.name, again.beta, again.latent, again.inference) == (
        "softmax_margin", 0.7, "marginalize", {"method": "bp", "damping": 0.25},
    )  # fmt: skip
    assert again.best_guess(TESTS[0])["y"].tolist() == model.best_guess(TESTS[0])["y"].tolist()
    other = fg.EnergyModel.load(path, architecture, loss="perceptron", inference="auto", optimizer="sgd")
    assert other.partial_fit(SAMPLES, TARGETS).loss.name == "perceptron"
    with np.load(path, allow_pickle=False) as plain:
        arrays = [plain[name] for name in plain.files if name != "header.json"]
        assert any(np.array_equal(array, model.parameters["emission"]) for array in arrays)
    first = path.read_bytes()
    model.save(path)
    assert path.read_bytes() == first


def saved():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        array = io.BytesIO()
        np.lib.format.write_array(array, np.zeros((4, 3)), version=(1, 0))
        archive.writestr("a0.npy", array.getvalue())
    return file.getvalue()


HEADER = {
    "kind": "model of factorgraph_ebm", "version": 1, "parameters": {"emission": "a0"},
    "history": [{"update": "0x1p0"}], "loss": "likelihood", "latent": "minimize", "beta": "0x1p0",
    "inference": {"method": "auto"},
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "other"}, {"version": 2}, {"parameters": None}, {"parameters": {"w": "a7"}}, {"parameters": {"w": 3}},
        {"history": 3}, {"history": [3]}, {"history": [{"update": 1.0}]}, {"history": [{"update": "0x1p99999"}]},
        {"loss": "none"}, {"loss": ["hinge"]}, {"latent": 3}, {"beta": "much"}, {"beta": None}, {"beta": "-0x1p0"},
        {"inference": 3}, {"inference": {"method": "guess"}}, None,
    ],
)  # fmt: skip
def test_a_broken_header_is_a_format_error(change, tmp_path):
    path = tmp_path / "model.npz"
    path.write_bytes(saved())
    header = [] if change is None else {**HEADER, **change}
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("header.json", json.dumps(header))
    with pytest.raises(fg.FormatError, match=r"model\.npz"):
        fg.EnergyModel.load(path, architecture)


def test_a_plain_header_is_read(tmp_path):
    path = tmp_path / "model.npz"
    path.write_bytes(saved())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("header.json", json.dumps(HEADER))
    assert fg.EnergyModel.load(path, architecture).parameters["emission"].shape == (4, 3)


@settings(max_examples=60)
@given(st.data())
def test_damaged_files_never_do_more_than_raise(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    fitted().save(path)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(1, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    try:
        fg.EnergyModel.load(path, architecture)
    except fg.FactorGraphError:
        pass
