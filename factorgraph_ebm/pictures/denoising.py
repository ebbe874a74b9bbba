"""Denoising: what a noisy picture showed, where neighbours seldom differ.

Of grey values x seen with Gaussian noise, and grey levels g(y) as states:

    E(y) = sum_i min((g(y_i) - x_i)^2 / (2 noise^2), outlier) + weight sum_ij min(|g(y_i) - g(y_j)|^p, limit^p)

with p = 1 or 2; no pixel is believed by more than `outlier` nats, so that speckles go too. Of two values, some of
which were flipped:

    E(y) = log((1 - flipped) / flipped) sum_i [y_i != x_i] + weight sum_ij [y_i != y_j]

S. Geman and D. Geman, "Stochastic relaxation, Gibbs distributions, and the Bayesian restoration of images", IEEE
Trans. Pattern Analysis and Machine Intelligence 6(6), 1984; the second is exact by one minimum cut (Greig, Porteous
and Seheult, 1989).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import FactorError, VariableError
from factorgraph_ebm.factors import Potts, Table, TruncatedLinear, TruncatedQuadratic
from factorgraph_ebm.graph import FactorGraph, output
from factorgraph_ebm.pictures.grid import channels_of, check_room, neighbours

DISTANCES = {"linear": TruncatedLinear, "quadratic": TruncatedQuadratic}
WHITE = 255.0


def binary_graph(picture: npt.ArrayLike, *, flipped: float = 0.1, weight: float = 1.0) -> FactorGraph:
    """Declare the true values y (H, W) of a picture of two values.

    Parameters
    ----------
    picture : (H, W) from 0 to 1; in between, a pixel speaks less clearly
    flipped : share of the pixels that show the other value, in (0, .5)
    weight : nats that two neighbours pay for differing, at least 0

    Raises
    ------
    FactorError : numbers outside these ranges, or a picture of another shape.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> noisy = [[0, 0, 0, 1, 1], [0, 1, 0, 1, 1], [0, 0, 0, 1, 1]]
    >>> print(fg.minimize(binary_graph(noisy))["y"])
    [[0 0 0 1 1]
     [0 0 0 1 1]
     [0 0 0 1 1]]
    """
    seen = _grey(picture)
    if not (seen.min() >= 0.0 and seen.max() <= 1.0):
        raise FactorError(f"the picture reaches from {seen.min():g} to {seen.max():g}. Scale its values to 0 to 1.")
    if not 0.0 < flipped < 0.5:
        raise FactorError(f"flipped={flipped:g}: a share of pixels that were flipped is above 0 and below .5.")
    y = output("y", shape=seen.shape, n_states=2)
    surprise = math.log((1.0 - flipped) / flipped)
    data = Table([y], energies=surprise * np.stack([seen, 1.0 - seen], axis=-1), name="data")
    return FactorGraph([data, *(Potts(scope, penalty=weight, name=name) for name, scope in neighbours(y))])


def grey_graph(
    picture: npt.ArrayLike,
    *,
    n_levels: int = 32,
    noise: float | None = None,
    weight: float | None = None,
    limit: float | None = None,
    distance: str = "linear",
    outlier: float = 8.0,
) -> FactorGraph:
    """Declare the true grey levels y (H, W) of a noisy picture; `grey_levels` says what its states stand for.

    Parameters
    ----------
    picture : (H, W) grey values, 0 (black) to 255 (white)
    n_levels : states, evenly from black to white
    noise : standard deviation, in grey values; by default that of `noise_of`
    weight : nats for each grey value (squared where quadratic) that neighbours differ by; by default from `WEIGHTS`
    limit : grey values beyond which a difference costs no more; by default `LIMIT` times the noise
    distance : "linear" or "quadratic"
    outlier : the most that one pixel can say, nats

    Raises
    ------
    FactorError : a picture of another shape, a noise of 0 or less, or a negative weight or limit.
    VariableError : fewer than two levels.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> noisy = [[20, 22, 18, 200, 201], [21, 255, 20, 198, 200], [19, 20, 21, 203, 199]]
    >>> graph = grey_graph(noisy, n_levels=52, noise=5.0, weight=0.2)
    >>> best = fg.minimize(graph, method="expansion")
    >>> print(grey_levels(52)[best["y"]])
    [[ 20.  20.  20. 200. 200.]
     [ 20.  20.  20. 200. 200.]
     [ 20.  20.  20. 200. 200.]]
    """
    seen = _grey(picture)
    if distance not in DISTANCES:
        raise FactorError(f'distance is "linear" or "quadratic", not {distance!r}.')
    if n_levels < 2:
        raise VariableError(f"n_levels={n_levels}: a picture has two grey levels at least.")
    noise = noise_of(seen) if noise is None else float(noise)
    if not 0.0 < noise < math.inf:
        raise FactorError(f"noise={noise:g}: a standard deviation is above 0.")
    power = {"linear": 1, "quadratic": 2}[distance]
    weight = WEIGHTS[distance] / noise**power if weight is None else float(weight)
    limit = LIMIT * noise if limit is None else float(limit)
    if not (weight >= 0.0 and limit >= 0.0):
        raise FactorError(f"weight={weight:g} and limit={limit:g}: both are at least 0.")
    check_room(seen, n_levels)
    step = WHITE / (n_levels - 1)
    y = output("y", shape=seen.shape, n_states=n_levels)
    energies = np.minimum((grey_levels(n_levels) - seen[..., None]) ** 2 / (2.0 * noise**2), outlier)
    structure = DISTANCES[distance]
    return FactorGraph(
        [
            Table([y], energies=energies, name="data"),
            *(
                structure(scope, weight=weight * step**power, limit=(limit / step) ** power, name=name)
                for name, scope in neighbours(y)
            ),
        ]
    )


def grey_levels(n_levels: int) -> F64:
    """Return the grey value of each state, (n_levels,) from 0 to 255."""
    return np.linspace(0.0, WHITE, n_levels)


WEIGHTS = {"linear": 0.6, "quadratic": 0.2}
"""Nats by default for a difference of one standard deviation of the noise: near the best of a few that were tried on a
photograph, with noise of 10 and of 25 grey values"""
LIMIT = 4.0
"""Standard deviations of the noise beyond which a difference costs no more, by default: then four neighbours,
who pay 9.6 nats or more, outvote one pixel that says `outlier`"""


def noise_of(picture: npt.ArrayLike) -> float:
    """Estimate the standard deviation of Gaussian noise in a picture (H, W), in its own units, and 1 at least.

        the median of |x * N| / (6 * .6745),    N = [1 -2 1; -2 4 -2; 1 -2 1],

    since N leaves nothing of what is smooth, and noise has six times its deviation: J. Immerkaer, "Fast noise variance
    estimation", Computer Vision and Image Understanding 64(2), 1996, who takes the mean. Edges and speckles leave the
    median of a Gaussian alone, which is .6745 deviations.

    Examples
    --------
    >>> ramp = np.add.outer(np.arange(200.0), np.arange(200.0))
    >>> round(noise_of(ramp + np.random.default_rng(0).normal(scale=12.0, size=ramp.shape)))
    12
    """
    seen = _grey(picture)
    if min(seen.shape) < 3:
        return 1.0
    across = seen[:, :-2] - 2.0 * seen[:, 1:-1] + seen[:, 2:]
    both = across[:-2] - 2.0 * across[1:-1] + across[2:]
    return max(1.0, float(np.median(np.abs(both))) / (6.0 * 0.6745))


def _grey(picture: npt.ArrayLike) -> F64:
    floats = channels_of(picture)
    if floats.shape[-1] != 1:
        raise FactorError(f"a picture of {floats.shape[-1]} channels is not grey. Give one channel, or their mean.")
    return floats[..., 0]
