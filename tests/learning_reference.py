"""What learning should find, by enumeration: the answer to every query, losses, and their slopes by differences.

A `Sample` holds the energies of all configurations of one graph at several points of parameter space; each query is a
few lines of numpy over these. It reads a graph through `oracle`, and shares no code with `learning`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from oracle import brute, terms


def soft(energies: np.ndarray, beta: float) -> np.ndarray:
    """-(1/beta) log sum exp(-beta E) over the last axis; the minimum at inf."""
    least = energies.min(axis=-1)
    if beta == math.inf:
        return least
    base = np.where(np.isfinite(least), least, 0.0)
    with np.errstate(divide="ignore"):
        return base - np.log(np.exp(-beta * (energies - base[..., None])).sum(axis=-1)) / beta


def _log_share(part: np.ndarray, total: np.ndarray, beta: float) -> np.ndarray:
    """Of a sum within another, by their free energies; -inf where that is 0 (of what is 0 itself, too)."""
    there = np.isfinite(part)
    return np.where(there, beta * (np.where(there, total, 0.0) - np.where(there, part, 0.0)), -np.inf)


class Sample:
    """One graph at P points: `energies` (P, N) of its N configurations `states` (N, cells).

    `known` and `right`: (name, flat index) -> state, of what is given and of right answers; the former wins.
    """

    def __init__(
        self,
        graph: Any,
        known: Mapping[tuple[str, int], int],
        right: Mapping[tuple[str, int], int],
        points: list[Mapping[str, np.ndarray]],
    ) -> None:
        first = brute(graph, known, points[0])
        self.where, self.states, self.known = first.where, first.states, first.known
        self.factors = [terms(graph, values) for values in points]
        self.energies = np.array([self._energies(factors) for factors in self.factors])
        cells = {self.where.cell(*key): int(state) for key, state in right.items()}
        self.right = {cell: cells[cell] for cell in sorted(cells) if cell not in self.known}
        self.name = {
            offset + i: name
            for name, offset in self.where.offset.items()
            for i in range(self.where.variables[name].size)
        }
        self._groups: tuple[np.ndarray, np.ndarray] | None = None

    def _energies(self, factors: list[Any]) -> np.ndarray:
        total = np.zeros(len(self.states))
        for term in factors:
            total = total + term.table[tuple(self.states[:, cell] for cell in term.cells)]
        return total

    @property
    def labelled(self) -> list[int]:
        """Cells with a right answer that are not given, ascending."""
        return list(self.right)

    @property
    def all_labelled(self) -> bool:
        return len(self.right) + len(self.known) == self.states.shape[1]

    def answer_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Distinct answers (M, labelled), and the number of the one of each configuration (N,)."""
        if self._groups is None:
            rows, group = np.unique(self.states[:, self.labelled], axis=0, return_inverse=True)
            self._groups = rows, group.reshape(-1)
        return self._groups

    def is_right(self, cells: list[int] | None = None) -> np.ndarray:
        """(N,) configurations that agree with the right answer in these cells."""
        found = np.ones(len(self.states), bool)
        for cell in self.labelled if cells is None else cells:
            found &= self.states[:, cell] == self.right[cell]
        return found

    def eliminated(self, latent_beta: float) -> np.ndarray:
        """(P, M) energies of answers, all else minimised over, or summed."""
        rows, group = self.answer_rows()
        order = np.argsort(group, kind="stable")
        by_answer = self.energies[:, order].reshape(len(self.energies), len(rows), -1)
        return soft(by_answer, latent_beta)

    def costs(self, cost: Any) -> np.ndarray:
        """(M,) of answers."""
        rows, _ = self.answer_rows()
        total = np.zeros(len(rows))
        for column, cell in enumerate(self.labelled):
            one = cost.get(self.name[cell]) if isinstance(cost, Mapping) else cost
            if one is None:
                continue
            said, right = rows[:, column], self.right[cell]
            total += said != right if isinstance(one, str) else np.asarray(one)[right, said]
        return total

    def ask(self, query: Any, cost: Any, beta: float, latent_beta: float) -> np.ndarray:
        """(P,) the answer to a query, or (P, labelled)."""
        rows, group = self.answer_rows()
        right = np.all(rows == list(self.right.values()), axis=1)
        if query.kind == "target":
            own = {None: latent_beta, "model": beta}.get(query.beta, query.beta)
            return self.eliminated(own)[:, right][:, 0]
        less = self.costs(cost) if query.cost else np.zeros(len(rows))
        if query.kind == "best":
            return (self.eliminated(latent_beta) - less).min(axis=1)
        if query.kind == "wrong":
            return self.eliminated(latent_beta)[:, ~right].min(axis=1, initial=np.inf)
        if query.kind == "free":
            return soft(self.energies - less[group], beta)
        if query.kind == "pieces":
            return np.array([self._pieces(factors, beta) for factors in self.factors])
        if query.kind == "hits":
            total = soft(self.energies, beta)
            parts = [_log_share(soft(self.energies[:, self.is_right([c])], beta), total, beta) for c in self.labelled]
        else:
            assert query.kind == "sites" and self.all_labelled
            joint = self.energies[:, self.is_right()][:, 0]
            parts = []
            for cell in self.labelled:
                others = [c for c in self.labelled if c != cell]
                parts.append(_log_share(joint, soft(self.energies[:, self.is_right(others)], beta), beta))
        return np.array(parts).reshape(len(parts), len(self.energies)).T

    def _pieces(self, factors: list[Any], beta: float) -> float:
        """Each declared factor alone, what is of one cell added up first, a cell in none of them by itself."""
        total, single, joined = 0.0, {}, set()
        for term in factors:
            free = sorted({c for c in term.cells if c not in self.known})
            counts = [self.where.cell_states[c] for c in free]
            grid = dict(zip(free, np.indices(counts).reshape(len(free), math.prod(counts))))
            entries = term.table[tuple(grid.get(c, self.known.get(c)) for c in term.cells)]
            if not free:
                total += float(entries)
            elif len(free) == 1:
                single[free[0]] = single.get(free[0], 0.0) + entries
            else:
                joined |= set(free)
                total += float(soft(entries, beta))
        for cell, k in enumerate(self.where.cell_states):
            if cell in single or cell not in joined and cell not in self.known:
                total += float(soft(single.get(cell, np.zeros(k)), beta))
        return total

    def losses(self, loss: Any, beta: float, latent_beta: float) -> np.ndarray:
        """(P,) losses; 0 without a right answer."""
        if not self.right:
            return np.zeros(len(self.energies))
        answers = [self.ask(query, loss.cost, beta, latent_beta) for query in loss.queries]
        value, _ = loss.value(tuple(answer.reshape(-1) for answer in answers), beta)
        return value.reshape(answers[0].shape).reshape(len(self.energies), -1).sum(axis=1)
