"""The slopes of the losses of some samples, each by itself: what methods that go sample by sample learn from.

    L_s(w') >= L_s(w) + g_s . (w' - w),     g_s = sum over queries of slope_s * d answer_s / d w

The samples are answered together, as one union; only then are they told apart. Where an answer is the energy of one
assignment, its slopes are the numbers that this reads, each with the sample that reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Numbers
from factorgraph_ebm.factors import STRUCTURES
from factorgraph_ebm.inference.number_maps import read_numbers
from factorgraph_ebm.inference.statistics import add_indicators, zeros
from factorgraph_ebm.inference.tables import run_of, scope_of
from factorgraph_ebm.learning.batch import Batch
from factorgraph_ebm.learning.evaluate import Asked, Problem, ask_batch
from factorgraph_ebm.learning.optimizers.products import dot
from factorgraph_ebm.learning.oracle import Evaluation, Plane


def planes_of(problem: Problem, w: F64, samples: I64, *, update: int = 0) -> tuple[list[Plane], Evaluation]:
    """The plane of each of these samples at w (n_free,), and what `evaluate` says of them, but for the gradient.

    A sample of weight 0 has no slope. Raises as `evaluate`.
    """
    values = problem.layout.values(w)
    batch = problem.kept.batch(samples)
    asked = ask_batch(problem, batch, values, update)
    there = asked.weight != 0.0
    pull = _apart(asked, values) if all(term.states is not None for term in asked.terms) else _one_by_one(asked, values)
    planes = []
    for i, loss in enumerate(asked.losses.tolist()):
        gradient = problem.layout.gradient()
        if there[i]:
            pull(i, gradient)
        slopes = gradient.vector()
        support = np.flatnonzero(slopes != 0.0)  # of bools: five times as fast
        slopes = slopes[support]
        planes.append(Plane(loss, support, slopes, loss - dot(slopes, w[support])))
    return planes, Evaluation(asked.losses, np.zeros(0), asked.unconverged(), asked.infeasible())


def _one_by_one(asked: Asked, values: Mapping[str, F64]) -> Callable[[int, Mapping[str, F64]], None]:
    """What adds the gradient of one sample: every answer adds slopes for it alone."""

    def pull(sample: int, into: Mapping[str, F64]) -> None:
        alone = np.zeros(asked.batch.n)
        alone[sample] = 1.0
        out: dict[int, tuple[Batch, Numbers]] = {}
        for term, slope in zip(asked.terms, asked.slopes):
            _, numbers = out.setdefault(id(term.batch), (term.batch, zeros(term.batch.union)))
            term.accumulate(asked.weigh(slope, alone), numbers)
        for of, numbers in out.values():
            of.pull_one(sample, values, numbers, into)

    return pull


def _apart(asked: Asked, values: Mapping[str, F64]) -> Callable[[int, Mapping[str, F64]], None]:
    """The same where all answers are energies of assignments."""
    batch, union, compiled = asked.batch, asked.batch.union, asked.batch.compiled
    unary = np.zeros(compiled.unary_size)
    elements, slopes, samples = [np.zeros(0, np.int64)], [np.zeros(0)], [np.zeros(0, np.int64)]
    judged = batch.judged.astype(np.float64)
    for term, slope in zip(asked.terms, asked.slopes):
        assert term.states is not None
        weight = np.where(term.value < np.inf, asked.weigh(slope, judged), 0.0)
        add_indicators(compiled.variable_start, compiled.variable_sample, term.states, weight, unary)
        for run, kind in enumerate(union.layout.kinds):
            if not STRUCTURES[kind].has_numbers:
                continue
            scope = scope_of(compiled, run_of(compiled, run))
            element, coefficient = read_numbers(union, asked.numbers, run, term.states[scope])
            sample = compiled.variable_sample[scope[0]].astype(np.int64)
            share = weight[sample] * coefficient
            read = share != 0.0
            elements.append(element[read])
            slopes.append(share[read])
            samples.append(sample[read])
    sample = np.concatenate(samples)
    order = np.argsort(sample, kind="stable")
    element, share = np.concatenate(elements)[order], np.concatenate(slopes)[order]
    start = np.searchsorted(sample[order], np.arange(batch.n + 1)).tolist()

    def pull(sample: int, into: Mapping[str, F64]) -> None:
        own: I64 = element[start[sample] : start[sample + 1]]
        store = np.zeros(compiled.store_size)
        np.add.at(store, own, share[start[sample] : start[sample + 1]])
        batch.pull_one(sample, values, Numbers(unary, store), into)

    return pull
