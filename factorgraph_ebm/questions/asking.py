"""From a question in words to a problem in arrays, for one graph or a list, and what is said about the answer."""

from __future__ import annotations

import math
import numbers
import operator
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.answers.answered import Answered
from factorgraph_ebm.answers.declared import factor_of_engine, violated_factor
from factorgraph_ebm.answers.result import MinimizeResult, Result, what_to_try
from factorgraph_ebm.answers.starts import read_start
from factorgraph_ebm.arrays import F64, I64, Bool, Numbers, Values
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.union import LARGEST_ENERGY, compile_union
from factorgraph_ebm.errors import (
    ConvergenceWarning,
    EvidenceError,
    FactorError,
    MethodError,
    ParameterError,
    did_you_mean,
)
from factorgraph_ebm.graph.assignment import Given, cells_of, default_asked, read_given
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.graph.parameters import Parameter, read_parameters
from factorgraph_ebm.graph.variables import Variable
from factorgraph_ebm.inference import FactorRefused, check_options, run
from factorgraph_ebm.inference.energies import assignment_energies
from factorgraph_ebm.inference.method import Answer, Problem, Status

Graphs: TypeAlias = "FactorGraph | Sequence[FactorGraph]"
Dict: TypeAlias = "Mapping[Any, Any] | None"
Evidence: TypeAlias = "Dict | Sequence[Dict]"
Asked: TypeAlias = "Iterable[str | Variable] | str | Variable | None"
Parameters: TypeAlias = "Mapping[str, npt.ArrayLike] | None"


class Samples(NamedTuple):
    """What is asked about, sample by sample, read and checked."""

    graphs: list[FactorGraph]
    given: list[Given]
    values: list[Values]
    "parameters and observed reals by name"
    is_list: bool


class How(NamedTuple):
    """How to answer: the keywords that all verbs share."""

    method: str = "auto"
    start: Any = None
    time_limit: float | None = None
    threads: int | None = None
    progress: bool = False
    options: Mapping[str, Any] = {}
    alone: bool = False
    "of a sum nothing else is read"

    @classmethod
    def of(cls, keywords: Mapping[str, Any]) -> How:
        """The keywords of a verb: the common ones by name, the others options of the method."""
        named = {name: keywords[name] for name in cls._fields if name in keywords and name not in ("options", "alone")}
        return cls(**named, options={name: value for name, value in keywords.items() if name not in named})


def read_evidence(graph: Graphs, given: Evidence, what: str = "given") -> tuple[list[FactorGraph], list[Given], bool]:
    """Pair graphs with dicts (L1) and read them. Raises EvidenceError."""
    graphs, dicts, is_list = _pair(graph, given, what)
    return graphs, [read_given(g, d, what=what) for g, d in zip(graphs, dicts)], is_list


def read_samples(
    graph: Graphs, given: Evidence, parameters: Parameters, what: str = "given", *, partial: bool = False
) -> Samples:
    """Pair graphs with dicts, read them, and find the value of every parameter; `partial`: of those that have one.

    Raises
    ------
    EvidenceError : lists of unequal length, or what is given does not fit.
    ParameterError : a parameter has no value, or a value of another shape; a name that no graph declares.
    """
    graphs, read, is_list = read_evidence(graph, given, what)
    values = _parameter_values(graphs, parameters, partial)
    return Samples(graphs, read, [with_reals(v, g) for v, g in zip(values, read)], is_list)


def _pair(graph: Graphs, given: Evidence, what: str) -> tuple[list[FactorGraph], list[Any], bool]:
    many_graphs, many_dicts = isinstance(graph, (list, tuple)), isinstance(given, (list, tuple))
    graphs: list[Any] = list(graph) if many_graphs else [graph]  # type: ignore[arg-type]
    dicts: list[Any] = list(given) if many_dicts else [given]  # type: ignore[arg-type]
    for each in graphs:
        if not isinstance(each, FactorGraph):
            raise EvidenceError(f"the first argument is a FactorGraph or a list of them, not {type(each).__name__}.")
    if many_graphs and many_dicts and len(graphs) != len(dicts):
        raise EvidenceError(
            f"{len(graphs)} graphs and {len(dicts)} dicts of what is {what}: lists must have equal length, "
            "or leave one of them single."
        )
    if many_graphs and not many_dicts:
        dicts = dicts * len(graphs)
    if many_dicts and not many_graphs:
        graphs = graphs * len(dicts)
    return graphs, dicts, many_graphs or many_dicts


