"""Unions of drawn graphs, bound, with brute force beside them: what tests of the verbs of learning ask about."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from oracle import Joint, brute, layout

from factorgraph_ebm.arrays import Numbers
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.union import Union, compile_union
from factorgraph_ebm.factors import STRUCTURES
from factorgraph_ebm.inference.energies import assignment_energies
from factorgraph_ebm.inference.number_maps import numbers_of
from factorgraph_ebm.inference.tables import run_of


@dataclasses.dataclass
class Bound:
    """A union with its numbers, and what each sample is."""

    union: Union
    numbers: Numbers
    cases: list[Any]
    states: np.ndarray
    "(cells,) the given ones"
    known: list[np.ndarray]

    @property
    def n(self) -> int:
        return len(self.cases)

    @property
    def values(self) -> list[dict[str, np.ndarray]]:
        return [case.values for case in self.cases]

    def cells(self, sample: int) -> slice:
        first, stop = self.union.compiled.sample_cell_start[sample : sample + 2]
        return slice(int(first), int(stop))

    def joint(self, sample: int, values: dict[str, np.ndarray] | None = None) -> Joint:
        """Brute force over the free cells of a sample."""
        case = self.cases[sample]
        where = layout(case.graph)
        names = [(name, i) for name, v in where.variables.items() for i in range(v.size)]
        mine = self.states[self.cells(sample)]
        held = {names[c]: int(mine[c]) for c in np.flatnonzero(self.known[sample])}
        return brute(case.graph, held, case.values if values is None else values)

    def engine(self, states: list[np.ndarray]) -> np.ndarray:
        """State of every engine variable from the states of the cells of every sample."""
        compiled = self.union.compiled
        free = compiled.cell_variable >= 0
        chosen = np.zeros(len(compiled.variable_cell), np.int64)
        chosen[compiled.cell_variable[free]] = np.concatenate([*states, np.zeros(0, np.int64)])[free]
        return chosen

    def draw_states(self, rng: np.random.Generator) -> np.ndarray:
        states = np.diff(self.union.compiled.variable_start.astype(np.int64))
        return rng.integers(0, states)

    def draw_numbers(self, rng: np.random.Generator) -> Numbers:
        """Other numbers of the same layout, all finite; 0 where a structure has nothing to learn."""
        drawn = Numbers(rng.normal(size=self.numbers.unary.shape), rng.normal(size=self.numbers.store.shape))
        compiled = self.union.compiled
        for run, kind in enumerate(self.union.layout.kinds):
            fields = run_of(compiled, run)
            if not STRUCTURES[kind].has_numbers:
                size = STRUCTURES[kind].row_size(fields.states, compiled.constants[fields.constant :])
                drawn.store[numbers_of(self.union, fields)[:, None] + np.arange(size)] = 0.0
        return drawn

    def expected_energies(self, beta: float, other: Numbers) -> np.ndarray:
        """The mean under the Gibbs distribution of the energy that `other` numbers give, (n,); 0 where infeasible."""
        joints = [self.joint(s) for s in range(self.n)]
        rows = max(len(j.states) for j in joints)
        total = np.zeros(self.n)
        for i in range(rows):
            chosen = self.engine([j.states[min(i, len(j.states) - 1)] for j in joints])
            energy = assignment_energies(self.union, other, chosen)
            for s, j in enumerate(joints):
                probability = j.probabilities(beta)[i] if i < len(j.states) and j.feasible else 0.0
                total[s] += probability * energy[s] if probability > 0.0 else 0.0
        return total


def bind_cases(cases: list[Any], rng: np.random.Generator, share: float = 0.3, **options: Any) -> Bound:
    """A union of these cases, a random share of whose cells is given in random states."""
    known = [rng.random(c.graph.n_cells) < share for c in cases]
    states = np.concatenate([np.where(k, rng.integers(0, c.graph.cell_states), 0) for c, k in zip(cases, known)])
    union = compile_union([Sample(c.graph, k) for c, k in zip(cases, known)], **options)
    return Bound(union, union.bind([c.values for c in cases], states), cases, states, known)


def dot(one: Numbers, two: Numbers) -> float:
    """The product of a gradient with numbers of the same layout."""
    return float(one.unary @ two.unary + one.store @ two.store)
