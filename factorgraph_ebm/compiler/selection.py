"""Some samples of a compiled union, as a union of their own: nothing is compiled again.

Learning asks for minibatches and for single samples of one union. Variables of a chunk, and the factors of a run within
a chunk, lie side by side, so the arrays of a few samples are cut out in time that depends on these samples, not on the
union. Numbers are taken along, `take`, and a gradient is put back, `add`, its transpose. Order, levels and chunks stay,
so each sample gets the messages, bit for bit, that it gets in the whole union.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from factorgraph_ebm import arrays as a
from factorgraph_ebm.arrays import I64, Bool, Numbers
from factorgraph_ebm.compiler.layout import Blocks, Layout, pack_messages
from factorgraph_ebm.compiler.union import Union
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.factors import STRUCTURES


class Selection(NamedTuple):
    """A union of n chosen samples, and where its arrays lie in the whole one."""

    union: Union
    "to be solved and asked for statistics; it cannot be bound, and has no places"
    samples: I64
    "(n,) numbers in the whole union of its samples"
    variables: I64
    "(V,) engine variables of the whole union, ascending"
    unary: I64 | None
    "(unary_size,) elements of the whole union's `unary`; None: all are taken, as they are"
    store: I64 | None
    "(store_size,) elements of its `store`; one may occur twice"

    def take(self, numbers: Numbers) -> Numbers:
        """The numbers of the chosen samples."""
        if self.unary is None or self.store is None:
            return numbers
        return Numbers(numbers.unary[self.unary], numbers.store[self.store])

    def add(self, gradient: Numbers, out: Numbers) -> None:
        """Add a gradient with respect to the taken numbers to one with respect to the whole union's."""
        if self.unary is None or self.store is None:
            out.unary[:] += gradient.unary
            out.store[:] += gradient.store
            return
        out.unary[self.unary] += gradient.unary
        np.add.at(out.store, self.store, gradient.store)


class _Run(NamedTuple):
    """What is kept of one run."""

    number: int
    rows: I64
    "(n,) factors within the run, ascending"
    blocks: I64
    "the run's blocks in `factor_block`"


class _Store:
    """The elements of the store that are kept, and where they went."""

    def __init__(self) -> None:
        self.taken: list[I64] = []
        self.used = 0

    def keep(self, start: I64, extent: int) -> I64:
        """Keep `extent` elements from each of `start` on; where each begins now."""
        at = self.used + extent * np.arange(len(start))
        self.taken.append((start[:, None] + np.arange(extent)).ravel())
        self.used += extent * len(start)
        return at


def select_samples(union: Union, samples: Sequence[int] | I64 | None = None) -> Selection:
    """The union of some samples of `union`, in the order of `samples`; None: all.

    Raises
    ------
    MethodError : a sample is named twice, or there is none of that number.
    """
    compiled = union.compiled
    if samples is None:
        return Selection(union, np.arange(union.n_samples), np.arange(len(compiled.variable_cell)), None, None)
    chosen = np.asarray(samples, np.int64).reshape(-1)
    place = np.full(union.n_samples, -1)
    if len(chosen) and (chosen.min() < 0 or chosen.max() >= union.n_samples):
        raise MethodError(f"samples= names sample {chosen.max()} of {union.n_samples}, or a negative one.")
    place[chosen] = np.arange(len(chosen))
    if np.any(place[chosen] != np.arange(len(chosen))):
        raise MethodError("samples= names a sample twice. Give each a weight instead.")
    return _cut(union, chosen, place)


