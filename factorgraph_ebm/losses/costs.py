"""Costs: what it costs to say one state of a variable where another is right.

    cost(y) = sum over labelled variables v of c_v[right, said],   c_v >= 0, and 0 on the diagonal

Losses with a cost look for answers of least energy *minus* cost, so that bad answers must have high energies. A sum
over single variables is taken off their unary energies, and leaves the graph as it is (Tsochantaridis, Joachims,
Hofmann and Altun, "Large margin methods for structured and interdependent output variables", JMLR 6, 2005).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import MethodError, did_you_mean
from factorgraph_ebm.losses.arguments import real_array
from factorgraph_ebm.losses.loss import Cost


def check_cost(cost: Any, where: str = "cost") -> Cost:
    """Return a cost whose matrices are read-only float64 arrays, after checking it.

    Parameters
    ----------
    cost : "hamming", a square matrix [right, said] in nats, or a mapping from names of variables to such matrices or
        "hamming"; variables that it does not name cost nothing
    where : what the message of an error calls it

    Raises
    ------
    MethodError : an unknown word, a matrix that is not square, has a negative or infinite entry or NaN, or is not 0 on
        its diagonal, a mapping without or with other keys than names.

    Examples
    --------
    >>> check_cost([[0, 1], [5, 0]])
    array([[0., 1.], [5., 0.]])
    >>> check_cost([[0, 1], [-5, 0]])
    Traceback (most recent call last):
        ...
    factorgraph_ebm.errors.MethodError: cost[1, 0] is -5.0: costs must be finite and >= 0.
    """
    if isinstance(cost, Mapping):
        if not cost:
            raise MethodError(f"{where} names no variable. Write {{name: matrix}}.")
        for name in cost:
            if isinstance(name, tuple):
                raise MethodError(f"{where}[{name!r}]: costs are over single variables. Write {{name: matrix}}.")
            if not isinstance(name, str):
                raise MethodError(f'{where}[{name!r}]: the keys of a cost are names of variables, such as "y".')
            if isinstance(cost[name], Mapping):
                raise MethodError(f'{where}["{name}"] must be a matrix [right, said] or "hamming", not a mapping.')
        return {name: check_cost(one, f'{where}["{name}"]') for name, one in cost.items()}
    if isinstance(cost, str):
        if cost != "hamming":
            raise MethodError(
                f'{where}="{cost}" is not a cost.{did_you_mean(cost, ["hamming"])} A matrix [right, said] is one too.'
            )
        return cost
    return _matrix(cost, where)


def check_cost_names(cost: Cost | None, names: Iterable[str]) -> None:
    """Raise MethodError where a cost names a variable that is not one of `names`, those with labels."""
    known = list(names)
    for name in cost if isinstance(cost, Mapping) else ():
        if name not in known:
            raise MethodError(f'cost["{name}"]: no variable of that name has labels.{did_you_mean(name, known)}')


def cost_row(cost: Cost, name: str, n_states: int, right: npt.NDArray[np.integer[Any]]) -> F64:
    """Return the costs of all states of n variables of one name, (n, n_states).

    Parameters
    ----------
    cost : of `check_cost`
    name : of the variables, for a mapping and for messages
    right : (n,) numbers of the right states, -1 where unlabelled

    Returns
    -------
    c[right, said] for every state that may be said; rows of zeros where unlabelled, or where nothing has a cost.

    Raises
    ------
    MethodError : the matrix is for variables of another number of states.

    Examples
    --------
    >>> cost_row("hamming", "y", 3, np.array([1, -1]))
    array([[1., 0., 1.],
           [0., 0., 0.]])
    """
    if isinstance(cost, Mapping):
        if name not in cost:
            return np.zeros((len(right), n_states))
        cost = cost[name]
    labelled = (right >= 0)[:, None]
    if not isinstance(cost, np.ndarray):  # "hamming"
        return np.where(labelled, right[:, None] != np.arange(n_states), 0.0)
    if len(cost) != n_states:
        raise MethodError(
            f'the cost matrix is {len(cost)} x {len(cost)}, but variable "{name}" has {n_states} states. Write a '
            'mapping {name: matrix} where variables differ, or "hamming".'
        )
    row: F64 = np.where(labelled, cost[right], 0.0)
    return row


def _matrix(given: Any, where: str) -> F64:
    """Return a matrix [right, said] as a read-only array of its own."""
    wanted = 'a square matrix [right, said], a mapping {name: matrix} or "hamming"'
    matrix = real_array(where, wanted, given)
    if matrix.ndim > 2:
        raise MethodError(f"{where} has shape {matrix.shape}: costs are over single variables. Write {wanted}.")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise MethodError(f"{where} has shape {matrix.shape}: it must be {wanted}.")
    bad = np.argwhere(~((matrix >= 0.0) & (matrix < np.inf)))
    if len(bad):
        right, said = bad[0].tolist()
        raise MethodError(f"{where}[{right}, {said}] is {matrix[right, said]}: costs must be finite and >= 0.")
    if matrix.diagonal().any():
        right = int(np.argmax(matrix.diagonal() != 0.0))
        raise MethodError(
            f"{where}[{right}, {right}] is {matrix[right, right]}: what is right costs nothing. "
            "Write 0 on the diagonal."
        )
    matrix.flags.writeable = False
    return matrix
