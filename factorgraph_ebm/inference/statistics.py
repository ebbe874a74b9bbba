"""Statistics: the slopes of energies and free energies with respect to the numbers, added into a `Numbers`.

    assignment   E = sum of energies at the states:   dE/d number = the indicator of what is read
    beliefs      F = -(1/beta) log Z:                 dF/d number = the expected indicator

by the envelope theorem, for the Bethe free energy at a fixed point as well: the messages need not be differentiated
(Yedidia, Freeman and Weiss, IEEE Trans. Inf. Theory 51(7), 2005). `Union.pullback` carries the sum on to parameters.
Each sample has a weight, and weight 0 is skipped. A sample whose energy or free energy is +inf has no slope: it adds
exact zeros, and so does every forbidden entry.
"""

from __future__ import annotations

import math

import numpy as np

from factorgraph_ebm._jit import F8, NOTHING, READ_F8, READ_I8, READ_U1, READ_U4, READ_U8, kernel
from factorgraph_ebm.arrays import F64, I64, Numbers
from factorgraph_ebm.compiler.union import Union
from factorgraph_ebm.errors import FactorError, MethodError
from factorgraph_ebm.factors import STRUCTURES
from factorgraph_ebm.factors.table_statistics import mapped_statistics
from factorgraph_ebm.inference.energies import assignment_energies, table_runs
from factorgraph_ebm.inference.method import Answer, Ends, Problem, Rows
from factorgraph_ebm.inference.number_maps import LARGEST_MAP, entry_map, numbers_of, read_numbers
from factorgraph_ebm.inference.tables import Run, run_of, scope_of

SLICE = 1 << 15
"factors that one compiled call works on: between calls Python hears of Ctrl-C"


def zeros(union: Union) -> Numbers:
    """A gradient of 0 with respect to the numbers of a union."""
    return Numbers(np.zeros(union.compiled.unary_size), np.zeros(union.compiled.store_size))


def add_assignment(
    union: Union, numbers: Numbers, state: I64, weight: F64, out: Numbers, energy: F64 | None = None
) -> None:
    """Add weight * d energy / d numbers of an assignment to `out`.

    Parameters
    ----------
    state : (V,) state of every engine variable
    weight : (N,) of each sample
    energy : (N,) of the assignment, where it is known
    """
    compiled = union.compiled
    energy = assignment_energies(union, numbers, state) if energy is None else energy
    weight = np.where(energy < np.inf, weight, 0.0)
    add_indicators(compiled.variable_start, compiled.variable_sample, state, weight, out.unary)
    tables = table_runs(union)
    add_entries(
        compiled.run_field, compiled.run_field_start, tables, compiled.factor_number, compiled.scope,
        compiled.variable_sample, state, weight, out.store,
    )  # fmt: skip
    for run in np.flatnonzero(tables == 0).tolist() if not tables.all() else ():
        fields, share = _share(union, run, weight)
        if not share.any() or not STRUCTURES[union.layout.kinds[run]].has_numbers:
            continue
        add_chosen(union, numbers, run, state[scope_of(compiled, fields)], share, out)


def add_beliefs(problem: Problem, answer: Answer, weight: F64, out: Numbers) -> None:
    """Add weight * the expected indicators under the marginals of an answer to `out`.

    Parameters
    ----------
    answer : of `marginals`, from any method: by its messages, or where it has none by its joint marginals, or those of
        kinds of assignments
    weight : (N,) of each sample
    """
    union, compiled = problem.union, problem.compiled
    if answer.marginals is None:
        raise MethodError(f'the answer of method "{answer.method}" has no marginals. Ask it for marginals.')
    if answer.least_energy is not None:  # beta = inf
        weight = np.where(answer.least_energy == np.inf, 0.0, weight)
    elif answer.log_partition is not None or answer.sums is not None:
        weight = np.where(answer.log_partitions() == -np.inf, 0.0, weight)
    add_marginals(compiled.variable_start, compiled.variable_sample, answer.marginals, weight, out.unary)
    if answer.statistics is not None:
        weight = np.where(answer.statistics(weight, out), 0.0, weight)
        if not weight.any():
            return
    scaled = problem.scaled if answer.message_beta != 1.0 else problem.numbers
    for run in range(len(union.layout.kinds)):
        fields, share = _share(union, run, weight)
        if not share.any() or not STRUCTURES[union.layout.kinds[run]].has_numbers:
            continue
        ends = None if answer.ends is None else answer.ends(run)
        if ends is not None:
            _add_ends(union, problem.numbers, run, ends, share, out)
        elif answer.joint is not None:
            add_joint(union, problem.numbers, run, answer.joint(run), share, out)
        elif answer.messages is not None:
            add_run(union, scaled, run, answer.messages, share, out)
        else:
            raise MethodError(f'method "{answer.method}" has no marginals of factors. Write method="bp".')


