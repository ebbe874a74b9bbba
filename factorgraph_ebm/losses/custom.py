"""A loss from a function whose argument names say which energies it takes.

    L = function(correct, minimum, ...)

The slopes are a given derivative, or central differences of the function in the energies: (f(e + h) - f(e - h)) / 2h.
Energies are a handful of arrays, whatever the graph, so no more inference is done for them.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import MethodError, did_you_mean
from factorgraph_ebm.losses.arguments import bound_below, real_array, yes_or_no
from factorgraph_ebm.losses.costs import check_cost
from factorgraph_ebm.losses.loss import Answers, Loss, Query

ARGUMENTS: Mapping[str, Query] = {
    "correct": Query("target"),
    "minimum": Query("best"),
    "wrong": Query("wrong"),
    "augmented": Query("best", cost=True),
    "free_energy": Query("free"),
    "free_energy_augmented": Query("free", cost=True),
    "free_energy_correct": Query("target", beta="model"),
}
"what each argument of a function asks"
KINKED = frozenset({"best", "wrong"})
"queries that are minima, so no smooth functions of the numbers"


def custom(
    function: Callable[..., Any],
    derivative: Callable[..., Any] | None = None,
    cost: str | npt.ArrayLike | Mapping[str, Any] = "hamming",
    *,
    lower_bound: float = -math.inf,
    convex: bool = False,
) -> Loss:
    """A loss of one's own: L = function(...), whose argument names say which energies it is called with.

    Each is an array (n_samples,) in nats, and so must the answer be, element by element:

    - `correct`: energy of the right answer
    - `minimum`: least energy of all answers
    - `wrong`: least energy of all wrong answers, +inf where there is none
    - `augmented`: least energy minus cost of all answers
    - `free_energy`: of all answers, at the model's beta
    - `free_energy_augmented`: the same of energies minus costs
    - `free_energy_correct`: of the right answer, with latent variables summed out at the model's beta

    Where an energy is +inf, its slope is 0. Where there is no wrong answer and the function is then not finite, the
    loss and all slopes are 0.

    Parameters
    ----------
    function : its other arguments must have defaults, which they keep
    derivative : takes the same names; returns the slopes, one array for each, in the order of the function's arguments
        (or just the array, if there is one). By default central differences, with steps for energies that matter on
        the scale of 1 nat: errors of 1e-10 where energies are small; the mean of both sides at a kink
    cost : of `augmented` and `free_energy_augmented`, as in `hinge`
    lower_bound : of the loss, where it is known
    convex : whether the loss is a convex function of the numbers when nothing is latent

    Raises
    ------
    MethodError : an argument that is no energy, a cost that is none; and when it is used, an answer of another shape.

    Examples
    --------
    >>> def ramp(minimum, augmented):
    ...     return minimum - augmented
    >>> loss = custom(ramp)
    >>> [query.kind for query in loss.queries], loss.cost
    (['best', 'best'], 'hamming')
    >>> losses, slopes = loss.value((np.array([1.0, 2.0]), np.array([0.0, 2.0])), 1.0)
    >>> losses, slopes[0].round(6)
    (array([1., 0.]), array([1., 1.]))
    """
    names = _energies(function, "function")
    if derivative is not None and set(_energies(derivative, "derivative")) != set(names):
        raise MethodError(
            f"custom(derivative=): it takes {_energies(derivative, 'derivative')}, and the function {names}. "
            "Write the same names."
        )
    queries = tuple(ARGUMENTS[name] for name in names)

    def value(answers: Answers, beta: float) -> tuple[F64, tuple[F64, ...]]:
        energies = dict(zip(names, map(_read_only, answers)))
        infinite = np.logical_or.reduce([energy == np.inf for energy in answers])
        # The function is written for energies, and cannot be blamed for inf - inf.
        with np.errstate(all="ignore") if infinite.any() else nullcontext():
            losses = _checked(function(**energies), infinite.shape, "function")
            slopes = _central(function, energies) if derivative is None else _given(derivative, energies)
        # A right answer that is forbidden keeps its infinite loss, for whoever trains to report.
        lost = ((energies.get("wrong", np.float64(0.0)) == np.inf) & ~np.isfinite(losses)) | (
            infinite & np.isnan(losses)
        )
        none = [lost | (energy == np.inf) | (infinite & ~np.isfinite(s)) for energy, s in zip(answers, slopes)]
        return np.where(lost, 0.0, losses), tuple(np.where(zero, 0.0, slope) for zero, slope in zip(none, slopes))

    return Loss(
        "custom",
        queries,
        value,
        cost=check_cost(cost) if any(query.cost for query in queries) else None,
        lower_bound=bound_below("custom", lower_bound),
        convex=yes_or_no("custom", "convex", convex),
        smooth=not any(query.kind in KINKED for query in queries),
    )


def _energies(function: Callable[..., Any], what: str) -> list[str]:
    """Return the arguments of a function that are energies, in its order."""
    known = ", ".join(ARGUMENTS)
    try:
        arguments = inspect.signature(function).parameters.values()
    except TypeError:
        raise MethodError(f"custom({what}={function!r}): it must be a function of {known}.") from None
    except ValueError:
        raise MethodError(
            f"custom({what}={function!r}): its argument names cannot be read. Write a function of {known}."
        ) from None
    names = []
    for argument in arguments:
        if argument.kind not in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY):
            raise MethodError(
                f'custom({what}=): argument "{argument}" has no name to be called by. Write names of these: {known}.'
            )
        if argument.name in ARGUMENTS:
            names.append(argument.name)
        elif argument.default is argument.empty:
            near = did_you_mean(argument.name, ARGUMENTS)
            raise MethodError(
                f'custom({what}=): argument "{argument.name}" is not an energy, and has no default.'
                f"{near if 'Did' in near else ''} Energies: {known}."
            )
    if not names:
        raise MethodError(f"custom({what}=): it takes no energy. Write a function of some of {known}.")
    return names


def _read_only(energy: F64) -> F64:
    view = energy.view()
    view.flags.writeable = False
    return view


def _central(function: Callable[..., Any], energies: Mapping[str, F64]) -> list[F64]:
    """Return central differences of a function in each of its energies.

    Rounding errs by eps * energy / h and the formula by h^2, for functions that bend within a nat. The largest energy
    of the sample decides, since most functions take differences of energies.
    """
    largest = np.ones(next(iter(energies.values())).shape)
    for energy in energies.values():
        np.maximum(largest, np.abs(energy), out=largest, where=energy < np.inf)
    rounding = np.finfo(np.float64).eps * largest
    step = np.maximum(np.cbrt(rounding), 8.0 * rounding)  # the latter beyond 1e14
    slopes = []
    for name, energy in energies.items():
        up, down = energy + step, energy - step
        high = _checked(function(**{**energies, name: up}), energy.shape, "function")
        low = _checked(function(**{**energies, name: down}), energy.shape, "function")
        slopes.append((high - low) / (up - down))
    return slopes


def _given(derivative: Callable[..., Any], energies: Mapping[str, F64]) -> list[F64]:
    """Return what a user's derivative says, one array for each energy."""
    found = derivative(**energies)
    shape = next(iter(energies.values())).shape
    if len(energies) == 1 and not isinstance(found, (tuple, list)):
        found = (found,)
    if not isinstance(found, (tuple, list)) and np.ndim(found) != 2 or len(found) != len(energies):
        raise MethodError(
            f"the derivative returned {_said(found)}. Return {len(energies)} arrays of slopes, in the order "
            f"{', '.join(energies)}."
        )
    return [_checked(slope, shape, f"derivative in {name}") for name, slope in zip(energies, found)]


def _checked(found: Any, shape: tuple[int, ...], what: str) -> F64:
    """Return what a user's function said as an array of its own, after checking that it has a number a sample."""
    array = real_array(f"the answer of the {what}", f"an array of shape {shape}", found)
    if array.shape != shape:
        raise MethodError(
            f"the {what} returned an array of shape {array.shape} for energies of shape {shape}. "
            "Return one number for each sample."
        )
    return array


def _said(found: Any) -> str:
    """Return what something is, in a few words."""
    if isinstance(found, np.ndarray):
        return f"an array of shape {found.shape}"
    return f"{len(found)} entries" if isinstance(found, (tuple, list)) else type(found).__name__
