"""Message passing over one union: prepared numbers, the kernels of a question, and the state of the messages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from factorgraph_ebm import arrays as a
from factorgraph_ebm._jit import pointers
from factorgraph_ebm.arrays import F64, I64, Messages, Numbers, Steps
from factorgraph_ebm.compiler.layout import Layout
from factorgraph_ebm.compiler.schedules import Operators
from factorgraph_ebm.engine.bounds import add_lower_bounds
from factorgraph_ebm.engine.driver import add_free_energies, choose_states, run_steps
from factorgraph_ebm.engine.residual import Queue, fire_factors
from factorgraph_ebm.engine.variables import lowest_states, send_to_factors, sum_beliefs, to_probabilities
from factorgraph_ebm.factors.message_kernels import BLOCK, HEAVIEST
from factorgraph_ebm.factors.table_kernels import pair_min
from factorgraph_ebm.inference.tables import scratch_size

SLICE = 1 << 17
"steps or variables that one compiled call works on: between calls Python hears of Ctrl-C"
SCRATCH = 1 << 17
"elements of working space: a block is smaller where rows are long"


class Passing:
    """The engine with its arrays in hand."""

    def __init__(self, layout: Layout, numbers: Numbers, *, minimize: bool, start: Messages | None = None) -> None:
        compiled = layout.compiled
        self.layout = layout
        self.minimize = minimize
        self.compiled = compiled
        self.operators = Operators(layout, minimize=minimize)
        # Without factors the tuple is never read, but it has a type.
        self.kernels = pointers(self.operators.kernels or [pair_min])
        self.unary = numbers.unary
        self.store = numbers.store
        sums = any(k.name.endswith(("sum", "mixed")) for k in self.operators.kernels)
        self.weight = weights(self.store) if sums else np.zeros(0)
        self.to_variable = np.zeros(compiled.message_size)
        self.to_factor = np.zeros(compiled.message_size)
        if start is not None:
            self.to_variable[:] = _without_proofs(start.to_variable, compiled.run_field, compiled.run_field_start)
        widths = [1]
        arities = [1]
        spaces = [1]
        for run in range(len(layout.kinds)):
            slots = compiled.run_field[compiled.run_field_start[run] + a.RUN_HEADER : compiled.run_field_start[run + 1]]
            widths.append(int(slots[a.SLOT_STATES :: a.SLOT_FIELDS].sum()))
            arities.append(len(slots) // a.SLOT_FIELDS)
            spaces.append(scratch_size(compiled, layout.kinds[run], run))
        widest = int(np.diff(compiled.variable_start.astype(np.int64)).max(initial=1))
        self.block = np.uint64(max(1, min(BLOCK, SCRATCH // max(widths + spaces))))
        self.out = np.zeros(int(self.block) * max(widths) + widest)
        self.scratch = np.zeros(int(self.block) * max(spaces) + 4 * max(arities) + 8 + widest)
        self.variables = (
            self.unary, compiled.variable_start, compiled.variable_slot_start, compiled.variable_slot_split,
            compiled.slot_message,
        )  # fmt: skip
        self.runs = (
            compiled.run_field, compiled.run_field_start, compiled.factor_number, compiled.constants, self.store,
            self.weight,
        )  # fmt: skip
        self.send()

    def send(self) -> None:
        """Let every variable send to all its factors."""
        n = len(self.compiled.variable_cell)
        send_to_factors(*self.variables, self.to_variable, self.to_factor, self.scratch, 0, n, a.ALL)

    def run(self, steps: Steps, first: int, stop: int, damping: float) -> float:
        """Run some steps of a schedule; the largest change of a message, in nats."""
        changes = [0.0]
        for low in range(first, stop, SLICE):
            change = run_steps(
                self.kernels, steps.kernel, steps.run, steps.low, steps.high, steps.target, low, min(low + SLICE, stop),
                *self.variables, *self.runs, self.to_variable, self.to_factor, self.out, self.scratch, self.block,
                damping,
            )  # fmt: skip
            changes.append(change)
        return max(changes)

    def fire(self, queue: Queue, firings: int, tolerance: float, damping: float) -> float:
        """Fire that many factors, most changed first; the largest change that is left to pass on."""
        left: float = fire_factors(
            self.kernels, *self._slot_kernels(), *queue, self.compiled.scope,
            *self.variables, *self.runs, self.to_variable, self.to_factor, self.out, self.scratch,
            firings, tolerance, damping,
        )  # fmt: skip
        return left

    def _slot_kernels(self) -> tuple[I64, I64]:
        """Kernel of each slot of each run, flat, and where the slots of each run begin."""
        of_slot = self.operators.of_slot
        start = np.concatenate([[0], np.cumsum([len(k) for k in of_slot])]).astype(np.int64)
        return np.array([k for kernels in of_slot for k in kernels], np.int64), start

    def _last_kernels(self) -> I64:
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
            self.kernels, self._last_kernels(), *self.variables, compiled.scope, compiled.variable_sample, *self.runs,
            self.to_variable, self.to_factor, self.out, self.scratch, self.block, belief, total,
        )  # fmt: skip
        return total

    def lower_bounds(self, shares: Sequence[float] = (1.0, 0.5, 0.0)) -> tuple[F64, F64]:
        """Bound below the energy of each sample from the present messages, and the rounding slack it carries, (N,).

        Any multiple of the messages gives a valid bound. Around loops evidence is counted several times, so half of
        them, or none, is often better than all; the best of these `shares` is taken.
        """
        shift = np.where(np.isfinite(self.to_variable), self.to_variable, 0.0)
        bounds, sizes = zip(*(self._bounds_from(share * shift) for share in shares))
        best = np.argmax(bounds, axis=0)
        at = np.arange(len(best))
        return np.array(bounds)[best, at], 1e-15 * np.array(sizes)[best, at]

    def _bounds_from(self, shift: F64) -> tuple[F64, F64]:
        """The bound with these messages, and the sum of the magnitudes of its terms."""
        compiled = self.compiled
        total = np.zeros(len(compiled.sample_chunk))
        size = np.zeros(len(compiled.sample_chunk))
        unary, start, slot_start, _, slot_message = self.variables
        belief = np.empty(compiled.unary_size)
        sum_beliefs(unary, start, slot_start, slot_message, shift, belief, 0, len(compiled.variable_cell))
        add_lower_bounds(
            self.kernels, self._last_kernels(), compiled.variable_start, compiled.scope, compiled.variable_sample,
            *self.runs, -shift, self.out, self.scratch, self.block, belief, total, size,
        )  # fmt: skip
        return total, size

    def choose(self, state: I64, to_factor: F64, first: int, stop: int, *, local: bool) -> int:
        """One pass of decoding or of local search over variables first to stop; how many changed."""
        kernel, start = self._slot_kernels()
        slices = [(low, min(low + SLICE, stop)) for low in range(first, stop, SLICE)]
        changed = 0
        for low, high in slices if local else slices[::-1]:
            changed += choose_states(
                self.kernels, kernel, *self.variables, start, *self.runs,
                self.to_variable, to_factor, self.out, self.scratch, low, high, state, int(local),
            )  # fmt: skip
        return changed


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
