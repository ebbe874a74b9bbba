"""Columns as in the CoNLL shared tasks and CRF++: a line for each token, a blank line between sentences.

    Confidence NN B-NP
    in IN B-PP

Columns are parted by a tab, where the first line has one, or else by any number of spaces; every line has as many. More
blank lines than one are one. Lines whose first column is -DOCSTART-, of CoNLL-2003, are left out. There are no
comments: # is a token. Source: Tjong Kim Sang and Buchholz, "Introduction to the CoNLL-2000 shared task", 2000.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from factorgraph_ebm.errors import FormatError
from factorgraph_ebm.formats.text import PathLike, read_text, write_bytes

Row = tuple[str, ...]

DOCUMENT = "-DOCSTART-"


def read_conll(
    path: PathLike, columns: Sequence[int] | None = None, *, separator: str | None = None
) -> list[list[Row]]:
    r"""Read sentences (gzip by content).

    Parameters
    ----------
    columns : those that are kept, in this order, counted from 0, or with -1 from the last; None keeps all
    separator : "\t", or " " for any number of spaces and tabs; None: a tab where the first line has one

    Returns
    -------
    sentences, each a list of rows, each a tuple of strings

    Raises
    ------
    FormatError : a line with another number of columns than the first, or a column that is not there: names the line.
    OSError : the file cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "two.conll")
    >>> with open(path, "w") as file:
    ...     _ = file.write("the DT B-NP\ncat NN I-NP\n\nit PRP B-NP\n")
    >>> read_conll(path, columns=[0, -1])
    [[('the', 'B-NP'), ('cat', 'I-NP')], [('it', 'B-NP')]]
    """
    if separator not in (None, " ", "\t"):
        raise FormatError(f'{path}: separator {separator!r} is none: write "\\t", " " or None.')
    sentences: list[list[Row]] = []
    rows: list[Row] = []
    width, by_tab, first = 0, separator == "\t", 0
    for number, line in enumerate(read_text(path).split("\n"), 1):
        line = line.removesuffix("\r")
        if not line.strip(" \t"):
            if rows:
                sentences.append(rows)
                rows = []
            continue
        if not width and separator is None:
            by_tab = "\t" in line
        row = tuple(line.split("\t") if by_tab else filter(None, line.replace("\t", " ").split(" ")))
        if row[0] == DOCUMENT:
            continue
        if not width:
            width, first = len(row), number
            for column in columns or ():
                if not -width <= column < width:
                    raise FormatError(f"{path}, line {number}: there are {width} columns, and none is {column}.")
        if len(row) != width:
            raise FormatError(f"{path}, line {number}: {len(row)} columns, where line {first} has {width}.")
        rows.append(row if columns is None else tuple(row[column] for column in columns))
    if rows:
        sentences.append(rows)
    return sentences


def write_conll(path: PathLike, sentences: Iterable[Iterable[Sequence[str]]], *, separator: str = " ") -> None:
    r"""Write sentences; the file appears whole or not at all, packed where its name ends in .gz.

    Parameters
    ----------
    sentences : lists of rows; each row a sequence of as many strings
    separator : " " or "\t"

    Raises
    ------
    FormatError : a cell that the format cannot hold, rows of different lengths, a sentence without rows.
    OSError : the file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "one.conll")
    >>> write_conll(path, [[("the", "DT"), ("cat", "NN")]])
    >>> path.read_text()
    'the DT\ncat NN\n\n'
    """
    if separator not in (" ", "\t"):
        raise FormatError(f'{path}: separator {separator!r} is none: write "\\t" or " ".')
    lines: list[str] = []
    width = None
    for each, sentence in enumerate(sentences):
        rows = list(sentence)
        if not rows:
            raise FormatError(f"{path}: sentence {each} has no rows, and columns cannot hold it. Leave it out.")
        for place, row in enumerate(rows):
            width = width or len(row)
            if len(row) != width or not width:
                raise FormatError(
                    f"{path}: sentence {each}, row {place} has {len(row)} columns, where the first row has {width}."
                )
            lines.append(separator.join(_cells(row, separator, f"{path}: sentence {each}, row {place}")))
        lines.append("")
    write_bytes(path, "".join(f"{line}\n" for line in lines).encode())


def _cells(row: Sequence[str], separator: str, where: str) -> Sequence[str]:
    by_tab = separator == "\t"
    for cell in row:
        if not isinstance(cell, str) or any(letter in cell for letter in "\t\n\r"):
            raise FormatError(f"{where}: {cell!r} cannot be a cell, that is a string without tab or line's end.")
        if not by_tab and (not cell or " " in cell):
            raise FormatError(f'{where}: {cell!r} cannot be a cell between spaces. Write with separator="\\t".')
    if row[0] == DOCUMENT or not "".join(row).strip(" "):
        raise FormatError(f"{where}: the row {tuple(row)!r} would not be read as a token.")
    return row
