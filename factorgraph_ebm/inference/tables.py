"""Factors of the engine read back as dense tables, and their messages as rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from factorgraph_ebm import arrays as a
from factorgraph_ebm.arrays import F64, I64, Compiled, Numbers
from factorgraph_ebm.compiler.union import Union
from factorgraph_ebm.factors import STRUCTURES
from factorgraph_ebm.inference.remembering import once_for


class Run(NamedTuple):
    """The fields of one run, by name; slots are (arity,)."""

    size: int
    arity: int
    scope: int
    factor: int
    shared: int
    constant: int
    states: tuple[int, ...]
    strides: tuple[int, ...]
    messages: tuple[int, ...]


def run_of(compiled: Compiled, run: int) -> Run:
    return once_for(compiled, ("run", run), lambda: _read_run(compiled, run))


def _read_run(compiled: Compiled, run: int) -> Run:
    row = compiled.run_field[compiled.run_field_start[run] : compiled.run_field_start[run + 1]]
    slots = row[a.RUN_HEADER :].reshape(-1, a.SLOT_FIELDS)
    return Run(
        int(row[a.RUN_SIZE]),
        int(row[a.RUN_ARITY]),
        int(row[a.RUN_SCOPE]),
        int(row[a.RUN_FACTOR]),
        int(row[a.RUN_SHARED]),
        int(row[a.RUN_CONSTANT]),
        tuple(slots[:, a.SLOT_STATES].tolist()),
        tuple(slots[:, a.SLOT_STRIDE].tolist()),
        tuple(slots[:, a.SLOT_MESSAGE].tolist()),
    )


def number_rows(compiled: Compiled, store: F64, kind: str, run: Run, number: I64) -> F64:
    """The numbers that the kernels read of factors whose numbers begin at `number`, (n,) or (n, row size)."""
    size = STRUCTURES[kind].row_size(run.states, compiled.constants[run.constant :])
    rows: F64 = store[number] if size == 1 else store[number[:, None] + np.arange(size)]
    return rows


def scratch_size(compiled: Compiled, kind: str, run: int) -> int:
    """Working space that the kernels of a run need for each factor of a block, in elements."""
    fields = run_of(compiled, run)
    return STRUCTURES[kind].scratch_size(fields.states, compiled.constants[fields.constant :])


def scope_of(compiled: Compiled, run: Run) -> I64:
    """Engine variables of the factors of a run, (arity, size)."""
    scope = compiled.scope[run.scope : run.scope + run.arity * run.size]
    return scope.reshape(run.arity, run.size).astype(np.int64)


def find_runs(compiled: Compiled, position: I64) -> list[tuple[int, I64, I64]]:
    """For factor numbers (n,): each run among them, which of them lie in it, and their places within the run."""
    first = a.run_fields(compiled, a.RUN_FACTOR)
    # Empty runs share their first factor with the next run: the last of equal ones owns it.
    number = np.searchsorted(first, position, side="right") - 1
    found = []
    for run in np.unique(number).tolist():
        chosen = np.flatnonzero(number == run)
        found.append((run, chosen, position[chosen] - first[run]))
    return found


def run_tables(union: Union, numbers: Numbers, run: int, rows: I64 | None = None) -> F64:
    """Energies of the factors of a run, (n, *states), for all of them or for `rows`; read-only where shared."""
    compiled = union.compiled
    fields = run_of(compiled, run)
    n = fields.size if rows is None else len(rows)
    if fields.shared >= 0:
        number = np.array([fields.shared])
    else:
        own = compiled.factor_number[fields.factor : fields.factor + fields.size].astype(np.int64)
        number = own if rows is None else own[rows]
    kind = union.layout.kinds[run]
    if kind == "Table":
        place = np.zeros((1,) * len(fields.states), np.int64)
        for s, (k, stride) in enumerate(zip(fields.states, fields.strides)):
            place = place + (np.arange(k) * stride).reshape((1,) * s + (k,) + (1,) * (len(fields.states) - s - 1))
        table = numbers.store[number.reshape((-1,) + (1,) * len(fields.states)) + place]
    else:
        constants = compiled.constants[fields.constant :]
        rows_of_numbers = number_rows(compiled, numbers.store, kind, fields, number)
        table = STRUCTURES[kind].dense_tables(rows_of_numbers, fields.states, constants)
    return np.broadcast_to(table, (n, *fields.states))


def message_rows(compiled: Compiled, messages: F64, run: int, slot: int, rows: I64) -> F64:
    """Messages of one slot of some factors of a run, (n, states of the slot)."""
    fields = run_of(compiled, run)
    k, start = fields.states[slot], fields.messages[slot]
    taken: F64 = messages[start : start + fields.size * k].reshape(fields.size, k)[rows]
    return taken


def add_messages(table: F64, incoming: list[F64], first_axis: int = 1) -> F64:
    """`table` (n, *states) plus the message (n, K) of each slot, along its axis."""
    total = table
    slots = table.ndim - first_axis
    for s, rows in enumerate(incoming):
        shape = [rows.shape[0]] + [1] * (first_axis - 1) + [1] * slots
        shape[first_axis + s] = rows.shape[1]
        total = total + rows.reshape(shape)
    return total
