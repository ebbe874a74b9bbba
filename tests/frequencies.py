"""Draws against exact probabilities, by chi-square."""

from __future__ import annotations

from typing import Any

import numpy as np
from oracle import Joint
from scipy.stats import chi2
from strategies import Case

RARE = 1e-9
"probability below which a test statistic is a failure"


def drawn_rows(case: Case, drawn: Any, joint: Joint, n: int) -> np.ndarray:
    """Numbers of the drawn configurations among `joint.states`; also checks shapes, labels and what is known."""
    columns = [np.zeros((n, 0), int)]
    assert set(drawn) == set(case.graph.variables)
    for name, variable in joint.where.variables.items():
        values = drawn[name]
        assert values.shape == (n, *variable.shape)
        if variable.states is not None:
            lookup = {label: state for state, label in enumerate(variable.states)}
            values = np.array([lookup[label] for label in values.ravel().tolist()], int)
        else:
            assert values.dtype == np.intp
        columns.append(values.reshape(n, variable.size))
    states = np.concatenate(columns, axis=1)
    number = {row.tobytes(): i for i, row in enumerate(joint.states.astype(np.int64))}
    return np.array([number[row.tobytes()] for row in states.astype(np.int64)], int)


def check_frequencies(rows: np.ndarray, probability: np.ndarray) -> None:
    """Pearson's chi-square, where rare configurations are one class."""
    count, expected = np.bincount(rows, minlength=len(probability)), len(rows) * probability
    assert not count[probability == 0].any(), "what is forbidden is never drawn"
    common = expected >= 5.0
    classes = [*zip(count[common], expected[common])]
    rest = count[~common].sum(), expected[~common].sum()
    if rest[1] >= 5.0:
        classes.append(rest)
    statistic = sum((c - e) ** 2 / e for c, e in classes)
    if len(classes) > 1:
        assert chi2.sf(statistic, len(classes) - 1) > RARE, statistic
