"""Marginals of factors, read from tables and messages when asked for.

    P(states of a factor) = exp(-(beta energies + sum over slots of to_factor)) / sum

Of a merged factor: its marginal, reduced to the slots that were declared. In a given slot the state is certain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from factorgraph_ebm.answers.answered import Answered, Found, Slots, entries_of, slots_of
from factorgraph_ebm.answers.messages import position_of
from factorgraph_ebm.arrays import F64
from factorgraph_ebm.engine.ties import margins
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.graph.table_map import MOST_AXES
from factorgraph_ebm.inference.tables import add_messages, find_runs, message_rows, run_of, run_tables

LARGEST_MARGINALS = 1 << 28
"entries of the marginals of one declaration: 2 GiB"


class FactorMarginals(Mapping[str | int, Any]):
    """Factor key -> (*group shape, *state shape); a list of arrays where declared with `members=`."""

    __slots__ = ("_answered", "_sample")

    def __init__(self, answered: Answered, sample: int) -> None:
        self._answered = answered
        self._sample = sample

    def __iter__(self) -> Iterator[str | int]:
        return iter(self._answered.graphs[self._sample].keys)

    def __len__(self) -> int:
        return len(self._answered.graphs[self._sample].keys)

    def __repr__(self) -> str:
        return f"<marginals of factors: {', '.join(map(str, self))}>"

    def __getitem__(self, key: str | int) -> Any:
        answered, sample = self._answered, self._sample
        graph = answered.graphs[sample]
        position = position_of(graph, key)
        slots = slots_of(graph, position)
        factor = slots.factor
        states = answered.given[sample].states
        _refuse_large(graph, position, slots)
        tables: list[Any] = [None] * slots.size
        uniform = np.zeros((slots.size, *factor.state_shape)) if factor.state_shape is not None else None
        for found in answered.located(sample, position):
            values = _free_marginals(answered, found)
            index = entries_of(slots, found, states, values.shape[1:])
            n = len(found.members)
            rows = np.arange(n).reshape((n,) + (1,) * (values.ndim - 1))
            if uniform is not None:
                uniform[(found.members.reshape(rows.shape), *index)] = values
                continue
            own = np.zeros((n, *slots.shape(int(found.members[0]), graph.cell_states)))
            own[(rows, *index)] = values
            for member, table in zip(found.members.tolist(), own):
                tables[member] = table
        if uniform is None or factor.state_shape is None:
            return tables
        return uniform.reshape((*factor.shape, *factor.state_shape))


def _refuse_large(graph: FactorGraph, position: int, slots: Slots) -> None:
    """Raise MethodError where tables over all variables of the factors would not fit."""
    factor = slots.factor
    shapes = factor.factor_state_shapes() if factor.state_shape is None else [factor.state_shape] * min(slots.size, 1)
    widest = max((len(shape) for shape in shapes), default=0)
    entries = sum(map(math.prod, shapes)) * (1 if factor.state_shape is None else slots.size)
    if widest > MOST_AXES or entries > LARGEST_MARGINALS:
        raise MethodError(
            f'marginals of factor "{graph.keys[position]}", {factor.kind}({factor.scope}), are tables over '
            f"{widest:,} variables at once, which are too large. Read marginals of its variables, or ask for a few "
            "of them: joint=[(a, b)]."
        )


def _free_marginals(answered: Answered, found: Found) -> F64:
    """Marginals of the free slots of some factors, (n, *states), in the order of the contribution's slots."""
    place = found.place
    n = len(found.members)
    if place.position is None:
        if not place.contribution.slots:
            return np.ones(n)
        assert answered.answer.marginals is not None
        variable = np.broadcast_to(place.variable[found.row], (n,))
        at = answered.start[variable][:, None] + np.arange(place.states[0])
        picked: F64 = answered.answer.marginals[at]
        return picked
    position = place.position[found.row]
    kept = place.contribution.place
    gone = tuple(e + 1 for e in range(len(place.states)) if e not in kept)
    left = sorted(kept)
    out = np.empty((n, *(place.states[e] for e in kept)))
    for run, chosen, within in find_runs(answered.compiled, position):
        joint = joint_marginals(answered, run)[within]
        summed = joint.sum(axis=gone) if gone else joint
        out[chosen] = summed.transpose([0, *(left.index(e) + 1 for e in kept)])
    return out


def joint_marginals(answered: Answered, run: int) -> F64:
    """Marginals of all factors of a run, (n, *states)."""
    if run not in answered.joints:
        joint = answered.answer.joint
        answered.joints[run] = _from_messages(answered, run) if joint is None else joint(run)
    return answered.joints[run]


def _from_messages(answered: Answered, run: int) -> F64:
    messages = answered.answer.messages
    assert messages is not None
    fields = run_of(answered.compiled, run)
    rows = np.arange(fields.size)
    incoming = [message_rows(answered.compiled, messages.to_factor, run, s, rows) for s in range(fields.arity)]
    energy = add_messages(run_tables(answered.problem.union, answered.scaled, run), incoming)
    axes = tuple(range(1, energy.ndim))
    low = energy.min(axis=axes, keepdims=True)
    low = np.where(np.isfinite(low), low, 0.0)
    if answered.problem.beta == np.inf:
        weight = (energy - low <= margins(low)).astype(np.float64)
    else:
        weight = np.exp(low - energy)
    total = weight.sum(axis=axes, keepdims=True)
    return weight / np.where(total > 0, total, 1.0)
