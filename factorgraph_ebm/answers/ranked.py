"""The best assignments in order, in the words of the graph: each is a result as of `minimize`, made when asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from factorgraph_ebm.answers.answered import Answered, cell_states
from factorgraph_ebm.answers.result import MinimizeResult, Status
from factorgraph_ebm.arrays import I64, Values
from factorgraph_ebm.graph.assignment import Given
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.inference.method import Answer, Problem, Ranked


class RankedResult(MinimizeResult):
    """One of the k best assignments.

    As `MinimizeResult`; OPTIMAL says that its place in the order is proved.

    Attributes
    ----------
    rank : how many assignments of what is asked come before it: 0 is the best; None where that was not counted
    energy : of the assignment, nats
    lower_bound : energy of the best; `gap` is how much this one has more

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> y = fg.output("y", states=["low", "middle", "high"])
    >>> second = fg.k_best(fg.FactorGraph([fg.Table([y], energies=[2.0, 0.5, 0.0])]), 2)[1]
    >>> second
    <RankedResult: energy 0.5, rank 1, optimal by enumerate in 1 iteration
      y  'middle'>
    >>> second.gap
    0.5
    """

    __slots__ = ("rank",)

    def __init__(self, answered: Answered, sample: int, rank: int | None) -> None:
        super().__init__(answered, sample)
        self.rank = rank

    @property
    def lower_bound(self) -> float | None:
        """Energy of the best assignment, up to rounding; never above `energy`."""
        if self.rank == 0:
            return self.energy
        least = self._answered.answer.lower_bound
        assert least is not None
        return min(float(least[self._sample]), self.energy)

    def _header(self) -> str:
        return f"rank {'unknown' if self.rank is None else self.rank}, {super()._header()}"


class RankedAnswer:
    """A problem, the best assignments of its samples, and their graphs, givens and values."""

    def __init__(
        self,
        problem: Problem,
        ranked: Ranked,
        graphs: Sequence[FactorGraph],
        given: Sequence[Given],
        values: Sequence[Values],
    ) -> None:
        self.problem = problem
        self.ranked = ranked
        self.graphs = graphs
        self.given = given
        self.values = values
        self.lengths = ranked.lengths
        self._answered: dict[int, Answered] = {}

    def states(self, sample: int) -> I64:
        """State of each cell of a sample in each of its assignments, (m, n_cells)."""
        states = self.ranked.states[: self.lengths[sample]]
        return cell_states(self.problem.compiled, sample, self.given[sample], states)

    def result(self, sample: int, rank: int) -> RankedResult:
        if rank not in self._answered:
            self._answered[rank] = Answered(self.problem, self._answer(rank), self.graphs, self.given, self.values)
        return RankedResult(self._answered[rank], sample, rank)

    def beyond(self, sample: int, states: I64) -> RankedResult:
        """The result with these states of all cells of a sample, (n_cells,), whose place is not known."""
        compiled = self.problem.compiled
        first, stop = compiled.sample_cell_start[sample : sample + 2]
        variable = compiled.cell_variable[first:stop]
        chosen = np.zeros(len(compiled.variable_cell), np.int64)
        chosen[variable[variable >= 0]] = states[variable >= 0]
        answer = self._answer(0)._replace(states=chosen)
        return RankedResult(Answered(self.problem, answer, self.graphs, self.given, self.values), sample, None)

    def results(self, sample: int) -> list[RankedResult]:
        return [self.result(sample, rank) for rank in range(int(self.lengths[sample]))]

    def _answer(self, rank: int) -> Answer:
        n = len(self.graphs)
        return Answer(
            self.ranked.method,
            (Status.OPTIMAL,) * n,
            np.ones(n, np.int64),
            np.zeros(n),
            states=self.ranked.states[rank],
            lower_bound=self.ranked.energies[:, 0],
        )
