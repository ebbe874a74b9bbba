"""Which method would run, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from factorgraph_ebm.arrays import Bool
from factorgraph_ebm.compiler.union import compile_union
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.inference import METHODS, check_options, choose
from factorgraph_ebm.inference.enumerate import entries
from factorgraph_ebm.inference.junction_tree import predict
from factorgraph_ebm.questions.asking import Asked, Evidence, Graphs, asked_cells, read_beta, read_evidence, samples_of


class Plan(NamedTuple):
    """What would run."""

    method: str
    reason: str
    exact: bool
    "the answer would be proved, or none found"

    def __str__(self) -> str:
        return f"{self.method} ({'exact' if self.exact else 'approximate'}): {self.reason}"


def plan(
    graph: Graphs,
    question: str = "minimize",
    given: Evidence = None,
    *,
    asked: Asked = None,
    latent: str = "minimize",
    beta: float = 1.0,
    method: str = "auto",
    **options: Any,
) -> Plan:
    """Say which method would answer a question and why, without running it or reading any number.

    Parameters
    ----------
    question : "minimize" or "marginals"
    graph, given, asked, latent, beta, method, options : as in `minimize`

    Returns
    -------
    Plan with `method`, `reason` and `exact`; for lists one plan, since a list is one run.

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
    chosen, reason = choose(compiled, minimizing, options)
    if method != "auto":
        chosen, reason = METHODS[method], "as was asked for"
        if method == "enumerate":
            reason = f"as was asked for: tables of {entries(compiled)[1]:,.0f} entries in all"
        elif method == "junction_tree":
            reason = f"as was asked for: {predict(union, minimize=minimizing, **options)}"
    proves = chosen.name in ("enumerate", "junction_tree") or (chosen.name == "bp" and exact)
    return Plan(chosen.name, reason, proves)
