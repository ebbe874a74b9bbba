"""Gibbs sampling: sweeps in which each variable is drawn from its conditional given all others. Approximate draws.

    P(v = s | all others) = exp(-beta (A(v, s) - F(v))),    A: see `conditionals`

The Gibbs distribution is what such sweeps leave as it is, and where every allowed assignment can be reached from every
other by changing one variable at a time, they approach it from anywhere (S. Geman and D. Geman, IEEE Trans. Pattern
Analysis and Machine Intelligence 6(6), 1984): in how many sweeps, nobody knows. Hard constraints often break the
condition: of two cells that must be equal none can move alone, and sweeps stay where they began.

Draws of several chains that disagree are noticed by comparing variances between and within them (A. Gelman and
D. Rubin, "Inference from iterative simulation using multiple sequences", Statistical Science 7(4), 1992).
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from factorgraph_ebm._jit import Kernel, addresses
from factorgraph_ebm.arrays import F64, I64, U64, Bool, Numbers
from factorgraph_ebm.compiler.layout import sizes
from factorgraph_ebm.compiler.union import Union
from factorgraph_ebm.engine.gibbs import make_keys, sweep_variables
from factorgraph_ebm.errors import ConvergenceWarning, MethodError
from factorgraph_ebm.factors import STRUCTURES
from factorgraph_ebm.inference.bp import METHOD as BP
from factorgraph_ebm.inference.choosing import choose
from factorgraph_ebm.inference.energies import assignment_energies
from factorgraph_ebm.inference.icm import clamped
from factorgraph_ebm.inference.method import Method, Problem, Status
from factorgraph_ebm.inference.number_maps import entry_map
from factorgraph_ebm.inference.passing import paced, processors
from factorgraph_ebm.inference.tables import run_of, scratch_size
from factorgraph_ebm.inference.threads import share_out

OPTIONS = {"burn_in": 100, "thin": 10, "chains": 4}
MOST_APART = 1.1
"ratio of Gelman and Rubin above which chains disagree"
FEWEST = 50
"draws of each chain from which on that is asked: chains that agree exceed it less than once in a million times"


WORTH = 1 << 18
"factors of variables to look at, in all sweeps, from which on chains are shared by threads: some five milliseconds"


def sample_keys(seed: int, update: int, samples: I64) -> U64:
    """A key for each sample, for `gibbs_sweeps`: the same for the same three numbers, unrelated for others.

    Parameters
    ----------
    seed, update : ints from 0, below 2 ** 64
    samples : (n,) numbers of the samples in the whole data set

    Examples
    --------
    >>> one, two = sample_keys(0, 3, np.array([5, 9]))
    >>> sample_keys(0, 3, np.array([9])) == two, one == two
    (array([ True]), np.False_)
    """
    keys = np.empty(len(samples), np.uint64)
    make_keys(np.uint64(seed), np.uint64(update), np.ascontiguousarray(samples, np.uint64), keys)
    return keys


def gibbs_sweeps(
    union: Union, numbers: Numbers, state: I64, beta: float, sweeps: int, key: U64, *, first: int = 0,
    threads: int | None = None,
) -> I64:  # fmt: skip
    """States after systematic sweeps over all variables of every sample, (V,); `state` stays as it is.

    A sample's draws depend on its numbers, its key and the numbers of the sweeps alone: neither on the other samples of
    the union nor on how sweeps are spread over calls.

    Parameters
    ----------
    state : (V,) state of every engine variable
    beta : inverse temperature; at 0 all allowed states of a variable are equally likely, at inf all of least energy
    sweeps : how many, 0 or more
    key : (N,) of each sample, as from `sample_keys`
    first : number of the first sweep: how many were made under these keys before
    threads : that share the samples; None: as many as pay

    Raises
    ------
    MethodError : beta is negative or NaN, sweeps are negative, or an array has another length or a state is none.

    An allowed assignment stays allowed. From a forbidden one, a variable moves to a state that nothing forbids where it
    has one, and else stays.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> from factorgraph_ebm.compiler.parts import Sample
    >>> from factorgraph_ebm.compiler.union import compile_union
    >>> x = fg.output("x", shape=1000, n_states=2)
    >>> union = compile_union([Sample(fg.FactorGraph([fg.Table([x], [0.0, 1.0])]), None)])
    >>> numbers, state = union.bind([{}], np.zeros(1000, np.int64)), np.zeros(1001, np.int64)
    >>> drawn = gibbs_sweeps(union, numbers, state, 1.0, 1, sample_keys(0, 0, np.arange(1)))
    >>> round(drawn[union.compiled.cell_variable].mean(), 1), round(1 / (1 + np.e), 1)
    (np.float64(0.3), 0.3)
    """
    if not beta >= 0.0:
        raise MethodError(f"beta= is an inverse temperature, 0 to inf, not {beta!r}.")
    if sweeps < 0:
        raise MethodError(f"sweeps= is a number of sweeps, 0 or more, not {sweeps!r}.")
    states = sizes(union.compiled.variable_start)
    if state.shape != states.shape or np.any((state < 0) | (state >= states)):
        raise MethodError(f"state= holds a state of each of {len(states):,} variables; -1 is none.")
    if len(key) != union.n_samples:
        raise MethodError(f"key= has one integer for each of {union.n_samples:,} samples, not {len(key):,}.")
    chain = Chain(Sweeps(union, numbers), state, key, first)
    _share(
        lambda low, high, is_stopped: chain.run(float(beta), sweeps, is_stopped, low, high),
        _parts(union, _threads(threads, sweeps * len(union.compiled.slot_message))),
    )
    return chain.state


def _share(work: Callable[[int, int, Callable[[], bool]], None], parts: Sequence[tuple[int, int]]) -> None:
    """Let as many threads as there are parts do them. Where one is interrupted, the others leave as well."""
    stopped = threading.Event()

    def guarded(number: int) -> None:
        try:
            work(*parts[number], stopped.is_set)
        except BaseException:
            stopped.set()
            raise

    share_out(guarded, len(parts), len(parts))


def _threads(most: int | None, visits: int) -> int:
    """How many threads to use: those that are allowed, where what they share takes longer than to start them."""
    return most or (processors() if visits > WORTH else 1)


def _parts(union: Union, threads: int) -> list[tuple[int, int]]:
    """Ranges of variables, cut between samples into about equal work."""
    chunk_start = union.compiled.chunk_variable_start.astype(np.int64)
    work = chunk_start + union.compiled.variable_slot_start.astype(np.int64)[chunk_start]
    cuts = np.searchsorted(work, np.linspace(0, work[-1], threads + 1)[1:-1])
    ends = np.unique([0, *chunk_start[cuts], chunk_start[-1]]).tolist()
    return list(zip(ends, ends[1:])) or [(0, 0)]


class Sweeps:
    """A union laid out for sweeps: how each run is read, from its table or by its message kernel."""

    def __init__(self, union: Union, numbers: Numbers) -> None:
        compiled = union.compiled
        n_runs = len(union.layout.kinds)
        kernels: list[Kernel] = []
        run_kernel, run_stride, run_map = (np.full(n_runs, -1) for _ in range(3))
        strides: list[int] = []
        index, coefficient, constant = ([np.zeros(0, kind)] for kind in (np.int64, np.float64, np.float64))
        at = width = room = 0
        for run, kind in enumerate(union.layout.kinds):
            fields = run_of(compiled, run)
            width = max(width, sum(fields.states))
            run_stride[run] = len(strides)
            entries = entry_map(union, run)
            if entries is None:
                # Messages that minimise over others that are clamped are the energies in their states.
                kernel = STRUCTURES[kind].message_kernels(fields.states).min
                if kernel not in kernels:
                    kernels.append(kernel)
                run_kernel[run] = kernels.index(kernel)
                room = max(room, scratch_size(compiled, kind, run) + 4 * fields.arity)
                strides += [0] * fields.arity
                continue
            strides += entries[0]
            if entries[1] is not None:
                run_map[run] = at
                at += len(entries[1].index)
                index.append(entries[1].index.astype(np.int64, copy=False))
                coefficient.append(entries[1].coefficient)
                constant.append(entries[1].constant)
        widest = int(sizes(compiled.variable_start).max(initial=1))
        cell = np.maximum(compiled.variable_cell - compiled.sample_cell_start[compiled.variable_sample], 0)
        self.compiled = compiled
        self.clamps = bool(kernels)
        self.room = width + widest, room + 8 + widest
        self.arguments = (
            addresses(kernels), run_kernel, run_stride, run_map, np.array(strides, np.int64), np.concatenate(index),
            np.concatenate(coefficient), np.concatenate(constant), numbers.unary, compiled.variable_start,
            compiled.variable_slot_start, compiled.slot_message, compiled.run_field, compiled.run_field_start,
            compiled.factor_number, compiled.constants, numbers.store, compiled.scope, compiled.variable_sample,
            cell.astype(np.uint64),
        )  # fmt: skip


class Chain:
    """One state of all samples, which moves on sweep by sweep."""

    def __init__(self, sweeps: Sweeps, state: I64, key: U64, first: int = 0) -> None:
        self.sweeps = sweeps
        self.state = np.array(state, np.int64)
        self.key = np.ascontiguousarray(key, np.uint64)
        self.done = first
        self._to_factor = clamped(sweeps.compiled, self.state) if sweeps.clamps else np.zeros(0)

    def advance(self, beta: float, sweeps: int, is_stopped: Callable[[], bool] = lambda: False) -> None:
        """Make some sweeps, the next after those that were made."""
        self.run(beta, sweeps, is_stopped, 0, len(self.state))
        self.done += sweeps

    def run(self, beta: float, sweeps: int, is_stopped: Callable[[], bool], first: int, stop: int) -> None:
        """The part of them that is over the variables first to stop, which are those of whole samples.

        Compiled calls take a twentieth of a second: between them Python hears of Ctrl-C.
        """
        _ = sweep_variables.compiled  # before the clock runs: compiling would look like slow variables
        out, scratch = (np.zeros(size) for size in self.sweeps.room)
        end, low, count = sweeps * (stop - first), 0, 64
        while low < end and not is_stopped():
            high = min(low + count, end)
            began = time.perf_counter()
            sweep_variables(
                *self.sweeps.arguments, self.key, self._to_factor, out, scratch, self.state, beta, self.done, first,
                stop - first, low, high,
            )  # fmt: skip
            count = paced(count, time.perf_counter() - began)
            low = high


def sample(problem: Problem, n: int, rng: np.random.Generator, *, burn_in: int, thin: int, chains: int) -> I64:
    """Draws of several chains in turn, (n, V): draw i is of chain i % chains.

    Each chain begins at an assignment of its own, makes `burn_in` sweeps before its first draw and `thin` between two.

    Raises
    ------
    MethodError : beta is inf, or no allowed assignment was found to begin from, though none is proved not to exist.
    """
    if problem.beta == np.inf:
        raise MethodError(
            'method "gibbs" cannot draw at beta=inf: it would stay where no single variable can improve. '
            'Write a finite beta, or method="junction_tree" or "enumerate".'
        )
    compiled = problem.compiled
    chains = min(chains, n)
    states = np.zeros((n, len(compiled.variable_cell)), np.int64)
    sweeps, starts = Sweeps(problem.union, problem.numbers), Starts(problem, rng)
    seed = int(rng.integers(1 << 63))
    samples = np.arange(problem.union.n_samples)
    begun = [Chain(sweeps, starts.next(), sample_keys(seed, c, samples)) for c in range(chains)]
    visits = (chains * burn_in + (n - chains) * thin) * len(compiled.slot_message)
    threads = max(1, min(chains, _threads(problem.threads, visits)))

    def work(first: int, _: int, is_stopped: Callable[[], bool]) -> None:
        for c in range(first, chains, threads):
            for i in range(c, n, chains):
                begun[c].advance(problem.beta, burn_in if i == c else thin, is_stopped)
                states[i] = begun[c].state

    _share(work, [(thread, chains) for thread in range(threads)])
    _warn_of_chains(problem, states, chains, starts.infeasible, rng)
    states[:, starts.infeasible[compiled.variable_sample]] = -1
    return states


class Starts:
    """Assignments from which chains begin, each other than the last where there is a choice."""

    def __init__(self, problem: Problem, rng: np.random.Generator) -> None:
        self.problem, self.rng = problem, rng
        self.infeasible = np.zeros(problem.union.n_samples, bool)
        "(N,) proved, so far"
        self._best: I64 | None = None

    def next(self) -> I64:
        """States drawn at random, (V,); where these are forbidden, what min-sum finds for energies with Gumbel noise.

        Where it finds none that is allowed, the best of the energies themselves, by the method that `auto` chooses.
        """
        compiled = self.problem.compiled
        state: I64 = self.rng.integers(0, sizes(compiled.variable_start))
        for propose in (self._noisy, self._least):
            bad = self._forbidden(state)
            if not bad.any():
                return state
            state = np.where(bad[compiled.variable_sample], propose(), state)
        bad = self._forbidden(state)
        if bad.any():
            where = f" of sample {int(np.flatnonzero(bad)[0])}" if len(bad) > 1 else ""
            raise MethodError(
                f'method "gibbs" found no allowed assignment{where} to begin from, and no proof that there is none. '
                'Give the value of some variables (given=), or write method="junction_tree", exact where it fits.'
            )
        return state

    def _forbidden(self, state: I64) -> Bool:
        energy = assignment_energies(self.problem.union, self.problem.numbers, state)
        bad: Bool = (energy == np.inf) & ~self.infeasible
        return bad

    def _noisy(self) -> I64:
        scaled = self.problem.scaled
        noisy = Numbers(scaled.unary - self.rng.gumbel(size=len(scaled.unary)), scaled.store)
        return self._solve(noisy, BP, stop="feasible")

    def _least(self) -> I64:
        if self._best is None:
            seconds = self.problem.deadline - time.monotonic()
            self._best = self._solve(self.problem.numbers, choose(self.problem.union, True, (), seconds).method)
        return self._best

    def _solve(self, numbers: Numbers, method: Method, **options: Any) -> I64:
        problem = self.problem
        asked = Problem(problem.union, numbers, 1.0, True, None, problem.deadline, None, problem.threads)
        assert method.best is not None
        answer = method.best(asked, **{**method.options, **options})
        self.infeasible |= [status is Status.INFEASIBLE for status in answer.status]
        assert answer.states is not None
        return answer.states


def _warn_of_chains(problem: Problem, states: I64, chains: int, infeasible: Bool, rng: np.random.Generator) -> None:
    """Give a ConvergenceWarning where the draws of the chains differ more than those within a chain.

    What is compared is the energy, and a sum of random numbers, one for each state of each variable.
    """
    m = len(states) // max(chains, 1)
    if chains < 2 or m < FEWEST:
        return
    compiled = problem.compiled
    start = compiled.variable_start[:-1].astype(np.int64)
    number = rng.normal(size=compiled.unary_size)
    told = np.zeros((2, m * chains, len(infeasible)))
    for i, state in enumerate(np.maximum(states[: m * chains], 0)):
        told[0, i] = assignment_energies(problem.union, problem.numbers, state)
        told[1, i] = np.bincount(compiled.variable_sample, number[start + state], len(infeasible))
    told[:, :, infeasible] = 0.0
    apart = _apart(told.reshape(2, m, chains, -1))
    worst = int(np.argmax(apart))
    if apart[worst] > MOST_APART:
        where = f" (sample {worst})" if len(apart) > 1 else ""
        warnings.warn(
            f"the draws of {chains} chains disagree: they differ {apart[worst]:.3g} times as much as those within "
            f'one{where}, and {MOST_APART} is tolerated. Raise burn_in= and thin=, or write method="junction_tree". '
            "Where hard constraints let no variable change alone, no number of sweeps is enough.",
            ConvergenceWarning,
            stacklevel=6,
        )


def _apart(told: F64) -> F64:
    """The larger of the ratios of two statistics (2, draws, chains, N), (N,); 1 where nothing varies."""
    m = told.shape[1]
    within = told.var(axis=1, ddof=1).mean(axis=1)
    between = told.mean(axis=1).var(axis=1, ddof=1)
    # What does not vary is equal to rounding only.
    least = (1e-12 * np.abs(told).max(axis=(1, 2), initial=0.0)) ** 2
    within, between = (np.where(spread <= least, 0.0, spread) for spread in (within, between))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.sqrt((m - 1) / m + between / within)
    found: F64 = np.where(between == 0.0, 1.0, ratio).max(axis=0)
    return found


def check(options: Mapping[str, Any]) -> None:
    """Raise MethodError for a value that an option cannot have."""
    for name, least, what in (
        ("burn_in", 0, "sweeps before the first draw of each chain"),
        ("thin", 1, "sweeps between two draws of a chain"),
        ("chains", 1, "chains"),
    ):
        value = options[name]
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise MethodError(f"{name}= is a number of {what}, {least} or more, not {value!r}.")


METHOD = Method(
    name="gibbs",
    summary="sweeps that draw each variable given all others: approximate draws, for graphs of any size",
    best=None,
    marginals=None,
    options=OPTIONS,
    check=check,
    sample=sample,
    draws_exactly=False,
)