def add_run(union: Union, scaled: Numbers, run: int, messages: Rows, share: F64, out: Numbers) -> None:
    """Add share * expected indicators of the factors of one run, by the messages to them.

    `scaled`: energies in the units of the messages; `share`: (n,) of each factor.

    Raises
    ------
    FactorError : a structure has no statistics kernel, and a table that is too large.
    """
    compiled, kind = union.compiled, union.layout.kinds[run]
    fields = run_of(compiled, run)
    row = compiled.run_field[compiled.run_field_start[run] : compiled.run_field_start[run + 1]]
    number = compiled.factor_number[fields.factor : fields.factor + fields.size]
    slices = [(low, min(low + SLICE, fields.size)) for low in range(0, fields.size, SLICE)]
    offered = STRUCTURES[kind].accumulate_kernel(fields.states)
    if offered is not None:
        scratch = np.zeros(max(1, offered.scratch))
        for low, high in slices:
            offered.kernel(
                row, number, scaled.store, compiled.constants, messages.to_factor, share, out.store, scratch, low, high
            )
        return
    entries = entry_map(union, run)
    if entries is None or entries[1] is None:
        raise FactorError(
            f"{kind} over {len(fields.states)} variables has no statistics kernel, and its table of "
            f"{math.prod(fields.states):,} entries is too large to be made (at most {LARGEST_MAP:,})."
        )
    table = entries[1]
    scratch = np.zeros(len(table.index))
    for low, high in slices:
        mapped_statistics(
            row, number, scaled.store, table.index, table.coefficient, table.constant,
            messages.to_factor, share, out.store, scratch, low, high,
        )  # fmt: skip


def _share(union: Union, run: int, weight: F64) -> tuple[Run, F64]:
    """The fields of a run, and the weight of the sample of each of its factors."""
    compiled = union.compiled
    fields = run_of(compiled, run)
    return fields, weight[compiled.variable_sample[compiled.scope[fields.scope : fields.scope + fields.size]]]


def add_chosen(
    union: Union, numbers: Numbers, run: int, chosen: I64, share: F64, out: Numbers, rows: I64 | None = None
) -> None:
    """Add share * slopes of the energies of factors of a run, all or `rows` (n,), in `chosen` states (slots, n)."""
    element, coefficient = read_numbers(union, numbers, run, chosen, rows)
    slope = share * coefficient
    read = slope != 0.0
    np.add.at(out.store, element[read], slope[read])


def add_joint(
    union: Union, numbers: Numbers, run: int, joint: F64, share: F64, out: Numbers, *, first: int = 0
) -> None:
    """Add share * expected indicators from the marginals (n, *states) of factors `first`, `first` + 1, ... of a run."""
    fields = run_of(union.compiled, run)
    entries = entry_map(union, run)
    joint = joint if joint.ndim == 2 else joint.reshape(len(joint), -1)
    if fields.shared >= 0 and entries is not None:  # one table has all of it
        joint, share = (joint[:1], share.sum(keepdims=True)) if joint.strides[0] == 0 else (joint, share)
    expected = share[:, None] * joint
    every = np.indices(fields.states).reshape(len(fields.states), -1)
    if entries is None:
        for f in np.flatnonzero(share).tolist():
            add_chosen(union, numbers, run, every, expected[f], out, np.full(every.shape[1], first + f))
        return
    strides, table = entries
    element = np.array(strides) @ every
    if table is not None:
        read = np.flatnonzero(table.coefficient[element])
        element, expected = table.index[element[read]], expected[:, read] * table.coefficient[element[read]]
    if fields.shared >= 0:
        np.add.at(out.store, fields.shared + element, expected.sum(axis=0))
        return
    number = numbers_of(union, fields)[first : first + len(joint)]
    np.add.at(out.store, number[:, None] + element, expected)


def _add_ends(union: Union, numbers: Numbers, run: int, ends: Ends, share: F64, out: Numbers) -> None:
    """Add share * expected indicators from the probabilities of kinds of assignments."""
    slots, m = ends.chosen.shape
    factors = np.flatnonzero(share)
    at_once = max(1, SLICE // max(1, slots * m))
    for low in range(0, len(factors), at_once):
        rows = factors[low : low + at_once]
        expected = (share[rows, None] * ends.probability[rows]).reshape(-1)
        add_chosen(union, numbers, run, np.tile(ends.chosen, len(rows)), expected, out, np.repeat(rows, m))


@kernel(NOTHING, READ_U8, READ_U4, READ_I8, READ_F8, F8)
def add_indicators(start, variable_sample, state, weight, out):  # type: ignore[no-untyped-def]
    """out += weight of the variable's sample in its state, (unary_size,)."""
    for v in range(len(state)):
        place = np.int64(start[v]) + state[v]
        out[place if place >= 0 else place + len(out)] += weight[variable_sample[v]]


@kernel(NOTHING, READ_I8, READ_I8, READ_U1, READ_U8, READ_U4, READ_U4, READ_I8, READ_F8, F8)
def add_entries(field, field_start, tables, number, scope, sample, state, weight, out):  # type: ignore[no-untyped-def]
    """out += weight of the factor's sample at the entry that it reads, for the runs of tables."""
    for r in range(len(tables)):
        if tables[r] == 0:
            continue
        row = field[field_start[r] : field_start[r + 1]]
        n = row[0]
        for f in range(n):
            w = weight[sample[scope[row[2] + f]]]
            if w == 0.0:
                continue
            place = row[4] if row[4] >= 0 else np.int64(number[row[3] + f])
            for s in range(row[1]):
                place += row[9 + 4 * s] * state[scope[row[2] + s * n + f]]
            out[place if place >= 0 else place + len(out)] += w


@kernel(NOTHING, READ_U8, READ_U4, READ_F8, READ_F8, F8)
def add_marginals(start, variable_sample, probability, weight, out):  # type: ignore[no-untyped-def]
    """out += weight of the variable's sample * probability, (unary_size,)."""
    for v in range(len(start) - 1):
        w = weight[variable_sample[v]]
        if w != 0.0:
            for s in range(start[v], start[v + 1]):
                out[s] += w * probability[s]
