"""The arrays that the floors hand to each other: one flat layout of a compiled graph, written down once.

A compiled graph is the disjoint union of the samples of one question. Given discrete cells are gone; every other cell
is an engine *variable*, and each sample has one more variable of one state, its *ground*, whose unary energy is what
is constant in the sample. Factors over two or more free cells are sorted into *runs*: factors of one kind, one shape
and one place of the last variable, whose message rows lie slot by slot, factor by factor. Arrays are named
index_value: `variable_start[v]` is the start of variable v. All are C-contiguous and read-only.

Two message arrays have the same layout: `to_variable` (factor to variable) and `to_factor`. A message is a row of
energies in nats (times beta), one per state of the variable, with minimum 0 and +inf for a forbidden state; the row of
slot s of factor f of a run begins at `field[SLOT_MESSAGE of s] + f * field[SLOT_STATES of s]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

F64: TypeAlias = NDArray[np.float64]
I64: TypeAlias = NDArray[np.int64]
U64: TypeAlias = NDArray[np.uint64]
U32: TypeAlias = NDArray[np.uint32]
U8: TypeAlias = NDArray[np.uint8]
Bool: TypeAlias = NDArray[np.bool_]
Values: TypeAlias = Mapping[str, F64]

# Fields of a run, in one row of int64: first the header, then SLOT_FIELDS numbers for each slot.
RUN_SIZE = 0
"number of factors"
RUN_ARITY = 1
RUN_SCOPE = 2
"element of `scope` where the run begins; the variable of slot s of factor f is scope[start + s * size + f]"
RUN_FACTOR = 3
"number of the run's first factor, counting over all runs"
RUN_SHARED = 4
"element of `store` where the numbers that all its factors share begin, or -1: see `factor_number`"
RUN_CONSTANT = 5
"element of `constants` where the constants of its structure begin"
RUN_LAST = 6
"slot of the variable that comes last in the variable order"
RUN_ENTRIES = 7
"product of the states of its slots, at most MOST_ENTRIES"
RUN_HEADER = 8
SLOT_STATES = 0
SLOT_STRIDE = 1
"distance in the table between one state of this slot and the next (tables only)"
SLOT_MESSAGE = 2
"element of both message arrays where the rows of this slot begin"
SLOT_SOFT = 3
"1 where the variable of this slot is summed out of a minimisation"
SLOT_FIELDS = 4
MOST_ENTRIES = 1 << 62

# What a step of a schedule writes: every slot, one slot (its number, >= 0), or all but one.
ALL = -1


def all_but(slot: int) -> int:
    """The target that means every slot but this one."""
    return -2 - slot


class Numbers(NamedTuple):
    """The numbers of a compiled graph. A gradient with respect to them is a `Numbers` too."""

    unary: F64
    "(sum of states,) energies of single variables, folded; addressed by `variable_start`"
    store: F64
    "every stored number as declared (a shared table once, per-factor tables, penalties), then derived tables"


class Compiled(NamedTuple):
    """The flat arrays of a compiled graph. V variables, F factors, S slots, R runs, C chunks, N samples."""

    variable_cell: I64
    "(V,) union cell of each variable; -1 for a ground. Order: chunk, level, two-state or not, declared"
    variable_sample: U32
    "(V,)"
    variable_component: U32
    "(V,) label of the connected component, smallest declared variable first"
    variable_level: U32
    "(V,) see `compiler.ordering`"
    variable_soft: U8
    "(V,) 1 where the variable is summed out of a minimisation"
    variable_start: U64
    "(V + 1,) element in `unary` and in beliefs"
    variable_slot_start: U32
    "(V + 1,) first of its slots in `slot_message`"
    variable_slot_split: U32
    "(V,) slots before it belong to factors whose last variable this is, slots from it on to the others"
    slot_message: U64
    "(S,) element of both message arrays where the row of a variable's slot begins"
    scope: U32
    "(S,) variable of each slot, run by run, slot-major within a run"
    run_field: I64
    "(sum of fields,) the rows of fields of the runs"
    run_field_start: I64
    "(R + 1,)"
    factor_number: U64
    "(F,) element of `store` where the numbers of each factor begin; (0,) where every run shares its numbers"
    constants: F64
    "constants of structures, such as the numeric states of a Product"
    sample_chunk: U32
    "(N,)"
    chunk_variable_start: U64
    "(C + 1,)"
    sample_forest: Bool
    "(N,) every component of the sample is a forest"
    sample_exact: Bool
    "(N,) one sweep up answers exactly: a forest in which all summed variables come before the others"
    cell_variable: I64
    "(number of union cells,) variable of each cell; -1 where given"
    sample_cell_start: I64
    "(N + 1,)"
    ground: I64
    "(N,) variable that carries the constants of each sample"
    message_size: int
    unary_size: int
    store_size: int


def run_fields(compiled: Compiled, field: int) -> I64:
    """One field of the header of every run, (R,)."""
    picked: I64 = compiled.run_field[compiled.run_field_start[:-1] + field]
    return picked


class Steps(NamedTuple):
    """A schedule: P steps, sorted by chunk; `start[c]:start[c + 1]` is one iteration of chunk c."""

    start: I64
    "(C + 1,)"
    kernel: I64
    "(P,) place in the list of kernels; -1: the variables low to high send their messages"
    run: I64
    "(P,)"
    low: I64
    "(P,) first factor of the run, or first variable"
    high: I64
    "(P,)"
    target: I64
    "(P,) factors: slots that are written. Variables: ALL, 0 (slots before the split) or 1 (from it on)"


class Messages(NamedTuple):
    """The state of message passing; both arrays are (message_size,)."""

    to_variable: F64
    to_factor: F64


Key: TypeAlias = Any
"A hashable value, equal for equal structures."
