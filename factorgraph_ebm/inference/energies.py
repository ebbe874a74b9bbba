"""The energy of an assignment, sample by sample, from the compiled arrays."""

from __future__ import annotations

import numpy as np

from factorgraph_ebm import arrays as a
from factorgraph_ebm.arrays import F64, I64, Numbers
from factorgraph_ebm.compiler.union import Union
from factorgraph_ebm.factors import STRUCTURES


def assignment_energies(union: Union, numbers: Numbers, state: I64) -> F64:
    """Energy of each sample under the states of its engine variables, (N,), +inf where something is violated."""
    compiled = union.compiled
    start = compiled.variable_start[:-1].astype(np.int64)
    n_samples = len(compiled.sample_chunk)
    total: F64 = np.bincount(compiled.variable_sample, numbers.unary[start + state], n_samples).astype(np.float64)
    for run in range(len(union.layout.kinds)):
        row = compiled.run_field[compiled.run_field_start[run] : compiled.run_field_start[run + 1]]
        n, arity = int(row[a.RUN_SIZE]), int(row[a.RUN_ARITY])
        scope = compiled.scope[row[a.RUN_SCOPE] : row[a.RUN_SCOPE] + n * arity].reshape(arity, n)
        energy = run_energies(union, numbers, run, state[scope])
        total += np.bincount(compiled.variable_sample[scope[0]], energy, n_samples)
    return total


def run_energies(union: Union, numbers: Numbers, run: int, states: I64) -> F64:
    """Energy of each factor of a run in these states (slots, n), (n,)."""
    compiled, kind = union.compiled, union.layout.kinds[run]
    row = compiled.run_field[compiled.run_field_start[run] : compiled.run_field_start[run + 1]]
    n = int(row[a.RUN_SIZE])
    if row[a.RUN_SHARED] >= 0:
        offset: I64 = np.broadcast_to(row[a.RUN_SHARED], (n,))
    else:
        offset = compiled.factor_number[row[a.RUN_FACTOR] : row[a.RUN_FACTOR] + n].astype(np.int64)
    slots = row[a.RUN_HEADER :].reshape(-1, a.SLOT_FIELDS)
    if kind == "Table":
        return numbers.store[offset + slots[:, a.SLOT_STRIDE] @ states]
    shape = tuple(slots[:, a.SLOT_STATES].tolist())
    constants = compiled.constants[row[a.RUN_CONSTANT] :]
    return STRUCTURES[kind].state_energies(numbers.store[offset], states, shape, constants)
