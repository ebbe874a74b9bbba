"""Graphs as lists of tables over numbered variables: what the formats without structures read and write.

Reading gives one output array "x" and one Table with members (API.md, W1). Writing numbers the cells of a graph in
the order of `graph.variables`, C order within each, and asks every structure for its table.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.errors import FormatError
from factorgraph_ebm.factors import Table
from factorgraph_ebm.formats.text import F64, I64, LIMIT_BYTES, PathLike, Words, bytes_in_words
from factorgraph_ebm.graph import Factor, FactorGraph, output, parameter_values


def graph_of_tables(n_states: Sequence[int], scopes: Sequence[Sequence[int]], energies: Sequence[F64]) -> FactorGraph:
    """Return the graph of a file: output "x" of shape (n,), and one Table with a factor per scope.

    Parameters
    ----------
    n_states : (n,) states of each variable
    scopes : the variables of each factor, in order
    energies : the table of each factor, of the shape of its states, in nats
    """
    x = output("x", shape=len(n_states), n_states=np.array(n_states, dtype=np.int64))
    return FactorGraph([Table(x, members=scopes, energies=energies)], variables=[x])


def check_sizes(words: Words, n_states: I64, scope: I64, lengths: I64, places: Sequence[int]) -> I64:
    """Return the number of entries of each table, once sure that all of them fit.

    Parameters
    ----------
    n_states : (n,) states of each variable
    scope : the scopes, one after the other; `lengths` is the number of variables in each
    places : the word that each factor is declared at, for messages

    Raises
    ------
    FormatError : the tables would take more than LIMIT_BYTES.
    """
    start = np.concatenate([[0], np.cumsum(lengths)])
    # In logarithms, for a product of declared sizes may leave the range of any integer.
    logs = np.concatenate([[0.0], np.cumsum(np.log2(n_states)[scope])])
    bits = logs[start[1:]] - logs[start[:-1]] + 3.0
    limit = np.log2(LIMIT_BYTES)
    large = np.flatnonzero(bits > limit + 0.5)
    if large.size:
        factor = int(large[0])
        states = n_states[scope[start[factor] : start[factor + 1]]].tolist()
        entries = 1
        for count in states:
            entries *= count
        raise words.error(
            places[factor],
            f"the table of factor {factor} has {entries:,} entries and would take {_size(8 * entries)}; "
            f"the limit is {bytes_in_words(LIMIT_BYTES)}.",
        )
    # reduceat has no empty segments: a factor without variables has one entry.
    sizes = np.ones(len(lengths), dtype=np.int64)
    filled = np.flatnonzero(lengths)
    if filled.size:
        sizes[filled] = np.multiply.reduceat(n_states[scope], start[:-1][filled])
    total = 8 * int(sizes.sum())
    if total > LIMIT_BYTES:
        raise words.error(0, f"all tables would take {_size(total)}; the limit is {bytes_in_words(LIMIT_BYTES)}.")
    return sizes


def _size(count: int) -> str:
    return bytes_in_words(float(count)) if count < 1e30 else f"2^{count.bit_length() - 1} bytes"


def cells_and_tables(
    path: PathLike, graph: FactorGraph, parameters: Mapping[str, npt.ArrayLike] | None
) -> Iterator[tuple[list[int], F64]]:
    """Yield every factor of a graph as (cells, table): distinct cells, and energies of their state shape.

    A variable that stands twice in a scope is written once, with the diagonal of the table.

    Raises
    ------
    FormatError : a factor that cannot be a table in a file: too large, or its numbers are an observed real value.
    """
    values = parameter_values(graph, parameters)
    for declaration, name in zip(graph.factors, map(str, graph.keys), strict=True):
        for real in declaration.reals:
            raise FormatError(
                f'{path}: the numbers of factor "{name}" are the observed real variable "{real.name}", '
                "which this format cannot hold. Write the library's own format (.fgz)."
            )
        yield from _tables_of(path, name, graph, declaration, values)


def _tables_of(
    path: PathLike,
    name: str,
    graph: FactorGraph,
    declaration: Factor,
    values: Mapping[str, F64],
) -> Iterator[tuple[list[int], F64]]:
    scope, n_states = declaration.scope, graph.cell_states
    if scope.size == 0:
        return
    if scope.ragged:
        start, flat = scope.ragged_cells(graph.cell_offset)
        cells = [flat[low:high] for low, high in zip(start[:-1].tolist(), start[1:].tolist(), strict=True)]
    else:
        cells = list(np.ascontiguousarray(scope.columns(graph.cell_offset).T))
    bits = [float(np.log2(n_states[members]).sum()) for members in cells]
    size = float(8 * np.exp2(np.minimum(bits, 1000.0)).sum())
    if size > LIMIT_BYTES:
        raise FormatError(
            f'{path}: the tables of factor "{name}" would take {bytes_in_words(size)}; '
            f"the limit is {bytes_in_words(LIMIT_BYTES)}."
        )
    table = declaration.bound_table(values)
    if isinstance(table, np.ndarray):
        states = table.shape[table.ndim - len(cells[0]) :]
        tables: Iterable[F64] = np.broadcast_to(table, (*scope.shape, *states)).reshape(-1, *states)
    else:
        tables = table
    for members, energies in zip(cells, tables, strict=True):
        # Cells of fewer states than the widest of their array have padding, which means nothing.
        present = tuple(map(slice, n_states[members].tolist()))
        yield _diagonal(members.tolist(), np.asarray(energies[present]))


def _diagonal(members: list[int], energies: F64) -> tuple[list[int], F64]:
    distinct = list(dict.fromkeys(members))
    if len(distinct) == len(members):
        return members, energies
    size = dict(zip(members, energies.shape, strict=True))
    grid = dict(zip(distinct, np.ix_(*(range(size[cell]) for cell in distinct)), strict=True))
    return distinct, energies[tuple(grid[cell] for cell in members)]
