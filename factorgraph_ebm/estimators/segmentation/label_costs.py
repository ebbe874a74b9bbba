"""Label maps of least energy, with a price for each label that is used at all.

    E(y) + sum over labels k that y uses of h_k

(A. Delong, A. Osokin, H. N. Isack and Y. Boykov, "Fast approximate energy minimization with label costs", IJCV 96,
2012, who take account of h within each move.) Here h is looked at between minimisations: E is minimised over maps that
use some labels only, of all sets where labels are few, and of sets with one label less as long as that pays where they
are many. With two labels whose neighbours attract that is exact.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.errors import EvidenceError
from factorgraph_ebm.estimators.segmentation.answers import best_map
from factorgraph_ebm.factors import Table
from factorgraph_ebm.graph import FactorGraph

FEW = 4
"labels whose sets are all tried"


def with_label_costs(
    graph: FactorGraph,
    parameters: Mapping[str, Any],
    known: I64,
    cost: float | npt.ArrayLike | None,
    n_labels: int,
    how: Mapping[str, Any],
) -> I64:
    """The label map of least energy and costs of labels that was found; `cost` in nats, one number or (K,).

    Raises
    ------
    EvidenceError : costs that are negative or infinite, or not one for each class.
    """
    best = best_map(graph, parameters, known, how)
    labels: I64 = best["y"]
    if cost is None:
        return labels
    price = _prices(cost, n_labels)
    needed = frozenset(np.unique(known[known >= 0]).tolist())
    total = best.energy + price[np.unique(labels)].sum()

    def tried(allowed: Collection[int]) -> tuple[float, I64]:
        barred = np.where(np.isin(np.arange(n_labels), list(allowed)), 0.0, np.inf)
        narrower = FactorGraph([*graph.factors, Table([graph["y"]], energies=barred)])
        best = best_map(narrower, parameters, known, how)
        return best.energy + float(price[np.unique(best["y"])].sum()), best["y"]

    if n_labels <= FEW:
        for allowed in _proper_sets(n_labels, needed):
            value, found = tried(allowed)
            if value < total:
                total, labels = value, found
        return labels
    better = True
    while better:
        better, used = False, set(np.unique(labels).tolist())
        for label in sorted(used - needed) if len(used) > 1 else ():
            value, found = tried(used - {label})
            if value < total:
                total, labels, better = value, found, True
    return labels


def _proper_sets(n_labels: int, needed: frozenset[int]) -> Iterator[set[int]]:
    for size in range(1, n_labels):
        for chosen in itertools.combinations(range(n_labels), size):
            if needed <= set(chosen):
                yield set(chosen)


def _prices(cost: float | npt.ArrayLike, n_labels: int) -> F64:
    price = np.asarray(cost, dtype=np.float64)
    if price.shape not in ((), (n_labels,)) or not (np.isfinite(price) & (price >= 0.0)).all():
        raise EvidenceError(f"label_cost= is a number of nats >= 0, or one for each of {n_labels} classes: {cost!r}.")
    return np.broadcast_to(price, (n_labels,))
