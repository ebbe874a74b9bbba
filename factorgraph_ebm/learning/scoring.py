"""How often best guesses are right: the share of cells with a label that is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from factorgraph_ebm.errors import EvidenceError
from factorgraph_ebm.learning.data import Data
from factorgraph_ebm.questions.minimize import minimize


def share_right(
    data: Data, given: Sequence[Mapping[Any, Any]], parameters: Mapping[str, Any], how: Mapping[str, Any]
) -> float:
    """The share of labelled cells, of all samples together, that best guesses get right.

    Parameters
    ----------
    given : of each sample, as `minimize` takes it
    how : keywords of `minimize`

    Raises
    ------
    EvidenceError : no cell has a label.
    """
    alike: dict[tuple[str, ...] | None, list[int]] = {}
    for i in range(len(data.graphs)):
        alike.setdefault(_asked(data, i), []).append(i)
    right = total = 0
    for asked, chosen in alike.items():
        graphs = [data.graphs[i] for i in chosen]
        declared = {name for graph in graphs for name in graph.parameters}
        here = {name: value for name, value in parameters.items() if name in declared}
        guesses = minimize(graphs, [given[i] for i in chosen], asked=asked, parameters=here, **how)
        for i, graph, guess in zip(chosen, graphs, guesses):
            labelled, states = data.labelled(i), data.targets[i].states
            for name, offset in graph.cell_offset.items():
                cells = slice(offset, offset + graph[name].size)
                if labelled[cells].any():
                    said = guess.indices[name].reshape(-1)
                    right += int(np.count_nonzero((said == states[cells]) & labelled[cells]))
                    total += int(np.count_nonzero(labelled[cells]))
    if not total:
        raise EvidenceError("targets have no labels to compare with.")
    return right / total


def _asked(data: Data, i: int) -> tuple[str, ...] | None:
    """What the best guess of sample i is asked: outputs, and what is observed but has a label here; None: as usual."""
    graph, labelled = data.graphs[i], data.labelled(i)
    observed = [
        name for name, offset in graph.cell_offset.items()
        if graph[name].role == "observed" and labelled[offset : offset + graph[name].size].any()
    ]  # fmt: skip
    return (*observed, *(name for name, v in graph.variables.items() if v.role == "output")) if observed else None
