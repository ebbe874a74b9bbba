"""Parts laid out as runs: the flat arrays that the engine reads.

Variables are sorted by chunk, level and whether they have two states; factors by run, chunk, level and variable, so
that those beside each other write to the same and the next variables. A chunk is one sample that must be iterated, or
as many samples as make a few thousand variables of those that one sweep solves: each sample of a list stops when it has
converged, and what is worked on stays in cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from factorgraph_ebm import arrays as a
from factorgraph_ebm.arrays import F64, I64, U8, U32, U64, Bool, Compiled
from factorgraph_ebm.compiler.ordering import assign_levels, counting_order, highest_ranks, place_slots
from factorgraph_ebm.compiler.parts import Cells, Part
from factorgraph_ebm.compiler.topology import Topology, find_topology

CHUNK = 4096
"variables of forest samples that are worked on together: their messages fit a second-level cache"


class EnginePart(NamedTuple):
    """A part that became factors of the engine."""

    part: Part
    kind: str
    offset: int | I64
    "element of the store of each factor's numbers"
    strides: tuple[int, ...]
    "of its table, slot by slot (0 for kinds that read no table)"
    constant: int
    "element of `constants`"


class Blocks(NamedTuple):
    """Ranges of factors or variables that a schedule handles in one step, (blocks,) each."""

    run: I64
    chunk: I64
    level: I64
    low: I64
    high: I64


class Layout(NamedTuple):
    compiled: Compiled
    kinds: tuple[str, ...]
    "(R,) kind of each run"
    position: tuple[U32, ...]
    "for each engine part, (n,) number of each of its factors in the engine"
    factor_block: Blocks
    "ranges of factors of one run, chunk and level, low and high counting within the run"
    variable_block: Blocks
    "ranges of variables of one chunk and level; `run` is 0"
    is_forest: Bool
    "(V,) read at `variable_component`"


def lay_out(parts: Sequence[EnginePart], cells: Cells, n_samples: int, constants: F64, store_size: int) -> Layout:
    n_free = cells.n_free
    n_variables = n_free + n_samples
    is_free = cells.free >= 0
    states = np.concatenate([cells.states[is_free], np.ones(n_samples, np.int64)])
    sample = np.concatenate([cells.sample[is_free], np.arange(n_samples)])
    soft = np.concatenate([cells.soft[is_free], np.zeros(n_samples, bool)]).astype(np.uint8)
    top = find_topology([p.part for p in parts], n_variables, soft)
    n_factors = len(top.factor_start) - 1
    variable_level = np.empty(n_variables, np.int64)
    factor_level = np.zeros(n_factors, np.int64)
    last = np.empty(n_factors, np.int64)
    assign_levels(
        top.factor_start, top.slot_variable, top.slot_factor, top.start, top.slot, top.order,
        variable_level, factor_level, last,
    )  # fmt: skip

    sample_forest = np.ones(n_samples, bool)
    sample_forest[sample[top.peeled == 0]] = False
    sample_exact = sample_forest.copy()
    sample_exact[sample[top.peeled == 2]] = False
    sample_chunk = _chunks(np.bincount(sample, minlength=n_samples), sample_exact)
    n_chunks = int(sample_chunk[-1]) + 1 if n_samples else 0
    n_levels = int(variable_level.max(initial=0)) + 1

    chunk = sample_chunk[sample]
    key = ((chunk * n_levels + variable_level) << 1) + (states != 2)
    order = _stable_order(key, 2 * n_chunks * n_levels)
    rank = np.empty(n_variables, np.int64)
    rank[order] = np.arange(n_variables)
    variable_start = np.concatenate([[0], np.cumsum(states[order])])

    runs = _Runs(parts, top, last, soft)
    first_variable = top.slot_variable[top.factor_start[:-1]] if n_factors else np.zeros(0, np.int64)
    factor_chunk = chunk[first_variable]
    highest = np.empty(n_factors, np.int64)
    highest_ranks(top.factor_start, top.slot_variable, last, rank, highest)
    factor_order = _stable_order(highest, n_variables)
    if len(runs.keys) > 1:
        factor_order = factor_order[_stable_order(runs.of_factor[factor_order], len(runs.keys))]
    position = np.empty(n_factors, np.int64)
    position[factor_order] = np.arange(n_factors)
    run_start = np.concatenate([[0], np.cumsum(np.bincount(runs.of_factor, minlength=len(runs.keys)))])

    field, field_start, message_size = runs.fields(run_start)
    all_shared = all(isinstance(p.offset, int) for p in parts)
    number = np.zeros(0 if all_shared else n_factors, np.uint64)
    run_of = runs.of_factor[factor_order]
    blocks = _blocks(run_of, factor_chunk[factor_order], factor_level[factor_order])
    blocks = blocks._replace(low=blocks.low - run_start[blocks.run], high=blocks.high - run_start[blocks.run])
    part_positions = []
    at = 0
    for p in parts:
        where = position[at : at + p.part.columns.shape[1]]
        at += len(where)
        part_positions.append(where.astype(np.uint32))
        if not isinstance(p.offset, int):
            number[where] = p.offset
    n_slots = len(top.slot_variable)
    scope = np.empty(n_slots, np.uint32)
    slot_start, slot_split = np.empty(n_variables + 1, np.uint32), np.empty(n_variables, np.uint32)
    slot_message = np.empty(n_slots, np.uint64)
    place_slots(
        top.factor_start, top.slot_variable, top.start, top.slot, order, rank, last, position, runs.of_factor, field,
        field_start, np.empty(n_slots, np.int64), scope, slot_start, slot_split, slot_message,
    )  # fmt: skip
    compiled = Compiled(
        variable_cell=np.concatenate([np.flatnonzero(is_free), np.full(n_samples, -1)])[order],
        variable_sample=sample[order].astype(np.uint32),
        variable_component=rank[top.component[order]].astype(np.uint32),
        variable_level=variable_level[order].astype(np.uint32),
        variable_soft=soft[order],
        variable_start=variable_start.astype(np.uint64),
        variable_slot_start=slot_start,
        variable_slot_split=slot_split,
        slot_message=slot_message,
        slot_local=np.zeros(0, np.uint64),
        scope=scope,
        run_field=field,
        run_field_start=field_start,
        factor_number=number,
        constants=constants,
        sample_chunk=sample_chunk.astype(np.uint32),
        chunk_variable_start=np.searchsorted(chunk[order], np.arange(n_chunks + 1)).astype(np.uint64),
        sample_forest=sample_forest,
        sample_exact=sample_exact,
        cell_variable=np.where(is_free, rank[cells.free], -1) if len(is_free) else np.zeros(0, np.int64),
        sample_cell_start=cells.start,
        ground=rank[n_free:].copy(),
        message_size=message_size,
        unary_size=int(variable_start[-1]),
        store_size=store_size,
    )
    compiled = compiled._replace(slot_local=pack_messages(compiled, blocks))
    for array in compiled:
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    is_forest = top.is_forest[order]  # labels were moved to engine order with the variables
    variables = _blocks(np.zeros(n_variables, np.int64), chunk[order], variable_level[order])
    return Layout(compiled, tuple(k.kind for k in runs.keys), tuple(part_positions), blocks, variables, is_forest)


def _blocks(run: I64, chunk: I64, level: I64) -> Blocks:
    n = len(run)
    new = np.ones(n, bool)
    new[1:] = (run[1:] != run[:-1]) | (chunk[1:] != chunk[:-1]) | (level[1:] != level[:-1])
    low = np.flatnonzero(new)
    return Blocks(run[low], chunk[low], level[low], low, np.append(low, n)[1:])


def _chunks(sizes: I64, exact: Bool) -> I64:
    """Chunk of each sample: one for itself, or one for several that need a single sweep."""
    chunk = np.empty(len(sizes), np.int64)
    number, filled = -1, CHUNK
    for i, (size, is_exact) in enumerate(zip(sizes.tolist(), exact.tolist())):
        if not is_exact or filled + size > CHUNK:
            number += 1
            filled = 0
        filled = filled + size if is_exact else CHUNK
        chunk[i] = number
    return chunk


def _stable_order(key: I64, n_keys: int) -> I64:
    if n_keys > 4 * len(key) + 1024:  # mostly empty buckets: number the keys that occur
        key = np.unique(key, return_inverse=True)[1].astype(np.int64)
        n_keys = int(key.max(initial=0)) + 1
    order = np.empty(len(key), np.int64)
    counting_order(np.ascontiguousarray(key), np.zeros(n_keys + 1, np.int64), order)
    return order


def joined(blocks: Blocks) -> Blocks:
    """Blocks of one run and chunk joined over their levels, which lie side by side."""
    n = len(blocks.run)
    new = np.ones(n, bool)
    new[1:] = (blocks.run[1:] != blocks.run[:-1]) | (blocks.chunk[1:] != blocks.chunk[:-1])
    first = np.flatnonzero(new)
    final = np.append(first, n)[1:] - 1
    return blocks._replace(
        run=blocks.run[first], chunk=blocks.chunk[first], level=blocks.level[first],
        low=blocks.low[first], high=blocks.high[final],
    )  # fmt: skip


def pack_messages(compiled: Compiled, blocks: Blocks) -> U64:
    """`slot_local`: where rows lie when only the messages of one chunk do, run after run, slot by slot."""
    if not compiled.sample_forest.any():
        return np.zeros(0, np.uint64)
    whole = joined(blocks)
    order = np.lexsort((whole.run, whole.chunk))
    run, chunk, low = whole.run[order], whole.chunk[order], whole.low[order]
    size = whole.high[order] - low
    fields = [
        compiled.run_field[first + a.RUN_HEADER : stop].reshape(-1, a.SLOT_FIELDS)
        for first, stop in zip(compiled.run_field_start[:-1].tolist(), compiled.run_field_start[1:].tolist())
    ]
    width = np.array([f[:, a.SLOT_STATES].sum() for f in fields] or [0], np.int64)
    end = np.cumsum(size * width[run])
    n_chunks = len(compiled.chunk_variable_start) - 1
    first = np.searchsorted(chunk, chunk)  # the first block of the same chunk
    begin = (end - size * width[run]) - (end - size * width[run])[first]
    # Rows of runs lie one after another, so the start of a row tells its run and slot.
    slots = np.concatenate([*fields, np.zeros((0, a.SLOT_FIELDS), np.int64)])
    run_of = np.repeat(np.arange(len(fields)), [len(f) for f in fields])
    before = np.concatenate([*(np.cumsum(f[:, 0]) - f[:, 0] for f in fields), np.zeros(0, np.int64)])
    message = compiled.slot_message.astype(np.int64)
    which = np.searchsorted(slots[:, a.SLOT_MESSAGE], message, side="right") - 1
    states = slots[which, a.SLOT_STATES]
    factor = (message - slots[which, a.SLOT_MESSAGE]) // states
    slot_chunk = np.repeat(variable_chunks(compiled), sizes(compiled.variable_slot_start))
    back = np.lexsort((chunk, run))
    code = run[back] * n_chunks + chunk[back]
    block = back[np.searchsorted(code, run_of[which] * n_chunks + slot_chunk)]
    local: I64 = begin[block] + size[block] * before[which] + (factor - low[block]) * states
    return local.astype(np.uint64)


def sizes(start: U64 | U32) -> I64:
    """How long each range is of an array of starts."""
    ends = start.astype(np.int64)
    found: I64 = ends[1:] - ends[:-1]
    return found


def variable_chunks(compiled: Compiled) -> I64:
    """Chunk of each variable, (V,)."""
    count = sizes(compiled.chunk_variable_start)
    return np.repeat(np.arange(len(count)), count)


class _RunKey(NamedTuple):
    kind: str
    states: tuple[int, ...]
    strides: tuple[int, ...]
    shared: int
    constant: int
    last: int
    soft: tuple[int, ...]


class _Runs:
    """Which run each factor belongs to, in topology order."""

    def __init__(self, parts: Sequence[EnginePart], top: Topology, last: I64, soft: U8) -> None:
        self.keys: list[_RunKey] = []
        known: dict[_RunKey, int] = {}
        self.of_factor = np.empty(len(last), np.int64)
        any_soft = bool(soft.any())
        at = 0
        for p in parts:
            n = p.part.columns.shape[1]
            lasts = last[at : at + n]
            softness = soft[p.part.columns] if any_soft else None
            code = lasts
            if softness is not None:
                patterns = np.unique(np.concatenate([lasts[None], softness]), axis=1, return_inverse=True)[1]
                code = patterns.reshape(-1).astype(np.int64)
            shared = p.offset if isinstance(p.offset, int) else -1
            for value in np.flatnonzero(np.bincount(code)).tolist():
                chosen = code == value
                i = int(np.argmax(chosen))
                flags = tuple(int(row[i]) for row in softness) if softness is not None else (0,) * len(p.part.states)
                key = _RunKey(p.kind, p.part.states, p.strides, shared, p.constant, int(lasts[i]), flags)
                run = known.setdefault(key, len(known))
                if run == len(self.keys):
                    self.keys.append(key)
                self.of_factor[at : at + n][chosen] = run
            at += n

    def fields(self, run_start: I64) -> tuple[I64, I64, int]:
        """Rows of fields, where each begins, and the number of elements of a message array."""
        field: list[int] = []
        start = [0]
        scope = message = 0
        for r, key in enumerate(self.keys):
            n = int(run_start[r + 1] - run_start[r])
            arity = len(key.states)
            field += [n, arity, scope, int(run_start[r]), key.shared, key.constant, key.last, 0]
            for s in range(arity):
                field += [key.states[s], key.strides[s], message, key.soft[s]]
                message += n * key.states[s]
            scope += n * arity
            start.append(len(field))
        return np.array(field, np.int64), np.array(start, np.int64), message
