"""Message passing, paused: the real kernels, one sweep or one message at a time, for watching and for teaching.

The graph is compiled without rewrites other than slicing given cells away, so every declared factor is there with its
own messages. A run of the engine covers one sweep, or one message, and starts from the state that the last one left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from factorgraph_ebm import arrays as a
from factorgraph_ebm.answers.answered import Answered
from factorgraph_ebm.answers.messages import Messages
from factorgraph_ebm.arrays import ALL, F64, I64, Steps
from factorgraph_ebm.arrays import Messages as Rows
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.schedules import DOWN, flooding, sequential
from factorgraph_ebm.compiler.union import compile_union
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.graph.assignment import Given, describe_cell
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.graph.parametrisation import Values
from factorgraph_ebm.inference import check_options
from factorgraph_ebm.inference.bp_options import OPTIONS, check, refuse_singles
from factorgraph_ebm.inference.energies import assignment_energies
from factorgraph_ebm.inference.firing import Firing
from factorgraph_ebm.inference.method import Answer, Problem, Status
from factorgraph_ebm.inference.passing import Passing
from factorgraph_ebm.questions.asking import read_beta, read_samples, refuse_missing

Message = tuple[str, str]
"names of the sender and the receiver of a message"


class Step:
    """The state of message passing after one sweep, or one message.

    Attributes
    ----------
    iteration : number of the sweep or message, from 1
    residual : largest change of a message in this step, in nats
    changed : the messages that this step changed, as pairs (sender, receiver) of names
    messages : as `result.messages`
    beliefs : name -> probabilities (*shape, states); at beta = inf energies with minimum 0
    energy : energy of the assignment in which each variable takes its most likely state
    """

    def __init__(self, watched: _Watched, iteration: int, residual: float, before: Rows | None, sent: Any) -> None:
        passing = watched.passing
        self.iteration = iteration
        self.residual = residual
        self._watched = watched
        self._rows = Rows(passing.to_variable.copy(), passing.to_factor.copy())
        self._before = before
        self._sent = sent

    @cached_property
    def messages(self) -> Messages:
        return Messages(self._answered, 0)

    @cached_property
    def _answered(self) -> Answered:
        problem = self._watched.problem
        none = np.zeros(1)
        scaled = problem.scaled is not problem.numbers
        answer = Answer(
            "bp", (Status.ITERATION_LIMIT,), none.astype(np.int64), none, messages=self._rows,
            states=self._watched.passing.lowest(self._belief),
            message_beta=problem.beta if scaled else 1.0,
        )  # fmt: skip
        watched = self._watched
        return Answered(problem, answer, [watched.graph], [watched.given], [watched.values])

    @cached_property
    def _belief(self) -> F64:
        passing = self._watched.passing
        now = passing.to_variable
        passing.to_variable = self._rows.to_variable
        belief = passing.beliefs()
        passing.to_variable = now
        return belief

    @cached_property
    def beliefs(self) -> Mapping[str, F64]:
        watched = self._watched
        problem = watched.problem
        start = problem.compiled.variable_start.astype(np.int64)
        probability = watched.passing.probabilities(self._belief)
        found = {}
        for name, offset in watched.graph.cell_offset.items():
            variable = watched.graph[name]
            out = np.zeros((variable.size, variable.max_states))
            if problem.minimize:
                out[:] = np.inf
            for cell in range(variable.size):
                v = int(problem.compiled.cell_variable[offset + cell])
                if v < 0:
                    state = watched.given.states[offset + cell]
                    out[cell, state] = 0.0 if problem.minimize else 1.0
                elif problem.minimize:
                    row = self._belief[start[v] : start[v + 1]]
                    out[cell, : len(row)] = row - row.min() if np.isfinite(row.min()) else row
                else:
                    out[cell, : start[v + 1] - start[v]] = probability[start[v] : start[v + 1]]
            found[name] = out.reshape(*variable.shape, variable.max_states)
        return found

    @cached_property
    def energy(self) -> float:
        problem = self._watched.problem
        state = self._watched.passing.lowest(self._belief)
        return float(assignment_energies(problem.union, problem.numbers, state)[0])

    @cached_property
    def changed(self) -> tuple[Message, ...]:
        if self._before is None:
            return (self._watched.name(*self._sent),)
        found = []
        for to_factor in (False, True):
            before, now = self._before[to_factor], self._rows[to_factor]
            for slot, (first, k) in enumerate(zip(self._watched.row_start, self._watched.row_states)):
                if not np.array_equal(before[first : first + k], now[first : first + k]):
                    found.append(self._watched.name(slot, to_factor))
        return tuple(found)

    def __repr__(self) -> str:
        return f"<Step {self}>"

    def __str__(self) -> str:
        if self._before is None:
            slot, to_factor = self._sent
            sender, receiver = self._watched.name(slot, to_factor)
            row = self._rows[to_factor][self._watched.row_start[slot] :][: self._watched.row_states[slot]]
            labels = self._watched.labels(slot)
            scale = self._answered.unscaled
            text = ", ".join(f"{label}: {value:.3f}" for label, value in zip(labels, scale(row)))
            return f"{self.iteration}  {sender} -> {receiver}   {{{text}}}   residual {self.residual:.3f}"
        return f"{self.iteration}  sweep   residual {self.residual:.3g}   energy {self.energy:.3f}"


class _Watched:
    """One graph under observation: the engine, and the names of its message rows."""

    def __init__(self, problem: Problem, graph: FactorGraph, given: Given, values: Values) -> None:
        self.problem, self.graph, self.given, self.values = problem, graph, given, values
        self.passing = Passing(problem.union.layout, problem.scaled, minimize=problem.minimize)
        self.passing.to_factor[:] = 0.0  # nothing was sent yet
        compiled = problem.compiled
        rows = []
        for run in range(len(problem.union.layout.kinds)):
            field = compiled.run_field[compiled.run_field_start[run] : compiled.run_field_start[run + 1]]
            n = int(field[a.RUN_SIZE])
            for s in range(int(field[a.RUN_ARITY])):
                k, _, message, _ = field[a.RUN_HEADER + s * a.SLOT_FIELDS :][: a.SLOT_FIELDS]
                scope = compiled.scope[field[a.RUN_SCOPE] + s * n :][:n]
                for f in range(n):
                    rows.append((int(message + f * k), int(k), int(field[a.RUN_FACTOR]) + f, int(scope[f])))
        # Rows in the order of their elements: slot number = place in this list.
        rows.sort()
        self.row_start = [r[0] for r in rows]
        self.row_states = [r[1] for r in rows]
        self.row_factor = [r[2] for r in rows]
        self.row_variable = [r[3] for r in rows]
        self.slot_at = {r[0]: i for i, r in enumerate(rows)}
        self._factor_names = self._name_factors(len(set(self.row_factor)))

    def _name_factors(self, n_factors: int) -> list[str]:
        names = [""] * n_factors
        for group, g in enumerate(self.problem.union.groups):
            for place in self.problem.union.places(group):
                if place.position is None:
                    continue
                key = str(self.graph.keys[g.key])
                for member, position in zip(place.members.tolist(), place.position.tolist()):
                    index = ", ".join(str(i) for i in np.unravel_index(member, g.factor.shape))
                    names[position] = f"{key}[{index}]" if g.factor.shape else key
        return names

    def name(self, slot: int, to_factor: bool) -> Message:
        factor = self._factor_names[self.row_factor[slot]]
        variable = describe_cell(self.graph, int(self.problem.compiled.variable_cell[self.row_variable[slot]]))
        return (variable, factor) if to_factor else (factor, variable)

    def labels(self, slot: int) -> list[str]:
        cell = int(self.problem.compiled.variable_cell[self.row_variable[slot]])
        owner = max((n for n, o in self.graph.cell_offset.items() if o <= cell), key=self.graph.cell_offset.__getitem__)
        states = self.graph[owner].states
        return [str(s) for s in (states if states is not None else range(self.row_states[slot]))]

    def snapshot(self) -> Rows:
        return Rows(self.passing.to_variable.copy(), self.passing.to_factor.copy())


def steps(
    graph: FactorGraph,
    given: Mapping[Any, Any] | None = None,
    *,
    beta: float = 1.0,
    every: str = "sweep",
    parameters: Mapping[str, Any] | None = None,
    **options: Any,
) -> Iterator[Step]:
    """Watch message passing: a generator that runs the engine and pauses after each sweep or message.

    Parameters
    ----------
    graph : one FactorGraph
    given : dict of names or views and values
    beta : inverse temperature; inf watches min-sum
    every : "sweep" or "message"
    parameters : name -> array, for Parameters
    options : of method "bp": schedule, damping, tolerance, max_iterations

    Yields
    ------
    Step, with iteration, residual, changed, messages, beliefs and energy; `print(step)` is one line.

    Raises
    ------
    MethodError, EvidenceError, ParameterError : as in `minimize`, at the call.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> a, b = fg.output("a", states=["cold", "hot"]), fg.output("b", states=["off", "on"])
    >>> prior = fg.Table([a], energies=[0.0, 1.0], name="prior")
    >>> agree = fg.Table([a, b], energies=[[0, 2], [2, 0]], name="agree")
    >>> for step in fg.steps(fg.FactorGraph([prior, agree]), every="message"):
    ...     print(step)
    1  prior -> a   {cold: 0.000, hot: 1.000}   residual 1.000
    2  a -> agree   {cold: 0.000, hot: 1.000}   residual 1.000
    3  agree -> b   {off: 0.000, on: 0.735}   residual 0.735
    4  b -> agree   {off: 0.000, on: 0.000}   residual 0.000
    5  agree -> a   {cold: 0.000, hot: 0.000}   residual 0.000
    6  a -> prior   {cold: 0.000, hot: 0.000}   residual 0.000
    """
    if every not in ("sweep", "message"):
        raise MethodError(f'every= is "sweep" or "message", not {every!r}.')
    if options.get("stop") is not None:
        raise MethodError("steps has no stop=. Leave the loop with break.")
    check_options("bp", options)
    options = {**OPTIONS, **options}
    check(options)
    refuse_singles(options, "steps")
    options["damping"] = options["damping"] or 0.0
    beta = read_beta(beta)
    samples = read_samples(graph, given, parameters)
    if samples.is_list:
        raise MethodError("steps watches one graph under one dict of what is given, not a list.")
    known = samples.given[0]
    refuse_missing(graph, known, ~known.known)
    union = compile_union([Sample(graph, known.known if known.known.any() else None)], rewrite=False)
    numbers = union.bind(samples.values, known.states)
    problem = Problem(union, numbers, beta, beta == np.inf, None, np.inf, None)
    return walk(problem, graph, known, samples.values[0], every, options)


def walk(
    problem: Problem, graph: FactorGraph, given: Given, values: Values, every: str, options: Mapping[str, Any]
) -> Iterator[Step]:
    """Yield a Step after each sweep or message, until messages rest or the iteration limit is reached."""
    watched = _Watched(problem, graph, given, values)
    passing = watched.passing
    layout = problem.union.layout
    firing: Firing | None = None
    steps = flooding(layout, passing.operators) if options["schedule"] == "flooding" else None
    if options["schedule"] == "residual":
        firing = Firing(passing, 0, options["damping"], options["tolerance"], most=1)
        firing.settle()
    elif steps is None:
        steps = sequential(layout, passing.operators)
    exact = bool(problem.compiled.sample_forest[0]) and options["schedule"] == "sequential"
    limit = 1 if exact else (options["max_iterations"] or 200)
    iteration = 0
    for _ in range(limit):
        largest = 0.0
        if every == "sweep":
            before = watched.snapshot()
            if firing is not None:
                (largest,) = firing.iterate(1)
                firing.settle()
            else:
                assert steps is not None
                largest = passing.run(steps, 0, int(steps.start[-1]), options["damping"])
            iteration += 1
            yield Step(watched, iteration, largest, before, None)
        else:
            messages = _fired(watched, firing) if firing is not None else _sent(watched, steps, options)
            for slot, to_factor, change in messages:
                iteration += 1
                largest = max(largest, change)
                yield Step(watched, iteration, change, None, (slot, to_factor))
        if options["tolerance"] > 0 and largest <= options["tolerance"]:
            return


def _sent(watched: _Watched, steps: Steps | None, options: Mapping[str, Any]) -> Iterator[tuple[int, bool, float]]:
    """Send the messages of one iteration one by one: (slot, whether to a factor, change in nats)."""
    assert steps is not None
    passing, compiled = watched.passing, watched.problem.compiled
    for p in range(int(steps.start[-1])):
        for i in range(int(steps.low[p]), int(steps.high[p])):
            target = int(steps.target[p])
            if steps.kernel[p] < 0:
                yield from _from_variable(watched, i, target)
                continue
            run = int(steps.run[p])
            field = compiled.run_field[compiled.run_field_start[run] : compiled.run_field_start[run + 1]]
            for s in range(int(field[a.RUN_ARITY])):
                if target in (ALL, s) or (target < ALL and s != -2 - target):
                    one = [np.array([v]) for v in (steps.kernel[p], run, i, i + 1, s)]
                    change = passing.run(Steps(np.array([0, 1]), *one), 0, 1, options["damping"])
                    k, message = field[a.RUN_HEADER + s * a.SLOT_FIELDS], field[a.RUN_HEADER + s * a.SLOT_FIELDS + 2]
                    yield watched.slot_at[int(message + i * k)], False, change


def _from_variable(watched: _Watched, v: int, target: int) -> Iterator[tuple[int, bool, float]]:
    compiled, passing = watched.problem.compiled, watched.passing
    first, stop = (int(s) for s in compiled.variable_slot_start[v : v + 2])
    split = int(compiled.variable_slot_split[v])
    if target != ALL:
        first, stop = (first, split) if target == DOWN else (split, stop)
    former = passing.to_factor.copy()
    one = [np.array([x]) for x in (-1, -1, v, v + 1, target)]
    passing.run(Steps(np.array([0, 1]), *one), 0, 1, 0.0)
    after = passing.to_factor.copy()
    passing.to_factor[:] = former
    for element in compiled.slot_message[first:stop].astype(np.int64).tolist():
        slot = watched.slot_at[element]
        rows = slice(element, element + watched.row_states[slot])
        passing.to_factor[rows] = after[rows]
        yield slot, True, _change(former[rows], after[rows])


def _fired(watched: _Watched, firing: Firing) -> Iterator[tuple[int, bool, float]]:
    """Fire as many factors as there are, most changed first, and show the messages of each."""
    passing = watched.passing
    for _ in range(firing.n_messages):
        before = watched.snapshot()
        (left,) = firing.fire(1)
        firing.settle()
        for slot, first in enumerate(watched.row_start):
            rows = slice(first, first + watched.row_states[slot])
            for to_factor, state in ((False, passing.to_variable), (True, passing.to_factor)):
                change = _change(before[to_factor][rows], state[rows])
                if change > 0.0:
                    yield slot, to_factor, change
        if left <= firing.tolerance:
            return


def _change(before: F64 | I64, after: F64 | I64) -> float:
    differs = before != after
    return float(np.abs(after[differs] - before[differs]).max(initial=0.0))
