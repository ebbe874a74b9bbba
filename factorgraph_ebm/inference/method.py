"""What an algorithm is told and what it answers: arrays over one compiled union, one status for each sample.

An algorithm is one file with a function for each question it can answer and a `Method` that lists them; the registry
in `inference/__init__.py` names it. It works in energies times beta (`Problem.scaled`), and knows neither names nor
labels: words are added by `result.py`.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Bool, Compiled, Messages, Numbers
from factorgraph_ebm.compiler.union import Union
from factorgraph_ebm.errors import MethodError


class Status(enum.StrEnum):
    """What an answer is worth.

    Examples
    --------
    >>> Status.OPTIMAL == "optimal", Status("converged").name
    (True, 'CONVERGED')
    """

    OPTIMAL = "optimal"
    "proved: no better assignment exists; marginals are exact"
    CONVERGED = "converged"
    "a fixed point of loopy message passing, or a local optimum"
    FEASIBLE = "feasible"
    'stopped by stop="feasible" at an assignment that violates nothing'
    ITERATION_LIMIT = "iteration limit"
    TIME_LIMIT = "time limit"
    INFEASIBLE = "infeasible"
    "proved: every assignment is forbidden"


class FactorRefused(MethodError):
    """A method cannot answer because of one factor, known by its number in the engine; names are added above.

    Parameters
    ----------
    factor : number of the factor, counting over all runs
    needs, but : the message: what the method needs, and what the factor does instead
    instead : what to write
    """

    def __init__(self, factor: int, needs: str, but: str, instead: str = 'method="bp"') -> None:
        super().__init__(f"{needs}, and factor {factor} of the compiled graph {but}. Write {instead}.")
        self.factor, self.needs, self.but, self.instead = factor, needs, but, instead

    def named(self, name: str) -> MethodError:
        """The same with the factor's own name."""
        return MethodError(f"{self.needs}, and {name} {self.but}. Write {self.instead}.")


class Problem(NamedTuple):
    """One question about a union of samples, in arrays."""

    union: Union
    numbers: Numbers
    "energies as declared, not multiplied by beta"
    beta: float
    "0 to inf; what is summed is summed at it"
    minimize: bool
    "minimise over every variable that is not soft; otherwise sum over all"
    start: Start | None
    deadline: float
    "time.monotonic() at which to stop; inf for never"
    progress: Callable[[int, float], None] | None
    "called with the number of iterations and the residual now and then"
    threads: int | None = None
    "at most so many; None: as many as pay"
    alone: bool = False
    "of a sum no marginals are read, nor messages: a method may leave them out"
    expected: F64 | None = None
    "(N,) weights that `Answer.statistics` will probably be asked with: a method may make them on its way"

    @property
    def compiled(self) -> Compiled:
        return self.union.compiled

    @property
    def any_soft(self) -> bool:
        return bool(self.compiled.variable_soft.any())

    @property
    def scaled(self) -> Numbers:
        """The energies times beta: inf stays inf also at beta 0. Minimisation without sums, and beta inf, need none."""
        if self.beta in (1.0, np.inf) or (self.minimize and not self.any_soft):
            return self.numbers
        return Numbers(times_beta(self.numbers.unary, self.beta), times_beta(self.numbers.store, self.beta))

    def is_late(self) -> bool:
        return time.monotonic() >= self.deadline


class Start(NamedTuple):
    """Where to begin: what a former answer offers. Each method takes what it can use."""

    states: I64 | None
    "(V,) state of each engine variable, -1 where unknown"
    messages: Messages | None


class Rows(Protocol):
    """What `arrays.Messages` has."""

    @property
    def to_variable(self) -> F64: ...
    @property
    def to_factor(self) -> F64: ...


class Ends(NamedTuple):
    """The factors of a run by a few assignments, one of each kind: of those whose energy is made of the same number."""

    chosen: I64
    "(slots, m)"
    probability: F64
    "(n, m) of each factor: of all assignments of that kind"


