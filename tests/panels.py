"""Pictures that programs end with: panels side by side, in one file."""

import numpy as np
import pytest


def draw(path, *panels):
    """Write panels to a PNG file; each is (title, draw on axes). Return its colours (H, W, 3), 0 to 1."""
    pytest.importorskip("matplotlib")
    from matplotlib import image
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * len(panels), 3), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, paint) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        paint(axes)
        axes.set_title(title)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.savefig(path, dpi=60)
    return image.imread(path)[..., :3]


def shown(array, **options):
    """A panel of an array."""
    return lambda axes: axes.imshow(array, **options)


def colours_of(picture):
    """The number of distinct colours of a picture, to 1 part in 16."""
    return len(np.unique((picture * 15).round().reshape(-1, 3), axis=0))
