"""CoNLL-U, of Universal Dependencies: ten columns parted by tabs, comments before a sentence, a blank line after it.

    # text = vámonos al mar
    1-2  vámonos  _  ...        a token of the text that is several words
    1    vamos    ir ...        words have numbers 1, 2, ...
    2    nos      ...
    2.1  ...                    a node that is not in the text

Everything is read and written back; `Sentence.words` are the words alone, which is what has tags. A cell that is "_" is
not specified, or is an underscore itself (the format does not tell them apart), and stays "_". Source: Universal
Dependencies, "CoNLL-U format".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from factorgraph_ebm.errors import FormatError, did_you_mean
from factorgraph_ebm.formats.text import PathLike, read_text, write_bytes

COLUMNS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")

Row = tuple[str, ...]

_NUMBER = re.compile(r"(0|[1-9][0-9]*)(?:([-.])([1-9][0-9]*))?")


class Sentence(NamedTuple):
    """A sentence as it stands in the file."""

    comments: list[str]
    "lines that begin with #"
    rows: list[Row]
    "of ten cells: words, tokens that are several words, and empty nodes"

    def words(self, *columns: str) -> list[Row]:
        """The words alone, and of them these columns, by name; all where none is named.

        Raises
        ------
        FormatError : no such column.

        Examples
        --------
        >>> row = ("1", "in", "in", "ADP", *"_" * 6)
        >>> Sentence([], [("1-2", "into", *"_" * 8), row]).words("FORM", "UPOS")
        [('in', 'ADP')]
        """
        for name in columns:
            if name not in COLUMNS:
                raise FormatError(f'CoNLL-U has no column "{name}".{did_you_mean(name, COLUMNS)}')
        places = [COLUMNS.index(name) for name in columns or COLUMNS]
        return [tuple(row[place] for place in places) for row in self.rows if row[0].isdecimal()]

    def with_column(self, column: str, cells: Iterable[str]) -> Sentence:
        """The same sentence with other cells in a column of its words.

        Raises
        ------
        FormatError : no such column, or not a cell for each word.

        Examples
        --------
        >>> Sentence([], [("1", *"_" * 9)]).with_column("UPOS", ["X"]).words("UPOS")
        [('X',)]
        """
        if column not in COLUMNS:
            raise FormatError(f'CoNLL-U has no column "{column}".{did_you_mean(column, COLUMNS)}')
        place, new = COLUMNS.index(column), list(cells)
        words = [at for at, row in enumerate(self.rows) if row[0].isdecimal()]
        if len(new) != len(words):
            raise FormatError(f"the sentence has {len(words)} words, and {len(new)} cells were given.")
        rows = list(self.rows)
        for at, cell in zip(words, new):
            rows[at] = (*rows[at][:place], cell, *rows[at][place + 1 :])
        return Sentence(self.comments, rows)


def read_conllu(path: PathLike) -> list[Sentence]:
    r"""Read sentences (gzip by content).

    Raises
    ------
    FormatError : a line that is not of the format: names the file and the line.
    OSError : the file cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "one.conllu")
    >>> with open(path, "w") as file:
    ...     _ = file.write("# text = Go\n1\tGo\tgo\tVERB\t_\t_\t0\troot\t_\t_\n\n")
    >>> read_conllu(path)[0].words("FORM", "UPOS")
    [('Go', 'VERB')]
    """
    sentences: list[Sentence] = []
    sentence = Sentence([], [])
    order = _Order()
    where = f"{path}, line 1"
    for number, line in enumerate(read_text(path).split("\n"), 1):
        line = line.removesuffix("\r")
        if not line.strip():
            if sentence.rows:
                order.end(where)
                sentences.append(sentence)
                sentence, order = Sentence([], []), _Order()
            continue
        where = f"{path}, line {number}"
        if line.startswith("#"):
            if sentence.rows:
                raise FormatError(f"{where}: a comment inside a sentence. Comments come before its first word.")
            sentence.comments.append(line)
            continue
        row = tuple(line.split("\t"))
        _check_row(row, where)
        order.take(row[0], where)
        sentence.rows.append(row)
    if sentence.rows:
        order.end(where)
        sentences.append(sentence)
    elif sentence.comments:
        raise FormatError(f"{where}: the file ends after comments, where a sentence should come.")
    return sentences


def write_conllu(path: PathLike, sentences: Iterable[Sentence]) -> None:
    """Write sentences; the file appears whole or not at all, packed where its name ends in .gz.

    Raises
    ------
    FormatError : rows that are not of the format.
    OSError : the file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "one.conllu")
    >>> write_conllu(path, [Sentence(["# text = Go"], [("1", "Go", *"_" * 8)])])
    >>> read_conllu(path)[0].comments
    ['# text = Go']
    """
    lines: list[str] = []
    for each, sentence in enumerate(sentences):
        order = _Order()
        for comment in sentence.comments:
            if not comment.startswith("#") or "\n" in comment or "\r" in comment:
                raise FormatError(f"{path}: sentence {each}: {comment!r} is not a comment: a line that begins with #.")
        for place, row in enumerate(sentence.rows):
            where = f"{path}: sentence {each}, row {place}"
            _check_row(row, where)
            order.take(row[0], where)
        order.end(f"{path}: sentence {each}")
        if not sentence.rows:
            raise FormatError(f"{path}: sentence {each} has no words, and CoNLL-U cannot hold it. Leave it out.")
        lines += [*sentence.comments, *map("\t".join, sentence.rows), ""]
    write_bytes(path, "".join(f"{line}\n" for line in lines).encode())


class _Order:
    """The numbers of the rows of a sentence: words 1, 2, ..., ranges before their words, empty nodes after theirs."""

    def __init__(self) -> None:
        self.word = self.empty = self.covered = 0

    def take(self, name: str, where: str) -> None:
        found = _NUMBER.fullmatch(name)
        if found is None:
            raise FormatError(f'{where}: "{name}" is not the number of a word: 1, or 1-2, or 1.1.')
        number, kind, last = int(found[1]), found[2], int(found[3] or 0)
        if kind == ".":
            right = number == self.word and last == self.empty + 1
            self.empty += 1
        elif kind == "-":
            right = self.covered < number == self.word + 1 < last
            self.covered = last
        else:
            right = number == self.word + 1
            self.word, self.empty = number, 0
        if not right:
            raise FormatError(
                f'{where}: "{name}" is out of order. Words are numbered 1, 2, ...; '
                "1-2 stands before word 1, and 1.1 after it."
            )

    def end(self, where: str) -> None:
        if self.covered > self.word:
            raise FormatError(f"{where}: a token ends at word {self.covered}, and the sentence at word {self.word}.")


def _check_row(row: Row, where: str) -> None:
    if len(row) != len(COLUMNS):
        raise FormatError(f"{where}: {len(row)} columns, parted by tabs, where CoNLL-U has {len(COLUMNS)}.")
    for name, cell in zip(COLUMNS, row):
        if not cell or any(letter in cell for letter in "\t\n\r"):
            raise FormatError(
                f'{where}: column {name} is {cell!r}. A cell holds something: "_" where nothing is known.'
            )
