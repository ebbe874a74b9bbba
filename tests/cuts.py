"""Small graphs of pairs that attract, drawn from seeds, and their energies by brute force."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

import factorgraph_ebm as fg

KINDS = ("integer", "integer forbidden", "normal", "forbidden", "tiny", "huge", "mixed", "nothing")


class Drawn(NamedTuple):
    """A graph over cells of one array "y", what is given, and what it sums to."""

    graph: Any
    given: dict[Any, Any]
    states: np.ndarray
    "(assignments, cells) all that agree with what is given"
    energy: np.ndarray
    "(assignments,)"
    mass: float
    "of all finite entries"
    kind: str

    @property
    def least(self) -> float:
        return float(self.energy.min())

    @property
    def lowest(self) -> np.ndarray:
        """The minimiser with the lowest states."""
        return self.states[self.energy == self.least].min(axis=0)


def numbers(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    if kind.startswith("integer"):
        found = rng.integers(-3, 4, shape).astype(float)
    elif kind == "tiny":
        found = rng.choice([5e-324, -5e-324, 1e-310, 2.3e-308, 0.0], shape)
    elif kind == "huge":
        found = rng.choice([1e300, -1e300, 1e299, 0.0], shape)
    elif kind == "mixed":
        found = rng.normal(size=shape) * 10.0 ** rng.integers(-6, 7, shape)
    elif kind == "nothing":
        found = np.zeros(shape)
    else:
        found = rng.normal(size=shape)
    if kind.endswith("forbidden"):
        found[rng.random(shape) < rng.choice([0.05, 0.15, 0.3])] = np.inf
    return found


def attracting(table: np.ndarray) -> np.ndarray:
    """The table, or the one with its columns exchanged: one of the two is submodular."""
    if table.shape == (2, 2) and table[0, 0] + table[1, 1] > table[0, 1] + table[1, 0]:
        return table[:, ::-1]
    return table


def drawn(seed: int) -> Drawn:
    rng = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    n = int(rng.integers(1, 9))
    counts = rng.choice([1, 2, 2, 2, 2], n)
    y = fg.output("y", shape=n, n_states=counts)
    terms: list[tuple[tuple[int, ...], np.ndarray]] = []
    for _ in range(int(rng.integers(0, n + 1))):
        i = int(rng.integers(n))
        terms.append(((i,), numbers(rng, kind, (counts[i],))))
    for _ in range(int(rng.integers(0, 3 * n))):
        i, j = rng.integers(0, n, 2).tolist()  # often twice the same pair, or a cell with itself
        terms.append(((i, j), attracting(numbers(rng, kind, (counts[i], counts[j])))))
    known = {int(i): int(rng.integers(counts[i])) for i in np.flatnonzero(rng.random(n) < 0.15)}
    for k in known:  # over three cells, of which one is given
        i, j = rng.integers(0, n, 2).tolist()
        pairs = [attracting(numbers(rng, kind, (counts[i], counts[j]))) for _ in range(counts[k])]
        terms.append(((i, k, j), np.stack(pairs, axis=1)))
    finite = {"forbidden": "normal", "integer forbidden": "integer"}.get(kind, kind)
    factors = [fg.Table([y[c] for c in cells], energies=table) for cells, table in terms]
    for i in np.flatnonzero((counts[:-1] == 2) & (counts[1:] == 2))[:2].tolist():
        penalty = abs(numbers(rng, finite, ()))
        factors.append(fg.Potts([y[i], y[i + 1]], penalty=penalty))
        terms.append(((i, i + 1), penalty * (1.0 - np.eye(2))))
        weight = -abs(numbers(rng, finite, ()))
        factors.append(fg.Product([y[i + 1], y[i]], weight=weight))
        terms.append(((i, i + 1), weight * np.outer([0, 1], [0, 1])))
    states = np.array(list(itertools.product(*(range(k) for k in counts))))
    for cell, state in known.items():
        states = states[states[:, cell] == state]
    energy = sum((table[tuple(states[:, c] for c in cells)] for cells, table in terms), np.zeros(len(states)))
    mass = float(sum(np.abs(t[np.isfinite(t)]).sum() for _, t in terms))
    graph = fg.FactorGraph(factors, variables=[y])
    return Drawn(graph, {y[i]: s for i, s in known.items()}, states, energy, mass, kind)
