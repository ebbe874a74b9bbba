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
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import ConvergenceWarning, FormatError
from factorgraph_ebm.learning.checkpoints import read_checkpoint, write_checkpoint
from factorgraph_ebm.learning.evaluate import Problem
from factorgraph_ebm.learning.optimizers.optimizer import Optimizer, State
from factorgraph_ebm.learning.oracle import Oracle, Regularizer
from factorgraph_ebm.learning.watching import NO_GAP, WATCHED, Gap, Row, Watch, refuse_nan, warn_of_collapse

FIGURES = ("loss", "objective", "gradient_norm")
"of an optimiser that every row has, NaN where it does not know them"

KINK = 1e-3
"slope, relative to the objective, that is left only where a search along lines ended at a kink"


def quiet() -> np.errstate:
    """No warnings of numpy: what becomes inf or NaN is an error that says where."""
    return np.errstate(over="ignore", invalid="ignore")


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
    earlier: int = 0
    "updates before this training, which its rows count on from"
    watched: int = WATCHED
    "samples whose gap is followed, at most"


class Trained(NamedTuple):
    """What training found."""

    w: F64
    history: list[Row]
    reason: str
    "why it stopped"


class Best(NamedTuple):
    """The parameters that were best on validation."""

    w: F64
    validation: float
    update: int
    "0: none yet"


def train(
    problem: Problem, oracle: Oracle, watch: Watch, optimizer: Optimizer, regularizer: Regularizer, how: Settings
) -> Trained:
    """Update until finished, stopped, or out of patience.

    Parameters
    ----------
    watch : is told of every evaluation of the oracle

    Raises
    ------
    MethodError : the objective became NaN or infinite; the message names sample and factor.
    FormatError : the checkpoint is of another problem, or cannot be written where it should be.
    """
    limit = optimizer.updates if how.updates is None else how.updates
    _refuse_folder(how.checkpoint)
    state, history, best, stopped = None, list[Row](), Best(oracle.start, math.inf, 0), False
    bar: _Bar | None = None
    gap = Gap(problem, exact="exact" in oracle.traits, watched=how.watched)
    try:
        state, history, best = _begin(oracle, optimizer, regularizer, how)
        began = time.perf_counter() - (history[-1]["seconds"] if history else 0.0)
        bar = _Bar(limit, len(history)) if how.progress else None
        if limit - len(history) > 1:  # one update alone does not collapse, and should cost no more than it does
            with quiet():
                gap.begin(oracle.start)
        while (reason := _why_stop(state, history, best, optimizer, limit, stopped, how.patience)) is None:
            with quiet():
                updated = optimizer.update(state, oracle, regularizer)
            w, done = optimizer.best(updated), len(history) + 1
            row: Row = {"update": float(done), **_figures(optimizer.report(updated))}
            refuse_nan(problem, watch, optimizer.best(state), w, row)
            state = updated
            for name in FIGURES:
                row.setdefault(name, math.nan)
            last = done == limit or optimizer.finished(state)
            with quiet():
                row.update(gap.of(w) if last or done & (done - 1) == 0 else NO_GAP)
            row["unconverged"], row["seconds"] = float(watch.unconverged), time.perf_counter() - began
            watch.begin()
            if how.validation is not None:
                with quiet():
                    row["validation"] = how.validation(w)
                if row["validation"] < best.validation:
                    best = Best(w, row["validation"], done)
            row["update"] += how.earlier
            history.append(row)
            if bar is not None:
                bar.show(row)
            said = [callback(row) is True for callback in how.callbacks]  # each is told, whatever others say
            stopped = any(said)
            # One that stops is not written: whoever trains again from the checkpoint is stopped again.
            if not stopped and done % how.every == 0:
                _write(how, state, history, best)
        if not stopped and len(history) % how.every:
            _write(how, state, history, best)
    except KeyboardInterrupt:
        reason = "interrupted"
        warnings.warn(
            f"interrupted after {len(history)} updates: the parameters are the best so far.", ConvergenceWarning,
            stacklevel=4,
        )  # fmt: skip
    finally:
        if bar is not None:
            bar.close()
    w = best.w if best.update or state is None else optimizer.best(state)
    _warn_of_inference(history)
    _warn_of_kinks(problem, oracle, optimizer, history, reason)
    warn_of_collapse(problem.loss.name, gap, history, stacklevel=5)
    assert reason is not None
    return Trained(np.array(w), history, reason)


