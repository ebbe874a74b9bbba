"""Some samples compiled into one union, with their right answers in its terms, ready to be asked."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from factorgraph_ebm.answers.declared import factor_of_engine
from factorgraph_ebm.arrays import F64, I64, Bool, Compiled, Numbers
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.selection import Selection, select_samples
from factorgraph_ebm.compiler.union import Union, compile_union
from factorgraph_ebm.learning.data import Data
from factorgraph_ebm.learning.sources import Sources
from factorgraph_ebm.losses.costs import cost_row


class Batch:
    """A union of the samples `chosen` of some data.

    Attributes
    ----------
    union : of the samples, what is given sliced away
    target : (V,) right state of every engine variable; -1 where there is none. A ground has its one state
    labelled : (n_labelled,) engine variables that have a right answer, ascending
    owner : (n_labelled,) their samples
    latent : (n,) whether a sample has variables without a right answer
    judged : (n,) whether a sample has variables with one: the others add nothing to a loss
    """

    def __init__(
        self, data: Data, chosen: Sequence[int] | I64, *, soft: bool = False, rewrite: bool = True, held: bool = False
    ) -> None:
        """`soft`: what has no right answer is summed out of minimisations; `rewrite`: as in `compile_union`; `held`:
        right answers are given."""
        self.data = data
        self.chosen = np.asarray(chosen, np.int64)
        numbers = self.chosen.tolist()
        samples = []
        for i in numbers:
            known = data.given[i].known | data.targets[i].known if held else data.given[i].known
            mask = ~(known | data.targets[i].known) if soft else None
            samples.append(Sample(data.graphs[i], known if known.any() else None, mask))
        self.union: Union = compile_union(samples, rewrite=rewrite)
        self.sources = Sources(self.union)
        self.reals = [data.given[i].reals for i in numbers]
        self._any_reals = any(self.reals)
        self.states: I64 = np.concatenate([data.given[i].states for i in numbers])
        right = np.concatenate([np.where(data.labelled(i), data.targets[i].states, -1) for i in numbers])
        variable = self.compiled.cell_variable
        self.target: I64 = np.full(len(self.compiled.variable_cell), -1)
        free = variable >= 0
        self.target[variable[free]] = right[free]
        self.target[self.compiled.ground] = -1
        self.labelled: I64 = np.flatnonzero(self.target >= 0)
        self.owner: I64 = self.compiled.variable_sample[self.labelled].astype(np.int64)
        self.target[self.compiled.ground] = 0
        n = len(numbers)
        unknown = self.compiled.variable_sample[self.target < 0]
        self.latent: Bool = np.bincount(unknown, minlength=n) > 0
        self.judged: Bool = np.bincount(self.owner, minlength=n) > 0
        self._cost: tuple[Any, F64] | None = None
        "that was asked for last, and what it comes to"

    @property
    def n(self) -> int:
        return len(self.chosen)

    @property
    def compiled(self) -> Compiled:
        return self.union.compiled

    @functools.cached_property
    def whole(self) -> Selection:
        """All of its samples."""
        return select_samples(self.union)

    @functools.cached_property
    def summed(self) -> Batch:
        """The same samples with what has no right answer summed out of minimisations."""
        return Batch(self.data, self.chosen, soft=True)

    @functools.cached_property
    def apart(self) -> Batch:
        """The same samples with every declared factor by itself."""
        return Batch(self.data, self.chosen, rewrite=False)

    @functools.cached_property
    def _held(self) -> Batch:
        return Batch(self.data, self.chosen, held=True)

    def answered(self, said: I64) -> Batch:
        """The same samples with all that has a right answer given, in the states `said` (V,): what is left of loops.

        Where latent variables meet only in what is labelled, as the hidden units of a Boltzmann machine do, nothing is.
        """
        held = copy.copy(self._held)
        held.states = self.states.copy()
        held.states[self.compiled.variable_cell[self.labelled]] = said[self.labelled]
        return held

    def with_latents(self, held: Batch, states: I64) -> I64:
        """The states (V,) of this batch, from those of what is latent in `answered`, and what is given there."""
        compiled = self.compiled
        cells = held.compiled.cell_variable
        found = np.where(cells >= 0, states[cells], held.states)[np.maximum(compiled.variable_cell, 0)]
        found[compiled.ground] = 0
        return found

    def bind(self, values: Mapping[str, F64], threads: int | None = None) -> Numbers:
        """The numbers at these values of the parameters."""
        return self.sources.bind(self._values(values), self.states, threads)

    def pull(
        self, values: Mapping[str, F64], gradient: Numbers, into: Mapping[str, F64], threads: int | None = None
    ) -> None:
        """Add a gradient with respect to the numbers, which is used up, to those of the parameters."""
        self.sources.pull(self._values(values), self.states, gradient, into, threads)

    def pull_one(self, sample: int, values: Mapping[str, F64], gradient: Numbers, into: Mapping[str, F64]) -> None:
        """`pull` where the gradient is of one sample alone, by its number in the batch."""
        reals = self.reals[sample]
        self.sources.pull_one(sample, {**values, **reals} if reals else values, self.states, gradient, into)

    def _values(self, values: Mapping[str, F64]) -> list[Mapping[str, F64]]:
        if not self._any_reals:
            return [values] * self.n
        return [{**values, **reals} if reals else values for reals in self.reals]

    def factor_of_engine(self, number: int) -> str:
        """Name what became a factor of the engine: as it was declared, and in which sample."""
        return factor_of_engine(self.union, [self.data.graphs[i] for i in self.chosen.tolist()], number, self.chosen)

    def by_sample(self, of_variables: F64 | Bool) -> F64:
        """Sums over the labelled variables of each sample, (n,)."""
        total: F64 = np.bincount(self.owner, of_variables, self.n).astype(np.float64)
        return total

    def cost(self, cost: Any) -> F64:
        """What it costs to say each state of each variable, (unary_size,), 0 where there is no right answer."""
        if self._cost is None or self._cost[0] is not cost:
            self._cost = cost, self._cost_of(cost)
        return self._cost[1]

    def _cost_of(self, cost: Any) -> F64:
        found = np.zeros(self.compiled.unary_size)
        start = self.compiled.variable_start.astype(np.int64)
        k = start[self.labelled + 1] - start[self.labelled]
        names = self._names()
        for name, states in {(name, n) for name, n in zip(names, k.tolist())}:
            here = self.labelled[(k == states) & (np.array(names) == name)]
            found[start[here][:, None] + np.arange(states)] = cost_row(cost, name, states, self.target[here])
        return found

    def _names(self) -> list[str]:
        """The name of each labelled variable."""
        name = np.zeros(len(self.compiled.cell_variable), np.int64)
        table: dict[str, int] = {}
        at = self.compiled.sample_cell_start.tolist()
        for i, sample in enumerate(self.chosen.tolist()):
            graph = self.data.graphs[sample]
            for each, offset in graph.cell_offset.items():
                low = at[i] + offset
                name[low : low + graph[each].size] = table.setdefault(each, len(table))
        listed = list(table)
        return [listed[j] for j in name[self.compiled.variable_cell[self.labelled]].tolist()]
