"""UAI evidence files: which cells of a graph are known, by number.

    m v s v s ...            m pairs of variable and state
    1                        the same, after a line that says "one sample"
    m v s v s ...
    0  or an empty file      nothing is known

Variable v is the v-th cell in the order of `graph.variables`, C order within each; s is the index of a state.
"""

import warnings
from typing import Any

import numpy as np

from factorgraph_ebm.formats.text import I64, PathLike, Words, read_text
from factorgraph_ebm.graph import FactorGraph, Variable


def read_evidence(path: PathLike, graph: FactorGraph) -> dict[str, Any]:
    """Read a UAI evidence file as the `given` of a verb.

    Returns
    -------
    dict : variable name -> what is known: a state (an index, or a label where the variable has states) for a
        variable of shape (); otherwise an array of its shape, masked where nothing is known.
        Variables of which nothing is known are left out.

    Raises
    ------
    FormatError : names the file, the line and the word; also a variable or state that the graph does not have.
    OSError : the file cannot be read.

    Warns
    -----
    UserWarning : a line after the count 0 is ignored.

    Examples
    --------
    >>> import os, tempfile
    >>> from factorgraph_ebm.formats import uai
    >>> folder = tempfile.mkdtemp()
    >>> for name, text in [("m.uai", "MARKOV 3 2 2 2 1 1 0 2 1 1"), ("m.uai.evid", "1 2 1")]:
    ...     with open(os.path.join(folder, name), "w") as file:
    ...         _ = file.write(text)
    >>> read_evidence(os.path.join(folder, "m.uai.evid"), uai.read(os.path.join(folder, "m.uai")))["x"].tolist()
    [None, None, 1]
    """
    cell_states = graph.cell_states
    known = np.full(graph.n_cells, -1, dtype=np.intp)
    words = Words(path, read_text(path))
    start = _first_pair(words)
    pairs = words.integers(start, len(words), "a variable or its state")
    for place, (cell, state) in enumerate(zip(pairs[::2], pairs[1::2], strict=True)):
        at = start + 2 * place
        if cell >= graph.n_cells:
            raise words.error(at, f"variable {cell} is given, but the model has {graph.n_cells}.")
        if state >= cell_states[cell]:
            raise words.error(
                at + 1,
                f"variable {cell} was given state {state}, but has {cell_states[cell]} states "
                f"(0-{cell_states[cell] - 1}).",
            )
        if known[cell] not in (-1, state):
            raise words.error(at, f"variable {cell} is given twice, as {known[cell]} and as {state}.")
        known[cell] = state
    given = {}
    for name, offset in graph.cell_offset.items():
        variable = graph.variables[name]
        states = known[offset : offset + variable.size].reshape(variable.shape)
        if (states >= 0).any():
            given[name] = _spoken(variable, states)
    return given


def _first_pair(words: Words) -> int:
    """Return the place of the first pair, having checked that the number of words fits a form."""
    if not len(words):
        return 0
    count = words.integer(0, "the number of given variables")
    if len(words) == 1 + 2 * count:
        return 1
    if count == 1 and len(words) > 1 and len(words) == 2 + 2 * words.integer(1, "a number of given variables"):
        return 2
    lines = [line for line in words.text.splitlines() if line.strip()]
    if count == 0 and len(lines) == 2 and len(lines[0].split()) == 1:
        warnings.warn(
            f'{words.path}, line {words.line(1)}: "{lines[1].strip()}" is ignored, '
            "because the line before says that 0 variables are given.",
            UserWarning,
            stacklevel=3,
        )
        return len(words)
    raise words.error(
        0, f"{count} given variables need {2 * count} numbers after the count; the file has {len(words) - 1}."
    )


def _spoken(variable: Variable, states: I64) -> Any:
    if not variable.shape:
        return int(states) if variable.labels is None else variable.labels.states[int(states)]
    known = np.maximum(states, 0)
    return np.ma.masked_array(known if variable.labels is None else variable.labels.array[known], mask=states < 0)
