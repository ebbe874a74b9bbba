"""libDAI's .fg format: factors as sparse tables of probabilities over labelled variables.

    m                                   number of factors, then m blocks, separated by empty lines:
    arity
    label ... label                     need be neither contiguous nor sorted
    states ... states
    count                               number of listed entries; the others are 0
    index p                             count times; the FIRST variable of the block runs fastest

Lines that begin with # are comments. Source: libDAI, "Factor graph (.fg) file format", doc.h.
"""

import re
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

_COMMENT = re.compile(r"#[^\n]*")


def read(path: PathLike) -> FactorGraph:
    """Read a libDAI factor graph (gzip by content).

    Variables are numbered by ascending label; a label that no factor names is no variable, as in libDAI itself.

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
    >>> path = os.path.join(tempfile.mkdtemp(), "pair.fg")
    >>> with open(path, "w") as file:
    ...     _ = file.write("1  2  7 3  2 2  2  0 1.0  1 1.0")
    >>> graph = read(path)
    >>> graph.factors[0].members
    [[1, 0]]
    >>> graph.factors[0].table()[0]
    array([[ 0., inf],
           [ 0., inf]])
    """
    words = Words(path, _COMMENT.sub("", read_text(path)))
    places, arities, counts = _read_blocks(words)
    label_at = ranges(places + 1, arities)
    states_at = label_at + np.repeat(arities, arities)
    labels = words.integers_at(label_at, "a variable label")
    states = words.integers_at(states_at, "a number of states")
    if (states < 1).any():
        place = int(states_at[states < 1][0])
        raise words.expected(place, "a number of states, at least 1")
    known, cells = np.unique(labels, return_inverse=True)
    n_states = np.zeros(len(known), dtype=np.int64)
    n_states[cells] = states
    if (n_states[cells] != states).any():
        slot = int(np.flatnonzero(n_states[cells] != states)[0])
        place = int(states_at[slot])
        raise words.error(
            place, f"variable {labels[slot]} has {states[slot]} states here and {n_states[cells[slot]]} elsewhere."
        )
    sizes = check_sizes(words, n_states, cells, arities, places.tolist())
    scopes = [scope.tolist() for scope in np.split(cells, np.cumsum(arities)[:-1])] if len(places) else []
    energies = _read_entries(words, places + 2 * arities + 2, counts, sizes)
    ends = np.cumsum(sizes).tolist()
    tables = [
        energies[end - size : end].reshape([int(n_states[cell]) for cell in scope[::-1]]).T
        for scope, size, end in zip(scopes, sizes.tolist(), ends, strict=True)
    ]
    return graph_of_tables(n_states.tolist(), scopes, [np.asarray(table, order="C") for table in tables])


def _read_blocks(words: Words) -> tuple[I64, I64, I64]:
    """Return the place, the arity and the number of listed entries of every block."""
    m = words.integer(0, "the number of factors")
    if 2 * m > len(words) - 1:
        raise words.error(
            0, f"{m:,} factors need at least {bytes_in_words(4.0 * m)}, but the file has {len(words.text):,}."
        )
    at, blocks = 1, []
    for factor in range(m):
        arity = words.integer(at, f"the number of variables of factor {factor}")
        if 2 * arity > len(words) - at - 1:
            raise words.error(at, f"factor {factor} says {arity:,} variables, more than the file has words.")
        count = words.integer(at + 1 + 2 * arity, f"the number of entries of factor {factor}")
        following = at + 2 + 2 * arity + 2 * count
        if following > len(words):
            raise words.error(
                at + 1 + 2 * arity,
                f"factor {factor} says {count:,} entries ({bytes_in_words(16.0 * count)}), "
                f"but {len(words) - at - 2 - 2 * arity:,} words follow.",
            )
        blocks.append((at, arity, count))
        at = following
    if at < len(words):
        raise words.error(at, f"the file goes on after the last factor: {words.show(at)}.")
    places, arities, counts = np.array(blocks, dtype=np.int64).reshape(-1, 3).T
    return places, arities, counts


def _read_entries(words: Words, start: I64, counts: I64, sizes: I64) -> npt.NDArray[np.float64]:
    """Return the energies of all tables, one after the other; what is not listed is +inf."""
    index_at = ranges(start, 2 * counts)[::2]
    indices = words.integers_at(index_at, "the index of an entry")
    factor = np.repeat(np.arange(len(counts)), counts)
    large = np.flatnonzero(indices >= sizes[factor])
    if large.size:
        first = int(large[0])
        raise words.error(
            int(index_at[first]),
            f"factor {factor[first]} has no entry {indices[first]}: its table has {sizes[factor[first]]}.",
        )
    listed = words.energies(
        [words.words[place] for place in (index_at + 1).tolist()],
        (index_at + 1).tolist(),
        "a probability",
    )
    energies = np.full(int(sizes.sum()), np.inf)
    flat = (np.cumsum(sizes) - sizes)[factor] + indices
    energies[flat] = listed
    twice = np.flatnonzero(energies[flat] != listed)
    if twice.size:
        first = int(np.flatnonzero(flat == flat[twice[0]])[-1])
        raise words.error(
            int(index_at[first]), f"factor {factor[first]} lists entry {indices[first]} twice, with two values."
        )
    return energies


def write(graph: FactorGraph, path: PathLike, *, parameters: Mapping[str, npt.ArrayLike] | None = None) -> None:
    """Write a graph in libDAI's format: cells numbered in the order of `graph.variables`, zeros left out.

    The format knows a variable only from a factor: one that no factor touches gets a factor of ones at the end.
    Parameters and errors as in `uai.write`.
    """
    factors, touched = [], np.zeros(graph.n_cells, dtype=np.bool_)
    for cells, energies in cells_and_tables(path, graph, parameters):
        touched[cells] = True
        factors.append((cells, energies))
    for cell in np.flatnonzero(~touched).tolist():
        factors.append(([cell], np.zeros(int(graph.cell_states[cell]))))
    tables = [energies.T.reshape(-1) for _, energies in factors]
    flat = np.concatenate([*tables, np.zeros(0)])
    sizes = np.array([table.size for table in tables], dtype=np.int64)
    listed = np.flatnonzero(flat != np.inf)
    index = ranges(np.zeros(len(sizes), dtype=np.int64), sizes)[listed].tolist()
    entries = list(map("%d %s".__mod__, zip(index, probability_words(flat[listed]), strict=True)))
    ends = np.searchsorted(listed, np.cumsum(sizes)).tolist()
    text = [str(len(factors))]
    low = 0
    for (cells, energies), high in zip(factors, ends, strict=True):
        labels, states = " ".join(map(str, cells)), " ".join(map(str, energies.shape))
        text += ["", str(len(cells)), labels, states, str(high - low), *entries[low:high]]
        low = high
    write_bytes(path, "\n".join([*text, ""]).encode())
