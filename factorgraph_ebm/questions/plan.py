"""Which method would run, and why: from the structure alone, or, where that is too wide, from what numbers forbid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from factorgraph_ebm.arrays import Bool, Numbers
from factorgraph_ebm.compiler.union import Union, compile_union
from factorgraph_ebm.errors import MethodError
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
    asked_cells,
    read_beta,
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
    EvidenceError, MethodError, ParameterError : as the question itself; but a parameter needs no value.

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
    samples = read_samples(graph, given, parameters, partial=True)
    complete = all(name in values for g, values in zip(samples.graphs, samples.values) for name in g.parameters)
    masks = [asked_cells(g, each, asked) for g, each in zip(samples.graphs, samples.given)]
    soft: Sequence[Bool | None] = [None] * len(masks)
    if question == "minimize" and latent == "marginalize" and read_beta(beta) < np.inf:
        soft = [~mask & ~each.known for mask, each in zip(masks, samples.given)]
    union = compile_union(samples_of(samples.graphs, samples.given, soft))
    compiled = union.compiled
    minimizing = question == "minimize"
    exact = bool((compiled.sample_exact if minimizing else compiled.sample_forest).all())
    left = read_time_limit(time_limit)
    if method == "auto":
        chosen = choose(union, minimizing, options, left)
    else:
        chosen = Choice(METHODS[method], "as was asked for")
        if method == "enumerate":
            chosen = chosen._replace(reason=f"as was asked for: tables of {entries(compiled)[1]:,.0f} entries in all")
        elif method == "junction_tree":
            found = predict(union, minimize=minimizing, **options)
            chosen = chosen._replace(reason=f"as was asked for: {found}", cost=found)
    dear = chosen.cost is not None and not (chosen.cost.fits and chosen.cost.seconds <= DEAR)
    if complete and (dear or chosen.first is not None):
        numbers = union.bind(samples.values, np.concatenate([each.states for each in samples.given]))
        if chosen.first is not None:
            chosen = _by_pairs(chosen, union, numbers)
        elif method == "auto":
            chosen = choose(union, minimizing, options, left, numbers, messages=True)
        else:
            found = find_way(union, numbers, minimize=minimizing, **options).cost
            chosen = chosen._replace(reason=f"as was asked for: {found}", cost=found)
        let_go(union)
    name, cost = chosen.method.name, chosen.cost
    proves = name in ("cut", "enumerate", "junction_tree") or (name == "bp" and exact)
    width, size, seconds = (None, None, None) if cost is None else (cost.width, cost.bytes, cost.seconds)
    return Plan(name, chosen.reason, proves, width, size, seconds, chosen.ruled_out)


def _by_pairs(choice: Choice, union: Union, numbers: Numbers) -> Choice:
    """What comes of a choice that numbers decide, since a cut may do."""
    assert choice.first is not None and choice.otherwise is not None
    if not attracts(Problem(union, numbers, 1.0, True, None, np.inf, None)):
        return choice.otherwise(numbers)
    why, ruled_out = choice.reason.partition(", and ")[0], choice.ruled_out
    if choice.cost is not None and choice.cost.fits:
        ruled_out = (*ruled_out, f"junction_tree: a cut is faster: {choice.cost}")
    return choice._replace(method=choice.first, reason=f"{why}, and all pairs attract", ruled_out=ruled_out)
