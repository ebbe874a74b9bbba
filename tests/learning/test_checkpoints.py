"""Checkpoints: every bit comes back, a file is whole or absent, and a wrong one is refused by name."""

import io
import json
import os
import zipfile
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_problems import softmax

from factorgraph_ebm.errors import FormatError
from factorgraph_ebm.learning.checkpoints import read_checkpoint, write_checkpoint
from factorgraph_ebm.learning.optimizers import lbfgs, run, sgd
from factorgraph_ebm.learning.oracle import UNREGULARIZED


class Inner(NamedTuple):
    w: np.ndarray
    value: float


class Outer(NamedTuple):
    w: np.ndarray
    inner: Inner
    pairs: tuple
    maybe: float | None
    count: int
    done: bool


def same(one, other):
    """Equal in type and in every bit."""
    assert type(one) is type(other)
    if isinstance(one, tuple):
        assert len(one) == len(other)
        for each, its in zip(one, other):
            same(each, its)
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    elif isinstance(one, float):
        assert one.hex() == other.hex()
    else:
        assert one == other


STATE = Outer(
    np.array([0.1, -0.0, np.inf, np.nan, 5e-324]),
    Inner(np.zeros((0, 3)), float("nan")),
    (np.array([1, 2**62]), (np.array([True, False]), None), Inner(np.ones(1), -0.0)),
    None,
    2**70,
    True,
)

floats = st.floats(allow_nan=False)
arrays = st.lists(floats, max_size=4).map(np.array) | st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1).map(
    lambda numbers: np.array(numbers, np.int64)
)
leaves = floats | st.integers() | st.booleans() | st.none() | arrays
values = st.recursive(leaves, lambda inside: st.lists(inside, max_size=3).map(tuple), max_leaves=6)


@given(values, values, st.builds(Inner, arrays, floats))
def test_any_state_comes_back_bit_for_bit(tmp_path_factory, maybe, pairs, inner):
    path = tmp_path_factory.mktemp("checkpoint") / "state.npz"
    state = Outer(np.zeros(2), inner, pairs, maybe, 3, False)
    write_checkpoint(path, state, {})
    same(read_checkpoint(path, state)[0], state)


def test_special_numbers_nesting_and_the_header(tmp_path):
    path = tmp_path / "state.npz"
    header = {"epoch": 3, "seed": 2**60, "fingerprint": "abc", "rate": 0.1, "names": ["w"]}
    write_checkpoint(path, STATE, header)
    read, said = read_checkpoint(path, STATE, fingerprint="abc")
    same(read, STATE)
    assert said == header
    assert read.w.flags.writeable
    # Where every state inside is named by its type, the type is enough.
    plain = STATE._replace(pairs=())
    write_checkpoint(path, plain, {})
    same(read_checkpoint(path, Outer)[0], plain)
    with np.load(path) as archive:
        assert archive["a0"].tobytes() == STATE.w.tobytes()


def test_writing_replaces_the_old_file_at_once_and_leaves_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    write_checkpoint(path, STATE, {"epoch": 1})
    old = path.read_bytes()
    with pytest.raises(TypeError, match=r"state.inner.value is a list"):
        write_checkpoint(path, STATE._replace(inner=Inner(np.zeros(1), [1.0])), {})
    with pytest.raises(TypeError, match=r"state.pairs\[0\] is a ndarray"):
        write_checkpoint(path, STATE._replace(pairs=(np.array(["a"]),)), {})

    def full(*arguments):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="no space"):
            write_checkpoint(path, STATE, {"epoch": 2})
    assert path.read_bytes() == old and os.listdir(tmp_path) == ["state.npz"]
    write_checkpoint(path, STATE, {"epoch": 2})
    assert read_checkpoint(path, STATE)[1] == {"epoch": 2}
    write_checkpoint(tmp_path / "again.npz", STATE, {"epoch": 2})
    assert path.read_bytes() == (tmp_path / "again.npz").read_bytes()


def test_truncated_files_are_refused_wherever_they_end(tmp_path):
    path = tmp_path / "state.npz"
    write_checkpoint(path, STATE, {})
    data = path.read_bytes()
    for end in range(0, len(data), 97):
        path.write_bytes(data[:end])
        with pytest.raises(FormatError, match="state.npz"):
            read_checkpoint(path, STATE)


def test_flipped_bytes_are_refused_or_change_nothing(tmp_path):
    path = tmp_path / "state.npz"
    write_checkpoint(path, STATE, {"epoch": 1})
    data = path.read_bytes()
    for place in range(0, len(data), 13):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        try:
            read = read_checkpoint(path, STATE)[0]
        except FormatError as error:
            assert "state.npz" in str(error)
        else:
            same(read, STATE)


def rewritten(path, change):
    """The archive with its header changed."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    content = json.loads(entries["header.json"])
    entries["header.json"] = json.dumps(change(content)).encode()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    path.write_bytes(file.getvalue())


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda content: [1], "not a checkpoint"),
        (lambda content: {**content, "kind": "graph"}, "not a checkpoint"),
        (lambda content: {**content, "version": 99}, "version 99"),
        (lambda content: {**content, "header": None}, "header"),
        (lambda content: {**content, "state": {"array": "a77"}}, '"a77.npy"'),
        (lambda content: {**content, "state": {"array": 3}}, "3.npy"),
        (lambda content: {**content, "state": {"float": "one"}}, "state of the checkpoint cannot be read"),
        (lambda content: {**content, "state": {"tuple": 7}}, "cannot be read"),
        (lambda content: {**content, "state": "text"}, "cannot be read"),
        (lambda content: {**content, "state": {"named": "Outer", "fields": {"w": 1}}}, "is a Outer of w, not a Outer"),
        (lambda content: {**content, "state": {"named": "os.system", "fields": {}}}, "is a os.system"),
    ],
)
def test_foreign_headers_are_refused(tmp_path, change, words):
    path = tmp_path / "state.npz"
    write_checkpoint(path, STATE, {})
    rewritten(path, change)
    with pytest.raises(FormatError) as caught:
        read_checkpoint(path, STATE)
    assert words in str(caught.value) and "state.npz" in str(caught.value)


def test_other_models_optimizers_and_files_are_refused(tmp_path):
    path = tmp_path / "run.npz"
    oracle = softmax()
    state = run(lbfgs(), oracle, UNREGULARIZED, 2)
    write_checkpoint(path, state, {"fingerprint": "1234"})
    with pytest.raises(FormatError, match="written by another model.*'1234', these '5678'"):
        read_checkpoint(path, type(state), fingerprint="5678")
    with pytest.raises(FormatError, match="is a LbfgsState of w, .*, not a MinibatchState"):
        read_checkpoint(path, sgd().init(oracle, UNREGULARIZED))
    np.savez(path, w=np.zeros(3))
    with pytest.raises(FormatError, match="header.json"):
        read_checkpoint(path, type(state))
    path.write_text("not an archive")
    with pytest.raises(FormatError, match="run.npz"):
        read_checkpoint(path, type(state))
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "absent.npz", type(state))


def test_a_state_too_large_to_read_again_is_not_written(tmp_path):
    huge = np.lib.stride_tricks.as_strided(np.zeros(1), (2**28,), (0,))
    with pytest.raises(FormatError, match=r"2,147,483,648 bytes .*sgd\(\)"):
        write_checkpoint(tmp_path / "state.npz", Inner(huge, 0.0), {})
    assert not os.listdir(tmp_path)
