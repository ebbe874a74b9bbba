"""All that an optimiser ever sees of a model: a function of a vector with its gradient, sample by sample.

    objective(w) = (1/P) sum over samples s of weight_s L_s(w) + R(w)

`w` holds the free entries of all parameters; P is the number of samples. Nothing here knows of graphs or losses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, I64


class Evaluation(NamedTuple):
    """Losses of n samples at one w."""

    losses: F64
    "(n,) unweighted, in the order asked for"
    gradient: F64
    "(n_free,) of sum over the samples of weight_s L_s, not divided by their number"
    unconverged: int = 0
    "samples for which inference did not converge"
    infeasible: I64 = np.zeros(0, np.int64)
    "numbers of samples in which every assignment is forbidden"


class Plane(NamedTuple):
    """A lower bound of one sample's loss, if it is convex, equal to it at w: L(w') >= offset + values . w'[support]."""

    loss: float
    "at w, unweighted"
    support: I64
    "entries of w, ascending and distinct, outside of which the slope is 0"
    values: F64
    offset: float
    "loss - values . w[support]"


class Oracle(NamedTuple):
    """A training problem as an optimiser sees it."""

    n_samples: int
    weights: F64
    "(n_samples,)"
    start: F64
    "(n_free,) where to begin"
    lower: F64
    "(n_free,) least value of each entry, -inf where there is none"
    upper: F64
    "(n_free,)"
    evaluate: Callable[[F64, I64 | None], Evaluation]
    "(w, numbers of samples, None: all)"
    plane: Callable[[F64, int], Plane]
    "(w, number of a sample)"
    order: Callable[[int], I64]
    "epoch -> an order of all samples, the same whenever it is asked: no state of a generator needs saving"
    complete: Callable[[F64], Oracle] | None = None
    "w -> the same problem with all latents held at their best values given the right answers; None: nothing is latent"
    traits: frozenset[str] = frozenset()
    'which of "convex", "piecewise_linear", "smooth", "linear", "fully_labelled", "objective", "exact" hold'


class Regularizer(NamedTuple):
    """A penalty R(w) on the free entries."""

    value: Callable[[F64], float]
    gradient: Callable[[F64], F64] | None
    "of what is smooth of it, (n_free,)"
    prox: Callable[[F64, float | F64], F64] | None
    "(w, step) -> argmin over v of R(v) + |v - w|^2 / (2 step), for one step or one for each entry; None: none is known"
    l1: F64 | None = None
    "(n_free,) weights of |w| in it, which `gradient` leaves out; None: there are none"
    l2: F64 | None = None
    "(n_free,) strengths s of s w^2, where it is nothing else; None: it is not of that kind"


def report_of(**figures: float) -> Mapping[str, float]:
    """Figures of a state by name, those that are not known left out."""
    return {name: float(value) for name, value in figures.items() if value == value}
