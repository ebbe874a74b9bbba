"""Messages by the book: the whole tables of factors in extended precision, every other slot reduced away."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def soft_minimum(energies: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """-log sum exp(-energies) over some axes; +inf where all are."""
    low = energies.min(axis=axes, keepdims=True)
    low = np.where(np.isinf(low), 0.0, low)
    with np.errstate(divide="ignore"):
        return (low - np.log(np.exp(low - energies).sum(axis=axes, keepdims=True))).squeeze(axes)


def message(tables: np.ndarray, incoming: Sequence[np.ndarray], slot: int, summed: Sequence[bool]) -> np.ndarray:
    """Raw messages to `slot`, (n, K), of factors with `tables` (n, *states) and `incoming` rows (n, K) per slot.

    Sums over the other slots that are `summed`, then minimises over the rest.
    """
    arity = tables.ndim - 1
    total = tables.astype(np.longdouble)
    for t, rows in enumerate(incoming):
        if t != slot:
            total = total + rows.reshape(len(rows), *[rows.shape[1] if axis == t else 1 for axis in range(arity)])
    soft = [t for t in range(arity) if t != slot and summed[t]]
    if soft:
        total = soft_minimum(total, tuple(1 + t for t in soft))
    left = [t for t in range(arity) if t not in soft]
    return total.min(axis=tuple(1 + axis for axis, t in enumerate(left) if t != slot))
