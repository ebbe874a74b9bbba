"""Which of its numbers a factor reads in given states, and times what: found by asking its structure.

An energy is constant + coefficient * one number of the row that the engine keeps of the factor, or a constant alone.
So a structure that is asked for its energies with all numbers 0, all 1, and each the place that it has in its row,

    E(ones) - E(zeros) = coefficient,    (E(places) - E(zeros)) / coefficient = place of the number that is read

has said it, exactly, however large its table would be. What is forbidden whatever its numbers reads none.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Numbers
from factorgraph_ebm.compiler.union import Union
from factorgraph_ebm.factors import STRUCTURES
from factorgraph_ebm.graph.declaration import TableMap
from factorgraph_ebm.inference.tables import Run, run_of

LARGEST_MAP = 1 << 16
"entries of the table of a structure up to which its map is made whole"


def numbers_of(union: Union, fields: Run) -> I64:
    """Element of the store where the numbers of each factor of a run begin, (n,)."""
    if fields.shared >= 0:
        return np.full(fields.size, fields.shared)
    return union.compiled.factor_number[fields.factor : fields.factor + fields.size].astype(np.int64)


def read_numbers(union: Union, numbers: Numbers, run: int, chosen: I64, rows: I64 | None = None) -> tuple[I64, F64]:
    """For factors of a run in the `chosen` states (slots, n): the element of the store that each reads, times what.

    `rows`: (n,) which factors of the run; None: all. A coefficient is 0 where no number is read.
    """
    compiled = union.compiled
    fields = run_of(compiled, run)
    number = numbers_of(union, fields)
    number = number if rows is None else number[rows]
    if union.layout.kinds[run] == "Table":
        entry: I64 = np.array(fields.strides) @ chosen
        return number + entry, np.ones(len(number))
    structure: Any = STRUCTURES[union.layout.kinds[run]]
    constants = compiled.constants[fields.constant :]
    m = structure.row_size(fields.states, constants)
    distinct = number[:1] if fields.shared >= 0 else number
    # Where one configuration has several numbers, all but one are forbidden: they stay so.
    forbidden = np.isinf(numbers.store[distinct[:, None] + np.arange(m)])

    def energies(values: F64) -> F64:
        asked = np.broadcast_to(np.where(forbidden, np.inf, values), (len(number), m))
        found: F64 = structure.state_energies(asked[:, 0] if m == 1 else asked, chosen, fields.states, constants)
        return found

    index, coefficient = _told(energies(np.zeros(m)), energies(np.ones(m)), energies(np.arange(m, dtype=np.float64)))
    return number + np.maximum(index, 0), coefficient


def entry_map(union: Union, run: int) -> tuple[tuple[int, ...], TableMap | None] | None:
    """How the entry of a factor's table is found from its states, and which number of the row it is.

    Returns the strides of the entries by slot, and the map from entries to numbers (None: entry e is number e); None
    where there is no such map: it would be too large, or is not the same for all factors of the run, or nothing is to
    be learned, so that the row may be read in any way.
    """
    fields = run_of(union.compiled, run)
    states = fields.states
    if union.layout.kinds[run] == "Table":
        return fields.strides, None
    structure: Any = STRUCTURES[union.layout.kinds[run]]
    if math.prod(states) > LARGEST_MAP or not structure.has_numbers:
        return None
    constants = union.compiled.constants[fields.constant :]
    m = structure.row_size(states, constants)

    def entries(values: F64) -> F64:
        tables: F64 = structure.dense_tables(values if m == 1 else values[None], states, constants)
        return tables.reshape(-1)

    places = np.arange(m, dtype=np.float64)
    zero, one = entries(np.zeros(m)), entries(np.ones(m))
    index, coefficient = _told(zero, one, entries(places))
    if np.any(index != np.where(index < 0, -1, m - 1 - _told(zero, one, entries(places[::-1].copy()))[0])):
        return None
    strides = [1] * len(states)
    for s in range(len(strides) - 2, -1, -1):
        strides[s] = strides[s + 1] * states[s + 1]
    return tuple(strides), TableMap(index, coefficient, zero)


def _told(zero: F64, one: F64, places: F64) -> tuple[I64, F64]:
    """Place in its row of the number that each energy reads (-1: none), and its coefficient."""
    finite = np.isfinite(zero) & np.isfinite(one)
    coefficient = np.subtract(one, zero, out=np.zeros(zero.shape), where=finite)
    read = coefficient != 0.0
    place = np.subtract(places, zero, out=np.zeros(zero.shape), where=read)
    place = np.divide(place, coefficient, out=np.full(zero.shape, -1.0), where=read)
    return np.rint(place).astype(np.int64), coefficient
