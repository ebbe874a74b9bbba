"""The k best: the assignments of what is asked by energy, best first, the rest minimised over.

    E(y) = min over z of E(y, z),    E(y_1) <= E(y_2) <= ... <= E(y_k)

On trees and by width: D. Nilsson, "An efficient algorithm for finding the M most probable configurations in
probabilistic expert systems", Statistics and Computing 8, 1998.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from factorgraph_ebm.answers.ranked import RankedAnswer, RankedResult
from factorgraph_ebm.arrays import Bool
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.inference import check_options, run_k_best
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.questions.asking import (
    Asked,
    Dict,
    Evidence,
    Graphs,
    How,
    Parameters,
    Samples,
    asked_cells,
    pose,
    read_count,
    read_samples,
)
from factorgraph_ebm.questions.minimize import sums


@overload
def k_best(graph: FactorGraph, k: int, given: Dict = None, **keywords: Any) -> list[RankedResult]: ...
@overload
def k_best(
    graph: Sequence[FactorGraph], k: int, given: Evidence = None, **keywords: Any
) -> list[list[RankedResult]]: ...
@overload
def k_best(graph: FactorGraph, k: int, given: Sequence[Dict], **keywords: Any) -> list[list[RankedResult]]: ...


def k_best(
    graph: Graphs,
    k: int,
    given: Evidence = None,
    *,
    asked: Asked = None,
    latent: str = "minimize",
    parameters: Parameters = None,
    method: str = "auto",
    threads: int | None = None,
    **options: Any,
) -> Any:
    """Find the k assignments of least energy, best first, proved.

    They are the k best assignments of what is asked: results that would differ only in the rest (latent variables, by
    default) count as one, which has the best completion. Forbidden assignments (+inf) are never among them, so there
    may be fewer than k, and none where the graph is infeasible. Equal energies come in order of the states of what is
    asked, lowest first, in declared order; energies are compared as the compiled graph adds them up, so where they are
    not integers a tie is up to rounding.

    Parameters
    ----------
    k : number of results, 1 or more
    asked : names and views that the results differ in; by default the outputs that are not given
    latent : "minimize" is what can be done with all that is neither given nor asked
    method : "auto", "junction_tree" or "enumerate"; only exact methods prove an order
    graph, given, parameters, threads, options : as in `minimize`

    Returns
    -------
    list of at most k RankedResult, each as from `minimize`, with its `rank`; a list of such lists where `graph` or
    `given` is a list.

    Raises
    ------
    MethodError : the graph is too large for every method that can list its best assignments; or latent="marginalize".
    EvidenceError, ParameterError : as in `minimize`.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> y = fg.output("y", shape=3, states=["a", "b"])
    >>> change = fg.Potts([y[1:], y[:-1]], penalty=1.0)
    >>> graph = fg.FactorGraph([change, fg.Table([y[0]], energies=[0.0, 0.5])])
    >>> for best in fg.k_best(graph, 3):
    ...     print(best.rank, best.energy, *best["y"])
    0 0.0 a a a
    1 0.5 b b b
    2 1.0 a a b
    """
    check_options(method, options, "k_best")
    k = read_count(k, "k, the number of results, is an int", 1)
    if sums(latent, 1.0):
        raise MethodError(
            'k_best cannot sum variables out (latent="marginalize"). Minimise over them, and put the results in order '
            'with rank(graph, [{"y": best["y"]} for best in results], latent="marginalize").'
        )
    samples = read_samples(graph, given, parameters)
    masks = [asked_cells(g, known, asked) for g, known in zip(samples.graphs, samples.given)]
    answer = rank_assignments(samples, masks, k, How(method, threads=threads, options=options))
    found = [answer.results(i) for i in range(len(masks))] if answer is not None else []
    return found if samples.is_list else found[0]


def rank_assignments(samples: Samples, asked: Sequence[Bool], k: int, how: How) -> RankedAnswer | None:
    """The k best of every sample in one run; `asked`: of each, (n_cells,). None for an empty list."""
    problem = pose(samples, [None] * len(asked), minimize=True, beta=1.0, how=how)
    if problem is None:
        return None
    ranked = run_k_best(how.method, problem, how.options, k, asked_variables(problem, asked))
    return RankedAnswer(problem, ranked, samples.graphs, samples.given, samples.values)


def asked_variables(problem: Problem, asked: Sequence[Bool]) -> Bool:
    """Which variables of a union are asked for, (V,), from the cells of each sample."""
    variable = problem.compiled.cell_variable
    free = variable >= 0
    chosen = np.zeros(len(problem.compiled.variable_cell), bool)
    chosen[variable[free]] = np.concatenate(asked)[free]
    return chosen