def _cut(union: Union, chosen: I64, place: I64) -> Selection:
    layout, whole = union.layout, union.compiled
    chunks = np.unique(whole.sample_chunk[chosen]).astype(np.int64)
    in_chunks = np.zeros(len(whole.chunk_variable_start) - 1, bool)
    in_chunks[chunks] = True
    chunk_start = whole.chunk_variable_start.astype(np.int64)
    variables = _ranges(chunk_start[chunks], chunk_start[chunks + 1])
    variables = variables[place[whole.variable_sample[variables]] >= 0]

    start = whole.variable_start.astype(np.int64)
    unary = _ranges(start[variables], start[variables + 1])
    store = _Store()
    runs = _kept_runs(layout, in_chunks, place)
    field, field_start, number, scope, old_row, new_row = _run_arrays(union, runs, variables, store)
    taken = np.concatenate([*store.taken, np.zeros(0, np.int64)])

    slot_start = whole.variable_slot_start.astype(np.int64)
    slots = _ranges(slot_start[variables], slot_start[variables + 1])
    degree = slot_start[variables + 1] - slot_start[variables]
    new_slot_start = np.concatenate([[0], np.cumsum(degree)])
    split = new_slot_start[:-1] + whole.variable_slot_split[variables] - slot_start[variables]
    message_size = int(new_row[-1]) if len(new_row) else 0

    cell_start = whole.sample_cell_start
    cells = _ranges(cell_start[chosen], cell_start[chosen + 1])
    new_cell_start = np.concatenate([[0], np.cumsum(cell_start[chosen + 1] - cell_start[chosen])])
    old = whole.cell_variable[cells]
    cell_variable = np.where(old < 0, -1, np.searchsorted(variables, old))
    variable_cell = np.full(len(variables), -1)
    variable_cell[cell_variable[old >= 0]] = np.flatnonzero(old >= 0)

    compiled = whole._replace(
        variable_cell=variable_cell,
        variable_sample=place[whole.variable_sample[variables]].astype(np.uint32),
        variable_component=np.searchsorted(variables, whole.variable_component[variables]).astype(np.uint32),
        variable_level=whole.variable_level[variables],
        variable_soft=whole.variable_soft[variables],
        variable_start=np.concatenate([[0], np.cumsum(start[variables + 1] - start[variables])]).astype(np.uint64),
        variable_slot_start=new_slot_start.astype(np.uint32),
        variable_slot_split=split.astype(np.uint32),
        slot_message=new_row[np.searchsorted(old_row, whole.slot_message[slots].astype(np.int64))].astype(np.uint64),
        scope=scope.astype(np.uint32),
        run_field=field,
        run_field_start=field_start,
        factor_number=number.astype(np.uint64),
        sample_chunk=np.searchsorted(chunks, whole.sample_chunk[chosen]).astype(np.uint32),
        chunk_variable_start=np.append(np.searchsorted(variables, chunk_start[chunks]), len(variables)).astype(
            np.uint64
        ),
        sample_forest=whole.sample_forest[chosen],
        sample_exact=whole.sample_exact[chosen],
        cell_variable=cell_variable,
        sample_cell_start=new_cell_start,
        ground=np.searchsorted(variables, whole.ground[chosen]),
        message_size=message_size,
        unary_size=len(unary),
        store_size=len(taken),
    )
    blocks = _factor_blocks(layout.factor_block, runs, chunks)
    compiled = compiled._replace(slot_local=pack_messages(compiled, blocks))
    for array in compiled:
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    part = copy.copy(union)
    part.folds = []
    part.store_size = len(taken)
    part.layout = Layout(
        compiled,
        tuple(layout.kinds[r.number] for r in runs),
        (),
        blocks,
        _variable_blocks(layout.variable_block, variables, chunks, in_chunks),
        layout.is_forest[variables],
    )
    return Selection(part, chosen, variables, unary, taken)


def _ranges(low: I64, high: I64) -> I64:
    """The numbers of all ranges, one range after another."""
    size = high - low
    stop = np.cumsum(size)
    numbers: I64 = np.arange(int(stop[-1]) if len(stop) else 0) + np.repeat(low - stop + size, size)
    return numbers


def _kept_runs(layout: Layout, in_chunks: Bool, place: I64) -> list[_Run]:
    """The runs that have factors of the chosen samples."""
    compiled, blocks = layout.compiled, layout.factor_block
    inside = np.flatnonzero(in_chunks[blocks.chunk])
    low, high, run = blocks.low[inside], blocks.high[inside], blocks.run[inside]
    rows = _ranges(low, high)
    of_block = np.repeat(np.arange(len(inside)), high - low)
    first = compiled.run_field[compiled.run_field_start[run] + a.RUN_SCOPE]
    keep = place[compiled.variable_sample[compiled.scope[first[of_block] + rows]]] >= 0
    rows, of_block = rows[keep], of_block[keep]
    # Blocks are sorted by run, so what is kept of one run lies side by side.
    run_of_row = run[of_block]
    begins = np.flatnonzero(np.diff(run_of_row, prepend=-1))
    kept = []
    for at, stop in zip(begins.tolist(), np.append(begins, len(rows))[1:].tolist()):
        taken = of_block[at:stop]
        number = inside[taken[np.flatnonzero(np.diff(taken, prepend=-1))]]
        kept.append(_Run(int(run_of_row[at]), rows[at:stop], number))
    return kept


