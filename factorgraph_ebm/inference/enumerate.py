"""Enumeration: the joint energy of every connected component as one dense tensor. The oracle, for small graphs.

    E(x) = sum over factors,    F = -(1/beta) log sum exp(-beta E),    P(x) = exp(-beta (E(x) - F))

Exact for every question: minimise, sum, minimise over some variables what is summed over the others, draw, and list
the best. Components are independent: they are drawn one by one, and their lists are added up by `ranking`.
"""

from __future__ import annotations

import math

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Bool, Compiled, Numbers
from factorgraph_ebm.engine.ties import margins
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.inference.method import Answer, Method, Problem, Ranked, proved
from factorgraph_ebm.inference.ranking import Listed, first_of, places_of, rank_samples
from factorgraph_ebm.inference.tables import run_of, run_tables, scope_of

LARGEST = 1 << 24
"entries of one component's tensor above which the method refuses: 128 MiB"
_LESS = "Give the value of some variables (given=): what is left falls into smaller parts."
"what to try where no method does without the tensor"


class _Joint:
    """The joint energies of each component, built when asked for."""

    def __init__(self, problem: Problem, numbers: Numbers, advice: str = 'Write method="bp".') -> None:
        compiled = problem.compiled
        _refuse_large(compiled, advice)
        self.compiled = compiled
        self.unary = numbers.unary
        self.start = compiled.variable_start.astype(np.int64)
        self.states = np.diff(self.start)
        n = len(self.states)
        # By component, and in declared order within: the first of equal minimisers has the lowest states.
        order = np.lexsort((compiled.variable_cell, compiled.variable_component))
        label = compiled.variable_component[order]
        first = np.flatnonzero(np.diff(label, prepend=np.int64(-1)) != 0) if n else np.zeros(0, np.int64)
        self.members = [part.tolist() for part in np.split(order, first[1:])] if n else []
        number = np.empty(n, np.int64)
        number[label[first]] = np.arange(len(first))
        self.component = number[compiled.variable_component]
        self.runs = [run_of(compiled, r) for r in range(len(problem.union.layout.kinds))]
        self.scopes = [scope_of(compiled, r) for r in self.runs]
        self.tables = [run_tables(problem.union, numbers, r) for r in range(len(self.runs))]
        self.factors: list[list[tuple[int, int]]] = [[] for _ in self.members]
        for r, scope in enumerate(self.scopes):
            if scope.shape[1]:
                for f, c in enumerate(self.component[scope[0]].tolist()):
                    self.factors[c].append((r, f))

    def axes(self, c: int) -> list[int]:
        """The variables that are axes of a component's tensor: those with a choice."""
        return [v for v in self.members[c] if self.states[v] > 1]

    def energies(self, c: int) -> F64:
        axes = self.axes(c)
        axis = {v: i for i, v in enumerate(axes)}
        total = np.zeros([int(self.states[v]) for v in axes])
        for v in self.members[c]:
            row = self.unary[self.start[v] : self.start[v + 1]]
            total += row.reshape([-1 if w == v else 1 for w in axes] if v in axis else ())
        for r, f in self.factors[c]:
            total += self._aligned(self.tables[r][f], self.scopes[r][:, f].tolist(), axis)
        return total

    def _aligned(self, table: F64, scope: list[int], axis: dict[int, int]) -> F64:
        """A factor's table with its axes where the tensor has them."""
        kept = [v for v in scope if v in axis]
        squeezed = table.reshape([int(self.states[v]) for v in kept])
        turned = squeezed.transpose(np.argsort([axis[v] for v in kept]))
        shape = [1] * len(axis)
        for v in kept:
            shape[axis[v]] = int(self.states[v])
        return turned.reshape(shape)

    def reduced(self, weight: F64, c: int, variables: list[int]) -> F64:
        """Sums of a component's tensor over all axes but `variables`, in their order, (*states)."""
        axes = self.axes(c)
        kept = [v for v in variables if self.states[v] > 1]
        gone = tuple(i for i in range(len(axes)) if axes[i] not in kept)
        left = [v for v in axes if v in kept]
        summed: F64 = weight.sum(axis=gone) if gone else weight
        turned = np.transpose(summed, [left.index(v) for v in kept])
        return turned.reshape([int(self.states[v]) for v in variables])


