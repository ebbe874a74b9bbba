"""beta = inf: which states occur in assignments of least energy, and in how many of these.

After min-sum has come to rest on a forest, an assignment is a minimiser exactly where every factor's entry and every
state in it attains the minimum of its min-marginals. So forbid all others, give what is left energy 0, and count by
sum-product. On loops min-marginals are estimates, and the answer is uniform over the tied states of each variable.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from factorgraph_ebm import arrays as a
from factorgraph_ebm.arrays import F64, I64, Bool, Numbers
from factorgraph_ebm.compiler.layout import Layout
from factorgraph_ebm.compiler.schedules import sequential
from factorgraph_ebm.engine.ties import margins
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.inference.passing import Passing
from factorgraph_ebm.inference.tables import add_messages, message_rows, run_of, run_tables, scope_of

LARGEST = 1 << 27
"entries of tables that are made to count: 1 GiB of energies"


def count_minimisers(
    problem: Problem, passing: Passing, belief: F64, least: F64
) -> tuple[F64, F64, Callable[[int], F64]]:
    """Uniform over the minimisers.

    Parameters
    ----------
    passing : min-sum at rest, with `belief` (unary_size,) as it left it
    least : (N,) least energy of each sample

    Returns
    -------
    probabilities (unary_size,); log of the number of minimisers (N,), right on forests; marginals of a run's factors
    """
    compiled = problem.compiled
    _refuse_large(problem)
    start = compiled.variable_start.astype(np.int64)
    owner = np.repeat(np.arange(len(start) - 1), np.diff(start))
    tie = margins(least)
    lowest = np.minimum.reduceat(belief, start[:-1]) if len(belief) else belief
    tied = _within(belief, lowest[owner], tie[compiled.variable_sample[owner]])
    kept = [_tied_entries(problem, passing, run, tie) for run in range(len(problem.union.layout.kinds))]
    layout, store = _as_tables(problem.union.layout, kept)
    count = Passing(layout, Numbers(np.where(tied, 0.0, np.inf), store), minimize=False)
    steps = sequential(layout, count.operators)
    count.run(steps, 0, int(steps.start[-1]), 0.0)
    count.send()
    beliefs = count.beliefs()
    forest = compiled.sample_forest
    share = tied / np.maximum(np.bincount(owner, tied, len(start) - 1), 1.0)[owner]
    probabilities = np.where(forest[compiled.variable_sample[owner]], count.probabilities(beliefs), share)

    def joint(run: int) -> F64:
        fields = run_of(compiled, run)
        rows = np.arange(fields.size)
        incoming = [message_rows(compiled, count.to_factor, run, s, rows) for s in range(fields.arity)]
        exact = forest[compiled.variable_sample[scope_of(compiled, fields)[0]]]
        axes = (1,) * fields.arity
        counted = np.exp(-add_messages(np.zeros((fields.size, *fields.states)), incoming))
        weight = np.where(kept[run], np.where(exact.reshape(-1, *axes), counted, 1.0), 0.0)
        total = weight.sum(axis=tuple(range(1, weight.ndim)), keepdims=True)
        return weight / np.where(total > 0.0, total, 1.0)

    return probabilities, -count.free_energies(beliefs), joint


def _refuse_large(problem: Problem) -> None:
    """Raise MethodError before tables are made that would not fit."""
    compiled = problem.compiled
    runs = [run_of(compiled, r) for r in range(len(problem.union.layout.kinds))]
    entries = [run.size * math.prod(run.states) for run in runs]
    if sum(entries) > LARGEST:
        worst = int(np.argmax(entries))
        raise MethodError(
            f"at beta = inf the minimisers are counted in tables, and {problem.union.layout.kinds[worst]} over "
            f"{runs[worst].arity:,} free variables at once has {entries[worst]:.3g} entries (at most "
            f"{LARGEST:,} in all). Ask min_marginals, or for a large finite beta."
        )


def _within(energy: F64, lowest: F64, tie: F64) -> Bool:
    """Whether energies are finite and no further than `tie` above the lowest."""
    close: Bool = np.isfinite(energy) & (energy <= np.where(np.isfinite(lowest), lowest, 0.0) + tie)
    return close


def _tied_entries(problem: Problem, passing: Passing, run: int, tie: F64) -> Bool:
    """Which entries of the factors of a run have the least min-marginal, (n, *states)."""
    compiled = problem.compiled
    fields = run_of(compiled, run)
    rows = np.arange(fields.size)
    incoming = [message_rows(compiled, passing.to_factor, run, s, rows) for s in range(fields.arity)]
    energy = add_messages(run_tables(problem.union, problem.numbers, run), incoming)
    sample = compiled.variable_sample[scope_of(compiled, fields)[0]]
    return _within(
        energy,
        energy.min(axis=tuple(range(1, energy.ndim)), keepdims=True),
        tie[sample].reshape(-1, *(1,) * fields.arity),
    )


def _as_tables(layout: Layout, kept: list[Bool]) -> tuple[Layout, F64]:
    """The same layout with a table of 0 and +inf of its own for every factor."""
    compiled = layout.compiled
    field = compiled.run_field.copy()
    numbers: list[I64] = []
    at = 0
    for run, allowed in enumerate(kept):
        row = field[compiled.run_field_start[run] : compiled.run_field_start[run + 1]]
        entries = int(np.prod(row[a.RUN_HEADER + a.SLOT_STATES :: a.SLOT_FIELDS]))
        numbers.append(at + entries * np.arange(len(allowed)))
        at += allowed.size
        row[a.RUN_SHARED] = -1
        for s in range(int(row[a.RUN_ARITY])):
            entries //= int(row[a.RUN_HEADER + a.SLOT_FIELDS * s])
            row[a.RUN_HEADER + a.SLOT_FIELDS * s + a.SLOT_STRIDE] = entries
    number = np.concatenate([*numbers, np.zeros(0, np.int64)]).astype(np.uint64)
    tables = layout._replace(
        compiled=compiled._replace(run_field=field, factor_number=number), kinds=("Table",) * len(kept)
    )
    return tables, np.concatenate([*(np.where(k, 0.0, np.inf).ravel() for k in kept), np.zeros(0)])
