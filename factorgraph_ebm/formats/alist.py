"""MacKay's alist format: a sparse parity-check matrix H (m, n), its ones listed by column and again by row.

    n m
    greatest column degree, greatest row degree
    degree of each column
    degree of each row
    rows of column 1 ... n              a list each, counted from 1; filled up with zeros to the greatest degree, or not
    columns of row 1 ... m              as well

A column is a bit and a row a check: a word x is in the code where H x = 0 (mod 2). Lines that begin with # are
comments. Source: D. J. C. MacKay, "Alist format", of his encyclopedia of sparse graph codes.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.errors import FormatError
from factorgraph_ebm.factors import Parity
from factorgraph_ebm.formats.text import I64, PathLike, Words, read_text, write_bytes
from factorgraph_ebm.graph import Factor, FactorGraph, output

if TYPE_CHECKING:
    import scipy.sparse

_COMMENT = re.compile(r"#[^\n]*")


def read(path: PathLike) -> FactorGraph:
    """Read a code (gzip by content).

    Returns
    -------
    FactorGraph : output "bits" of shape (n,) and one Parity over it, named "checks": its `members` are the matrix H, a
        `scipy.sparse.csr_array` of shape (m, n) and type uint8 (sums that overflow keep their parity).

    Raises
    ------
    FormatError : names the file, the line and the word.
    OSError : the file cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "even.alist")
    >>> with open(path, "w") as file:
    ...     _ = file.write("3 1   1 3   1 1 1   3   1 1 1   1 2 3")
    >>> read(path).factor("checks").members.toarray()
    array([[1, 1, 1]], dtype=uint8)
    """
    matrix = _read_matrix(Words(path, _COMMENT.sub("", read_text(path))))
    bits = output("bits", shape=matrix.shape[1], n_states=2)
    return FactorGraph([Parity(bits, members=matrix, name="checks")])


def _read_matrix(words: Words) -> "scipy.sparse.csr_array[np.uint8]":
    import scipy.sparse  # here: the command line reads no code on its way to saying what it can do

    n = words.integer(0, "the number of columns")
    m = words.integer(1, "the number of rows")
    if n + m > len(words) - 4:
        raise words.error(0, f"{n:,} columns and {m:,} rows have a degree each, but the file has {len(words):,} words.")
    numbers = np.array(words.integers(0, len(words), "a number of the list"), dtype=np.int64)
    column_degree = _degrees(words, numbers, 4, n, int(numbers[2]), "column")
    row_degree = _degrees(words, numbers, 4 + n, m, int(numbers[3]), "row")
    if column_degree.sum() != row_degree.sum():
        raise words.error(
            4 + n, f"the rows have {row_degree.sum():,} ones by their degrees, and the columns {column_degree.sum():,}."
        )
    column_at, at = _lists(words, numbers, 4 + n + m, column_degree, int(numbers[2]), "column")
    row_at, at = _lists(words, numbers, at, row_degree, int(numbers[3]), "row")
    if at < len(words):
        raise words.error(at, f"the file goes on after the last list: {words.show(at)}.")
    column, row = np.repeat(np.arange(n), column_degree), np.repeat(np.arange(m), row_degree)
    by_column = _entries(words, numbers, column_at, column, m, "column", "row")
    by_row = _entries(words, numbers, row_at, row, n, "row", "column")
    _check_lists_agree(words, column_at, by_column * n + column, row * n + by_row, n, "column")
    _check_lists_agree(words, row_at, row * n + by_row, by_column * n + column, n, "row")
    ones = np.ones(len(by_row), dtype=np.uint8)
    start = np.concatenate([[0], np.cumsum(row_degree)])
    matrix = scipy.sparse.csr_array((ones, by_row, start), shape=(m, n))
    matrix.sort_indices()
    return matrix


def _degrees(words: Words, numbers: I64, start: int, count: int, limit: int, what: str) -> I64:
    """Return the degrees of all columns or rows, none above the greatest that the file speaks of."""
    degrees = numbers[start : start + count]
    large = np.flatnonzero(degrees > limit)
    if large.size:
        first = int(large[0])
        raise words.error(
            start + first, f"{what} {first + 1} has degree {degrees[first]}, and the greatest is said to be {limit}."
        )
    return degrees


def _lists(words: Words, numbers: I64, at: int, degrees: I64, limit: int, what: str) -> tuple[I64, int]:
    """Return the places of the entries of every list, one after the other, and the place after the last list."""
    filled = (numbers == 0).tolist()
    starts = []
    for index, degree in enumerate(degrees.tolist()):
        stop = at + degree
        if stop > len(filled):
            raise words.expected(len(filled), f"an entry of {what} {index + 1}")
        if True in filled[at:stop]:
            place = filled.index(True, at)
            raise words.error(place, f"{what} {index + 1} has degree {degree}, but lists {place - at} before a 0.")
        starts.append(at)
        at = stop
        # Zeros fill a list up, and nothing else is 0: a file need not say whether it does so.
        while at < min(stop + limit - degree, len(filled)) and filled[at]:
            at += 1
    start = np.repeat(np.array(starts, dtype=np.int64), degrees)
    before = np.repeat(np.cumsum(degrees) - degrees, degrees)
    return start + np.arange(len(start)) - before, at


def _entries(words: Words, numbers: I64, places: I64, owner: I64, count: int, what: str, other: str) -> I64:
    """Return the entries of all lists, counted from 0: none out of range, none twice in a list."""
    entries = numbers[places] - 1
    large = np.flatnonzero(entries >= count)
    if large.size:
        first = int(large[0])
        raise words.error(
            int(places[first]),
            f"{what} {owner[first] + 1} lists {other} {entries[first] + 1}, but there are {count} (1-{count}).",
        )
    order = np.lexsort((entries, owner))
    twice = np.flatnonzero((np.diff(entries[order]) == 0) & (np.diff(owner[order]) == 0))
    if twice.size:
        first = int(order[twice[0] + 1])
        raise words.error(int(places[first]), f"{what} {owner[first] + 1} lists {other} {entries[first] + 1} twice.")
    return entries


def _check_lists_agree(words: Words, places: I64, ones: I64, others: I64, n: int, what: str) -> None:
    """Refuse a one, numbered row * n + column, that only one of the two sets of lists has."""
    lone = np.flatnonzero(~np.isin(ones, others))
    if lone.size:
        first = int(lone[0])
        row, column = (number + 1 for number in divmod(int(ones[first]), n))
        if what == "column":
            message = f"column {column} lists row {row}, but row {row} does not list column {column}."
        else:
            message = f"row {row} lists column {column}, but column {column} does not list row {row}."
        raise words.error(int(places[first]), message)


def write(graph: FactorGraph, path: PathLike, *, parameters: Mapping[str, npt.ArrayLike] | None = None) -> None:
    """Write a graph of parity checks, filled up with zeros: cells are columns in the order of `graph.variables`.

    A variable that stands twice in a check cancels.

    Raises
    ------
    FormatError : a factor that is not a Parity, or a variable of other than two states.
    """
    import scipy.sparse

    if (graph.cell_states != 2).any():
        raise FormatError(f"{path}: an alist file is about bits, and this graph has variables of other than 2 states.")
    rows, columns, m = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)], 0
    for declaration, name in zip(graph.factors, map(str, graph.keys), strict=True):
        if declaration.kind != Parity.kind:
            raise FormatError(
                f'{path}: an alist file holds parity checks alone, and factor "{name}" is a {declaration.kind}. '
                "Write the library's own format (.fgz)."
            )
        row, column = _ones(declaration, graph)
        rows.append(row + m)
        columns.append(column)
        m += declaration.size
    row, column = np.concatenate(rows), np.concatenate(columns)
    matrix = scipy.sparse.coo_array((np.ones(len(row), np.int64), (row, column)), shape=(m, graph.n_cells)).tocsr()
    matrix.data %= 2
    matrix.eliminate_zeros()
    transposed = matrix.T.tocsr()
    by_column, by_row = np.diff(transposed.indptr), np.diff(matrix.indptr)
    text = [f"{graph.n_cells} {m}", f"{by_column.max(initial=0)} {by_row.max(initial=0)}"]
    text += [" ".join(map(str, degrees.tolist())) for degrees in (by_column, by_row)]
    for half, degrees in ((transposed, by_column), (matrix, by_row)):
        table = np.zeros((len(degrees), int(degrees.max(initial=0))), dtype=np.int64)
        table[np.arange(table.shape[1]) < degrees[:, None]] = half.indices + 1
        text += [" ".join(map(str, entries)) for entries in table.tolist()]
    write_bytes(path, "\n".join([*text, ""]).encode())


def _ones(declaration: Factor, graph: FactorGraph) -> tuple[I64, I64]:
    """Return the factor and the cell of every slot of a declaration."""
    scope = declaration.scope
    if scope.ragged:
        start, cells = scope.ragged_cells(graph.cell_offset)
        return np.repeat(np.arange(scope.size), np.diff(start)), cells
    columns = scope.columns(graph.cell_offset)
    return np.broadcast_to(np.arange(scope.size), columns.shape).reshape(-1), columns.reshape(-1)
