"""Losses and their gradient: bind, ask, take slopes, accumulate, pull back.

    w -> values -> numbers -> answers -> losses;    slopes -> indicators -> gradient of numbers -> gradient of w

Samples lie in blocks, each one union that is compiled once; blocks keep working space within bounds, and gradients are
added in their order, so that nothing depends on threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.answers.declared import violated_factor
from factorgraph_ebm.arrays import F64, I64, Numbers
from factorgraph_ebm.errors import FactorError
from factorgraph_ebm.inference.method import Status
from factorgraph_ebm.inference.statistics import zeros
from factorgraph_ebm.learning.asking import Asking, Inference, Term
from factorgraph_ebm.learning.batch import Batch
from factorgraph_ebm.learning.data import Data
from factorgraph_ebm.learning.layout import Layout
from factorgraph_ebm.learning.oracle import Evaluation
from factorgraph_ebm.learning.points import right_states
from factorgraph_ebm.learning.terms import ask
from factorgraph_ebm.losses.loss import PER_VARIABLE, Loss

BLOCK = 1 << 28
"bytes that the numbers and messages of one block may take"
KEPT = 1 << 28
"bytes that minibatches may take: the same samples are together in every epoch"
STOPPED = (Status.ITERATION_LIMIT, Status.TIME_LIMIT)


class Kept:
    """Batches of some samples, made when they are first asked for, and kept as long as they fit."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self._batches: dict[bytes, Batch] = {}
        self._bytes = 0

    def batch(self, samples: I64) -> Batch:
        """The samples as a batch."""
        key = samples.tobytes()
        found = self._batches.get(key)
        if found is None:
            found = Batch(self._data, samples)
            size = 20_000 + 8 * (4 * found.compiled.unary_size + 2 * found.compiled.store_size)
            size += sum(direct.nbytes for direct in found.sources.direct)
            if self._bytes + size <= KEPT:
                self._bytes += size
                self._batches[key] = found
        return found


class Problem(NamedTuple):
    """What is to be learned: samples, the parameters of their graphs, and a loss asked through an inference."""

    data: Data
    layout: Layout
    loss: Loss
    inference: Inference
    weights: F64
    "(n,) of samples"
    blocks: list[Batch]
    "all samples, in order"
    kept: Kept


def make_problem(data: Data, layout: Layout, loss: Loss, inference: Inference, weights: F64) -> Problem:
    """Compile the samples, block by block."""
    blocks = [Batch(data, range(low, high)) for low, high in _ranges(data)]
    return Problem(data, layout, loss, inference, weights, blocks, Kept(data))


def _ranges(data: Data) -> list[tuple[int, int]]:
    """Samples of each block: as many as fit."""
    sizes: dict[int, int] = {}
    ranges, low, used = [], 0, 0
    for i, graph in enumerate(data.graphs):
        size = sizes.setdefault(id(graph), 0)
        if not size:
            own = sum(8 * f.slots[0].n_rows * f.slots[0].row_size for f in graph.factors if f.slots)
            size = sizes[id(graph)] = 64 * int(graph.cell_states.sum()) + own
        if used and used + size > BLOCK:
            ranges.append((low, i))
            low, used = i, 0
        used += size
    return [*ranges, (low, len(data.graphs))]


def evaluate(problem: Problem, w: F64, samples: I64 | None = None, *, update: int = 0) -> Evaluation:
    """The losses of some samples and the gradient of their weighted sum.

    Parameters
    ----------
    w : (n_free,)
    samples : (n,) numbers; None: all
    update : how often w has changed, for draws

    Raises
    ------
    MethodError : a query cannot be answered.
    FactorError : a right answer is forbidden.
    """
    values = problem.layout.values(w)
    gradient = problem.layout.gradient()
    losses, infeasible, unconverged = [], [], 0
    batches: Sequence[Batch] = problem.blocks if samples is None else [problem.kept.batch(samples)]
    for batch in batches:
        asked = ask_batch(problem, batch, values, update)
        out: dict[int, tuple[Batch, Numbers]] = {}
        for term, slope in zip(asked.terms, asked.slopes):
            _, numbers = out.setdefault(id(term.batch), (term.batch, zeros(term.batch.union)))
            term.accumulate(asked.weigh(slope, asked.weight), numbers)
        losses.append(asked.losses)
        unconverged += asked.unconverged()
        infeasible.append(asked.infeasible())
        for of, numbers in out.values():
            of.pull(values, numbers, gradient, problem.inference.threads)
    return Evaluation(np.concatenate(losses), gradient.vector(), unconverged, np.unique(np.concatenate(infeasible)))


