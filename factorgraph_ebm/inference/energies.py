"""The energy of an assignment, sample by sample, from the compiled arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from factorgraph_ebm._jit import F8, NOTHING, READ_F8, READ_I8, READ_U1, READ_U4, READ_U8, kernel
from factorgraph_ebm.arrays import F64, I64, U8, Numbers
from factorgraph_ebm.compiler.union import Union
from factorgraph_ebm.factors import STRUCTURES
from factorgraph_ebm.inference.remembering import once_for
from factorgraph_ebm.inference.tables import number_rows, run_of, scope_of


def assignment_energies(union: Union, numbers: Numbers, state: I64) -> F64:
    """Energy of each sample under the states of its engine variables, (N,), +inf where something is violated."""
    compiled = union.compiled
    n_samples = len(compiled.sample_chunk)
    total = np.zeros(n_samples)
    add_unaries(compiled.variable_start, compiled.variable_sample, numbers.unary, state, total)
    tables = table_runs(union)
    add_tables(
        compiled.run_field, compiled.run_field_start, tables, compiled.factor_number, compiled.scope,
        compiled.variable_sample, numbers.store, state, total,
    )  # fmt: skip
    for run in np.flatnonzero(tables == 0).tolist() if not tables.all() else ():
        scope = scope_of(compiled, run_of(compiled, run))
        energy = run_energies(union, numbers, run, state[scope])
        total += np.bincount(compiled.variable_sample[scope[0]], energy, n_samples)
    return total


def table_runs(union: Union) -> U8:
    """1 for each run of plain tables, (R,)."""
    layout = union.layout
    return once_for(layout.compiled, "tables", lambda: np.array([k == "Table" for k in layout.kinds], np.uint8))


@kernel(NOTHING, READ_I8, READ_I8, READ_U1, READ_U8, READ_U4, READ_U4, READ_F8, READ_I8, F8)
def add_tables(field, field_start, tables, number, scope, sample, store, state, total):  # type: ignore[no-untyped-def]
    """total[sample of f] += energy of each factor f of the runs of tables."""
    for r in range(len(tables)):
        if tables[r] == 0:
            continue
        row = field[field_start[r] : field_start[r + 1]]
        n = row[0]
        for f in range(n):
            place = row[4] if row[4] >= 0 else np.int64(number[row[3] + f])
            for s in range(row[1]):
                place += row[9 + 4 * s] * state[scope[row[2] + s * n + f]]
            total[sample[scope[row[2] + f]]] += store[place if place >= 0 else place + len(store)]


@kernel(NOTHING, READ_U8, READ_U4, READ_F8, READ_I8, F8)
def add_unaries(start, sample, unary, state, total):  # type: ignore[no-untyped-def]
    """total[sample of v] += unary energy of v in its state; -1 counts from the end, as in NumPy."""
    for v in range(len(sample)):
        place = np.int64(start[v]) + state[v]
        total[sample[v]] += unary[place if place >= 0 else place + len(unary)]


def run_energies(union: Union, numbers: Numbers, run: int, states: I64) -> F64:
    """Energy of each factor of a run in these states (slots, n), (n,)."""
    return energies_of_run(union, numbers, run)(states)


def energies_of_run(union: Union, numbers: Numbers, run: int) -> Callable[[I64], F64]:
    """What tells the energy of each factor of a run, (n,), in states (slots, n): its numbers are looked up once."""
    compiled, kind = union.compiled, union.layout.kinds[run]
    fields = run_of(compiled, run)
    if fields.shared >= 0:
        offset: I64 = np.broadcast_to(fields.shared, (fields.size,))
    else:
        offset = compiled.factor_number[fields.factor : fields.factor + fields.size].astype(np.int64)
    if kind == "Table":
        strides = np.array(fields.strides, np.int64)
        return lambda states: numbers.store[offset + strides @ states]
    constants = compiled.constants[fields.constant :]
    # A shared row is read once, and broadcast.
    read = number_rows(compiled, numbers.store, kind, fields, offset[:1] if fields.shared >= 0 else offset)
    read = np.broadcast_to(read, (fields.size, *read.shape[1:]))
    return lambda states: STRUCTURES[kind].state_energies(read, states, fields.states, constants)
