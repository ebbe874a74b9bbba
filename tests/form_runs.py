"""Runs of factors laid out by hand for kernels of any form of messages, with gaps that would show if they were read."""

from __future__ import annotations

import numpy as np

from factorgraph_ebm.arrays import ALL, all_but
from factorgraph_ebm.inference.mirrors import mirror_tables

NAN = np.nan


class Run:
    """`n` factors over slots of rows of `widths`, with numbers and incoming messages in arrays with gaps."""

    def __init__(self, widths, incoming, start, shared, strides, *, store=(), weight=(), mirror=0):
        n = len(incoming[0])
        self.widths, self.n = widths, n
        first, size = [0] * len(widths), 3
        for s in reversed(range(len(widths))):
            first[s], size = size, size + n * widths[s] + 2
        self.to_factor = np.full(size, NAN)  # a gap that is read would show
        for s, rows in enumerate(incoming):
            self.to_factor[first[s] : first[s] + n * widths[s]] = rows.ravel()
        header = [n, len(widths), 0, 0, int(start[0]) if shared else -1, 0, 0, mirror]
        slots = [[k, strides[s], first[s], 0] for s, k in enumerate(widths)]
        self.field = np.array(header + sum(slots, []), np.int64)
        self.number = np.zeros(0, np.uint64) if shared else np.asarray(start, np.uint64)
        self.store, self.weight = np.asarray(store, float), np.asarray(weight, float)

    def send(self, kernel, target, low, high, *, odds=False):
        """{slot: (high - low, width) raw messages}; as `odds`, ones over zeros, which lie behind those of all slots."""
        n, arity = high - low, len(self.widths)
        size = n * sum(self.widths)
        out = np.full(2 * size if odds else size, NAN)
        scratch = np.full(n * max(sum(self.widths), 2 * (arity + 2)) + 4 * arity + 8, NAN)
        kernel(
            self.field, self.number, self.store, self.weight, np.zeros(0), self.to_factor, out, scratch,
            low, high, target,
        )  # fmt: skip
        if odds:
            with np.errstate(divide="ignore", invalid="ignore"):
                out = out[:size] / out[size:]
        pieces = np.split(out, np.cumsum([n * k for k in self.widths])[:-1])
        return {s: p.reshape(n, k) for s, (p, k) in enumerate(zip(pieces, self.widths))}

    def sent(self, kernel, *, uses_out=False, odds=False):
        """(slot, low, high, messages) for every target, over all factors and over some of them."""
        arity = len(self.widths)
        targets = {ALL: list(range(arity))} | {s: [s] for s in range(arity)}
        targets |= {all_but(s): [t for t in range(arity) if t != s] for s in range(arity)}
        for low, high in {(0, self.n), (self.n // 2, self.n), (self.n // 3, self.n // 3)}:
            for target, slots in targets.items():
                found = self.send(kernel, target, low, high, odds=odds)
                for s in range(arity):
                    if s in slots:
                        yield s, low, high, found[s]
                    elif not uses_out:
                        assert np.isnan(found[s]).all(), "wrote to a slot that is not a target"


def lay_out(rng, tables, layout):
    """Tables (m, *states) in a store with gaps: (store, element of each, strides)."""
    m, *states = tables.shape
    entries = int(np.prod(states))
    start = 4 + rng.permutation(m) * (entries + 1)
    store = np.full(4 + m * (entries + 1), NAN)
    wide = states[::-1] if layout == "transposed" else states
    step = [int(np.prod(wide[s + 1 :])) for s in range(len(wide))]
    if layout == "transposed":
        step = step[::-1]
    place = sum((np.indices(states)[s] * step[s] for s in range(len(states))), np.zeros(states, int))
    store[start.reshape(-1, *[1] * len(states)) + place] = tables
    return store, start, step


def mirrored(store, start, states):
    """The store with transposed copies behind it."""
    doubled = np.concatenate([store, np.full(len(store), NAN)])
    mirror_tables(doubled, start.astype(np.uint64), *states, len(store))
    return doubled
