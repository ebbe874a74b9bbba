"""Iterating: every chunk of a union goes on by itself until it is at rest, solved, feasible, or out of time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from factorgraph_ebm.arrays import Bool, Steps
from factorgraph_ebm.compiler.schedules import flooding, sequential
from factorgraph_ebm.engine.driver import RUNAWAY
from factorgraph_ebm.inference.feasible import Feasible
from factorgraph_ebm.inference.firing import Firing
from factorgraph_ebm.inference.iterating import Plan, iterate
from factorgraph_ebm.inference.method import Problem, Status
from factorgraph_ebm.inference.passing import Passing
from factorgraph_ebm.inference.stopping import SMALL, iterate_until_feasible

SWEEPS = {True: 200, False: 1000}
"iterations by default, minimising or summing: min-sum that has not settled after some hundreds seldom will"
SECOND_DAMPING = 0.5
"""damping of a second run, by default, for what has not come to rest without any: of 34 models of the UAI 2014
competition it lowered the energy of 7, Promedus_14 from 50.4 to its least, 18.6; the better answer is kept"""


class Run:
    """One chunk's progress: iterations, residual, trace, and how it ended."""

    def __init__(self) -> None:
        self.residuals: list[float] = []
        self.seconds: list[float] = []
        self.status = Status.ITERATION_LIMIT
        self.began = time.perf_counter()

    @property
    def iterations(self) -> int:
        return len(self.residuals)

    @property
    def residual(self) -> float:
        return self.residuals[-1] if self.residuals else 0.0

    def record(self, residuals: Sequence[float]) -> None:
        """Take note of some more iterations; those of one call of the engine count as equally long."""
        now = time.perf_counter() - self.began
        last = self.seconds[-1] if self.seconds else 0.0
        self.residuals += residuals
        self.seconds += [last + (now - last) * (i + 1) / len(residuals) for i in range(len(residuals))]