def _parameter_values(graphs: Sequence[FactorGraph], parameters: Parameters, partial: bool) -> list[dict[str, F64]]:
    given = {} if parameters is None else parameters
    if not isinstance(given, Mapping):
        raise ParameterError(f"parameters= is a dict of name and array, not {type(given).__name__}.")
    declared = {name for g in {id(g): g for g in graphs}.values() for name in g.parameters}
    for name in given:
        if name not in declared and graphs:
            raise ParameterError(f'there is no parameter "{name}".{did_you_mean(name, declared)}')
    # A list of graphs shares its parameters: each is read and checked once.
    read: dict[tuple[str, tuple[int, ...]], F64] = {}
    of_graph: dict[int, dict[str, F64]] = {}
    for g in graphs:
        if id(g) in of_graph:
            continue
        values = of_graph[id(g)] = {}
        for name, parameter in g.parameters.items():
            if not (partial and given.get(name) is None and parameter.initial is None):
                values[name] = _value(parameter, given, read)
    return [of_graph[id(g)] for g in graphs]


def _value(parameter: Parameter, given: Mapping[str, Any], read: dict[tuple[str, tuple[int, ...]], F64]) -> F64:
    name = parameter.name
    if given.get(name) is None:
        return read_parameters({name: parameter}, None)[name]
    key = name, parameter.declared.shape
    if key not in read:
        read[key] = parameter.declared.read_value(given[name])
    return read[key]


def with_reals(values: Values, given: Given) -> Values:
    return {**values, **given.reals} if given.reals else values


def asked_cells(graph: FactorGraph, given: Given, asked: Asked) -> Bool:
    """Which cells the question is about, (n_cells,). Raises EvidenceError by rule G4."""
    if asked is not None:
        if isinstance(asked, (str, Variable)):
            asked = [asked]
        return refuse_missing(graph, given, cells_of(graph, asked) & ~given.known)
    output, observed, any_observed = _roles(graph)
    unknown = ~given.known
    mask = output & unknown
    if any_observed and not mask.any():
        mask = observed & unknown
    return refuse_missing(graph, given, mask)


def refuse_missing(graph: FactorGraph, given: Given, mask: Bool) -> Bool:
    """Return `mask`; raise EvidenceError where something observed is neither given nor in it."""
    for name in graph.reals:
        if name not in given.reals:
            default_asked(graph, given)
            raise EvidenceError(f'real variable "{name}" is not given. Give it: given={{"{name}": ...}}.')
    _, observed, any_observed = _roles(graph)
    if any_observed and (observed & ~given.known & ~mask).any():
        views = [(graph[name], mask[o : o + graph[name].size]) for name, o in graph.cell_offset.items()]
        default_asked(graph, given, [v.with_cells(np.flatnonzero(m)) for v, m in views if m.any()])
    return mask


def _roles(graph: FactorGraph) -> tuple[Bool, Bool, bool]:
    """Which cells are outputs, which observed, whether any is: kept with the graph, since a list asks many times."""
    kept = graph.__dict__.get("_roles")
    if kept is None:
        output, observed = np.zeros(graph.n_cells, bool), np.zeros(graph.n_cells, bool)
        for name, offset in graph.cell_offset.items():
            variable = graph[name]
            output[offset : offset + variable.size] = variable.role == "output"
            observed[offset : offset + variable.size] = variable.role == "observed"
        kept = graph.__dict__["_roles"] = output, observed, bool(observed.any())
    found: tuple[Bool, Bool, bool] = kept
    return found


