"""Joint marginals as they are read: a Mapping from tuples of variables to tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import EvidenceError, MethodError
from factorgraph_ebm.graph.assignment import find_variable
from factorgraph_ebm.graph.graph import FactorGraph

Cells: TypeAlias = tuple[int, ...]


class Joints(Mapping[Any, F64]):
    """Tuple of variables -> (*states,), in their order; as many as were asked for."""

    __slots__ = ("_graph", "_keys", "_tables")

    def __init__(self, graph: FactorGraph, keys: Sequence[Any], tables: Mapping[Cells, F64 | None]) -> None:
        self._graph = graph
        self._keys = tuple(keys)
        self._tables = tables

    def __getitem__(self, key: Any) -> F64:
        cells = cells_of_joint(self._graph, key)
        if cells not in self._tables:
            raise KeyError(f"{key!r} was not asked for. Ask with marginals(..., joint=[{key!r}]).")
        table = self._tables[cells]
        if table is None:
            raise MethodError(
                f'the joint of {key!r} is not exact on this graph by this method. Try method="enumerate", '
                "or factor_marginals where a factor joins them."
            )
        return table.copy()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"<joint marginals of {', '.join(map(str, self._keys))}>"


def cells_of_joint(graph: FactorGraph, key: Any) -> Cells:
    """Cells of a tuple of single variables. Raises EvidenceError."""
    if not isinstance(key, (tuple, list)):
        raise EvidenceError(f"a joint is of a tuple of variables, not {key!r}. Write joint=[(a, b)].")
    cells = []
    for each in key:
        variable = find_variable(graph, each, "joint")
        if variable.is_real or variable.size != 1:
            raise EvidenceError(f"a joint is of single discrete variables; {variable} is not one. Index it.")
        cells.append(int(variable.cells.reshape(-1)[0]) + graph.cell_offset[variable.name])
    return tuple(cells)
