"""Whether the library and the reference give the same answers, on sizes where that takes a moment.

Loopy messages are compared where they have come to rest, so unary energies are made large enough that they do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from problems import Problem, declare
from reference import Flooding, Send, dense
from timing import agree, quietly

import factorgraph_ebm as fg

LIMITS = {"method": "bp", "tolerance": 1e-13, "max_iterations": 2000}


def same_beliefs(
    name: str, problem: Problem, *, minimize: bool, send: Callable[[Problem], Send] | None = None, **options: Any
) -> None:
    """Compare marginals, or min-marginals; `send` is the reference's own for a structure.

    Raises
    ------
    SystemExit : they differ by more than rounding.
    """
    easy = problem._replace(unary=4.0 * problem.unary)
    # Of numbers at most 3 in size, so that min-sum comes to rest as well.
    largest = np.abs(easy.numbers).max()
    easy = easy._replace(numbers=easy.numbers * min(1.0, 3.0 / largest))
    flooding = Flooding(easy, dense(easy, minimize=minimize) if send is None else send(easy))
    flooding.run(2000, 1e-13)
    graph = declare(easy)
    shape = easy.unary.shape
    if not minimize:
        found = quietly(fg.marginals, graph, **LIMITS, **options)["y"].reshape(shape)
        agree(f"{name}, marginals", float(np.abs(found - flooding.marginals()).max()), 1e-9)
        return
    found = quietly(fg.min_marginals, graph, **LIMITS, **options)["y"].reshape(shape)
    found = found - found.min(axis=1, keepdims=True)
    belief = flooding.beliefs()
    belief -= belief.min(axis=1, keepdims=True)
    agree(f"{name}, min-marginals", float(np.abs(found - belief).max()), 1e-9)
