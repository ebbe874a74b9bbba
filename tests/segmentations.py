"""All segmentations of a few tokens, and what each costs by the definition: what a segment tagger is compared with."""

from __future__ import annotations

import numpy as np
import scipy.sparse
from hypothesis import strategies as st

from factorgraph_ebm.estimators.segments.declaration import SegmentDeclaration
from factorgraph_ebm.estimators.segments.states import SegmentStates
from factorgraph_ebm.estimators.tagging.declaration import Sequences

FEATURES, SEGMENT_FEATURES = 3, 2


def all_segmentations(n, lengths):
    """Lists of (start, stop, label number) that cover n tokens, labels no longer than `lengths`."""

    def rest(start):
        if start == n:
            yield []
        for label, longest in enumerate(lengths):
            for stop in range(start + 1, min(n, start + longest) + 1):
                for after in rest(stop):
                    yield [(start, stop, label), *after]

    return list(rest(0))


class Drawn:
    """A declaration, with drawn parameters, and drawn sequences."""

    def __init__(self, lengths, tokens, seed, boundaries=True, segment=True):
        rng = np.random.default_rng(seed)
        self.states = SegmentStates(lengths)
        self.lengths = lengths
        width = SEGMENT_FEATURES if segment else 0
        self.declaration = SegmentDeclaration(self.states, FEATURES, width, boundaries)
        self.values = {name: rng.normal(size=p.shape) for name, p in self.declaration.parameters().items()}
        self.start = np.concatenate([[0], np.cumsum(tokens)]).astype(np.int64)
        n, longest = int(self.start[-1]), self.states.longest
        self.x = rng.normal(size=(n, FEATURES)) * (rng.random((n, FEATURES)) < 0.7)
        self.z = rng.normal(size=(n, longest, SEGMENT_FEATURES)) * (rng.random((n, longest, SEGMENT_FEATURES)) < 0.6)
        flat = scipy.sparse.csr_array(self.z.reshape(n, longest * SEGMENT_FEATURES))
        self.sequences = Sequences(self.start, scipy.sparse.csr_array(self.x), flat if segment else None)
        self.boundaries, self.segment = boundaries, segment

    def energy(self, segments, first):
        """Of segments of the sequence whose first token is `first`."""
        total = 0.0
        for i, (start, stop, label) in enumerate(segments):
            s, t = first + start, first + stop
            total += float(self.x[s:t].sum(axis=0) @ self.values["token"][:, 0, label])
            total += float(self.values["length"][self.states.begin(label, stop - start)])
            if self.boundaries:
                total += float(self.x[s] @ self.values["token"][:, 1, label])
                total += float(self.x[t - 1] @ self.values["token"][:, 2, label])
            if self.segment:
                total += float(self.z[s, stop - start - 1] @ self.values["segment"][:, label])
            if i:
                total += float(self.values["transition"][segments[i - 1][2], label])
        return total

    def each(self):
        """Of each sequence: its number, tokens, all segmentations and their energies."""
        for i, (low, high) in enumerate(zip(self.start[:-1].tolist(), self.start[1:].tolist())):
            listed = all_segmentations(high - low, self.lengths)
            yield i, low, high, listed, np.array([self.energy(segments, low) for segments in listed])


def drawn():
    """Up to three labels of up to four tokens, up to two sequences of up to six tokens."""
    return st.builds(
        Drawn,
        st.lists(st.integers(1, 4), min_size=1, max_size=3),
        st.lists(st.integers(0, 6), min_size=1, max_size=2).filter(any),
        st.integers(0, 10_000),
        st.booleans(),
        st.booleans(),
    )
