"""Scopes: which variables each factor of a declaration touches. Three forms, told apart by type alone.

    [y[1:], y[:-1]]               a list pairs its members elementwise, with numpy broadcasting
    (match, axis=1)               a bare array is the scope itself, along `axis`; None is all of it
    (x, members=M)                ragged: the rows of a scipy.sparse matrix, or index lists

Nothing is expanded until it is asked for: making a scope costs microseconds whatever its size.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.errors import ScopeError
from factorgraph_ebm.graph.expressions import is_sparse
from factorgraph_ebm.graph.indexing import Cells, digest
from factorgraph_ebm.graph.variables import Variable

Ints = npt.NDArray[np.int64]


class Scope:
    """The scope of every factor of one declaration.

    Attributes
    ----------
    shape : the group shape: one factor per element
    size : number of factors
    arity : variables per factor, an int; where ragged an int array (size,)
    ragged : whether it was made from `members`
    members : as the user gave them, else None
    variables : the distinct declared variables, in order of appearance

    Raises
    ------
    ScopeError : not variables, real variables, shapes that do not broadcast, an axis or a member out of range.
    """

    __slots__ = (
        "given",
        "axis",
        "members",
        "ragged",
        "shape",
        "size",
        "variables",
        "_slots",
        "_start",
        "_index",
    )

    def __init__(
        self,
        scope: Variable | Sequence[Variable],
        *,
        axis: int | tuple[int, ...] | None = None,
        members: Any = None,
    ) -> None:
        self.given = scope
        self.axis = axis
        self.members = members
        self.ragged = members is not None
        self._slots: tuple[Cells, ...] | None = None
        self._start: Ints | None = None
        self._index: Cells | None = None
        if isinstance(scope, Variable):
            _check_discrete(scope)
            self.variables: tuple[Variable, ...] = (scope.declared,)
            if members is not None:
                self._read_members(scope, axis)
            else:
                self.shape = _remaining(scope, axis)
        else:
            self._pair(scope)
        self.size = math.prod(self.shape)

    def _pair(self, scope: Sequence[Variable]) -> None:
        if not isinstance(scope, (list, tuple)):
            raise ScopeError(
                f"a scope is a variable or a list of variables, not {type(scope).__name__}. "
                "Write [y] for one factor per variable."
            )
        if self.axis is not None or self.members is not None:
            what = "axis" if self.axis is not None else "members"
            raise ScopeError(
                f"{what}= goes with a bare array, and a list pairs its members elementwise. "
                f"Write the array itself: y, {what}=..."
            )
        found: dict[str, Variable] = {}
        shape: tuple[int, ...] | None = None
        same = True
        for member in scope:
            if not isinstance(member, Variable):
                raise ScopeError(
                    f"a scope is a list of variables; found {member!r}. Declare it with fg.output or fg.observed."
                )
            declared = member.declared
            known = found.setdefault(declared.name, declared)
            if known is not declared and known.key != declared.key:
                raise ScopeError(f'two variables named "{declared.name}" are declared differently.')
            if declared.dim is not None:
                _check_discrete(member)
            if shape is None:
                shape = member.cells.shape
            elif shape != member.cells.shape:
                same = False
        self.variables = tuple(found.values())
        if same:
            self.shape = shape or ()
            return
        try:
            self.shape = np.broadcast_shapes(*(member.shape for member in scope))
        except ValueError:
            shapes = " and ".join(f"{member}: {member.shape}" for member in scope)
            raise ScopeError(f"the members of a list pair elementwise, and do not broadcast: {shapes}.") from None

    def _read_members(self, scope: Variable, axis: int | tuple[int, ...] | None) -> None:
        if axis is not None:
            raise ScopeError("axis= and members= are two ways to say the scope. Give one of them.")
        if scope.ndim != 1:
            raise ScopeError(
                f"members= index a 1-D array of variables, and {scope} has shape {scope.shape}. "
                f"Write {scope.name}.ravel()."
            )
        members = self.members
        if is_sparse(members):
            matrix = members.tocsr()
            if matrix.shape[1] != scope.size:
                raise ScopeError(
                    f"members has {matrix.shape[1]} columns, and {scope} has {scope.size} variables: "
                    "a column is a variable."
                )
            if not matrix.has_sorted_indices:
                matrix = matrix.sorted_indices()
            self._start = matrix.indptr.astype(np.int64)
            self._index = matrix.indices.astype(np.intp)
        else:
            try:
                lengths = [len(member) for member in members]
                flat = [cell for member in members for cell in member]
            except TypeError:
                raise ScopeError("members= is a scipy.sparse matrix (row = factor) or a list of index lists.") from None
            self._start = np.zeros(len(lengths) + 1, dtype=np.int64)
            np.cumsum(lengths, out=self._start[1:])
            index = np.array(flat) if flat else np.zeros(0, np.intp)
            if index.dtype.kind not in "iu" or index.ndim != 1:
                raise ScopeError("members= holds integer positions in the array of variables.")
            self._index = index.astype(np.intp)
            if index.size and not (index.min() >= -scope.size and index.max() < scope.size):
                bad = int(np.argmax((index < -scope.size) | (index >= scope.size)))
                factor = int(np.searchsorted(self._start, bad, side="right")) - 1
                raise ScopeError(
                    f"members[{factor}] names variable {index[bad]}, but {scope} has {scope.size} (0-{scope.size - 1})."
                )
        self.shape = (len(self._start) - 1,)

    @property
    def arity(self) -> "int | Ints":
        if self._start is not None:
            return np.diff(self._start)
        if isinstance(self.given, Variable):
            # By lengths, not by sizes: a group of zero factors still has its arity.
            return math.prod(self.given.shape[a] for a in _axes(self.given, self.axis))
        return len(self.given)

    @property
    def slots(self) -> tuple[Cells, ...]:
        """The cells of each slot of a uniform scope, flat in its `slot_variables`, broadcasting to `shape`."""
        if self._slots is None:
            if self.ragged:
                raise ScopeError("a ragged scope has no slots: read ragged_cells.")
            if isinstance(self.given, Variable):
                axes = _axes(self.given, self.axis)
                last = np.moveaxis(self.given.cells, axes, range(-len(axes), 0)) if axes else self.given.cells
                arity = self.arity
                assert isinstance(arity, int)
                last = last.reshape(*self.shape, arity)
                self._slots = tuple(last[..., slot] for slot in range(arity))
            else:
                self._slots = tuple(member.cells for member in self.given)
        return self._slots

    @property
    def slot_variables(self) -> tuple[Variable, ...]:
        """The declared variable of each slot of a uniform scope."""
        if isinstance(self.given, Variable):
            arity = self.arity
            assert isinstance(arity, int)
            return (self.given.declared,) * arity
        return tuple(member.declared for member in self.given)

    def state_shape(self) -> tuple[int, ...]:
        """Number of states of each slot of a uniform scope, the largest where its cells differ."""
        if isinstance(self.given, Variable):
            widths = self._widths_along_axis()
            if widths is not None:
                return widths
        else:
            if self.size or all(member.size for member in self.given):
                return tuple(member.max_states for member in self.given)
        pairs = zip(self.slot_variables, self.slots, strict=True)
        return tuple(variable.ravel()[cells].max_states for variable, cells in pairs)

    def _widths_along_axis(self) -> tuple[int, ...] | None:
        assert isinstance(self.given, Variable)
        declared = self.given.declared
        if isinstance(declared._counts, np.ndarray):
            return None
        arity = self.arity
        assert isinstance(arity, int)
        return (declared.max_states,) * arity

    def columns(self, offsets: Mapping[str, int]) -> Ints:
        """Return the cells of a uniform scope, (arity, size), slot by slot: offsets[name] + cell."""
        slots = self.slots
        columns = np.empty((len(slots), self.size), dtype=np.int64)
        for row, variable, cells in zip(columns, self.slot_variables, slots, strict=True):
            np.add(cells, offsets[variable.name], out=row.reshape(self.shape))
        return columns

    def ragged_cells(self, offsets: Mapping[str, int]) -> tuple[Ints, Ints]:
        """Return (start (size + 1,), cells (S,)) of a ragged scope: factor f touches cells[start[f]:start[f + 1]]."""
        if self._start is None or self._index is None or not isinstance(self.given, Variable):
            raise ScopeError("a uniform scope has columns, not ragged cells.")
        cells = self.given.cells[self._index].astype(np.int64) + offsets[self.given.name]
        return self._start, cells

    def state_counts(self) -> Ints:
        """Return the number of states of each variable of each factor, (arity, size); all of one arity."""
        if self.ragged:
            assert isinstance(self.given, Variable)
            _, cells = self.ragged_cells({self.given.name: 0})
            arity = len(cells) // self.size if self.size else 0
            return cell_counts(self.given.declared)[cells].reshape(self.size, arity).T
        parts = [
            np.broadcast_to(cell_counts(variable)[cells], self.shape).reshape(-1)
            for variable, cells in zip(self.slot_variables, self.slots, strict=True)
        ]
        return np.array(parts, dtype=np.int64).reshape(len(parts), self.size)

    @property
    def key(self) -> Hashable:
        """Hashable, equal for scopes of equal variables made in the same way."""
        if isinstance(self.given, Variable):
            if self._start is not None and self._index is not None:
                return ("members", self.given.key, digest(self._start), digest(self._index))
            return ("axis", self.given.key, self.axis)
        return tuple(member.key for member in self.given)

    def renamed(self, rename: Callable[[str], str]) -> "Scope":
        """Return the same scope over variables of other names."""
        other = Scope.__new__(Scope)
        for field in self.__slots__:
            setattr(other, field, getattr(self, field))
        names: dict[str, Variable] = {v.name: v.renamed(rename(v.name)) for v in self.variables}
        other.variables = tuple(names.values())
        if isinstance(self.given, Variable):
            other.given = self.given.renamed(rename(self.given.name))
        else:
            other.given = [member.renamed(rename(member.name)) for member in self.given]
        return other

    def describe(self, factor: int) -> str:
        """Name the variables of one factor, counting in C order: "tag[4], tag[5]"."""
        if self._start is not None and self._index is not None and isinstance(self.given, Variable):
            picked = self._index[self._start[factor] : self._start[factor + 1]]
            return ", ".join(self.given.declared.cell_name(int(self.given.cells[i])) for i in picked)
        names = []
        for variable, cells in zip(self.slot_variables, self.slots, strict=True):
            full = np.broadcast_to(cells, self.shape)
            place = np.unravel_index(factor, self.shape) if self.shape else ()
            names.append(variable.declared.cell_name(int(full[place])))
        return ", ".join(names)

    def __str__(self) -> str:
        if isinstance(self.given, Variable):
            return str(self.given.name)
        return ", ".join(member.name if member.ndim else str(member) for member in self.given)


def cell_counts(variable: Variable) -> Ints:
    """Return the number of states of each cell of a declared discrete variable, (size,) int64."""
    counts = variable.declared.n_states
    if isinstance(counts, np.ndarray):
        return counts.reshape(-1)
    return np.full(variable.declared.size, counts, dtype=np.int64)


def _check_discrete(variable: Variable) -> None:
    if variable.dim is not None:
        raise ScopeError(
            f'variable "{variable.name}" holds real values, and the scope of a factor holds discrete ones. '
            "A real variable may stand where numbers stand."
        )


def _axes(variable: Variable, axis: int | tuple[int, ...] | None) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(variable.ndim))
    given = axis if isinstance(axis, tuple) else (axis,)
    axes = []
    for each in given:
        if not isinstance(each, (int, np.integer)) or not -variable.ndim <= each < variable.ndim:
            raise ScopeError(f"axis={axis} is out of range: {variable} has shape {variable.shape}.")
        axes.append(int(each) % variable.ndim)
    if len(set(axes)) < len(axes):
        raise ScopeError(f"axis={axis} names an axis twice.")
    # As numpy's sum: the order in which the axes are named does not matter.
    return tuple(sorted(axes))


def _remaining(variable: Variable, axis: int | tuple[int, ...] | None) -> tuple[int, ...]:
    if axis is None:
        return ()
    axes = _axes(variable, axis)
    return tuple(length for a, length in enumerate(variable.shape) if a not in axes)
