"""The references: belief propagation as a careful user writes it in NumPy, whole arrays, float64, any graph.

    to_variable(f, v) = -log sum over the others of exp(-(energies + to_factor of the others))       (or min)
    to_factor(f, v)   = belief(v) - to_variable(f, v),    belief(v) = unary(v) + sum of to_variable(., v)

Messages are energies with minimum 0, one array (arity, F, K); beliefs are added up by `bincount`, one state at a time;
sums are taken with the least energy subtracted; a share of the old message is kept, in the log domain. Whether the
messages have come to rest is tested only where a tolerance is given, so the timed iterations are without the test.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from problems import F64, I64, LIMIT, Chains, Problem, tables_of

Send = Callable[[int, F64], F64]
"(slot, messages to the factors (arity, F, K)) -> energies sent to the variables of that slot, (F, K)"


class Flooding:
    """All factors send to all their variables at once, from the messages of the iteration before."""

    def __init__(self, problem: Problem, send: Send, damping: float = 0.5) -> None:
        self.problem, self.send, self.damping = problem, send, damping
        self.order = problem.scopes.T.ravel()
        self.messages = np.zeros((problem.scopes.shape[1], *problem.scopes.shape[:1], problem.states))

    def beliefs(self) -> F64:
        """Energies of the states of every variable, (n, K), not normalised."""
        belief = self.problem.unary.copy()
        for state in range(self.problem.states):
            belief[:, state] += np.bincount(self.order, self.messages[:, :, state].ravel(), len(belief))
        return belief

    def iterate(self) -> None:
        belief = self.beliefs()
        to_factor = belief[self.problem.scopes.T] - self.messages
        new = np.empty_like(self.messages)
        for slot in range(len(new)):
            new[slot] = self.send(slot, to_factor)
            new[slot] -= new[slot].min(axis=1, keepdims=True)
        self.messages = self.damping * self.messages + (1 - self.damping) * new if self.damping else new

    def run(self, iterations: int, tolerance: float = 0.0) -> int:
        """Iterate, until no message changes by more than `tolerance` if that is positive; how many it took."""
        for done in range(1, iterations + 1):
            before = self.messages
            self.iterate()
            if tolerance > 0 and np.abs(self.messages - before).max() <= tolerance:
                return done
        return iterations

    def marginals(self) -> F64:
        belief = self.beliefs()
        weight = np.exp(belief.min(axis=1, keepdims=True) - belief)
        return np.asarray(weight / weight.sum(axis=1, keepdims=True))

    def labels(self) -> I64:
        return self.beliefs().argmin(axis=1)


def dense(problem: Problem, *, minimize: bool) -> Send:
    """Through the tables, of any arity, own or shared."""
    tables = tables_of(problem)
    if problem.shared:
        tables = tables[None]
    arity = problem.scopes.shape[1]

    def send(slot: int, to_factor: F64) -> F64:
        others = [s for s in range(arity) if s != slot]
        total = tables
        for s in others:
            shape = [len(to_factor[s])] + [1] * arity
            shape[1 + s] = problem.states
            total = total + to_factor[s].reshape(shape)
        axes = tuple(1 + s for s in others)
        least = total.min(axis=axes, keepdims=True)
        if minimize:
            return np.asarray(least.reshape(-1, problem.states))
        return np.asarray(least.reshape(-1, problem.states) - np.log(np.exp(least - total).sum(axis=axes)))

    return send


def product(problem: Problem) -> Send:
    """Sum-product through one shared table of two slots, as a product of matrices: numbers of moderate span only."""
    weight = np.exp(-problem.numbers)

    def send(slot: int, to_factor: F64) -> F64:
        incoming = to_factor[1 - slot]
        least = incoming.min(axis=1, keepdims=True)
        return np.asarray(least - np.log(np.exp(least - incoming) @ (weight if slot else weight.T)))

    return send


def potts(problem: Problem) -> Send:
    """Min-sum through a penalty for differing: what agrees, or the best of all plus the penalty."""
    penalty = problem.numbers[:, None]
    return lambda slot, to_factor: np.minimum(
        to_factor[1 - slot], to_factor[1 - slot].min(axis=1, keepdims=True) + penalty
    )


def truncated_linear(problem: Problem) -> Send:
    """Min-sum through weight * min(|a - b|, limit): a pass up and a pass down the states, then the cap.

    Felzenszwalb and Huttenlocher, "Efficient belief propagation for early vision", IJCV 70(1), 2006.
    """
    weight = problem.numbers

    def send(slot: int, to_factor: F64) -> F64:
        out = to_factor[1 - slot].copy()
        cap = out.min(axis=1, keepdims=True) + LIMIT * weight[:, None]
        for state in range(1, out.shape[1]):
            np.minimum(out[:, state], out[:, state - 1] + weight, out=out[:, state])
        for state in range(out.shape[1] - 2, -1, -1):
            np.minimum(out[:, state], out[:, state + 1] + weight, out=out[:, state])
        return np.minimum(out, cap)

    return send


class Padded:
    """Chains sorted by length, longest first, in batches: at each position, those still alive come first."""

    def __init__(self, problem: Chains, size: int = 500) -> None:
        self.order = np.argsort([-len(e) for e in problem.emissions], kind="stable")
        self.transition = problem.transition
        self.batches: list[tuple[F64, list[int]]] = []
        for first in range(0, len(self.order), size):
            rows = [problem.emissions[i] for i in self.order[first : first + size]]
            energies = np.zeros((len(rows[0]), len(rows), rows[0].shape[1]))
            for i, row in enumerate(rows):
                energies[: len(row), i] = row
            lengths = np.array([len(row) for row in rows])
            self.batches.append((energies, [int((lengths > t).sum()) for t in range(len(rows[0]))]))

    def marginals(self) -> tuple[F64, list[F64]]:
        """log Z of the chains in sorted order, and of each batch the marginals (length, chains, K), zero where padded.

        Forward and backward in the probability domain, rescaled at each position (Rabiner, "A tutorial on hidden Markov
        models", Proc. IEEE 77(2), 1989): as fast as NumPy gets here, for energies of moderate span.
        """
        step = np.exp(-self.transition)
        log_partition, marginals = [], []
        for energies, alive in self.batches:
            weight = np.exp(-energies)
            forward = np.zeros_like(weight)
            total = np.zeros(weight.shape[1])
            for t, n in enumerate(alive):
                row = weight[t, :n] * (forward[t - 1, :n] @ step) if t else weight[t, :n]
                scale = row.sum(axis=1, keepdims=True)
                forward[t, :n] = row / scale
                total[:n] += np.log(scale[:, 0])
            backward = np.ones(weight.shape[1:])
            for t in range(len(alive) - 1, -1, -1):
                n = alive[t]
                joint = forward[t, :n] * backward[:n]
                forward[t, :n] = joint / joint.sum(axis=1, keepdims=True)
                row = (weight[t, :n] * backward[:n]) @ step.T
                backward[:n] = row / row.sum(axis=1, keepdims=True)
            log_partition.append(total)
            marginals.append(forward)
        return np.concatenate(log_partition), marginals

    def best_paths(self) -> tuple[F64, list[NDArray[np.uint8]]]:
        """Least energy of the chains in sorted order, and of each batch the states (length, chains)."""
        least, paths = [], []
        for energies, alive in self.batches:
            cost = energies[0].copy()
            came_from = np.zeros(energies.shape, np.uint8)
            for t, n in enumerate(alive[1:], 1):
                total = cost[:n, :, None] + self.transition
                came_from[t, :n] = total.argmin(axis=1)
                cost[:n] = total.min(axis=1) + energies[t, :n]
            path = np.zeros(energies.shape[:2], np.uint8)
            state = cost.argmin(axis=1)
            for t in range(len(alive) - 1, -1, -1):
                n = alive[t]
                path[t, :n] = state[:n]
                if t:
                    state[:n] = came_from[t, np.arange(n), state[:n]]
            least.append(cost.min(axis=1))
            paths.append(path)
        return np.concatenate(least), paths


def build_arrays(shape: tuple[int, int], tables: F64) -> tuple[NDArray[np.generic], ...]:
    """What a hand-written program needs before its first message: scopes, and for each variable its messages.

    Returns scopes (E, 2), message numbers sorted by variable (2 E,), where those of each variable begin (n + 1,),
    and its own copy of the tables, checked to be numbers.
    """
    cell = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
    along = np.stack([cell[:, :-1].ravel(), cell[:, 1:].ravel()], axis=1)
    down = np.stack([cell[:-1].ravel(), cell[1:].ravel()], axis=1)
    scopes = np.concatenate([along, down])
    ends = scopes.T.ravel()
    order = np.argsort(ends, kind="stable").astype(np.int32)
    start = np.concatenate([[0], np.cumsum(np.bincount(ends, minlength=cell.size))])
    kept = tables.copy()
    if np.isnan(kept).any():
        raise ValueError("NaN")
    return scopes, order, start, kept
