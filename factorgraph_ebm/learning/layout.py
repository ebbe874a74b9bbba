"""Where the free entries of all parameters lie in one vector w, and back.

    w = the entries that are not frozen, parameter after parameter in the order they were met, each in C order

A gradient has the same layout. Frozen parameters have no entries in w, and keep their values; so do entries that are
not among those `seen`, such as the weights of features with tags that they never had (CRFsuite's default: w is then a
quarter as long).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64, I64, Bool
from factorgraph_ebm.errors import ParameterError
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.graph.parameters import Parameter
from factorgraph_ebm.learning.regularizers import Entries

Ints: TypeAlias = npt.NDArray[np.signedinteger[Any]]


class Values(Mapping[str, F64]):
    """The values of all parameters at one w, made when they are read: one sample reads few of a million weights."""

    def __init__(self, layout: Layout, w: F64) -> None:
        self._layout, self._w = layout, w
        self._made: dict[str, F64] = {}

    def __getitem__(self, name: str) -> F64:
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> F64:
        layout, parameter = self._layout, self._layout.parameters[name]
        shape = parameter.declared.shape
        if name not in layout.offset:
            assert parameter.initial is not None
            return parameter.initial
        at = layout.offset[name]
        if name not in layout.cells:
            return self._w[at : at + parameter.declared.size].reshape(shape)
        found = np.zeros(shape) if parameter.initial is None else parameter.initial.copy()
        cells = layout.cells[name]
        found.reshape(-1)[cells] = self._w[at : at + len(cells)]
        return found

    def pick(self, name: str, cells: I64) -> F64:
        """Some entries, by their flat numbers, of a parameter."""
        if name in self._made or name not in self._layout.cells:
            return self[name].reshape(-1)[cells]
        initial, place = self._layout.parameters[name].initial, self._layout.place[name][cells]
        kept = 0.0 if initial is None else initial.reshape(-1)[cells]
        found: F64 = np.where(place >= 0, self._w[place], kept)
        return found

    def is_scattered(self, name: str) -> bool:
        """Whether a parameter is partly frozen, so that an array of its values must be made."""
        return name in self._layout.cells and name not in self._made

    def fill(self, name: str) -> F64:
        """The values of a parameter that is partly frozen, flat, to be given to `free` afterwards."""
        layout = self._layout
        rooms = layout.rooms.values[name]
        if not rooms:
            return self._make(name).reshape(-1)
        room, cells, at = rooms.pop(), layout.cells[name], layout.offset[name]
        room[cells] = self._w[at : at + len(cells)]  # what is frozen is there already
        return room

    def free(self, name: str, filled: F64) -> None:
        """Take back what `fill` gave."""
        self._layout.rooms.values[name].append(filled)

    def __iter__(self) -> Iterator[str]:
        return iter(self._layout.parameters)

    def __len__(self) -> int:
        return len(self._layout.parameters)


class Rooms(NamedTuple):
    """Arrays of all entries of parameters that are partly frozen: making one anew takes longer than filling it.

    Whoever uses one takes it out. They are the layout's, as large as all of its weights, not of each minibatch.
    """

    values: Mapping[str, list[F64]]
    "(size,) by name, where what is frozen has its value"
    slopes: Mapping[str, list[F64]]
    "(size,) by name, of any content"


class Gradient(Mapping[str, F64]):
    """A gradient with respect to w, added into by the names of parameters that are learned."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._vector = np.zeros(layout.n_free)
        self._made: dict[str, F64] = {}

    def __getitem__(self, name: str) -> F64:
        """An array to be added into: a view of the vector unless the parameter is partly frozen."""
        if name not in self._made:
            shape = self._layout.parameters[name].declared.shape
            at, size = self._layout.offset[name], self._layout.parameters[name].declared.size
            partly = name in self._layout.cells
            self._made[name] = np.zeros(shape) if partly else self._vector[at : at + size].reshape(shape)
        return self._made[name]

    def add(self, name: str, cells: I64, slopes: F64) -> None:
        """Add to some entries, by their flat numbers, each named once; those that are frozen are left out."""
        if name in self._layout.cells:
            place = self._layout.place[name][cells]
            self._vector[place[place >= 0]] += slopes[place >= 0]
        else:
            self._vector[self._layout.offset[name] + cells] += slopes

    def add_all(self, name: str, add: Callable[[F64], None]) -> None:
        """Add to all entries that are free what `add` adds to slopes of all, flat, of a parameter partly frozen."""
        layout, rooms = self._layout, self._layout.rooms.slopes[name]
        slopes = rooms.pop() if rooms else np.empty(layout.parameters[name].declared.size)
        slopes[:] = 0.0
        add(slopes)
        at, cells = layout.offset[name], layout.cells[name]
        self._vector[at : at + len(cells)] += slopes[cells]
        rooms.append(slopes)

    def is_scattered(self, name: str) -> bool:
        """Whether a parameter is partly frozen, so that an array of its slopes must be made."""
        return name in self._layout.cells and name not in self._made

    def vector(self) -> F64:
        """The whole, (n_free,); nothing is added after that."""
        for name, cells in self._layout.cells.items():
            if name in self._made:
                at = self._layout.offset[name]
                self._vector[at : at + len(cells)] += self._made[name].reshape(-1)[cells]
        return self._vector

    def __contains__(self, name: object) -> bool:
        return name in self._layout.offset

    def __iter__(self) -> Iterator[str]:
        return iter(self._layout.offset)

    def __len__(self) -> int:
        return len(self._layout.offset)


