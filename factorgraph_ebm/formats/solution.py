"""UAI solution files: the answer to one task.

    PR                       MAR                          MPE (or MAP)
    log10 of Z               n K_0 p ... p K_1 p ...      n s_0 s_1 ...

A line "1" (one sample) may stand between the name and the answer. Source: the UAI inference competitions.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.errors import FormatError
from factorgraph_ebm.formats.text import F64, PathLike, Words, read_text, write_bytes
from factorgraph_ebm.graph import FactorGraph, read_given

_LOG10 = math.log(10.0)


class Solution(NamedTuple):
    """The content of a solution file; what the task does not have is None."""

    task: str
    "PR, MAR, MPE or MAP"
    log_partition: float | None = None
    "natural logarithm of Z, -inf where Z = 0"
    marginals: list[F64] | None = None
    "(K,) for each variable, in order"
    assignment: npt.NDArray[np.intp] | None = None
    "(n,) state indices"


def read_solution(path: PathLike) -> Solution:
    """Read a UAI solution file: PR, MAR, MPE or MAP (gzip by content).

    Raises
    ------
    FormatError : names the file, the line and the word.
    OSError : the file cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "answer.PR")
    >>> write_solution(path, log_partition=float(np.log(100.0)))
    >>> with open(path) as file:
    ...     file.read()
    'PR\\n2.0\\n'
    >>> read_solution(path).log_partition
    4.605170185988092
    """
    words = Words(path, read_text(path))
    task = words.words[0].upper() if words.words else ""
    if task == "PR":
        return Solution(task, log_partition=_read_number(words))
    if task == "MAR":
        return Solution(task, marginals=_read_marginals(words))
    if task in ("MPE", "MAP"):
        return Solution(task, assignment=_read_assignment(words))
    raise words.expected(0, '"PR", "MAR", "MPE" or "MAP"')


def _read_number(words: Words) -> float:
    if len(words) < 2:
        raise words.expected(1, "log10 of Z")
    # "PR 1 x" has a line that says one sample; "PR x" does not.
    at = 2 if len(words) == 3 and words.words[1] == "1" else 1
    try:
        number = float(words.words[at])
    except ValueError:
        raise words.expected(at, "log10 of Z (a number)") from None
    if len(words) > at + 1:
        raise words.error(at + 1, f"the file goes on after the answer: {words.show(at + 1)}.")
    if math.isnan(number) or number == math.inf:
        raise words.expected(at, "log10 of Z (a number or -inf)")
    return number * _LOG10


def _read_marginals(words: Words) -> list[F64]:
    try:
        return _marginals_from(words, 1)
    except FormatError as error:
        if words.words[1:2] != ["1"]:
            raise
        first = error
    try:
        return _marginals_from(words, 2)
    except FormatError:
        # The line "1" was none that says one sample: the first reading was the meant one.
        raise first from None


def _marginals_from(words: Words, at: int) -> list[F64]:
    n = words.integer(at, "the number of variables")
    at += 1
    starts, counts = [], []
    for variable in range(n):
        count = words.integer(at, f"the number of states of variable {variable}")
        if count > len(words) - at - 1:
            raise words.error(at, f"variable {variable} says {count:,} states; {len(words) - at - 1:,} words follow.")
        starts.append(at + 1)
        counts.append(count)
        at += 1 + count
    if at < len(words):
        raise words.error(at, f"the file goes on after the last marginal: {words.show(at)}.")
    places = [place for start, count in zip(starts, counts, strict=True) for place in range(start, start + count)]
    try:
        flat = np.array([float(words.words[place]) for place in places])
    except ValueError:
        flat = np.array([_number_or_nan(words.words[place]) for place in places])
    # Marginals are printed with few digits, so one may come out a little above 1.
    wrong = np.flatnonzero(~((flat >= 0) & (flat < 1.001)))
    if wrong.size:
        raise words.expected(places[int(wrong[0])], "a probability")
    return np.split(flat, np.cumsum(counts)[:-1]) if n else []


def _number_or_nan(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.nan


def _read_assignment(words: Words) -> npt.NDArray[np.intp]:
    n = words.integer(1, "the number of variables")
    at = 2
    if len(words) != at + n and n == 1 and len(words) > 2:
        n = words.integer(2, "the number of variables")
        at = 3
    if len(words) != at + n:
        raise words.error(at - 1, f"{n:,} variables need {n:,} states; the file has {len(words) - at:,}.")
    return np.array(words.integers(at, at + n, "a state"), dtype=np.intp)


def write_solution(
    path: PathLike,
    *,
    log_partition: float | None = None,
    marginals: Sequence[npt.ArrayLike] | None = None,
    assignment: Sequence[int] | npt.NDArray[np.intp] | None = None,
    task: str | None = None,
) -> None:
    """Write a UAI solution file from exactly one answer.

    Parameters
    ----------
    log_partition : natural logarithm of Z; written as log10
    marginals : (K,) for each variable in order: see `marginal_rows`
    assignment : state index of each variable in order: see `state_indices`
    task : name in the first line; PR, MAR or MPE by default, "MAP" if you say so

    Raises
    ------
    FormatError : not exactly one answer.
    """
    if (log_partition is not None) + (marginals is not None) + (assignment is not None) != 1:
        raise FormatError(f"{path}: give exactly one of log_partition=, marginals= and assignment=.")
    if log_partition is not None:
        lines = [task or "PR", repr(float(log_partition) / _LOG10)]
    elif marginals is not None:
        rows = [np.asarray(row, dtype=np.float64).tolist() for row in marginals]
        lines = [task or "MAR", " ".join([str(len(rows)), *(f"{len(r)} {' '.join(map(repr, r))}" for r in rows)])]
    else:
        states = np.asarray(assignment, dtype=np.intp).tolist()
        lines = [task or "MPE", " ".join(map(str, [len(states), *states]))]
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def marginal_rows(graph: FactorGraph, belief: Mapping[Any, Any]) -> list[F64]:
    """Return the marginals of a result cell by cell, as `write_solution` takes them.

    Parameters
    ----------
    belief : variable name -> (*shape, K); padding of cells with fewer states is dropped

    Returns
    -------
    list of (K,) : cells in the order of `graph.variables`, C order within each.
    """
    rows: list[F64] = []
    for name, offset in graph.cell_offset.items():
        table = np.asarray(belief[name], dtype=np.float64)
        flat = table.reshape(-1, table.shape[-1])
        counts = graph.cell_states[offset : offset + len(flat)].tolist()
        rows.extend(row[:count] for row, count in zip(flat, counts, strict=True))
    return rows


def state_indices(graph: FactorGraph, assignment: Mapping[Any, Any]) -> npt.NDArray[np.intp]:
    """Return the state index of every cell of an assignment or result, as `write_solution` takes them.

    Parameters
    ----------
    assignment : variable name -> states in the variable's own language (indices or labels)

    Raises
    ------
    EvidenceError : a variable is missing or a state is not one of its states.
    """
    given = read_given(graph, {name: assignment[name] for name in graph.cell_offset}, what="assignment")
    return given.states.astype(np.intp)
