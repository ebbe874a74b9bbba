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

from factorgraph_ebm.formats.tables import cells_and_tables, check_sizes, graph_of_tables
from factorgraph_ebm.formats.text import (
    I64,
    PathLike,
    Words,
    bytes_in_words,
    probability_words,
    ranges,
    read_text,
    write_bytes,
)
from factorgraph_ebm.graph import FactorGraph


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
    n_states, flat, lengths, places, at = _read_preamble(words)
    stops = np.cumsum(lengths).tolist()
    cells = flat.tolist()
    scopes = [cells[stop - length : stop] for stop, length in zip(stops, lengths.tolist(), strict=True)]
    sizes = check_sizes(words, np.array(n_states, dtype=np.int64), flat, lengths, places)
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


def _read_preamble(words: Words) -> tuple[list[int], I64, I64, list[int], int]:
    """Return the states, the scopes one after another, their lengths, their places, and the place of the tables."""
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
    lengths, places, last = [], [], len(words)
    for factor in range(m):
        word = words.words[at] if at < last else ""
        # Checked in full only where it is not as it should be: files have many factors.
        arity = int(word) if word.isdecimal() and len(word) < 9 else words.integer(at, f"the arity of factor {factor}")
        if arity > last - at - 1:
            raise words.error(at, f"factor {factor} says {arity:,} variables, more than the file has words.")
        lengths.append(arity)
        places.append(at)
        at += 1 + arity
    arities = np.array(lengths, dtype=np.int64)
    cell_at = ranges(np.array(places, dtype=np.int64) + 1, arities)
    cells = words.integers_at(cell_at, "a variable of a scope")
    large = np.flatnonzero(cells >= n)
    if large.size:
        first = int(large[0])
        factor = int(np.searchsorted(np.cumsum(arities), first, side="right"))
        raise words.error(
            int(cell_at[first]), f"factor {factor} names variable {cells[first]}, but there are {n} (0-{n - 1})."
        )
    return n_states, cells, arities, places, at


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
    scopes, tables = [], []
    for cells, energies in cells_and_tables(path, graph, parameters):
        scopes.append(" ".join(map(str, [len(cells), *cells])))
        tables.append(energies.reshape(-1))
    text = ["MARKOV", str(graph.n_cells), " ".join(map(str, graph.cell_states.tolist())), str(len(tables)), *scopes]
    numbers = probability_words(np.concatenate([*tables, np.zeros(0)]))
    low = 0
    for table in tables:
        text += ["", str(table.size), " ".join(numbers[low : low + table.size])]
        low += table.size
    write_bytes(path, "\n".join([*text, ""]).encode())
