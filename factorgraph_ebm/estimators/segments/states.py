"""The states of a semi-Markov chain, which make segments of any length a matter of neighbours.

A token is in one of the states

    begin(k, d)     a segment of label k and of d tokens begins here
    inside(k, r)    r tokens of a segment of label k are left, this one among them

and neighbours are begin(k, d), inside(k, d - 1), ..., inside(k, 1), after which any segment begins. So segmentations
and the sequences of states that are allowed correspond one to one, sums over one are sums over the other, and what a
segment costs is an energy of the state that it begins with (Sarawagi and Cohen, "Semi-Markov conditional random fields
for information extraction", NIPS 2004, whose recursion this is, unrolled). K labels of at most L tokens have
K (2 L - 1) states; a label whose segments are shorter has fewer.

One table over all pairs of states beats a list of the pairs that are allowed, which are few: its rows lie in memory as
processors read them (decision `segments_are_states_of_tokens.md`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from factorgraph_ebm.arrays import I64


class SegmentStates:
    """The states for K labels.

    Parameters
    ----------
    lengths : (K,) tokens of the longest segment of each label, at least 1

    Attributes
    ----------
    label, left : (S,) label of each state, and tokens of the segment from this one on; begins come first
    n_begins : how many states begin a segment, label by label, each from length 1 on
    cell : (S, S) what two neighbours pay: the flat number k K + j of the labels of a segment that ends and of one that
        begins, CONTINUES within a segment, FORBIDDEN

    Examples
    --------
    >>> states = SegmentStates([1, 3])
    >>> states.n_states, states.label.tolist(), states.left.tolist()
    (6, [0, 1, 1, 1, 1, 1], [1, 1, 2, 3, 1, 2])
    """

    CONTINUES, FORBIDDEN = -1, -2

    def __init__(self, lengths: Sequence[int] | I64) -> None:
        self.lengths: I64 = np.array(lengths, np.int64)
        k = self.n_labels = len(self.lengths)
        inner = self.lengths - 1
        self.n_begins = int(self.lengths.sum())
        self.begin_at: I64 = np.cumsum(self.lengths) - self.lengths
        self.inside_at: I64 = self.n_begins + np.cumsum(inner) - inner
        both = np.concatenate([self.lengths, inner])
        self.label: I64 = np.repeat(np.tile(np.arange(k), 2), both)
        self.left: I64 = np.arange(int(both.sum())) - np.repeat(np.cumsum(both) - both, both) + 1
        self.n_states = len(self.label)
        self.longest = int(self.lengths.max(initial=1))
        self.cell: I64 = np.full((self.n_states, self.n_states), self.FORBIDDEN)
        on = np.flatnonzero(self.left > 1)
        self.cell[on, self.inside_at[self.label[on]] + self.left[on] - 2] = self.CONTINUES
        ends, begins = np.flatnonzero(self.left == 1), np.arange(self.n_begins)
        self.cell[np.ix_(ends, begins)] = self.label[ends][:, None] * k + self.label[begins]

    def begin(self, label: I64, length: I64) -> I64:
        """The states that begin segments of these labels and lengths."""
        found: I64 = self.begin_at[label] + length - 1
        return found

    def encode(self, start: I64, stop: I64, label: I64) -> I64:
        """The state of every token of segments that lie end to end, from the first on: (tokens,)."""
        length = stop - start
        owner = np.repeat(np.arange(len(start)), length)
        left = np.repeat(stop, length) - np.arange(int(length.sum()))
        found: I64 = self.inside_at[label[owner]] + left - 1
        found[start] = self.begin(label, length)
        return found

    def decode(self, states: I64) -> tuple[I64, I64, I64]:
        """First token, the one after the last, and label of each segment of some tokens, in order."""
        start = np.flatnonzero(states < self.n_begins)
        begun = states[start]
        return start, start + self.left[begun], self.label[begun]
