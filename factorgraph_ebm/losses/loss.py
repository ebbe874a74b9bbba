"""What a loss is: queries, and a scalar function of their answers with its slopes.

    L = value(answers)          dL / d parameters = sum over queries of slope * d answer / d parameters

A loss sees energies and log-probabilities of right answers, one number each, and nothing else: not the graph, not the
method, not the parameters (LeCun, Chopra, Hadsell, Ranzato and Huang, "A tutorial on energy-based learning", 2006,
section 2). Whoever trains asks the queries, and carries the slopes back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import MethodError

Kind: TypeAlias = Literal["target", "best", "wrong", "free", "sample", "pieces", "hits", "sites"]
"""What is asked about a sample, each an energy in nats but for the last two.

target   the right answer, everything latent eliminated
best     the least energy of all answers
wrong    the least energy of all answers that differ from the right one; +inf where there is none
free     free energy -(1/beta) log sum exp(-beta E) over all that is not given
sample   an answer drawn by sweeps of Gibbs sampling that start from the right one
pieces   sum of the free energies of all factors, each by itself
hits     log-probability of the right state of each labelled variable
sites    the same, given the right states of all other variables
"""
PER_VARIABLE: frozenset[str] = frozenset({"hits", "sites"})
"queries whose answer has an element for each labelled variable; the others have one for each sample"
SUMMED: frozenset[str] = frozenset({"free", "pieces", "hits", "sites"})
"queries that sum over answers at beta, which must then be finite"

Cost: TypeAlias = str | npt.NDArray[np.float64] | Mapping[str, Any]
"""What it costs to say one state where another is right, in nats: "hamming" (1 for each wrong variable), a matrix
[right, said] for variables of that many states, or a mapping from names of variables to such matrices."""


class Query(NamedTuple):
    """One question about every sample.

    A right answer with latent variables left over is what the model makes of those: it minimises over them, or sums
    them out, as its `latent=` says. `beta` overrules that for this query alone: "model" sums them out at the beta of
    the model (which a loss does not know when it is made), a number at that one, inf being the minimum.
    """

    kind: Kind
    cost: bool = False
    "energies minus the loss's cost while it is answered, and in the answer"
    sweeps: int = 0
    'of "sample"'
    beta: float | Literal["model"] | None = None
    'of "target": at which its latents are summed; None: as the model says'


Answers: TypeAlias = tuple[F64, ...]
"of the queries, in their order: (n_samples,), or (n_labelled,) where the kind is in `PER_VARIABLE`"


class Loss(NamedTuple):
    """A loss as data: what it asks, and what it makes of the answers.

    `value(answers, beta)` returns the losses, shaped like the answers (those of variables are added up by sample), and
    for each answer the slopes d loss / d answer, of its shape. Answers may be +inf where no wrong answer exists: the
    loss is finite there, and the slope 0. A loss that is too large for a float64 is inf, without a warning.
    """

    name: str
    queries: tuple[Query, ...]
    value: Callable[[Answers, float], tuple[F64, tuple[F64, ...]]]
    cost: Cost | None = None
    lower_bound: float = 0.0
    "of the loss under exact inference; -inf: none"
    convex: bool = False
    "a convex function of the numbers when nothing is latent"
    piecewise_linear: bool = False
    "a maximum of affine functions of the numbers, of which one is 0, when nothing is latent"
    smooth: bool = True
    "differentiable in the numbers, where inference is exact and nothing is minimised over"
    is_objective: bool = True
    "the slopes are those of the value; False (contrastive divergence): nothing may search along a line by it"
    at_infinite_beta: str | None = None
    "what to write where beta is inf, if this loss sums over answers"
    options: Mapping[str, Any] | None = None
    """with which the constructor of that name in `LOSSES` makes this loss: numbers, words, arrays and mappings of
    these. None: it is made of functions, and no file can hold it"""


def difference(
    name: str,
    queries: tuple[Query, Query],
    function: Callable[[F64, float], tuple[F64, F64]] | None = None,
    **facts: Any,
) -> Loss:
    """A loss of d = first answer - second answer: `function(d, beta)` returns its values and its slopes in d.

    Without a function the loss is d itself. Where the second answer is +inf, the slopes are 0: if it is the best wrong
    answer then none exists, and d = -inf; if it is any other, every answer is forbidden, and d = 0.

    Examples
    --------
    >>> ramp = difference("ramp", (Query("target"), Query("wrong")), lambda d, beta: (np.maximum(d, 0), d > 0))
    >>> losses, slopes = ramp.value((np.array([3.0, 1.0]), np.array([1.0, np.inf])), 1.0)
    >>> losses, slopes[0]
    (array([2., 0.]), array([1., 0.]))
    """
    at_nothing = -np.inf if queries[1].kind == "wrong" else 0.0

    def value(answers: Answers, beta: float) -> tuple[F64, tuple[F64, ...]]:
        first, second = answers
        there = second < np.inf
        d = np.subtract(first, second, where=there, out=np.full(np.shape(second), at_nothing))
        losses, slope = (d, np.ones_like(d)) if function is None else function(d, beta)
        slope = np.where(there, slope, 0.0)
        return losses, (slope, -slope)

    return Loss(name, queries, value, **facts)


def check_beta(loss: Loss, beta: float) -> None:
    """Raise MethodError where a loss sums over answers and beta is not a finite number > 0.

    At beta = inf the sums have minima for limits, which other losses ask for by name, and without their price.

    Examples
    --------
    >>> from factorgraph_ebm.losses import likelihood, perceptron
    >>> check_beta(perceptron(), np.inf)
    >>> check_beta(likelihood(), np.inf)
    Traceback (most recent call last):
        ...
    factorgraph_ebm.errors.MethodError: loss "likelihood" sums over answers at beta, which is inf. Write
    loss="perceptron", or a finite beta > 0.
    """
    sums = any(query.kind in SUMMED or query.beta == "model" for query in loss.queries)
    if sums and not 0.0 < beta < math.inf:
        other = f"loss={loss.at_infinite_beta}, or " if beta == math.inf and loss.at_infinite_beta else ""
        raise MethodError(
            f'loss "{loss.name}" sums over answers at beta, which is {beta}. Write {other}a finite beta > 0.'
        )
