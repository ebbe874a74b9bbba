"""The energy of an assignment, sample by sample, from the compiled arrays."""

from __future__ import annotations

import numpy as np

from factorgraph_ebm import arrays as a
from factorgraph_ebm.arrays import F64, I64, Numbers
from factorgraph_ebm.compiler.union import Union
from factorgraph_ebm.factors import STRUCTURES
from factorgraph_ebm.inference.tables import number_rows, run_of


def assignment_energies(union: Union, numbers: Numbers, state: I64) -> F64:
    """Energy of each sample under the states of its engine variables, (N,), +inf where something is violated."""
    compiled = union.compiled
    start = compiled.variable_start[:-1].astype(np.int64)
    n_samples = len(compiled.sample_chunk)
    total: F64 = np.bincount(compiled.variable_sample, numbers.unary[start + state], n_samples).astype(np.float64)
    for run, kind in enumerate(union.layout.kinds):
        row = compiled.run_field[compiled.run_field_start[run] : compiled.run_field_start[run + 1]]
        n, arity = int(row[a.RUN_SIZE]), int(row[a.RUN_ARITY])
        scope = compiled.scope[row[a.RUN_SCOPE] : row[a.RUN_SCOPE] + n * arity].reshape(arity, n)
        states = state[scope]
        shared = bool(row[a.RUN_SHARED] >= 0)
        if shared:
            offset: I64 = np.broadcast_to(row[a.RUN_SHARED], (n,))
        else:
            offset = compiled.factor_number[row[a.RUN_FACTOR] : row[a.RUN_FACTOR] + n].astype(np.int64)
        slots = row[a.RUN_HEADER :].reshape(arity, a.SLOT_FIELDS)
        if kind == "Table":
            energy = numbers.store[offset + slots[:, a.SLOT_STRIDE] @ states]
        else:
            shape = tuple(slots[:, a.SLOT_STATES].tolist())
            constants = compiled.constants[row[a.RUN_CONSTANT] :]
            # A shared row is read once, and broadcast.
            read = number_rows(compiled, numbers.store, kind, run_of(compiled, run), offset[:1] if shared else offset)
            read = np.broadcast_to(read, (n, *read.shape[1:]))
            energy = STRUCTURES[kind].state_energies(read, states, shape, constants)
        total += np.bincount(compiled.variable_sample[scope[0]], energy, n_samples)
    return total
