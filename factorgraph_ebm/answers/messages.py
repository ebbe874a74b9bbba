"""Messages for humans: by factor key and slot, as the user declared them, in nats.

    result.messages.to_variable[key][slot]     (*group shape, states of the slot), minimum 0, +inf kept

Of a factor that was folded into unary energies, the message to its variable is its own energies; the message of a
merged factor stands under the key of each declaration in it; in a given slot the message to the variable is computed
from the table, and the one to the factor is 0 at the given state and +inf elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from factorgraph_ebm.answers.answered import Answered, Found, Slots, entries_of, slots_of
from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.errors import MethodError, did_you_mean
from factorgraph_ebm.graph.declaration import Factor
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.graph.parametrisation import Values
from factorgraph_ebm.graph.table_map import LARGEST_TABLE, MOST_AXES
from factorgraph_ebm.inference.method import times_beta
from factorgraph_ebm.inference.tables import find_runs, message_rows

Slot: TypeAlias = "F64 | list[F64 | None]"


class Messages:
    """The messages of one sample. `to_variable` and `to_factor` are mappings from factor keys to one array per slot.

    With `members=`, the messages of a slot are a list with one array for each factor, None where it has fewer slots.
    """

    __slots__ = ("to_variable", "to_factor")

    to_variable: Mapping[str | int, list[Any]]
    to_factor: Mapping[str | int, list[Any]]

    def __init__(self, answered: Answered, sample: int) -> None:
        if answered.answer.messages is None:
            raise MethodError(
                f'method "{answered.answer.method}" passes no messages. Ask with method="bp" to read them.'
            )
        self.to_variable = _ByKey(answered, sample, to_factor=False)
        self.to_factor = _ByKey(answered, sample, to_factor=True)

    def __repr__(self) -> str:
        return f"<messages of {', '.join(str(key) for key in self.to_variable)}>"


def position_of(graph: FactorGraph, key: object) -> int:
    """Position of the declaration with this key. Raises KeyError for an unknown one."""
    if key in graph.keys:
        return graph.keys.index(key)
    if isinstance(key, Factor):
        for position, factor in enumerate(graph.factors):
            if factor is key:
                return position
    if isinstance(key, int) and -len(graph.factors) <= key < len(graph.factors):
        return key % len(graph.factors)
    names = [str(known) for known in graph.keys]
    raise KeyError(f'there is no factor "{key}" in this graph.{did_you_mean(key, names)}')


class _ByKey(Mapping[str | int, list[Any]]):
    __slots__ = ("_answered", "_sample", "_to_factor")

    def __init__(self, answered: Answered, sample: int, *, to_factor: bool) -> None:
        self._answered = answered
        self._sample = sample
        self._to_factor = to_factor

    def __iter__(self) -> Iterator[str | int]:
        return iter(self._answered.graphs[self._sample].keys)

    def __len__(self) -> int:
        return len(self._answered.graphs[self._sample].keys)

    def __getitem__(self, key: str | int) -> list[Any]:
        graph = self._answered.graphs[self._sample]
        position = position_of(graph, key)
        return _Reader(self._answered, self._sample, position).read(to_factor=self._to_factor)

    def __repr__(self) -> str:
        return f"<messages {'to factors' if self._to_factor else 'to variables'}: {', '.join(map(str, self))}>"


class _Reader:
    """The messages of one declaration of one sample."""

    def __init__(self, answered: Answered, sample: int, position: int) -> None:
        self.answered = answered
        self.sample = sample
        self.graph = answered.graphs[sample]
        self.factor = self.graph.factors[position]
        self.slots = slots_of(self.graph, position)
        self.values = answered.values[sample]
        self.states = answered.given[sample].states
        self.found = answered.located(sample, position)

    def read(self, *, to_factor: bool) -> list[Any]:
        out = _Rows(self.slots, self.graph.cell_states)
        for found in self.found:
            chosen = found.place.contribution
            rows = self._free_rows(found, to_factor=to_factor)
            cells = {int(self.slots.column(s, found.members[:1])[0]): i for i, s in enumerate(chosen.slots)}
            for s in range(self.slots.arity(int(found.members[0]))):
                column = self.slots.column(s, found.members)
                if s in chosen.given:
                    k = self.slots.shape(int(found.members[0]), self.graph.cell_states)[s]
                    if to_factor:
                        row = np.full((len(column), k), np.inf)
                        row[np.arange(len(column)), self.states[column]] = 0.0
                    else:
                        row = self._to_given(found, s, k)
                    out.put(s, found.members, row)
                else:
                    out.put(s, found.members, rows[cells[int(column[0])]])
        return out.arrays(self.factor.shape)

    def _free_rows(self, found: Found, *, to_factor: bool) -> list[F64]:
        """Messages of the free slots, in the order of the contribution's slots."""
        place = found.place
        if place.position is not None:
            raw = self._engine_rows(found, to_factor=to_factor)
            return [self.answered.unscaled(rows) for rows in raw]
        if not place.contribution.slots:
            return []
        if to_factor:
            return [self._rest(found)]
        return [at_least_zero(own_energies(self.answered, self.sample, self.slots, found))]

    def _engine_rows(self, found: Found, *, to_factor: bool) -> list[F64]:
        answered, place = self.answered, found.place
        assert place.position is not None and answered.answer.messages is not None
        array = answered.answer.messages.to_factor if to_factor else answered.answer.messages.to_variable
        position = place.position[found.row]
        rows = [np.empty((len(position), place.states[e])) for e in place.contribution.place]
        for run, chosen, within in find_runs(answered.compiled, position):
            for row, e in zip(rows, place.contribution.place):
                row[chosen] = message_rows(answered.compiled, array, run, e, within)
        return rows

    def _raw_to_factor(self, found: Found) -> list[F64]:
        """Messages to the factor in its free slots, in the units of the engine."""
        if found.place.position is not None:
            return self._engine_rows(found, to_factor=True)
        return [times_beta(rows, self.answered.answer.message_beta) for rows in self._free_rows(found, to_factor=True)]

    def _to_given(self, found: Found, slot: int, k: int) -> F64:
        """The message that the declared table sends to a given variable."""
        incoming = self._raw_to_factor(found)
        free = [*found.place.contribution.slots, slot]
        counts = [rows.shape[1] for rows in incoming] + [k]
        index = entries_of(self.slots, found, self.states, counts, free)
        scale = self.answered.answer.message_beta
        if len(counts) > MOST_AXES or math.prod(counts) * len(found.members) > LARGEST_TABLE:
            raise MethodError(
                f"messages of {self.factor.kind}({self.factor.scope}) to its given variables are computed from tables, "
                f"and over {len(counts)} free variables at once these are too large."
            )
        energy = times_beta(pick(self.slots, found, self.values, index, self.graph.cell_states), scale)
        energy = np.broadcast_to(energy, (len(found.members), *counts))
        for s, rows in enumerate(incoming):
            shape = [len(rows)] + [1] * len(counts)
            shape[s + 1] = rows.shape[1]
            energy = energy + rows.reshape(shape)
        problem = self.answered.problem
        summed = not problem.minimize and problem.beta != np.inf
        flat = energy.reshape(len(energy), -1, k)
        if summed:
            row = _log_sum(flat)
        elif not problem.any_soft:
            row = flat.min(axis=1)
        else:
            row = self._mixed(found, energy)
        return self.answered.unscaled(at_least_zero(row))

    def _mixed(self, found: Found, energy: F64) -> F64:
        """Sum over the soft slots, then minimise over the others; factors differ in which of theirs are soft."""
        variable = self.answered.variables(self.sample)
        slots = found.place.contribution.slots
        soft = np.array(
            [self.answered.compiled.variable_soft[variable[self.slots.column(s, found.members)]] for s in slots]
        ).reshape(len(slots), len(energy))
        out = np.empty((len(energy), energy.shape[-1]))
        patterns, which = np.unique(soft, axis=1, return_inverse=True)
        for number in range(patterns.shape[1]):
            chosen = which.reshape(-1) == number
            hard = [i + 1 for i in range(len(slots)) if not patterns[i, number]]
            summed = [i + 1 for i in range(len(slots)) if patterns[i, number]]
            part = energy[chosen].transpose([0, *hard, *summed, energy.ndim - 1])
            n_hard = int(np.prod([energy.shape[i] for i in hard], dtype=np.int64))
            part = part.reshape(len(part), n_hard, -1, energy.shape[-1])
            out[chosen] = _log_sum(part, axis=2).min(axis=1)
        return out

    def _rest(self, found: Found) -> F64:
        """What a variable tells a factor that was folded into it: everything but the factor's own energies."""
        answered = self.answered
        own = own_energies(answered, self.sample, self.slots, found)
        variable = np.broadcast_to(found.place.variable[found.row], (len(own),))
        finite, forbidding = folded_totals(answered, self.sample)
        at = answered.start[variable][:, None] + np.arange(own.shape[1])
        is_inf = np.isinf(own)
        rest = finite[at] - np.where(is_inf, 0.0, own)
        rest[forbidding[at] > is_inf] = np.inf
        return at_least_zero(rest + answered.unscaled(answered.incoming[at]))


