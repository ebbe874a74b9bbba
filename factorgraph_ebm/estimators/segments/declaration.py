"""The graph of a segment tagger: one variable a token, whose states say which segment it is in.

    E = sum over segments of E(start, stop, label) + sum over neighbouring segments of T[label, next label]

A chain, so sums and minima over all segmentations are one sweep up and one down.
"""

from __future__ import annotations

from collections.abc import Mapping

from factorgraph_ebm.estimators.segments.energies import PARTS, SegmentEnergies, SegmentTransitions
from factorgraph_ebm.estimators.segments.states import SegmentStates
from factorgraph_ebm.estimators.tagging.declaration import Sequences
from factorgraph_ebm.factors import Table
from factorgraph_ebm.graph import FactorGraph, Parameter, output


class SegmentDeclaration:
    """What the graphs of one segment tagger have in common.

    Parameters
    ----------
    states : of the tokens
    n_features, n_segment_features : of tokens, and of segments
    boundaries : features of the first and of the last token of a segment have weights of their own
    """

    def __init__(
        self, states: SegmentStates, n_features: int, n_segment_features: int = 0, boundaries: bool = True
    ) -> None:
        k = states.n_labels
        self.states = states
        self.n_tags = states.n_states
        shapes: dict[str, tuple[int, ...]] = {"token": (n_features, PARTS if boundaries else 1, k)}
        if n_segment_features:
            shapes["segment"] = (n_segment_features, k)
        shapes["length"] = (states.n_begins,)
        self._of_segments = {name: Parameter(name, shape=shape) for name, shape in shapes.items()}
        self._transition = Parameter("transition", shape=(k, k))
        self._table = SegmentTransitions(states, self._transition)

    def parameters(self) -> Mapping[str, Parameter]:
        """By name: token (features, parts, K), segment (features of segments, K), length, transition (K, K)."""
        return {**self._of_segments, "transition": self._transition}

    def graph(self, sequences: Sequences) -> FactorGraph:
        """The graph of these sequences, one variable `y[token]`; `pair_x` holds the features of segments."""
        energies = SegmentEnergies(self.states, self._of_segments, sequences.start, sequences.x, sequences.pair_x)
        y = output("y", shape=int(sequences.start[-1]), n_states=self.n_tags)
        factors = [Table([y], energies=energies, name="segment")]
        left = sequences.pairs()
        if len(left):
            factors.append(Table([y[left], y[left + 1]], energies=self._table, name="transition"))
        return FactorGraph(factors)
