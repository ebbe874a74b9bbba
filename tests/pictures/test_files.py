"""Picture files: what is written is read again, what is broken is one line, and nothing is left behind."""

import builtins
import io
import os
import sys

import numpy as np
import pytest

import factorgraph_ebm as fg
from factorgraph_ebm.pictures import read_picture, write_labels, write_picture
from factorgraph_ebm.pictures.files import check_target, read_strokes

Image = pytest.importorskip("PIL.Image")

GREY = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
COLOURS = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)


@pytest.mark.parametrize("suffix", ["png", "pgm", "PNG"])
def test_grey_values_are_read_as_they_were_written(tmp_path, suffix):
    path = tmp_path / f"grey.{suffix}"
    write_picture(path, GREY)
    assert read_picture(path).dtype == np.uint8
    np.testing.assert_array_equal(read_picture(path), GREY)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", ["png", "ppm"])
def test_colours_are_read_as_they_were_written(tmp_path, suffix):
    path = tmp_path / f"colours.{suffix}"
    write_picture(path, COLOURS)
    np.testing.assert_array_equal(read_picture(path), COLOURS)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg"])
def test_jpeg_loses_little(tmp_path, suffix):
    path = tmp_path / f"smooth.{suffix}"
    ramp = np.add.outer(np.arange(32.0), np.arange(48.0))
    write_picture(path, ramp)
    assert np.abs(read_picture(path) - ramp).max() <= 3


def test_floats_are_rounded_and_clipped(tmp_path):
    path = tmp_path / "grey.png"
    write_picture(path, [[-3.0, 0.4, 0.6, 254.7, 300.0]])
    assert read_picture(path).tolist() == [[0, 0, 1, 255, 255]]


def test_what_other_programs_write(tmp_path):
    """Two values, palettes of greys and of colours, transparency, sixteen bits: all are 0 to 255."""
    path = tmp_path / "other.png"
    Image.fromarray(GREY > 100).save(path)
    np.testing.assert_array_equal(read_picture(path), np.where(GREY > 100, 255, 0))
    Image.fromarray(GREY).convert("P").save(path)
    np.testing.assert_array_equal(read_picture(path), GREY)
    Image.fromarray(COLOURS).quantize(30).save(path)
    assert read_picture(path).shape == (4, 6, 3)
    Image.fromarray(np.dstack([COLOURS, GREY])).save(path)
    np.testing.assert_array_equal(read_picture(path), COLOURS)
    Image.fromarray(np.dstack([GREY, GREY])).save(path)
    np.testing.assert_array_equal(read_picture(path), GREY)
    Image.fromarray(GREY.astype(np.uint16) * 257).save(path)
    np.testing.assert_array_equal(read_picture(path), GREY)
    Image.fromarray(GREY.astype(np.uint16)).save(path)  # sixteen bits, all of them dark
    np.testing.assert_array_equal(read_picture(path), np.rint(GREY / 257))


def test_labels_are_the_numbers_of_the_palette(tmp_path):
    labels = np.array([[0, 2, 1], [2, 2, 0]])
    colours = np.array([[200.0, 0.0, 0.0], [0.0, 100.4, 0.0], [0.0, 0.0, 50.0]])
    write_labels(tmp_path / "labels.png", labels, colours)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "labels.png")), labels)
    np.testing.assert_array_equal(read_picture(tmp_path / "labels.png"), np.rint(colours)[labels])
    write_labels(tmp_path / "labels.ppm", labels, colours)
    np.testing.assert_array_equal(read_picture(tmp_path / "labels.ppm"), np.rint(colours)[labels])


def test_strokes_are_what_is_not_transparent_or_not_black(tmp_path):
    painted = np.zeros((4, 6), bool)
    painted[1:3, 2:5] = True
    path = tmp_path / "strokes.png"
    Image.fromarray(np.dstack([COLOURS, np.where(painted, 255, 0).astype(np.uint8)])).save(path)
    colours, where = read_strokes(path)
    np.testing.assert_array_equal(where, painted)
    np.testing.assert_array_equal(colours[painted], COLOURS[painted])
    write_picture(path, np.where(painted[..., None], [10, 200, 30], 0))
    colours, where = read_strokes(path)
    np.testing.assert_array_equal(where, painted)
    assert (colours[painted] == [10, 200, 30]).all()
    Image.fromarray(np.where(painted, np.arange(6) * 5000, 0).astype(np.uint16)).save(path)  # sixteen bits
    colours, where = read_strokes(path)
    np.testing.assert_array_equal(where, painted)
    np.testing.assert_array_equal(colours[1, 2:5, 0], np.rint(np.arange(2, 5) * 5000 / 257))


def test_what_is_no_picture_is_one_line(tmp_path):
    whole = io.BytesIO()
    Image.fromarray(COLOURS).save(whole, format="PNG")
    gif = io.BytesIO()
    Image.fromarray(GREY).save(gif, format="GIF")
    broken = {
        "empty": b"",
        "text": b"a picture of a cat\n",
        "half": whole.getvalue()[:-40],
        "gif": gif.getvalue(),
        "header": b"P5\n6 x\n255\n",
        "short": b"P5\n60 40\n255\nabc",
        "bomb": b"P5\n60000 60000\n255\n",
    }
    for name, data in broken.items():
        path = tmp_path / f"{name}.png"
        path.write_bytes(data)
        with pytest.raises(fg.FormatError, match=f"{name}.png: no picture that can be read: [^\n]+$"):
            read_picture(path)
    with pytest.raises(FileNotFoundError):
        read_picture(tmp_path / "none.png")


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(fg.FormatError, match="ends in .png, .jpg"):
        write_picture(tmp_path / "grey.tiff", GREY)
    with pytest.raises(fg.FormatError, match="a .pgm file is grey"):
        write_picture(tmp_path / "colours.pgm", COLOURS)
    with pytest.raises(fg.FormatError, match="is no picture"):
        write_picture(tmp_path / "four.png", np.zeros((2, 2, 4)))
    with pytest.raises(FileNotFoundError):
        write_picture(tmp_path / "nowhere" / "grey.png", GREY)
    assert os.listdir(tmp_path) == []
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        check_target(tmp_path / "nowhere" / "grey.png")
    with pytest.raises(fg.FormatError):
        check_target(tmp_path / "grey")


def test_a_picture_that_cannot_be_finished_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "grey.png"
    write_picture(path, GREY)

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_picture(path, 255 - GREY)
    monkeypatch.undo()
    np.testing.assert_array_equal(read_picture(path), GREY)
    assert os.listdir(tmp_path) == ["grey.png"]


def test_without_pillow_the_extra_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.partition(".")[0] == "PIL":
            raise ModuleNotFoundError("No module named 'PIL'", name="PIL")
        return real(name, *arguments, **keywords)

    for name in [name for name in sys.modules if name.partition(".")[0] == "PIL"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    for ask in (lambda: read_picture(tmp_path / "a.png"), lambda: write_picture(tmp_path / "a.png", GREY)):
        with pytest.raises(ModuleNotFoundError, match=r"factorgraph-ebm\[plot\]"):
            ask()
