"""Message passing over one union: prepared numbers, the kernels of a question, and the state of the messages."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from factorgraph_ebm import arrays as a
from factorgraph_ebm._jit import Kernel, addresses
from factorgraph_ebm.arrays import F64, I64, U8, U32, U64, Messages, Numbers, Steps
from factorgraph_ebm.compiler.layout import Layout, variable_chunks
from factorgraph_ebm.compiler.schedules import WIDEST, Operators
from factorgraph_ebm.engine.bounds import add_lower_bounds
from factorgraph_ebm.engine.decoding import choose_states
from factorgraph_ebm.engine.driver import run_steps
from factorgraph_ebm.engine.forest import join_energies, keep_unaries
from factorgraph_ebm.engine.free_energy import add_free_energies
from factorgraph_ebm.engine.messages import store_energies
from factorgraph_ebm.engine.variables import lowest_states, send_to_factors, sum_beliefs, to_probabilities
from factorgraph_ebm.factors.message_kernels import BLOCK, HEAVIEST
from factorgraph_ebm.inference.in_order import lay_in_order
from factorgraph_ebm.inference.mirrors import Read, add_mirrors, read_part
from factorgraph_ebm.inference.remembering import once_for
from factorgraph_ebm.inference.tables import scratch_size

SLICE = 1 << 17
"variables that one compiled call works on: between calls Python hears of Ctrl-C"
SCRATCH = 1 << 17
"elements of working space: a block is smaller where rows are long"
PACE = 0.05
"seconds that one compiled call should take"


class Workspace:
    """The working space of one thread."""

    def __init__(self, out: int, scratch: int) -> None:
        self.out = np.zeros(out)
        self.scratch = np.zeros(scratch)
        self.shift = np.zeros(max(WIDEST, BLOCK))

    @property
    def arrays(self) -> tuple[F64, F64, F64]:
        return self.out, self.scratch, self.shift


class Passing:
    """The engine with its arrays in hand. Messages are energies; the classes of `inference.forms` have other forms."""

    form: ClassVar[str] = "energies"
    send_kernel: ClassVar[Kernel] = send_to_factors
    keep_kernel: ClassVar[Kernel] = store_energies
    join_kernel: ClassVar[Kernel] = join_energies
    weigh_kernel: ClassVar[Kernel] = keep_unaries
    decide_kernel: ClassVar[Kernel | None] = None
    "likelier states of variables, where the driver may look for what is violated by itself: see `inference.stopping`"
    neutral: ClassVar[float] = 0.0
    pairs: tuple[U32, U64] = np.zeros(0, np.uint32), np.zeros(0, np.uint64)
    "the variables that it decides, and where those of each chunk begin"

    def __init__(
        self, layout: Layout, numbers: Numbers, *, minimize: bool, start: Messages | None = None,
        repeated: bool = False, threads: int | None = 1, silent: bool = False,
    ) -> None:  # fmt: skip
        """`repeated`: messages are sent many times, so it pays to lay tables out for it. `silent`: without messages."""
        compiled = layout.compiled
        self.layout = layout
        self.minimize = minimize
        self.compiled = compiled
        self.operators, self.kernels = once_for(
            compiled, ("operators", minimize, self.form), lambda: _operators(layout, minimize, self.form)
        )
        self.pointed = self.send_kernel.address, self.keep_kernel.address
        self._lay_out(numbers, repeated)
        self._make_room()
        self._threads = threads
        if not silent:
            self.begin(start)

    def begin(self, start: Messages | None = None) -> None:
        """Begin with the messages of `start`, else with neutral ones."""
        if start is None:
            self.take(np.full(self.message_size, self.neutral))
        else:
            compiled = self.compiled
            kept = _without_proofs(start.to_variable, compiled.run_field, compiled.run_field_start)
            self.take(self.of_energies(kept))

    def take(self, to_variable: F64) -> None:
        """Take these messages to variables, and let variables send in answer."""
        self.to_variable = to_variable
        self.to_factor = np.full(self.message_size, self.neutral)
        self.send()

    def _lay_out(self, numbers: Numbers, repeated: bool) -> None:
        """Prepare the numbers, and the arrays that say where rows of messages lie."""
        compiled = self.compiled
        self.message_size = compiled.message_size
        self.unary = self.energy = numbers.unary
        self.least = np.zeros(0)
        self.store, field, number = self._placed(read_part(numbers.store, self.layout), repeated)
        sums = any(k.name.endswith(("sum", "mixed")) for k in self.operators.kernels)
        self.weight = weights(self.store) if sums else np.zeros(0)
        self.variables = (
            self.unary, compiled.variable_start, compiled.variable_slot_start, compiled.variable_slot_split,
            compiled.slot_message,
        )  # fmt: skip
        self.runs = (
            field, compiled.run_field_start, number, compiled.constants, self.store, self.weight,
        )  # fmt: skip

    def _placed(self, read: Read, repeated: bool) -> Read:
        """The numbers as the kernels like to read them."""
        return lay_in_order(read, self.layout) if repeated else add_mirrors(read, self.layout, repeated)

    def _make_room(self) -> None:
        self.block, self._room = once_for(self.compiled, "room", self._find_room)
        self.spaces = [Workspace(*self._room)]

    def _find_room(self) -> tuple[np.uint64, tuple[int, int]]:
        """Factors that are worked on at once, and the elements of working space that they take."""
        compiled = self.compiled
        widths, arities, rooms = [1], [1], [1]
        for run, kind in enumerate(self.layout.kinds):
            slots = compiled.run_field[compiled.run_field_start[run] + a.RUN_HEADER : compiled.run_field_start[run + 1]]
            widths.append(int(slots[a.SLOT_STATES :: a.SLOT_FIELDS].sum()))
            arities.append(len(slots) // a.SLOT_FIELDS)
            rooms.append(scratch_size(compiled, kind, run))
        widest = int(np.diff(compiled.variable_start.astype(np.int64)).max(initial=1))
        block = max(1, min(BLOCK, SCRATCH // max(widths + rooms)))
        return np.uint64(block), (block * max(widths) + widest, block * max(rooms) + 4 * max(arities) + 8 + widest)

    @property
    def out(self) -> F64:
        return self.spaces[0].out

    @property
    def scratch(self) -> F64:
        return self.spaces[0].scratch

    def of_energies(self, messages: F64) -> F64:
        """Messages in energies, in the form of this class."""
        return messages

    def energies(self) -> Messages:
        """The messages as energies."""
        return Messages(self.to_variable, self.to_factor)

    def send(self) -> None:
        """Let every variable send to all its factors."""
        n = len(self.compiled.variable_cell)
        scratch, shift = self.spaces[0].scratch, self.spaces[0].shift
        for low in range(0, n, WIDEST):
            high = min(low + WIDEST, n)
            self.send_kernel(*self.variables, self.to_variable, self.to_factor, scratch, shift, low, high, a.ALL)

    def room_for_probabilities(self) -> F64:
        """Where forests write their probabilities, (unary_size,)."""
        return np.empty(self.compiled.unary_size)

    def least_energies(self) -> F64:
        """What was taken off the unary energies of each sample, (N,)."""
        return np.zeros(len(self.compiled.sample_chunk))

    def run(self, steps: Steps, first: int, stop: int, damping: float) -> float:
        """Run some steps of a schedule; the largest change of a message, in nats."""
        change, count, low = 0.0, 64, first
        while low < stop:
            high = min(low + count, stop)
            began = time.perf_counter()
            moved = run_steps(
                self.kernels, *self.pointed, *columns(steps), low, high, *self.arguments(self.spaces[0], damping)
            )
            change = moved if not moved <= change and change == change else change
            count = paced(count, time.perf_counter() - began)
            low = high
        return change

    def threads_for(self, stage: float) -> int:
        """How many threads to use where each stage takes that many nanoseconds on one."""
        if self._threads is not None:
            return self._threads
        return processors() if stage > 5000.0 else 1

    def workspaces(self, threads: int) -> list[Workspace]:
        """Working space for so many threads."""
        while len(self.spaces) < threads:
            self.spaces.append(Workspace(*self._room))
        return self.spaces

    def arguments(self, space: Workspace, damping: float) -> tuple[Any, ...]:
        """What every driver takes last: variables, runs, messages, working space, damping."""
        out, scratch, shift = space.arrays
        state = self.to_variable, self.to_factor, out, scratch, shift
        return (*self.variables, *self.runs, *state, self.block, damping)

    def likeliest(self, state: I64, chunks: Sequence[int]) -> None:
        """Write states of least belief of these chunks."""
        found = self.lowest(self.beliefs())
        np.copyto(state, found, where=np.isin(variable_chunks(self.compiled), chunks))

    def decoded(self, state: I64, chunks: Sequence[int]) -> bool:
        """Write states of these chunks, minimising decoded one variable after another; whether there are such."""
        decodes = self.minimize and not self.compiled.variable_soft.any()
        if decodes:
            chunk_start = self.compiled.chunk_variable_start.astype(np.int64)
            to_factor = self.to_factor.copy()
            for chunk in chunks:
                first, stop = int(chunk_start[chunk]), int(chunk_start[chunk + 1])
                state[first:stop] = -1
                self.choose(state, to_factor, first, stop, local=False)
        return decodes

    def slot_kernels(self) -> tuple[I64, I64]:
        """Kernel of each slot of each run, flat, and where the slots of each run begin."""
        of_slot = self.operators.of_slot
        start = np.concatenate([[0], np.cumsum([len(k) for k in of_slot])]).astype(np.int64)
        return np.array([k for kernels in of_slot for k in kernels], np.int64), start

    def last_kernels(self) -> I64:
        """Kernel of the slot of each run's last variable, (R,)."""
        last = a.run_fields(self.compiled, a.RUN_LAST)
        return np.array([k[int(s)] for k, s in zip(self.operators.of_slot, last)], np.int64)

    def beliefs(self) -> F64:
        """Unary energies plus incoming messages, (unary_size,), not normalised."""
        belief = np.empty(self.compiled.unary_size)
        unary, start, slot_start, _, slot_message = self.variables
        n = len(self.compiled.variable_cell)
        sum_beliefs(unary, start, slot_start, slot_message, self.to_variable, belief, 0, n)
        return belief

    def joined(self) -> tuple[F64, F64]:
        """Probabilities (unary_size,) and free energies of the beliefs (V,)."""
        probability = np.empty(self.compiled.unary_size)
        free_energy = np.empty(len(self.compiled.variable_cell))
        unary, start, slot_start, _, slot_message = self.variables
        n = len(free_energy)
        self.join_kernel(unary, start, slot_start, slot_message, self.to_variable, probability, free_energy, 0, n)
        return probability, free_energy

    def marginals(self) -> tuple[F64, F64, F64]:
        """Probabilities (unary_size,), log Z of samples (N,), free energies of beliefs (V,); NaN: digits were lost."""
        probability, free_energy = self.joined()
        return probability, -self.free_energies(self.beliefs()), free_energy

    def probabilities(self, belief: F64) -> F64:
        out = np.empty(self.compiled.unary_size)
        to_probabilities(self.compiled.variable_start, belief, out)
        return out

    def lowest(self, belief: F64) -> I64:
        state = np.empty(len(self.compiled.variable_cell), np.int64)
        lowest_states(self.compiled.variable_start, belief, state)
        return state

    def free_energies(self, belief: F64) -> F64:
        """Bethe free energy of each sample, (N,), +inf where infeasible."""
        compiled = self.compiled
        total = np.zeros(len(compiled.sample_chunk))
        add_free_energies(
            self.kernels, self.last_kernels(), *self.variables, compiled.scope, compiled.variable_sample, *self.runs,
            self.to_variable, self.to_factor, self.out, self.scratch, self.block, belief, total,
        )  # fmt: skip
        return total

    def lower_bounds(self, shares: Sequence[float] = (1.0, 0.5, 0.0)) -> tuple[F64, F64]:
        """Bound below the energy of each sample from the present messages, and the rounding slack it carries, (N,).

        Any multiple of the messages gives a valid bound. Around loops evidence is counted several times, so half of
        them, or none, is often better than all; the best of these `shares` is taken.
        """
        shift = np.zeros(0)
        if any(shares):
            shift = np.where(np.isfinite(self.to_variable), self.to_variable, 0.0)
        bounds, sizes = zip(*(self._bounds_from(share * shift if share else None) for share in shares))
        best = np.argmax(bounds, axis=0)
        at = np.arange(len(best))
        return np.array(bounds)[best, at], 1e-15 * np.array(sizes)[best, at]

    def _bounds_from(self, shift: F64 | None) -> tuple[F64, F64]:
        """The bound with these messages, or with none, and the sum of the magnitudes of its terms."""
        compiled = self.compiled
        total = np.zeros(len(compiled.sample_chunk))
        size = np.zeros(len(compiled.sample_chunk))
        unary, start, slot_start, _, slot_message = self.variables
        if shift is None:
            belief, minus = unary, np.zeros(self.message_size)
        else:
            belief, minus = np.empty(compiled.unary_size), -shift
            sum_beliefs(unary, start, slot_start, slot_message, shift, belief, 0, len(compiled.variable_cell))
        add_lower_bounds(
            self.kernels, self.last_kernels(), compiled.variable_start, compiled.scope, compiled.variable_sample,
            *self.runs, minus, self.out, self.scratch, self.block, belief, total, size,
        )  # fmt: skip
        return total, size

    def choose(
        self, state: I64, to_factor: F64, first: int, stop: int, *, local: bool, settled: U8 | None = None
    ) -> int:
        """One pass of decoding or of local search over variables first to stop; how many changed.

        `settled` (V,) takes note of which variables local search need not look at in the next pass.
        """
        settled = np.zeros(len(state), np.uint8) if settled is None else settled
        kernel, start = self.slot_kernels()
        slices = [(low, min(low + SLICE, stop)) for low in range(first, stop, SLICE)]
        changed = 0
        for low, high in slices if local else slices[::-1]:
            changed += choose_states(
                self.kernels, kernel, *self.variables, start, *self.runs,
                self.to_variable, to_factor, self.out, self.scratch, self.compiled.scope, low, high, state, settled,
                int(local),
            )  # fmt: skip
        return changed


