"""A span as what its tokens may be: events whose probabilities add up to that of the span.

Under a scheme a span of a type begins, goes on and ends in tags of its own, and what lies beside it does not go on with
it; each event says which tags some tokens have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from factorgraph_ebm.arrays import Bool
from factorgraph_ebm.errors import EvidenceError
from factorgraph_ebm.estimators.tagging.spans import SCHEMES, known_scheme


def events_of_tag(classes: Sequence[Any], tag: Any, n: int, start: int, stop: int) -> list[Bool]:
    """The one event that tokens `start` to `stop` of n all have a tag, or each its own of a list: (n, K) masks."""
    tags = list(tag) if isinstance(tag, (list, tuple)) else [tag] * (stop - start)
    if len(tags) != stop - start:
        raise EvidenceError(f"{len(tags)} tags for the {stop - start} tokens from {start} to {stop}: each has one.")
    mask = np.ones((n, len(classes)), np.bool_)
    for t, each in zip(range(start, stop), tags):
        mask[t] = [known == each for known in classes]
        if not mask[t].any():
            raise EvidenceError(f"tag {each!r} was not seen in training.")
    return [mask]


def events_of_span(
    classes: Sequence[Any], scheme: str, kind: Any, n: int, start: int, stop: int
) -> list[Bool]:
    """The events that make tokens `start` to `stop` of n one span of a type, (n, K) masks that exclude each other.

    Raises
    ------
    MethodError : an unknown scheme.
    EvidenceError : no tag of the classes is of that type.
    """
    name = known_scheme(scheme)
    letters = SCHEMES[name]
    named = {str(tag): i for i, tag in enumerate(classes)}
    if not any(tag.endswith(f"-{kind}") for tag in named):
        raise EvidenceError(f"no tag is of type {kind!r}.")

    def of(*of_kind: str) -> Bool:
        mask = np.zeros(len(classes), np.bool_)
        mask[[named[f"{letter}-{kind}"] for letter in of_kind if f"{letter}-{kind}" in named]] = True
        return mask

    mask = np.ones((n, len(classes)), np.bool_)
    mask[start:stop] = of("I")
    before, after, first, last = start - 1, stop, start, stop - 1
    if len(letters) == 4:
        mask[first], mask[last] = of("B"), of(letters[2])
        if first == last:
            mask[first] = of(letters[3])
        return [mask]
    backwards = "E" in letters
    if backwards:  # as the others, seen from behind
        before, after, first, last = after, before, last, first
    mark = "E" if backwards else "B"
    if 0 <= after < n:
        mask[after] = ~of("I")
    if name not in ("IOB1", "IOE1"):
        mask[first] = of(mark)
        return [mask]
    # There the mark is for what touches a span of the same type alone.
    touching, apart = mask.copy(), mask
    touching[first] = of(mark)
    if 0 <= before < n:
        apart[before] = ~of(mark, "I")
    return [touching, apart]
