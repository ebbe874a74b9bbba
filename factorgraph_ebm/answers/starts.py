"""Where to begin: what a former result, a step or an assignment offers to a new question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from factorgraph_ebm.answers.answered import Answered
from factorgraph_ebm.answers.result import Result
from factorgraph_ebm.arrays import I64, Messages
from factorgraph_ebm.compiler.union import Union
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.graph.assignment import Given, read_given
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.inference.method import Start, times_beta


def read_start(
    start: Any, union: Union, graphs: Sequence[FactorGraph], given: Sequence[Given], message_beta: float
) -> Start | None:
    """What `start` says: one thing for all samples, or a list with one for each.

    Raises
    ------
    MethodError : a result of a graph with another structure, or a list of another length.
    EvidenceError : an assignment that does not fit the graph.
    """
    if start is None:
        return None
    each = list(start) if isinstance(start, (list, tuple)) else [start] * len(graphs)
    if len(each) != len(graphs):
        raise MethodError(f"start= is a list of {len(each)} for {len(graphs)} samples. Give one for each, or one.")
    states = np.full(len(union.compiled.variable_cell), -1, np.int64)
    for sample, (one, graph) in enumerate(zip(each, graphs)):
        if one is None:
            continue
        first, stop = union.compiled.sample_cell_start[sample : sample + 2]
        variable = union.compiled.cell_variable[first:stop]
        found = _states_of(one, graph)
        free = variable >= 0
        states[variable[free]] = found[free]
    return Start(states, _messages_of(each, union, message_beta))


def _states_of(start: Any, graph: FactorGraph) -> I64:
    """State of each cell of the graph, (n_cells,), -1 where the start says nothing."""
    answered = _answered_of(start)
    if answered is None:
        if not isinstance(start, Mapping):
            raise MethodError(
                f"start= is a former result, a step, or an assignment (a dict), not {type(start).__name__}."
            )
        read = read_given(graph, start, what="start")
        return np.where(read.known, read.states, -1)
    sample = _sample_of(start)
    former = answered.graphs[sample]
    if former.key != graph.key:
        raise MethodError("start= is from another structure: its graph is declared differently. Start from a dict.")
    if answered.answer.states is not None:
        return answered.states(sample)
    if answered.answer.marginals is None:
        return np.full(graph.n_cells, -1)
    cells = np.arange(graph.n_cells)
    likely = answered.probabilities(sample, cells, int(graph.cell_states.max(initial=1))).argmax(axis=1)
    states: I64 = likely.astype(np.int64)
    return states


def _answered_of(start: Any) -> Answered | None:
    """The run behind a result; a step carries one in the same way."""
    found = start._answered if isinstance(start, Result) else getattr(start, "_answered", None)
    return found if isinstance(found, Answered) else None


def _sample_of(start: Any) -> int:
    sample: int = getattr(start, "_sample", 0)  # a step has only one
    return sample


def _messages_of(each: Sequence[Any], union: Union, message_beta: float) -> Messages | None:
    """The messages of a former run over the same union, in the units of this one."""
    answered = _answered_of(each[0]) if each else None
    if answered is None or answered.answer.messages is None or len(answered.graphs) != len(each):
        return None
    if any(_answered_of(one) is not answered or _sample_of(one) != sample for sample, one in enumerate(each)):
        return None
    if not _same_layout(answered.problem.union, union):
        return None
    former = answered.answer.message_beta
    messages = answered.answer.messages
    if former == message_beta or not (0 < former < np.inf and 0 < message_beta < np.inf):
        return Messages(messages.to_variable, messages.to_factor)
    scale = message_beta / former
    return Messages(times_beta(messages.to_variable, scale), times_beta(messages.to_factor, scale))


def _same_layout(one: Union, two: Union) -> bool:
    if one.layout is two.layout:
        return True
    a, b = one.compiled, two.compiled
    return one.layout.kinds == two.layout.kinds and all(
        np.array_equal(x, y)
        for x, y in (
            (a.run_field, b.run_field),
            (a.variable_start, b.variable_start),
            (a.variable_cell, b.variable_cell),
            (a.scope, b.scope),
        )
    )
