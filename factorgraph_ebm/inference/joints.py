"""Joint marginals of any cells of a graph, near or far: one more run with all but the last of them held.

    P(a, b) = P(b | a) Z(a) / Z

The run is a list: each assignment of the held cells is one sample of it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import EvidenceError, MethodError
from factorgraph_ebm.graph.assignment import Given, find_variable
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.inference.answered import Answered
from factorgraph_ebm.inference.asking import How, Samples, answer_samples
from factorgraph_ebm.inference.method import Status

LARGEST = 1 << 16
"assignments of held cells that one question may run"

Cells: TypeAlias = tuple[int, ...]


class _Held(NamedTuple):
    """One assignment of the held cells of one joint of one sample."""

    sample: int
    joint: int
    states: dict[int, int]


class Joints(Mapping[Any, F64]):
    """Tuple of variables -> (*states,), in their order; as many as were asked for."""

    __slots__ = ("_graph", "_keys", "_tables")

    def __init__(self, graph: FactorGraph, keys: Sequence[Any], tables: Mapping[Cells, F64 | None]) -> None:
        self._graph = graph
        self._keys = tuple(keys)
        self._tables = tables

    def __getitem__(self, key: Any) -> F64:
        cells = cells_of_joint(self._graph, key)
        if cells not in self._tables:
            raise KeyError(f"{key!r} was not asked for. Ask with marginals(..., joint=[{key!r}]).")
        table = self._tables[cells]
        if table is None:
            raise MethodError(
                f'the joint of {key!r} is not exact on this graph by this method. Try method="enumerate", '
                "or factor_marginals where a factor joins them."
            )
        return table.copy()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"<joint marginals of {', '.join(map(str, self._keys))}>"


def cells_of_joint(graph: FactorGraph, key: Any) -> Cells:
    """Cells of a tuple of single variables. Raises EvidenceError."""
    if not isinstance(key, (tuple, list)):
        raise EvidenceError(f"a joint is of a tuple of variables, not {key!r}. Write joint=[(a, b)].")
    cells = []
    for each in key:
        variable = find_variable(graph, each, "joint")
        if variable.is_real or variable.size != 1:
            raise EvidenceError(f"a joint is of single discrete variables; {variable} is not one. Index it.")
        cells.append(int(variable.cells.reshape(-1)[0]) + graph.cell_offset[variable.name])
    return tuple(cells)


def find_joints(answered: Answered, keys: Sequence[Any], how: How) -> list[Joints]:
    """The joints `keys` of every sample, from one more run of the same method.

    Raises
    ------
    EvidenceError : something that is not a single discrete variable.
    MethodError : too many assignments to hold.
    """
    asked = [[cells_of_joint(graph, key) for key in keys] for graph in answered.graphs]
    held = [
        _Held(sample, number, states)
        for sample, joints in enumerate(asked)
        for number, cells in enumerate(joints)
        for states in _assignments(answered, sample, cells)
    ]
    inner = _run(answered, held, how)
    found: list[dict[Cells, F64 | None]] = [{} for _ in answered.graphs]
    for place, one in enumerate(held):
        sample, cells = one.sample, asked[one.sample][one.joint]
        shape = tuple(int(answered.graphs[sample].cell_states[c]) for c in cells)
        table = found[sample].setdefault(cells, np.zeros(shape))
        status = inner.answer.status[place]
        if status is Status.INFEASIBLE or table is None:
            continue
        if status is not Status.OPTIMAL or answered.answer.status[sample] is not Status.OPTIMAL:
            found[sample][cells] = None
            continue
        variable = inner.variables(place)
        free = next((c for c in cells if variable[c] >= 0), None)
        row: F64 = np.array(1.0)
        if free is not None:
            row = inner.probabilities(place, np.array([free]), int(answered.graphs[sample].cell_states[free]))[0]
        fixed = inner.given[place].states
        entries = tuple(np.arange(row.size) if c == free else int(fixed[c]) for c in cells)
        table[entries] = row * _share(answered, sample, inner, place)
    return [Joints(graph, keys, tables) for graph, tables in zip(answered.graphs, found)]


def _assignments(answered: Answered, sample: int, cells: Cells) -> list[dict[int, int]]:
    """All states of the free cells but the last."""
    variable = answered.variables(sample)
    held = list(dict.fromkeys(c for c in cells if variable[c] >= 0))[:-1]
    counts = [int(answered.graphs[sample].cell_states[c]) for c in held]
    if math.prod(counts) > LARGEST:
        raise MethodError(f"a joint over {len(cells)} variables would hold {math.prod(counts):,} assignments in turn.")
    return [dict(zip(held, states)) for states in itertools.product(*map(range, counts))]


def _run(answered: Answered, held: Sequence[_Held], how: How) -> Answered:
    given = []
    for one in held:
        known, states, reals = answered.given[one.sample]
        known, states = known.copy(), states.copy()
        for cell, state in one.states.items():
            known[cell], states[cell] = True, state
        given.append(Given(known, states, reals))
    graphs = [answered.graphs[one.sample] for one in held]
    samples = Samples(graphs, given, [answered.values[one.sample] for one in held], True)
    quiet = How(how.method, None, how.time_limit, how.threads, False, how.options)
    inner = answer_samples(samples, [None] * len(held), minimize=False, beta=answered.problem.beta, how=quiet)
    assert inner is not None
    return inner


def _share(answered: Answered, sample: int, inner: Answered, place: int) -> float:
    """Z with the cells held, of Z; at beta = inf the share of the minimisers."""
    whole, part = answered.answer, inner.answer
    if answered.problem.beta < np.inf:
        assert whole.log_partition is not None and part.log_partition is not None
        return math.exp(part.log_partition[place] - whole.log_partition[sample])
    assert whole.least_energy is not None and part.least_energy is not None
    assert whole.log_count is not None and part.log_count is not None
    least = float(whole.least_energy[sample])
    if part.least_energy[place] - least > 1e-9 * max(1.0, abs(least)):
        return 0.0
    return math.exp(part.log_count[place] - whole.log_count[sample])
