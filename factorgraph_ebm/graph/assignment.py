"""What is given: values in each variable's own language, in and out.

Declared with `n_states`, a variable speaks indices 0 .. n - 1; declared with `states`, it speaks its labels, always.
Not given: a masked element (any variable), None (labels), -1 (indices).
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.errors import EvidenceError, did_you_mean
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.graph.indexing import Cells
from factorgraph_ebm.graph.labels import Labels
from factorgraph_ebm.graph.parametrisation import Floats
from factorgraph_ebm.graph.scope import Ints
from factorgraph_ebm.graph.variables import Variable

Bools = npt.NDArray[np.bool_]

_UNKNOWN = -2  # a label that the variable does not have; -1 is a hole


class Given(NamedTuple):
    """What is known of a graph, as indices by cell."""

    known: Bools  # (n_cells,)
    states: Ints  # (n_cells,) state indices, 0 where unknown
    reals: dict[str, Floats]  # real variable -> (*shape, *dim)


def read_given(graph: FactorGraph, given: Mapping[Any, Any] | None, *, what: str = "given") -> Given:
    """Read `given` (or targets, candidates, an assignment, called `what` in messages).

    Raises
    ------
    EvidenceError : an unknown name, a state out of range, an unknown label, an index where a label is meant, a shape
        that does not match, two keys that disagree, NaN in a real value.
    """
    known = np.zeros(graph.n_cells, dtype=np.bool_)
    states = np.zeros(graph.n_cells, dtype=np.int64)
    reals: dict[str, Floats] = {}
    holes: dict[str, Bools] = {}
    if given is None:
        return Given(known, states, reals)
    if not isinstance(given, Mapping):
        raise EvidenceError(f"{what} must be a dict of variables and values, not {type(given).__name__}.")
    for key, value in given.items():
        variable = find_variable(graph, key, what)
        if variable.is_real:
            _read_real(variable, value, reals, holes, what)
            continue
        found = read_states(variable, value, what)
        _write(graph, variable, found, known, states, what)
    for name, missing in holes.items():
        if missing.any():
            cell = graph[name].cell_name(int(np.argmax(missing)))
            raise EvidenceError(f'real variable "{name}" is {what} only in part: {cell} is not. Give all of it.')
    return Given(known, states, reals)


def find_variable(graph: FactorGraph, key: object, what: str = "given") -> Variable:
    """Return the variable or view that a key stands for. Raises EvidenceError for an unknown one."""
    if isinstance(key, Variable):
        declared = graph.variables.get(key.name)
        if declared is None:
            raise EvidenceError(
                f'{what}: there is no variable "{key.name}" in this graph.{did_you_mean(key.name, graph.variables)}'
            )
        if not declared.declared_like(key):
            raise EvidenceError(
                f'{what}: variable "{key.name}" is declared differently in this graph: {declared!r}, '
                f"not {key.declared!r}."
            )
        return key
    variable = graph.variables.get(key) if isinstance(key, str) else None
    if variable is None:
        raise EvidenceError(
            f"{what}: there is no variable {_quoted(key)} in this graph.{did_you_mean(key, graph.variables)}"
        )
    return variable


def read_states(variable: Variable, value: Any, what: str = "given") -> Ints:
    """Return the state indices of a value in the variable's language, broadcast to its shape; -1 is a hole."""
    if variable.labels is not None:
        found = _read_labels(variable, variable.labels, value, what)
    else:
        found = _read_indices(variable, value, what)
    if found.shape != variable.shape:
        if found.ndim:
            raise EvidenceError(
                f'variable "{variable}" has shape {variable.shape}, and what is {what} has shape {found.shape}.'
            )
        found = np.broadcast_to(found, variable.shape)
    return found


