"""The assignments of some cells in order of energy, by brute force; and how results say theirs."""

from __future__ import annotations

from typing import Any

import numpy as np
from oracle import Joint
from strategies import Case


def asked_by_default(case: Case, joint: Joint) -> list[int]:
    """Outputs that are not known, in order. In drawn cases everything observed is known."""
    return [
        joint.where.cell(name, i)
        for name, variable in joint.where.variables.items()
        for i in range(variable.size)
        if variable.role == "output" and (name, i) not in case.known
    ]


def in_order(joint: Joint, cells: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Allowed assignments of `cells` (M, cells) with the least energy of each (M,): ascending, ties by states."""
    if not cells:
        rows, group = np.zeros((1, 0), int), np.zeros(len(joint.states), int)
    else:
        rows, group = np.unique(joint.states[:, cells], axis=0, return_inverse=True)
    least = np.full(len(rows), np.inf)
    np.minimum.at(least, group.reshape(-1), joint.rest)
    order = np.argsort(least, kind="stable")
    order = order[np.isfinite(least[order])]
    return rows[order], joint.base + least[order]


def far_apart(rows: np.ndarray, k: int, distance: int) -> list[int]:
    """Rows taken greedily: each the first that differs from every former one in `distance` columns."""
    taken: list[int] = []
    for i, row in enumerate(rows):
        if len(taken) < k and all((row != rows[j]).sum() >= distance for j in taken):
            taken.append(i)
    return taken


def columns_of(result: Any, joint: Joint, cells: list[int]) -> list[int]:
    """States of some cells in a result."""
    names = [(name, i) for name, variable in joint.where.variables.items() for i in range(variable.size)]
    return [int(np.asarray(result.indices[names[c][0]]).reshape(-1)[names[c][1]]) for c in cells]
