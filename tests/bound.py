"""Short ways from a declared graph to the arrays of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from factorgraph_ebm.arrays import Numbers
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.union import Union, compile_union
from factorgraph_ebm.inference.passing import Passing


def bind(*graphs: Any, soft: Sequence[Any] = (), values: Any = None) -> tuple[Union, Numbers]:
    """Compile graphs of which nothing is given, and bind their numbers. `soft`: variables that are summed out."""
    samples = []
    for graph in graphs:
        mask = np.zeros(graph.n_cells, bool)
        for view in soft:
            mask[graph.cell_offset[view.name] + np.ravel(view.cells)] = True
        samples.append(Sample(graph, None, mask if len(soft) else None))
    union = compile_union(samples)
    return union, union.bind([values or {}] * len(graphs), np.zeros(sum(g.n_cells for g in graphs), np.int64))


def passing_of(*graphs: Any, minimize: bool, soft: Sequence[Any] = (), values: Any = None) -> Passing:
    union, numbers = bind(*graphs, soft=soft, values=values)
    return Passing(union.layout, numbers, minimize=minimize)