class _Rows:
    """Rows of messages gathered by slot and factor; absent states are +inf."""

    def __init__(self, slots: Slots, cell_states: I64) -> None:
        self.slots = slots
        if slots.start is None:
            shape = slots.shape(0, cell_states)
            self.uniform: list[F64] = [np.full((slots.size, k), np.inf) for k in shape]
        else:
            longest = int(np.diff(slots.start).max(initial=0))
            self.ragged: list[list[F64 | None]] = [[None] * slots.size for _ in range(longest)]

    def put(self, slot: int, members: I64, rows: F64) -> None:
        if self.slots.start is None:
            self.uniform[slot][members, : rows.shape[1]] = rows
        else:
            for member, row in zip(members.tolist(), rows):
                self.ragged[slot][member] = row

    def arrays(self, group: tuple[int, ...]) -> list[Any]:
        if self.slots.start is None:
            return [rows.reshape(*group, rows.shape[1]) for rows in self.uniform]
        return list(self.ragged)


def pick(slots: Slots, found: Found, values: Values, index: tuple[I64, ...], cell_states: I64) -> F64:
    """Energies of the factors `found` in the states `index` (see `entries_of`)."""
    factor = slots.factor
    n = len(found.members)
    axes = max((i.ndim for i in index), default=1)
    if factor.reads_table:
        return _table_entries(slots, found, values, index, axes)
    shape = slots.shape(int(found.members[0]), cell_states)
    if factor.compact_entries(shape) > LARGEST_TABLE:
        return _energies_one_by_one(factor, shape, found, values, index, axes)
    table, strides = factor.compact(shape)
    entry = np.zeros((n,) + (1,) * (axes - 1), np.intp)
    for i, stride in zip(index, strides, strict=True):
        entry = entry + i * stride
    row = factor.row_of()[found.members].reshape((n,) + (1,) * (axes - 1))
    return table.pick(factor.number_rows(values), row, entry)


