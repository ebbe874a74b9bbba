"""What a model learns from: for each sample its graph, what is conditioned on, and the right answers.

What is in `samples` is given both where the right answer is judged and where others are; what is in `targets` is the
right answer; all else is latent. The roles of variables are not consulted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from factorgraph_ebm.arrays import Bool
from factorgraph_ebm.errors import EvidenceError, MethodError
from factorgraph_ebm.graph.assignment import Given, describe_cell, read_given
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.graph.variables import Variable

Architecture: TypeAlias = FactorGraph | Callable[[Mapping[Any, Any]], FactorGraph]
"one graph for all samples, or a function from a sample to its graph"
Dicts: TypeAlias = Sequence[Mapping[Any, Any]] | None


class Data(NamedTuple):
    """Samples, read and checked; lists of equal length."""

    graphs: list[FactorGraph]
    given: list[Given]
    targets: list[Given]
    "the right answers; cells that are also given count as given"

    def labelled(self, i: int) -> Bool:
        """Cells of sample i that have a right answer, (n_cells,)."""
        mask: Bool = self.targets[i].known & ~self.given[i].known
        return mask


def graph_of(architecture: Architecture, sample: Mapping[Any, Any]) -> FactorGraph:
    """The graph of one sample. Raises MethodError where the architecture makes none."""
    if isinstance(architecture, FactorGraph):
        return architecture
    graph = architecture(sample)
    if not isinstance(graph, FactorGraph):
        raise MethodError(f"the architecture returned {type(graph).__name__}, not a FactorGraph.")
    return graph


def given_of(graph: FactorGraph, sample: Mapping[Any, Any]) -> dict[Any, Any]:
    """The entries of a sample that name variables of its graph; it may carry anything else for the architecture."""
    return {
        key: value
        for key, value in sample.items()
        if (key.name if isinstance(key, Variable) else key) in graph.variables
    }


def read_data(architecture: Architecture, samples: Dicts, targets: Dicts) -> Data:
    """Build the graph of every sample, and read what is given and what is right.

    Raises
    ------
    EvidenceError : lists of unequal length, not dicts, unknown names, states or labels; an observed variable that is a
        key of neither dict; a cell that is given and has another right answer.
    MethodError : neither samples nor targets.
    """
    check_dicts(samples, "samples")
    check_dicts(targets, "targets")
    if samples is None and targets is None:
        raise MethodError("there is nothing to learn from: give samples, targets or both.")
    n = len(samples if samples is not None else targets or ())
    samples = [{}] * n if samples is None else samples
    targets = [{}] * n if targets is None else targets
    if len(samples) != len(targets):
        raise EvidenceError(f"{len(samples)} samples and {len(targets)} targets: there must be a target for each.")
    data = Data([], [], [])
    for i, (sample, target) in enumerate(zip(samples, targets)):
        try:
            graph = graph_of(architecture, sample)
            named = given_of(graph, sample)
            given = read_given(graph, named, what="given in samples")
            right = read_given(graph, target, what="given in targets")
            _refuse_missing(graph, named, target)
            _refuse_clash(graph, given, right)
        except EvidenceError as error:
            raise EvidenceError(f"sample {i}: {error}") from None
        data.graphs.append(graph)
        data.given.append(given)
        data.targets.append(right)
    return data


def check_dicts(dicts: Dicts, what: str) -> None:
    """Raise EvidenceError unless these are a list of dicts, or None."""
    if dicts is None:
        return
    if isinstance(dicts, (Mapping, str)) or not isinstance(dicts, Sequence):
        raise EvidenceError(f"{what} is a list of dicts, one for each sample, not {type(dicts).__name__}.")
    for i, each in enumerate(dicts):
        if not isinstance(each, Mapping):
            raise EvidenceError(f"{what}[{i}] is a dict of names and values, not {type(each).__name__}.")


def _names(keys: Mapping[Any, Any]) -> set[str]:
    return {key.name if isinstance(key, Variable) else key for key in keys}


def _refuse_missing(graph: FactorGraph, named: Mapping[Any, Any], target: Mapping[Any, Any]) -> None:
    in_samples, in_targets = _names(named), _names(target)
    for name, variable in graph.variables.items():
        if variable.is_real:
            if name in in_targets:
                raise EvidenceError(f'real variable "{name}" cannot be a target. Give it in samples.')
            if name not in in_samples:
                raise EvidenceError(f'real variable "{name}" is not given. Put it in samples.')
        elif variable.role == "observed" and name not in in_samples | in_targets:
            raise EvidenceError(
                f'observed variable "{name}" is in neither samples nor targets. Give it, or where it is not known '
                "give its name with what stands for a missing state (None, -1 or a masked array)."
            )


def _refuse_clash(graph: FactorGraph, given: Given, right: Given) -> None:
    both = given.known & right.known
    clash = both & (given.states != right.states)
    if clash.any():
        cell = describe_cell(graph, int(clash.argmax()))
        raise EvidenceError(f'variable "{cell}" is given in samples, and has another state in targets.')
