"""Segments: every pixel belongs to one of K colours, and neighbours that look alike seldom differ.

    E(y) = sum_i -log p(x_i | y_i) + weight sum_ij exp(-|x_i - x_j|^2 / s) [y_i != y_j]

The colours are a mixture of K Gaussians that share one variance, fitted by expectation and maximisation from colours
that lie far apart; the pairs are those of Y. Boykov and M.-P. Jolly, "Interactive graph cuts", ICCV 2001.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import FactorError, VariableError
from factorgraph_ebm.factors import Potts, Table
from factorgraph_ebm.graph import FactorGraph, output
from factorgraph_ebm.pictures.contrast import smooth
from factorgraph_ebm.pictures.grid import channels_of, check_room, neighbours

SAMPLE = 20_000
"pixels that clusters are fitted to, at most, evenly over the picture"
ROUNDS = 50
LEAST_VARIANCE = 1.0
"of a colour in each channel, squared grey values: a drawing has none"
WEIGHT = 6.0
FLOOR = 0.1
"of what neighbours pay for differing, the share that is left across the strongest edge"


class Colours(NamedTuple):
    """Clusters of colours, by their share, largest first."""

    means: F64
    "(K, C) grey values"
    shares: F64
    "(K,) of the pixels"
    variance: float
    "of each channel, around the mean"


def cluster_colours(picture: npt.ArrayLike, n_clusters: int) -> Colours:
    """Fit K colours to a picture; no number is drawn, so every call finds the same.

    Parameters
    ----------
    picture : (H, W) or (H, W, C) grey values, 0 to 255
    n_clusters : K, at least 1; where there are fewer colours, some clusters are equal

    Raises
    ------
    FactorError : a picture of another shape.
    VariableError : K below 1, or too many for the energies of all pixels to fit.

    Examples
    --------
    >>> picture = np.zeros((4, 6, 3))
    >>> picture[:, :2] = [200.0, 20.0, 20.0]
    >>> cluster_colours(picture, 2).means.round().tolist()
    [[0.0, 0.0, 0.0], [200.0, 20.0, 20.0]]
    """
    if n_clusters < 1:
        raise VariableError(f"n_clusters={n_clusters}: a picture has one colour at least.")
    floats = channels_of(picture)
    check_room(floats, n_clusters * floats.shape[-1])
    pixels = floats.reshape(-1, floats.shape[-1])
    pixels = pixels[:: max(1, len(pixels) // SAMPLE)]
    means = _far_apart(pixels, n_clusters)
    variance = max(LEAST_VARIANCE, float(_squares(pixels, means).min(axis=1).mean()) / pixels.shape[1])
    shares = np.full(n_clusters, 1.0 / n_clusters)
    for _ in range(ROUNDS):
        energies = _squares(pixels, means) / (2.0 * variance) - np.log(shares)
        weights = np.exp(energies.min(axis=1, keepdims=True) - energies)
        weights /= weights.sum(axis=1, keepdims=True)
        mass = weights.sum(axis=0) + 1e-9
        shares, before, means = mass / mass.sum(), means, weights.T @ pixels / mass[:, None]
        variance = max(LEAST_VARIANCE, float((weights * _squares(pixels, means)).sum() / pixels.size))
        if np.abs(means - before).max() < 0.01:
            break
    order = np.argsort(-shares, kind="stable")
    return Colours(means[order], shares[order], variance)


def colour_energies(picture: npt.ArrayLike, colours: Colours) -> F64:
    """Return -log p(colour | cluster) up to a constant, (H, W, K), nats, 0 for the likeliest cluster of a pixel.

    Examples
    --------
    >>> picture = np.array([[0.0, 10.0]])
    >>> colour_energies(picture, Colours(np.array([[0.0], [10.0]]), np.array([0.5, 0.5]), 25.0)).tolist()
    [[[0.0, 2.0], [2.0, 0.0]]]
    """
    floats = channels_of(picture)
    check_room(floats, len(colours.means) * floats.shape[-1])
    pixels = floats.reshape(-1, floats.shape[-1])
    energies: F64 = _squares(pixels, colours.means) / (2.0 * colours.variance) - np.log(colours.shares)
    energies -= energies.min(axis=1, keepdims=True)
    return energies.reshape(*floats.shape[:2], -1)


def segments_graph(picture: npt.ArrayLike, energies: npt.ArrayLike, *, weight: float = WEIGHT) -> FactorGraph:
    """Declare the labels y (H, W) of a picture, whose pairs are sensitive to its contrast.

    Parameters
    ----------
    picture : (H, W) or (H, W, C)
    energies : (H, W, K) nats, of each label at each pixel
    weight : nats that equal neighbours pay for different labels, at least 0; across an edge a tenth at least

    Raises
    ------
    FactorError : shapes that do not fit, a negative weight.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> picture = np.array([[20, 22, 90, 21, 200, 202, 201]] * 3)
    >>> energies = colour_energies(picture, cluster_colours(picture, 2))
    >>> fg.minimize(segments_graph(picture, energies))["y"].tolist()[0]
    [0, 0, 0, 0, 1, 1, 1]
    """
    floats = channels_of(picture)
    unary = np.asarray(energies, dtype=np.float64)
    if unary.ndim != 3 or unary.shape[:2] != floats.shape[:2]:
        raise FactorError(
            f"energies have shape {unary.shape}, and the picture {floats.shape[0]} x {floats.shape[1]} pixels. "
            f"Write {floats.shape[:2]} and then the number of labels."
        )
    if not weight >= 0.0:
        raise FactorError(f"weight={weight:g}: equal neighbours pay at least 0.")
    y = output("y", shape=unary.shape[:2], n_states=unary.shape[2])
    pairs = [
        Potts(scope, penalty=weight * (FLOOR + (1.0 - FLOOR) * likeness), name=name)
        for (name, scope), likeness in zip(neighbours(y), smooth(picture))
    ]
    return FactorGraph([Table([y], energies=unary, name="colour"), *pairs])


def _far_apart(pixels: F64, n_clusters: int) -> F64:
    """Start from the mean, and go on with what is farthest from all so far; the first is then dropped."""
    means: F64 = pixels.mean(axis=0, keepdims=True)
    for _ in range(n_clusters):
        farthest = _squares(pixels, means).min(axis=1).argmax()
        means = np.vstack([means, pixels[farthest]])
    return means[1:]


def _squares(pixels: F64, means: F64) -> F64:
    """Squared distances, (n, K)."""
    found: F64 = ((pixels[:, None] - means) ** 2).sum(axis=-1)
    return found
