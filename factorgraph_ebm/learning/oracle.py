"""All that an optimiser ever sees of a model: a function of a vector with its gradient, sample by sample.

    objective(w) = (1/P) sum over samples s of weight_s L_s(w) + R(w)

`w` holds the free entries of all parameters; P is the number of samples. Nothing here knows of graphs or losses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.learning.pieces import add_squares, by_pieces


class Evaluation(NamedTuple):
    """Losses of n samples at one w."""

    losses: F64
    "(n,) unweighted, in the order asked for"
    gradient: F64
    "(n_free,) of sum over the samples of weight_s L_s, not divided by their number"
    unconverged: int = 0
    "samples in which inference did not converge, or missed the right answer where that was the best one known"
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
    planes: Callable[[F64, I64], Sequence[Plane]]
    "(w, numbers of samples): the plane of each; of many at once they cost little more than an evaluation"
    order: Callable[[int], I64]
    "epoch -> an order of all samples, the same whenever it is asked: no state of a generator needs saving"
    complete: Callable[[F64], Oracle] | None = None
    "w -> the same problem with all latents held at their best values given the right answers; None: nothing is latent"
    traits: frozenset[str] = frozenset()
    'which of "convex", "piecewise_linear", "smooth", "linear", "fully_labelled", "objective", "exact" hold'
    curvature: Callable[[], F64 | None] = lambda: None
    """-> (n_free,) about the second derivatives of the sum of weight_s L_s along each entry, at any w; None: not known.
    The same whenever it is asked"""
    threads: int = 1
    "that may work on vectors like w; what is found does not depend on them"


class Regularizer(NamedTuple):
    """A penalty R(w) on the free entries: a smooth part, of which `gradient` is, and a rest, of which `prox` is."""

    value: Callable[[F64], float]
    "of the whole"
    gradient: Callable[[F64], F64] | None
    "of the smooth part, (n_free,); None: there is none"
    prox: Callable[[F64, float | F64], F64] | None
    """(w, step) -> argmin over v of rest(v) + sum of (v - w)^2 / (2 step), for one step or one for each entry; None:
    there is no rest"""
    l1: F64 | None = None
    "(n_free,) weights of |w|, where the rest is that and nothing else"
    l2: F64 | None = None
    "(n_free,) strengths s of s w^2, where the whole is that and nothing else"


def _zero(w: F64) -> float:
    return 0.0


UNREGULARIZED = Regularizer(_zero, None, None)
"R(w) = 0"


class Objective(NamedTuple):
    """The objective at one w."""

    value: float
    "mean loss + R(w)"
    gradient: F64
    "(n_free,) without that of the rest of the regulariser, which has none"
    loss: float
    "mean loss"


def total_loss(oracle: Oracle, losses: F64, samples: I64 | None = None) -> float:
    """Sum of weight * loss over samples; one of weight 0 does not count, even where its loss is infinite."""
    weights = oracle.weights if samples is None else oracle.weights[samples]
    return float(np.sum(np.where(weights == 0.0, 0.0, losses) * weights))


def objective(oracle: Oracle, regularizer: Regularizer, w: F64) -> Objective:
    """The objective at `w` and the gradient of its smooth part.

    Examples
    --------
    >>> def squares(w, samples):
    ...     distance = w - np.array([[1.0], [3.0]])[samples]
    ...     return distance[:, 0] ** 2, 2.0 * distance
    >>> objective(from_slopes(squares, [0.0], n_samples=2), UNREGULARIZED, np.array([1.0]))
    Objective(value=2.0, gradient=array([-2.]), loss=2.0)
    """
    evaluation = oracle.evaluate(w, None)
    count = max(1, oracle.n_samples)
    loss = total_loss(oracle, evaluation.losses) / count
    if regularizer.l2 is not None:
        strength, slope, there = (np.ascontiguousarray(x, np.float64) for x in (regularizer.l2, evaluation.gradient, w))
        gradient = np.empty(len(w))
        penalty = by_pieces(
            lambda p: add_squares(slope[p], count, strength[p], there[p], gradient[p]), len(w), oracle.threads
        )
        return Objective(loss + penalty, gradient, loss)
    gradient = evaluation.gradient / count
    if regularizer.gradient is not None:
        gradient += regularizer.gradient(w)
    return Objective(loss + regularizer.value(w), gradient, loss)


def minibatches(oracle: Oracle, epoch: int, size: int) -> list[I64]:
    """All samples in parts of `size` or a little less, as equal as can be, in an order of this epoch.

    Which samples are together never changes, so what is prepared for a part serves every epoch: parts are ranges of
    `oracle.order(0)`, and come as their first samples do in `oracle.order(epoch)`.

    Examples
    --------
    >>> oracle = from_slopes(lambda w, samples: (w, w[:, None]), [0.0], n_samples=5)
    >>> [part.tolist() for part in minibatches(oracle, 0, 2)], [part.tolist() for part in minibatches(oracle, 1, 2)]
    ([[2, 4], [3, 0], [1]], [[1], [2, 4], [3, 0]])
    """
    if size == 1:
        return list(oracle.order(epoch)[:, None])
    together = oracle.order(0)
    parts = np.array_split(together, -(-len(together) // size)) if len(together) else []
    if epoch == 0:
        return parts
    place = np.empty(len(together), np.int64)
    place[together] = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    first = np.unique(place[oracle.order(epoch)], return_index=True)[1]
    return [parts[k] for k in np.argsort(first).tolist()]


def shuffled(n_samples: int, seed: int) -> Callable[[int], I64]:
    """An `Oracle.order`: a random order for each epoch, which depends on nothing but the seed and the epoch."""
    return lambda epoch: np.random.default_rng([seed, epoch]).permutation(n_samples).astype(np.int64)


def from_slopes(
    losses_and_slopes: Callable[[F64, I64], tuple[F64, F64]],
    start: npt.ArrayLike,
    *,
    n_samples: int,
    weights: npt.ArrayLike = 1.0,
    lower: npt.ArrayLike = -np.inf,
    upper: npt.ArrayLike = np.inf,
    seed: int = 0,
    traits: Iterable[str] = ("convex", "smooth", "objective", "exact"),
) -> Oracle:
    """The oracle of a plain function: any optimiser of this library then minimises it.

    Parameters
    ----------
    losses_and_slopes : (w, numbers of n samples) -> their losses (n,) and the slopes of each, (n, n_free)
    start : (n_free,)
    weights, lower, upper : broadcast to (n_samples,) and (n_free,)
    traits : what holds of the losses, see `Oracle`

    Examples
    --------
    >>> def squares(w, samples):
    ...     distance = w - np.array([[1.0], [3.0]])[samples]
    ...     return distance[:, 0] ** 2, 2.0 * distance
    >>> oracle = from_slopes(squares, [0.0], n_samples=2)
    >>> oracle.planes(np.array([0.0]), np.array([1]))[0]
    Plane(loss=9.0, support=array([0]), values=array([-6.]), offset=9.0)
    """
    w0 = np.array(start, np.float64)
    everyone = np.arange(n_samples, dtype=np.int64)
    support = np.arange(len(w0), dtype=np.int64)
    of_sample = np.broadcast_to(np.asarray(weights, np.float64), (n_samples,))

    def evaluate(w: F64, samples: I64 | None) -> Evaluation:
        asked = everyone if samples is None else samples
        losses, slopes = losses_and_slopes(w, asked)
        return Evaluation(losses, np.einsum("s,sj->j", of_sample[asked], slopes))

    def planes(w: F64, samples: I64) -> list[Plane]:
        return [
            Plane(float(loss), support, slope, float(loss - np.einsum("j,j->", slope, w)))
            for loss, slope in zip(*losses_and_slopes(w, samples))
        ]

    return Oracle(
        n_samples=n_samples,
        weights=of_sample,
        start=w0,
        lower=np.broadcast_to(np.asarray(lower, np.float64), w0.shape),
        upper=np.broadcast_to(np.asarray(upper, np.float64), w0.shape),
        evaluate=evaluate,
        planes=planes,
        order=shuffled(n_samples, seed),
        traits=frozenset(traits),
    )


def report_of(**figures: float) -> Mapping[str, float]:
    """Figures of a state by name, those that are not known left out."""
    return {name: float(value) for name, value in figures.items() if value == value}
