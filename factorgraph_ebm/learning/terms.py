"""Terms of a loss: the answers to its queries for a batch of samples, each with its way to add its slopes.

    L = value(answers),     dL / d numbers = sum over queries of slope * d answer / d numbers

The slope of any energy or free energy with respect to the numbers is its (expected) indicators, by the envelope
theorem: so a term is a number for each sample, or labelled variable, and a function that adds weight * indicators.
To add a kind of query: a function here below, and its line in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from factorgraph_ebm.learning import points, sums
from factorgraph_ebm.learning.asking import Asking, Term
from factorgraph_ebm.losses.loss import Kind, Query

KINDS: Mapping[Kind, Callable[[Asking, Query], Term]] = {
    "target": points.target,
    "best": points.best,
    "wrong": points.wrong,
    "sample": points.sample,
    "free": sums.free,
    "pieces": sums.pieces,
    "hits": sums.hits,
    "sites": sums.sites,
}


def ask(asking: Asking, query: Query) -> Term:
    """Answer one query. Raises MethodError where it cannot be answered."""
    return KINDS[query.kind](asking, query)
