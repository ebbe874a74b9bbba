"""Residual schedule: send the messages whose inputs have changed most since they were sent, a block at a time.

The priority of a message is the sum of the changes of its inputs since it was sent, in nats, so nothing is computed in
vain to find it (the zero-lookahead form of Sutton and McCallum, "Improved dynamic schedules for belief propagation",
UAI 2007). Factors that lie side by side in a run make a block, small enough to follow where messages still move and
large enough for vector instructions. A *unit* is what a block sends at once: factors over two variables have one
unit up, to their last variables, and one down, as in a sequential sweep; over more, whose messages have their work in
common, one unit of all. The priority of a unit is what its neighbours' largest changes add up to.

Units fire in rounds: those whose priority is more than half of the largest, up in the order of levels, then down in
reverse. Relaxing the strict order so costs few messages (Aksenov, Alistarh and Korhonen, "Scalable belief propagation
via relaxed scheduling", NeurIPS 2020), and while everything moves, a round is a sequential sweep.

Variables answer late: one to which a message has changed is *stale*, and sends when a unit that reads it fires.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from factorgraph_ebm._jit import F8, I8, INTEGER, NOTHING, READ_I8, READ_U4, REAL, U1, call, inlined, kernel, measure
from factorgraph_ebm.arrays import ALL, F64, I64, U32
from factorgraph_ebm.arrays import U8 as Bytes
from factorgraph_ebm.engine.addresses import address, after, of_runs, of_state, of_variables
from factorgraph_ebm.engine.driver import FORM, RUNAWAY, RUNS, STATE, VARIABLES, larger
from factorgraph_ebm.factors.message_kernels import is_target

U8 = np.uint64
GROUP = 32
"units that are passed over at once where none of them is to fire"
LARGEST = 1024.0
"nats: changes beyond this, a newly forbidden state among them, all come first"
HUB = 16
"units that read a variable beyond which they are not listed with each neighbour: the lists would grow as the square"

PLACE, SURPLUS, FIRST = range(3)
"cursor: units of the round that were passed, messages sent beyond what was asked for, the chunk's first variable"
DOWN, UP = 0, 1
"what a unit sends; ALL where its factors have more than two variables"


class Units(NamedTuple):
    """The units of a chunk, U of them, in the order of a round; B blocks; variables are counted from the chunk's first.

    A unit up reads the variables of side 1 and writes to those of side 0, a unit down the reverse, one of all both.
    """

    block: I64
    "(U,)"
    sends: I64
    "(U,) DOWN, UP or ALL"
    run: I64
    "(B,)"
    low: I64
    "(B,) first factor within the run"
    high: I64
    "(B,)"
    shares: I64
    "(B,) 1 where factors of the block share a variable: a unit may change what itself reads"
    range_start: I64
    "(B + 1,)"
    range_low: I64
    "ranges of variables of a block, slot by slot"
    range_high: I64
    range_side: I64
    "0 where they come last in their factors, else 1: which of their slots they send to, see `arrays.Steps`"
    neighbour_start: I64
    "(U + 1,)"
    neighbour: I64
    "units that read what a unit writes"
    hub_start: I64
    "(U + 1,)"
    hub: I64
    "variables that a unit writes and more than HUB units read"
    reader_start: I64
    "(V + 1,)"
    reader: I64
    "units that read each variable; room for as many as it has slots, -1 behind the last"


class Queue(NamedTuple):
    """What is left to do, unit by unit and in groups of GROUP of them."""

    priority: F64
    "(U,) nats"
    top: F64
    "(groups,) no less than the largest priority of each group"
    stale: Bytes
    "(2 * V,) variables that have not sent since a message to them changed: slots before the split, then the others"
    cursor: I64
    threshold: F64
    "(1,) priorities above it fire in this round"


UNITS = (READ_I8,) * len(Units._fields)
QUEUE = (F8, F8, U1, I8, F8)


@inlined
def _reads(sends, side):  # type: ignore[no-untyped-def]
    return sends == -1 or sends == side


@inlined
def _writes(sends, side):  # type: ignore[no-untyped-def]
    return sends == -1 or sends != side


@kernel(INTEGER, READ_I8, READ_I8, READ_U4, READ_I8, READ_I8, READ_I8, INTEGER, I8, I8, I8, I8, I8, I8)
def lay_ranges(  # type: ignore[no-untyped-def]
    run_field, run_field_start, scope, run, low, high, first, seen, shares,
    range_start, range_low, range_high, range_side,
):  # fmt: skip
    """Write the ranges of variables of each block; return how many. `seen` (V,) enters as -1, `shares` as 0."""
    count = 0
    for b in range(len(run)):
        range_start[b] = count
        field = run_field_start[run[b]]
        n = run_field[field]
        for slot in range(run_field[field + 1]):
            at = run_field[field + 2] + slot * n
            begin = np.int64(scope[U8(at + low[b])])
            stop = begin
            for f in range(U8(at + low[b]), U8(at + high[b])):
                v = np.int64(scope[f])
                mark = U8(v - first)
                if seen[mark] == b:
                    shares[b] = 1
                seen[mark] = b
                if v != stop and v != stop - 1:
                    range_low[count] = begin
                    range_high[count] = stop
                    range_side[count] = 0 if slot == run_field[field + 6] else 1
                    count += 1
                    begin = v
                stop = v + 1
            range_low[count] = begin
            range_high[count] = stop
            range_side[count] = 0 if slot == run_field[field + 6] else 1
            count += 1
    range_start[len(run)] = count
    return count


@kernel(
    NOTHING, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, INTEGER, READ_I8,
    I8, I8, I8, I8, I8, I8, I8,
)  # fmt: skip
def lay_neighbours(  # type: ignore[no-untyped-def]
    block, sends, shares, range_start, range_low, range_high, range_side, first, reader_start,
    seen, filled, reader, neighbour_start, neighbour, hub_start, hub,
):  # fmt: skip
    """Write the readers of each variable, and the neighbours and hubs of each unit.

    `seen` (U + V,) and `reader` enter as -1, `filled` (V,) as 0.
    """
    n = len(block)
    for u in range(n):
        for i in range(range_start[block[u]], range_start[block[u] + 1]):
            if _reads(sends[u], range_side[i]):
                for v in range(range_low[i] - first, range_high[i] - first):
                    at = reader_start[v] + filled[v]
                    if filled[v] == 0 or reader[at - 1] != u:
                        reader[at] = u
                        filled[v] += 1
    neighbours = 0
    hubs = 0
    for u in range(n):
        neighbour_start[u] = neighbours
        hub_start[u] = hubs
        for i in range(range_start[block[u]], range_start[block[u] + 1]):
            if not _writes(sends[u], range_side[i]):
                continue
            for v in range(range_low[i] - first, range_high[i] - first):
                if filled[v] > HUB:
                    if seen[n + v] != u:
                        seen[n + v] = u
                        hub[hubs] = v
                        hubs += 1
                    continue
                for j in range(reader_start[v], reader_start[v] + filled[v]):
                    g = reader[j]
                    if seen[g] != u and (block[g] != block[u] or shares[block[u]] == 1):
                        seen[g] = u
                        neighbour[neighbours] = g
                        neighbours += 1
    neighbour_start[n] = neighbours
    hub_start[n] = hubs


def make_units(
    run_field: I64, run_field_start: I64, scope: U32, slot_start: U32, blocks: tuple[I64, I64, I64], first: int
) -> Units:
    """The units of a chunk's blocks (run, low, high), which come in the order of levels.

    `slot_start`: first slot of each variable of the chunk, from `first` on, and where they end.
    """
    run, low, high = blocks
    n_variables = len(slot_start) - 1
    arity = run_field[run_field_start[run] + 1]
    down = np.flatnonzero(arity == 2)[::-1]
    block = np.concatenate([np.arange(len(run)), down])
    sends = np.full(len(block), DOWN)
    sends[: len(run)] = np.where(arity == 2, UP, ALL)
    start, shares = np.zeros(len(run) + 1, np.int64), np.zeros(len(run), np.int64)
    ranges = [np.empty(int(((high - low) * arity).sum()), np.int64) for _ in range(3)]
    seen = np.full(len(block) + n_variables, -1)
    count = lay_ranges(run_field, run_field_start, scope, run, low, high, first, seen, shares, start, *ranges)
    range_low, range_high, range_side = (x[:count] for x in ranges)
    laid = start, range_low, range_high, range_side
    # Each slot of a variable is read by one unit, and as many units write to a variable as read it.
    reader_start = slot_start.astype(np.int64) - int(slot_start[0])
    few = np.minimum(reader_start[1:] - reader_start[:-1], HUB)
    reader, hub = np.full(int(reader_start[-1]), -1), np.empty(int(reader_start[-1]), np.int64)
    neighbour = np.empty(int(few @ few), np.int64)
    neighbour_start, hub_start = np.empty(len(block) + 1, np.int64), np.empty(len(block) + 1, np.int64)
    seen.fill(-1)
    lay_neighbours(
        block, sends, shares, *laid, first, reader_start,
        seen, np.zeros(n_variables, np.int64), reader, neighbour_start, neighbour, hub_start, hub,
    )  # fmt: skip
    return Units(
        block, sends, run, low, high, shares, *laid, neighbour_start, neighbour, hub_start, hub, reader_start, reader
    )


def make_queue(n_units: int, first: int, n_variables: int) -> Queue:
    """A queue of so many units that have all to fire, over variables from `first` on."""
    # As if a round had just ended.
    cursor = np.array([n_units, 0, first])
    stale = np.ones(2 * n_variables, np.uint8)
    return Queue(np.full(n_units, LARGEST), np.full(-(-n_units // GROUP), LARGEST), stale, cursor, np.zeros(1))


@inlined
def _raise_priority(priority, top, unit, change):  # type: ignore[no-untyped-def]
    b = U8(unit)
    p = priority[b] + change
    p = p if p < LARGEST else LARGEST
    priority[b] = p
    g = b // U8(GROUP)
    if p > top[g]:
        top[g] = p


@inlined
def _largest(x, low, high):  # type: ignore[no-untyped-def]
    found = 0.0
    for i in range(low, high):
        found = x[i] if x[i] > found else found
    return found


@kernel(
    REAL, READ_I8, *FORM, READ_I8, READ_I8, *UNITS, *QUEUE, *VARIABLES, *RUNS, *STATE, F8,
    INTEGER, F8, REAL, REAL,
)  # fmt: skip
def fire_units(  # type: ignore[no-untyped-def]
    kernels, send, keep, slot_kernel, run_slot,
    unit_block, unit_sends, block_run, block_low, block_high, shares, range_start, range_low, range_high, range_side,
    neighbour_start, neighbour, hub_start, hub, reader_start, reader,
    priority, top, stale, cursor, threshold,
    unary, start, slot_start, slot_split, slot_message,
    run_field, run_field_start, factor_number, constants, store, weight,
    to_variable, to_factor, out, scratch, shift, messages, residual, tolerance, damping,
):  # fmt: skip
    """Send about `messages` messages as many times as `residual` is long, or until nothing is left to send.

    `residual` receives the largest priority left each time: at most `tolerance` where nothing was left to send, and
    beyond RUNAWAY, or NaN, the change that ended it. Returns how many times.
    """
    unary, start, slot_start, slot_split, slot_message = of_variables(
        unary, start, slot_start, slot_split, slot_message
    )
    run_field, run_field_start, factor_number, constants, store, weight = of_runs(
        run_field, run_field_start, factor_number, constants, store, weight
    )
    to_variable, to_factor, out, scratch = of_state(to_variable, to_factor, out, scratch)
    shift = address(shift)
    n = len(priority)
    n_variables = U8(len(stale) // 2)
    first_variable = U8(cursor[FIRST])
    for time in range(len(residual)):
        sent = cursor[SURPLUS]
        while sent < messages:
            if cursor[PLACE] == n:
                largest = _largest(top, 0, len(top))
                if largest <= tolerance:
                    break
                threshold[0] = larger(0.5 * largest, tolerance)
                cursor[PLACE] = 0
            u = cursor[PLACE]
            g = u // GROUP
            end = (g + 1) * GROUP if (g + 1) * GROUP < n else n
            if top[g] <= threshold[0]:
                cursor[PLACE] = end
                continue
            cursor[PLACE] += 1
            if priority[u] > threshold[0]:
                b = unit_block[u]
                sends = unit_sends[u]
                for i in range(range_start[b], range_start[b + 1]):
                    side = range_side[i]
                    if not _reads(sends, side):
                        continue
                    v_low, v_high = U8(range_low[i]), U8(range_high[i])
                    mark = v_low - first_variable + (n_variables if side == 1 else U8(0))
                    waits = False
                    for j in range(v_high - v_low):
                        if stale[mark + j] != 0:
                            waits = True
                            break
                    if waits:
                        call(send, (
                            unary, start, slot_start, slot_split, slot_message, to_variable, to_factor, scratch, shift,
                            v_low, v_high, side,
                        ))  # fmt: skip
                        for j in range(v_high - v_low):
                            stale[mark + j] = 0
                priority[u] = 0.0
                r = block_run[b]
                run = after(run_field, run_field_start[r])
                number = after(factor_number, run[3])
                low = U8(block_low[b])
                high = U8(block_high[b])
                last = run[6]
                target = -1 if sends == -1 else (last if sends == UP else -2 - last)
                # All slots at once where one kernel serves them: over many variables its work is mostly in common.
                which = run_slot[r]
                alike = True
                for slot in range(1, run[1]):
                    alike = alike and slot_kernel[which + slot] == slot_kernel[which]
                change = 0.0
                for slot in range(1 if alike else run[1]):
                    if not alike and not is_target(slot, target):
                        continue
                    aim = target if alike else slot
                    serves = kernels[slot_kernel[which + slot]]
                    call(serves, (run, number, store, weight, constants, to_factor, out, scratch, low, high, aim))
                    change = larger(change, measure(keep, (run, out, to_variable, shift, low, high, aim, damping)))
                sent += (block_high[b] - block_low[b]) * (run[1] if sends == -1 else 1)
                if change != change or RUNAWAY < change < np.inf:
                    cursor[SURPLUS] = 0
                    residual[time] = change
                    return time + 1.0
                if change > 0.0:
                    for i in range(range_start[b], range_start[b + 1]):
                        if _writes(sends, range_side[i]):
                            mark = U8(range_low[i]) - first_variable
                            for j in range(U8(range_high[i]) - U8(range_low[i])):
                                stale[mark + j] = 1
                                stale[n_variables + mark + j] = 1
                    for i in range(neighbour_start[u], neighbour_start[u + 1]):
                        _raise_priority(priority, top, neighbour[i], change)
                    for i in range(hub_start[u], hub_start[u + 1]):
                        for j in range(reader_start[hub[i]], reader_start[hub[i] + 1]):
                            if reader[j] < 0:
                                break
                            if unit_block[reader[j]] != b or shares[b] == 1:
                                _raise_priority(priority, top, reader[j], change)
                    # A damped message has not arrived where it was going.
                    if damping > 0.0:
                        _raise_priority(priority, top, u, damping * change)
            if u == end - 1:
                top[g] = _largest(priority, g * GROUP, end)
        cursor[SURPLUS] = sent - messages if sent > messages else 0
        residual[time] = _largest(priority, 0, n)
        if residual[time] <= tolerance and tolerance > 0.0:
            return time + 1.0
    return np.float64(len(residual))
