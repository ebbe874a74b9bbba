"""The library's own format, .fgz: a declared graph, whole and bit for bit.

    header.json     format, version, variables, parameters, factors: what a declaration says, in its own words
    a0.npy, ...     every array: numbers, members, cells of views that are not regular

A view is its array, and offset, shape and strides, or cells. A source of numbers is one of
    {"constant": array}  {"parameter": view}  {"real": view}  {"linear": {"x": source or sparse, "W": source}}
and constants of a structure stand beside them, labels as {"rows": lists of labels}, a word as {"word": "<="}.
Functions (`Computed`) cannot be written: a file that runs code is not data.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.errors import FormatError, ParameterError, did_you_mean
from factorgraph_ebm.factors import STRUCTURES
from factorgraph_ebm.formats.archive import ArchiveWriter
from factorgraph_ebm.formats.native_reader import NativeReader
from factorgraph_ebm.formats.text import PathLike
from factorgraph_ebm.graph import Constant, Factor, FactorGraph, Linear, Parameter, RealNumbers, Variable

FORMAT = "factorgraph_ebm"
VERSION = 1


def read(path: PathLike) -> FactorGraph:
    """Read a graph of the library's own format.

    Raises
    ------
    FormatError : not such a file, broken, of a later version, or a declaration that the library refuses.
    OSError : the file cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> from factorgraph_ebm.factors import Table
    >>> from factorgraph_ebm.graph import output
    >>> tag = output("tag", shape=3, states=["NOUN", "VERB"])
    >>> W = Parameter("W", shape=(2, 2), initial=[[0.1, 0.2], [0.3, 0.4]])
    >>> path = os.path.join(tempfile.mkdtemp(), "chain.fgz")
    >>> write(FactorGraph([Table([tag[:-1], tag[1:]], energies=W, name="transition")]), path)
    >>> print(read(path))
    transition  Table(tag, tag) 2 factors, table 2 x 2 from W
    >>> float(read(path).parameters["W"].initial[1, 0])
    0.3
    """
    reader = NativeReader(path)
    if reader.header.get("format") != FORMAT:
        raise FormatError(f'{path}, header.json: "format" must be "{FORMAT}".')
    version = reader.header.get("version")
    if version != VERSION:
        raise FormatError(
            f"{path}, header.json: version {version!r} of the format; this library reads version {VERSION}."
        )
    return reader.graph()


def write(graph: FactorGraph, path: PathLike, *, parameters: Mapping[str, npt.ArrayLike] | None = None) -> None:
    """Write a graph so that reading it gives an equal one: every name, state, role, scope, number and parameter.

    Parameters
    ----------
    path : written under a temporary name, then renamed; equal graphs give equal bytes
    parameters : name -> array; they become the initial values

    Raises
    ------
    FormatError : numbers that are a function (`Computed`).
    ParameterError : a value that does not fit its parameter.
    """
    writer = _Writer(path, dict(parameters or {}))
    for name in writer.values:
        if name not in graph.parameters:
            raise ParameterError(f'unknown parameter "{name}".{did_you_mean(name, graph.parameters)}')
    writer.archive.write(
        path,
        {
            "format": FORMAT,
            "version": VERSION,
            "variables": [writer.variable(variable) for variable in graph.variables.values()],
            "parameters": [writer.parameter(parameter) for parameter in graph.parameters.values()],
            "factors": [writer.factor(factor, str(key)) for factor, key in zip(graph.factors, graph.keys, strict=True)],
        },
    )


class _Writer:
    """Turns declarations into plain objects, and their arrays into entries of an archive."""

    def __init__(self, path: PathLike, values: dict[str, npt.ArrayLike]) -> None:
        self.path = path
        self.values = values
        self.archive = ArchiveWriter()
        self.stored: dict[int, tuple[Any, str]] = {}

    def array(self, array: Any) -> str:
        """Store an array; one that stands in several places is stored once."""
        known = self.stored.get(id(array))
        if known is None:
            # The array is kept beside its name: a freed one would leave its id to another.
            known = self.stored[id(array)] = (array, self.archive.add(array))
        return known[1]

    def variable(self, variable: Variable) -> dict[str, Any]:
        entry: dict[str, Any] = {"name": variable.name, "role": variable.role, "shape": list(variable.shape)}
        if variable.dim is not None:
            entry["dim"] = list(variable.dim)
        elif variable.states is not None:
            entry["states"] = [_plain(label) for label in variable.states]
        elif isinstance(variable.n_states, np.ndarray):
            entry["n_states"] = {"array": self.array(variable.n_states)}
        else:
            entry["n_states"] = variable.n_states
        return entry

    def parameter(self, parameter: Parameter) -> dict[str, Any]:
        initial = parameter.initial
        if parameter.name in self.values:
            # Declared anew, so that a value that does not fit is refused here and not by the reader.
            initial = Parameter(
                parameter.name,
                parameter.shape,
                initial=parameter.read_value(self.values[parameter.name]),
                bounds=parameter.bounds,
            ).initial
        return {
            "name": parameter.name,
            "shape": list(parameter.shape),
            "initial": None if initial is None else self.array(initial),
            "frozen": parameter.frozen,
            "bounds": [_plain(bound) for bound in parameter.bounds],
        }

    def factor(self, factor: Factor, key: str) -> dict[str, Any]:
        if STRUCTURES.get(factor.kind) is not type(factor):
            raise FormatError(f'{self.path}: factor "{key}" is a {factor.kind}, which this format does not know.')
        numbers = {}
        for slot in factor.slots:
            numbers[slot.name] = self.source(slot.source, key)
            if slot.start is not None:
                numbers[slot.name]["start"] = self.array(slot.start)
        for keyword, constant in factor.constants.items():
            numbers[keyword] = self.constant(constant)
        return {"kind": factor.kind, "name": factor.name, "scope": self.scope(factor), "numbers": numbers}

    def constant(self, constant: Any) -> dict[str, Any]:
        if isinstance(constant, str):
            return {"word": constant}
        if isinstance(constant, np.ndarray):
            return {"constant": self.array(constant)}
        return {"rows": [[_plain(label) for label in row] for row in constant]}

    def scope(self, factor: Factor) -> dict[str, Any]:
        scope = factor.scope
        if not isinstance(scope.given, Variable):
            return {"list": [self.view(member) for member in scope.given]}
        if scope.members is None:
            axis = scope.axis
            if axis is not None:
                axis = [int(each) for each in axis] if isinstance(axis, tuple) else int(axis)  # type: ignore[assignment]
            return {"array": self.view(scope.given), "axis": axis}
        return {"array": self.view(scope.given), "members": self.members(scope.members)}

    def members(self, members: Any) -> dict[str, Any]:
        if hasattr(members, "tocsr"):
            return {"sparse": self.sparse(members)}
        lengths = [len(member) for member in members]
        flat = [int(cell) for member in members for cell in member]
        start = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
        return {"start": self.array(start), "index": self.array(np.array(flat, dtype=np.int64))}

    def sparse(self, matrix: Any) -> dict[str, Any]:
        rows = matrix.tocsr()
        return {
            "shape": [int(n) for n in rows.shape],
            "format": matrix.format,
            # scipy has two classes of each format: spmatrix, where * is the matrix product, and sparray.
            "matrix": not type(matrix).__name__.endswith("_array"),
            "data": self.array(rows.data),
            "indices": self.array(rows.indices),
            "indptr": self.array(rows.indptr),
        }

    def view(self, view: Variable | Parameter) -> dict[str, Any]:
        declared = view.declared
        if view.is_declared:
            return {"of": view.name}
        cells, whole = view.cells, declared.cells
        if cells.size and cells.base is not None and cells.base is whole.base:
            item = whole.itemsize
            offset = (cells.__array_interface__["data"][0] - whole.__array_interface__["data"][0]) // item
            strides = [stride // item for stride in cells.strides]
            return {"of": view.name, "offset": offset, "shape": list(cells.shape), "strides": strides}
        return {"of": view.name, "cells": self.array(np.asarray(cells, dtype=np.int64, order="C"))}

    def source(self, source: Any, key: str) -> dict[str, Any]:
        if isinstance(source, Constant):
            return {"constant": self.array(source.array)}
        if isinstance(source, Parameter):
            return {"parameter": self.view(source)}
        if isinstance(source, RealNumbers):
            return {"real": self.view(source.variable)}
        if isinstance(source, Linear):
            x = {"sparse": self.sparse(source.matrix)} if source.x is None else self.source(source.x, key)
            return {"linear": {"x": x, "W": self.source(source.W, key)}}
        raise FormatError(
            f'{self.path}: the numbers of factor "{key}" are {type(source).__name__}, a function, and a file '
            "holds data only. Write its value as an array: graph.factor(key).table(parameters)."
        )


def _plain(number: Any) -> Any:
    """JSON has no infinity; Python's own would not be JSON."""
    if isinstance(number, float) and not math.isfinite(number):
        return {"float": repr(number)}
    return number
