"""The only source of chance in drawn graphs: small integers, from hypothesis (which shrinks) or numpy (fast)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Dice:
    """A source of small decisions. `integer(low, high)` includes both ends; the rest follows from it."""

    integer: Callable[[int, int], int]

    def pick(self, options: Any) -> Any:
        return options[self.integer(0, len(options) - 1)]

    def chance(self, percent: int) -> bool:
        return self.integer(0, 99) >= 100 - percent  # 0, where hypothesis shrinks to, is "no"

    def some(self, options: list[Any], count: int) -> list[Any]:
        """`count` different options, in random order."""
        left, found = list(options), []
        for _ in range(min(count, len(left))):
            found.append(left.pop(self.integer(0, len(left) - 1)))
        return found

    def generator(self) -> np.random.Generator:
        return np.random.default_rng(self.integer(0, 2**31))