def _read_indices(variable: Variable, value: Any, what: str) -> Ints:
    mask: Any = np.ma.getmask(value)
    array = np.asarray(np.ma.getdata(value) if mask is not np.ma.nomask else value)
    kind = array.dtype.kind
    if kind == "f" and (array.size == 0 or (mask is not np.ma.nomask and np.all(mask))):
        # numpy gives what is empty, and np.ma.masked itself, the dtype float64.
        array = array.astype(np.int64)
    elif kind == "b":
        if variable._counts != 2:
            raise EvidenceError(
                f'variable "{variable}" has {variable.n_states} states, and bool is for two. '
                f"Give 0-{variable.max_states - 1}."
            )
        array = array.astype(np.int64)
    elif kind == "f":
        raise EvidenceError(
            f'variable "{variable}" takes state indices, and was {what} floats. Write .astype(int), or declare states=.'
        )
    elif kind not in "iu":
        advice = "Use -1 or a masked array for what is not given." if _has_none(array) else ""
        raise EvidenceError(
            f'variable "{variable}" takes state indices 0-{variable.max_states - 1}, and was {what} '
            f"{_quoted(_first_strange(array))}. {advice or 'To speak labels, declare states=.'}"
        )
    if mask is not np.ma.nomask:
        array = np.where(mask, -1, array)
    found: Ints = array.astype(np.int64, copy=False)
    if not found.size or (found.ndim and found.shape != variable.shape):
        return found
    counts: Any = variable.n_states
    low, high = found.min(), found.max()
    if low < -1 or (high >= counts if isinstance(counts, int) else (found >= counts).any()):
        wrong = np.broadcast_to((found < -1) | (found >= counts), variable.shape)
        full = np.broadcast_to(found, variable.shape)
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        n = int(np.broadcast_to(counts, variable.shape)[place])
        raise EvidenceError(
            f'variable "{variable.declared.cell_name(int(variable.cells[place]))}" was {what} state '
            f"{full[place]}, but has {n} states (0-{n - 1})."
        )
    return found


def _read_labels(variable: Variable, labels: Labels, value: Any, what: str) -> Ints:
    mask: Any = np.ma.getmask(value)
    if mask is not np.ma.nomask:
        value = np.ma.getdata(value)
    if value is None or isinstance(value, (str, int, float)):
        array: npt.NDArray[Any] = np.array(value, dtype=object)
    elif isinstance(value, np.ndarray):
        array = value
    else:
        # object: a list of labels and None must not become one array of strings.
        array = np.array(value, dtype=object)
    found = _look_up(labels, array)
    if mask is not np.ma.nomask:
        found = np.where(mask, -1, found)
    if found.size and found.min() == _UNKNOWN:
        place = tuple(int(i) for i in np.argwhere(found == _UNKNOWN)[0])
        cells = variable.cells if found.shape == variable.shape else None
        name = str(variable) if cells is None else variable.declared.cell_name(int(cells[place]))
        raise EvidenceError(_unknown_label(name, labels, array[place], what))
    return found


def _look_up(labels: Labels, array: npt.NDArray[Any]) -> Ints:
    if labels.numeric and array.dtype.kind in "iufb" and array.size > 16:
        values = labels.array.astype(np.float64)
        order = np.argsort(values)
        place = np.minimum(np.searchsorted(values, array, sorter=order), len(values) - 1)
        index = order[place]
        return np.where(values[index] == array, index, _UNKNOWN)
    # Labels are few and hashing one takes 50 ns; a loop over values, never over factors.
    get = labels.lookup.get
    try:
        flat = [-1 if label is None else get(label, _UNKNOWN) for label in array.reshape(-1).tolist()]
    except TypeError:
        flat = [_UNKNOWN] * array.size
    return np.array(flat, dtype=np.int64).reshape(array.shape)


