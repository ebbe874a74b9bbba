"""The questions: one signature for all of them, one engine run for a whole list.

    minimize        argmin over what is asked of E, the rest minimised over or summed
    marginals       P(y) = exp(-beta (E - F))
    log_partition   log sum exp(-beta E)
    rank            compare the energies of candidates

Either of `graph` and `given` may be a list; then so is the answer, in that order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64, Bool
from factorgraph_ebm.errors import EvidenceError, MethodError
from factorgraph_ebm.graph.assignment import Given, cells_of, describe_cell, find_variable, read_given
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.inference.asking import (
    Asked,
    Dict,
    Evidence,
    Graphs,
    How,
    Parameters,
    Samples,
    answer_samples,
    asked_cells,
    read_beta,
    read_samples,
    refuse_missing,
    warn_of,
    with_reals,
)
from factorgraph_ebm.inference.belief import MarginalsResult
from factorgraph_ebm.inference.declared import declared_energies, declared_energy
from factorgraph_ebm.inference.joints import find_joints
from factorgraph_ebm.inference.method import Status
from factorgraph_ebm.inference.result import MinimizeResult


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
    method : "auto", "bp", "enumerate" or "icm"
    start : a former result, a step or an assignment to begin from; for a list, one for all or a list
    time_limit : seconds, after which the best answer so far is returned
    threads : at most so many; answers do not depend on it
    progress : show a progress bar
    options : of the method, such as schedule, damping, tolerance, max_iterations, stop

    Returns
    -------
    MinimizeResult, or a list of them where `graph` or `given` is a list.

    Raises
    ------
    EvidenceError : an unknown name, state or label, or an observed variable that is neither given nor asked for.
    ParameterError : a parameter has no value.
    MethodError : an unknown method or option, or a method that cannot answer.

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
    if _sums(latent, beta):
        soft = [~mask & ~known.known for mask, known in zip(masks, samples.given)]
    how = How(method, start, time_limit, threads, progress, options)
    answered = answer_samples(samples, soft, minimize=True, beta=beta, how=how)
    results = [MinimizeResult(answered, i) for i in range(len(samples.graphs))] if answered is not None else []
    warn_of(answered, results)
    return results if samples.is_list else results[0]


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
    joint : tuples of single variables, such as [(y[0], y[9])], whose joint marginals `belief.joint` shall have
    graph, given, asked, parameters, method, start, time_limit, threads, progress, options : as in `minimize`

    Returns
    -------
    MarginalsResult, or a list of them where `graph` or `given` is a list.

    Raises
    ------
    EvidenceError, ParameterError, MethodError : as in `minimize`.

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
    if "latent" in options:
        raise MethodError("marginals sums over everything that is not given: it has no latent=. Leave it out.")
    samples = read_samples(graph, given, parameters)
    beta = read_beta(beta)
    for g, known in zip(samples.graphs, samples.given):
        asked_cells(g, known, asked)
    how = How(method, start, time_limit, threads, progress, options)
    answered = answer_samples(samples, [None] * len(samples.graphs), minimize=False, beta=beta, how=how)
    results: list[MarginalsResult] = []
    if answered is not None:
        joints = find_joints(answered, joint, how) if joint else [None] * len(samples.graphs)
        results = [MarginalsResult(answered, i, each) for i, each in enumerate(joints)]
    warn_of(answered, results)
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
    found = marginals(graph, given, **keywords)
    return [each.log_partition for each in found] if isinstance(found, list) else found.log_partition


def energy(graph: Graphs, assignment: Evidence, *, parameters: Parameters = None) -> Any:
    """Return the energy of a full assignment in nats, +inf where it is forbidden.

    Parameters
    ----------
    assignment : dict of names or views and values, or a result of `minimize`; every variable must have a value
    graph, parameters : as in `minimize`

    Returns
    -------
    float; a list of floats where `graph` or `assignment` is a list.

    Raises
    ------
    EvidenceError : a variable has no value, or was summed over in the result.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> y = fg.output("y", shape=3, states=["a", "b"])
    >>> fg.energy(fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.5)]), {"y": ["a", "b", "a"]})
    3.0
    """
    samples = _read_assignments(graph, assignment, parameters)
    found = [declared_energy(g, v, a.states) for g, a, v in zip(samples.graphs, samples.given, samples.values)]
    return found if samples.is_list else found[0]


def factor_energies(graph: Graphs, assignment: Evidence, *, parameters: Parameters = None) -> Any:
    """Return the energy of each factor under a full assignment: factor key -> array of the group shape, in nats.

    Parameters, errors and lists as in `energy`.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> y = fg.output("y", shape=3, n_states=2)
    >>> graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.5, name="smooth")])
    >>> fg.factor_energies(graph, {"y": [0, 1, 1]})
    {'smooth': array([1.5, 0. ])}
    """
    samples = _read_assignments(graph, assignment, parameters)
    found = [declared_energies(g, v, a.states) for g, a, v in zip(samples.graphs, samples.given, samples.values)]
    return found if samples.is_list else found[0]


class Ranking(NamedTuple):
    """Candidates by energy."""

    order: npt.NDArray[np.intp]
    "numbers of the candidates, best first; equal ones as listed"
    energies: F64
    "of the candidates as listed, nats; free energies where the rest was summed"
    exact: bool
    "every energy is proved"


def rank(
    graph: Graphs,
    candidates: Sequence[Mapping[Any, Any]],
    given: Evidence = None,
    *,
    latent: str = "minimize",
    beta: float = 1.0,
    parameters: Parameters = None,
    **keywords: Any,
) -> Any:
    """Order candidate answers by energy, without normalising.

    Parameters
    ----------
    candidates : dicts of names or views and values; they may be partial
    latent : what happens to all that is neither given nor in a candidate: "minimize", or "marginalize" at beta
    graph, given, beta, parameters, keywords : as in `minimize`

    Returns
    -------
    Ranking with `order` (best first) and `energies` (as listed); a list of them where `graph` or `given` is a list.

    Raises
    ------
    EvidenceError : a candidate contradicts what is given; otherwise as in `minimize`.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> y = fg.output("y", shape=2, states=["a", "b"])
    >>> graph = fg.FactorGraph([fg.Table([y], energies=[0.0, 1.0]), fg.Potts([y[:1], y[1:]], penalty=3.0)])
    >>> ranking = fg.rank(graph, [{"y": ["a", "b"]}, {y[0]: "b"}, {y[0]: "a"}])
    >>> ranking.order.tolist(), ranking.energies.tolist()
    ([2, 1, 0], [4.0, 2.0, 0.0])
    """
    if isinstance(candidates, Mapping) or not isinstance(candidates, Iterable):
        raise EvidenceError("candidates must be a list of dicts.")
    listed = list(candidates)
    samples = read_samples(graph, given, parameters)
    beta = read_beta(beta)
    summing = _sums(latent, beta)
    how = How.of(keywords)
    both: list[Given] = []
    asked: list[Bool] = []
    for g, known in zip(samples.graphs, samples.given):
        for number, candidate in enumerate(listed):
            what = f"candidates[{number}]"
            both.append(_together(g, known, read_given(g, candidate, what=what), what))
            keys = [k for k in candidate if not find_variable(g, k, what).is_real]
            asked.append(refuse_missing(g, both[-1], cells_of(g, keys, what) & ~both[-1].known))
    graphs = [g for g in samples.graphs for _ in listed]
    values = [with_reals(samples.values[i // len(listed)], each) for i, each in enumerate(both)]
    # Holes in a candidate are asked for, so minimised over; without any, summing the rest needs no minimum at all.
    minimizing = not summing or any(mask.any() for mask in asked)
    soft = [~mask & ~each.known if summing and minimizing else None for mask, each in zip(asked, both)]
    answered = answer_samples(Samples(graphs, both, values, True), soft, minimize=minimizing, beta=beta, how=how)
    energies, exact = np.zeros(len(both)), np.ones(len(both), bool)
    results: list[MinimizeResult | MarginalsResult] = []
    for i in range(len(both) if answered is not None else 0):
        assert answered is not None
        result = MinimizeResult(answered, i) if minimizing else MarginalsResult(answered, i)
        results.append(result)
        energies[i] = result.energy if isinstance(result, MinimizeResult) else result.free_energy
        exact[i] = result.exact or result.status is Status.INFEASIBLE
    warn_of(answered, results)
    rankings = []
    for i in range(len(samples.graphs)):
        part = slice(i * len(listed), (i + 1) * len(listed))
        order = np.argsort(energies[part], kind="stable")
        rankings.append(Ranking(order, energies[part].copy(), bool(exact[part].all())))
    return rankings if samples.is_list else rankings[0]


def _sums(latent: str, beta: float) -> bool:
    """Whether what is eliminated is summed; at beta = inf a sum is a minimum."""
    if latent not in ("minimize", "marginalize"):
        raise MethodError(f'latent= is "minimize" or "marginalize", not {latent!r}.')
    return latent == "marginalize" and beta < math.inf


def _together(graph: FactorGraph, known: Given, said: Given, what: str) -> Given:
    """What is given and what a candidate says, which must agree."""
    clash = known.known & said.known & (known.states != said.states)
    if clash.any():
        cell = describe_cell(graph, int(np.argmax(clash)))
        raise EvidenceError(f'{what} contradicts what is given for variable "{cell}".')
    for name, value in said.reals.items():
        if name in known.reals and not np.array_equal(known.reals[name], value):
            raise EvidenceError(f'{what} contradicts what is given for real variable "{name}".')
    states = np.where(said.known, said.states, known.states)
    return Given(known.known | said.known, states, {**known.reals, **said.reals})


def _read_assignments(graph: Graphs, assignment: Evidence, parameters: Parameters) -> Samples:
    """Read full assignments; results are assignments, too."""
    if isinstance(assignment, (list, tuple)):
        assignment = [_without_summed(each) for each in assignment]
    else:
        assignment = _without_summed(assignment)
    samples = read_samples(graph, assignment, parameters, "assigned")
    for g, said in zip(samples.graphs, samples.given):
        if not said.known.all():
            missing = [name for name, o in g.cell_offset.items() if not said.known[o : o + g[name].size].all()]
            listed = ", ".join(f'"{name}"' for name in missing)
            cell = describe_cell(g, int(np.argmin(said.known)))
            raise EvidenceError(
                f"an energy needs a value for every variable, and {listed} has none at {cell}: "
                "give it, or minimise over it (a sum over it leaves none)."
            )
        for name in g.reals:
            if name not in said.reals:
                raise EvidenceError(f'an energy needs a value for every variable, and real "{name}" has none.')
    return samples


def _without_summed(assignment: Any) -> Any:
    """A result as a dict of what it can say; marginals say nothing."""
    if isinstance(assignment, MarginalsResult):
        raise EvidenceError("marginals are not an assignment. Ask minimize, or give a dict of states.")
    return dict(assignment) if isinstance(assignment, MinimizeResult) else assignment
