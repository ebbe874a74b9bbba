"""What a tagger answers: best tags, probabilities of tags, of spans and of whole sequences, and how sure it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.answers.answered import Answered
from factorgraph_ebm.answers.factor_marginals import FactorMarginals
from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.errors import InfeasibleError
from factorgraph_ebm.estimators.tagging.declaration import Declared, Sequences, blocks, samples_of, singles
from factorgraph_ebm.estimators.tagging.second_order import SecondOrder
from factorgraph_ebm.inference.method import Problem, Status
from factorgraph_ebm.inference.solving import Solved, solve_best, solve_free
from factorgraph_ebm.inference.statistics import zeros
from factorgraph_ebm.learning.batch import Batch
from factorgraph_ebm.questions.k_best import k_best

AT_ONCE = 1 << 21
"states of tokens that are answered at once: working space stays within some 100 MB"


class Asked(NamedTuple):
    """A tagger asked about some sequences."""

    declaration: Declared
    values: Mapping[str, F64]
    "of its parameters"
    sequences: Sequences
    threads: int | None = None
    second: SecondOrder | None = None
    "the declaration, where its states are not tags"

    def best(self) -> I64:
        """The best tags, (tokens,)."""
        states = self.best_states()
        return states if self.second is None else self.second.tag[states]

    def marginals(self) -> F64:
        """The probability of each tag, (tokens, K)."""
        found = self.state_marginals()
        return found if self.second is None else self.second.of_tags(found)

    def best_states(self) -> I64:
        """The best states, (tokens,)."""
        found = np.empty(int(self.sequences.start[-1]), np.int64)
        for batch, first, last in self._batches():
            solved = solve_best(batch.whole, batch.bind(self.values, self.threads), threads=self.threads)
            self._refuse_infeasible(solved, batch)
            assert solved.answer.states is not None
            found[first:last] = solved.answer.states[batch.compiled.cell_variable]
        return found

    def state_marginals(self) -> F64:
        """The probability of each state, (tokens, states)."""
        k = self.declaration.n_tags
        found = np.empty((int(self.sequences.start[-1]), k))
        for batch, first, last in self._batches():
            solved = self._sum(batch)
            assert solved.answer.marginals is not None
            at = batch.compiled.variable_start.astype(np.int64)[batch.compiled.cell_variable]
            found[first:last] = solved.answer.marginals[at[:, None] + np.arange(k)]
        return found

    def free_energies(self) -> F64:
        """-log sum over all taggings of exp(-E), of each sequence, (n,); +inf where none is allowed."""
        found = np.zeros(self.sequences.n)
        ranges = singles(self.sequences)
        for some in _some(ranges, self._per_batch()):
            batch = self._batch(some)
            solved = solve_free(batch.whole, batch.bind(self.values, self.threads), threads=self.threads)
            found[[low for low, _ in some]] = solved.energy
        return found

    def entropies(self) -> F64:
        """Of the distribution over taggings of each sequence, nats, (n,)."""
        if self.second is not None:
            return self.entropies_by_energy()
        start, marginals = self.sequences.start, self.state_marginals()
        left = self.sequences.pairs()
        total = np.zeros(len(marginals) + 1)
        total[:-1] = _entropy(marginals)
        # A chain's entropy is that of its pairs, less that of the tokens that are in two of them.
        inner = np.intersect1d(left, left + 1)
        first, last = self.sequences.ends()
        of_token = np.zeros(len(marginals))
        alone = first[first == last]
        of_token[alone] = total[alone]
        of_token[inner] = -total[inner]
        of_token[left] += _entropy_of_pairs(self, left)
        ends = np.concatenate([[0.0], np.cumsum(of_token)])
        found: F64 = ends[start[1:]] - ends[start[:-1]]
        return np.maximum(found, 0.0)

    def entropies_by_energy(self) -> F64:
        """The mean energy less the free one: it needs no probabilities of pairs, which many states have too many of."""
        found = np.zeros(self.sequences.n)
        for i, _ in singles(self.sequences):
            batch = self._batch([(i, i + 1)])
            numbers = batch.bind(self.values, self.threads)
            solved = solve_free(batch.whole, numbers, threads=self.threads)
            self._refuse_infeasible(solved, batch)
            slopes = zeros(batch.union)
            solved.accumulate(np.ones(1), slopes)
            means = (p[p != 0.0] @ e[p != 0.0] for e, p in zip(numbers, slopes))
            found[i] = max(0.0, float(sum(means) - solved.energy[0]))
        return found

    def k_best(self, k: int) -> list[list[tuple[I64, float]]]:
        """The k best taggings of each sequence and their energies, best first; fewer where there are fewer."""
        found: list[list[tuple[I64, float]]] = [[(np.zeros(0, np.int64), 0.0)] for _ in range(self.sequences.n)]
        ranges = singles(self.sequences)
        for some in _some(ranges, 1024):
            graphs = samples_of(self.declaration, self.sequences, None, some).graphs
            wanted = {name: self.values[name] for name in {name for g in graphs for name in g.parameters}}
            for (low, _), results in zip(some, k_best(graphs, k, parameters=wanted)):
                states = [np.asarray(each["y"]) for each in results]
                tags = states if self.second is None else [self.second.tag[each] for each in states]
                found[low] = [(each, float(result.energy)) for each, result in zip(tags, results)]
        return found

    def _per_batch(self) -> int:
        return max(1, AT_ONCE // (64 * self.declaration.n_tags))

    def _batch(self, ranges: list[tuple[int, int]]) -> Batch:
        return Batch(samples_of(self.declaration, self.sequences, None, ranges), range(len(ranges)))

    def _batches(self) -> Iterator[tuple[Batch, int, int]]:
        """Unions of some blocks, with their first token and the one after the last."""
        start = self.sequences.start
        ranges = blocks(self.sequences)
        for some in _some(ranges, max(1, AT_ONCE // (2048 * self.declaration.n_tags))):
            yield self._batch(some), int(start[some[0][0]]), int(start[some[-1][1]])

    def _sum(self, batch: Batch) -> Solved:
        solved = solve_free(batch.whole, batch.bind(self.values, self.threads), threads=self.threads)
        self._refuse_infeasible(solved, batch)
        return solved

    def _refuse_infeasible(self, solved: Solved, batch: Batch) -> None:
        if Status.INFEASIBLE not in set(solved.status):
            return
        bad = int(np.argmax(self.free_energies() == np.inf))
        raise InfeasibleError(
            f"sequence {bad}: no tagging is allowed. What the scheme, allowed= and forced= say there excludes all."
        )


def _some(ranges: list[tuple[int, int]], size: int) -> Iterator[list[tuple[int, int]]]:
    for low in range(0, len(ranges), size):
        yield ranges[low : low + size]


def _entropy(p: F64) -> F64:
    """-sum of p log p over the last axis."""
    total: F64 = -np.sum(p * np.log(np.where(p > 0.0, p, 1.0)), axis=-1)
    return total


def _entropy_of_pairs(asked: Asked, left: I64) -> F64:
    """Of the two tags of each pair, in the order of `left`."""
    found = []
    for batch, _, _ in asked._batches():
        numbers = batch.bind(asked.values, asked.threads)
        solved = solve_free(batch.whole, numbers, threads=asked.threads)
        data = batch.data
        problem = Problem(batch.union, numbers, 1.0, False, None, np.inf, None, asked.threads)
        answered = Answered(problem, solved.answer, data.graphs, data.given, [asked.values] * len(data.graphs))
        for i, graph in enumerate(data.graphs):
            if "transition" in graph.keys:
                joint = FactorMarginals(answered, i)["transition"]
                found.append(_entropy(joint.reshape(len(joint), -1)))
    return np.concatenate([*found, np.zeros(0)])
