"""Faster forms of messages, each a `Passing` that works in other numbers and can say its messages in energies.

    Weights       rows of probabilities up to scale: sums without exp or log
    Odds          two states everywhere, p(1) / p(0)
    Differences   two states everywhere, E(1) - E(0), minimising

A form serves a chunk where every structure in it has the kernel; where a number would lose digits it becomes NaN, and
so does every belief that depends on it: such samples are answered in energies, which lose nothing. So the forms need no
proof beforehand, and but for the order of its sums an answer does not depend on which samples it was asked with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from factorgraph_ebm import arrays as a
from factorgraph_ebm._jit import F8, NOTHING, READ_F8, Kernel, kernel
from factorgraph_ebm.arrays import F64, I64, U32, U64, Bool, Messages, Numbers
from factorgraph_ebm.compiler.layout import Layout, sizes, variable_chunks
from factorgraph_ebm.compiler.schedules import Operators
from factorgraph_ebm.engine.binary import (
    LONG,
    decide_differences,
    decide_odds,
    measure_rows,
    send_differences,
    send_odds,
    share_odds,
)
from factorgraph_ebm.engine.free_energy import add_log_partitions
from factorgraph_ebm.engine.messages import SMALLEST, store_differences, store_odds, store_weights
from factorgraph_ebm.engine.weights import join_weights, send_weights, weigh_unaries
from factorgraph_ebm.factors.elementary import exp_minus
from factorgraph_ebm.inference.mirrors import Read, add_columns, add_mirrors, read_part
from factorgraph_ebm.inference.passing import Passing, Workspace
from factorgraph_ebm.inference.remembering import once_for

U8 = np.uint64


@kernel(NOTHING, READ_F8, F8)
def weigh(energy, weight):  # type: ignore[no-untyped-def]
    """exp(-energy); NaN where that is not forbidden and yet too small or too large to multiply with."""
    for i in range(len(energy)):
        e = energy[i]
        w = exp_minus(e if e > -700.0 else -700.0)
        weight[i] = w if (w >= SMALLEST and w <= 1.0 / SMALLEST) or e == np.inf else np.nan


class Weights(Passing):
    """Rows of weights. Unary energies enter less the least of each variable."""

    form: ClassVar[str] = "weights"
    send_kernel: ClassVar[Kernel] = send_weights
    keep_kernel: ClassVar[Kernel] = store_weights
    join_kernel: ClassVar[Kernel] = join_weights
    weigh_kernel: ClassVar[Kernel] = weigh_unaries
    neutral: ClassVar[float] = 1.0

    def _lay_out(self, numbers: Numbers, repeated: bool) -> None:
        compiled = self.compiled
        self.message_size = compiled.message_size
        self.energy = numbers.unary
        self.least = np.empty(len(compiled.variable_cell))
        self.unary = np.empty(len(numbers.unary))  # weighed before messages are sent; forests do it chunk by chunk
        self.store = np.zeros(0)
        read = read_part(numbers.store, self.layout)
        weight = np.empty(len(read.store))
        weigh(read.store, weight)
        self.weight, field, number = add_mirrors(read._replace(store=weight), self.layout, repeated)
        self.variables = (
            self.unary, compiled.variable_start, compiled.variable_slot_start, compiled.variable_slot_split,
            compiled.slot_message,
        )  # fmt: skip
        self.runs = (
            field, compiled.run_field_start, number, compiled.constants, self.store, self.weight,
        )  # fmt: skip

    def take(self, to_variable: F64) -> None:
        weigh_unaries(self.energy, self.compiled.variable_start, self.unary, self.least, 0, len(self.least))
        super().take(to_variable)

    def of_energies(self, messages: F64) -> F64:
        weight = np.empty(len(messages))
        weigh(messages, weight)
        return weight

    def energies(self) -> Messages:
        return Messages(
            _as_energies(self.to_variable, self.compiled), _as_energies(self.to_factor, self.compiled)
        )

    def likeliest(self, state: I64, chunks: Sequence[int]) -> None:
        compiled = self.compiled
        probability = np.zeros(compiled.unary_size)
        free_energy = np.empty(len(state))
        unary, start, slot_start, _, slot_message = self.variables
        for chunk in chunks:
            first, stop = compiled.chunk_variable_start[chunk : chunk + 2].tolist()
            tail = self.to_variable, probability, free_energy, first, stop
            join_weights(unary, start, slot_start, slot_message, *tail)
        found = self.lowest(-probability)
        np.copyto(state, found, where=np.isin(variable_chunks(compiled), chunks))

    def marginals(self) -> tuple[F64, F64, F64]:
        compiled = self.compiled
        probability, free_energy = self.joined()
        with np.errstate(invalid="ignore"):
            free: F64 = np.bincount(compiled.variable_sample, free_energy, len(compiled.sample_chunk)).astype(float)
        log_partition = -(free + self.least_energies())
        add_log_partitions(
            self.kernels, self.last_kernels(), *self.variables, compiled.scope, compiled.variable_sample, *self.runs,
            self.to_variable, self.to_factor, self.out, self.scratch, self.block, log_partition,
        )  # fmt: skip
        return probability, log_partition, free_energy

    def room_for_probabilities(self) -> F64:
        return self.unary

    def least_energies(self) -> F64:
        compiled = self.compiled
        taken: F64 = np.bincount(compiled.variable_sample, self.least, len(compiled.sample_chunk)).astype(float)
        return taken


def _as_energies(weight: F64, compiled: a.Compiled) -> F64:
    """-log of every row, with minimum 0."""
    energy = np.empty(len(weight))
    field, start = compiled.run_field, compiled.run_field_start
    for run in range(len(start) - 1):
        n = int(field[start[run]])
        for slot in field[start[run] + a.RUN_HEADER : start[run + 1]].reshape(-1, a.SLOT_FIELDS):
            k, m = int(slot[a.SLOT_STATES]), int(slot[a.SLOT_MESSAGE])
            rows = weight[m : m + n * k].reshape(n, k)
            with np.errstate(divide="ignore", invalid="ignore"):
                found = np.log(rows.max(axis=1, keepdims=True, initial=0.0)) - np.log(rows)
            energy[m : m + n * k] = np.where(rows == 0.0, np.inf, found).ravel()
    return energy


class _Places(NamedTuple):
    """Where messages of one number lie, run by run and slot by slot."""

    states: I64
    "elements of `run_field`: SLOT_STATES of each slot of each run"
    messages: I64
    "and its SLOT_MESSAGE"
    first: I64
    "where its messages begin"
    size: int
    row: I64
    "element of each message's row of energies, of those that have two"
    message: I64
    "which these are"
    slot_message: U64
    alike: U64
    "see `measure_rows`"
    pairs: U32
    "variables of two states"
    chunk_pairs: U64
    "(C + 1,) where those of each chunk begin"


def _places_of(compiled: a.Compiled) -> _Places:
    return once_for(compiled, "places", lambda: _find_places(compiled))


def _find_places(compiled: a.Compiled) -> _Places:
    field = compiled.run_field
    starts = [np.zeros(0, np.int64)]
    for run in range(len(compiled.run_field_start) - 1):
        first, stop = compiled.run_field_start[run : run + 2]
        starts.append(np.arange(int(first) + a.RUN_HEADER, int(stop), a.SLOT_FIELDS))
    slot = np.concatenate(starts)
    states, messages = slot + a.SLOT_STATES, slot + a.SLOT_MESSAGE
    size = np.repeat(a.run_fields(compiled, a.RUN_SIZE), [len(s) for s in starts[1:]])
    end = np.cumsum(size)
    within = np.arange(int(size.sum())) - np.repeat(end - size, size)
    row_start = np.repeat(field[messages], size) + np.repeat(field[states], size) * within
    binary = np.repeat(field[states] == 2, size)
    message_at = np.zeros(compiled.message_size, np.uint64)
    message_at[row_start] = np.arange(len(row_start))
    slot_message = message_at[compiled.slot_message]
    alike = np.empty(len(compiled.variable_cell), np.uint64)
    measure_rows(compiled.variable_slot_start, compiled.variable_slot_split, slot_message, alike)
    pairs = np.flatnonzero(sizes(compiled.variable_start) == 2)
    chunk_pairs = np.searchsorted(pairs, compiled.chunk_variable_start.astype(np.int64))
    return _Places(
        states, messages, end - size, len(row_start), row_start[binary], np.flatnonzero(binary), slot_message, alike,
        pairs.astype(np.uint32), chunk_pairs.astype(np.uint64),
    )  # fmt: skip


class _Binary(Passing):
    """One number a message. Rows are as wide as one number, so nothing needs to say where variables begin.

    In that place of `variables` stands how many of them are sent alike (`measure_rows`).

    Runs over variables of other numbers of states have rows, too, which nobody reads.
    """

    def _lay_out(self, numbers: Numbers, repeated: bool) -> None:
        compiled = self.compiled
        start = compiled.variable_start
        first = start[:-1].astype(np.int64)
        self.unary = self._of_pairs(numbers.unary[first], numbers.unary[np.minimum(first + 1, len(numbers.unary) - 1)])
        read = self._numbers(read_part(numbers.store, self.layout))
        places = _places_of(compiled)
        field = read.field
        field[places.states], field[places.messages] = 1, places.first
        self.message_size = places.size
        self.row = places.row
        "element of each message's row of energies, where it has two"
        self.message = places.message
        self.pairs = places.pairs, places.chunk_pairs
        slots = compiled.variable_slot_start, compiled.variable_slot_split, places.slot_message
        self.variables = (self.unary, places.alike, *slots)
        self.runs = (
            field, compiled.run_field_start, read.number, compiled.constants, self.store, self.weight,
        )  # fmt: skip

    def _make_room(self) -> None:
        super()._make_room()
        out, scratch = self._room
        self._room = out, max(scratch, 2 * LONG)
        self.spaces = [Workspace(*self._room)]

    def likeliest(self, state: I64, chunks: Sequence[int]) -> None:
        """Write the likelier states of variables of two states; no message says anything about others."""
        assert self.decide_kernel is not None
        unary, _, slot_start, _, slot_message = self.variables
        pairs, start = self.pairs
        for chunk in chunks:
            low, high = start[chunk : chunk + 2].tolist()
            self.decide_kernel(unary, slot_start, slot_message, self.to_variable, pairs, state, low, high)

    def decoded(self, state: I64, chunks: Sequence[int]) -> bool:
        """Nothing: decoding one variable after another is done in energies."""
        return False

    def _numbers(self, read: Read) -> Read:
        """What the kernels read, which are energies or weights."""
        found = add_columns(read, self.layout)
        self.store, self.weight = found.store, np.zeros(0)
        return found

    def _of_pairs(self, zero: F64, one: F64) -> F64:
        """The number of the form for energies of state 0 and state 1."""
        raise NotImplementedError

    def _differences(self, messages: F64) -> F64:
        """E(1) - E(0) of messages."""
        raise NotImplementedError

    def of_energies(self, messages: F64) -> F64:
        found = np.full(self.message_size, self.neutral)
        found[self.message] = self._of_pairs(messages[self.row], messages[self.row + 1])
        return found

    def energies(self) -> Messages:
        found = []
        for messages in (self.to_variable, self.to_factor):
            energy = np.zeros(self.compiled.message_size)
            difference = self._differences(messages[self.message])
            energy[self.row], energy[self.row + 1] = np.maximum(-difference, 0.0), np.maximum(difference, 0.0)
            found.append(energy)
        return Messages(*found)


class Odds(_Binary):
    """Sum-product in odds."""

    form: ClassVar[str] = "odds"
    send_kernel: ClassVar[Kernel] = send_odds
    keep_kernel: ClassVar[Kernel] = store_odds
    decide_kernel: ClassVar[Kernel | None] = decide_odds
    neutral: ClassVar[float] = 1.0

    def _numbers(self, read: Read) -> Read:
        weight = np.empty(len(read.store))
        weigh(read.store, weight)
        found = add_columns(read._replace(store=weight), self.layout)
        self.store, self.weight = np.zeros(0), found.store
        return found

    def _of_pairs(self, zero: F64, one: F64) -> F64:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            odds = np.exp(zero - one)
        return np.where((odds >= SMALLEST) & (odds <= 1.0 / SMALLEST), odds, np.nan)

    def _differences(self, messages: F64) -> F64:
        return -np.log(messages)

    def shares(self, energy: F64) -> tuple[F64, F64]:
        """Probabilities (unary_size,), from the `energy` of single variables where a variable has not two states.

        And for each variable, (V,): 0, +inf where nothing is allowed, or NaN where digits were lost.
        """
        compiled = self.compiled
        probability, lost = np.empty(len(energy)), np.empty(len(compiled.variable_cell))
        unary, _, slot_start, _, slot_message = self.variables
        start = compiled.variable_start
        share_odds(energy, start, unary, slot_start, slot_message, self.to_variable, probability, lost)
        return probability, lost

    def weights(self, passing: Weights) -> None:
        """Give these messages to a passing of weights over the same numbers that has none yet."""
        odds = self.to_variable[self.message]
        messages = np.ones(passing.message_size)
        messages[self.row] = 1.0 / (1.0 + odds)
        messages[self.row + 1] = odds / (1.0 + odds)
        passing.take(messages)


class Differences(_Binary):
    """Min-sum in differences."""

    form: ClassVar[str] = "differences"
    send_kernel: ClassVar[Kernel] = send_differences
    keep_kernel: ClassVar[Kernel] = store_differences
    decide_kernel: ClassVar[Kernel | None] = decide_differences

    def _of_pairs(self, zero: F64, one: F64) -> F64:
        with np.errstate(invalid="ignore"):
            return one - zero

    def _differences(self, messages: F64) -> F64:
        return messages


SMALL = 4096
"elements of messages below which a loopy sample is iterated in energies: other forms would not pay for compiling"


def served(layout: Layout, form: str, *, minimize: bool) -> Bool:
    """Which chunks may be answered in a form, (C,): every structure has its kernel, and it is worth it.

    What decides is in the sample alone: an answer is the same whatever it was asked with.
    """
    found = once_for(layout.compiled, ("served", form, minimize), lambda: _find_served(layout, form, minimize=minimize))
    return found.copy()


def _find_served(layout: Layout, form: str, *, minimize: bool) -> Bool:
    compiled = layout.compiled
    n_chunks = len(compiled.chunk_variable_start) - 1
    exact = np.ones(n_chunks, bool)
    solved = compiled.sample_exact if minimize else compiled.sample_forest
    exact[compiled.sample_chunk[~solved]] = False
    variable_chunk = variable_chunks(compiled)
    degree, states = sizes(compiled.variable_slot_start), sizes(compiled.variable_start)
    size = np.bincount(variable_chunk, degree * states, n_chunks)
    may = np.where(exact, form == "weights", size >= SMALL)
    if form != "weights":
        may[variable_chunk[(degree > 0) & (states != 2)]] = False
    missing = np.array([min(k) < 0 for k in Operators(layout, minimize=minimize, form=form).of_slot], bool)
    blocks = layout.factor_block
    if len(missing):
        may[blocks.chunk[missing[blocks.run]]] = False
    return may
