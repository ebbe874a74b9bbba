"""File formats: one module each, found by the suffix of the name (a further .gz is looked through).

    .uai   UAI competitions: MARKOV and BAYES            read, write
    .fg    libDAI                                         read, write
    .bif   Bayesian networks with names                   read
    .alist MacKay: parity-check matrices                  read, write what is Parity
    .fgz   the library's own: every structure, lossless   read, write

Sequences with tags have formats of their own, that are no graphs: `crfsuite`, `conll` and `conllu`.

To add one: a module with `read(path)` and, if it can, `write(graph, path, *, parameters)`, and a line in FORMATS.
"""

from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import NamedTuple

import numpy.typing as npt

from factorgraph_ebm.errors import FormatError
from factorgraph_ebm.formats import alist, bif, fg, native, uai
from factorgraph_ebm.formats.evidence import read_evidence
from factorgraph_ebm.formats.solution import Solution, marginal_rows, read_solution, state_indices, write_solution
from factorgraph_ebm.formats.text import PathLike
from factorgraph_ebm.graph import FactorGraph

__all__ = [
    "FORMATS",
    "Format",
    "Solution",
    "marginal_rows",
    "read",
    "read_evidence",
    "read_solution",
    "state_indices",
    "write",
    "write_solution",
]


class Format(NamedTuple):
    """What can be done with files of one suffix."""

    read: Callable[[PathLike], FactorGraph]
    write: Callable[..., None] | None = None
    lossless: bool = False
    only: str | None = None
    "the one structure that such files hold; None: any, through its table"


FORMATS: dict[str, Format] = {
    ".alist": Format(alist.read, alist.write, only="Parity"),
    ".bif": Format(bif.read),
    ".fg": Format(fg.read, fg.write),
    ".fgz": Format(native.read, native.write, lossless=True),
    ".uai": Format(uai.read, uai.write),
}


def _format(path: PathLike, known: dict[str, Format], what: str) -> Format:
    suffixes = [suffix.lower() for suffix in PurePath(path).suffixes]
    if suffixes[-1:] == [".gz"]:
        del suffixes[-1]
    found = known.get(suffixes[-1]) if suffixes else None
    if found is None:
        raise FormatError(f"{path}: {what} a name that ends in {', '.join(sorted(known))}, or one of these and .gz.")
    return found


def read(path: PathLike) -> FactorGraph:
    """Read a graph from a file; the suffix tells the format, .gz or not.

    Parameters
    ----------
    path : .uai, .fg (libDAI), .bif, .alist or .fgz (the library's own), each also with .gz

    Returns
    -------
    FactorGraph : from .uai and .fg one output array "x" of shape (n,) and one Table with members; from .bif variables
        and factors by name; from .alist output "bits" of shape (n,) and one Parity "checks", whose `members` are the
        parity-check matrix; from .fgz what was written. Energies in nats, -log p.

    Raises
    ------
    FormatError : an unknown suffix, or a malformed file: names the file, the line and the word.
    OSError : the file cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "coin.uai")
    >>> with open(path, "w") as file:
    ...     _ = file.write("MARKOV 1 2 1 1 0 2 0.5 0.5")
    >>> read(path)["x"].shape
    (1,)
    """
    return _format(path, FORMATS, "a model is read from").read(path)


def write(graph: FactorGraph, path: PathLike, *, parameters: Mapping[str, npt.ArrayLike] | None = None) -> None:
    """Write a graph to a file; the suffix tells the format. The file appears whole or not at all.

    Parameters
    ----------
    path : .fgz keeps everything; .uai and .fg hold the tables of the factors, cells numbered in the order of
        `graph.variables`; .alist holds parity checks alone; .uai.gz, .fg.gz and .alist.gz are packed
    parameters : name -> array of exact shape, bound in .uai and .fg; else initial values.
        In .fgz they become the initial values.

    Raises
    ------
    FormatError : an unknown suffix, or what the format cannot hold.
    ParameterError : a parameter without a value (.uai, .fg).
    OSError : the file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> from factorgraph_ebm.factors import Potts
    >>> from factorgraph_ebm.graph import output
    >>> y = output("y", shape=3, n_states=2)
    >>> path = os.path.join(tempfile.mkdtemp(), "chain.fgz")
    >>> write(FactorGraph([Potts([y[1:], y[:-1]], penalty=1.0)]), path)
    >>> read(path)["y"] == y
    True
    """
    writers = {suffix: each for suffix, each in FORMATS.items() if each.write}
    writer = _format(path, writers, "a model is written to").write
    assert writer is not None
    writer(graph, path, parameters=parameters)