def _run_arrays(union: Union, runs: list[_Run], variables: I64, store: _Store) -> tuple[I64, I64, I64, I64, I64, I64]:
    """Fields of the runs and where each begins; numbers and scopes of factors; where each message row lay and lies.

    The last array has one element more, the number of elements of a message array.
    """
    whole = union.compiled
    field: list[I64] = []
    number: list[I64] = []
    scope: list[I64] = []
    old_row: list[I64] = []
    width: list[I64] = []
    factor = message = at = 0
    for r in runs:
        row = whole.run_field[whole.run_field_start[r.number] : whole.run_field_start[r.number + 1]].copy()
        slots = row[a.RUN_HEADER :].reshape(-1, a.SLOT_FIELDS)
        size, n = int(row[a.RUN_SIZE]), len(r.rows)
        extent = _extent(union, r.number, slots)
        if row[a.RUN_SHARED] >= 0:
            row[a.RUN_SHARED] = store.keep(row[a.RUN_SHARED][None], extent)[0]
            number.append(np.zeros(n, np.int64))
        else:
            own = whole.factor_number[row[a.RUN_FACTOR] + r.rows].astype(np.int64)
            first, which = np.unique(own, return_inverse=True)
            number.append(store.keep(first, extent)[which])
        old_scope = whole.scope[row[a.RUN_SCOPE] :][: size * len(slots)].reshape(-1, size)[:, r.rows]
        scope.append(np.searchsorted(variables, old_scope.ravel()))
        row[a.RUN_SIZE], row[a.RUN_FACTOR], row[a.RUN_SCOPE] = n, factor, at
        for slot in slots:
            k = int(slot[a.SLOT_STATES])
            old_row.append(slot[a.SLOT_MESSAGE] + r.rows * k)
            width.append(np.full(n, k))
            slot[a.SLOT_MESSAGE] = message
            message += n * k
        factor += n
        at += n * len(slots)
        field.append(row)
    nothing = np.zeros(0, np.int64)
    field_start = np.concatenate([[0], np.cumsum([len(row) for row in field], dtype=np.int64)])
    all_shared = all(row[a.RUN_SHARED] >= 0 for row in field)
    return (
        np.concatenate([*field, nothing]),
        field_start,
        nothing if all_shared else np.concatenate(number),
        np.concatenate([*scope, nothing]),
        np.concatenate([*old_row, nothing]),
        np.concatenate([[0], np.cumsum(np.concatenate([*width, nothing]))]),
    )


def _extent(union: Union, run: int, slots: I64) -> int:
    """How many elements of the store a factor of this run reads, from its number on."""
    if union.layout.kinds[run] == "Table":
        return 1 + int(((slots[:, a.SLOT_STATES] - 1) * slots[:, a.SLOT_STRIDE]).sum())
    states = tuple(slots[:, a.SLOT_STATES].tolist())
    constant = union.compiled.run_field[union.compiled.run_field_start[run] + a.RUN_CONSTANT]
    return STRUCTURES[union.layout.kinds[run]].row_size(states, union.compiled.constants[constant:])


def _factor_blocks(blocks: Blocks, runs: list[_Run], chunks: I64) -> Blocks:
    pieces = [np.zeros((5, 0), np.int64)]
    for number, r in enumerate(runs):
        low = np.searchsorted(r.rows, blocks.low[r.blocks])
        high = np.searchsorted(r.rows, blocks.high[r.blocks])
        chunk = np.searchsorted(chunks, blocks.chunk[r.blocks])
        pieces.append(np.stack([np.full(len(low), number), chunk, blocks.level[r.blocks], low, high]))
    return _without_empty(np.concatenate(pieces, axis=1))


def _variable_blocks(blocks: Blocks, variables: I64, chunks: I64, in_chunks: Bool) -> Blocks:
    inside = np.flatnonzero(in_chunks[blocks.chunk])
    low, high = (np.searchsorted(variables, side[inside]) for side in (blocks.low, blocks.high))
    chunk = np.searchsorted(chunks, blocks.chunk[inside])
    return _without_empty(np.stack([np.zeros(len(low), np.int64), chunk, blocks.level[inside], low, high]))


def _without_empty(rows: I64) -> Blocks:
    return Blocks(*np.ascontiguousarray(rows[:, rows[3] < rows[4]]))
