"""Asking a batch of samples at one set of parameters: what several queries of a loss need is found once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from factorgraph_ebm.arrays import F64, I64, Bool, Numbers
from factorgraph_ebm.inference import choose
from factorgraph_ebm.inference.method import Status
from factorgraph_ebm.inference.solving import Solved, solve_free
from factorgraph_ebm.learning.batch import Batch
from factorgraph_ebm.losses.loss import Cost, Query

Statuses: TypeAlias = tuple[Status, ...]


class Inference(NamedTuple):
    """How the questions of a loss are answered."""

    method: str = "auto"
    options: Mapping[str, Any] = {}
    beta: float = 1.0
    "at which free terms sum"
    latent_beta: float = math.inf
    "at which point terms eliminate what has no right answer; inf: they minimise over it"
    tolerance: float = 1e-9
    "of loopy messages, where the options name none"
    seed: int = 0
    "of draws"
    threads: int | None = None
    "at most so many; None: as many as pay"


class Term(NamedTuple):
    """The answer to one query."""

    value: F64
    "(n,) for each sample, or (n_labelled,)"
    accumulate: Callable[[F64, Numbers], None]
    "(slope, shaped like value; out): add slope * d value / d numbers. Slope 0 is skipped"
    status: Statuses
    batch: Batch
    "whose numbers `out` are of"
    unreliable: Bool | None = None
    """(n,) samples in which inference failed though it came to rest: it missed the right answer, which is better than
    the best one that it found, or slopes are known badly, which is found out when `accumulate` runs"""
    states: I64 | None = None
    "(V,) the assignment whose energy `value` is, where it is that of one: slopes of samples can then be told apart"


class Asking:
    """One batch at one set of numbers: what several queries need is found once."""

    def __init__(
        self, batch: Batch, values: Mapping[str, F64], how: Inference, cost: Cost | None = None, update: int = 0,
        expected: F64 | None = None,
    ) -> None:
        self.batch = batch
        self.values = values
        "of all parameters"
        self.numbers = batch.bind(values, how.threads)
        self.how = how
        self.cost = cost
        self.update = update
        "how often the parameters have changed, for draws"
        self.expected = expected
        "(n,) weights that the slopes of free energies will probably have"
        self._kept: dict[object, Any] = {}

    def once(self, key: object, make: Callable[[], Any]) -> Any:
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def less_cost(self, query: Query) -> Numbers:
        """The numbers, energies less the cost where the query says so."""
        if not query.cost:
            return self.numbers
        cost: F64 = self.once("cost", lambda: self.batch.cost(self.cost))
        return Numbers(self.numbers.unary - cost, self.numbers.store)

    def settings(self, *, minimize: bool, batch: Batch | None = None) -> dict[str, Any]:
        """How a solver is called: the method that "auto" would choose, a tolerance where that iterates, threads."""
        method, options = self.how.method, dict(self.how.options)
        union = (self.batch if batch is None else batch).union
        if method == "auto":
            method = self.once(("auto", minimize, id(union)), lambda: choose(union, minimize, options).method.name)
        if method == "bp":
            options = {"tolerance": self.how.tolerance, **options}
        return {"method": method, "options": options, "threads": self.how.threads}

    def solve_all(self, query: Query) -> Solved:
        """The free energy over all that is not given, at beta; with a cost, of energies less that."""
        settings = self.settings(minimize=False)
        solved: Solved = self.once(
            ("free", query.cost),
            lambda: solve_free(
                self.batch.whole, self.less_cost(query), beta=self.how.beta, expected=self.expected, **settings
            ),
        )
        return solved


def loopy(batch: Batch, method: str) -> bool:
    """Whether answers may be approximate: by messages, on loops."""
    return method == "bp" and not bool(batch.compiled.sample_forest.all())
