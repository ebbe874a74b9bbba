"""Local conditional energies: of every state of every variable, all others as they are; and their transpose.

    A(v, s) = unary(v, s) + sum over the factors f of v of E_f(s, the states of f's other variables)

Their softmin is P(v = s | all others), which local search, Gibbs sampling and pseudo-likelihood need (J. Besag,
"Statistical analysis of non-lattice data", The Statistician 24(3), 1975). One pass over slots and states. A is affine
in the numbers, so a loss of it has the slopes A^T g with respect to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from factorgraph_ebm._jit import F8, NOTHING, READ_F8, READ_I8, READ_U4, READ_U8, SIZE, kernel
from factorgraph_ebm.arrays import F64, I64, Numbers
from factorgraph_ebm.compiler.union import Union
from factorgraph_ebm.factors import STRUCTURES
from factorgraph_ebm.graph.declaration import TableMap
from factorgraph_ebm.inference.energies import run_energies
from factorgraph_ebm.inference.number_maps import entry_map
from factorgraph_ebm.inference.statistics import SLICE, add_chosen
from factorgraph_ebm.inference.tables import run_of, scope_of

U8 = np.uint64


def conditional_energies(union: Union, numbers: Numbers, state: I64) -> F64:
    """Energy of each state of each variable given the states of all others, (unary_size,), +inf where forbidden.

    `state`: (V,) of every engine variable. Terms without the variable are left out.
    """
    compiled = union.compiled
    out = numbers.unary.copy()
    for run in range(len(union.layout.kinds)):
        entries = entry_map(union, run)
        if entries is None:
            _add_large(union, numbers, run, state, out)
            continue
        fields = run_of(compiled, run)
        arguments = _arguments(union, run, entries[0])
        index, coefficient, constant = _map(entries[1])
        for low in range(0, fields.size, SLICE):
            add_conditionals(
                *arguments, numbers.store, state, compiled.variable_start, index, coefficient, constant, out,
                low, min(low + SLICE, fields.size),
            )  # fmt: skip
    return out


def add_conditionals_transposed(union: Union, numbers: Numbers, state: I64, gradient: F64, out: Numbers) -> None:
    """Carry a gradient with respect to `conditional_energies` (unary_size,) to the numbers, adding into `out`.

    Where the gradient is 0, as at a forbidden state of probability 0, exact zeros are added.
    """
    compiled = union.compiled
    out.unary[:] += gradient
    for run, kind in enumerate(union.layout.kinds):
        if not STRUCTURES[kind].has_numbers:
            continue
        entries = entry_map(union, run)
        if entries is None:
            _add_large_transposed(union, numbers, run, state, gradient, out)
            continue
        fields = run_of(compiled, run)
        arguments = _arguments(union, run, entries[0])
        index, coefficient, _ = _map(entries[1])
        for low in range(0, fields.size, SLICE):
            add_slopes(
                *arguments, gradient, state, compiled.variable_start, index, coefficient, out.store,
                low, min(low + SLICE, fields.size),
            )  # fmt: skip


def _arguments(union: Union, run: int, strides: tuple[int, ...]) -> tuple[Any, ...]:
    """Fields of a run, strides of its entries, numbers of its factors, and the scopes of all."""
    compiled = union.compiled
    fields = run_of(compiled, run)
    row = compiled.run_field[compiled.run_field_start[run] : compiled.run_field_start[run + 1]]
    number = compiled.factor_number[fields.factor : fields.factor + fields.size]
    return row, np.array(strides, np.int64), number, compiled.scope


def _map(table: TableMap | None) -> tuple[I64, F64, F64]:
    """The arrays of a map from entries to numbers; empty where entry e is number e."""
    if table is None:
        return np.zeros(0, np.int64), np.zeros(0), np.zeros(0)
    return table.index.astype(np.int64, copy=False), table.coefficient, table.constant


def _add_large(union: Union, numbers: Numbers, run: int, state: I64, out: F64) -> None:
    """The same for a structure whose table would be too large: one state of one slot after another."""
    for v, x, chosen in _variations(union, run, state):
        np.add.at(out, union.compiled.variable_start[v].astype(np.int64) + x, run_energies(union, numbers, run, chosen))


def _add_large_transposed(union: Union, numbers: Numbers, run: int, state: I64, gradient: F64, out: Numbers) -> None:
    for v, x, chosen in _variations(union, run, state):
        share = gradient[union.compiled.variable_start[v].astype(np.int64) + x]
        if share.any():
            add_chosen(union, numbers, run, chosen, share, out)


def _variations(union: Union, run: int, state: I64) -> Iterator[tuple[I64, int, I64]]:
    """The variables (n,) in a slot, a state for it, and the states (slots, n) that this makes, for all of both."""
    fields = run_of(union.compiled, run)
    scope = scope_of(union.compiled, fields)
    for s, k in enumerate(fields.states):
        chosen = state[scope]
        for x in range(k):
            chosen[s] = x
            yield scope[s], x, chosen


@kernel(
    NOTHING, READ_I8, READ_I8, READ_U8, READ_U4, READ_F8, READ_I8, READ_U8, READ_I8, READ_F8, READ_F8, F8, SIZE, SIZE
)  # fmt: skip
def add_conditionals(  # type: ignore[no-untyped-def]
    run, stride, number, scope, store, state, start, index, coefficient, constant, out, low, high
):  # fmt: skip
    """Add a row of each factor's table to each of its variables: the others' states choose which."""
    n, first = U8(run[0]), U8(run[2])
    mapped = len(index) > 0
    for f in range(low, high):
        t = U8(run[4]) if run[4] >= 0 else number[f]
        entry = U8(0)
        for s in range(run[1]):
            entry += U8(stride[s]) * U8(state[scope[first + U8(s) * n + f]])
        for s in range(run[1]):
            v = U8(scope[first + U8(s) * n + f])
            step = U8(stride[s])
            e = entry - step * U8(state[v])
            for o in range(start[v], start[v + U8(1)]):
                if mapped:
                    out[o] += constant[e]
                    # A coefficient of 0 is a plain 0, whatever the number: 0 * inf would be NaN.
                    if coefficient[e] != 0.0 and index[e] >= 0:
                        out[o] += coefficient[e] * store[t + U8(index[e])]
                else:
                    out[o] += store[t + e]
                e += step


@kernel(NOTHING, READ_I8, READ_I8, READ_U8, READ_U4, READ_F8, READ_I8, READ_U8, READ_I8, READ_F8, F8, SIZE, SIZE)
def add_slopes(  # type: ignore[no-untyped-def]
    run, stride, number, scope, gradient, state, start, index, coefficient, out, low, high
):  # fmt: skip
    """`add_conditionals`, transposed."""
    n, first = U8(run[0]), U8(run[2])
    mapped = len(index) > 0
    for f in range(low, high):
        t = U8(run[4]) if run[4] >= 0 else number[f]
        entry = U8(0)
        for s in range(run[1]):
            entry += U8(stride[s]) * U8(state[scope[first + U8(s) * n + f]])
        for s in range(run[1]):
            v = U8(scope[first + U8(s) * n + f])
            step = U8(stride[s])
            e = entry - step * U8(state[v])
            for o in range(start[v], start[v + U8(1)]):
                if mapped:
                    if coefficient[e] != 0.0 and index[e] >= 0:
                        out[t + U8(index[e])] += coefficient[e] * gradient[o]
                else:
                    out[t + e] += gradient[o]
                e += step
