"""The UAI format: Markov and Bayesian networks as tables of probabilities.

    MARKOV | BAYES
    n                                   number of variables
    K_0 ... K_(n-1)                     states of each
    m                                   number of factors
    arity v ... v                       m times: scope; the LAST variable runs fastest
    count p ... p                       m times: table, in the order of the scopes

Source: the format page of the UAI inference competitions (2008 to 2022).
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ..graph import FactorGraph
from .tables import cells_and_tables, check_sizes, graph_of_tables
from .text import PathLike, Words, bytes_in_words, probability_words, read_text, write_bytes


def read(path: PathLike) -> FactorGraph:
    """Read a UAI model (MARKOV or BAYES; gzip by content).

    Returns
    -------
    FactorGraph : output "x" of shape (n,) and one Table, its factors in the order of the file; energies -log p.

    Raises
    ------
    FormatError : names the file, the line and the word.
    OSError : the file cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "pair.uai")
    >>> with open(path, "w") as file:
    ...     _ = file.write("MARKOV 2 2 3 1 2 0 1 6 1 1 1 1 1 0")
    >>> read(path).factors[0].table()[0]
    array([[ 0.,  0.,  0.],
           [ 0.,  0., inf]])
    """
    words = Words(path, read_text(path))
    if not words.words or words.words[0].upper() not in ("MARKOV", "BAYES"):
        raise words.expected(0, '"MARKOV" or "BAYES"')
    n_states, scopes, places, at = _read_preamble(words)
    lengths = np.fromiter(map(len, scopes), np.int64, len(scopes))
    flat = np.fromiter((cell for scope in scopes for cell in scope), np.int64, int(lengths.sum()))
    states = np.array(n_states, dtype=np.int64)
    sizes = check_sizes(words, states, flat, lengths, places)
    # A table is its count and its entries, so every count's place is known before any is read.
    counts = at + np.concatenate([[0], np.cumsum(sizes + 1)])
    if counts[-1] > len(words):
        raise _missing_entries(words, counts, sizes)
    for factor, place in enumerate(counts[:-1].tolist()):
        if words.words[place] != str(sizes[factor]):
            found = words.integer(place, f"the number of entries of table {factor}")
            if found != sizes[factor]:
                shape = " x ".join(str(n_states[cell]) for cell in scopes[factor]) or "1"
                raise words.error(
                    place, f"table {factor} says {found} entries, but its scope has {shape} = {sizes[factor]}."
                )
    if counts[-1] < len(words):
        raise words.error(int(counts[-1]), f"the file goes on after the last table: {words.show(int(counts[-1]))}.")
    entry = np.ones(int(counts[-1]) - at, dtype=np.bool_)
    entry[counts[:-1] - at] = False
    entries = (np.flatnonzero(entry) + at).tolist()
    energies = words.energies([words.words[place] for place in entries], entries, "a probability")
    ends = np.cumsum(sizes).tolist()
    tables = [
        energies[end - size : end].reshape([n_states[cell] for cell in scope])
        for scope, size, end in zip(scopes, sizes.tolist(), ends, strict=True)
    ]
    return graph_of_tables(n_states, scopes, tables)


def _read_preamble(words: Words) -> tuple[list[int], list[list[int]], list[int], int]:
    """Return the states, the scopes, the place of each scope, and the place of the first table."""
    n = words.integer(1, "the number of variables")
    if n > len(words) - 2:
        raise words.error(
            1,
            f"{n:,} variables need at least {bytes_in_words(2.0 * n)}, but the file has {len(words.text):,}.",
        )
    n_states = words.integers(2, 2 + n, "a number of states")
    for place, count in enumerate(n_states):
        if count < 1:
            raise words.expected(2 + place, f"the number of states of variable {place}, at least 1")
    at = 2 + n
    m = words.integer(at, "the number of factors")
    # Each factor has at least its arity, its count and one entry.
    if 3 * m > len(words) - at - 1:
        raise words.error(
            at, f"{m:,} factors need at least {bytes_in_words(6.0 * m)}, but the file has {len(words.text):,}."
        )
    at += 1
    scopes, places = [], []
    for factor in range(m):
        arity = words.integer(at, f"the number of variables of factor {factor}")
        if arity > len(words) - at - 1:
            raise words.error(at, f"factor {factor} says {arity:,} variables, more than the file has words.")
        scope = words.integers(at + 1, at + 1 + arity, f"a variable of factor {factor}")
        if scope and max(scope) >= n:
            place = next(place for place, cell in enumerate(scope) if cell >= n)
            raise words.error(
                at + 1 + place, f"factor {factor} names variable {scope[place]}, but there are {n} (0-{n - 1})."
            )
        scopes.append(scope)
        places.append(at)
        at += 1 + arity
    return n_states, scopes, places, at


def _missing_entries(words: Words, counts: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> Exception:
    factor = int(np.searchsorted(counts, len(words), side="left")) - 1
    # A wrong count may be what made the file too short: say that first.
    for earlier, place in enumerate(counts[: factor + 1].tolist()):
        if place < len(words) and words.words[place] != str(sizes[earlier]):
            return words.expected(place, f"the number of entries of table {earlier}, {sizes[earlier]:,}")
    return words.error(
        len(words),
        f"the file ends in table {factor}: the tables have {int(sizes.sum()):,} entries "
        f"({bytes_in_words(8.0 * int(sizes.sum()))}) in all.",
    )


def write(graph: FactorGraph, path: PathLike, *, parameters: Mapping[str, npt.ArrayLike] | None = None) -> None:
    """Write a graph as MARKOV tables of exp(-E), one for each factor, with full precision.

    Parameters
    ----------
    graph : cells are numbered in the order of `graph.variables`, C order within each
    path : packed with gzip where it ends in .gz; written under a temporary name, then renamed
    parameters : name -> array; else the initial values are written

    Raises
    ------
    FormatError : a factor that cannot be a table in a file, or an energy beyond 1e18 nats.
    ParameterError : a parameter without a value.
    """
    scopes, tables = ["MARKOV", str(graph.n_cells), " ".join(map(str, graph.cell_states.tolist()))], []
    for cells, energies in cells_and_tables(path, graph, parameters):
        scopes.append(f"{len(cells)} {' '.join(map(str, cells))}".strip())
        tables.append(f"\n{energies.size}\n{' '.join(probability_words(energies.reshape(-1)))}")
    scopes.insert(3, str(len(tables)))
    write_bytes(path, "\n".join([*scopes, *tables, ""]).encode())