def _unknown_label(name: str, labels: Labels, label: object, what: str) -> str:
    listed = ", ".join(repr(state) for state in labels.states[:20]) + (", ..." if len(labels.states) > 20 else "")
    if isinstance(label, np.generic):
        label = label.item()
    message = f'variable "{name}" was {what} {label!r}, which is not one of its states: {listed}.'
    if isinstance(label, int) and not labels.numeric and 0 <= label < len(labels.states):
        return f"{message} It speaks labels, not indices: write {labels.states[label]!r}."
    if label == -1:
        return f"{message} Write None, or a masked array, for what is not given."
    if isinstance(label, (list, tuple)):
        return f"{message} The nested lists have different lengths."
    near = did_you_mean(label, map(str, labels.states)) if isinstance(label, str) else ""
    return message + (near if near.startswith(" Did") else "")


def _write(graph: FactorGraph, variable: Variable, found: Ints, known: Bools, states: Ints, what: str) -> None:
    offset = graph.cell_offset[variable.name]
    here = found >= 0
    if variable.is_declared:
        # The common case, a whole array given once: no cell needs to be addressed.
        whole = slice(offset, offset + variable.size)
        if not known[whole].any():
            known[whole] = here.reshape(-1)
            states[whole] = np.where(here, found, 0).reshape(-1)
            return
    cells: Cells = variable.cells + offset
    if not here.all():
        cells, found = cells[here], found[here]
    clash = known[cells] & (states[cells] != found)
    if not clash.any():
        states[cells] = found
        known[cells] = True
        # A view may name a cell twice, with two values.
        clash = states[cells] != found
        if not clash.any():
            return
    place = tuple(int(i) for i in np.argwhere(clash)[0]) if clash.ndim else ()
    cell = int(np.asarray(cells)[place])
    raise EvidenceError(
        f'variable "{describe_cell(graph, cell)}" was {what} twice and differently: '
        f"{_label(graph, cell, int(states[cell]))} and {_label(graph, cell, int(np.asarray(found)[place]))}."
    )


def _read_real(variable: Variable, value: Any, reals: dict[str, Floats], holes: dict[str, Bools], what: str) -> None:
    name = variable.name
    mask: Any = np.ma.getmask(value)
    if mask is not np.ma.nomask and np.any(mask):
        raise EvidenceError(f'real variable "{name}" must be {what} whole, and some of its value is masked.')
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise EvidenceError(f'real variable "{name}" was {what} something that is not numbers.') from None
    shape = (*variable.shape, *(variable.dim or ()))
    if array.shape != shape:
        if array.ndim:
            raise EvidenceError(
                f'real variable "{variable}" takes a value of shape {shape} (its shape {variable.shape}, then dim '
                f"{variable.dim}), and was {what} shape {array.shape}."
            )
        array = np.full(shape, array)
    if array.size and np.isnan(array.min()):
        first = [int(i) for i in np.argwhere(np.isnan(array))[0]]
        raise EvidenceError(f'real variable "{name}" was {what} NaN at {first}. NaN never means "missing".')
    if variable.is_declared and name not in reals:
        reals[name] = array
        return
    declared = variable.declared
    dim = declared.dim or ()
    if name in reals:
        whole = reals[name].copy()
        missing = holes.get(name, np.zeros(declared.size, dtype=np.bool_))
    else:
        whole = np.zeros((*declared.shape, *dim))
        missing = np.ones(declared.size, dtype=np.bool_)
    width = int(np.prod(dim, dtype=np.int64))
    by_cell = whole.reshape(declared.size, width)
    rows = variable.cells.reshape(-1)
    new = array.reshape(rows.size, width)
    before = ~missing[rows]
    clash = (before & (by_cell[rows] != new).any(axis=1)) if width else np.zeros(rows.size, np.bool_)
    by_cell[rows] = new
    if width:
        clash |= (by_cell[rows] != new).any(axis=1)
    if clash.any():
        cell = declared.cell_name(int(rows[np.argmax(clash)]))
        raise EvidenceError(f'variable "{cell}" was {what} twice and differently.')
    missing = missing.copy()
    missing[rows] = False
    reals[name], holes[name] = whole, missing


def to_labels(variable: Variable, indices: npt.NDArray[np.integer[Any]]) -> npt.NDArray[Any]:
    """Return states in the variable's own language: labels in their natural dtype, else indices as intp."""
    if variable.labels is None:
        return np.asarray(indices).astype(np.intp, copy=False)
    return np.asarray(variable.labels.array[indices])


