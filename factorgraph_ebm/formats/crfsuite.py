r"""CRFsuite's text data: a line for each token, its label and then its features, a blank line after each sequence.

    B-NP <TAB> word=the <TAB> length:3 <TAB> near\:tag=NN

A feature without a number counts 1; a colon in a name is written \: and a backslash \\ . Features that stand twice in
a line are added. Every blank line ends a sequence, so two of them hold an empty one. There are no comments. Source:
N. Okazaki, "CRFsuite manual", data format (version 0.12).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from factorgraph_ebm.errors import EvidenceError, FormatError
from factorgraph_ebm.formats.text import PathLike, read_text, write_bytes
from factorgraph_ebm.formats.token_features import flat_token

Token = dict[str, float]

_ESCAPED = re.compile(r"\\([\\:])")
_COLON = re.compile(r"(?<!\\)((?:\\\\)*):")
_BREAKS = re.compile(r"[\t\n\r]")


def read_crfsuite(path: PathLike) -> tuple[list[list[Token]], list[list[str]]]:
    r"""Read sequences and their labels (gzip by content).

    Returns
    -------
    sequences of tokens, each a dict of feature -> number, and the label of each token of each sequence

    Raises
    ------
    FormatError : names the file, the line and the field.
    OSError : the file cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "two.crfsuite")
    >>> with open(path, "w") as file:
    ...     _ = file.write("DET\tword=a\tlength:1\nNOUN\tword\\:b\n\nNOUN\n")
    >>> X, y = read_crfsuite(path)
    >>> X
    [[{'word=a': 1.0, 'length': 1.0}, {'word:b': 1.0}], [{}]]
    >>> y
    [['DET', 'NOUN'], ['NOUN']]
    """
    X: list[list[Token]] = []
    y: list[list[str]] = []
    tokens: list[Token] = []
    labels: list[str] = []
    known = _Features()
    lines = read_text(path).split("\n")
    if not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, 1):
        line = line.removesuffix("\r")
        if not line:
            X.append(tokens)
            y.append(labels)
            tokens, labels = [], []
            continue
        label, *fields = line.split("\t")
        labels.append(_label(label, path, number))
        try:
            features = [known[field] for field in fields if field]  # none between two tabs
        except ValueError:
            raise _no_feature(fields, path, number) from None
        token = dict(features)
        if len(token) < len(features):
            token = dict.fromkeys(token, 0.0)
            for name, value in features:
                token[name] += value
        tokens.append(token)
    if tokens:
        X.append(tokens)
        y.append(labels)
    return X, y


def write_crfsuite(path: PathLike, X: Iterable[Iterable[Any]], y: Iterable[Sequence[str]]) -> None:
    r"""Write sequences and their labels; the file appears whole or not at all, packed where its name ends in .gz.

    Parameters
    ----------
    X : sequences of tokens, that are dicts of features or lists of names, as `FeatureTable` takes them
    y : the label of each token of each sequence

    Raises
    ------
    EvidenceError : a value that is no feature, or sequences and labels that differ in number.
    FormatError : a name or label that the format cannot hold: an empty one, or one with a tab or the end of a line.
    OSError : the file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "one.crfsuite")
    >>> write_crfsuite(path, [[{"word": "the", "length": 3}]], [["DET"]])
    >>> path.read_text()
    'DET\tword\\:the\tlength:3.0\n\n'
    """
    sequences, labellings = [list(sequence) for sequence in X], [list(labels) for labels in y]
    if len(sequences) != len(labellings):
        raise EvidenceError(f"there are {len(sequences)} sequences, and labels of {len(labellings)}.")
    lines: list[str] = []
    for each, (tokens, labels) in enumerate(zip(sequences, labellings)):
        if len(tokens) != len(labels):
            raise EvidenceError(f"sequence {each} has {len(tokens)} tokens, and {len(labels)} labels.")
        for place, (token, label) in enumerate(zip(tokens, labels)):
            where = f"sequence {each}, token {place}"
            if not isinstance(label, str) or label.startswith("@"):
                raise FormatError(f"{path}: {where}: {label!r} is no label. A label is a string that begins without @.")
            fields = [_written(label, "label", where, path)]
            for name, value in flat_token(token, (each, place)):
                field = _written(name, "feature", where, path)
                fields.append(field if value == 1.0 else f"{field}:{value!r}")
            lines.append("\t".join(fields))
        lines.append("")
    write_bytes(path, "".join(f"{line}\n" for line in lines).encode())


def _label(field: str, path: PathLike, number: int) -> str:
    if not field:
        raise FormatError(f"{path}, line {number}: the line begins with a tab where a label should come.")
    if field.startswith("@"):
        raise FormatError(
            f'{path}, line {number}: "{field}" is a declaration: weights of sequences are not read. Take the line out.'
        )
    return _ESCAPED.sub(r"\1", field)


class _Features(dict[str, tuple[str, float]]):
    """Name and number of each field, read where it first stands: most stand many times."""

    def __missing__(self, field: str) -> tuple[str, float]:
        parts = _COLON.split(field)  # name, backslashes before the colon, the rest
        name = _ESCAPED.sub(r"\1", "".join(parts[:2]))
        value = float(parts[2]) if len(parts) > 1 and parts[2:] != [""] else 1.0
        if len(parts) > 3 or not name or not math.isfinite(value):
            raise ValueError(field)
        found = self[field] = name, value
        return found


def _no_feature(fields: list[str], path: PathLike, number: int) -> FormatError:
    """The error of a line, one of whose fields is no feature."""
    known = _Features()
    for field in filter(None, fields):
        try:
            known[field]
        except ValueError:
            break
    return FormatError(
        f'{path}, line {number}: "{field}" is not a feature, that is a name, or a name, a colon and a finite '
        r"number. A colon that is part of the name is written \: ."
    )


def _written(name: str, what: str, where: str, path: PathLike) -> str:
    if not name or _BREAKS.search(name):
        raise FormatError(
            f"{path}: {where}: {what} {name!r} cannot be written: it must hold something, and no tab or line's end."
        )
    try:
        name.encode()
    except UnicodeEncodeError:
        raise FormatError(f"{path}: {where}: {what} {name!r} cannot be written in UTF-8.") from None
    return name.replace("\\", "\\\\").replace(":", "\\:")
