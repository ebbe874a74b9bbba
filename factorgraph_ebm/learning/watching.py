"""What is watched while a model is trained: inference that fails, losses that are no numbers, a model that collapses.

    gap = mean over samples of E(best wrong answer) - E(right answer)

A model has collapsed where right and wrong answers cost the same although the loss fell (LeCun et al., "A tutorial on
energy-based learning", 2006, section 2): the gaps are then small beside the spread of its energies, and no more cells
are right in its best answers than where nothing is looked at.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Bool
from factorgraph_ebm.errors import CollapseWarning, FactorError, MethodError
from factorgraph_ebm.inference.conditionals import conditional_energies
from factorgraph_ebm.learning.asking import Asking
from factorgraph_ebm.learning.batch import Batch
from factorgraph_ebm.learning.evaluate import Problem, evaluate
from factorgraph_ebm.learning.oracle import Evaluation
from factorgraph_ebm.learning.points import best_states, right_states
from factorgraph_ebm.learning.terms import ask
from factorgraph_ebm.losses.loss import Query

Row = dict[str, float]
"what is known after an update, by name"
WATCHED = 256
"samples whose gap is followed"
COLLAPSED = 1e-3
"size of the gaps over the spread of energies below which a model tells answers apart no more"
BOTTOMLESS = -1e12
"an objective below which, of a loss without a lower bound, has none either"

ADVICE = "Lower the learning rate, or bound what grows without end (bounds=, regularizer=l2(strength))."


class Watch:
    """What the evaluations of one update said: samples that did not converge, the first loss that is no number."""

    def __init__(self, weights: F64) -> None:
        self.weights = weights
        self.begin()

    def begin(self) -> None:
        """Forget the last update."""
        self._whole = self._parts = 0
        self.bad: tuple[F64, int, float] | None = None
        "w, number of a sample, its loss"

    def note(self, w: F64, samples: I64 | None, found: Evaluation) -> None:
        """Take note of an evaluation."""
        # A search along a line asks all samples several times: each counts once.
        if samples is None:
            self._whole = found.unconverged
        else:
            self._parts += found.unconverged
        if self.bad is None and not np.isfinite(found.losses).all():
            numbers = np.arange(len(found.losses)) if samples is None else samples
            here = np.flatnonzero(~np.isfinite(found.losses) & (self.weights[numbers] != 0.0))
            if len(here):
                self.bad = w.copy(), int(numbers[here[0]]), float(found.losses[here[0]])

    @property
    def unconverged(self) -> int:
        """Samples whose inference did not converge."""
        return max(self._whole, self._parts)


def refuse_nan(problem: Problem, watch: Watch, before: F64, w: F64, row: Row) -> None:
    """Raise MethodError where parameters or figures of an update are NaN or infinite: names sample and factor.

    Parameters
    ----------
    before, w : parameters before and after the update
    row : its figures, those that are NaN left out
    """
    update = int(row["update"])
    figures = {name: row[name] for name in ("loss", "objective", "gradient_norm") if name in row}
    lost = watch.bad is not None and "loss" not in figures
    if np.isfinite(w).all() and all(map(math.isfinite, figures.values())) and not lost:
        if problem.loss.lower_bound == -math.inf and figures.get("objective", 0.0) < BOTTOMLESS:
            raise MethodError(
                f'the objective fell to {figures["objective"]:.3g} in update {update}: loss "{problem.loss.name}" has '
                'no lower bound. Write regularizer=l2(strength), bounds for the parameters, or loss="hinge".'
            )
        return
    what = f"the objective became {figures.get('objective', math.nan)}"
    if not np.isfinite(w).all():
        place = int(np.argmax(~np.isfinite(w)))
        offset = problem.layout.offset
        name = max((each for each in offset if offset[each] <= place), key=lambda each: offset[each])
        what = f'parameter "{name}" became {w[place]}'
    at, sample, loss = watch.bad or _worst(problem, before)
    raise MethodError(
        f"{what} in update {update}: the loss of sample {sample} was {loss:.4g}, and of its energies those of factor "
        f"{_largest_factor(problem, at, sample)} are largest. {ADVICE}"
    )


def refuse_numbers(problem: Problem, w: F64, samples: I64 | None) -> None:
    """Raise MethodError, which names sample and factor, where parameters make an energy NaN or -inf."""
    everyone = np.arange(len(problem.data.graphs)) if samples is None else samples
    for i in everyone.tolist():
        graph, values = problem.data.graphs[i], {**problem.layout.values(w), **problem.data.given[i].reals}
        for key, factor in zip(graph.keys, graph.factors):
            for slot in factor.slots:
                with np.errstate(all="ignore"):
                    numbers = slot.source.evaluate(values)
                bad = ~(numbers > -np.inf)
                if bad.any():
                    names = ", ".join(f'"{p.name}"' for p in slot.source.parameters) or "none"
                    raise MethodError(
                        f'sample {i}: an energy of factor "{key}" became {numbers[bad][0]} in training (its '
                        f"parameters: {names}). {ADVICE}"
                    )


def _worst(problem: Problem, w: F64) -> tuple[F64, int, float]:
    """The sample with the largest loss."""
    with np.errstate(all="ignore"):
        losses = evaluate(problem, w).losses
    worst = int(np.argmax(np.where(problem.weights != 0.0, np.nan_to_num(losses, nan=np.inf), -np.inf)))
    return w, worst, float(losses[worst])


def _largest_factor(problem: Problem, w: F64, sample: int) -> str:
    """The key of the declaration whose numbers are largest in a sample; what is no number is larger than all."""
    graph, values = problem.data.graphs[sample], {**problem.layout.values(w), **problem.data.given[sample].reals}
    largest, found = -1.0, "none"
    for key, factor in zip(graph.keys, graph.factors):
        if not factor.slots:
            continue
        source = factor.slots[0].source
        with np.errstate(all="ignore"):
            numbers = np.abs(source.evaluate(values))
        # A constant +inf forbids, and is meant; what is learned should be finite.
        meant = (numbers < np.inf) if not source.parameters else np.ones(numbers.shape, bool)
        size = float(np.max(np.nan_to_num(numbers, nan=np.inf, posinf=np.inf), where=meant, initial=0.0))
        if size > largest:
            largest, found = size, f'"{key}"'
    return found


class Gap:
    """How far the best wrong answer lies above the right one, on some samples that stay the same.

    Where there are loops, or inference is approximate, and the loss asks for no best answers, finding them could take
    longer than learning: wrong answers are then those that differ from the right one in one variable.
    """

    def __init__(self, problem: Problem, *, exact: bool, watched: int = WATCHED) -> None:
        self.problem = problem
        self.watched = watched
        quick = exact and all(batch.compiled.sample_exact.all() for batch in problem.blocks)
        self.nearby = not quick and not any(query.kind in ("best", "wrong") for query in problem.loss.queries)
        self.batch: Batch | None = None
        self.first_spread = 0.0
        "of energies before the first update"
        self.right = math.nan
        "share of the samples whose right answer was the best, when last asked"
        self.cells = math.nan
        "share of the labelled cells that the best answers got right, when last asked"
        self.first_cells = 0.0
        "the same before the first update, or the share of the most frequent state, if that is more"

    def begin(self, w: F64) -> None:
        """Remember how far energies lie apart, and how many cells are right, before anything is learned."""
        spread = self.of(w)["spread"]
        if spread == spread:
            assert self.batch is not None
            target = self.batch.target[self.batch.labelled]
            self.first_spread = spread
            self.first_cells = max(self.cells, float(np.bincount(target).max()) / len(target))
        self.right = self.cells = math.nan

    def of(self, w: F64) -> Row:
        """gap (mean), gap_size (mean of |.|), spread (of the energies): NaN where no sample has a wrong answer."""
        problem = self.problem
        if self.batch is None:
            n = len(problem.data.graphs)
            self.batch = Batch(problem.data, np.unique(np.linspace(0, n - 1, min(n, self.watched)).astype(np.int64)))
        how = problem.inference._replace(latent_beta=math.inf)
        try:
            asking = Asking(self.batch, problem.layout.values(w), how)
        except FactorError:
            refuse_numbers(problem, w, None)
            raise
        try:
            right = right_states(asking).energy
            if self.nearby:
                wrong, hit = _nearby(asking)
            else:
                wrong, hit = ask(asking, Query("wrong")).value, _hits(asking)
        except MethodError:  # such as of a method that finds no best answers
            return dict(NO_GAP)
        there = self.batch.judged & (wrong < np.inf) & (right < np.inf)
        if not there.any():
            return dict(NO_GAP)
        gaps = wrong[there] - right[there]
        kinds = (asking.numbers.unary, asking.numbers.store)
        spread = max((float(np.ptp(x[np.isfinite(x)])) for x in kinds if np.isfinite(x).any()), default=0.0)
        self.right, self.cells = float(np.mean(gaps > 0.0)), float(np.mean(hit))
        return {"gap": float(np.mean(gaps)), "gap_size": float(np.mean(np.abs(gaps))), "spread": spread}


NO_GAP: Mapping[str, float] = {"gap": math.nan, "gap_size": math.nan, "spread": math.nan}


def _hits(asking: Asking) -> Bool:
    """Which labelled variables the best answer gets right, (n_labelled,)."""
    batch = asking.batch
    said: Bool = best_states(asking, False, asking.numbers).states[batch.labelled] == batch.target[batch.labelled]
    return said


def _nearby(asking: Asking) -> tuple[F64, Bool]:
    """The least energy of the answers that differ from the right one in one labelled variable, (n,).

    And which labelled variables (n_labelled,) have none below it.
    """
    batch, right = asking.batch, right_states(asking)
    start = batch.compiled.variable_start.astype(np.int64)
    owner = np.repeat(np.arange(len(start) - 1), np.diff(start))
    energy = conditional_energies(batch.union, asking.numbers, right.states)
    known = start[:-1] + right.states
    above = energy - energy[known][owner]
    above[known] = np.inf
    above[batch.target[owner] < 0] = np.inf
    least = np.full(batch.n, np.inf)
    np.minimum.at(least, batch.compiled.variable_sample.astype(np.int64)[owner], above)
    found: F64 = right.energy + least
    of_variable = np.minimum.reduceat(above, start[:-1])[batch.labelled]
    return found, of_variable > 0.0


def warn_of_collapse(name: str, gap: Gap, history: Sequence[Row], *, stacklevel: int) -> None:
    """Say so where the loss has fallen while right and wrong answers have come to cost the same.

    Either the gap is lost in the energies of now, and most right answers are not the best ones; or all energies have
    become alike, and what is left of the gap is a matter of digits. A small gap that most samples have is none of
    these: on a fine grid of states, neighbours differ by little. Nor is one beside which there are large energies that
    are no matter of learning, such as penalties, where more cells are right than were, or are of one state.
    """
    watched = [row for row in history if row["spread"] == row["spread"] and row["loss"] == row["loss"]]
    if not watched or not gap.right <= 1.0:
        return
    last, fell = watched[-1], watched[-1]["loss"] < history[0]["loss"]
    lost = fell and last["gap_size"] <= COLLAPSED * last["spread"] and gap.right < 0.5
    alike = gap.first_spread > 0.0 and max(last["gap_size"], last["spread"]) <= COLLAPSED * gap.first_spread
    if gap.cells <= gap.first_cells and (lost or (alike and (fell or len(history) == 1))):
        warnings.warn(
            f'the model has collapsed: loss "{name}" fell to {last["loss"]:.4g}, but right and wrong answers differ '
            f"by {last['gap_size']:.2g} nats only, among energies that differed by {gap.first_spread:.2g} at first and "
            f"by {last['spread']:.2g} now. Use a loss that pushes wrong answers up, such as hinge or likelihood; "
            "fg.diagnose(loss, architecture) says why.",
            CollapseWarning,
            stacklevel=stacklevel,
        )
