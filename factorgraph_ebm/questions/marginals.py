"""The distribution: P(y) = exp(-beta (E - F)), with F = -(1 / beta) log sum exp(-beta E)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from factorgraph_ebm.answers.belief import MarginalsResult
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
from factorgraph_ebm.questions.joints import find_joints


@overload
def marginals(graph: FactorGraph, given: Dict = None, **keywords: Any) -> MarginalsResult: ...
@overload
def marginals(graph: Sequence[FactorGraph], given: Evidence = None, **keywords: Any) -> list[MarginalsResult]: ...
@overload
def marginals(graph: FactorGraph, given: Sequence[Dict], **keywords: Any) -> list[MarginalsResult]: ...


def marginals(
    graph: Graphs,
    given: Evidence = None,
    *,
    asked: Asked = None,
    beta: float = 1.0,
    joint: Sequence[tuple[Any, ...]] = (),
    parameters: Parameters = None,
    method: str = "auto",
    start: Any = None,
    time_limit: float | None = None,
    threads: int | None = None,
    progress: bool = False,
    **options: Any,
) -> Any:
    """Find the probability of every state of every variable: P = exp(-beta (E - F)).

    Everything that is not given is summed over. At beta = inf the limit: uniform over the assignments of least energy.

    Parameters
    ----------
    beta : inverse temperature, 0 to inf
    joint : tuples of single variables, near or far, such as [(y[0], y[9])], whose joint marginals `belief.joint` shall
        have; by methods "auto" and "junction_tree" those of many tuples share a few passes
    graph, given, asked, parameters, method, start, time_limit, threads, progress, options : as in `minimize`

    Returns
    -------
    MarginalsResult, or a list of them where `graph` or `given` is a list.

    Raises
    ------
    EvidenceError, ParameterError, MethodError : as in `minimize`.
    WidthTooLargeError : a joint is over too many variables; it says how many bytes it would take.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> rain = fg.output("rain", states=["no", "yes"])
    >>> wet = fg.output("wet", states=["no", "yes"])
    >>> graph = fg.FactorGraph([
    ...     fg.Table.from_probabilities([rain], [0.8, 0.2]),
    ...     fg.Table.from_probabilities([rain, wet], [[0.9, 0.1], [0.2, 0.8]]),
    ... ])
    >>> belief = fg.marginals(graph, given={"wet": "yes"})
    >>> round(float(belief["rain", "yes"]), 4), round(belief.log_partition, 4)
    (0.6667, -1.4271)
    """
    how = How(method, start, time_limit, threads, progress, options)
    return _ask(graph, given, asked, beta, joint, parameters, how)


def _ask(
    graph: Graphs, given: Evidence, asked: Asked, beta: float, joint: Sequence[tuple[Any, ...]], parameters: Parameters,
    how: How,
) -> Any:  # fmt: skip
    if "latent" in how.options:
        raise MethodError("marginals sums over everything that is not given: it has no latent=. Leave it out.")
    samples = read_samples(graph, given, parameters)
    beta = read_beta(beta)
    for g, known in zip(samples.graphs, samples.given):
        asked_cells(g, known, asked)
    answered = answer_samples(samples, [None] * len(samples.graphs), minimize=False, beta=beta, how=how)
    results: list[MarginalsResult] = []
    if answered is not None:
        joints = find_joints(answered, joint, how) if joint else [None] * len(samples.graphs)
        results = [MarginalsResult(answered, i, each) for i, each in enumerate(joints)]
    warn_of(answered, results, stacklevel=4)
    return results if samples.is_list else results[0]


def log_partition(graph: Graphs, given: Evidence = None, **keywords: Any) -> Any:
    """Find log sum exp(-beta E) over everything that is not given; -inf where all is forbidden.

    Keywords and errors as in `marginals`; bounds are in its result, `log_partition_bounds`.

    Returns
    -------
    float, nats; a list of floats where `graph` or `given` is a list.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> y = fg.output("y", shape=3, n_states=4)
    >>> round(fg.log_partition(fg.FactorGraph([], variables=[y])), 6)  # 3 log 4
    4.158883
    """
    asked, beta, joint = keywords.pop("asked", None), keywords.pop("beta", 1.0), keywords.pop("joint", ())
    parameters = keywords.pop("parameters", None)
    how = How.of(keywords)._replace(alone=not joint)  # joints are made of marginals
    found = _ask(graph, given, asked, beta, joint, parameters, how)
    return [each.log_partition for each in found] if isinstance(found, list) else found.log_partition
