"""The problems that are timed: arrays drawn from a seed, and the factor graph that declares them.

Energies are in nats, lower is better. A grid lists the edges between columns first, then those between rows, so equal
seeds give the same instance to everyone who draws in this order: unary energies, then the numbers of the edges.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import factorgraph_ebm as fg

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
LIMIT = 4.0
"of truncated linear factors"


class Problem(NamedTuple):
    """Variables of one domain in an array, unary energies, and factors of one arity."""

    kind: str
    "structure of the factors: Table, Potts or TruncatedLinear"
    shape: tuple[int, ...]
    "of the array of variables; a grid has two axes"
    unary: F64
    "(n, K)"
    scopes: I64
    "(F, arity)"
    numbers: F64
    "tables (F, K, ..., K), or (K, ..., K) if all share one; penalties or weights (F,) of the other structures"

    @property
    def states(self) -> int:
        return int(self.unary.shape[1])

    @property
    def shared(self) -> bool:
        return self.kind == "Table" and self.numbers.ndim == self.scopes.shape[1]

    @property
    def messages(self) -> int:
        """Messages from factors to variables in one iteration."""
        return int(self.scopes.size)


def edges_of(height: int, width: int) -> I64:
    cell = np.arange(height * width).reshape(height, width)
    along = np.stack([cell[:, :-1].ravel(), cell[:, 1:].ravel()], axis=1)
    down = np.stack([cell[:-1].ravel(), cell[1:].ravel()], axis=1)
    return np.concatenate([along, down])


def grid(size: int, states: int, kind: str, seed: int = 0) -> Problem:
    """A square grid. Its pairs have, by `kind`:

    attractive : own tables, -U(0, 1) where both agree, with noise of .1
    general : own tables, normal
    shared : one normal table, times a half
    mixed : own tables, a normal penalty for differing, of either sign
    strong : as mixed, half as large again: where flooding begins to fail
    Potts : a penalty in U(.2, 1) for differing
    TruncatedLinear : a quarter of the same, times min(|a - b|, 4)
    """
    rng = np.random.default_rng(seed)
    scopes = edges_of(size, size)
    unary = -rng.normal(size=(size * size, states))
    n = len(scopes)
    differ = 1.0 - np.eye(states)
    if kind == "attractive":
        agree = rng.uniform(size=(n, 1, 1)) * np.eye(states)
        numbers = -agree - 0.1 * rng.normal(size=(n, states, states))
    elif kind == "general":
        numbers = -rng.normal(size=(n, states, states))
    elif kind == "shared":
        numbers = -0.5 * rng.normal(size=(states, states))
    elif kind in ("mixed", "strong"):
        numbers = rng.normal(size=(n, 1, 1)) * differ * (1.5 if kind == "strong" else 1.0)
    elif kind in ("Potts", "TruncatedLinear"):
        numbers = rng.uniform(0.2, 1.0, size=n) * (0.25 if kind == "TruncatedLinear" else 1.0)
        return Problem(kind, (size, size), unary, scopes, numbers)
    else:
        raise ValueError(kind)
    return Problem("Table", (size, size), unary, scopes, numbers)


def random_graph(n: int, degree: int, arity: int, states: int, seed: int = 0) -> Problem:
    """Random factors over `arity` different variables, each variable in about `degree` of them, own normal tables."""
    rng = np.random.default_rng(seed)
    ends = rng.permutation(np.repeat(np.arange(n), degree))
    scopes = np.sort(ends[: len(ends) // arity * arity].reshape(-1, arity), axis=1)
    scopes = np.unique(scopes[(np.diff(scopes, axis=1) > 0).all(axis=1)], axis=0)
    unary = -rng.normal(size=(n, states))
    return Problem("Table", (n,), unary, scopes, -0.5 * rng.normal(size=(len(scopes), *[states] * arity)))


def declare(problem: Problem) -> fg.FactorGraph:
    """The factor graph of a problem: views of whole rows and columns for a grid, a list of scopes otherwise."""
    y = fg.output("y", shape=problem.shape, n_states=problem.states)
    unary = fg.Table([y], energies=problem.unary.reshape(*problem.shape, problem.states))
    structure = getattr(fg, problem.kind)
    more = {"limit": LIMIT} if problem.kind == "TruncatedLinear" else {}
    if len(problem.shape) == 1:
        return fg.FactorGraph([unary, structure(y[problem.scopes], problem.numbers, axis=1, **more)])
    factors = [unary]
    first = 0
    for left, right in ((y[:, :-1], y[:, 1:]), (y[:-1], y[1:])):
        numbers = problem.numbers
        if not problem.shared:
            numbers = numbers[first : first + left.size].reshape(left.shape + numbers.shape[1:])
        factors.append(structure([left, right], numbers, **more))
        first += left.size
    return fg.FactorGraph(factors)


def tables_of(problem: Problem) -> F64:
    """Dense tables of the factors, (F, K, ..., K) or shared."""
    if problem.kind == "Table":
        return problem.numbers
    state = np.arange(problem.states)
    distance = np.abs(state[:, None] - state)
    return problem.numbers[:, None, None] * np.minimum(distance, 1 if problem.kind == "Potts" else LIMIT)


def energy(problem: Problem, labels: I64) -> float:
    """Energy of an assignment, (n,)."""
    tables = tables_of(problem)
    chosen = tuple(labels[problem.scopes].T)
    pairs = tables[chosen] if problem.shared else tables[(np.arange(len(problem.scopes)), *chosen)]
    return float(problem.unary[np.arange(len(labels)), labels].sum() + pairs.sum())


class Chains(NamedTuple):
    """Sequences of unequal lengths that share their transition energies."""

    emissions: list[F64]
    "of each chain, (length, K)"
    transition: F64
    "(K, K), from the earlier state to the later"


def chains(count: int, states: int, seed: int = 0, shortest: int = 20, longest: int = 50) -> Chains:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(shortest, longest + 1, size=count)
    emissions = [-rng.normal(size=(length, states)) for length in lengths.tolist()]
    return Chains(emissions, -0.5 * rng.normal(size=(states, states)))


def declare_chains(problem: Chains) -> list[fg.FactorGraph]:
    """One graph for each chain, tied by the name of a parameter."""
    transition = fg.Parameter("transition", shape=problem.transition.shape, initial=problem.transition)
    graphs = []
    for emission in problem.emissions:
        y = fg.output("y", shape=len(emission), n_states=emission.shape[1])
        graphs.append(fg.FactorGraph([fg.Table([y], energies=emission), fg.Table([y[:-1], y[1:]], transition)]))
    return graphs
