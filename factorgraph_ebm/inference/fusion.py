"""The best of all mixtures of two assignments: every variable keeps its state, or takes another, by one minimum cut.

    E(x) = sum of E_f(x_f),    x_v in {kept_v, other_v}

is a sum of tables over two states, whatever the variables have. Where all of these are submodular a maximum flow finds
the least (V. Kolmogorov and R. Zabih, IEEE Trans. Pattern Analysis and Machine Intelligence 26(2), 2004); of several,
the one that keeps most. Two-state variables that keep 0 and take 1 make a minimum cut of the whole energy.

Flow is counted in whole numbers (`engine.cut_graph`). What is left of the flow that the source could give bounds the
energy from below, whenever the flow is stopped:

    E(x) >= E(kept) - sum of what the source has left - loss,    loss = units for entries and tables that were rounded
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, I64, U8, U32, U64, Bool, Compiled
from factorgraph_ebm.compiler.layout import sizes
from factorgraph_ebm.engine.cut_graph import (
    BITS,
    MUST_BE_0,
    MUST_BE_1,
    largest_of_components,
    measure_pairs,
    place_pairs,
    settle_forced,
)
from factorgraph_ebm.engine.max_flow import NONE, begin_flow, cancel_neighbours, push_flow
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.inference.energies import energies_of_run, run_energies
from factorgraph_ebm.inference.method import FactorRefused, Problem
from factorgraph_ebm.inference.passing import paced
from factorgraph_ebm.inference.tables import run_of, run_tables, scope_of

SLICE = 1 << 20
"factors that one compiled call works on: between calls Python hears of Ctrl-C"
FIRST = 1 << 20
"arcs that the first call looks at, some milliseconds"
SUMMED = 1e-15
"of the magnitudes of what is added: what a sum of floats may lose"


class Pairs(NamedTuple):
    """A run whose factors are over two variables of two states or more, others left aside."""

    run: int
    first: int
    "number of its first factor"
    left: U32
    "(n,)"
    right: U32


class Energies(NamedTuple):
    """Energies of the factors of a run in four states: 00, 01, 10 and 11, where 1 is the other state."""

    values: F64
    row: int
    "from one factor to the next"
    column: int
    "from one state to the next"


class Fused(NamedTuple):
    """What came out, for each of V variables or N samples."""

    takes: Bool
    "(V,) whether the variable takes the other state; False throughout components in which nothing is allowed"
    impossible: Bool
    "(N,) every mixture is forbidden"
    left: F64
    "(N,) what the source has left: energy of what keeps all, less the energy of this, up to `loss`"
    loss: F64
    "(N,) energy that rounding can have cost"
    exact: Bool
    "(N,) the loss is what sums of floats lose as well"
    finished: bool


class Fusion:
    """The structure of a problem's cuts, made once.

    Raises
    ------
    FactorRefused : a factor is over three variables of two states or more.
    """

    def __init__(self, problem: Problem, method: str) -> None:
        self.problem, self.method = problem, method
        compiled = problem.compiled
        self.pairs: list[Pairs] = []
        self.others: list[tuple[int, I64]] = []
        "runs over at most one variable of two states or more, and that variable of each factor"
        for run in range(len(problem.union.layout.kinds)):
            fields = run_of(compiled, run)
            wide = [s for s, k in enumerate(fields.states) if k > 1]
            if fields.size == 0:
                continue
            if len(wide) > 2:
                raise FactorRefused(
                    fields.factor, f'method "{method}" needs factors over at most two variables', "has more"
                )
            scope = compiled.scope[fields.scope : fields.scope + fields.arity * fields.size]
            scope = scope.reshape(fields.arity, fields.size)
            if len(wide) == 2:
                self.pairs.append(Pairs(run, fields.factor, scope[wide[0]], scope[wide[1]]))
            else:
                self.others.append((run, scope[wide[0] if wide else 0].astype(np.int64)))
        self.start = _arc_start(compiled, self.pairs)
        n, arcs = len(self.start) - 1, int(self.start[-1])
        if arcs >= 1 << 32:
            raise MethodError(f'method "{method}" takes graphs of less than 2**31 pairs, not of {arcs // 2:,}.')
        self.head, self.sister = np.empty(arcs, np.uint32), np.empty(arcs, np.uint32)
        self.residual = np.empty(2 * arcs, np.int64)
        self.node = np.empty(4 * n, np.uint32)
        self.queue, self.orphans = np.empty(n, np.uint32), np.empty(n, np.uint32)
        self.cursor = np.zeros(4, np.int64)

    def cut(self) -> Fused:
        """The least energy of all, of variables of one or two states: all keep 0 or take 1."""
        states = sizes(self.problem.compiled.variable_start)
        return self._fuse(np.zeros(len(states), np.int64), states - 1, [self._whole(each) for each in self.pairs])

    def fuse(self, kept: I64, other: I64) -> Fused:
        """The best mixture of two assignments (V,).

        Raises
        ------
        FactorRefused : the states of a factor are not submodular.
        """
        return self._fuse(kept, other, [self._tables(each, kept, other) for each in self.pairs])

    def refuse(self) -> None:
        """Raise what `cut` would raise: it looks at the energies of pairs, and nothing else."""
        n = len(self.start) - 1
        self._measure([self._whole(each) for each in self.pairs], np.zeros(n), np.zeros(n), np.zeros(n, np.uint8))

    def _measure(self, tables: list[Energies], magnitude: F64, loss: F64, unlimited: U8) -> None:
        component = self.problem.compiled.variable_component
        for pairs, table in zip(self.pairs, tables):
            for low, high in _slices(len(pairs.left)):
                found = measure_pairs(
                    *table, pairs.left, pairs.right, component, magnitude, loss, unlimited, low, high
                )
                if found >= 0:
                    raise repels(self.method, pairs.first + int(found))

    def _fuse(self, kept: I64, other: I64, tables: list[Energies]) -> Fused:
        """The same, of these energies of pairs."""
        compiled = self.problem.compiled
        component, sample = compiled.variable_component, compiled.variable_sample
        n, n_samples = len(kept), len(compiled.sample_chunk)
        costs = self._single_energies(kept), self._single_energies(other)
        magnitude = _magnitude(costs[0]) + _magnitude(costs[1])
        loss, unlimited = np.ones(n), np.zeros(n, np.uint8)
        self._measure(tables, magnitude, loss, unlimited)
        half = _half_units(magnitude, component, unlimited)
        forced = np.zeros(n, np.uint8)
        excess = np.zeros(n, np.int64)
        for cost, sign, must in zip(costs, (1, -1), (MUST_BE_1, MUST_BE_0)):
            forbidden = cost == np.inf
            if forbidden.any():
                forced[forbidden] |= must
                cost = np.where(forbidden, 0.0, cost)
            # Two multiplications: half * half may be more than a float can hold.
            excess += sign * (cost * half * half).astype(np.int64)
        cursor = self.start[:-1].copy()
        for pairs, table in zip(self.pairs, tables):
            for low, high in _slices(len(pairs.left)):
                place_pairs(
                    *table, pairs.left, pairs.right, half, cursor, self.head, self.sister, self.residual, excess, loss,
                    forced, low, high,
                )  # fmt: skip
        del tables
        impossible = np.zeros(n, np.uint8)
        if forced.any():
            arcs = self.start, self.head, self.sister
            settle_forced(*arcs, component, self.residual, excess, forced, impossible, self.queue)
        gone = impossible[component] > 0
        excess[gone] = 0
        finished = self._flow(excess)
        from_source = (self.node[0::4] != NONE) & (self.node[3::4] & 1 == 0)
        takes = np.where(forced > 0, forced == MUST_BE_1, from_source) & ~gone
        # Both sides may have lost: what was found, and what would have been better.
        lost = np.bincount(sample, 2.0 * loss / half / half, n_samples)
        weight = np.bincount(sample, magnitude, n_samples)
        left = np.bincount(sample, np.maximum(excess, 0) / half / half, n_samples).astype(np.float64)
        none = np.zeros(n_samples, bool)
        none[sample[gone]] = True
        return Fused(takes, none, left, lost + SUMMED * weight, lost <= 1e3 * SUMMED * weight, finished)

    def _single_energies(self, state: I64) -> F64:
        """What each variable pays by itself, (V,)."""
        problem = self.problem
        energy: F64 = problem.numbers.unary[problem.compiled.variable_start[:-1].astype(np.int64) + state]
        for run, variable in self.others:
            scope = scope_of(problem.compiled, run_of(problem.compiled, run))
            own = run_energies(problem.union, problem.numbers, run, state[scope])
            energy = energy + np.bincount(variable, own, len(state))
        return energy

    def _whole(self, pairs: Pairs) -> Energies:
        """The tables of the factors as they are, one where all share it."""
        problem = self.problem
        shared = run_of(problem.compiled, pairs.run).shared >= 0
        tables = run_tables(problem.union, problem.numbers, pairs.run, np.zeros(1, np.int64) if shared else None)
        return Energies(np.ascontiguousarray(tables).reshape(-1), 0 if shared else 4, 1)

    def _tables(self, pairs: Pairs, kept: I64, other: I64) -> Energies:
        """Energies of the factors with none, the right, the left and both variables in their other states."""
        problem = self.problem
        fields = run_of(problem.compiled, pairs.run)
        scope = scope_of(problem.compiled, fields)
        first, second = (s for s, k in enumerate(fields.states) if k > 1)
        energies = energies_of_run(problem.union, problem.numbers, pairs.run)
        states, n = kept[scope], len(pairs.left)
        table = np.empty(4 * n)
        for place, moved in enumerate(((), (second,), (first,), (first, second))):
            chosen = states.copy() if moved else states
            for slot in moved:
                chosen[slot] = other[scope[slot]]
            table[place * n : place * n + n] = energies(chosen)
        return Energies(table, 1, n)

    def _flow(self, excess: I64) -> bool:
        """Push what can flow; False where time was up before."""
        cancel_neighbours(self.start, self.head, self.sister, self.residual, excess)
        begin_flow(excess, self.node, self.queue, self.cursor)
        budget = FIRST
        while True:
            began = time.perf_counter()
            done = push_flow(
                self.start, self.head, self.sister, self.residual, excess, self.node, self.queue, self.orphans,
                self.cursor, budget,
            )  # fmt: skip
            if done == 0:
                return True
            if self.problem.is_late():
                return False
            budget = paced(int(done), time.perf_counter() - began)


def repels(method: str, factor: int) -> FactorRefused:
    """The error that says which factor has states that do not attract, by its number in the engine."""
    condition = "E(0, 0) + E(1, 1) <= E(0, 1) + E(1, 0)"
    if method == "expansion":
        condition = "E(a, a) + E(b, c) <= E(a, c) + E(b, a) for all states a, b, c"
    return FactorRefused(factor, f'method "{method}" needs pairs that attract, {condition}', "does not")


def _arc_start(compiled: Compiled, pairs: list[Pairs]) -> U64:
    """Where the arcs of each variable begin, (V + 1,)."""
    n = len(compiled.variable_cell)
    if 2 * sum(len(each.left) for each in pairs) == len(compiled.scope):  # each slot has an arc
        return compiled.variable_slot_start.astype(np.uint64)
    degree = np.zeros(n, np.int64)
    for each in pairs:
        degree += np.bincount(each.left, minlength=n) + np.bincount(each.right, minlength=n)
    return np.concatenate([[0], np.cumsum(degree)]).astype(np.uint64)


def _magnitude(cost: F64) -> F64:
    size: F64 = np.abs(cost)
    if size.max(initial=0.0) == np.inf:
        size[size == np.inf] = 0.0
    return size


def _half_units(magnitude: F64, component: U32, unlimited: U8) -> F64:
    """The square root of units in an energy of 1 nat, a power of two, for each variable, (V,)."""
    largest = np.zeros(len(magnitude))
    largest_of_components(magnitude, component, largest)
    if unlimited.any():
        total = np.bincount(component, magnitude, len(magnitude))
        largest = np.where(unlimited > 0, total, largest)
    # A component in which all is 0 loses nothing: its units are none.
    half = np.where(largest > 0.0, np.ldexp(1.0, (BITS - np.frexp(largest)[1]) // 2), 2.0**600)
    found: F64 = half[component]
    return found


def _slices(size: int) -> Iterator[tuple[int, int]]:
    for low in range(0, size, SLICE):
        yield low, min(low + SLICE, size)




def single_states(problem: Problem) -> I64:
    """The state of least energy of each variable by itself, (V,), the lowest of several."""
    start = problem.compiled.variable_start.astype(np.int64)
    unary = problem.numbers.unary
    least = np.minimum.reduceat(unary, start[:-1]) if len(unary) else unary
    place = np.flatnonzero(unary == np.repeat(least, np.diff(start)))
    owner = np.searchsorted(start, place, side="right") - 1
    first = np.concatenate([[True], owner[1:] != owner[:-1]])[: len(owner)]
    state: I64 = place[first] - start[:-1]
    return state


def started(problem: Problem, otherwise: I64) -> I64:
    """The states to begin from, (V,), and `otherwise` where none is known."""
    if problem.start is None or problem.start.states is None:
        return otherwise
    return np.where(problem.start.states >= 0, problem.start.states, otherwise)
