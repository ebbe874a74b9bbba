"""The reference for exact answers: elimination in a tree of cliques, as a careful user writes it in NumPy.

Eliminating a variable multiplies the tables that hold it into a clique, a whole array with one axis for each variable,
and sends the sum on to the clique of the variable that is next; beliefs come back down by dividing a sum by what was
sent up (F. V. Jensen, S. L. Lauritzen and K. G. Olesen, "Bayesian updating in causal probabilistic networks by local
computations", Computational Statistics Quarterly 4, 1990). Tables are weights, scaled to a largest of 1. The order,
greedily of least fill-in, is found once and not timed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from problems import F64, I64, Problem, tables_of

import factorgraph_ebm as fg


class Tables(NamedTuple):
    """Any graph as tables of energies."""

    states: list[int]
    scopes: list[tuple[int, ...]]
    energies: list[F64]


def of_problem(problem: Problem) -> Tables:
    n = len(problem.unary)
    pairs = np.broadcast_to(tables_of(problem), (len(problem.scopes), *tables_of(problem).shape[-2:]))
    scopes = [(v,) for v in range(n)] + [tuple(scope) for scope in problem.scopes.tolist()]
    return Tables([problem.states] * n, scopes, [*problem.unary, *pairs])


def of_network(graph: fg.FactorGraph) -> Tables:
    """Of a graph of single variables, or of one array, with one table for each factor."""
    scopes = [tuple(factor.scope.columns(graph.cell_offset)[:, 0].tolist()) for factor in graph.factors]
    energies = [factor.slots[0].source.evaluate({}).reshape(factor.state_shape) for factor in graph.factors]
    return Tables(graph.cell_states.tolist(), scopes, energies)


def find_order(n: int, scopes: Iterable[Sequence[int]]) -> list[int]:
    near: dict[int, set[int]] = {v: set() for v in range(n)}
    for scope in scopes:
        for v in scope:
            near[v] |= set(scope) - {v}

    def fill_in(v: int) -> int:
        return sum(len(near[v] - near[u]) - 1 for u in near[v])

    order = []
    missing = {v: fill_in(v) for v in near}
    while near:
        v = min(near, key=lambda u: (missing[u], len(near[u]), u))
        around = near[v]
        for u in around:
            near[u] |= around
            near[u] -= {u, v}
        del near[v], missing[v]
        for u in around.union(*(near[w] for w in around)):
            missing[u] = fill_in(u)
        order.append(v)
    return order


class Elimination:
    """A graph and an order: what is asked is answered from the energies each time."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.order = find_order(len(tables.states), tables.scopes)
        turn = {v: i for i, v in enumerate(self.order)}
        self.own: list[list[int]] = [[] for _ in self.order]
        for f, scope in enumerate(tables.scopes):
            self.own[min(turn[v] for v in scope)].append(f)
        self.children: list[list[int]] = [[] for _ in self.order]
        self.cliques: list[tuple[int, ...]] = []
        self.parent: list[int] = []
        for i, v in enumerate(self.order):
            members = {v}.union(*(tables.scopes[f] for f in self.own[i]), *(self.cliques[c] for c in self.children[i]))
            members -= {self.order[c] for c in self.children[i]}
            self.cliques.append((v, *sorted(members - {v}, key=turn.__getitem__)))
            self.parent.append(min((turn[u] for u in members - {v}), default=-1))
            if self.parent[i] >= 0:
                self.children[self.parent[i]].append(i)

    def _spread(self, array: F64, scope: Sequence[int], clique: Sequence[int]) -> F64:
        """A view with an axis for each variable of the clique, in its order."""
        sorted_axes = np.transpose(array, sorted(range(len(scope)), key=lambda a: clique.index(scope[a])))
        return sorted_axes.reshape([self.tables.states[v] if v in scope else 1 for v in clique])

    def marginals(self) -> tuple[float, list[F64]]:
        """log Z, and probabilities by variable."""
        log_partition = 0.0
        beliefs: list[F64] = []
        sent: list[F64] = []
        for i, clique in enumerate(self.cliques):
            total = np.ones([self.tables.states[v] for v in clique])
            for f in self.own[i]:
                total *= self._spread(np.exp(-self.tables.energies[f]), self.tables.scopes[f], clique)
            for c in self.children[i]:
                total *= self._spread(sent[c], self.cliques[c][1:], clique)
            largest = total.max()
            log_partition += np.log(largest)
            total /= largest
            beliefs.append(total)
            sent.append(total.sum(axis=0))
            if self.parent[i] < 0:
                log_partition += np.log(sent[i])
        found: list[F64] = [np.zeros(0)] * len(self.order)
        for i in range(len(self.order) - 1, -1, -1):
            clique, belief = self.cliques[i], beliefs[i]
            for c in self.children[i]:
                rest = self.cliques[c][1:]
                below = belief.sum(axis=tuple(a for a, v in enumerate(clique) if v not in rest))
                below = np.transpose(below, np.argsort(np.argsort([clique.index(v) for v in rest])))
                share = np.divide(below, sent[c], out=np.zeros_like(below), where=sent[c] > 0)
                beliefs[c] *= share
            row = belief.sum(axis=tuple(range(1, belief.ndim)))
            found[clique[0]] = row / row.sum()
        return float(log_partition), found

    def best(self) -> tuple[float, I64]:
        """The least energy and an assignment that has it."""
        least = 0.0
        sent: list[F64] = []
        choices: list[I64] = []
        for i, clique in enumerate(self.cliques):
            total = np.zeros([self.tables.states[v] for v in clique])
            for f in self.own[i]:
                total += self._spread(self.tables.energies[f], self.tables.scopes[f], clique)
            for c in self.children[i]:
                total += self._spread(sent[c], self.cliques[c][1:], clique)
            sent.append(total.min(axis=0))
            choices.append(total.argmin(axis=0))
            if self.parent[i] < 0:
                least += float(sent[i])
        states = np.zeros(len(self.order), np.int64)
        for i in range(len(self.order) - 1, -1, -1):
            states[self.cliques[i][0]] = choices[i][tuple(states[list(self.cliques[i][1:])])]
        return least, states
