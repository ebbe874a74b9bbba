"""A span as what its tokens may be: events whose probabilities add up to that of the span.

Under a scheme a span of a type begins, goes on and ends in tags of its own, and what lies beside it does not go on with
it; each event says which tags some tokens have. Tags are "O", or a prefix, a hyphen and a type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from factorgraph_ebm.arrays import Bool
from factorgraph_ebm.errors import EvidenceError, MethodError

PREFIXES = {"BIO": ("B", "I", "I", "B"), "IOB2": ("B", "I", "I", "B"), "BIOES": ("B", "I", "E", "S"),
            "IOBES": ("B", "I", "E", "S"), "BILOU": ("B", "I", "L", "U")}  # fmt: skip
"scheme -> prefixes of the first, an inner, the last and the only token of a span"


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
    named = {str(tag): i for i, tag in enumerate(classes)}
    if not any(tag.endswith(f"-{kind}") for tag in named):
        raise EvidenceError(f"no tag is of type {kind!r}.")

    def of(*prefixes: str) -> Bool:
        mask = np.zeros(len(classes), np.bool_)
        for prefix in prefixes:
            if f"{prefix}-{kind}" in named:
                mask[named[f"{prefix}-{kind}"]] = True
        return mask

    mask = np.ones((n, len(classes)), np.bool_)
    if scheme == "IOB1":
        # A span begins with B where one of its type ends just before, and with I elsewhere.
        mask[start + 1 : stop] = of("I")
        if stop < n:
            mask[stop] &= ~of("I")
        touching, apart = mask.copy(), mask
        touching[start], apart[start] = of("B"), of("I")
        if start:
            apart[start - 1] = ~of("B", "I")
        return [touching, apart]
    if scheme not in PREFIXES:
        raise MethodError(f"scheme {scheme!r} has no spans. Known: {', '.join(['IOB1', *PREFIXES])}.")
    first, inner, last, only = PREFIXES[scheme]
    if stop - start == 1:
        mask[start] = of(only)
    else:
        mask[start + 1 : stop - 1] = of(inner)
        mask[start], mask[stop - 1] = of(first), of(last)
    if stop < n and last == inner:
        mask[stop] = ~of(inner)
    return [mask]
