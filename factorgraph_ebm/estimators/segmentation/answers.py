"""Which method answers about a picture: what is exact in a moment, then cuts and moves by cuts, then messages.

`auto` of the verbs would take a junction tree that is predicted to take seconds; a segmenter is asked about many
pictures, most of them too wide for any.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from factorgraph_ebm.answers.result import MinimizeResult
from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.errors import EvidenceError, MethodError
from factorgraph_ebm.graph import FactorGraph
from factorgraph_ebm.questions.marginals import marginals
from factorgraph_ebm.questions.minimize import minimize
from factorgraph_ebm.questions.plan import plan

MOMENT = 0.1
"seconds that an exact answer may be predicted to take"
WIDE = 24
"pixels of the shorter side from which on no picture is answered exactly by a tree: it need not be looked for"


def best_map(
    graph: FactorGraph, parameters: Mapping[str, Any], known: I64, how: Mapping[str, Any]
) -> MinimizeResult:
    """The answer of least energy, with the label map `y`, that keeps what is known (-1: nothing).

    Parameters
    ----------
    how : options of `minimize`; none: the method is chosen here
    """
    asked = _asked(graph, parameters, known)
    if not how:
        how = {"method": "auto"}
        if not _is_quick(graph, "minimize", asked):
            try:
                best: MinimizeResult = minimize(graph, method="expansion" if _labels_of(graph) > 2 else "cut", **asked)
                return best
            except MethodError:  # neighbours repel, or are no metric
                how = {"method": "bp"}
    best = minimize(graph, **asked, **how)
    return best


def label_shares(graph: FactorGraph, parameters: Mapping[str, Any], known: I64, how: Mapping[str, Any]) -> F64:
    """Probabilities of the labels of each node, (*shape, K); `how` as for `best_map`, of `marginals`."""
    asked = _asked(graph, parameters, known)
    if not how:
        how = {"method": "auto" if _is_quick(graph, "marginals", asked) else "bp"}
    return np.asarray(marginals(graph, **asked, **how)["y"])


def check_learned(graph: FactorGraph, parameters: Mapping[str, Any], where: str) -> None:
    """Refuse pairs of a direction, or with features, that training did not have.

    Raises
    ------
    EvidenceError : there are such pairs.
    """
    for name, slot in graph.parameters.items():
        if name not in parameters:
            kind = name.rpartition(" ")[2]
            raise EvidenceError(
                f'{where}: has pairs of the kind "{kind}", and training had none, so nothing is known of them. Fit '
                "again with such pictures or graphs, and the same neighbours=."
            )
        known = np.shape(parameters[name])
        if slot.shape != known:
            raise EvidenceError(
                f"{where}: its pairs have {slot.shape[0] - 1} features, and the segmenter learned with {known[0] - 1}. "
                "Give the same edge_features as in training."
            )


def _labels_of(graph: FactorGraph) -> int:
    return int(np.max(np.asarray(graph["y"].n_states)))


def _asked(graph: FactorGraph, parameters: Mapping[str, Any], known: I64) -> dict[str, Any]:
    return {"given": {"y": known}, "parameters": {name: parameters[name] for name in graph.parameters}}


def _is_quick(graph: FactorGraph, question: str, asked: dict[str, Any]) -> bool:
    """Whether `auto` would be exact within a moment."""
    shape = graph["y"].shape
    if len(shape) == 2 and min(shape) >= WIDE and len(graph.factors) > 1 and (asked["given"]["y"] < 0).all():
        return False
    found = plan(graph, question, **asked)
    return found.method != "cut" and found.exact and (found.seconds or 0.0) <= MOMENT
