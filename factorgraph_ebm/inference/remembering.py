"""What is worked out of a compiled graph once, and asked for again at each of thousands of steps of learning.

It is kept by the identity of an array of the graph, for as long as that lives; a graph cannot hold it itself, since it
is a tuple of arrays that floors below share.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from factorgraph_ebm.arrays import Compiled

T = TypeVar("T")

_kept: dict[int, dict[Hashable, Any]] = {}


def once_for(compiled: Compiled, key: Hashable, make: Callable[[], T]) -> T:
    """What `make` returned when it was first called for this graph and key."""
    owner = compiled.run_field  # who replaces anything of a graph replaces this
    found = _kept.get(id(owner))
    if found is None:
        found = _kept[id(owner)] = {}
        weakref.finalize(owner, _kept.pop, id(owner), None)
    if key not in found:
        found[key] = make()
    made: T = found[key]
    return made
