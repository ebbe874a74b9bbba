"""Reading of the library's own format: every field is checked, and every error says where it stands."""

import math
from typing import Any, TypeVar, cast

import numpy as np

from factorgraph_ebm.errors import FactorGraphError, FormatError
from factorgraph_ebm.factors import STRUCTURES
from factorgraph_ebm.formats.archive import ArchiveReader, Array
from factorgraph_ebm.formats.text import LIMIT_BYTES, PathLike, bytes_in_words
from factorgraph_ebm.graph import Factor, FactorGraph, Linear, Parameter, Variable, latent, observed, output

_DECLARE = {"observed": observed, "output": output, "latent": latent}

T = TypeVar("T")


class NativeReader:
    """Turns the header of an archive back into declarations."""

    def __init__(self, path: PathLike) -> None:
        self.path = path
        self.archive = ArchiveReader(path)
        header = self.archive.header()
        if not isinstance(header, dict):
            raise FormatError(f"{path}, header.json: must be an object.")
        self.header: dict[str, Any] = header
        self.variables: dict[str, Variable] = {}
        self.parameters: dict[str, Parameter] = {}
        self.arrays: dict[str, Array] = {}

    def graph(self) -> FactorGraph:
        """Return the graph that the header describes."""
        where = ""
        try:
            for place, entry in enumerate(self.field(self.header, "variables", list, where)):
                where = f"variables[{place}]"
                variable = self.variable(entry, where)
                self.variables[variable.name] = variable
            for place, entry in enumerate(self.field(self.header, "parameters", list, "")):
                where = f"parameters[{place}]"
                parameter = self.parameter(entry, where)
                self.parameters[parameter.name] = parameter
            factors = []
            for place, entry in enumerate(self.field(self.header, "factors", list, "")):
                where = f"factors[{place}]"
                factors.append(self.factor(entry, where))
            where = "factors"
            return FactorGraph(factors, variables=list(self.variables.values()))
        except FormatError:
            raise
        except (FactorGraphError, TypeError, ValueError, IndexError, OverflowError, RecursionError) as error:
            raise FormatError(f"{self.path}, header.json, {where}: {error}") from None

    def wrong(self, where: str, message: str) -> FormatError:
        return FormatError(f"{self.path}, header.json, {where}: {message}")

    def field(self, entry: Any, name: str, kind: type[T], where: str) -> T:
        if not isinstance(entry, dict):
            raise self.wrong(where or "top", "must be an object.")
        value = entry.get(name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.wrong(where or "top", f'"{name}" must be of type {kind.__name__}, not {value!r:.40}.')
        return value

    def shape(self, entry: Any, name: str, where: str) -> tuple[int, ...]:
        """Return a shape whose array of cells fits."""
        shape = self.field(entry, name, list, where)
        if not all(type(n) is int and n >= 0 for n in shape):
            raise self.wrong(where, f'"{name}" must be integers >= 0, not {shape!r:.40}.')
        size = 8 * math.prod(shape)
        if size > LIMIT_BYTES:
            raise self.wrong(
                where, f"shape {tuple(shape)} takes {bytes_in_words(size)}; the limit is {bytes_in_words(LIMIT_BYTES)}."
            )
        return tuple(shape)

    def array(self, name: str) -> Array:
        if name not in self.arrays:
            self.arrays[name] = self.archive.array(name)
        return self.arrays[name]

    def integers(self, entry: Any, name: str, where: str, limit: int) -> Array:
        """Return an array of integers -limit .. limit - 1."""
        array = self.array(self.field(entry, name, str, where))
        if array.dtype.kind not in "iu" or (array.size and not -limit <= int(array.min()) <= int(array.max()) < limit):
            raise self.wrong(where, f'"{name}" must hold integers below {limit:,}.')
        return array

    def starts(self, entry: Any, name: str, where: str, total: int) -> list[int]:
        """Return an array of offsets into `total` elements: ascending from 0 to total."""
        array = self.integers(entry, name, where, total + 1)
        if array.ndim != 1 or not array.size or array[0] != 0 or array[-1] != total or (np.diff(array) < 0).any():
            raise self.wrong(where, f'"{name}" must ascend from 0 to {total:,}.')
        starts: list[int] = array.tolist()
        return starts

    def variable(self, entry: Any, where: str) -> Variable:
        name, role = self.field(entry, "name", str, where), self.field(entry, "role", str, where)
        if role not in _DECLARE:
            raise self.wrong(where, f'"role" must be one of {", ".join(_DECLARE)}, not "{role}".')
        if name in self.variables:
            raise self.wrong(where, f'variable "{name}" stands twice.')
        shape = self.shape(entry, "shape", where)
        if "dim" in entry:
            return _DECLARE[role](name, shape, dim=self.shape(entry, "dim", where))
        if "states" in entry:
            return _DECLARE[role](name, shape, states=[_number(s) for s in self.field(entry, "states", list, where)])
        n_states = entry.get("n_states")
        if isinstance(n_states, dict):
            n_states = self.array(self.field(n_states, "array", str, where))
        return _DECLARE[role](name, shape, n_states=n_states)

    def parameter(self, entry: Any, where: str) -> Parameter:
        name = self.field(entry, "name", str, where)
        if name in self.parameters:
            raise self.wrong(where, f'parameter "{name}" stands twice.')
        initial = None if entry.get("initial") is None else self.array(self.field(entry, "initial", str, where))
        low, high = map(_number, self.field(entry, "bounds", list, where))
        frozen = self.field(entry, "frozen", bool, where)
        return Parameter(name, self.shape(entry, "shape", where), initial=initial, frozen=frozen, bounds=(low, high))

    def factor(self, entry: Any, where: str) -> Factor:
        kind = self.field(entry, "kind", str, where)
        if kind not in STRUCTURES:
            raise self.wrong(where, f'unknown structure "{kind}"; known: {", ".join(sorted(STRUCTURES))}.')
        scope = self.field(entry, "scope", dict, where)
        said: dict[str, Any] = {"name": None if entry.get("name") is None else self.field(entry, "name", str, where)}
        if "list" in scope:
            given: Any = [self.variable_view(each, where) for each in self.field(scope, "list", list, where)]
        else:
            given = self.variable_view(scope.get("array"), where)
            if "members" in scope:
                said["members"] = self.members(self.field(scope, "members", dict, where), given, where)
            else:
                axis = scope.get("axis")
                said["axis"] = tuple(axis) if isinstance(axis, list) else axis
        for name, source in self.field(entry, "numbers", dict, where).items():
            if "start" in source:
                flat = self.array(self.field(source, "constant", str, where))
                said[name] = self.ragged(flat, source, given, said.get("members"), where)
            else:
                said[name] = self.source(source, f"{where}.{name}")
        declare: Any = STRUCTURES[kind]  # each takes its own numbers
        return cast(Factor, declare(given, **said))

    def members(self, entry: dict[str, Any], given: Variable, where: str) -> Any:
        if "sparse" in entry:
            return self.sparse(entry["sparse"], where)
        index = self.integers(entry, "index", where, given.size)
        start = self.starts(entry, "start", where, index.size)
        flat = index.tolist()
        return [flat[low:high] for low, high in zip(start[:-1], start[1:], strict=True)]

    def ragged(self, flat: Array, source: Any, given: Variable, members: Any, where: str) -> list[Array]:
        """Return one table per factor, cut from the flat array that holds all of them."""
        start = self.starts(source, "start", where, flat.size)
        counts = np.broadcast_to(np.asarray(given.n_states), given.shape)
        if hasattr(members, "indptr"):
            members = np.split(members.indices, members.indptr[1:-1])
        tables = [flat[low:high] for low, high in zip(start[:-1], start[1:], strict=True)]
        return [
            table.reshape(counts[np.asarray(member, dtype=np.intp)])
            for table, member in zip(tables, members, strict=True)
        ]

    def sparse(self, entry: Any, where: str) -> Any:
        import scipy.sparse  # heavy, and few files need it

        shape = self.shape_of_sparse(entry, where)
        data = self.array(self.field(entry, "data", str, where))
        indices = self.integers(entry, "indices", where, max(shape[1], 1))
        indptr = np.array(self.starts(entry, "indptr", where, data.size))
        if data.ndim != 1 or indices.shape != data.shape or len(indptr) != shape[0] + 1 or (indices < 0).any():
            raise self.wrong(where, "the arrays of a sparse matrix do not fit each other.")
        kind = scipy.sparse.csr_matrix if entry.get("matrix") else scipy.sparse.csr_array
        matrix: Any = kind((data.copy(), indices.copy(), indptr.astype(indices.dtype)), shape=shape)
        return matrix.asformat(self.field(entry, "format", str, where))

    def shape_of_sparse(self, entry: Any, where: str) -> tuple[int, int]:
        rows, columns = self.field(entry, "shape", list, where)
        if type(rows) is not int or type(columns) is not int or min(rows, columns) < 0:
            raise self.wrong(where, "a sparse matrix has two sizes >= 0.")
        return rows, columns

    def source(self, entry: Any, where: str) -> Any:
        """Return what stands for numbers."""
        if not isinstance(entry, dict):
            raise self.wrong(where, "must be an object.")
        if "constant" in entry:
            return self.array(self.field(entry, "constant", str, where))
        if "word" in entry:
            return self.field(entry, "word", str, where)
        if "rows" in entry:
            return [[_number(label) for label in row] for row in self.field(entry, "rows", list, where)]
        if "parameter" in entry:
            view = self.field(entry, "parameter", dict, where)
            return self.view(view, self.known(view, self.parameters, "parameter", where), where)
        if "real" in entry:
            return self.variable_view(entry["real"], where)
        if "linear" in entry:
            product = self.field(entry, "linear", dict, where)
            x = self.field(product, "x", dict, where)
            features = self.sparse(x["sparse"], where) if "sparse" in x else self.source(x, f"{where}.x")
            return Linear(features, self.source(product.get("W"), f"{where}.W"))
        raise self.wrong(where, f"unknown source of numbers: {', '.join(map(str, entry))}.")

    def known(self, entry: Any, declared: dict[str, T], what: str, where: str) -> T:
        name = self.field(entry, "of", str, where)
        if name not in declared:
            raise self.wrong(where, f'there is no {what} "{name}".')
        return declared[name]

    def variable_view(self, entry: Any, where: str) -> Variable:
        return cast(Variable, self.view(entry, self.known(entry, self.variables, "variable", where), where))

    def view(self, entry: dict[str, Any], declared: Any, where: str) -> Any:
        """Return a view of a declared Variable or Parameter."""
        if "cells" in entry:
            cells = self.integers(entry, "cells", where, declared.size)
            return declared.ravel()[cells.astype(np.intp)]
        if "offset" not in entry:
            return declared
        shape, strides = self.shape(entry, "shape", where), self.field(entry, "strides", list, where)
        offset = self.field(entry, "offset", int, where)
        if len(strides) != len(shape) or not all(type(stride) is int for stride in strides) or 0 in shape:
            raise self.wrong(where, "a view needs one stride for each axis.")
        reach = [(length - 1) * stride for length, stride in zip(shape, strides, strict=True)]
        first = offset + sum(step for step in reach if step < 0)
        last = offset + sum(step for step in reach if step > 0)
        if first < 0 or last >= declared.size:
            raise self.wrong(where, f'a view of "{declared.name}" reaches outside its {declared.size} cells.')
        item = declared.cells.itemsize
        # Over the memory of the declared cells, so that the view is as cheap as the slicing that made it.
        cells = np.ndarray(
            shape, np.intp, buffer=declared.cells, offset=item * offset, strides=[item * s for s in strides]
        )
        return declared.with_cells(cells)


def _number(value: Any) -> Any:
    return float(value["float"]) if isinstance(value, dict) and "float" in value else value
