"""What estimators share: parameters that are the arguments of their constructor, as scikit-learn has it.

Where scikit-learn is installed an estimator is one of its own: `clone`, `Pipeline`, `GridSearchCV` and the pictures of
notebooks work. Where it is not, estimators work without.
"""

from __future__ import annotations

import inspect
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from factorgraph_ebm.errors import MethodError, did_you_mean


class NotFittedError(MethodError, AttributeError):
    """Something was asked that only an estimator that is fitted knows."""


def check_threads(threads: Any) -> None:
    """Raise MethodError unless this is None or a number of threads."""
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, Integral) or threads < 1):
        raise MethodError(f"threads= is a number from 1, or None for as many as pay, not {threads!r}.")


def check_updates(updates: Any) -> None:
    """Raise MethodError unless this is None or a number of updates."""
    if updates is not None and (isinstance(updates, bool) or not isinstance(updates, Integral) or updates < 0):
        raise MethodError(f"max_iterations= is a number from 0, or None for the optimiser's own, not {updates!r}.")


class PlainEstimator:
    """`get_params` and `set_params` without scikit-learn."""

    @classmethod
    def _get_param_names(cls) -> list[str]:
        return sorted(name for name in inspect.signature(cls).parameters)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of the constructor, by name."""
        return {name: getattr(self, name) for name in self._get_param_names()}

    def set_params(self, **params: Any) -> Self:
        """Change arguments of the constructor; a fitted estimator keeps what it learned."""
        known = self._get_param_names()
        for name, value in params.items():
            if name not in known:
                raise MethodError(f"{type(self).__name__} has no parameter {name!r}.{did_you_mean(name, known)}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self)).parameters
        changed = [
            f"{name}={value!r}" for name, value in self.get_params().items() if value is not defaults[name].default
        ]
        return f"{type(self).__name__}({', '.join(changed)})"


def as_plain(value: Any) -> Any:
    """A number of numpy as one of Python; all else as it is."""
    return value.item() if isinstance(value, np.generic) else value


if TYPE_CHECKING:
    Estimator = PlainEstimator
else:
    try:
        from sklearn.base import BaseEstimator as Estimator
    except ImportError:
        Estimator = PlainEstimator
