"""Templates of features, as CRF++ has them: from the columns of a sentence to names of features for each token.

    U05:%x[-1,0]/%x[0,0]     of a tag: the cells of column 0 one row up and in the row of the token itself
    B01:%x[0,1]              of a tag and the one before it
    B                        of both tags alone, which is what a tagger's transitions are

Each line makes one feature of each token: its own text with every %x[row,column] replaced by a cell. Before a sentence
the cells are _B-1, _B-2, ..., and after it _B+1, _B+2, ... Lines that begin with # are comments. A tagger always has
transitions, with a line "B" and without; features of two tags are its `pair_features="B"`, since their names begin with
B and all others with U. Source: T. Kudo, "CRF++: yet another CRF toolkit" (its template file, and that of its example
"chunking").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, compress, islice
from typing import Any, NamedTuple

from factorgraph_ebm.errors import EvidenceError, FormatError, did_you_mean
from factorgraph_ebm.formats.text import PathLike, read_text

CHUNKING = """\
U00:%x[-2,0]
U01:%x[-1,0]
U02:%x[0,0]
U03:%x[1,0]
U04:%x[2,0]
U05:%x[-1,0]/%x[0,0]
U06:%x[0,0]/%x[1,0]

U10:%x[-2,1]
U11:%x[-1,1]
U12:%x[0,1]
U13:%x[1,1]
U14:%x[2,1]
U15:%x[-2,1]/%x[-1,1]
U16:%x[-1,1]/%x[0,1]
U17:%x[0,1]/%x[1,1]
U18:%x[1,1]/%x[2,1]

U20:%x[-2,1]/%x[-1,1]/%x[0,1]
U21:%x[-1,1]/%x[0,1]/%x[1,1]
U22:%x[0,1]/%x[1,1]/%x[2,1]

B
"""
"CRF++'s own for chunking (CoNLL-2000): words in column 0, parts of speech in column 1"

WORDS = CHUNKING.split("\n\n")[0] + "\n\nB\n"
"the part of CHUNKING that reads column 0"

TEMPLATES = {"chunking": CHUNKING, "words": WORDS}

Row = Sequence[str]

_MACRO = re.compile(r"%x\[(-?[0-9]+),([0-9]+)\]")


class Line(NamedTuple):
    """A line of a template: its text with %s where a cell comes, and the rows and columns of the cells."""

    text: str
    cells: tuple[tuple[int, int], ...]


class Template(NamedTuple):
    """What features the columns of a sentence make."""

    text: str
    "as it was written"
    lines: tuple[Line, ...]
    "that make features"
    transitions: bool
    "whether there is a line B"

    @property
    def has_pairs(self) -> bool:
        """Whether some features are of two tags.

        Examples
        --------
        >>> Template.parse("B").has_pairs, Template.parse("B1:%x[0,0]").has_pairs
        (False, True)
        """
        return any(line.text.startswith("B") for line in self.lines)

    @classmethod
    def parse(cls, text: str, name: PathLike = "template") -> Template:
        """Read the text of a template.

        Parameters
        ----------
        name : what messages call it

        Raises
        ------
        FormatError : a line that is none: names it.

        Examples
        --------
        >>> Template.parse("U00:%x[0,0]\\nB").transitions
        True
        """
        lines, transitions = [], False
        for number, line in enumerate(text.split("\n"), 1):
            line = line.rstrip()
            if not line or line.startswith("#"):
                continue
            if line[0] not in "UB":
                raise FormatError(
                    f'{name}, line {number}: "{line}" begins with neither U (features of a tag) nor B (of two tags).'
                )
            if line == "B":
                transitions = True
                continue
            parts = _MACRO.split(line)
            literal = parts[::3]
            if any("%" in part for part in literal):
                raise FormatError(
                    f'{name}, line {number}: "{line}" has a % that is no %x[row,column], as in %x[-1,0] for the '
                    "cell of column 0 one row up."
                )
            lines.append(Line("%s".join(literal), tuple(zip(map(int, parts[1::3]), map(int, parts[2::3])))))
        return cls(text, tuple(lines), transitions)

    @classmethod
    def read(cls, path: PathLike) -> Template:
        """Read a template from a file, or one of TEMPLATES by its name.

        Raises
        ------
        FormatError : a line that is none: names it.
        OSError : neither a name nor a file that can be read.

        Examples
        --------
        >>> len(Template.read("chunking").lines)
        19
        """
        known = TEMPLATES.get(str(path))
        try:
            return cls.parse(read_text(path) if known is None else known, path)
        except FileNotFoundError as error:
            hint = did_you_mean(path, TEMPLATES)
            raise FileNotFoundError(
                error.errno, f"no such file, and no template of that name.{hint}", str(path)
            ) from None

    def __call__(self, sentence: Sequence[Row] | Sequence[str]) -> list[tuple[str, ...]]:
        """The features of each token of one sentence; see `features`.

        Examples
        --------
        >>> Template.parse("U1:%x[-1,0]/%x[0,1]")([("the", "DT"), ("cat", "NN")])
        [('U1:_B-1/DT',), ('U1:the/NN',)]
        """
        return self.features([sentence])[0]

    def features(self, sentences: Iterable[Sequence[Row] | Sequence[str]]) -> list[list[tuple[str, ...]]]:
        """The features of each token of each sentence, by name: what a tagger takes as X.

        Parameters
        ----------
        sentences : lists of rows, each of the cells of its columns; or of words, which are column 0

        Raises
        ------
        EvidenceError : a row without a column that the template reads, or a cell that is not a string.

        Examples
        --------
        >>> Template.read("words").features([["Hello", "world"]])[0][1][:4]
        ('U00:_B-1', 'U01:Hello', 'U02:world', 'U03:_B+1')
        """
        read = [_rows(sentence) for sentence in sentences]
        lengths = list(map(len, read))
        cells = {cell for line in self.lines for cell in line.cells}
        width = 1 + max((column for _, column in cells), default=-1)
        _check(read, width)
        reach = max((abs(row) for row, _ in cells), default=0)
        inside = list(chain.from_iterable(([0] * reach + [1] * n + [0] * reach) for n in lengths))
        flat = [_column(read, column, reach) for column in range(width)]
        shifted = {
            (row, column): list(compress(flat[column][row:] if row >= 0 else [""] * -row + flat[column], inside))
            for row, column in cells
        }
        names = [_names(line, [shifted[cell] for cell in line.cells], sum(lengths)) for line in self.lines]
        tokens = zip(*names) if names else iter([()] * sum(lengths))
        return [list(islice(tokens, n)) for n in lengths]


class _Names(dict[Any, str]):
    """Names by what their cells are: each is made once, so that equal names are one object."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __missing__(self, cells: Any) -> str:
        name: str = self.text % cells
        self[cells] = name
        return name


