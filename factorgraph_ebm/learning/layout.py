"""Where the free entries of all parameters lie in one vector w, and back.

    w = the entries that are not frozen, parameter after parameter in the order they were met, each in C order

A gradient has the same layout. Frozen parameters have no entries in w, and keep their values; so do entries that are
not among those `seen`, such as the weights of features with tags that they never had (CRFsuite's default: w is then a
quarter as long).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Bool
from factorgraph_ebm.errors import ParameterError
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.graph.parameters import Parameter
from factorgraph_ebm.learning.regularizers import Entries


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

    def values(self, w: F64) -> dict[str, F64]:
        """The value of every parameter: views of w, copies where some entries are frozen, frozen ones as they are."""
        found: dict[str, F64] = {}
        for name, parameter in self.parameters.items():
            shape = parameter.declared.shape
            if name in self.cells:
                found[name] = np.zeros(shape) if parameter.initial is None else parameter.initial.copy()
                at, cells = self.offset[name], self.cells[name]
                found[name].reshape(-1)[cells] = w[at : at + len(cells)]
            elif name in self.offset:
                at, size = self.offset[name], int(np.prod(shape, dtype=np.int64))
                found[name] = w[at : at + size].reshape(shape)
            else:
                assert parameter.initial is not None
                found[name] = parameter.initial
        return found

    def gradient(self) -> tuple[F64, dict[str, F64]]:
        """A gradient of 0, (n_free,), and arrays by name, to be added into: views of it unless partly frozen."""
        whole = np.zeros(self.n_free)
        views = self.values(whole)
        into = {name: np.zeros_like(views[name]) if name in self.cells else views[name] for name in self.offset}
        return whole, into

    def collect(self, gradient: F64, into: Mapping[str, F64]) -> None:
        """Take the free entries of what was added to partly frozen parameters over into the gradient."""
        for name, cells in self.cells.items():
            at = self.offset[name]
            gradient[at : at + len(cells)] = into[name].reshape(-1)[cells]

    def vector(self, values: Mapping[str, F64]) -> F64:
        """The vector of these values, (n_free,)."""
        w = np.empty(self.n_free)
        views = self.values(w)
        for name in self.offset:
            if name not in self.cells:
                views[name][...] = values[name]
        self.collect(w, values)
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
    return Layout(parameters, offset, size, start, lower, upper, cells)
