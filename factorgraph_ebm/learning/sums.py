"""Free terms: sums over answers at beta, and log-probabilities of right states.

    free     F = -(1/beta) log sum exp(-beta E) over all that is not given
    pieces   sum over declared factors of their own free energies, each as if it were alone; at least F is above it
    hits     log P(right state) of each labelled variable
    sites    log P(right state given the right states of all others) of each labelled variable

The slope of a free energy is the expected indicators. That of `hits` needs the second derivative of F, in one direction
u = slope / P(right state), and is found as a difference of two expectations (J. Domke, "Implicit differentiation by
perturbation", NeurIPS 2010):

    [mean indicators at (theta + r u) - mean indicators at (theta - r u)] / (2 r)

(four such expectations where answers are exact, for the error in r^4).
`pieces` is Sutton and McCallum's bound ("Piecewise training of undirected models", UAI 2005), `sites` Besag's
pseudo-likelihood.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Bool, Messages, Numbers
from factorgraph_ebm.compiler.union import Union
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.inference.conditionals import add_conditionals_transposed, conditional_energies
from factorgraph_ebm.inference.method import Start, Status
from factorgraph_ebm.inference.solving import Solved, solve_free
from factorgraph_ebm.inference.statistics import add_joint
from factorgraph_ebm.inference.tables import run_of, run_tables, scope_of
from factorgraph_ebm.learning.asking import Asking, Term, loopy
from factorgraph_ebm.losses.loss import Query

LARGEST_STEP, LEAST_STEP = 1e-1, 1e-3
"""of an energy in the perturbation of `hits`, times the largest entry of its direction: between these the fourth root
of the tolerance, since what is left of the residual of loopy messages is divided by it"""
EXACT_STEP = 1e-2
"the same where answers are exact to about 1e-13"
TWO_SIDES = ((1.0, 0.5), (-1.0, -0.5))
FOUR_SIDES = ((1.0, 2 / 3), (-1.0, -2 / 3), (2.0, -1 / 12), (-2.0, 1 / 12))
"steps and coefficients of differences, whose errors grow with the square and the fourth power of the step"
ASYMMETRY = 0.05
"of the two sides of a perturbation, from which on its result is not trusted; the relative error is about its square"
LONGEST = 1e6
"largest entry of a direction (slope / probability) beside which what other entries move is lost in rounding"
LARGEST_PIECE = 1 << 16
"entries of a factor's table up to which its own sum is made"
AT_ONCE = 1 << 20
"entries of tables that are made at once"


def free(asking: Asking, query: Query) -> Term:
    """The free energy of all that is not given."""
    solved = asking.solve_all(query)
    return Term(solved.energy, solved.accumulate, solved.status, asking.batch)


def hits(asking: Asking, query: Query) -> Term:
    """Log-probabilities of the right states of labelled variables."""
    batch, compiled = asking.batch, asking.batch.compiled
    solved = asking.solve_all(query)
    assert solved.answer.marginals is not None
    place = compiled.variable_start.astype(np.int64)[batch.labelled] + batch.target[batch.labelled]
    probability = solved.answer.marginals[place]
    with np.errstate(divide="ignore"):
        value = np.log(probability)
    unreliable = np.zeros(batch.n, bool)

    def accumulate(slope: F64, out: Numbers) -> None:
        direction = np.zeros(compiled.unary_size)
        there = probability > 0.0
        direction[place[there]] = slope[there] / probability[there]
        unreliable[:] = _perturbed(asking, query, solved, direction, out)
        unreliable[:] |= batch.by_sample(~there & (slope != 0.0)) > 0

    return Term(value, accumulate, solved.status, batch, unreliable)


def _perturbed(asking: Asking, query: Query, base: Solved, direction: F64, out: Numbers) -> Bool:
    """Add the derivative of the expected indicators along a direction of unary energies; (n,) which are unreliable."""
    batch, compiled = asking.batch, asking.batch.compiled
    sample: I64 = np.repeat(
        compiled.variable_sample.astype(np.int64), np.diff(compiled.variable_start).astype(np.int64)
    )
    largest = np.zeros(batch.n)
    np.maximum.at(largest, sample, np.abs(direction))
    settings = asking.settings(minimize=False)
    iterates = loopy(batch, settings["method"])
    if iterates:
        size = float(np.clip(settings["options"]["tolerance"] ** 0.25, LEAST_STEP, LARGEST_STEP))
    else:
        size = EXACT_STEP
    stencil = TWO_SIDES if iterates else FOUR_SIDES
    moved = (largest > 0.0) & np.isfinite(largest)
    start = None
    if iterates and base.answer.messages is not None:
        former = base.answer.messages  # another fixed point would be another function
        start = Start(None, Messages(former.to_variable, former.to_factor))
    bad: Bool = largest > LONGEST
    numbers = asking.less_cost(query)
    finite = np.where(np.isfinite(direction), direction, 0.0)

    def sides(step: F64) -> list[Solved]:
        shifts = [Numbers(numbers.unary + side * step[sample] * finite, numbers.store) for side, _ in stencil]
        return [solve_free(batch.whole, each, beta=asking.how.beta, start=start, **settings) for each in shifts]

    step = np.divide(size, largest, out=np.zeros(batch.n), where=moved)
    found = sides(step)
    uneven = moved & (_asymmetry(base, found[0], found[1], sample, batch.n) > ASYMMETRY)
    if uneven.any():
        step = np.where(uneven, 0.1 * step, step)
        found = sides(step)
        bad |= moved & (_asymmetry(base, found[0], found[1], sample, batch.n) > ASYMMETRY)
    weight = np.divide(1.0, step, out=np.zeros(batch.n), where=step > 0.0)
    for side, (_, coefficient) in zip(found, stencil):
        side.accumulate(coefficient * weight, out)
        bad |= moved & np.array([s in (Status.ITERATION_LIMIT, Status.TIME_LIMIT) for s in side.status], bool)
    return bad


def _asymmetry(base: Solved, plus: Solved, minus: Solved, sample: I64, n: int) -> F64:
    """max |mu+ + mu- - 2 mu| / max |mu+ - mu-| of each sample, 0 where nothing moved."""
    middle, high, low = base.answer.marginals, plus.answer.marginals, minus.answer.marginals
    assert middle is not None and high is not None and low is not None
    bent, moved = np.zeros(n), np.zeros(n)
    np.maximum.at(bent, sample, np.abs(high + low - 2.0 * middle))
    np.maximum.at(moved, sample, np.abs(high - low))
    return np.divide(bent, moved, out=np.zeros(n), where=bent > 1e-12)


def sites(asking: Asking, query: Query) -> Term:
    """Log-probabilities of right states given all other right states."""
    batch, union, beta = asking.batch, asking.batch.union, asking.how.beta
    if batch.latent.any():
        first = int(batch.chosen[np.argmax(batch.latent)])
        raise MethodError(
            f"a pseudo-likelihood is of samples in which all is given or labelled, and sample {first} has latent "
            'variables. Write loss="likelihood".'
        )
    start = batch.compiled.variable_start.astype(np.int64)
    owner = np.repeat(np.arange(len(start) - 1), np.diff(start))
    energy = conditional_energies(union, asking.numbers, batch.target)
    total, probability = _softmin_of(energy, start, owner, beta)
    right = start[batch.labelled] + batch.target[batch.labelled]
    with np.errstate(invalid="ignore"):
        value = np.where(np.isfinite(energy[right]), beta * (total[batch.labelled] - energy[right]), -np.inf)

    def accumulate(slope: F64, out: Numbers) -> None:
        of_variable = np.zeros(len(start) - 1)
        of_variable[batch.labelled] = beta * slope
        gradient = of_variable[owner] * probability
        gradient[right] -= of_variable[batch.labelled]
        add_conditionals_transposed(union, asking.numbers, batch.target, gradient, out)

    return Term(value, accumulate, (Status.OPTIMAL,) * batch.n, batch)


def pieces(asking: Asking, query: Query) -> Term:
    """Free energies of declared factors by themselves, of each variable's unary energies, of what is in no factor."""
    batch, beta = asking.batch.apart, asking.how.beta
    union, compiled = batch.union, batch.compiled
    numbers = batch.bind(asking.values)
    sample = compiled.variable_sample.astype(np.int64)
    value = np.zeros(batch.n)
    unary = numbers.unary.copy()
    start = compiled.variable_start.astype(np.int64)
    alone = np.ones(len(sample), bool)
    singles = np.zeros(len(sample), bool)
    for run in range(len(union.layout.kinds)):
        scope = scope_of(compiled, run_of(compiled, run))
        for first, tables in _tables(asking, batch.union, numbers, run):
            rows = scope[:, first : first + len(tables)]
            if len(rows) == 1:
                np.add.at(unary, start[rows[0]][:, None] + np.arange(tables.shape[1]), tables)
            else:
                energy, _ = _softmin(tables, beta)
                value += np.bincount(sample[rows[0]], energy, batch.n)
        if len(scope) == 1:
            singles[scope[0]] = True
        else:
            alone[scope] = False
    taken = alone | singles
    owner = np.repeat(np.arange(len(sample)), np.diff(start))
    energy, probability = _softmin_of(unary, start, owner, beta)
    value += np.bincount(sample[taken], energy[taken], batch.n)

    def accumulate(slope: F64, out: Numbers) -> None:
        slope = np.where(value < np.inf, slope, 0.0)
        out.unary[:] += np.where(taken, slope[sample], 0.0)[owner] * probability
        for run in range(len(union.layout.kinds)):
            scope = scope_of(compiled, run_of(compiled, run))
            for first, tables in _tables(asking, batch.union, numbers, run):
                rows = scope[:, first : first + len(tables)]
                if len(rows) == 1:
                    joint = probability[start[rows[0]][:, None] + np.arange(tables.shape[1])]
                else:
                    _, joint = _softmin(tables, beta)
                add_joint(union, numbers, run, joint, slope[sample[rows[0]]], out, first=first)

    return Term(value, accumulate, (Status.OPTIMAL,) * batch.n, batch)