def read_beta(beta: Any) -> float:
    """Return beta as a float. Raises MethodError unless it is a number from 0 to inf."""
    if isinstance(beta, bool) or not isinstance(beta, (numbers.Real, np.number)) or not float(beta) >= 0:
        raise MethodError(f"beta= is a number from 0 to inf (1 / temperature), not {beta!r}.")
    return float(beta)


def read_time_limit(time_limit: Any) -> float:
    """Return time_limit in seconds, inf where there is none. Raises MethodError."""
    if time_limit is None:
        return math.inf
    number = isinstance(time_limit, (numbers.Real, np.number)) and not isinstance(time_limit, bool)
    if not number or not float(time_limit) >= 0:
        raise MethodError(f"time_limit= is a number of seconds, or None, not {time_limit!r}.")
    return float(time_limit)


def read_count(number: Any, says: str, least: int) -> int:
    """Return a number as an int. Raises MethodError, which begins with `says`, unless it is one from `least`."""
    try:
        count = operator.index(number)
    except TypeError:
        count = least - 1
    if count < least or isinstance(number, (bool, np.bool_)):
        raise MethodError(f"{says} from {least}, not {number!r}.")
    return count


def samples_of(graphs: Sequence[FactorGraph], given: Sequence[Given], soft: Sequence[Bool | None]) -> list[Sample]:
    """The samples of a union."""
    return [Sample(g, known.known if known.known.any() else None, mask) for g, known, mask in zip(graphs, given, soft)]


def answer_samples(
    samples: Samples, soft: Sequence[Bool | None], *, minimize: bool, beta: float, how: How, messages: bool = False
) -> Answered | None:
    """Pose one problem and run one method; None for an empty list.

    `messages`: more is read off the answer than a best assignment.
    """
    check_options(how.method, how.options)
    problem = pose(samples, soft, minimize=minimize, beta=beta, how=how)
    if problem is None:
        return None
    bar = _Bar() if how.progress else None
    try:
        if minimize and problem.any_soft and beta == 0.0:
            answer = _at_zero(problem._replace(progress=bar), samples, how)
        else:
            answer = run(how.method, problem._replace(progress=bar), how.options, messages=messages)
    except FactorRefused as refused:
        raise refused.named(factor_of_engine(problem.union, samples.graphs, refused.factor)) from None
    finally:
        if bar is not None:
            bar.close()
    return Answered(problem, answer, samples.graphs, samples.given, samples.values)


def pose(samples: Samples, soft: Sequence[Bool | None], *, minimize: bool, beta: float, how: How) -> Problem | None:
    """Compile one union and bind its numbers; None for an empty list."""
    deadline = time.monotonic() + read_time_limit(how.time_limit)
    if how.threads is not None:
        read_count(how.threads, "threads= is None or an int", 1)
    if not samples.graphs:
        return None
    union = compile_union(samples_of(samples.graphs, samples.given, soft))
    bound = union.bind(samples.values, _given_states(samples))
    any_soft = bool(union.compiled.variable_soft.any())
    if beta not in (1.0, math.inf) and not (minimize and not any_soft):
        _refuse_hot(bound, beta)
    units = 1.0 if beta == math.inf or (minimize and not any_soft) else beta
    start = read_start(how.start, union, samples.graphs, samples.given, units)
    return Problem(union, bound, beta, minimize, start, deadline, None, how.threads, how.alone)


def _given_states(samples: Samples) -> I64:
    return np.concatenate([known.states for known in samples.given])


def _refuse_hot(bound: Numbers, beta: float) -> None:
    largest = max(float(np.max(np.abs(x), where=np.isfinite(x), initial=0.0)) for x in (bound.unary, bound.store))
    if beta > 1 and largest * beta > LARGEST_ENERGY:
        raise FactorError(
            f"energies up to {largest:.3g} times beta={beta:g} could overflow. Write beta=np.inf for the limit."
        )


