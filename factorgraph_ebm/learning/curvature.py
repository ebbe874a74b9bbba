"""How much a loss bends along each parameter, before anything is known but features: what scales the first steps.

    h_j = beta sum over samples s of weight_s sum over numbers i of (d number_i / d w_j)^2 variance_i

That is the diagonal of the Hessian of a likelihood where every factor, and every variable, stands alone and has all of
its answers equally likely: the variance is that of the indicator of what is read, (1/K)(1 - 1/K) for one of K states,
and entries that read one number count as independent. As a metric it depends on the data alone, not on where the
optimiser is. At the answers that are found the curvature of rare events nearly vanishes, and steps scaled by that go
too far: equal probabilities bound it from above, as in Böhning, "Multinomial logistic regression algorithm", Annals of
the Institute of Statistical Mathematics 44(1), 1992.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Numbers
from factorgraph_ebm.compiler.binding import pull
from factorgraph_ebm.factors import STRUCTURES
from factorgraph_ebm.graph.expressions import Constant, RealNumbers
from factorgraph_ebm.graph.linear import Linear
from factorgraph_ebm.graph.parameters import Parameter
from factorgraph_ebm.graph.parametrisation import Parametrisation, Stacked
from factorgraph_ebm.inference.number_maps import LARGEST_MAP, entry_map, numbers_of
from factorgraph_ebm.inference.statistics import zeros
from factorgraph_ebm.inference.tables import run_of, scope_of
from factorgraph_ebm.learning.batch import Batch
from factorgraph_ebm.learning.evaluate import Problem


def curvature_of(problem: Problem) -> F64 | None:
    """About the second derivatives of the sum of weight * loss along each entry of w, (n_free,); None: not known.

    It is not known where numbers are functions of more than one parameter, or not linear, and where a structure has
    too many answers to be asked for each.
    """
    values, total = problem.layout.values(problem.layout.start), problem.layout.gradient()
    scale = problem.inference.beta if math.isfinite(problem.inference.beta) else 1.0
    for batch in problem.blocks:
        weight = np.where(batch.judged, scale * problem.weights[batch.chosen], 0.0)
        if not _add(batch, values, weight, total):
            return None
    return total.vector()


def _add(batch: Batch, values: Mapping[str, F64], weight: F64, into: Mapping[str, F64]) -> bool:
    """Add the curvature of some samples; False where it is not known."""
    sources = batch.sources
    read = [{**values, **batch.reals[each.sample]} if batch.reals[each.sample] else values for each in sources.sources]
    squared = [squared_source(each.source, here) for each, here in zip(sources.sources, read)]
    numbers = _variances(batch, weight)
    if numbers is None or any(each is None for each in squared):
        return False
    for direct in sources.direct:
        direct.pull_squares(values, numbers.unary, into)
    folds = [
        fold._replace(table=fold.table._replace(coefficient=fold.table.coefficient**2)) for fold in sources.folds
    ]
    pull(folds, batch.states, numbers.unary, numbers.store)
    for each, source, here in zip(sources.sources, squared, read):
        assert source is not None
        rows = np.concatenate([numbers.store[place] for place in each.places]).reshape(each.rows, each.width)
        source.pullback(here, slice(0, each.rows), rows, into)
    return True


def squared_source(source: Parametrisation, values: Mapping[str, F64]) -> Parametrisation | None:
    """A source whose pullback is that of `source` with every derivative squared; None: there is none.

    Examples
    --------
    >>> from factorgraph_ebm.graph.parameters import Parameter
    >>> W = Parameter("W", shape=(2, 1))
    >>> into = {"W": np.zeros((2, 1))}
    >>> squared = squared_source(Linear([[1.0, -3.0]], W), {})
    >>> squared.pullback({}, slice(0, 1), np.ones((1, 1)), into)
    >>> into["W"].tolist()
    [[1.0], [9.0]]
    """
    if not source.parameters or isinstance(source, (Parameter, Constant, RealNumbers)):
        return source
    if isinstance(source, Stacked):
        parts = [squared_source(each, values) for each in source.sources]
        known = [each for each in parts if each is not None]
        return Stacked(known, source.shape[1]) if len(known) == len(parts) else None
    if not isinstance(source, Linear) or not isinstance(source.W, Parameter):
        return None
    if source.x is None:
        return Linear(source.matrix.multiply(source.matrix), source.W)
    return None if source.x.parameters else Linear(source.x.evaluate(values) ** 2, source.W)


def _variances(batch: Batch, weight: F64) -> Numbers | None:
    """weight (n,) of samples * the variance of what is read of each number; None: not known."""
    union, compiled = batch.union, batch.compiled
    found = zeros(union)
    k: I64 = np.diff(compiled.variable_start.astype(np.int64)).astype(np.int64)
    of_state = weight[compiled.variable_sample] * (1.0 - 1.0 / k) / k
    found.unary[:] = np.repeat(of_state, k)
    for run, kind in enumerate(union.layout.kinds):
        fields = run_of(compiled, run)
        if not STRUCTURES[kind].has_numbers or not fields.size:
            continue
        own = _variances_of_run(batch, run)
        if own is None:
            return None
        share = weight[compiled.variable_sample[scope_of(compiled, fields)[0]]]
        if fields.shared >= 0:
            found.store[fields.shared : fields.shared + len(own)] += share.sum() * own
        else:
            number = numbers_of(union, fields)
            np.add.at(found.store, number[:, None] + np.arange(len(own)), share[:, None] * own)
    return found


def _variances_of_run(batch: Batch, run: int) -> F64 | None:
    """Of coefficient * indicator of each number in the row of a factor, all of its answers equally likely."""
    fields = run_of(batch.compiled, run)
    entries = entry_map(batch.union, run) if math.prod(fields.states) <= LARGEST_MAP else None
    if entries is None:
        return None
    strides, table = entries
    element: I64 = np.array(strides) @ np.indices(fields.states).reshape(len(fields.states), -1)
    if table is None:
        index, coefficient = element, np.ones(len(element))
    else:
        index, coefficient = table.index[element], table.coefficient[element]
    read = coefficient != 0.0
    count = np.bincount(index[read], coefficient[read]) / len(element)
    square = np.bincount(index[read], coefficient[read] ** 2) / len(element)
    variance: F64 = square - count**2
    return variance
