"""The loop that trains: updates until the optimiser has finished, with what is told, kept and written on the way.

Nothing of the loop's own decides on parameters but the number of updates and the best validation: a run that is
resumed from its checkpoint goes on, bit for bit, as one that was never interrupted.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import CollapseWarning, ConvergenceWarning, MethodError
from factorgraph_ebm.learning.asking import Asking
from factorgraph_ebm.learning.batch import Batch
from factorgraph_ebm.learning.checkpoints import read_checkpoint, write_checkpoint
from factorgraph_ebm.learning.evaluate import Problem, evaluate
from factorgraph_ebm.learning.optimizers.optimizer import Optimizer, State
from factorgraph_ebm.learning.oracle import Evaluation, Oracle, Regularizer
from factorgraph_ebm.learning.terms import ask
from factorgraph_ebm.losses.loss import Query

Row = dict[str, float]
"what is known after an update, by name"
WATCHED = 256
"samples whose gap is followed"
COLLAPSED = 1e-3
"gap over the spread of energies below which a model tells answers apart no more"


class Settings(NamedTuple):
    """How to train, apart from the optimiser."""

    updates: int | None = None
    "at most; None: as many as the optimiser says"
    validation: Callable[[F64], float] | None = None
    "parameters -> how bad they are on other samples"
    patience: int | None = None
    "updates without a better validation after which to stop"
    callbacks: Sequence[Callable[[Row], Any]] = ()
    "each is told a row after its update; one that returns True stops the training"
    checkpoint: str | os.PathLike[str] | None = None
    every: int = 10
    "updates from one checkpoint to the next"
    fingerprint: str = ""
    "of the problem: a checkpoint of another one is refused"
    progress: bool = False


class Trained(NamedTuple):
    """What training found."""

    w: F64
    history: list[Row]
    unconverged: int
    "samples whose inference had not converged at the last update"
    reason: str
    "why it stopped"


class Counting:
    """An oracle's evaluations, counted: how many samples did not converge, which were infeasible."""

    def __init__(self, oracle: Oracle) -> None:
        self.unconverged = 0
        self.asked = 0
        self.oracle = oracle._replace(evaluate=self._evaluate)
        self._inner = oracle.evaluate

    def _evaluate(self, w: F64, samples: Any) -> Evaluation:
        found = self._inner(w, samples)
        self.unconverged += found.unconverged
        self.asked += len(found.losses)
        return found


def train(problem: Problem, oracle: Oracle, optimizer: Optimizer, regularizer: Regularizer, how: Settings) -> Trained:
    """Update until finished, stopped, or out of patience.

    Raises
    ------
    MethodError : the objective became NaN or infinite; the message names the sample.
    FormatError : the checkpoint is of another problem.
    """
    counting = Counting(oracle)
    limit = optimizer.updates if how.updates is None else how.updates
    state, history, best = _begin(counting.oracle, optimizer, regularizer, how)
    began = time.perf_counter() - (history[-1]["seconds"] if history else 0.0)
    bar = _Bar(limit, len(history)) if how.progress else None
    reason = "the limit of updates"
    gap = _Gap(problem)
    try:
        while len(history) < limit:
            if optimizer.finished(state):
                reason = "finished"
                break
            before, counting.unconverged, counting.asked = state, 0, 0
            state = optimizer.update(state, counting.oracle, regularizer)
            row: Row = {"update": float(len(history) + 1), **optimizer.report(state)}
            _refuse_nan(problem, optimizer.best(state), row, optimizer.best(before))
            last = len(history) + 1 == limit or optimizer.finished(state)
            if _is_power_of_two(len(history) + 1) or last:
                row["gap"], row["spread"] = gap.of(optimizer.best(state))
            row["unconverged"], row["seconds"] = float(counting.unconverged), time.perf_counter() - began
            if how.validation is not None:
                row["validation"] = how.validation(optimizer.best(state))
                if best is None or row["validation"] < best[0]:
                    best = row["validation"], optimizer.best(state), len(history) + 1
            history.append(row)
            if how.checkpoint is not None and (len(history) % how.every == 0 or last):
                _write(how, state, history, best)
            if bar is not None:
                bar.show(row)
            stops = [callback(row) is True for callback in how.callbacks]  # each is told, whatever others say
            if any(stops):
                reason = "a callback"
                break
            if how.patience is not None and best is not None and len(history) - best[2] >= how.patience:
                reason = "patience"
                break
        else:
            if limit and optimizer.finished(state):
                reason = "finished"
    except KeyboardInterrupt:
        reason = "interrupted"
        warnings.warn(
            f"interrupted after {len(history)} updates: the parameters are the best so far.", ConvergenceWarning,
            stacklevel=4,
        )  # fmt: skip
    finally:
        if bar is not None:
            bar.close()
    w = optimizer.best(state) if best is None else best[1]
    _warn_of_collapse(problem, history)
    return Trained(np.array(w), history, int(history[-1]["unconverged"]) if history else 0, reason)


Best = tuple[float, F64, int]
"the least validation, its parameters, its update"


def _begin(
    oracle: Oracle, optimizer: Optimizer, regularizer: Regularizer, how: Settings
) -> tuple[State, list[Row], Best | None]:
    """The state to begin with: that of the checkpoint, where there is one."""
    state = optimizer.init(oracle, regularizer)
    if how.checkpoint is None or not os.path.exists(how.checkpoint):
        return state, [], None
    like = (state, _Kept(state.w, 0.0, 0))
    (state, kept), header = read_checkpoint(how.checkpoint, like, fingerprint=how.fingerprint)
    best = (kept.validation, kept.w, kept.update) if kept.update else None
    history = [{name: float.fromhex(value) for name, value in row.items()} for row in header["history"]]
    return state, history, best


