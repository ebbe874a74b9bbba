"""Which method would run, and why: from the structure alone, or, where that is too wide, from what numbers forbid."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from factorgraph_ebm.arrays import Bool
from factorgraph_ebm.compiler.union import Union, compile_union
from factorgraph_ebm.errors import MethodError, ParameterError
from factorgraph_ebm.inference import METHODS, Choice, check_options, choose
from factorgraph_ebm.inference.cut import attracts
from factorgraph_ebm.inference.enumerate import entries
from factorgraph_ebm.inference.forbidden import let_go
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.inference.ways import DEAR, find_way, predict
from factorgraph_ebm.questions.asking import (
    Asked,
    Evidence,
    Graphs,
    Parameters,
    Samples,
    asked_cells,
    read_beta,
    read_evidence,
    read_samples,
    read_time_limit,
    samples_of,
)


class Plan(NamedTuple):
    """What would run."""

    method: str
    reason: str
    exact: bool
    "the answer would be proved, or none found"
    width: float | None = None
    """log2 of the entries of the largest table of a junction tree, made or not; +inf where it is too wide; None: none
    was looked for"""
    bytes: int | None = None
    "that its messages take"
    seconds: float | None = None
    "that it is predicted to take on one thread, once compiled"
    ruled_out: tuple[str, ...] = ()
    "the other methods that would be exact, and why not they"

    def __str__(self) -> str:
        said = [f"{self.method} ({'exact' if self.exact else 'approximate'}): {self.reason}"]
        return "\n".join([*said, *(f"not {each}" for each in self.ruled_out)])


def plan(
    graph: Graphs,
    question: str = "minimize",
    given: Evidence = None,
    *,
    asked: Asked = None,
    latent: str = "minimize",
    beta: float = 1.0,
    method: str = "auto",
    time_limit: float | None = None,
    parameters: Parameters = None,
    **options: Any,
) -> Plan:
    """Say which method would answer a question and why, without running it.

    Numbers are looked at where they decide, and where all are known: whether pairs of two-state variables attract, and
    where whole tables would not fit, or take long, how many of their entries are not forbidden, which can take seconds.
    Without the values of all parameters a graph is planned as if nothing were forbidden.

    Parameters
    ----------
    question : "minimize" or "marginals"
    graph, given, asked, latent, beta, method, time_limit, parameters, options : as in `minimize`

    Returns
    -------
    Plan with `method`, `reason`, `exact`, what was `ruled_out`, and, where a junction tree was looked for, its `width`,
    `bytes` and `seconds`. It prints as text. For lists one plan, since a list is one run.

    Raises
    ------
    EvidenceError, MethodError : as the question itself.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> y = fg.output("y", shape=(3, 3), n_states=2)
    >>> columns, rows = fg.Potts([y[1:], y[:-1]], penalty=1.0), fg.Potts([y[:, 1:], y[:, :-1]], penalty=1.0)
    >>> print(fg.plan(fg.FactorGraph([columns])))
    bp (exact): a forest, in one sweep up and down
    >>> print(fg.plan(fg.FactorGraph([columns, rows])))
    enumerate (exact): not a forest, and all its joint tables have 513 entries
    """
    if question not in ("minimize", "marginals"):
        raise MethodError(f'question= is "minimize" or "marginals", not {question!r}.')
    check_options(method, options)
    graphs, read, _ = read_evidence(graph, given)
    masks = [asked_cells(g, known, asked) for g, known in zip(graphs, read)]
    soft: Sequence[Bool | None] = [None] * len(masks)
    if question == "minimize" and latent == "marginalize" and read_beta(beta) < np.inf:
        soft = [~mask & ~known.known for mask, known in zip(masks, read)]
    union = compile_union(samples_of(graphs, read, soft))
    compiled = union.compiled
    minimizing = question == "minimize"
    exact = bool((compiled.sample_exact if minimizing else compiled.sample_forest).all())
    left = read_time_limit(time_limit)
    if method == "auto":
        chosen = choose(union, minimizing, options, left)
        if chosen.first is not None:
            chosen = _by_pairs(chosen, union, graph, given, parameters)
    else:
        chosen = Choice(METHODS[method], "as was asked for")
        if method == "enumerate":
            chosen = chosen._replace(reason=f"as was asked for: tables of {entries(compiled)[1]:,.0f} entries in all")
        elif method == "junction_tree":
            found = predict(union, minimize=minimizing, **options)
            chosen = chosen._replace(reason=f"as was asked for: {found}", cost=found)
    dear = chosen.cost is not None and not (chosen.cost.fits and chosen.cost.seconds <= DEAR)
    if dear and chosen.method is not METHODS["cut"]:
        with contextlib.suppress(ParameterError):
            samples = read_samples(graph, given, parameters)
            chosen = _by_numbers(union, samples, chosen, minimizing, method, left, options)
    name, cost = chosen.method.name, chosen.cost
    proves = name in ("cut", "enumerate", "junction_tree") or (name == "bp" and exact)
    width, size, seconds = (None, None, None) if cost is None else (cost.width, cost.bytes, cost.seconds)
    return Plan(name, chosen.reason, proves, width, size, seconds, chosen.ruled_out)


def _by_numbers(
    union: Union, samples: Samples, chosen: Choice, minimize: bool, method: str, left: float, options: Mapping[str, Any]
) -> Choice:
    """What is chosen once it is known what numbers forbid."""
    numbers = union.bind(samples.values, np.concatenate([known.states for known in samples.given]))
    if method == "auto":
        chosen = choose(union, minimize, options, left, numbers, messages=True)
    else:
        found = find_way(union, numbers, minimize=minimize, **options).cost
        chosen = chosen._replace(reason=f"as was asked for: {found}", cost=found)
    let_go(union)
    return chosen


def _by_pairs(choice: Choice, union: Union, graph: Graphs, given: Evidence, parameters: Parameters) -> Choice:
    """What comes of a choice that the numbers decide; as it was where a parameter has no value yet."""
    try:
        samples = read_samples(graph, given, parameters)
    except ParameterError:
        return choice
    numbers = union.bind(samples.values, np.concatenate([known.states for known in samples.given]))
    why = choice.reason.partition(", and ")[0]
    if choice.first is None or not attracts(Problem(union, numbers, 1.0, True, None, np.inf, None)):
        return choice._replace(reason=choice.reason.partition("; ")[0])
    ruled_out = choice.ruled_out
    if choice.cost is not None and choice.cost.fits:
        ruled_out = (*ruled_out, f"junction_tree: a cut is faster: {choice.cost}")
    return choice._replace(method=choice.first, reason=f"{why}, and all pairs attract", ruled_out=ruled_out)