def entries(compiled: Compiled) -> tuple[float, float]:
    """Entries of the tensors of all components: of the largest, and in all."""
    states = np.diff(compiled.variable_start.astype(np.int64))
    if not len(states):
        return 0.0, 0.0
    logs = np.bincount(compiled.variable_component, np.log2(states))
    present = np.bincount(compiled.variable_component) > 0
    with np.errstate(over="ignore"):
        sizes = np.exp2(logs[present])
    return float(sizes.max()), float(sizes.sum())


def _refuse_large(compiled: Compiled, advice: str) -> None:
    largest, _ = entries(compiled)
    if largest > LARGEST * 1.001:
        states = np.diff(compiled.variable_start.astype(np.int64))
        logs = np.bincount(compiled.variable_component, np.log2(states))
        n = int(np.bincount(compiled.variable_component)[int(np.argmax(logs))])
        size = f"{8 * largest:,.0f} bytes" if largest < 1e18 else f"2 ** {logs.max() + 3:.0f} bytes"
        raise MethodError(
            f'method "enumerate" would need {size} for a connected part of {n:,} variables '
            f"(at most {8 * LARGEST:,} bytes). {advice}"
        )


def best(problem: Problem) -> Answer:
    """The least energy, or the least free energy of what is summed; ties go to the lowest states."""
    compiled = problem.compiled
    joint = _Joint(problem, problem.scaled)
    soft = compiled.variable_soft.astype(bool)
    state = np.where(soft, -1, 0).astype(np.int64)
    free = np.zeros(len(compiled.sample_chunk))
    for c, members in enumerate(joint.members):
        axes = joint.axes(c)
        hard = [i for i in range(len(axes)) if not soft[axes[i]]]
        rest = [i for i in range(len(axes)) if soft[axes[i]]]
        energy = joint.energies(c)
        chosen = [energy.shape[i] for i in hard]
        rows = energy.transpose(hard + rest).reshape(math.prod(chosen), -1)
        values = _soft_minimum(rows) if rest else rows[:, 0]
        where = int(np.argmin(values))
        free[compiled.variable_sample[members[0]]] += values[where]
        for i, s in zip(hard, np.unravel_index(where, chosen)):
            state[axes[i]] = int(s)

    def excess() -> F64:
        """Least energy with each state of each variable, above the least of its component, (unary_size,)."""
        found = np.zeros(compiled.unary_size)
        for c, members in enumerate(joint.members):
            axes = joint.axes(c)
            energy = joint.energies(c)
            low = energy.min() if energy.min() < np.inf else 0.0
            for v in members:
                if v in axes:
                    gone = tuple(i for i in range(len(axes)) if axes[i] != v)
                    found[joint.start[v] : joint.start[v + 1]] = energy.min(axis=gone) - low
        return found

    scale = problem.beta if problem.any_soft and problem.beta not in (0.0, np.inf) else 1.0
    return Answer(
        **proved("enumerate", free == np.inf),
        states=state,
        free_energy=free / scale if problem.any_soft else None,
        message_beta=scale,
        excess=excess,
    )


def marginals(problem: Problem) -> Answer:
    """Probabilities, and the sum over all assignments; at beta = inf uniform over the minimisers, which are counted."""
    compiled = problem.compiled
    joint = _Joint(problem, problem.scaled)
    cold = problem.beta == np.inf
    n_samples = len(compiled.sample_chunk)
    least, log_sum = np.zeros(n_samples), np.zeros(n_samples)
    probability = np.zeros(compiled.unary_size)
    for c, members in enumerate(joint.members):
        weight, low, total = _weights(joint.energies(c), cold)
        sample = compiled.variable_sample[members[0]]
        least[sample] += low
        log_sum[sample] += math.log(total) if total > 0 else -math.inf
        for v in members:
            probability[joint.start[v] : joint.start[v + 1]] = joint.reduced(weight, c, [v])
    infeasible = least == np.inf

    def joint_of(run: int) -> F64:
        """Joint probabilities of the factors of a run, (n, *states)."""
        fields, scope = joint.runs[run], joint.scopes[run]
        out = np.empty((fields.size, *fields.states))
        component = joint.component[scope[0]] if fields.size else np.zeros(0, np.int64)
        for c in np.unique(component).tolist():
            weight, _, _ = _weights(joint.energies(c), cold)
            for f in np.flatnonzero(component == c).tolist():
                out[f] = joint.reduced(weight, c, scope[:, f].tolist())
        return out

    answer = Answer(**proved("enumerate", infeasible), marginals=probability, joint=joint_of)
    if cold:
        return answer._replace(least_energy=least, log_count=np.where(infeasible, -np.inf, log_sum))
    return answer._replace(log_partition=np.where(infeasible, -np.inf, log_sum - least))


