"""The best guess: argmin over what is asked of E, the rest minimised over or summed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, overload

from factorgraph_ebm.answers.result import MinimizeResult
from factorgraph_ebm.arrays import Bool
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.questions.asking import (
    Asked,
    Dict,
    Evidence,
    Graphs,
    How,
    Parameters,
    answer_samples,
    asked_cells,
    read_beta,
    read_samples,
    warn_of,
)


@overload
def minimize(graph: FactorGraph, given: Dict = None, **keywords: Any) -> MinimizeResult: ...
@overload
def minimize(graph: Sequence[FactorGraph], given: Evidence = None, **keywords: Any) -> list[MinimizeResult]: ...
@overload
def minimize(graph: FactorGraph, given: Sequence[Dict], **keywords: Any) -> list[MinimizeResult]: ...


def minimize(
    graph: Graphs,
    given: Evidence = None,
    *,
    asked: Asked = None,
    latent: str = "minimize",
    beta: float = 1.0,
    parameters: Parameters = None,
    method: str = "auto",
    start: Any = None,
    time_limit: float | None = None,
    threads: int | None = None,
    progress: bool = False,
    **options: Any,
) -> Any:
    """Find the assignment of least energy.

    Parameters
    ----------
    graph : FactorGraph or a list of them
    given : dict of names or views and values in the variables' own language, or a list of dicts
    asked : names and views that the question is about; by default the outputs that are not given
    latent : what happens to all that is neither given nor asked: "minimize", or "marginalize" (summed at beta, inside)
    beta : inverse temperature of what is summed, 0 to inf
    parameters : name -> array, for Parameters (before their `initial`)
    method : "auto" (see `plan`), "bp", "junction_tree", "enumerate", "icm", or for pairs that attract "cut" (two
        states, exact) or "expansion" (many)
    start : a former result, a step or an assignment to begin from; for a list, one for all or a list
    time_limit : seconds, after which the best answer so far is returned; one iteration and its decoding always run
    threads : at most so many; answers do not depend on it
    progress : show a progress bar
    options : of the method, such as schedule, damping, tolerance, max_iterations, stop. dtype="float32" of "bp" lets
        large graphs read their tables in half the time: see Notes

    Returns
    -------
    MinimizeResult, or a list of them where `graph` or `given` is a list.

    Raises
    ------
    EvidenceError : an unknown name, state or label, or an observed variable that is neither given nor asked for.
    ParameterError : a parameter has no value.
    MethodError : an unknown method or option, or a method that cannot answer.

    Notes
    -----
    With dtype="float32" loopy samples that have a table of 128 entries or more for each of many factors over two
    variables, 2**17 different entries in all, read such tables in single precision while messages are passed. An
    entry T loses 2**-24 |T|, and what is larger than 3.4e38 but not forbidden is read as that. Messages, energies and
    bounds stay in double precision, and are of the numbers as declared. All others that minimise are answered as
    without it: exact ones, smaller ones, and those that sum as well. What does not minimise refuses it.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> y = fg.output("y", shape=4, n_states=2)
    >>> graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.0)])
    >>> fg.minimize(graph, given={y[0]: 1})["y"]
    array([1, 1, 1, 1])
    >>> [float(best.energy) for best in fg.minimize(graph, given=[{y[0]: 1}, {"y": [0, -1, -1, 1]}])]
    [0.0, 1.0]
    """
    samples = read_samples(graph, given, parameters)
    beta = read_beta(beta)
    masks = [asked_cells(g, known, asked) for g, known in zip(samples.graphs, samples.given)]
    soft: list[Bool | None] = [None] * len(masks)
    if sums(latent, beta):
        soft = [~mask & ~known.known for mask, known in zip(masks, samples.given)]
    how = How(method, start, time_limit, threads, progress, options)
    answered = answer_samples(samples, soft, minimize=True, beta=beta, how=how)
    results = [MinimizeResult(answered, i) for i in range(len(samples.graphs))] if answered is not None else []
    warn_of(answered, results)
    return results if samples.is_list else results[0]


def sums(latent: str, beta: float) -> bool:
    """Whether what is eliminated is summed; at beta = inf a sum is a minimum."""
    if latent not in ("minimize", "marginalize"):
        raise MethodError(f'latent= is "minimize" or "marginalize", not {latent!r}.')
    return latent == "marginalize" and beta < math.inf
