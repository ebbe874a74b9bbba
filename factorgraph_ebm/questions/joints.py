"""Joint marginals of any cells of a graph, near or far.

By a tree of contractions where the graph has one that fits: `inference.joints`. Else by one more run of the method with
all but the last of the cells held; the run is a list, of which each assignment of the held cells is one sample:

    P(a, b) = P(b | a) Z(a) / Z
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from factorgraph_ebm.answers.answered import Answered
from factorgraph_ebm.answers.joints import Cells, Joints, cells_of_joint
from factorgraph_ebm.arrays import F64
from factorgraph_ebm.engine.ties import margins
from factorgraph_ebm.errors import MethodError, WidthTooLargeError
from factorgraph_ebm.graph.assignment import Given
from factorgraph_ebm.inference.joints import Wide, joint_marginals
from factorgraph_ebm.inference.method import Status
from factorgraph_ebm.inference.ways import bytes_allowed, predict
from factorgraph_ebm.questions.asking import How, Samples, answer_samples

LARGEST = 1 << 16
"assignments of held cells that one question may run"


class _Held(NamedTuple):
    """One assignment of the held cells of one joint of one sample."""

    sample: int
    joint: int
    states: dict[int, int]


def find_joints(answered: Answered, keys: Sequence[Any], how: How) -> list[Joints]:
    """The joints `keys` of every sample.

    Raises
    ------
    EvidenceError : something that is not a single discrete variable.
    MethodError : too many assignments to hold.
    WidthTooLargeError : no tree that joins the cells fits, and they have too many assignments to hold.
    """
    asked = [[cells_of_joint(graph, key) for key in keys] for graph in answered.graphs]
    found: list[dict[Cells, F64 | None]] = [{} for _ in answered.graphs]
    wide = _find_by_trees(answered, asked, how, found)
    held = [
        _Held(sample, number, states)
        for sample, joints in enumerate(asked)
        for number, cells in enumerate(joints)
        if cells not in found[sample]
        for states in _assignments(answered, sample, cells, wide.get((sample, cells)))
    ]
    if held:
        _find_by_holding(answered, asked, held, how, found)
    return [Joints(graph, keys, tables) for graph, tables in zip(answered.graphs, found)]


def _find_by_holding(
    answered: Answered, asked: Sequence[Sequence[Cells]], held: Sequence[_Held], how: How,
    found: Sequence[dict[Cells, F64 | None]],
) -> None:  # fmt: skip
    inner = _run(answered, held, how)
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


def _find_by_trees(
    answered: Answered, asked: Sequence[Sequence[Cells]], how: How, found: Sequence[dict[Cells, F64 | None]]
) -> dict[tuple[int, Cells], Wide]:
    """Write the joints of all samples that trees answer; return those for which a tree is too wide."""
    answer, union = answered.answer, answered.problem.union
    by_tree = how.method in ("auto", "junction_tree")
    proved = all(status in (Status.OPTIMAL, Status.INFEASIBLE) for status in answer.status)
    max_bytes = how.options.get("max_bytes")
    if not (by_tree and proved and predict(union, minimize=False, max_bytes=max_bytes).fits):
        return {}
    where = []
    for sample, joints in enumerate(asked):
        variable = answered.variables(sample)
        for cells in dict.fromkeys(joints):
            where.append((sample, cells, [v for v in dict.fromkeys(variable[list(cells)].tolist()) if v >= 0]))
    assert answer.marginals is not None
    most = bytes_allowed(max_bytes)
    tables = joint_marginals(answered.problem, answer.marginals, [free for _, _, free in where], most)
    wide = {}
    for (sample, cells, free), table in zip(where, tables):
        if isinstance(table, Wide):
            wide[sample, cells] = table
        else:
            found[sample][cells] = _spread(answered, sample, cells, free, table)
    return wide


def _spread(answered: Answered, sample: int, cells: Cells, free: Sequence[int], table: F64) -> F64:
    """From the variables of a joint to its cells: 0 where a given cell has another state, or two of one are unlike."""
    out = np.zeros([int(answered.graphs[sample].cell_states[c]) for c in cells])
    if answered.answer.status[sample] is Status.INFEASIBLE:
        return out
    variable, states = answered.variables(sample), answered.given[sample].states
    axes = np.ix_(*map(np.arange, table.shape)) if free else ()
    entries = tuple(axes[free.index(variable[c])] if variable[c] >= 0 else int(states[c]) for c in cells)
    out[entries] = table
    return out


def _assignments(answered: Answered, sample: int, cells: Cells, wide: Wide | None) -> list[dict[int, int]]:
    """All states of the free cells but the last. `wide`: what a tree would have taken."""
    variable = answered.variables(sample)
    held = list(dict.fromkeys(c for c in cells if variable[c] >= 0))[:-1]
    counts = [int(answered.graphs[sample].cell_states[c]) for c in held]
    if math.prod(counts) > LARGEST and wide is not None:
        raise WidthTooLargeError(
            f"the joint of {len(cells)} variables would need {wide.bytes:,.0f} bytes, which do not fit. "
            "Ask for fewer of them at once, or give the value of some variables (given=)."
        )
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
        return math.exp(part.log_partitions()[place] - whole.log_partitions()[sample])
    assert whole.least_energy is not None and part.least_energy is not None
    assert whole.log_count is not None and part.log_count is not None
    least = whole.least_energy[sample]
    if part.least_energy[place] - least > margins(least):
        return 0.0
    return math.exp(part.log_count[place] - whole.log_count[sample])
