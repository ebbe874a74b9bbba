"""How good parameters are on some samples: the share of right answers that best guesses say, or the mean loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import EvidenceError, MethodError, ParameterError, did_you_mean
from factorgraph_ebm.graph.variables import Variable
from factorgraph_ebm.learning.asking import Inference
from factorgraph_ebm.learning.data import Data
from factorgraph_ebm.learning.evaluate import make_problem
from factorgraph_ebm.learning.layout import Layout, layout_of
from factorgraph_ebm.learning.oracle import UNREGULARIZED, objective
from factorgraph_ebm.learning.problem_oracle import make_oracle
from factorgraph_ebm.losses.loss import Loss
from factorgraph_ebm.questions.minimize import minimize


def mean_loss(data: Data, layout: Layout, loss: Loss, inference: Inference) -> Callable[[F64], float]:
    """The mean loss of some samples as a function of the parameters (n_free,) that are laid out so.

    Raises
    ------
    ParameterError : the samples have parameters that the layout lacks.
    """
    for name in layout_of(data.graphs).parameters:
        if name not in layout.parameters:
            raise ParameterError(f'parameter "{name}" is in graphs of validation= only, so it is not learned.')
    problem = make_problem(data, layout, loss, inference, np.ones(len(data.graphs)))
    oracle = make_oracle(problem, layout.start, 0)
    return lambda w: objective(oracle, UNREGULARIZED, w).loss


def share_right(
    data: Data,
    given: Sequence[Mapping[Any, Any]],
    parameters: Mapping[str, Any],
    how: Mapping[str, Any],
    weights: F64,
    per: str = "cell",
    of: str | Variable | Iterable[str | Variable] | None = None,
) -> float:
    """The share of labelled cells, or of samples, that best guesses get right.

    Parameters
    ----------
    given : of each sample, as `minimize` takes it
    how : keywords of `minimize`
    weights : (n,) of samples
    per : "cell": of the cells of all samples together; "sample": of samples, all of whose labelled cells must be right
    of : variables that are looked at, by name; None: all

    Raises
    ------
    EvidenceError : no cell has a label.
    MethodError : another word for `per`, or a variable that no sample has.
    """
    if per not in ("cell", "sample"):
        raise MethodError(f'per= is "cell" or "sample", not {per!r}.')
    names = _names(data, of)
    right, total = np.zeros(len(data.graphs)), np.zeros(len(data.graphs))
    alike: dict[tuple[str, ...] | None, list[int]] = {}
    for i in range(len(data.graphs)):
        alike.setdefault(_asked(data, i), []).append(i)
    for asked, chosen in alike.items():
        graphs = [data.graphs[i] for i in chosen]
        declared = {name for graph in graphs for name in graph.parameters}
        here = {name: value for name, value in parameters.items() if name in declared}
        guesses = minimize(graphs, [given[i] for i in chosen], parameters=here, **{"asked": asked, **how})
        for i, graph, guess in zip(chosen, graphs, guesses):
            labelled, states = data.labelled(i), data.targets[i].states
            for name, offset in graph.cell_offset.items():
                cells = slice(offset, offset + graph[name].size)
                if name in names and labelled[cells].any():
                    said = guess.indices[name].reshape(-1)
                    right[i] += np.count_nonzero((said == states[cells]) & labelled[cells])
                    total[i] += np.count_nonzero(labelled[cells])
    if per == "sample":
        there = total > 0.0
        right, total = np.where(there, right == total, 0.0), np.where(there, 1.0, 0.0)
    count = float(weights @ total)
    if not count:
        raise EvidenceError("targets have no labels to compare with, where weights are not 0.")
    return float(weights @ right) / count


def _names(data: Data, of: str | Variable | Iterable[str | Variable] | None) -> set[str]:
    known = {name for graph in data.graphs for name in graph.cell_offset}
    if of is None:
        return known
    wanted = [of] if isinstance(of, (str, Variable)) else of
    names = {each.name if isinstance(each, Variable) else each for each in wanted}
    for name in names:
        if name not in known:
            raise MethodError(f'of=: no sample has a variable "{name}".{did_you_mean(name, known)}')
    return names


def _asked(data: Data, i: int) -> tuple[str, ...] | None:
    """What the best guess of sample i is asked: outputs, and what is observed but has a label here; None: as usual."""
    graph, labelled = data.graphs[i], data.labelled(i)
    observed = [
        name for name, offset in graph.cell_offset.items()
        if graph[name].role == "observed" and labelled[offset : offset + graph[name].size].any()
    ]  # fmt: skip
    return (*observed, *(name for name, v in graph.variables.items() if v.role == "output")) if observed else None
