"""Runs of factors that read a row of numbers each, laid out by hand, and their kernels against dense tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from dense import message

from factorgraph_ebm.arrays import ALL, all_but

NAN = np.nan
KINDS = ["normal", "forbidden", "wide", "apart", "huge"]


class Run:
    """`n` factors over slots of `states`, each with its row in a store, message rows in reverse with gaps between."""

    def __init__(
        self,
        states: Sequence[int],
        incoming: Sequence[np.ndarray],
        rows: np.ndarray,
        constants: Sequence[float] = (),
        soft: Sequence[bool] | None = None,
    ) -> None:
        n = self.n = len(rows)
        self.states = tuple(states)
        self.incoming = incoming
        self.summed = soft
        self.store = np.concatenate([[NAN] * 3, np.asarray(rows, float).ravel(), [NAN]])
        self.number = (3 + rows.shape[1] * np.arange(n)).astype(np.uint64)
        start, size = [0] * len(states), 5
        for s in reversed(range(len(states))):
            start[s], size = size, size + n * states[s] + 3
        self.to_factor = np.full(size, NAN)  # a gap that is read would show
        for s, each in enumerate(incoming):
            self.to_factor[start[s] : start[s] + n * states[s]] = each.ravel()
        flags = soft if soft is not None else [False] * len(states)
        slots = [[k, 0, start[s], int(flags[s])] for s, k in enumerate(states)]
        self.field = np.array([n, len(states), 0, 0, -1, 2, 0, 0] + sum(slots, []), np.int64)
        self.constants = np.array([NAN, NAN, *constants])

    def send(self, kernel: Any, target: int, low: int, high: int, space: int) -> list[np.ndarray]:
        """Raw messages (high - low, K) of each slot; what is not written stays NaN. `space`: all that it may use."""
        out = np.full((high - low) * sum(self.states), NAN)
        scratch = np.full(space + 1, NAN)
        kernel(
            self.field, self.number, self.store, np.zeros(0), self.constants, self.to_factor, out, scratch[:-1],
            low, high, target,
        )  # fmt: skip
        assert np.isnan(scratch[-1]), "wrote beyond its working space"
        pieces = np.split(out, np.cumsum([(high - low) * k for k in self.states])[:-1])
        return [piece.reshape(high - low, k) for piece, k in zip(pieces, self.states, strict=True)]


def draw_messages(rng: np.random.Generator, n: int, states: Sequence[int], kind: str) -> list[np.ndarray]:
    """Rows with minimum 0: some of them 0, forbidding, thousands of nats apart, or of a size that decides alone."""
    found = []
    for k in states:
        rows = rng.uniform(0.0, {"wide": 1e4, "apart": 900.0}.get(kind, 3.0), (n, k))
        if kind == "huge":
            rows = rng.choice([0.0, 1e300, 1.0, 2.5], (n, k))
        rows[rng.random(n) < 0.2] = 0.0
        if kind == "forbidden":
            rows[rng.random((n, k)) < 0.3] = np.inf
            rows[0] = np.inf  # all states lost: the message to others is +inf, never NaN
            rows[1:, 0] = 0.0
        found.append(rows - np.where(np.isinf(rows.min(1)), 0.0, rows.min(1))[:, None])
    return found


def check(run: Run, kernel: Any, tables: np.ndarray, summed: Sequence[bool], space: int) -> None:
    """Every target, all factors and one alone, against `tables` (n, *states), to rounding."""
    arity = len(run.states)
    targets: dict[int, Sequence[int]] = {ALL: range(arity)} | {s: [s] for s in range(arity)}
    targets |= {all_but(s): [t for t in range(arity) if t != s] for s in range(arity)}
    expected = [message(tables, run.incoming, s, summed).astype(float) for s in range(arity)]
    sizes = [np.abs(rows[np.abs(rows) < 1e200]).max(initial=1.0) for rows in run.incoming]
    rounding = 8 * np.finfo(float).eps * sum(sizes)
    for target, slots in targets.items():
        for low, high in [(0, run.n), (1, 2)]:
            found = run.send(kernel, target, low, high, space)
            for s in range(arity):
                if s not in slots:
                    assert np.isnan(found[s]).all(), "wrote to a slot that is not a target"
                    continue
                assert not np.isnan(found[s]).any()
                np.testing.assert_array_equal(np.isinf(found[s]), np.isinf(expected[s][low:high]))
                np.testing.assert_allclose(found[s], expected[s][low:high], rtol=2e-15, atol=rounding)


def check_kernels(make: Callable[[Sequence[bool] | None], Run], kernels: Any, tables: np.ndarray, space: int) -> None:
    """Minimum, sum, and every mixture of the two; `make(soft)` lays the run out."""
    arity = len(make(None).states)
    check(make(None), kernels.min, tables, [False] * arity, space)
    check(make(None), kernels.sum, tables, [True] * arity, space)
    for code in range(2**arity if arity > 2 else 0):
        soft = [bool(code >> s & 1) for s in range(arity)]
        check(make(soft), kernels.mixed, tables, soft, space)
