"""Labels: the named states of a variable, read once for all variables that name the same ones."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.errors import VariableError

Label = str | int | float | bool


class Labels(NamedTuple):
    """The named states of a variable, prepared once for all variables that name the same ones."""

    states: tuple[Label, ...]
    lookup: dict[Label, int]  # label -> index
    array: npt.NDArray[Any]  # (n_states,) the labels in their natural dtype
    numeric: bool  # every label is an int, a float or a bool


@lru_cache(maxsize=1024)
def _labels(states: tuple[Label, ...], types: tuple[type, ...]) -> Labels:
    # `types` is part of the cache key only: 1, 1.0 and True are equal as keys, and different as labels.
    for label, kind in zip(states, types, strict=True):
        if not issubclass(kind, (str, int, float)) or label != label:
            raise VariableError(f"states must be str, int, float or bool; found {label!r}.")
    lookup = {label: index for index, label in enumerate(states)}
    if len(lookup) < len(states):
        twice = next(label for index, label in enumerate(states) if lookup[label] != index)
        raise VariableError(f"states must be distinct; found {twice!r} twice.")
    text = [issubclass(kind, str) for kind in types]
    array = np.array(states, dtype=object if any(text) and not all(text) else None)
    array.flags.writeable = False
    return Labels(states, lookup, array, not any(text))


def read_labels(name: str, states: Sequence[Label]) -> Labels:
    """Return the labels of a variable. Raises VariableError, which names it, for what cannot be a state."""
    if isinstance(states, str):
        raise VariableError(f'variable "{name}": states must be a list of labels. Write states={list(states)}.')
    listed = tuple(
        state.item() if isinstance(state, np.generic) else state
        for state in (states.tolist() if isinstance(states, np.ndarray) else states)
    )
    if not listed:
        raise VariableError(f'variable "{name}" needs at least one state.')
    try:
        return _labels(listed, tuple(map(type, listed)))
    except (VariableError, TypeError) as error:
        raise VariableError(f'variable "{name}": {error}') from None