def sample(problem: Problem, n: int, rng: np.random.Generator) -> I64:
    """Draw from each component's table by its cumulative sums; at beta = inf uniformly among the minimisers."""
    compiled = problem.compiled
    joint = _Joint(problem, problem.scaled, _LESS)
    states = np.zeros((n, len(joint.states)), np.int64)
    feasible = np.ones(len(compiled.sample_chunk), bool)
    for c, members in enumerate(joint.members):
        weight, _, total = _weights(joint.energies(c), problem.beta == np.inf)
        axes = joint.axes(c)
        if total == 0.0:
            feasible[compiled.variable_sample[members[0]]] = False
        elif axes:
            cumulative = np.cumsum(weight)
            # Less than the last sum, as random() is less than 1: the entry above it has a weight that is not 0.
            where = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
            for v, column in zip(axes, np.unravel_index(where, weight.shape)):
                states[:, v] = column
    states[:, ~feasible[compiled.variable_sample]] = -1
    return states


def k_best(problem: Problem, k: int, asked: Bool) -> Ranked:
    """Sort each component's table, reduced to what is asked by its least completion."""
    compiled = problem.compiled
    joint = _Joint(problem, problem.numbers, _LESS)
    place = places_of(compiled, asked)
    parts: list[list[Listed]] = [[] for _ in compiled.sample_chunk]
    for c, members in enumerate(joint.members):
        parts[compiled.variable_sample[members[0]]].append(_listed(joint, c, place, asked, k))
    return rank_samples("enumerate", parts, place, k)


def _listed(joint: _Joint, c: int, place: I64, asked: Bool, k: int) -> Listed:
    """The k best of a component."""
    axes = joint.axes(c)
    kept = [i for i in range(len(axes)) if asked[axes[i]]]
    rest = [i for i in range(len(axes)) if not asked[axes[i]]]
    energy = joint.energies(c)
    shape = [energy.shape[i] for i in kept]
    rows = energy.transpose(kept + rest).reshape(math.prod(shape), -1)
    values = rows.min(axis=1)
    first = first_of(values, k)
    state = {v: np.zeros(len(first), np.int64) for v in joint.members[c]}
    if kept:
        state.update(zip((axes[i] for i in kept), np.unravel_index(first, shape)))
    if rest:
        completion = rows[first].argmin(axis=1)
        state.update(zip((axes[i] for i in rest), np.unravel_index(completion, [energy.shape[i] for i in rest])))
    variables = np.array(sorted(state, key=place.__getitem__), np.int64)
    return Listed(values[first], place[variables], np.stack([state[v] for v in variables.tolist()], axis=1))


def _weights(energy: F64, cold: bool) -> tuple[F64, float, float]:
    """Probabilities, the least energy, and the sum of exp(least - energy), or the number of minimisers."""
    low = float(energy.min())
    if low == np.inf:
        return np.zeros_like(energy), low, 0.0
    weight = (energy - low <= margins(np.array(low))).astype(np.float64) if cold else np.exp(low - energy)
    total = float(weight.sum())
    return weight / total, low, total


def _soft_minimum(rows: F64) -> F64:
    """-log sum exp(-row) of each row; +inf where all is forbidden."""
    low = rows.min(axis=1)
    shift = np.where(np.isfinite(low), low, 0.0)
    with np.errstate(divide="ignore"):
        found: F64 = shift - np.log(np.exp(shift[:, None] - rows).sum(axis=1))
    return found


METHOD = Method(
    name="enumerate",
    summary="every assignment of each connected part: exact, for small graphs",
    best=best,
    marginals=marginals,
    options={},
    sample=sample,
    k_best=k_best,
)
