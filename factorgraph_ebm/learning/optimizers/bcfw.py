"""Block-coordinate Frank-Wolfe: exact steps in the dual of a margin loss with l2, one sample at a time.

    primal   min over w of sum_i c_i L_i(w) + sum_j s_j w_j^2                         c_i = weight_i / P
    dual     max over mixtures (a_i, b_i) of planes of each L_i of sum_i c_i b_i - sum_j s_j w_j^2
             where w_j = -(1 / 2 s_j) sum_i c_i a_ij

A step mixes one new plane into the mixture of its sample with the share that raises the dual most, so there is no
learning rate, and the dual is a bound of the optimum (Lacoste-Julien, Jaggi, Schmidt and Pletscher, "Block-coordinate
Frank-Wolfe optimization for structural SVMs", ICML 2013). Any plane of a loss will do, wherever it was found: so those
of a few samples are asked for at once, which takes far less time than one after another, and all that an epoch has
found are mixed again at its end, which asks for none (Shah, Kolmogorov and Lampert, "A multi-plane block-coordinate
Frank-Wolfe algorithm for training structural SVMs with a costly max-oracle", CVPR 2015). Each mixture starts from the
plane 0: losses are >= 0. What is answered is the last w or the average with weight t of the t-th, whichever had the
lower objective when both were last compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from factorgraph_ebm._jit import F8, I8, NOTHING, READ_F8, READ_I8, REAL, SIZE, kernel
from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.formats.text import bytes_in_words
from factorgraph_ebm.learning.optimizers.optimizer import Optimizer
from factorgraph_ebm.learning.oracle import Oracle, Plane, Regularizer, minibatches, objective, report_of

_ENTRY = 16
"bytes of an element of a stored plane: its place and its value"
CLOSED = 1e-3
"gap over objective at which there is nothing more to be gained"
STALLED = 0.1
"""by how much of itself the objective must fall from one comparison to the next: with little l2 the gap closes slowly,
long after what is learned has come to rest"""
MANY = 10_000
"steps between two comparisons from which on a small fall says that all is at rest: with fewer, epochs cost little"


class BcfwState(NamedTuple):
    w: F64
    late: F64
    "(n_free,) sum over steps t of t (t - 1) / 2 * change of w: what the average lacks"
    start: I64
    "(n_samples + 1,) where the mixture of each sample begins in `support` and `values`"
    support: I64
    values: F64
    offsets: F64
    "(n_samples,)"
    steps: int
    epoch: int
    loss: float
    "mean at the answer, when it was last computed"
    objective: float
    "of the answer, when it was last computed"
    met_loss: float
    "mean over the last epoch, of each sample when its plane was found"
    met_objective: float
    compared: bool
    "the objective of the answer was computed after the last epoch"
    bound: float
    "value of the dual"
    averaged: bool
    "the answer is the average, not w"
    exact: bool
    "inference is, so that the bound is one"
    finished: bool


def bcfw(
    gap_tolerance: float | None = None, check_every: int = 5, memory: int = 2**30, batch_size: int = 16,
    passes: int = 3,
) -> Optimizer:  # fmt: skip
    """Dual steps, one sample at a time, for maxima of affine functions with l2; needs no learning rate.

    It begins at w = 0, where the mixture of no plane is, whatever the initial parameters.

    Parameters
    ----------
    gap_tolerance : finished where objective - bound <= gap_tolerance * objective; None: where it is 1e-3, or where the
        objective has fallen by less than a tenth since it was last computed, and at least 10,000 steps were made since
    check_every : epochs between two computations of the objective, which cost two passes over the samples; there is
        another as soon as the steps themselves suggest that the gap is closed
    memory : bytes that the stored planes may take, one for each sample
    batch_size : samples whose planes are found at once, at the same w: more are faster, and fewer need less epochs
    passes : over the planes of an epoch at its end

    Raises
    ------
    MethodError : an option out of its range; while it runs, the planes would take more than `memory`.

    Examples
    --------
    >>> from factorgraph_ebm.learning.optimizers.optimizer import run
    >>> from factorgraph_ebm.learning.oracle import from_slopes
    >>> from factorgraph_ebm.learning.regularizers import VectorLayout, l2
    >>> x, y = np.array([[1.0, 2.0], [2.0, 0.5], [-1.0, -1.0]]), np.array([1.0, -1.0, 1.0])
    >>> def hinge(w, samples):
    ...     margin = y[samples] * (x[samples] @ w)
    ...     return np.maximum(0.0, 1.0 - margin), (margin < 1.0)[:, None] * -y[samples, None] * x[samples]
    >>> oracle = from_slopes(hinge, [0.0, 0.0], n_samples=3)
    >>> optimizer = bcfw(gap_tolerance=1e-6)
    >>> state = run(optimizer, oracle, l2(0.1).bind(VectorLayout(2)))
    >>> state.objective - state.bound <= 1e-6 * state.objective
    True
    """
    if not ((gap_tolerance is None or gap_tolerance >= 0.0) and check_every >= 1 and memory > 0):
        raise MethodError(
            f"bcfw needs gap_tolerance >= 0, check_every >= 1 and memory > 0, not {gap_tolerance!r}, {check_every!r} "
            f"and {memory!r}."
        )
    if not (batch_size >= 1 and passes >= 0):
        raise MethodError(f"bcfw needs batch_size >= 1 and passes >= 0, not {batch_size!r} and {passes!r}.")
    tolerance = CLOSED if gap_tolerance is None else gap_tolerance

    def init(oracle: Oracle, regularizer: Regularizer) -> BcfwState:
        n, count = len(oracle.start), oracle.n_samples
        none = np.zeros(0)
        return BcfwState(
            np.zeros(n), np.zeros(n), np.zeros(count + 1, np.int64), none.astype(np.int64), none, np.zeros(count),
            0, 0, np.nan, np.nan, np.nan, np.nan, False, 0.0, True, "exact" in oracle.traits, False,
        )  # fmt: skip

    def update(state: BcfwState, oracle: Oracle, regularizer: Regularizer) -> BcfwState:
        inverse = 0.5 / _strengths(regularizer)
        w, late, offsets, steps = state.w.copy(), state.late.copy(), state.offsets.copy(), state.steps
        ends, values = state.start.tolist(), state.values.copy()
        mixtures = [(state.support[low:high], values[low:high]) for low, high in zip(ends, ends[1:])]
        took, ahead, found = np.zeros(2), np.zeros(oracle.n_samples), dict[int, F64]()
        share = oracle.weights / max(1, oracle.n_samples)
        room, total, open_gap, met = memory - _ENTRY * ends[-1], 0.0, 0.0, 0
        for i, plane in _planes(oracle, state.epoch, w, share, batch_size):
            met += 1
            c = float(share[i])
            support, new, old = _common(plane, *mixtures[i])
            room -= _ENTRY * (len(support) - len(mixtures[i][0]))
            if room < 0:
                likely = (memory - room) * oracle.n_samples / (met if state.epoch == 0 else oracle.n_samples)
                raise MethodError(
                    f"bcfw keeps a plane for each of the {oracle.n_samples:,} samples: about {bytes_in_words(likely)}, "
                    f"more than memory={memory:,}. Raise memory, or use sgd(average=True) or cutting_plane()."
                )
            mixtures[i] = support, old
            steps += 1
            _mix(support, new, old, inverse, c, plane.offset - offsets[i], 0.5 * steps * (steps - 1), w, late, took)
            part, rise = took.tolist()
            offsets[i] += part * (plane.offset - offsets[i])
            total += c * plane.loss
            open_gap += c * max(rise, 0.0)
            ahead[i], found[i] = plane.offset, new
        start = np.cumsum([0] + [len(support) for support, _ in mixtures], dtype=np.int64)
        support = np.concatenate([support for support, _ in mixtures] or [state.support])
        values = np.concatenate([values for _, values in mixtures] or [state.values])
        if passes and found:
            chosen, each = np.array(list(found)), [found.get(i, values[low:high]) for i, (low, high) in _ranges(start)]
            _mix_again(
                np.tile(chosen, passes), start, support, np.concatenate(each), values, ahead, offsets, share, inverse,
                float(steps), w, late, took,
            )  # fmt: skip
            steps += passes * len(chosen)
        # Anew from the planes: the sum of so many small steps has drifted, and the bound must be theirs.
        spread = np.repeat(share, np.diff(start)) * values
        w = -inverse * np.bincount(support, weights=spread, minlength=len(w))
        bound = float(np.sum(share * offsets)) - regularizer.value(w)
        state = state._replace(
            w=w, late=late, start=start, support=support, values=values, offsets=offsets, steps=steps,
            epoch=state.epoch + 1, bound=bound, met_loss=total, met_objective=total + regularizer.value(w),
            compared=False,
        )  # fmt: skip
        closed, due = open_gap <= tolerance * state.met_objective, state.epoch % check_every == 0
        return _compare(state, oracle, regularizer, due=due) if closed or due else state

    def _compare(state: BcfwState, oracle: Oracle, regularizer: Regularizer, *, due: bool) -> BcfwState:
        last = objective(oracle, regularizer, state.w)
        mean = objective(oracle, regularizer, _average(state))
        averaged = mean.value <= last.value
        answer = mean if averaged else last
        many = gap_tolerance is None and due and check_every * (1 + passes) * oracle.n_samples >= MANY
        stalled = many and state.objective - answer.value <= STALLED * abs(answer.value)
        return state._replace(
            loss=answer.loss,
            objective=answer.value,
            averaged=averaged,
            compared=True,
            finished=stalled or answer.value - state.bound <= tolerance * abs(answer.value),
        )

    return Optimizer(
        "bcfw",
        init,
        update,
        best=lambda state: _average(state) if state.averaged else state.w,
        finished=lambda state: bool(state.finished),
        report=_report,
        needs=frozenset({"piecewise_linear", "convex", "linear", "fully_labelled", "l2", "unbounded"}),
        updates=200,
        from_start=False,
    )


def _planes(oracle: Oracle, epoch: int, w: F64, share: F64, size: int) -> Iterator[tuple[int, Plane]]:
    """The planes of all samples with a share, each of w as it is when its minibatch begins."""
    for batch in minibatches(oracle, epoch, size):
        counted = batch[share[batch] != 0.0]
        if len(counted):
            yield from zip(counted.tolist(), oracle.planes(w, counted))


def _strengths(regularizer: Regularizer) -> F64:
    if regularizer.l2 is None or not (regularizer.l2 > 0.0).all():
        raise MethodError("bcfw divides by the strength of l2: write regularizer=l2(strength) over all parameters.")
    return regularizer.l2


# A step touches a few hundred entries: as calls of NumPy it would take longer than many an oracle.
@kernel(NOTHING, READ_I8, READ_F8, F8, READ_F8, REAL, REAL, REAL, F8, F8, F8)
def _mix(support, new, old, inverse, c, ahead, lateness, w, late, took):  # type: ignore[no-untyped-def]
    """Mix a plane into the mixture `old` of its sample, and move w along.

    `ahead` is the offset of the plane less that of the mixture. Writes the share of the new plane, and by how much this
    exceeds the mixture at w, to `took`.
    """
    rise, steepness = ahead, 0.0
    for k in range(np.uint64(len(support))):
        j = np.uint64(support[k])
        step = new[k] - old[k]
        rise += step * w[j]
        steepness += step * step * inverse[j]
    part = 0.0
    if rise > 0.0:
        part = rise / (c * steepness) if rise < c * steepness else 1.0
    for k in range(np.uint64(len(support))):
        j = np.uint64(support[k])
        step = part * (new[k] - old[k])
        old[k] += step
        change = -c * step * inverse[j]
        w[j] += change
        late[j] += lateness * change
    took[0] = part
    took[1] = rise


def _ranges(start: I64) -> Iterator[tuple[int, tuple[int, int]]]:
    bounds = start.tolist()
    return enumerate(zip(bounds, bounds[1:]))


@kernel(NOTHING, READ_I8, READ_I8, READ_I8, READ_F8, F8, READ_F8, F8, READ_F8, READ_F8, REAL, F8, F8, F8)
def _mix_again(order, start, support, new, old, ahead, offsets, share, inverse, steps, w, late, took):  # type: ignore[no-untyped-def]
    """Mix the planes that were found once more, in this order; `ahead` are their offsets."""
    for n in range(len(order)):
        i = order[n]
        a, b = start[i], start[i + 1]
        steps += 1.0
        lateness = 0.5 * steps * (steps - 1.0)
        rest = ahead[i] - offsets[i]
        _mix(support[a:b], new[a:b], old[a:b], inverse, share[i], rest, lateness, w, late, took)
        offsets[i] += took[0] * rest


def _common(plane: Plane, support: I64, values: F64) -> tuple[I64, F64, F64]:
    """Entries of either, and the slopes there of a plane and of a mixture."""
    if len(support) == len(plane.support) and np.array_equal(support, plane.support):
        return support, np.ascontiguousarray(plane.values), values
    if not len(support):
        return plane.support, np.ascontiguousarray(plane.values), np.zeros(len(plane.support))
    union = np.empty(len(support) + len(plane.support), np.int64)
    new, old = np.empty(len(union)), np.empty(len(union))
    count = _merge(plane.support, np.ascontiguousarray(plane.values), support, values, union, new, old)
    return union[:count].copy(), new[:count].copy(), old[:count].copy()


@kernel(SIZE, READ_I8, READ_F8, READ_I8, READ_F8, I8, F8, F8)
def _merge(support, values, held, mixture, union, new, old):  # type: ignore[no-untyped-def]
    """Write the entries of both ascending supports, and the values of either there; how many there are."""
    i, j, k = 0, 0, 0
    while i < len(support) or j < len(held):
        here = support[i] if i < len(support) else held[j]
        there = held[j] if j < len(held) else here
        union[k] = min(here, there)
        new[k] = old[k] = 0.0
        if i < len(support) and here <= there:
            new[k] = values[i]
            i += 1
        if j < len(held) and there <= here:
            old[k] = mixture[j]
            j += 1
        k += 1
    return k


def _average(state: BcfwState) -> F64:
    t = state.steps
    return state.w - state.late * (2.0 / (t * (t + 1.0))) if t else state.w


def _report(state: BcfwState) -> Mapping[str, float]:
    prefix = "" if state.exact else "working_"
    if not state.compared:
        return report_of(loss=state.met_loss, objective=state.met_objective, **{f"{prefix}bound": state.bound})
    figures = {f"{prefix}bound": state.bound, f"{prefix}gap": state.objective - state.bound}
    return report_of(loss=state.loss, objective=state.objective, **figures)
