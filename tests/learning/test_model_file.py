"""Saved models: every bit comes back, and a broken file is an error of its own, whatever is broken."""

import functools
import inspect
import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tagged_chains import architecture, draw

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


MATRIX = np.array([[0.0, 1.0, 0.1], [3.5, 0.0, 1e-300], [1.0, 1 / 3, 0.0]])
TOLD = {
    "hinge": [{}, {"margin": 1 / 3}, {"margin": "hamming"}, {"margin": MATRIX}, {"margin": {"y": MATRIX}}],
    "softmax_margin": [{}, {"cost": MATRIX}, {"cost": {"y": "hamming"}}],
    "lvq2": [{"M": 0.7}], "square_square": [{"m": 2.5}], "square_exponential": [{"g": 0.1}],
    "contrastive_divergence": [{"k": 3}],
}  # fmt: skip
OF_FUNCTIONS = {
    "custom": fg.losses.custom(lambda correct, minimum: correct - minimum),
    "margin": fg.losses.margin(np.exp, np.exp),
}


def same(one, other):
    """Equal options; arrays by their bits."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, np.ndarray):
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("name", fg.losses.LOSSES)
def test_a_loss_comes_back_with_what_it_was_told(name, tmp_path):
    if name in OF_FUNCTIONS:
        return
    answers = np.array([2.0, 0.3, -1.0]), np.array([1.0, 1.1, np.inf])
    for options in TOLD.get(name, [{}]):
        loss = fg.losses.LOSSES[name](**options)
        fg.EnergyModel(architecture, loss=loss).save(tmp_path / "model.npz")
        again = fg.EnergyModel.load(tmp_path / "model.npz", architecture).loss
        assert again[:2] == loss[:2] and same(again.options, loss.options) and again[4:-1] == loss[4:-1]
        assert set(loss.options) == set(inspect.signature(fg.losses.LOSSES[name]).parameters)
        assert loss.cost is None or same(again.cost, loss.cost)
        values = [each.value(answers[: len(loss.queries)], 1.0) for each in (loss, again)]
        assert np.array_equal(values[0][0], values[1][0]) and np.array_equal(values[0][1], values[1][1])


@pytest.mark.parametrize("name", OF_FUNCTIONS)
def test_a_loss_made_of_functions_must_be_given_again(name, tmp_path):
    path = tmp_path / "model.npz"
    fg.EnergyModel(architecture, loss=OF_FUNCTIONS[name]).save(path)
    with pytest.raises(fg.MethodError, match=f'loss "{name}" was made of functions.*loss='):
        fg.EnergyModel.load(path, architecture)
    assert fg.EnergyModel.load(path, architecture, loss=OF_FUNCTIONS[name]).loss is OF_FUNCTIONS[name]
    assert fg.EnergyModel.load(path, architecture, loss="hinge").loss.options == {"margin": 1.0}


@pytest.mark.parametrize("margin, other", [(1.0, 0.5), ("hamming", 1.0), (MATRIX, MATRIX.T)])
def test_a_checkpoint_of_a_loss_with_other_options_is_refused(margin, other, tmp_path):
    def fit(margin, epochs):
        model = fg.EnergyModel(architecture, loss=fg.losses.hinge(margin), optimizer="sgd")
        return model.fit(SAMPLES, TARGETS, epochs=epochs, checkpoint=tmp_path / "checkpoint.npz")

    fit(margin, 1)
    with pytest.raises(fg.FormatError, match="written by another model"):
        fit(other, 2)
    assert len(fit(margin, 2).history) == 2


def saved():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        array = io.BytesIO()
        np.lib.format.write_array(array, np.zeros((4, 3)), version=(1, 0))
        archive.writestr("a0.npy", array.getvalue())
    return file.getvalue()


HEADER = {
    "kind": "model of factorgraph_ebm", "version": 2, "parameters": {"emission": "a0"},
    "history": [{"update": "0x1p0"}], "loss": "likelihood", "options": {}, "latent": "minimize",
    "beta": "0x1p0", "inference": {"method": "auto"},
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "other"}, {"version": 1}, {"version": 3}, {"parameters": None}, {"parameters": {"w": "a7"}},
        {"parameters": {"w": 3}},
        {"history": 3}, {"history": [3]}, {"history": [{"update": 1.0}]}, {"history": [{"update": "0x1p99999"}]},
        {"loss": "none"}, {"loss": ["hinge"]}, {"options": 3}, {"options": {"margin": 1}},
        {"loss": "hinge", "options": {"margin": {"number": 1}}}, {"loss": "hinge", "options": {"margin": -1}},
        {"loss": "hinge", "options": {"margin": {"array": "a7"}}}, {"loss": "hinge", "options": {"margin": {}}},
        {"loss": "hinge", "options": {"margin": {"of": 3}}}, {"loss": "custom"},
        {"latent": 3}, {"beta": "much"}, {"beta": None}, {"beta": "-0x1p0"},
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
