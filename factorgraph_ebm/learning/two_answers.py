"""The plane of the energies of the right answer and of the best wrong one: what a loss says at each of its points.

    L(E_right, E_wrong),   for a variable whose answers are these two

The graph of two answers is a graph like any other, with the two energies as its parameters, and a loss is asked about
it as about any other: nothing here knows which loss it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.factors import Table
from factorgraph_ebm.graph import FactorGraph, Parameter, output
from factorgraph_ebm.learning.asking import Inference
from factorgraph_ebm.learning.data import read_data
from factorgraph_ebm.learning.evaluate import evaluate, make_problem
from factorgraph_ebm.learning.layout import layout_of
from factorgraph_ebm.losses.loss import Loss

POINTS = 128
"points that are asked about at once"


class TwoAnswers:
    """A loss on the plane."""

    def __init__(self, loss: Loss, beta: float) -> None:
        name, n_states, self.right, self.wrong = _mistake(loss.cost)
        energies = Parameter("energies", shape=(POINTS, n_states))
        others = np.full(n_states, np.inf)
        others[[self.right, self.wrong]] = 0.0
        y = output(name, n_states=n_states)

        def architecture(sample: Mapping[Any, Any]) -> FactorGraph:
            return FactorGraph([Table([y], energies=energies[sample["point"]]), Table([y], energies=others)])

        data = read_data(architecture, [{"point": i} for i in range(POINTS)], [{name: self.right}] * POINTS)
        self.shape = POINTS, n_states
        self.problem = make_problem(data, layout_of(data.graphs), loss, Inference(beta=beta), np.ones(POINTS))

    def ask(self, right: F64, wrong: F64) -> tuple[F64, F64]:
        """The losses at n points, (n,), and their slopes in both energies, (n, 2)."""
        losses, slopes = np.empty(len(right)), np.empty((len(right), 2))
        for low in range(0, len(right), POINTS):
            here = slice(low, min(low + POINTS, len(right)))
            n = here.stop - low
            energies = np.zeros(self.shape)
            energies[:n, self.right], energies[:n, self.wrong] = right[here], wrong[here]
            with np.errstate(all="ignore"):  # a loss may be too large for a float
                found = evaluate(self.problem, energies.reshape(-1))
            losses[here] = found.losses[:n]
            gradient = found.gradient.reshape(self.shape)[:n]
            slopes[here] = gradient[:, [self.right, self.wrong]]
        return losses, slopes


def _mistake(cost: Any) -> tuple[str, int, int, int]:
    """The name and number of states of a variable, a right state of it, and a wrong one, the cheapest that costs."""
    name = "y"
    if isinstance(cost, Mapping):
        name, cost = next(iter(cost.items()))
    if not isinstance(cost, np.ndarray):
        return name, 2, 0, 1
    off = ~np.eye(len(cost), dtype=bool)
    costly = off & (cost > 0.0) if (cost > 0.0).any() else off
    right, wrong = np.unravel_index(int(np.argmin(np.where(costly, cost, np.inf))), cost.shape)
    return name, len(cost), int(right), int(wrong)
