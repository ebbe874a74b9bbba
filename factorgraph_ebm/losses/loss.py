"""What a loss is: queries, and a scalar function of their answers with its slopes.

    L = value(answers)          dL / d parameters = sum over queries of slope * d answer / d parameters

A loss sees energies and log-probabilities of right answers, one number each, and nothing else: not the graph, not the
method, not the parameters (LeCun, Chopra, Hadsell, Ranzato and Huang, "A tutorial on energy-based learning", 2006,
section 2). Whoever trains asks the queries, and carries the slopes back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64

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

Cost: TypeAlias = str | npt.NDArray[np.float64] | Mapping[str, Any]
"""What it costs to say one state where another is right, in nats: "hamming" (1 for each wrong variable), a matrix
[right, said] for variables of that many states, or a mapping from names of variables to such matrices."""


class Query(NamedTuple):
    """One question about every sample."""

    kind: Kind
    cost: bool = False
    "energies minus the loss's cost while it is answered, and in the answer"
    sweeps: int = 0
    'of "sample"'
    beta: float | None = None
    "at which latents of a target are summed, whatever the model says; None: as the model says"


Answers: TypeAlias = tuple[F64, ...]
"of the queries, in their order: (n_samples,), or (n_labelled,) where the kind is in `PER_VARIABLE`"


class Loss(NamedTuple):
    """A loss as data: what it asks, and what it makes of the answers.

    `value(answers, beta)` returns the losses, shaped like the answers (those of variables are added up by sample), and
    for each answer the slopes d loss / d answer, of its shape. Answers may be +inf where no wrong answer exists: the
    loss is finite there, and the slope 0.
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
    "a maximum of affine functions of the numbers when nothing is latent"
    smooth: bool = True
    "differentiable in the numbers, where inference is exact"
    is_objective: bool = True
    "the slopes are those of the value; False (contrastive divergence): nothing may search along a line by it"


def difference(
    name: str,
    queries: tuple[Query, Query],
    function: Callable[[F64, float], tuple[F64, F64]],
    **facts: Any,
) -> Loss:
    """A loss of d = first answer - second answer: `function(d, beta)` returns its values and its slopes in d.

    Where the second answer is +inf, no wrong answer exists, and d = -inf; where both are, d = 0.
    """

    def value(answers: Answers, beta: float) -> tuple[F64, tuple[F64, ...]]:
        first, second = answers
        with np.errstate(invalid="ignore"):
            d = np.where(first == second, 0.0, first - second)
        losses, slope = function(d, beta)
        return losses, (slope, -slope)

    return Loss(name, queries, value, **facts)
