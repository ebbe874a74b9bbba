"""Ranking: compare the energies of candidate answers, without normalising."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.answers.belief import MarginalsResult
from factorgraph_ebm.answers.result import MinimizeResult
from factorgraph_ebm.arrays import F64, Bool
from factorgraph_ebm.errors import EvidenceError
from factorgraph_ebm.graph.assignment import Given, cells_of, describe_cell, find_variable, read_given
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.inference.method import Status
from factorgraph_ebm.questions.asking import (
    Evidence,
    Graphs,
    How,
    Parameters,
    Samples,
    answer_samples,
    read_beta,
    read_samples,
    refuse_missing,
    warn_of,
    with_reals,
)
from factorgraph_ebm.questions.minimize import sums


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
    summing = sums(latent, beta)
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