class Answer(NamedTuple):
    """What a method found. Arrays over engine variables (V,), or over samples (N,)."""

    method: str
    status: tuple[Status, ...]
    "(N,)"
    iterations: I64
    "(N,)"
    residual: F64
    "(N,) largest change of a message in the last iteration, nats; 0 where exact"
    states: I64 | None = None
    "(V,) chosen states; -1 where summed out"
    free_energy: F64 | None = None
    "(N,) in energies (divided by beta) times nothing else: of what was summed out, given the answer (minimise)"
    log_partition: F64 | None = None
    "(N,) log sum exp(-beta E); at beta inf, log of the number of minimisers minus inf * min E as API Q5 says"
    sums: Callable[[], F64] | None = None
    "log_partition, where it is made when it is first read: see `log_partitions`"
    lower_bound: F64 | None = None
    "(N,) of the least energy"
    least_energy: F64 | None = None
    "(N,) min E, known at beta = inf in marginals"
    log_count: F64 | None = None
    "(N,) log of the number of minimisers, known at beta = inf in marginals"
    marginals: F64 | None = None
    "(unary_size,) probabilities, addressed by `variable_start`"
    messages: Rows | None = None
    "as the engine left them, energies times `message_beta`; perhaps made when they are first read"
    message_beta: float = 1.0
    trace: tuple[Mapping[str, F64], ...] = ()
    "(N,) residual, energy, bound, seconds by iteration"
    joint: Callable[[int], F64] | None = None
    "factor marginals of a run, where the method knows better than its messages"
    ends: Callable[[int], Ends | None] | None = None
    "the same by kinds of assignments, for factors whose tables may be too large; None where `joint` is to be asked"
    excess: Callable[[], F64] | None = None
    "least energy with each state, above the least, (unary_size,), where messages do not tell"

    statistics: Callable[[F64, Numbers], Bool] | None = None
    """(weight (N,), out): add weight * the expected indicators of the numbers of factors, and say for which samples,
    (N,). Where the method has them at less cost than through its messages"""

    def log_partitions(self) -> F64:
        """log_partition, now or made now."""
        if self.log_partition is not None:
            return self.log_partition
        assert self.sums is not None
        return self.sums()


class Ranked(NamedTuple):
    """The best assignments of each sample, in order. N samples; r is the most that any of them has, at most k."""

    method: str
    energies: F64
    "(N, r) ascending; +inf where a sample has no more allowed assignments"
    states: I64
    """(r, V) state of each variable in the best, the second best, ... of its sample; -1 where there are no more.
    Assignments that differ only in what is not asked count once, completed best. Equal energies go by the states of
    what is asked, lowest first, in declared order"""

    @property
    def lengths(self) -> I64:
        """How many each sample has, (N,)."""
        found: I64 = np.count_nonzero(self.energies < np.inf, axis=1)
        return found


class Method(NamedTuple):
    """An algorithm as data: what it can do, its options with their defaults, and how to run it."""

    name: str
    summary: str
    best: Callable[..., Answer] | None
    "(problem, **options)"
    marginals: Callable[..., Answer] | None
    "(problem, **options)"
    options: Mapping[str, Any]
    needs_soft_free: bool = False
    "cannot sum variables out of a minimisation"
    check: Callable[[Mapping[str, Any]], None] | None = None
    "raises MethodError for a value that an option cannot have"
    sample: Callable[..., I64] | None = None
    """(problem, n, rng, **options): n independent draws of all variables, (n, V), exact; -1 throughout a sample in
    which every assignment is forbidden. A method that cannot for size raises MethodError before it draws"""
    draws_exactly: bool = True
    "False: draws are neither independent nor exact, and `auto` does not ask for them"
    min_marginals: bool = True
    "its `best` tells min-marginals, by messages or by `Answer.excess`"
    k_best: Callable[..., Ranked] | None = None
    "(problem, k, asked, **options): the k best by what is asked, (V,) bool, exact; MethodError as above"


def proved(method: str, infeasible: Bool) -> dict[str, Any]:
    """What an exact method says of itself: the first fields of an `Answer`; `infeasible`: (N,)."""
    n = len(infeasible)
    return {
        "method": method,
        "status": tuple(Status.INFEASIBLE if bad else Status.OPTIMAL for bad in infeasible.tolist()),
        "iterations": np.ones(n, np.int64),
        "residual": np.zeros(n),
    }


def check_limits(options: Mapping[str, Any]) -> None:
    """Raise MethodError unless max_iterations is None or an int >= 0 and tolerance is a number >= 0, if it is there."""
    limit = options["max_iterations"]
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, (int, np.integer)) or limit < 0):
        raise MethodError(f"max_iterations= is a number of iterations, 0 or more, not {limit!r}.")
    tolerance = options.get("tolerance", 0.0)
    if not isinstance(tolerance, (int, float)) or not 0 <= tolerance < np.inf:
        raise MethodError(f"tolerance= is a change in nats, 0 (never stop early) or more, not {tolerance!r}.")


def times_beta(energies: F64, beta: float) -> F64:
    """beta * energies, where beta * inf = inf for every beta."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(np.isinf(energies), energies, energies * beta)
