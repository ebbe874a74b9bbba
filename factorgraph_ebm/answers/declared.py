"""The energy of an assignment under the graph as it was declared: one code for results and for `fg.energy`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Values
from factorgraph_ebm.compiler.union import Union
from factorgraph_ebm.errors import FactorError
from factorgraph_ebm.graph.graph import FactorGraph


def declared_energies(graph: FactorGraph, values: Values, states: I64) -> dict[str | int, F64]:
    """Energy of every factor, key -> (*group shape,); `states`: of all discrete cells, (n_cells,)."""
    found: dict[str | int, F64] = {}
    for key, factor in zip(graph.keys, graph.factors):
        if factor.scope.ragged:
            chosen = states[factor.scope.ragged_cells(graph.cell_offset)[1]]
        else:
            chosen = states[factor.scope.columns(graph.cell_offset)]
        energies = factor.energies(values, chosen)
        if energies.size and not energies.min() > -np.inf:
            for slot in factor.slots:
                factor.check_numbers(slot.source.evaluate(values))
        found[key] = energies.reshape(factor.shape)
    return found


def declared_energy(graph: FactorGraph, values: Values, states: I64) -> float:
    """Sum of the energies of all factors."""
    parts = declared_energies(graph, values, states)
    with np.errstate(over="ignore"):
        total = sum((float(part.sum()) for part in parts.values()), start=0.0)
    if not np.isfinite(total) and all(np.isfinite(part).all() for part in parts.values()):
        largest = max(float(np.abs(part).max(initial=0.0)) for part in parts.values())
        raise FactorError(
            f"the energies of the factors, up to {largest:.3g}, overflow when added. "
            "Write np.inf for forbidden, or scale them down."
        )
    return total


def violated_factor(graph: FactorGraph, values: Values, states: I64) -> str | None:
    """Name a factor whose energy is +inf: 'factor "BIO" [4] over tag[4], tag[5]'; None if there is none."""
    for position, part in enumerate(declared_energies(graph, values, states).values()):
        forbidden = np.isinf(part.reshape(-1))
        if forbidden.any():
            return graph.describe_factor(position, int(np.argmax(forbidden)))
    return None


def factor_of_engine(
    union: Union, graphs: Sequence[FactorGraph], number: int, called: Sequence[int] | I64 | None = None
) -> str:
    """Name what became a factor of the engine: 'factor "down" [4] over y[4], y[5]', and all that was added to it.

    `called`: the numbers by which the samples are known; None: as they lie, and a single one needs none.
    """
    found = []
    for group, g in enumerate(union.groups):
        for place in union.places(group):
            if place.position is None:
                continue
            for row in np.flatnonzero(place.position == number).tolist():
                member = int(place.members[row])
                sample = int(g.samples[member // g.size])
                name = graphs[sample].describe_factor(g.key, member % g.size)
                alone = called is None and len(graphs) == 1
                found.append(name if alone else f"{name} of sample {sample if called is None else called[sample]}")
    return " together with ".join(found)