def _at_zero(problem: Problem, samples: Samples, how: How) -> Answer:
    """Minimise what is summed at beta = 0: the answer with most completions, whose free energy is -inf.

    F = -(1 / beta) log N + the mean energy of its N completions. Where no answer has more than one, F is its energy,
    so the least free energy is the least energy.
    """
    allowed = Numbers(*(np.where(np.isinf(x), np.inf, 0.0) for x in problem.numbers))
    counted = run(how.method, problem._replace(numbers=allowed, beta=1.0), how.options)
    assert counted.free_energy is not None and counted.states is not None
    plural = counted.free_energy < -0.5 * math.log(2)
    counted = counted._replace(free_energy=np.where(plural, -np.inf, counted.free_energy), lower_bound=None)
    if plural.all():
        return counted
    union = compile_union([Sample(g, known.known) for g, known in zip(samples.graphs, samples.given)])
    bound = union.bind(samples.values, _given_states(samples))
    least = run(how.method, problem._replace(union=union, numbers=bound, start=None), how.options)
    assert least.states is not None
    assert counted.states is not None
    free = problem.compiled.cell_variable >= 0
    moved = np.zeros_like(counted.states)
    moved[problem.compiled.cell_variable[free]] = least.states[union.compiled.cell_variable[free]]
    moved[counted.states < 0] = -1
    energy = assignment_energies(union, bound, least.states)
    return counted._replace(
        status=tuple(a if p else b for p, a, b in zip(plural.tolist(), counted.status, least.status)),
        states=np.where(plural[problem.compiled.variable_sample], counted.states, moved),
        free_energy=np.where(plural, -np.inf, energy),
    )


class _Bar:
    """A bar that counts iterations and shows the residual."""

    def __init__(self) -> None:
        from tqdm import tqdm  # only where a bar is asked for

        self.bar = tqdm(unit=" iterations", leave=False)

    def __call__(self, iterations: int, residual: float) -> None:
        self.bar.update(max(0, iterations - self.bar.n))
        self.bar.set_postfix(residual=f"{residual:.2g}", refresh=False)

    def close(self) -> None:
        self.bar.close()


def warn_of(answered: Answered | None, results: Sequence[Result], *, stacklevel: int = 3) -> None:
    """Give one ConvergenceWarning for a whole list: what did not converge, and what is forbidden without a proof."""
    if answered is None:
        return
    status = answered.answer.status
    said = []
    stopped = [i for i, s in enumerate(status) if s in (Status.ITERATION_LIMIT, Status.TIME_LIMIT)]
    if stopped:
        worst = max(stopped, key=lambda i: results[i].residual)
        count = f"{len(stopped)} of {len(status)} not converged" if len(status) > 1 else "not converged"
        said.append(
            f"{count} after {results[worst].iterations} iterations ({status[worst].value}, residual "
            f"{results[worst].residual:.2g}). {what_to_try(answered.answer.method, status[worst])}"
        )
    violating = [] if not isinstance(results[0], MinimizeResult) else _violating(answered)
    if violating:
        first = violating[0]
        states = answered.states(first)
        name = "every completion" if (states < 0).any() else _violated(answered, first, states)
        count = f"{len(violating)} of {len(status)} answers are" if len(status) > 1 else "the answer is"
        where = f" (sample {first})" if len(status) > 1 else ""
        said.append(f"{count} forbidden, without a proof that none is allowed: {name} is +inf{where}.")
    if said:
        warnings.warn(" ".join(said), ConvergenceWarning, stacklevel=stacklevel)


def _violated(answered: Answered, sample: int, states: I64) -> str | None:
    return violated_factor(answered.graphs[sample], answered.values[sample], states)


def _violating(answered: Answered) -> list[int]:
    """Samples whose assignment has energy +inf, not proved infeasible."""
    bound, states = answered.problem.numbers, answered.answer.states
    if all(s is Status.FEASIBLE for s in answered.answer.status):
        return []
    if states is None or not (np.isinf(bound.unary).any() or np.isinf(bound.store).any()):
        return []
    if answered.answer.free_energy is not None:
        forbidden = answered.answer.free_energy == np.inf
    else:
        forbidden = assignment_energies(answered.problem.union, bound, states) == np.inf
    forbidden &= np.array([s is not Status.INFEASIBLE for s in answered.answer.status], bool)
    return np.flatnonzero(forbidden).tolist()