class _Kept(NamedTuple):
    w: F64
    validation: float
    update: int


def _write(how: Settings, state: State, history: list[Row], best: Best | None) -> None:
    assert how.checkpoint is not None
    kept = _Kept(state.w, 0.0, 0) if best is None else _Kept(best[1], best[0], best[2])
    told = [{name: float(value).hex() for name, value in row.items()} for row in history]
    write_checkpoint(how.checkpoint, (state, kept), {"fingerprint": how.fingerprint, "history": told})


def _refuse_nan(problem: Problem, w: F64, row: Row, before: F64) -> None:
    figures = [row[name] for name in ("loss", "objective", "gradient_norm") if name in row]
    if np.isfinite(w).all() and all(math.isfinite(figure) for figure in figures):
        return
    update = int(row["update"])
    advice = "Lower the learning rate, or bound what may grow without end."
    if not np.isfinite(w).all():
        place = int(np.argmax(~np.isfinite(w)))
        name = max(
            (each for each in problem.layout.offset if problem.layout.offset[each] <= place),
            key=lambda each: problem.layout.offset[each],
        )
        with np.errstate(all="ignore"):
            losses = evaluate(problem, before).losses
        worst = int(np.argmax(np.where(np.isfinite(losses), losses, np.inf)))
        raise MethodError(
            f'parameter "{name}" became {w[place]} in update {update}; before it, the loss was largest in sample '
            f"{worst} ({losses[worst]:.4g}). {advice}"
        )
    with np.errstate(all="ignore"):
        losses = evaluate(problem, w).losses
    bad = np.flatnonzero(~np.isfinite(losses))
    if len(bad):
        factor = _largest_factor(problem, w, int(bad[0]))
        raise MethodError(
            f"the loss of sample {bad[0]} became {losses[bad[0]]} in update {update}; its largest energies are those "
            f"of factor {factor}. {advice}"
        )
    raise MethodError(f"the objective became {figures} in update {update}. {advice}")


def _largest_factor(problem: Problem, w: F64, sample: int) -> str:
    """The key of the declaration whose numbers are largest in a sample."""
    graph, values = problem.data.graphs[sample], {**problem.layout.values(w), **problem.data.given[sample].reals}
    largest, found = -1.0, ""
    for key, factor in zip(graph.keys, graph.factors):
        if factor.slots:
            numbers = np.abs(factor.slots[0].source.evaluate(values))
            size = float(np.max(numbers, where=numbers < np.inf, initial=0.0))
            if not size <= largest:
                largest, found = size, f'"{key}"'
    return found


class _Gap:
    """How far the best wrong answer lies above the right one, on some samples that stay the same."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.batch: Batch | None = None

    def of(self, w: F64) -> tuple[float, float]:
        """The mean of E_wrong - E_right over the samples that have a wrong answer, and the spread of energies; NaN."""
        problem = self.problem
        if self.batch is None:
            n = len(problem.data.graphs)
            self.batch = Batch(problem.data, np.unique(np.linspace(0, n - 1, min(n, WATCHED)).astype(np.int64)))
        how = problem.inference._replace(latent_beta=math.inf)
        asking = Asking(self.batch, problem.layout.values(w), how)
        try:
            right, wrong = (ask(asking, query).value for query in (Query("target"), Query("wrong")))
        except MethodError:
            return math.nan, math.nan
        there = self.batch.judged & (wrong < np.inf) & (right < np.inf)
        if not there.any():
            return math.nan, math.nan
        finite = asking.numbers.unary[np.isfinite(asking.numbers.unary)]
        stored = asking.numbers.store[np.isfinite(asking.numbers.store)]
        spread = max((float(np.ptp(each)) for each in (finite, stored) if each.size), default=0.0)
        return float(np.mean(wrong[there] - right[there])), spread


def _warn_of_collapse(problem: Problem, history: Sequence[Row]) -> None:
    """Say so where the loss has fallen while right and wrong answers have come to cost the same."""
    followed = [row for row in history if "gap" in row and "loss" in row and row["gap"] == row["gap"]]
    if len(followed) < 2:
        return
    first, last = followed[0], followed[-1]
    small = abs(last["gap"]) <= COLLAPSED * max(last["spread"], abs(last["loss"]), 1e-300)
    if small and last["loss"] < first["loss"]:
        warnings.warn(
            f'the model has collapsed: loss "{problem.loss.name}" fell from {first["loss"]:.4g} to {last["loss"]:.4g}, '
            f"but right and wrong answers differ by {last['gap']:.2g} only. Use a loss that pushes wrong answers up, "
            "such as hinge or likelihood.",
            CollapseWarning,
            stacklevel=5,
        )


def _is_power_of_two(n: int) -> bool:
    return n & (n - 1) == 0


class _Bar:
    """A bar of updates with the loss and the time that is left."""

    def __init__(self, limit: int, done: int) -> None:
        from tqdm import tqdm  # only where a bar is asked for

        self.bar = tqdm(total=limit, initial=done, unit=" updates", leave=False)

    def show(self, row: Mapping[str, float]) -> None:
        shown = {name: f"{row[name]:.4g}" for name in ("loss", "objective", "validation") if name in row}
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update()

    def close(self) -> None:
        self.bar.close()