def _operators(layout: Layout, minimize: bool, form: str) -> tuple[Operators, Any]:
    operators = Operators(layout, minimize=minimize, form=form)
    return operators, addresses(operators.kernels)


def columns(steps: Steps) -> tuple[I64, I64, I64, I64, I64]:
    """What a driver reads of each step."""
    return steps.kernel, steps.run, steps.low, steps.high, steps.target


def paced(count: int, seconds: float) -> int:
    """How many to do in the next call, so that it takes PACE seconds: at most four times as many as in the last."""
    return max(1, min(4 * count, int(count * PACE / max(seconds, 1e-6))))


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def weights(store: F64) -> F64:
    """exp(-store), +inf beyond HEAVIEST, which sends a kernel to its exact path (see `message_kernels`)."""
    with np.errstate(over="ignore"):
        weight = np.exp(-store)
    weight[weight > HEAVIEST] = np.inf
    return weight


def _without_proofs(messages: F64, field: I64, start: I64) -> F64:
    """A former answer's messages with rows that forbid something reset: under other numbers they prove nothing."""
    kept = messages.copy()
    for run in range(len(start) - 1):
        n = int(field[start[run]])
        for s in range(int(field[start[run] + a.RUN_ARITY])):
            k, _, m, _ = field[start[run] + a.RUN_HEADER + s * a.SLOT_FIELDS :][: a.SLOT_FIELDS]
            rows = kept[m : m + n * k].reshape(n, k)
            rows[~np.isfinite(rows).all(axis=1)] = 0.0
    return kept