def _tables(asking: Asking, union: Union, numbers: Numbers, run: int) -> Iterator[tuple[int, F64]]:
    """The tables of the factors of a run (n, *states), some at a time, with the number of the first of these."""
    fields = run_of(union.compiled, run)
    entries = math.prod(fields.states)
    if entries > LARGEST_PIECE:
        raise MethodError(
            f"a piece is summed by its table, and one of {union.layout.kinds[run]} over {len(fields.states)} variables "
            f"has {entries:.3g} entries (at most {LARGEST_PIECE:,}). Write loss=\"likelihood\"."
        )
    step = max(1, AT_ONCE // entries)
    for first in range(0, fields.size, step):
        yield first, run_tables(union, numbers, run, np.arange(first, min(first + step, fields.size)))


def _softmin(tables: F64, beta: float) -> tuple[F64, F64]:
    """-(1/beta) log sum exp(-beta E) of each table, and its probabilities; +inf and zeros where all is forbidden.

    `tables` (n, *states); where all are one, as a shared table is, the sum is made once.
    """
    n = len(tables)
    tables = (tables[:1] if tables.strides[0] == 0 else tables).reshape(-1, math.prod(tables.shape[1:]))
    least = tables.min(axis=1, keepdims=True)
    there = np.isfinite(least)
    weight = np.exp(-beta * (tables - np.where(there, least, 0.0)))
    total = weight.sum(axis=1, keepdims=True)
    safe = np.where(there, total, 1.0)
    energy = np.where(there, least - np.log(safe) / beta, np.inf)[:, 0]
    return np.broadcast_to(energy, n), np.broadcast_to(weight / safe, (n, tables.shape[1]))


def _softmin_of(unary: F64, start: I64, owner: I64, beta: float) -> tuple[F64, F64]:
    """The same of the states of each variable, (V,) and (unary_size,)."""
    least = np.minimum.reduceat(unary, start[:-1])
    there = np.isfinite(least)
    weight = np.exp(-beta * (unary - np.where(there, least, 0.0)[owner]))
    safe = np.where(there, np.add.reduceat(weight, start[:-1]), 1.0)
    return np.where(there, least - np.log(safe) / beta, np.inf), weight / safe[owner]
