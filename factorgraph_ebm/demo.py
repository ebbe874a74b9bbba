"""The main job on real input: cut a person out of a photograph.

    E(y) = sum_i -log p(colour_i | y_i)  +  sum_ij (a + b exp(-|colour_i - colour_j|^2 / s)) [y_i != y_j]

Every pixel says how well its colour fits the foreground or the background (two mixtures of Gaussians, fitted to a
few brush strokes), and neighbours pay for differing, less so across an edge of the picture: Boykov and Jolly,
"Interactive graph cuts", ICCV 2001; the mixtures are those of Rother, Kolmogorov and Blake, "GrabCut", SIGGRAPH
2004. The photograph is matplotlib's sample picture of Grace Hopper, which lies inside its wheel.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import factorgraph_ebm as fg

Floats = NDArray[np.float64]
Labels = NDArray[np.intp]

BACKGROUND, FOREGROUND = 0, 1
PICTURES = ("photograph.png", "before.png", "after.png", "marginals.png", "panel.png")

# (state, top, bottom, left, right) in pixels: what a person would draw in ten seconds.
STROKES = (
    (FOREGROUND, 40, 590, 255, 275),
    (FOREGROUND, 65, 85, 190, 335),
    (FOREGROUND, 105, 140, 165, 360),
    (FOREGROUND, 165, 195, 172, 355),
    (FOREGROUND, 225, 245, 185, 345),
    (FOREGROUND, 300, 320, 210, 320),
    (FOREGROUND, 355, 375, 205, 325),
    (FOREGROUND, 450, 470, 60, 450),
    (FOREGROUND, 495, 527, 85, 450),
    (FOREGROUND, 560, 590, 30, 480),
    (BACKGROUND, 0, 14, 0, 512),
    (BACKGROUND, 0, 340, 15, 40),
    (BACKGROUND, 0, 340, 90, 110),
    (BACKGROUND, 0, 330, 135, 150),
    (BACKGROUND, 0, 300, 430, 460),
    (BACKGROUND, 80, 105, 15, 150),
    (BACKGROUND, 280, 345, 80, 140),
    (BACKGROUND, 300, 335, 0, 185),
    (BACKGROUND, 335, 390, 0, 38),
    (BACKGROUND, 390, 520, 0, 12),
)


def photograph() -> Floats:
    """The photograph, (600, 512, 3) in [0, 1]. Needs matplotlib (extra `plot`); ImportError without it."""
    from matplotlib import cbook, image

    path = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    return np.asarray(image.imread(path), dtype=np.float64) / 255.0


def strokes(shape: tuple[int, ...]) -> Labels:
    """The brush strokes as states, -1 where nobody painted: what is given about the labels."""
    painted = np.full(shape, -1, dtype=np.intp)
    for state, top, bottom, left, right in STROKES:
        painted[top:bottom, left:right] = state
    return painted


def colour_energy(sample: Floats, n_components: int = 6, n_rounds: int = 20) -> Callable[[Floats], Floats]:
    """Fit a mixture of Gaussians to colours (n, 3) by EM; return colours (..., 3) -> -log density (...), in nats.

    Its start, far points first, draws no random number: every run gives the same picture.
    """
    means = sample.mean(axis=0, keepdims=True)
    for _ in range(n_components - 1):
        distance = ((sample[:, None] - means) ** 2).sum(axis=2).min(axis=1)
        means = np.vstack([means, sample[distance.argmax()]])
    nearest = ((sample[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    share, covariances = np.ones(n_components), np.zeros((n_components, 3, 3))
    responsibility = np.eye(n_components)[nearest]

    def components(colours: Floats) -> Floats:
        offsets = colours[..., None, :] - means
        squares = np.einsum("...ki,kij,...kj->...k", offsets, np.linalg.inv(covariances), offsets)
        determinants = np.linalg.slogdet(2 * np.pi * covariances)[1]
        return np.asarray(0.5 * (squares + determinants) - np.log(share))

    for _ in range(n_rounds):
        weight = responsibility.sum(axis=0) + 1e-9
        share, means = weight / weight.sum(), responsibility.T @ sample / weight[:, None]
        offsets = sample[:, None] - means
        # The ridge is eight grey levels squared: a stroke on a plain wall has next to no variance of its own.
        covariances = np.einsum("nk,nki,nkj->kij", responsibility, offsets, offsets) / weight[:, None, None]
        covariances += 1e-3 * np.eye(3)
        energies = components(sample)
        responsibility = np.exp(energies.min(axis=1, keepdims=True) - energies)
        responsibility /= responsibility.sum(axis=1, keepdims=True)

    def energy(colours: Floats) -> Floats:
        return np.asarray(-np.logaddexp.reduce(-components(colours), axis=-1))

    return energy


def segmentation(photo: Floats, given: Labels) -> tuple[fg.FactorGraph, Floats]:
    """The factor graph of the photograph, and its unary energies (H, W, 2)."""
    # A colour speaks for one side by six nats at most, so that no pixel outvotes all its neighbours.
    fitted = [colour_energy(photo[given == state]) for state in (BACKGROUND, FOREGROUND)]
    colour = np.stack([energy(photo) for energy in fitted], axis=-1)
    colour = np.minimum(colour - colour.min(axis=-1, keepdims=True), 6.0)

    down, right = ((np.diff(photo, axis=axis) ** 2).sum(axis=-1) for axis in (0, 1))
    scale = down.mean() + right.mean()
    y = fg.output("y", shape=photo.shape[:2], n_states=2)
    graph = fg.FactorGraph(
        [
            fg.Table([y], energies=colour, name="colour"),
            fg.Potts([y[1:], y[:-1]], penalty=0.5 + 6.0 * np.exp(-down / scale), name="down"),
            fg.Potts([y[:, 1:], y[:, :-1]], penalty=0.5 + 6.0 * np.exp(-right / scale), name="right"),
        ]
    )
    return graph, colour


def run(output: Path, *, progress: bool = False) -> None:
    """Segment the photograph, print what came out and write `PICTURES` into the folder `output`.

    Raises ImportError where matplotlib is missing.
    """
    photo = photograph()
    given = strokes(photo.shape[:2])
    graph, colour = segmentation(photo, given)
    height, width = given.shape
    print(f"photograph: {width} x {height} pixels, {np.mean(given >= 0):.0%} of them under a brush stroke")
    print(graph)

    before = np.where(given >= 0, given, colour.argmin(axis=-1))
    print(f"\nbefore, every pixel by its own colour   energy {fg.energy(graph, {'y': before}):.3f}")

    start = time.perf_counter()
    best = fg.minimize(graph, given={"y": given}, progress=progress)
    print(f"after, the best of all                  energy {best.energy:.3f}   {_summary(best, start)}")

    start = time.perf_counter()
    belief = fg.marginals(graph, given={"y": given}, beta=1.0, method="bp", progress=progress)
    print(f"marginals, sum-product          log_partition {belief.log_partition:.3f}   {_summary(belief, start)}")

    _write(output, photo, given, before, best["y"], belief["y", FOREGROUND])
    print(f"\nwritten: {', '.join(str(output / name) for name in PICTURES)}")


def _summary(result: Any, start: float) -> str:
    seconds = time.perf_counter() - start
    return f"{result.status.value}, method {result.method}, {result.iterations} iterations, {seconds:.1f} s"


def _write(output: Path, photo: Floats, given: Labels, before: Labels, after: Labels, belief: Floats) -> None:
    from matplotlib import colormaps, image
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    def cut_out(labels: Labels) -> Floats:
        return np.asarray(np.where(labels[..., None] == FOREGROUND, photo, 0.15 * photo + 0.85))

    painted = photo.copy()
    for state, tint in ((FOREGROUND, (0.1, 0.8, 0.2)), (BACKGROUND, (0.9, 0.1, 0.2))):
        painted[given == state] = 0.45 * photo[given == state] + 0.55 * np.array(tint)
    heat = np.asarray(colormaps["inferno"](belief))[..., :3]

    output.mkdir(parents=True, exist_ok=True)
    for name, picture in zip(PICTURES, (photo, cut_out(before), cut_out(after), heat), strict=False):
        image.imsave(output / name, picture)

    figure = Figure(figsize=(16, 5.3), layout="constrained")
    FigureCanvasAgg(figure)
    titles = "photograph and strokes", "before: each pixel alone", "after: the best", "P(foreground), sum-product"
    pictures = (painted, cut_out(before), cut_out(after), belief)
    for position, (title, picture) in enumerate(zip(titles, pictures, strict=True), start=1):
        axes = figure.add_subplot(1, 4, position)
        shown = axes.imshow(picture, cmap="inferno", vmin=0.0, vmax=1.0)
        axes.set_title(title)
        axes.set_axis_off()
    figure.colorbar(shown, ax=axes, shrink=0.8)
    figure.savefig(output / PICTURES[-1], dpi=100)
