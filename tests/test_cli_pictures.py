"""The commands about pictures: what they write, what they claim, and how they complain."""

import pathlib
import re
import shlex
import sys

import numpy as np
import pytest
from terminal import run_at_terminal

import factorgraph_ebm as fg
from factorgraph_ebm.cli import _parser, main
from factorgraph_ebm.pictures import (
    binary_graph,
    grey_graph,
    grey_levels,
    matching_costs,
    read_picture,
    stereo_graph,
    write_picture,
)

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def rows(capsys):
    """Run a command that answers; return its title and the rows of its summary."""

    def run(*arguments):
        assert main([str(argument) for argument in arguments]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        title, *lines = out.splitlines()
        return title, dict(line.split(maxsplit=1) for line in lines)

    return run


@pytest.fixture
def complaint(capsys):
    """Run a command that refuses; return its one line."""

    def run(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stopped:
            code = stopped.code
        out, err = capsys.readouterr()
        assert code == 2 and out == ""
        assert err.count("\n") == 1
        return err

    return run


@pytest.fixture
def blot(rng):
    """A square with a tenth of its pixels flipped: clean and noisy."""
    clean = np.zeros((24, 30), int)
    clean[6:18, 8:22] = 1
    return clean, np.where(rng.random(clean.shape) < 0.1, 1 - clean, clean)


@pytest.fixture
def pair(tmp_path, rng):
    """A square before a plane, as two files, and its disparities."""
    truth = np.full((24, 40), 2)
    truth[6:18, 14:30] = 6
    texture = rng.integers(0, 256, (24, 40, 3))
    y, x = np.indices(truth.shape)
    views = tmp_path / "left.png", tmp_path / "right.ppm"
    for path, view in zip(views, (texture[y, np.maximum(x - truth, 0)], texture), strict=True):
        write_picture(path, view)
    return views, truth


def test_two_values_are_denoised_exactly(tmp_path, rows, blot):
    clean, noisy = blot
    source, target = tmp_path / "noisy.pgm", tmp_path / "out.png"
    write_picture(source, np.where(noisy, 200, 30))
    title, said = rows("denoise", source, "--output", target)
    assert title == f"{source}: 30 x 24 pixels"
    assert said["status"] == "optimal" and said["method"] == "cut" and said["levels"] == "2"
    assert said["written"] == str(target) and float(said["seconds"]) >= 0
    found = read_picture(target)
    assert set(np.unique(found)) == {30, 200}
    best = fg.minimize(binary_graph(noisy))
    np.testing.assert_array_equal(found == 200, best["y"])
    assert float(said["energy"]) == pytest.approx(best.energy, abs=1e-6)
    assert float(said["lower_bound"]) == pytest.approx(best.energy, abs=1e-6)
    assert ((found == 200) != clean).sum() < (noisy != clean).sum()


def test_a_heavier_weight_is_smoother(tmp_path, rows, blot):
    source, target = tmp_path / "noisy.png", tmp_path / "out.png"
    write_picture(source, 255 * blot[1])
    edges = []
    for weight in (0, 0.5, 20):
        rows("denoise", source, "--output", target, "--weight", weight, "--noise", 0.2)
        edges.append(sum((np.diff(read_picture(target).astype(int), axis=axis) != 0).sum() for axis in (0, 1)))
    assert edges[0] == sum((np.diff(blot[1], axis=axis) != 0).sum() for axis in (0, 1))
    assert edges[0] > edges[1] > edges[2] == 0


@pytest.mark.parametrize("options", [[], ["--method", "bp"], ["--distance", "quadratic"]])
def test_grey_values_are_denoised_and_the_status_is_honest(tmp_path, rows, options, rng):
    clean = np.full((20, 26), 70.0)
    clean[5:15, 8:20] = 180.0
    noisy = clean + rng.normal(scale=12.0, size=clean.shape)
    source, target = tmp_path / "noisy.png", tmp_path / "out.pgm"
    write_picture(source, noisy)
    _, said = rows("denoise", source, "--output", target, "--levels", 18, *options)
    assert said["levels"] == "18" and 8.0 < float(said["noise"]) < 20.0
    assert said["method"] == ("expansion" if not options else "bp")
    assert said["status"] == "converged"
    assert float(said["lower_bound"]) < float(said["energy"])
    found = read_picture(target)
    assert np.abs(found - clean).mean() < (0.7 if "quadratic" in options else 0.5) * np.abs(noisy - clean).mean()
    seen = read_picture(source)
    distance = "quadratic" if "quadratic" in options else "linear"
    graph = grey_graph(seen, n_levels=18, noise=float(said["noise"]), distance=distance)
    states = np.abs(found[..., None] - grey_levels(18)).argmin(axis=-1)
    assert fg.energy(graph, {"y": states}) == pytest.approx(float(said["energy"]), rel=1e-5)


def test_options_of_denoise_reach_the_model(tmp_path, rows, rng):
    seen = rng.integers(0, 256, (6, 7), dtype=np.uint8)
    source, target = tmp_path / "noisy.png", tmp_path / "out.png"
    write_picture(source, seen)
    numbers = {"noise": 30.0, "weight": 0.03, "limit": 70.0}
    options = [text for name, value in numbers.items() for text in (f"--{name}", value)]
    _, said = rows("denoise", source, "--output", target, "--levels", 6, *options)
    states = np.abs(read_picture(target)[..., None] - grey_levels(6)).argmin(axis=-1)
    energy = fg.energy(grey_graph(seen, n_levels=6, **numbers), {"y": states})
    assert float(said["energy"]) == pytest.approx(energy, abs=1e-5)


def test_colours_are_read_as_grey_and_this_is_said(tmp_path, rows, blot):
    source, target = tmp_path / "noisy.png", tmp_path / "out.png"
    write_picture(source, np.where(blot[1][..., None], [255, 0, 0], [0, 0, 0]))
    title, _ = rows("denoise", source, "--output", target)
    assert title.endswith("pixels, colours read as grey")
    assert set(np.unique(read_picture(target))) == {0, 76}


def test_a_picture_of_one_value_stays(tmp_path, rows):
    source, target = tmp_path / "plain.png", tmp_path / "out.png"
    write_picture(source, np.full((4, 5), 90))
    _, said = rows("denoise", source, "--output", target)
    assert said["levels"] == "2" and (read_picture(target) == 90).all()
    rows("denoise", source, "--output", target, "--levels", 52)
    assert (read_picture(target) == 90).all()


@pytest.mark.parametrize("method", ["expansion", "bp", "both"])
def test_stereo_writes_a_map_of_disparities(tmp_path, rows, pair, method):
    (left, right), truth = pair
    target = tmp_path / "map.png"
    title, said = rows("stereo", left, right, "--output", target, "--disparities", 9, "--method", method)
    assert title == f"{left}, {right}: 40 x 24 pixels in colours"
    assert said["scale"] == "31 grey values a disparity" and said["disparities"] == "9"
    found = read_picture(target)
    assert found.shape == truth.shape and (found % 31 == 0).all()
    disparity = found // 31
    views = read_picture(left), read_picture(right)
    graph = stereo_graph(*views, n_disparities=9)
    assert fg.energy(graph, {"disparity": disparity}) == pytest.approx(float(said["energy"]), abs=1e-5)
    assert float(said["lower_bound"]) <= float(said["energy"])
    assert said["method"] == ("bp" if method == "bp" else "expansion")
    assert said["status"] in ("converged", "optimal")
    seen = np.indices(truth.shape)[1] >= truth
    assert (disparity == truth)[seen].mean() > 0.97 > (matching_costs(*views, 9).argmin(-1) == truth)[seen].mean()


def test_options_of_stereo_reach_the_model(tmp_path, rows, pair):
    (left, right), _ = pair
    target = tmp_path / "map.png"
    numbers = {"weight": 2.0, "limit": 1.0, "truncation": 30.0}
    options = [text for name, value in numbers.items() for text in (f"--{name}", value)]
    _, said = rows("stereo", left, right, "--output", target, "--disparities", 4, "--cost", "absolute", *options)
    graph = stereo_graph(read_picture(left), read_picture(right), n_disparities=4, cost="absolute", **numbers)
    found = read_picture(target) // 85
    assert fg.energy(graph, {"disparity": found}) == pytest.approx(float(said["energy"]), abs=1e-5)


def test_out_of_time_is_said(tmp_path, capsys, pair):
    (left, right), _ = pair
    target = tmp_path / "map.png"
    options = ["--method", "bp", "--time-limit", "1e-9"]
    assert main(["stereo", str(left), str(right), "--output", str(target), *options]) == 0
    out, err = capsys.readouterr()
    assert re.search("status +time limit", out)
    assert err.startswith("factorgraph-ebm: warning: not converged") and err.count("\n") == 1
    assert target.exists()


def test_a_terminal_sees_a_bar(tmp_path, rng):
    views = [str(tmp_path / f"{side}.png") for side in ("left", "right")]
    for view in views:
        write_picture(view, rng.integers(0, 256, (40, 50)))
    command = [sys.executable, "-m", "factorgraph_ebm.cli", "stereo", *views, "--output", str(tmp_path / "map.png")]
    code, out, seen = run_at_terminal([*command, "--method", "bp", "--disparities", "6"])
    assert code == 0 and "energy" in out
    assert "iterations" in seen and "residual" in seen


def test_segments_are_the_numbers_of_a_palette(tmp_path, rows, rng):
    labels = np.repeat(np.repeat(np.array([[0, 1], [2, 0]]), 10, axis=0), 12, axis=1)
    paint = np.array([[200, 40, 40], [30, 150, 60], [240, 240, 230]])
    source, target = tmp_path / "flag.png", tmp_path / "out.png"
    write_picture(source, paint[labels] + rng.normal(scale=20.0, size=(*labels.shape, 3)))
    _, said = rows("segment", source, "--output", target, "--classes", 3)
    assert said["method"] == "expansion" and said["status"] == "converged" and said["classes"] == "3"
    assert said["shares"] == "50.0%, 25.0%, 25.0%"
    found = np.asarray(Image.open(target))
    assert set(np.unique(found)) == {0, 1, 2} and (found[labels == 0] == 0).all()
    np.testing.assert_allclose(read_picture(target)[labels == 1], np.broadcast_to(paint[1], (120, 3)), atol=8)
    _, said = rows("segment", source, "--output", target, "--classes", 2)
    assert said["method"] == "cut" and said["status"] == "optimal"
    assert float(said["energy"]) == pytest.approx(float(said["lower_bound"]), abs=1e-5)
    rows("segment", source, "--output", target, "--classes", 1)
    assert (np.asarray(Image.open(target)) == 0).all()


def test_grey_pictures_have_segments_too(tmp_path, rows, blot):
    source, target = tmp_path / "grey.pgm", tmp_path / "out.png"
    write_picture(source, np.where(blot[0], 220, 20))
    _, said = rows("segment", source, "--output", target)
    assert said["shares"] == "76.7%, 23.3%"
    np.testing.assert_array_equal(np.asarray(Image.open(target)), blot[0])


@pytest.fixture
def scribbled(tmp_path, rng):
    """A textured disc on a ground of two colours, strokes of red on it and of green beside: files and the truth."""
    y, x = np.indices((48, 60))
    disc = (y - 24) ** 2 + (x - 30) ** 2 < 14**2
    ground = np.where((x < 20)[..., None], [60, 120, 50], [80, 80, 160])
    picture = np.where(disc[..., None], [200, 150, 60], ground) + rng.normal(scale=14.0, size=(48, 60, 3))
    strokes = np.zeros((48, 60, 4), np.uint8)
    strokes[23:26, 24:38] = [255, 0, 0, 255]
    strokes[2:5, 4:56] = strokes[40:46, 3:8] = strokes[40:46, 50:57] = [0, 255, 0, 255]
    files = tmp_path / "picture.png", tmp_path / "strokes.png"
    write_picture(files[0], picture)
    Image.fromarray(strokes).save(files[1])
    return files, disc


def test_strokes_cut_out_what_they_mark(tmp_path, rows, scribbled):
    pytest.importorskip("sklearn")
    (source, strokes), disc = scribbled
    target = tmp_path / "out.png"
    _, said = rows("segment", source, "--scribbles", strokes, "--output", target)
    found = np.asarray(Image.open(target))
    assert said["classes"] == "2: #00ff00, #ff0000" and said["method"] == "GrabCut by cut"
    assert said["status"] == "labels rest" and int(said["rounds"]) < 10
    assert (found == disc).mean() > 0.995
    painted = np.asarray(Image.open(strokes))
    assert (found[painted[..., 0] == 255] == 1).all() and (found[painted[..., 1] == 255] == 0).all()
    colours = read_picture(target)
    np.testing.assert_allclose(colours[24, 30], [200, 150, 60], atol=6)


def test_strokes_of_three_colours_on_black(tmp_path, rows, scribbled):
    pytest.importorskip("sklearn")
    (source, strokes), disc = scribbled
    painted = np.asarray(Image.open(strokes))[..., :3].copy()
    painted[2:5, 4:18] = [255, 255, 0]
    painted[40:46, 3:8] = [255, 255, 0]
    other, target = tmp_path / "three.ppm", tmp_path / "out.png"
    write_picture(other, painted)
    _, said = rows("segment", source, "--scribbles", other, "--output", target, "--weight", 20)
    assert said["classes"] == "3: #00ff00, #ff0000, #ffff00" and said["method"] == "GrabCut by expansion"
    found = np.asarray(Image.open(target))
    truth = np.where(disc, 1, np.where(np.indices(disc.shape)[1] < 20, 2, 0))
    assert (found == truth).mean() > 0.98


def test_strokes_that_say_nothing(tmp_path, complaint, scribbled):
    (source, _), _ = scribbled
    target, strokes = tmp_path / "out.png", tmp_path / "other.png"

    def refused(picture, *options):
        write_picture(strokes, picture)
        said = complaint("segment", source, "--scribbles", strokes, "--output", target, *options)
        assert not target.exists()
        return said

    one = np.zeros((48, 60), int)
    assert "no stroke" in refused(one)
    one[3, 3:9] = 200
    assert "one colour of paint" in refused(one)
    assert "other.png is 30 x 48 pixels and" in refused(one[:, :30])
    assert "255 colours of paint" in refused(np.arange(48 * 60).reshape(48, 60) % 256)
    one[9, 3:9] = 100
    assert "--classes cannot" in refused(one, "--classes", 2)
    assert "--time-limit cannot" in refused(one, "--time-limit", 2)


def test_without_scikit_learn_one_line_names_the_extra(tmp_path, complaint, scribbled, monkeypatch):
    (source, strokes), _ = scribbled
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    said = complaint("segment", source, "--scribbles", strokes, "--output", tmp_path / "out.png")
    assert said.endswith("pip install 'factorgraph-ebm[plot,sklearn]'\n")


def test_what_the_pages_write_can_be_typed():
    """Every line of the README and of the page about pictures that asks about pictures."""
    root = pathlib.Path(__file__).resolve().parents[1]
    pages = "".join((root / name).read_text() for name in ("README.md", "docs/pictures.md"))
    lines = re.findall(r"^factorgraph-ebm ((?:denoise|stereo|segment) .*)$", pages, re.MULTILINE)
    assert len(lines) >= 7
    for line in lines:
        _parser().parse_args(shlex.split(line))


def test_bad_input_is_one_line_and_nothing_is_written(tmp_path, complaint, pair):
    (left, right), _ = pair
    target, other = tmp_path / "out.png", tmp_path / "small.png"
    write_picture(other, np.zeros((4, 5)))
    text = tmp_path / "text.png"
    text.write_text("no picture")
    assert "small.png is 5 x 4 pixels: the views of a pair" in complaint("stereo", left, other, "--output", target)
    assert "from 1 to 40" in complaint("stereo", left, right, "--output", target, "--disparities", 41)
    assert "whole number from 2" in complaint("stereo", left, right, "--output", target, "--disparities", 1.5)
    assert "from 0 to inf" in complaint("stereo", left, right, "--output", target, "--weight", -1)
    for command in (["denoise", text], ["segment", text], ["stereo", left, text]):
        assert "text.png: no picture that can be read" in complaint(*command, "--output", target)
    for command in (["denoise", "none.png"], ["segment", "none.png"], ["stereo", left, "none.png"]):
        assert "none.png" in complaint(*command, "--output", target)
        assert "there is no folder" in complaint(*command, "--output", tmp_path / "no" / "out.png")
        assert "ends in .png, .jpg" in complaint(*command, "--output", tmp_path / "out.gif")
    assert "Write 256 or less" in complaint("stereo", left, right, "--output", target, "--disparities", 257)
    assert "--noise 0.7" in complaint("denoise", left, "--output", target, "--levels", 2, "--noise", 0.7)
    assert "take fewer states" in complaint("segment", left, "--output", target, "--classes", 10**8)
    assert "--output" in complaint("denoise", left)
    assert "2 levels differ or do not" in complaint("denoise", left, "--output", target, "--levels", 2, "--limit", 3)
    attract = complaint("denoise", left, "--output", target, "--distance", "quadratic", "--method", "expansion")
    assert "TruncatedQuadratic" in attract or '"down"' in attract
    assert not target.exists()


def test_without_pillow_one_line_names_the_extra(tmp_path, complaint, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    for command in (["denoise", "a.png"], ["segment", "a.png"], ["stereo", "a.png", "b.png"]):
        said = complaint(*command, "--output", tmp_path / "out.png")
        assert said.endswith("pip install 'factorgraph-ebm[plot]'\n")
