"""Files of sentences with tags, whatever their format: what a tagger takes, and how its answers are written.

.conllu     CoNLL-U         words by the columns FORM, ...;  tags in UPOS
.crfsuite   CRFsuite        features;                        labels
all else    CoNLL columns   rows;                            tags in the last column
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

import factorgraph_ebm as fg
from factorgraph_ebm.formats.conll import read_conll, write_conll
from factorgraph_ebm.formats.conllu import Sentence, read_conllu, write_conllu
from factorgraph_ebm.formats.crfsuite import read_crfsuite

FORMATS = ("conll", "conllu", "crfsuite")

Tags = Sequence[Sequence[str | None]]


class Tagged(NamedTuple):
    """The sequences of a file."""

    path: str
    kind: str
    "the format"
    X: list[Any]
    "features of tokens, or rows of columns for a template"
    y: list[list[str | None]]
    "None where CoNLL-U has no tag"
    rows: list[Any]
    "what the file holds"


def add_format(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say what a file holds."""
    parser.add_argument("--format", choices=FORMATS, help="else by the suffix: .conllu, .crfsuite; all else is conll")
    parser.add_argument(
        "--columns", metavar="C,C", help="for the template: numbers from 0 (conll; all), names (conllu; FORM)"
    )
    parser.add_argument(
        "--label", metavar="C", help="the column of the tags: a number (conll; -1), a name (conllu; UPOS)"
    )


def read_tagged(path: str, parsed: argparse.Namespace) -> Tagged:
    """Read a file by the options of `add_format`.

    Raises
    ------
    FormatError : a malformed file, or columns that are not there.
    OSError : the file cannot be read.
    """
    kind = parsed.format or _kind(path)
    columns = parsed.columns.split(",") if parsed.columns else None
    if kind == "crfsuite":
        if columns or parsed.label:
            raise fg.FormatError(f"{path}: a file of features has no columns: leave --columns and --label out.")
        tokens, labels = read_crfsuite(path)
        return Tagged(path, kind, tokens, [list(tags) for tags in labels], tokens)
    if kind == "conllu":
        sentences = read_conllu(path)
        X = [sentence.words(*(columns or ["FORM"])) for sentence in sentences]
        cells = [sentence.words(parsed.label or "UPOS") for sentence in sentences]
        return Tagged(path, kind, X, [[None if tag == "_" else tag for (tag,) in each] for each in cells], sentences)
    rows = read_conll(path)
    label = _number(parsed.label or "-1", "--label")
    width = len(rows[0][0]) if rows else 0
    for column in (label, *(_number(column, "--columns") for column in columns or ())):
        if rows and not -width <= column < width:
            raise fg.FormatError(f"{path}: there are {width} columns, and none is {column}.")
    X = [each if columns is None else [tuple(row[int(c)] for c in columns) for row in each] for each in rows]
    return Tagged(path, kind, X, [[row[label] for row in each] for each in rows], rows)


def write_answers(file: Tagged, tags: Tags, parsed: argparse.Namespace) -> None:
    """Write the tags that were said, to --output or standard output: conll rows with one more column, the words of
    CoNLL-U with theirs, and for features rows of the label that was there and the one said."""
    if file.kind == "conllu":
        column = parsed.label or "UPOS"
        sentences = [_with_tags(sentence, column, each) for sentence, each in zip(file.rows, tags)]
        if parsed.output:
            write_conllu(parsed.output, sentences)
        for sentence in [] if parsed.output else sentences:
            print("\n".join([*sentence.comments, *map("\t".join, sentence.rows), ""]))
        return
    before = file.rows if file.kind == "conll" else [[(tag or "_",) for tag in each] for each in file.y]
    rows = [[(*row, tag or "_") for row, tag in zip(*pair)] for pair in zip(before, tags)]
    separator = "\t" if any(" " in cell or not cell for each in rows for row in each for cell in row) else " "
    if parsed.output:
        write_conll(parsed.output, filter(None, rows), separator=separator)
    for each in [] if parsed.output else rows:
        print("\n".join([*map(separator.join, each), ""]))


def _with_tags(sentence: Sentence, column: str, tags: Sequence[str | None]) -> Sentence:
    return sentence.with_column(column, [tag or "_" for tag in tags])


def _kind(path: str) -> str:
    suffixes = [suffix.lower() for suffix in PurePath(path).suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    found = suffixes[-1].removeprefix(".") if suffixes else ""
    return found if found in FORMATS else "conll"


def _number(text: str, option: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise fg.FormatError(f"{option} {text!r}: columns of conll files are numbers, such as 0 or -1.") from None