class Progress:
    """The runs of all chunks of a problem."""

    def __init__(self, problem: Problem, exact: Bool, options: Mapping[str, Any]) -> None:
        """`exact` (N,): samples that one sweep solves."""
        self.problem = problem
        self.options = options
        n_chunks = len(problem.compiled.chunk_variable_start) - 1
        self.exact = np.ones(n_chunks, bool)
        self.exact[problem.compiled.sample_chunk[~exact]] = False
        self.runs = [Run() for _ in range(n_chunks)]
        self.state = np.zeros(0, np.int64)
        "(V,) states that violate nothing, of the chunks that were stopped for it"

    def restart(self, chunks: Iterable[int]) -> None:
        """Forget the runs of these chunks."""
        for chunk in chunks:
            self.runs[chunk] = Run()

    def iterate(self, passing: Passing, chunks: Sequence[int]) -> None:
        """Iterate these chunks for as long as the options say."""
        solved = [c for c in chunks if self.exact[c]]
        loopy = [c for c in chunks if not self.exact[c]]
        if solved:
            once = sequential(passing.layout, passing.operators)
            iterate(passing, Plan(once, 1, 0.0, -1.0), solved, lambda chunk, residuals: True)
            self.solve(solved)
        limit = self.options["max_iterations"]
        limit = SWEEPS[passing.minimize] if limit is None else limit
        damping = self.options["damping"] or 0.0
        if self.options["stop"] == "feasible":
            self._until_feasible(passing, loopy, limit, damping)
        else:
            self._go_on(passing, loopy, limit, damping)

    def solve(self, chunks: Iterable[int]) -> None:
        """Take note that these chunks were solved by one sweep."""
        for chunk in chunks:
            self.runs[chunk].record([0.0])
            self.runs[chunk].status = Status.OPTIMAL

    def damp(self, passing: Passing, chunks: Sequence[int]) -> list[int]:
        """Go on with damping where no number of iterations and no damping was asked for; the chunks that did."""
        if self.options["damping"] is not None or self.options["max_iterations"] is not None:
            return []
        again = [c for c in chunks if self.runs[c].status is Status.ITERATION_LIMIT and not self.problem.is_late()]
        if again:
            self._go_on(passing, again, SWEEPS[passing.minimize], SECOND_DAMPING)
        return again

    def _go_on(self, passing: Passing, chunks: Sequence[int], limit: int, damping: float) -> None:
        tolerance = float(self.options["tolerance"])
        if limit <= 0 or not chunks:
            return
        if self.options["schedule"] == "residual":
            for chunk in chunks:
                firing = Firing(passing, chunk, damping, tolerance)
                most = self.runs[chunk].iterations + limit
                while self._hear(chunk, firing.iterate(most - self.runs[chunk].iterations)):
                    if self.runs[chunk].iterations >= most:
                        break
                firing.settle()
            return
        iterate(passing, Plan(self._steps(passing), limit, tolerance, damping), chunks, self._hear)

    def _steps(self, passing: Passing) -> Steps:
        schedule = flooding if self.options["schedule"] == "flooding" else sequential
        return schedule(passing.layout, passing.operators)

    def _hear(self, chunk: int, residuals: list[float]) -> bool:
        """Take note of some more iterations of a chunk; whether it may go on."""
        run = self.runs[chunk]
        run.record(residuals)
        if RUNAWAY < run.residual < np.inf or run.residual != run.residual:
            return False  # as it is, not converged
        if _rests(run.residual, float(self.options["tolerance"])):
            run.status = Status.CONVERGED
            return False
        if self.problem.progress is not None:
            self.problem.progress(run.iterations, run.residual)
        if self.problem.is_late():
            run.status = Status.TIME_LIMIT
            return False
        return True

    def _until_feasible(self, passing: Passing, chunks: Sequence[int], limit: int, damping: float) -> None:
        """Iterate chunks until what is likeliest violates nothing."""
        if limit <= 0 or not chunks:
            return
        problem = self.problem
        residual = self.options["schedule"] == "residual"
        steps = None if residual else self._steps(passing)
        feasible = Feasible(problem)
        if not len(self.state):  # another form may have satisfied other chunks before
            self.state = passing.lowest(problem.numbers.unary)
        quick: list[int] = []
        if steps is not None:
            served = feasible.served(passing) & (feasible.size <= SMALL)
            quick = [c for c in chunks if served[c]]
        if quick and steps is not None:
            plan = Plan(steps, limit, float(self.options["tolerance"]), damping)
            iterate_until_feasible(passing, plan, quick, feasible, self.state, self._hear_of, problem.is_late)
        self._in_turn(passing, sorted(set(chunks) - set(quick)), limit, damping, feasible, steps)

    def _hear_of(self, chunk: int, residuals: list[float], feasible: bool) -> bool:
        """The same, of a chunk that may have stopped for violating nothing."""
        goes_on = self._hear(chunk, residuals)
        if feasible:
            self.runs[chunk].status = Status.FEASIBLE
        return goes_on and not feasible

    def _in_turn(
        self, passing: Passing, chunks: Sequence[int], limit: int, damping: float, feasible: Feasible,
        steps: Steps | None,
    ) -> None:  # fmt: skip
        """Iterate all chunks in turn, and after each round let those go whose decoded states violate nothing."""
        active, state, tolerance = list(chunks), self.state, float(self.options["tolerance"])
        firing = {c: Firing(passing, c, damping, tolerance) for c in active if steps is None}
        while active:
            resting: set[int] = set()

            def hear(chunk: int, residuals: list[float], resting: set[int] = resting) -> bool:
                if not self._hear(chunk, residuals):
                    resting.add(chunk)
                return True

            if steps is None:
                for chunk in active:
                    hear(chunk, firing[chunk].iterate(1))
                    firing[chunk].settle()
            else:
                iterate(passing, Plan(steps, 1, 0.0, damping), active, hear)
            allowed = np.zeros(len(self.runs), bool)
            passing.likeliest(state, active)
            allowed[active] = feasible.chunks(state, active)
            undecided = [c for c in active if not allowed[c]]
            if undecided and passing.decoded(state, undecided):
                allowed[undecided] = feasible.chunks(state, undecided)
            for chunk in active:
                if allowed[chunk]:
                    self.runs[chunk].status = Status.FEASIBLE
            active = [
                c for c in active if not allowed[c] and c not in resting and self.runs[c].iterations < limit
            ]


def _rests(residual: float, tolerance: float) -> bool:
    return tolerance > 0 and residual <= tolerance
