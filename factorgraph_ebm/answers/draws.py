"""Drawn assignments in the words of the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import I64
from factorgraph_ebm.graph.assignment import Given, to_labels
from factorgraph_ebm.graph.graph import FactorGraph


def read_draws(graph: FactorGraph, given: Given, states: I64) -> dict[str, npt.NDArray[Any]]:
    """Name -> (n, *shape) in the variable's own language, from the states of all discrete cells, (n, n_cells).

    Real variables are as given, n times, (n, *shape, *dim), read-only.
    """
    found: dict[str, npt.NDArray[Any]] = {}
    for name, variable in graph.variables.items():
        if variable.is_real:
            found[name] = np.broadcast_to(given.reals[name], (len(states), *given.reals[name].shape))
            continue
        first = graph.cell_offset[name]
        drawn = states[:, first : first + variable.size].reshape(len(states), *variable.shape)
        found[name] = to_labels(variable, drawn)
    return found
