"""The oracle of a learning problem: what optimisers see of samples, a loss and an inference."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable
from typing import TypeAlias, TypeVar

from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.errors import FactorError
from factorgraph_ebm.graph.assignment import Given
from factorgraph_ebm.inference.passing import processors
from factorgraph_ebm.learning.asking import Asking, loopy
from factorgraph_ebm.learning.curvature import curvature_of
from factorgraph_ebm.learning.data import Data
from factorgraph_ebm.learning.evaluate import Problem, evaluate, make_problem
from factorgraph_ebm.learning.oracle import Evaluation, Oracle, Plane, shuffled
from factorgraph_ebm.learning.planes import planes_of
from factorgraph_ebm.learning.points import right_states
from factorgraph_ebm.learning.watching import refuse_numbers

Found = TypeVar("Found")
Told: TypeAlias = Callable[[F64, I64 | None, Evaluation], None]
"is told of every evaluation: w, numbers of samples (None: all), what was found"


def make_oracle(problem: Problem, start: F64, seed: int, told: Told | None = None) -> Oracle:
    """The problem as an optimiser sees it, to begin at `start` (n_free,).

    Parameters
    ----------
    told : is told of every evaluation, those for planes and with latents held among them
    """
    draws = any(query.kind == "sample" for query in problem.loss.queries)

    def drawn(w: F64) -> int:
        return _digest(w) if draws else 0

    def answer(w: F64, samples: I64 | None) -> Evaluation:
        found = _asked(evaluate, problem, w, samples, drawn(w))
        if told is not None:
            told(w, samples, found)
        return found

    def planes(w: F64, samples: I64) -> list[Plane]:
        found, said = _asked(planes_of, problem, w, samples, drawn(w))
        if told is not None:
            told(w, samples, said)
        return found

    # A sample without any label adds nothing to a loss, whatever is latent in it.
    hidden = any(bool((batch.latent & batch.judged).any()) for batch in problem.blocks)
    minimised = problem.inference.latent_beta == math.inf
    return Oracle(
        n_samples=len(problem.data.graphs),
        weights=problem.weights,
        start=start,
        lower=problem.layout.lower,
        upper=problem.layout.upper,
        evaluate=answer,
        planes=planes,
        order=shuffled(len(problem.data.graphs), seed),
        complete=(lambda w: make_oracle(completed(problem, w), w, seed, told)) if hidden and minimised else None,
        traits=traits_of(problem, hidden=hidden),
        # Between its kinks a piecewise linear loss has no curvature.
        curvature=(lambda: None) if problem.loss.piecewise_linear else functools.partial(curvature_of, problem),
        threads=processors() if problem.inference.threads is None else problem.inference.threads,
    )


def _asked(
    ask: Callable[..., Found], problem: Problem, w: F64, samples: I64 | None, update: int
) -> Found:
    """What is asked of a problem; where numbers are refused, the error says of which sample and factor."""
    try:
        return ask(problem, w, samples, update=update)
    except FactorError:
        refuse_numbers(problem, w, samples)
        raise


def _digest(w: F64) -> int:
    """A number for draws at w: the same whenever w is, so that nothing but w need be saved."""
    return int.from_bytes(hashlib.blake2b(w.tobytes(), digest_size=7).digest(), "little")


def traits_of(problem: Problem, *, hidden: bool) -> frozenset[str]:
    """What holds of the objective, in the words of `Oracle.traits`."""
    loss = problem.loss
    minimised = hidden and problem.inference.latent_beta == math.inf
    sources = {id(f): f.slots[0].source for g in problem.data.graphs for f in g.factors if f.slots}
    linear = all(source.linear for source in sources.values())
    traits = {
        "linear": linear,
        "convex": linear and loss.convex and not hidden,
        "piecewise_linear": linear and loss.piecewise_linear and not hidden,
        "smooth": loss.smooth and not minimised,
        "objective": loss.is_objective,
        "fully_labelled": not hidden,
        "exact": _is_exact(problem),
    }
    return frozenset(name for name, holds in traits.items() if holds)


def _is_exact(problem: Problem) -> bool:
    values = problem.layout.values(problem.layout.start)
    for batch in problem.blocks:
        asking = Asking(batch, values, problem.inference)
        for minimize in (True, False):
            method = asking.settings(minimize=minimize)["method"]
            if method in ("expansion", "gibbs", "icm") or loopy(batch, method):
                return False
    return True


def completed(problem: Problem, w: F64) -> Problem:
    """The problem with all that is latent held at its best states, given the right answers, as if these were known."""
    values = problem.layout.values(w)
    targets: list[Given] = []
    for batch in problem.blocks:
        states = right_states(Asking(batch, values, problem.inference)).states
        start = batch.compiled.sample_cell_start.tolist()
        for low, high, i, judged in zip(start, start[1:], batch.chosen.tolist(), batch.judged.tolist()):
            if not judged:
                targets.append(problem.data.targets[i])
                continue
            variable = batch.compiled.cell_variable[low:high]
            free = variable >= 0
            right = problem.data.targets[i].states.copy()
            right[free] = states[variable[free]]
            targets.append(Given(problem.data.targets[i].known | free, right, problem.data.targets[i].reals))
    data = Data(problem.data.graphs, problem.data.given, targets)
    return make_problem(data, problem.layout, problem.loss, problem.inference, problem.weights)