def _energies_one_by_one(
    factor: Factor, shape: tuple[int, ...], found: Found, values: Values, index: tuple[I64, ...], axes: int
) -> F64:
    """As `pick`, of factors whose map would be too large to make."""
    row = factor.row_of()[found.members].reshape((-1,) + (1,) * (axes - 1))
    at = np.broadcast_shapes(row.shape, *(i.shape for i in index))
    chosen = np.array([np.broadcast_to(i, at).reshape(-1) for i in index], np.int64)
    picked = factor.energies_at(factor.number_rows(values), np.broadcast_to(row, at).reshape(-1), chosen, shape)
    return picked.reshape(at)


def _table_entries(slots: Slots, found: Found, values: Values, index: tuple[I64, ...], axes: int) -> F64:
    factor = slots.factor
    tables = factor.bound_table(values)
    if slots.start is not None:
        picked = []
        for n, member in enumerate(found.members.tolist()):
            picked.append(tables[member][tuple(i[n if len(i) > 1 else 0] for i in index)])
        return np.stack(picked)
    group = np.unravel_index(found.members, factor.shape) if factor.shape else ()
    shape = (len(found.members),) + (1,) * (axes - 1)
    entries: F64 = np.asarray(tables)[(*(g.reshape(shape) for g in group), *index)]
    return entries


def own_energies(answered: Answered, sample: int, slots: Slots, found: Found) -> F64:
    """Energies of folded factors over their one free slot, given cells in their states, (n, K)."""
    index = entries_of(slots, found, answered.given[sample].states, found.place.states)
    energies = pick(slots, found, answered.values[sample], index, answered.graphs[sample].cell_states)
    if answered.answer.message_beta == 0.0:
        energies = times_beta(energies, 0.0)  # as all messages at beta = 0: what is allowed counts alike
    return np.broadcast_to(energies, (len(found.members), *found.place.states)).copy()


def folded_totals(answered: Answered, sample: int) -> tuple[F64, I64]:
    """Unary energies of a sample as a finite sum and the number of +inf in it, both (unary_size,)."""
    graph = answered.graphs[sample]
    finite = np.zeros(answered.compiled.unary_size)
    forbidding = np.zeros(answered.compiled.unary_size, np.int64)
    for position in range(len(graph.factors)):
        slots = slots_of(graph, position)
        for found in answered.located(sample, position):
            if found.place.position is None and found.place.contribution.slots:
                own = own_energies(answered, sample, slots, found)
                variable = np.broadcast_to(found.place.variable[found.row], (len(own),))
                at = answered.start[variable][:, None] + np.arange(own.shape[1])
                is_inf = np.isinf(own)
                np.add.at(finite, at, np.where(is_inf, 0.0, own))
                np.add.at(forbidding, at, is_inf)
    return finite, forbidding


def at_least_zero(rows: F64) -> F64:
    """Rows shifted to minimum 0; a row that forbids everything stays."""
    low = rows.min(axis=-1, keepdims=True)
    shifted: F64 = rows - np.where(np.isfinite(low), low, 0.0)
    return shifted


def _log_sum(energies: F64, axis: int = 1) -> F64:
    low = energies.min(axis=axis, keepdims=True)
    low = np.where(np.isfinite(low), low, 0.0)
    with np.errstate(divide="ignore"):
        total = -np.log(np.exp(low - energies).sum(axis=axis))
    result: F64 = total + low.squeeze(axis)
    return result