def describe_cell(graph: FactorGraph, cell: int) -> str:
    """Name a discrete cell of a graph, counted over all variables: "tag[3]"."""
    name, offset = _owner(graph, cell)
    return graph[name].cell_name(cell - offset)


def _owner(graph: FactorGraph, cell: int) -> tuple[str, int]:
    for name, offset in graph.cell_offset.items():
        if offset <= cell < offset + graph[name].size:
            return name, offset
    raise IndexError(f"cell {cell} of {graph.n_cells}")


def _label(graph: FactorGraph, cell: int, state: int) -> str:
    labels = graph[_owner(graph, cell)[0]].labels
    return str(state) if labels is None else repr(labels.states[state])


def _has_none(array: npt.NDArray[Any]) -> bool:
    return array.dtype.kind == "O" and any(each is None for each in array.reshape(-1).tolist())


def _first_strange(array: npt.NDArray[Any]) -> object:
    flat = array.reshape(-1).tolist()
    return next((each for each in flat if not isinstance(each, int)), flat[0] if flat else None)


def _quoted(thing: object) -> str:
    return f'"{thing}"' if isinstance(thing, str) else repr(thing)


def cells_of(graph: FactorGraph, keys: Iterable[Any], what: str = "asked") -> Bools:
    """Return which discrete cells of a graph the names and views `keys` cover, (n_cells,) bool."""
    if isinstance(keys, (str, Variable)):
        keys = [keys]
    mask = np.zeros(graph.n_cells, dtype=np.bool_)
    for key in keys:
        variable = find_variable(graph, key, what)
        if variable.is_real:
            raise EvidenceError(f'real variable "{variable.name}" must be given and cannot be asked for.')
        mask[variable.cells + graph.cell_offset[variable.name]] = True
    return mask


def default_asked(graph: FactorGraph, given: Given, asked: Iterable[Any] | None = None) -> Bools:
    """Return which cells a question is about, (n_cells,) bool (rule G4).

    By default the outputs that are not given; if all are given, the observed discrete cells that are not. Everything
    observed that is not given must be among them.

    Raises
    ------
    EvidenceError : an observed variable is neither given nor asked for, or a real one is not given.
    """
    for name, variable in graph.variables.items():
        if variable.is_real and variable.role == "observed" and name not in given.reals:
            raise EvidenceError(
                f'observed variable "{name}" is not given. It is real, so give it: given={{"{name}": ...}}.'
            )
    unknown = ~given.known
    if asked is not None:
        mask = cells_of(graph, asked) & unknown
    else:
        mask = _of_role(graph, "output") & unknown
        if not mask.any():
            mask = _of_role(graph, "observed") & unknown
    missing = _of_role(graph, "observed") & unknown & ~mask
    if missing.any():
        cell = int(np.argmax(missing))
        name, offset = _owner(graph, cell)
        here = missing[offset : offset + graph[name].size]
        what = f'"{name}" is not given'
        if not here.all():
            more = f" (and {int(here.sum()) - 1} more)" if here.sum() > 1 else ""
            what = f'"{name}" is not given at {graph[name].cell_name(cell - offset)}{more}'
        names = [name, *_asked_names(graph, mask)]
        listed = ", ".join(f'"{each}"' for each in names)
        raise EvidenceError(f"observed variable {what}. Give it, or ask for it: asked=[{listed}].")
    return mask


def _asked_names(graph: FactorGraph, mask: Bools) -> list[str]:
    return [n for n, offset in graph.cell_offset.items() if mask[offset : offset + graph[n].size].any()]


def _of_role(graph: FactorGraph, role: str) -> Bools:
    mask = np.zeros(graph.n_cells, dtype=np.bool_)
    for name, offset in graph.cell_offset.items():
        variable = graph[name]
        if variable.role == role:
            mask[offset : offset + variable.size] = True
    return mask