class Asked(NamedTuple):
    """What the queries of a loss are answered for a batch, and what the loss makes of it."""

    batch: Batch
    terms: list[Term]
    losses: F64
    "(n,) 0 for samples without a right answer"
    slopes: tuple[F64, ...]
    "of the loss by each answer, shaped like it"
    weight: F64
    "(n,) of samples; 0 for those without a right answer"
    numbers: Numbers
    per_variable: bool

    def weigh(self, slope: F64, weight: F64) -> F64:
        """Slopes times the weights (n,) of their samples."""
        share = weight[self.batch.owner] if self.per_variable else weight
        # 0 * inf would be NaN: what has no weight has no slope, nor has a loss that is too large for a number.
        there = (share != 0.0) & np.isfinite(slope)
        return np.where(there, share * np.where(there, slope, 0.0), 0.0)

    def unconverged(self) -> int:
        """In how many samples inference failed; known when slopes have been added."""
        stopped = np.zeros(self.batch.n, bool)
        for term in self.terms:
            if not set(term.status).isdisjoint(STOPPED):
                stopped |= [status in STOPPED for status in term.status]
            if term.unreliable is not None:
                stopped |= term.unreliable
        return int(np.count_nonzero(stopped))

    def infeasible(self) -> I64:
        """Numbers of samples in which everything is forbidden."""
        found = np.zeros(self.batch.n, bool)
        for term in self.terms:
            if Status.INFEASIBLE in set(term.status):
                found |= [status is Status.INFEASIBLE for status in term.status]
        return self.batch.chosen[found]


def ask_batch(problem: Problem, batch: Batch, values: Mapping[str, F64], update: int) -> Asked:
    """Answer the queries of the loss for a batch. Raises as `evaluate`."""
    loss = problem.loss
    weight = np.where(batch.judged, problem.weights[batch.chosen], 0.0)
    asking = Asking(batch, values, problem.inference, loss.cost, update, expected=-weight)
    terms = [ask(asking, query) for query in loss.queries]
    answers = tuple(term.value for term in terms)
    _refuse_forbidden(loss, asking, answers)
    losses, slopes = loss.value(answers, problem.inference.beta)
    per_variable = loss.queries[0].kind in PER_VARIABLE
    total = batch.by_sample(losses) if per_variable else np.where(batch.judged, losses, 0.0)
    return Asked(batch, terms, total, slopes, weight, asking.numbers, per_variable)


def _refuse_forbidden(loss: Loss, asking: Asking, answers: tuple[F64, ...]) -> None:
    """Raise FactorError where a right answer has energy +inf or probability 0."""
    batch = asking.batch
    for query, answer in zip(loss.queries, answers):
        if query.kind == "target":
            bad = batch.judged & (answer == np.inf)
        elif query.kind in PER_VARIABLE:
            bad = batch.by_sample(answer == -np.inf) > 0
            if bad.any():  # or a probability is too small for a number
                bad &= right_states(asking).energy == np.inf
        else:
            continue
        if bad.any():
            i = int(np.argmax(bad))
            where = _violated(asking, i)
            raise FactorError(
                f"sample {batch.chosen[i]}: the right answer is forbidden{where}. Correct the target, or make the "
                "energy finite."
            )


def _violated(asking: Asking, sample: int) -> str:
    """Which factor forbids the right answer of a sample of a batch, in words."""
    batch, compiled = asking.batch, asking.batch.compiled
    number = int(batch.chosen[sample])
    cells = slice(int(compiled.sample_cell_start[sample]), int(compiled.sample_cell_start[sample + 1]))
    variable = compiled.cell_variable[cells]
    states = np.where(variable >= 0, right_states(asking).states[variable], batch.states[cells])
    values = {**asking.values, **batch.reals[sample]}
    factor = violated_factor(batch.data.graphs[number], values, states)
    return "" if factor is None else f" by {factor}"