def _names(line: Line, cells: list[list[str]], count: int) -> Iterable[str]:
    if not cells:
        return [line.text] * count
    return map(_Names(line.text).__getitem__, cells[0] if len(cells) == 1 else zip(*cells))


def _rows(sentence: Sequence[Row] | Sequence[str]) -> list[Row]:
    if isinstance(sentence, str):
        raise EvidenceError(
            f"{sentence!r} is a string, and not a sentence, that is a list of words or of rows. Split it, or put one "
            "sentence by itself into a list: [sentence]."
        )
    return [(row,) if isinstance(row, str) else row for row in sentence]


def _column(sentences: list[list[Row]], column: int, reach: int) -> list[str]:
    """A column of all sentences, with the cells before and after each."""
    before = [f"_B-{row}" for row in range(reach, 0, -1)]
    after = [f"_B+{row}" for row in range(1, reach + 1)]
    return list(chain.from_iterable(chain(before, (row[column] for row in rows), after) for rows in sentences))


def _check(sentences: list[list[Row]], width: int) -> None:
    for each, rows in enumerate(sentences):
        for place, row in enumerate(rows):
            if not hasattr(row, "__len__") or isinstance(row, Mapping):
                raise EvidenceError(f"sentence {each}, row {place} is {row!r}, and not a word or a row of columns.")
        if rows and min(map(len, rows)) < width:
            place = next(place for place, row in enumerate(rows) if len(row) < width)
            raise EvidenceError(
                f"sentence {each}, row {place} has {len(rows[place])} columns, and the template reads "
                f"column {width - 1}, counted from 0."
            )
        for column in range(width):
            kinds = {type(row[column]) for row in rows}
            if not all(issubclass(kind, str) for kind in kinds):
                place = next(place for place, row in enumerate(rows) if not isinstance(row[column], str))
                raise EvidenceError(f"sentence {each}, row {place}: cell {rows[place][column]!r} is not a string.")
