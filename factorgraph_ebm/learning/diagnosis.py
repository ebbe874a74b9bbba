"""Whether a loss can teach an architecture to tell right answers from wrong ones: LeCun's condition, by numbers.

    some point with E_right + m < E_wrong has a lower loss than every reachable point without

Then whoever minimises the loss ends with the right answer below the best wrong one by the margin m: a sufficient
condition (LeCun, Chopra, Hadsell, Ranzato and Huang, "A tutorial on energy-based learning", 2006, section 5, condition
3 and table 1). The loss is asked on the plane of these two energies, as about any other graph, at points that the
architecture can reach. Where energies are not linear in the parameters these points are not known: the loss is then
minimised over the parameters of one sample, with a slight preference for small gaps.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.errors import CollapseWarning, ConvergenceWarning, EvidenceError, MethodError
from factorgraph_ebm.learning.asking import Inference
from factorgraph_ebm.learning.data import Architecture, given_of, graph_of, read_data
from factorgraph_ebm.learning.evaluate import Problem, make_problem
from factorgraph_ebm.learning.layout import layout_of
from factorgraph_ebm.learning.optimizers import lbfgs
from factorgraph_ebm.learning.oracle import UNREGULARIZED, Evaluation
from factorgraph_ebm.learning.problem_oracle import make_oracle, traits_of
from factorgraph_ebm.learning.reachable import Reachable, energies_and_slopes, everything, random_parameters, reachable
from factorgraph_ebm.learning.two_answers import TwoAnswers
from factorgraph_ebm.losses import Loss, as_loss, check_beta
from factorgraph_ebm.losses.loss import Query, difference
from factorgraph_ebm.questions.minimize import minimize

WIDE = 512.0
"largest gap that is looked at, in nats at beta <= 1: e^-512 is still a float"
FAR = 65536.0
"largest energy that is looked at"
EQUAL = 1e-9
"difference of two losses, of the larger or 1, that says nothing"
STARTS = 3
"random parameters from which energies that are not linear are searched"
EVALUATIONS = 120
"of each search: at kinks, searches along lines end late and gain nothing"


class Diagnosis(NamedTuple):
    """What a loss does to an architecture; `print` it to read it."""

    loss: str
    satisfied: bool | None
    "whether the condition holds with some margin above 0; None: it cannot be said, the loss has no value to compare"
    margin: float | None
    """nats, to three digits: every least loss has its gap E_wrong - E_right at least that wide. inf: the loss goes on
    falling as the gap grows; 0: equal energies are among its minima; None: wrong answers are too, or there is no
    minimum"""
    lower_bound: float
    "of the loss, where it is reachable; -inf: none"
    can_collapse: bool
    "equal energies everywhere are among the minima, or below all, and nothing pushes wrong answers up"
    reachable: str
    "the pairs (E_right, E_wrong) that the architecture reaches, in words"
    reasons: tuple[str, ...]
    "sentences: why, and what to do"

    def __str__(self) -> str:
        said = {True: "holds", False: "does not hold", None: "cannot be said"}[self.satisfied]
        margin = "none" if self.margin is None else "any" if self.margin == math.inf else f"{self.margin:g} nats"
        return "\n".join([
            f'loss "{self.loss}": the sufficient condition {said}; margin {margin}, lower bound {self.lower_bound:g}',
            f"reachable: {self.reachable}",
            f"can collapse: {'yes' if self.can_collapse else 'no'}",
            *self.reasons,
        ])  # fmt: skip


def diagnose(
    loss: str | Loss | Callable[..., Loss],
    architecture: Architecture | None = None,
    sample: Mapping[Any, Any] | None = None,
    target: Mapping[Any, Any] | None = None,
    *,
    inference: str | Mapping[str, Any] = "auto",
    beta: float = 1.0,
    rng: int = 0,
) -> Diagnosis:
    """Say whether minimising a loss makes an architecture put right answers below wrong ones, and by how much.

    Parameters
    ----------
    loss : a word or a call, as in `EnergyModel`
    architecture : FactorGraph, or a function from a sample to one. None: one that can reach any pair of energies
    sample : one that the architecture is looked at with: what is given, and what it reads. None: nothing
    target : its right answer. None: the best answer at random parameters
    inference, beta : as in `EnergyModel`; latent variables are minimised over
    rng : seed of the parameters that are tried

    Returns
    -------
    Diagnosis : for this sample. Linear energies are judged on the set of pairs they reach, others by a search from a
        few random starts, which takes seconds and may miss something.

    Warns
    -----
    CollapseWarning : the loss can collapse: the least loss is had by equal energies for all answers.

    Raises
    ------
    MethodError : an unknown loss, no possible wrong answer, or an architecture that needs a sample.
    ParameterError : the architecture has nothing to learn.

    Examples
    --------
    >>> print(diagnose("hinge"))
    loss "hinge": the sufficient condition holds; margin 1 nats, lower bound 0
    reachable: the whole plane
    can collapse: no
    Every least loss has the right answer below the best wrong one by 1 nats.
    >>> diagnose("likelihood").margin, diagnose("perceptron").margin
    (inf, 0.0)
    """
    read = as_loss(loss)
    check_beta(read, beta)
    plane = TwoAnswers(read, beta)
    wide = WIDE / max(1.0, beta) if beta < math.inf else WIDE
    if architecture is None:
        return _told(read, _on_plane(read, plane, everything(), wide), everything())
    given: Mapping[str, Any] = {"method": inference} if isinstance(inference, str) else inference
    options = {name: value for name, value in given.items() if name not in ("method", "threads")}
    how = Inference(given.get("method", "auto"), options, beta, seed=rng)
    generator = np.random.default_rng(rng)
    problem = _one_sample(read, architecture, sample, target, how, generator)
    linear = "linear" in traits_of(problem, hidden=bool(problem.blocks[0].latent.any()))
    reach = reachable(problem, linear, generator)
    if not reach.moves:
        return _told(read, _Found(None, read.lower_bound, False), reach)
    found = _on_plane(read, plane, reach, wide)
    if not linear and read.is_objective:
        found = _searched(problem, found.pushes, generator)
    return _told(read, found, reach)


class _Found(NamedTuple):
    margin: float | None
    lower_bound: float
    pushes: bool
    "whether some slope pushes the best wrong answer up where it is not above the right one"


def _one_sample(
    loss: Loss,
    architecture: Architecture,
    sample: Mapping[Any, Any] | None,
    target: Mapping[Any, Any] | None,
    how: Inference,
    rng: np.random.Generator,
) -> Problem:
    """The learning problem of one sample, its right answer made up where it is not told."""
    if sample is None and callable(architecture):
        raise MethodError("this architecture makes its graph of a sample. Give one: sample=samples[0].")
    sample = {} if sample is None else sample
    graph = graph_of(architecture, sample)
    layout = layout_of([graph])
    if target is None:
        values = layout.values(np.clip(rng.normal(size=layout.n_free), layout.lower, layout.upper))
        with warnings.catch_warnings():  # any good answer will do
            warnings.simplefilter("ignore", ConvergenceWarning)
            best = minimize(graph, given_of(graph, sample), parameters=values)
        target = {name: best[name] for name, v in graph.variables.items() if v.role == "output" and name not in sample}
        if not target:
            raise EvidenceError("the sample gives every output, so nothing is left to be right or wrong.")
    data = read_data(graph, [sample], [target])
    return make_problem(data, layout, loss, how, np.ones(1))


# Linear energies: the loss on the set that is reachable.


def _on_plane(loss: Loss, plane: TwoAnswers, reach: Reachable, wide: float) -> _Found:
    least, most = reach.gaps
    size = wide * 2.0 ** np.arange(-20.0, 1.0)
    ends = [end for end in (least, most) if math.isfinite(end)]
    gaps = np.unique(np.clip(np.concatenate([-size, [0.0], size, ends]), max(least, -wide), min(most, wide)))
    losses, pushes, falls = _least_losses(plane, reach, gaps)
    if not loss.is_objective:
        return _Found(None, -math.inf, pushes)
    lowest = float(losses.min())
    no_end = falls or (most == math.inf and lowest < losses[gaps <= wide / 2].min() - 1.0)
    lower_bound = -math.inf if no_end else _bound_of(loss, lowest)
    if falls:
        return _Found(None, lower_bound, pushes)
    return _Found(_margin(plane, reach, gaps, losses, wide), lower_bound, pushes)


def _least_losses(plane: TwoAnswers, reach: Reachable, gaps: F64) -> tuple[F64, bool, bool]:
    """The least loss at each gap; whether wrong answers are pushed up at gaps <= 0; whether it falls without end."""
    low, high = reach.right(gaps)
    steps = 4.0 ** np.arange(-2.0, 5.0)
    tried = np.concatenate([[0.0], steps, -steps, [FAR, -FAR, FAR / 2, -FAR / 2]])
    right = np.clip(tried, np.minimum(low, high)[:, None], high[:, None])
    right = np.concatenate([right, np.where(np.isfinite(low), low, right[:, 0])[:, None]], axis=1)
    possible = np.broadcast_to((low <= high)[:, None], right.shape)
    values = np.full(right.shape, np.inf)
    values[possible], slopes = plane.ask(right[possible], np.broadcast_to(gaps[:, None], right.shape)[possible]
                                         + right[possible])  # fmt: skip
    behind = np.broadcast_to(gaps[:, None] <= 0.0, right.shape)[possible]
    pushes = bool((slopes[behind, 1] < -EQUAL).any())
    values[np.isnan(values)] = np.inf
    far, half = values[:, len(tried) - 3], values[:, len(tried) - 1]
    falls = bool((far < half - 1.0)[(low == -np.inf) & (gaps <= 0.0)].any())
    return values.min(axis=1), pushes, falls


def _margin(plane: TwoAnswers, reach: Reachable, gaps: F64, losses: F64, wide: float) -> float | None:
    """The least gap of all least losses: None where it is below 0, inf where they are never reached."""
    least, most = reach.gaps
    lowest = float(losses.min())
    if most <= 0.0:
        return None
    flat = float(losses[np.argmin(np.abs(gaps))])
    if flat - lowest <= EQUAL * max(1.0, abs(lowest)):
        wrong = losses[gaps < -EQUAL]
        if least > 0.0:
            return float(least)
        return None if (wrong - lowest <= EQUAL * max(1.0, abs(lowest))).any() else 0.0
    # How wide the gap is where a share of the loss is left tells an end from a tail: a tail goes on.
    near, nearer = (_crossing(plane, reach, gaps, losses, lowest + share * (flat - lowest)) for share in (1e-4, 1e-8))
    if nearer >= wide / 2 or nearer - near > 0.25 * nearer:
        return float(most)
    return min(float(f"{nearer:.3g}"), float(most))


def _crossing(plane: TwoAnswers, reach: Reachable, gaps: F64, losses: F64, level: float) -> float:
    """The least gap whose loss is at most `level`, by halving the interval of the grid in which it lies."""
    at = int(np.argmax(losses <= level))
    low, high = float(gaps[max(0, at - 1)]), float(gaps[at])
    for _ in range(3):
        finer = np.linspace(low, high, 17)
        at = int(np.argmax(_least_losses(plane, reach, finer)[0] <= level))
        low, high = float(finer[max(0, at - 1)]), float(finer[at])
    return high


def _bound_of(loss: Loss, lowest: float) -> float:
    """The least loss that is reached, which is the bound of the loss where it comes to that, but for rounding."""
    bound = loss.lower_bound if loss.lower_bound > -math.inf else 0.0
    return bound if abs(lowest - bound) <= 1e-6 * max(1.0, abs(bound)) else float(f"{lowest:.6g}")


# Other energies: the loss minimised over the parameters.


def _searched(problem: Problem, pushes: bool, rng: np.random.Generator) -> _Found:
    """Minima of the loss of the sample, and among them those of small gaps."""
    gap = problem._replace(loss=difference("gap", (Query("wrong"), Query("target"))))
    starts = [random_parameters(problem, rng) for _ in range(STARTS)]
    first = [_measured(problem, w) for w in starts]
    scale = max(abs(each[1]) for each in first)
    found: dict[float, list[tuple[float, float]]] = {}
    for start in starts:
        plain = _minimised(problem, gap, start, 0.0)
        found.setdefault(0.0, []).append(_measured(problem, plain))
        for share in (1e-3, 1e-6):
            ends = [_minimised(problem, gap, w, share) for w in (start, plain)]
            found.setdefault(share, []).extend(_measured(problem, w) for w in ends)
    losses = np.array([each[0] for ends in found.values() for each in ends])
    lowest, begun = float(np.nanmin(losses)), float(np.mean([each[0] for each in first]))
    if lowest < begun - 1e6 * max(1.0, abs(begun)):
        return _Found(None, -math.inf, pushes)
    level = lowest + 0.02 * max(begun - lowest, EQUAL)
    near, nearer = (min(g for value, g in found[s] + found[0.0] if value <= level) for s in (1e-3, 1e-6))
    bound = _bound_of(problem.loss, lowest)
    if near <= 1e-3 * scale:
        return _Found(0.0 if near >= -1e-3 * scale else None, bound, pushes)
    return _Found(math.inf if nearer - near > 0.25 * nearer else float(f"{nearer:.3g}"), bound, pushes)


def _measured(problem: Problem, w: F64) -> tuple[float, float]:
    """The loss and the gap."""
    energies, _ = energies_and_slopes(problem, w)
    oracle = make_oracle(problem, w, 0)
    return float(oracle.evaluate(w, None).losses[0]), float(energies[1] - energies[0])


def _minimised(problem: Problem, gap: Problem, start: F64, share: float) -> F64:
    """Where the loss plus a share of the gap is least."""
    oracle, width = make_oracle(problem, start, 0), make_oracle(gap, start, 0)

    def evaluate(w: F64, samples: I64 | None) -> Evaluation:
        found = oracle.evaluate(w, samples)
        if not share:
            return found
        other = width.evaluate(w, samples)
        return found._replace(
            losses=found.losses + share * other.losses, gradient=found.gradient + share * other.gradient
        )

    method, searched = lbfgs(tolerance=1e-10), oracle._replace(evaluate=evaluate)
    state = method.init(searched, UNREGULARIZED)
    while not method.finished(state) and state.evaluations < EVALUATIONS:
        state = method.update(state, searched, UNREGULARIZED)
    end: F64 = method.best(state)
    return end


# What is told.


def _told(loss: Loss, found: _Found, reach: Reachable) -> Diagnosis:
    margin, moves = found.margin, reach.moves
    satisfied = None if moves and not loss.is_objective else margin is not None and margin > 0.0
    collapses = moves and not found.pushes and not satisfied
    reasons = []
    if not moves:
        reasons.append("Whatever is learned, the best wrong answer stays as far from the right one. Let energies of "
                       "different answers depend on different parameters.")  # fmt: skip
    elif satisfied is None:
        reasons.append(f'"{loss.name}" is a direction and has no value whose minima could be compared.')
    elif margin is None:
        reasons.append(
            "The loss falls without end as both energies do, whatever the gap."
            if found.lower_bound == -math.inf
            else "Wrong answers below the right one have a loss as low as any."
        )
    elif margin == 0.0:
        reasons.append("Equal energies of all answers have a loss as low as any: no gap is asked for.")
    elif margin == math.inf:
        reasons.append("The loss falls as long as the gap between right and best wrong answer grows.")
    else:
        reasons.append(f"Every least loss has the right answer below the best wrong one by {margin:g} nats.")
    if collapses:
        reasons.append("Nothing pushes wrong answers up, so training may end with all energies equal: use a loss that "
                       'does, such as "likelihood" or "hinge", or energies that cannot all be low.')  # fmt: skip
    elif margin == 0.0 and moves:
        reasons.append("Wrong answers are pushed up while they are not above the right one: average the parameters, "
                       'or use "hinge" for a margin.')  # fmt: skip
    if not reach.linear and satisfied is not None and moves:
        reasons.append(f"Energies are not linear in the parameters: this was found by search from {STARTS} starts.")
    diagnosis = Diagnosis(loss.name, satisfied, margin, found.lower_bound, collapses, reach.words, tuple(reasons))
    if collapses:
        warnings.warn(f'loss "{loss.name}" can collapse. {" ".join(reasons)}', CollapseWarning, stacklevel=3)
    return diagnosis