class Layout(NamedTuple):
    """The parameters of some graphs, and the vector of their free entries.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> a, b = fg.Parameter("a", shape=2), fg.Parameter("b", initial=3.0, frozen=True)
    >>> y = fg.output("y", n_states=2)
    >>> graph = fg.FactorGraph([fg.Table([y], energies=a), fg.Product([y], weight=b)])
    >>> layout = layout_of([graph])
    >>> layout.n_free, layout.values(layout.start)["b"]
    (2, array(3.))
    """

    parameters: Mapping[str, Parameter]
    "as declared, in order"
    offset: Mapping[str, int]
    "where the entries of each free parameter begin"
    n_free: int
    start: F64
    "(n_free,) `initial`, 0 where there is none"
    lower: F64
    upper: F64
    cells: Mapping[str, I64] = {}
    "flat numbers, ascending, of the free entries of parameters that are partly frozen"
    place: Mapping[str, Ints] = {}
    "of the same, (size,): where each entry is in w, -1 where it is frozen"
    rooms: Rooms = Rooms({}, {})
    "of the same"

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters that are learned."""
        return tuple(self.offset)

    def entries(self, name: str) -> Entries:
        """Where a parameter's entries are in w. Raises ParameterError for one that is not learned."""
        if name not in self.offset:
            known = ", ".join(f'"{each}"' for each in self.offset) or "none"
            raise ParameterError(f'no parameter "{name}" is learned here. Learned are: {known}.')
        cells = self.cells[name] if name in self.cells else np.arange(self.parameters[name].declared.size)
        return Entries(self.offset[name] + np.arange(len(cells)), cells, self.parameters[name].declared.shape)

    def values(self, w: F64) -> Values:
        """The value of every parameter: views of w, copies where some entries are frozen, frozen ones as they are."""
        return Values(self, w)

    def gradient(self) -> Gradient:
        """A gradient of 0, to be added into by name."""
        return Gradient(self)

    def vector(self, values: Mapping[str, F64]) -> F64:
        """The vector of these values, (n_free,)."""
        w = np.empty(self.n_free)
        for name, at in self.offset.items():
            flat = np.asarray(values[name]).reshape(-1)
            flat = flat[self.cells[name]] if name in self.cells else flat
            w[at : at + len(flat)] = flat
        return w

    def fingerprint(self) -> str:
        """A digest of names, shapes, what is frozen and the bounds: equal where a vector means the same."""
        told = [
            (name, p.declared.shape, name in self.offset, p.declared.bounds) for name, p in self.parameters.items()
        ]
        digest = hashlib.sha256(repr(told).encode())
        for name, cells in self.cells.items():
            digest.update(repr((name, len(cells))).encode() + cells.tobytes())
        return digest.hexdigest()[:16]


def layout_of(graphs: Iterable[FactorGraph], seen: Mapping[str, Bool] | None = None) -> Layout:
    """The layout of all parameters of these graphs.

    `seen`: by name, masks of the shape of the parameter; entries that are False stay at `initial`, 0 where there is
    none.

    Raises
    ------
    ParameterError : two graphs declare a parameter differently; none is to be learned; a frozen one has no value.
    """
    parameters: dict[str, Parameter] = {}
    met: set[int] = set()
    for graph in graphs:
        if id(graph) in met:
            continue
        met.add(id(graph))
        for name, parameter in graph.parameters.items():
            declared = parameter.declared
            if name not in parameters:
                parameters[name] = declared
            elif not parameters[name].declared_like(declared):
                raise ParameterError(f'parameter "{name}" is declared differently in two graphs of the samples.')
    offset: dict[str, int] = {}
    cells = {name: np.flatnonzero(mask) for name, mask in (seen or {}).items()}
    size = 0
    for name, parameter in parameters.items():
        if not parameter.frozen:
            offset[name] = size
            size += len(cells[name]) if name in cells else parameter.size
        elif parameter.initial is None:
            raise ParameterError(f'parameter "{name}" is frozen, and has no value. Write initial=.')
    if not size:
        raise ParameterError(
            "there is nothing to learn: the graphs have no free parameter. Put a Parameter where a number stands."
        )
    start, lower, upper = np.zeros(size), np.empty(size), np.empty(size)
    for name, at in offset.items():
        parameter = parameters[name]
        free = cells.get(name, slice(None))
        here = slice(at, at + (len(cells[name]) if name in cells else parameter.size))
        lower[here], upper[here] = parameter.bounds
        if parameter.initial is not None:
            start[here] = parameter.initial.reshape(-1)[free]
    np.clip(start, lower, upper, out=start)
    place = {name: _places(cells[name], offset[name], parameters[name].size) for name in cells}
    rooms = Rooms({name: [] for name in cells}, {name: [] for name in cells})
    return Layout(parameters, offset, size, start, lower, upper, cells, place, rooms)


def _places(cells: I64, offset: int, size: int) -> Ints:
    # As long as the parameter, of which few entries may be free: half the bytes where these are enough.
    small = offset + len(cells) < 1 << 31
    place: Ints = np.full(size, -1, np.int32) if small else np.full(size, -1, np.int64)
    place[cells] = offset + np.arange(len(cells))
    return place
