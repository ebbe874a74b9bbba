"""Sum-product in one form of messages: probabilities and log Z of the chunks that it serves.

log Z = -(free energy of beliefs),   NaN in samples where the form lost digits, which are then another form's
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Bool, Compiled, Messages
from factorgraph_ebm.compiler.layout import sizes
from factorgraph_ebm.inference.forests import Forests
from factorgraph_ebm.inference.forms import Odds, Weights
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.inference.passing import Passing
from factorgraph_ebm.inference.progress import Progress


class Summed(NamedTuple):
    """What one form found; anything where other chunks lie."""

    probability: F64
    "(unary_size,)"
    log_partition: F64
    "(N,)"
    variable_free: F64
    "(V,) free energy of each belief: +inf where nothing is allowed, NaN where digits were lost"
    later: bool = False
    "log_partition is anything: it is made when it is read"
    forests: Forests | None = None
    "which found them, where samples are forests"

    def lost(self, compiled: Compiled) -> Bool:
        """Samples that lost digits, (N,)."""
        lost = np.isnan(self.log_partition)
        lost[compiled.variable_sample[np.isnan(self.variable_free)]] = True
        return lost

    def with_others(self, other: Summed, taken: Bool, compiled: Compiled) -> Summed:
        """The same with other answers where samples are `taken`, (N,)."""
        variables = taken[compiled.variable_sample]
        where = (np.repeat(variables, sizes(compiled.variable_start)), taken, variables)
        for mine, theirs, chosen in zip(self[:3], other[:3], where):
            np.copyto(mine, theirs, where=chosen)
        return self


def sum_chunks(
    problem: Problem, form: type[Passing], chunks: Sequence[int], progress: Progress
) -> tuple[Passing, Summed]:
    """Sum-product over these chunks in one form."""
    compiled = problem.compiled
    forests = [c for c in chunks if progress.exact[c]]
    loopy = [c for c in chunks if not progress.exact[c]]
    passing = started(problem, form, minimize=False, silent=not loopy)
    found = None
    if loopy:
        progress.iterate(passing, loopy)
        progress.damp(passing, loopy)
        found = _read(problem, passing)
    if forests:
        solver = Forests(passing, forests)
        probability, free, variable_free = solver.marginals(problem.expected)
        solved = Summed(probability, -(free + passing.least_energies()), variable_free, forests=solver)
        progress.solve(forests)
        chosen = in_chunks(compiled, forests)
        found = solved if found is None else found.with_others(solved, chosen, compiled)._replace(forests=solver)
    assert found is not None
    return passing, found


def _read(problem: Problem, passing: Passing) -> Summed:
    """Probabilities, log Z, and the free energies of beliefs, from messages at rest; NaN where a form lost digits."""
    if isinstance(passing, Odds):
        probability, lost = passing.shares(problem.scaled.unary)
        return Summed(probability, np.zeros(len(problem.compiled.sample_chunk)), lost, later=True)
    passing.send()
    return Summed(*passing.marginals())


def log_partitions(problem: Problem, passing: Odds) -> F64:
    """log Z of messages in odds at rest, by way of weights, and where those are lost, of energies."""
    rows = started(problem, Weights, minimize=False, silent=True)
    assert isinstance(rows, Weights)
    passing.weights(rows)
    _, found, lost = rows.marginals()
    samples = np.isnan(found)
    samples[problem.compiled.variable_sample[np.isnan(lost)]] = True
    if samples.any():
        exact = started(problem, Passing, minimize=False, silent=True)
        exact.take(passing.energies().to_variable)
        np.copyto(found, exact.marginals()[1], where=samples)
    return found


def started(
    problem: Problem, form: type[Passing], *, minimize: bool, silent: bool = False, repeated: bool | None = None
) -> Passing:
    """Messages of a problem in a form, before the first is sent; `silent`: the answer begins with none."""
    start = None if silent else messages_of(problem)
    if repeated is None:
        repeated = not (problem.compiled.sample_exact if minimize else problem.compiled.sample_forest).all()
    return form(
        problem.union.layout, problem.scaled, minimize=minimize, start=start, repeated=repeated,
        threads=problem.threads, silent=silent,
    )  # fmt: skip


def messages_of(problem: Problem) -> Messages | None:
    """Messages to begin with."""
    return None if problem.start is None else problem.start.messages


def in_chunks(compiled: Compiled, chunks: Sequence[int] | I64) -> Bool:
    """Samples of these chunks, (N,)."""
    chosen = np.zeros(len(compiled.chunk_variable_start) - 1, bool)
    chosen[np.asarray(chunks, np.int64)] = True
    found: Bool = chosen[compiled.sample_chunk]
    return found