def _why_stop(
    state: State, history: Sequence[Row], best: Best, optimizer: Optimizer, limit: int, stopped: bool,
    patience: int | None,
) -> str | None:  # fmt: skip
    """Why there is no further update; None: there is one. It depends on what a checkpoint holds alone."""
    if stopped:
        return "a callback"
    if optimizer.finished(state):
        return "finished"
    if len(history) >= limit:
        return "the limit of updates"
    if patience is not None and len(history) - best.update >= patience:
        return "patience"
    return None


def _figures(report: Mapping[str, float]) -> Row:
    """What an optimiser reports. "gap" is of energies here, and of bounds there."""
    return {"duality_gap" if name == "gap" else name: value for name, value in report.items()}


def _refuse_folder(path: str | os.PathLike[str] | None) -> None:
    if path is not None and (not Path(path).parent.is_dir() or Path(path).is_dir()):
        raise FormatError(f"checkpoint {path} cannot be written: name a file in a folder that exists.")


def _begin(
    oracle: Oracle, optimizer: Optimizer, regularizer: Regularizer, how: Settings
) -> tuple[State, list[Row], Best]:
    """The state to begin with: that of the checkpoint, where there is one."""
    state, best = optimizer.init(oracle, regularizer), Best(oracle.start, math.inf, 0)
    if how.checkpoint is None or not os.path.exists(how.checkpoint):
        return state, [], best
    (state, best), header = read_checkpoint(how.checkpoint, (state, best), fingerprint=how.fingerprint)
    try:
        history = [{name: float.fromhex(value) for name, value in row.items()} for row in header["history"]]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise FormatError(f"{how.checkpoint}: the history in the checkpoint cannot be read.") from None
    return state, history, best


def _write(how: Settings, state: State, history: list[Row], best: Best) -> None:
    if how.checkpoint is None:
        return
    told = [{name: float(value).hex() for name, value in row.items()} for row in history]
    write_checkpoint(how.checkpoint, (state, best), {"fingerprint": how.fingerprint, "history": told})


def _warn_of_inference(history: Sequence[Row]) -> None:
    if history and history[-1]["unconverged"]:
        warnings.warn(
            f"in the last update inference did not converge for {int(history[-1]['unconverged'])} samples, so the "
            'slopes are not exact: see "unconverged" in the history. Write inference=dict(method="bp", damping=0.5), '
            "or more max_iterations.",
            ConvergenceWarning,
            stacklevel=5,
        )


def _warn_of_kinks(
    problem: Problem, oracle: Oracle, optimizer: Optimizer, history: Sequence[Row], reason: str | None
) -> None:
    """Say so where a search along lines ended at a kink: no step goes down there, though the least may be far away."""
    searches = "objective" in optimizer.needs and "smooth" not in oracle.traits
    if not (searches and history and reason == "finished"):
        return
    if history[-1]["gradient_norm"] > KINK * max(1.0, abs(history[-1]["objective"])):
        warnings.warn(
            f'optimizer "{optimizer.name}" found no step that decreases loss "{problem.loss.name}", which has kinks: '
            'it may be far from its least value. Write optimizer="sgd".',
            ConvergenceWarning,
            stacklevel=5,
        )


class _Bar:
    """A bar of updates with the loss and the time that is left."""

    def __init__(self, limit: int, done: int) -> None:
        from tqdm import tqdm  # only where a bar is asked for

        self.bar = tqdm(total=limit, initial=done, unit=" updates", leave=False)
        self.shown = False

    def show(self, row: Mapping[str, float]) -> None:
        shown = {
            name: f"{row[name]:.4g}"
            for name in ("loss", "objective", "validation")
            if row.get(name, math.nan) == row.get(name, math.nan)
        }
        self.bar.update()
        self.bar.set_postfix(shown, refresh=not self.shown)  # the first at once, the others as often as tqdm likes
        self.shown = True

    def close(self) -> None:
        self.bar.close()
