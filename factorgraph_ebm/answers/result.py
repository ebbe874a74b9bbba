"""Results: what an answer says in the words of the graph. Frozen, and lazy: nothing is read before it is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.answers.answered import Answered
from factorgraph_ebm.answers.declared import declared_energy, violated_factor
from factorgraph_ebm.answers.messages import Messages
from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.errors import ConvergenceWarning, InfeasibleError, did_you_mean
from factorgraph_ebm.graph.assignment import to_labels
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.graph.variables import Variable
from factorgraph_ebm.inference.method import Status

__all__ = ["MinimizeResult", "Result", "Status"]

Array = npt.NDArray[Any]


class Result(Mapping[Any, Array]):
    """What `minimize` and `marginals` have in common: a Mapping over the variables of the graph.

    Keys are names, variables or views. A result is frozen; it shares one engine run with the other results of a list.

    Attributes
    ----------
    status : `Status`, what the answer is worth
    method : name of the algorithm that ran
    iterations : int
    residual : largest change of a message in the last iteration, nats
    trace : dict of arrays by iteration: residual, energy, bound, seconds
    messages : messages by factor key and slot
    """

    __slots__ = ("_answered", "_sample", "_states")

    def __init__(self, answered: Answered, sample: int) -> None:
        self._answered = answered
        self._sample = sample
        self._states: I64 | None = None

    @property
    def _graph(self) -> FactorGraph:
        return self._answered.graphs[self._sample]

    @property
    def status(self) -> Status:
        """What the answer is worth; `exact` and `converged` derive from it."""
        return self._answered.answer.status[self._sample]

    @property
    def method(self) -> str:
        """Name of the algorithm that ran."""
        return self._answered.answer.method

    @property
    def iterations(self) -> int:
        return int(self._answered.answer.iterations[self._sample])

    @property
    def residual(self) -> float:
        """Largest change of a message in the last iteration, nats."""
        return float(self._answered.answer.residual[self._sample])

    @property
    def beta(self) -> float:
        return self._answered.problem.beta

    @property
    def exact(self) -> bool:
        """Whether the answer is proved: the status is OPTIMAL."""
        return self.status is Status.OPTIMAL

    @property
    def converged(self) -> bool:
        """Whether the method ended by itself, not at a limit."""
        return self.status not in (Status.ITERATION_LIMIT, Status.TIME_LIMIT)

    @property
    def trace(self) -> dict[str, F64]:
        """Arrays by iteration: residual, seconds, and energy and bound as far as they were known by then.

        An answer is decoded after the last iteration, or by each sweep of local search; before, its energy stands as
        +inf and its bound as -inf.
        """
        kept = self._answered.answer.trace
        trace = dict(kept[self._sample]) if kept else {}
        n = max((len(each) for each in trace.values()), default=0)
        known = {"residual": 0.0, "seconds": 0.0, "energy": math.inf, "bound": -math.inf}
        return {name: np.array(trace.get(name, np.full(n, default))) for name, default in known.items()}

    @property
    def messages(self) -> Messages:
        """Messages by factor key and slot: `.to_variable[key][slot]`, `.to_factor[key][slot]`."""
        return Messages(self._answered, self._sample)

    def check(self) -> Any:
        """Return this result, or raise if it is infeasible or did not converge.

        Raises
        ------
        InfeasibleError : every assignment is forbidden, or the one that was found is.
        ConvergenceWarning : the method stopped at a limit; raised as an error.
        """
        if self.status is Status.INFEASIBLE:
            raise InfeasibleError(_IMPOSSIBLE)
        if not self.converged:
            raise ConvergenceWarning(
                f"{self.method} stopped at its {self.status.value} after {self.iterations} iterations, "
                f"residual {self.residual:.3g}. {what_to_try(self.method, self.status)}"
            )
        return self

    def __iter__(self) -> Iterator[str]:
        return iter(self._graph.variables)

    def __len__(self) -> int:
        return len(self._graph.variables)

    def __contains__(self, key: object) -> bool:
        try:
            self._find(key)
        except KeyError:
            return False
        return True

    # A Mapping compares by items, which are arrays here.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def _find(self, key: object) -> Variable:
        name = key.name if isinstance(key, Variable) else key
        declared = self._graph.variables.get(name) if isinstance(name, str) else None
        if declared is None:
            raise KeyError(f"there is no variable {name!r} in this graph.{did_you_mean(name, self._graph.variables)}")
        if not isinstance(key, Variable):
            return declared
        if not declared.declared_like(key):
            raise KeyError(f'variable "{name}" is declared differently in this graph: {declared!r}.')
        return key

    def _read_real(self, variable: Variable) -> Array:
        value = self._answered.given[self._sample].reals[variable.name]
        dim = variable.dim or ()
        return value.reshape(variable.declared.size, *dim)[variable.cells] if not variable.is_declared else value.copy()

    def _cells(self, variable: Variable) -> I64:
        cells: I64 = variable.cells.reshape(-1) + self._graph.cell_offset[variable.name]
        return cells

    def _refuse_infeasible(self) -> None:
        if self.status is Status.INFEASIBLE:
            raise InfeasibleError(_IMPOSSIBLE)

    def _header(self) -> str:
        plural = "" if self.iterations == 1 else "s"
        residual = "" if self.exact or self.status is Status.INFEASIBLE else f", residual {self.residual:.2g}"
        return f"{self.status.value} by {self.method} in {self.iterations} iteration{plural}{residual}"


_IMPOSSIBLE = "every assignment is forbidden (proved), so there is no answer to read. See which energies are +inf."


def what_to_try(method: str, status: Status) -> str:
    """The end of a message about an answer that did not converge."""
    if status is Status.TIME_LIMIT:
        return "Give a longer time_limit=, or start= from this result."
    if method == "bp":
        return 'Try damping=0.5 (or 0.9), a larger max_iterations=, or method="junction_tree" on narrow graphs.'
    return "Try a larger max_iterations=."


class MinimizeResult(Result):
    """The best assignment that was found. `best["y"]` has labels where the variable names states, else indices.

    Attributes
    ----------
    energy : of the assignment, nats, recomputed from the declared graph; the free energy where something was summed
    lower_bound : proved bound below the least energy, or None; never above `energy`
    indices : Mapping as this one, always with state indices
    status, method, iterations, residual, converged, exact, trace, messages : see `Result`

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> y = fg.output("y", shape=3, states=["low", "high"])
    >>> graph = fg.FactorGraph([fg.Table([y[0]], energies=[1.0, 0.0]), fg.Potts([y[1:], y[:-1]], penalty=2.0)])
    >>> best = fg.minimize(graph)
    >>> best["y"], best.indices["y"], best.energy, best.status.value
    (array(['high', 'high', 'high'], dtype='<U4'), array([1, 1, 1]), 0.0, 'optimal')
    """

    __slots__ = ("_energy",)

    def __init__(self, answered: Answered, sample: int) -> None:
        super().__init__(answered, sample)
        self._energy: float | None = None

    @property
    def trace(self) -> dict[str, F64]:
        trace = super().trace
        if len(trace["energy"]):
            trace["energy"][-1] = self.energy
            trace["bound"][-1] = self.lower_bound
        return trace

    def _all_states(self) -> I64:
        if self._states is None:
            self._states = self._answered.states(self._sample)
        return self._states

    def _summed(self, variable: Variable) -> bool:
        if variable.is_real:
            return False
        return bool((self._all_states()[self._cells(variable)] < 0).any())

    def __iter__(self) -> Iterator[str]:
        if self.status is Status.INFEASIBLE or not self._answered.problem.any_soft:
            return iter(self._graph.variables)
        return (name for name, variable in self._graph.variables.items() if not self._summed(variable))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _indices_of(self, key: object) -> tuple[Variable, I64]:
        variable = self._find(key)
        self._refuse_infeasible()
        states = self._all_states()[self._cells(variable)].reshape(variable.shape)
        if states.size and states.min() < 0:
            raise KeyError(f"{variable} was summed over: ask marginals, or ask for it: asked=[..., {variable}].")
        return variable, states

    def __getitem__(self, key: Any) -> Array:
        variable = self._find(key)
        if variable.is_real:
            return self._read_real(variable)
        _, states = self._indices_of(variable)
        return to_labels(variable, states)

    @property
    def indices(self) -> Mapping[Any, npt.NDArray[np.intp]]:
        """As the result itself, always with state indices 0 .. n - 1."""
        return _Indices(self)

    @property
    def energy(self) -> float:
        """Energy in nats, the same number as `fg.energy(graph, best)`; +inf where forbidden.

        Where variables were summed over, their free energy at beta given the answer.
        """
        if self._energy is None:
            self._energy = self._find_energy()
        return self._energy

    def _find_energy(self) -> float:
        answered, sample = self._answered, self._sample
        if self.status is Status.INFEASIBLE:
            return math.inf
        if answered.answer.free_energy is not None and answered.problem.any_soft:
            if (self._all_states() < 0).any():
                return float(answered.answer.free_energy[sample])
        return declared_energy(self._graph, answered.values[sample], self._all_states())

    @property
    def lower_bound(self) -> float | None:
        """No assignment has less energy, proved; None where nothing is known."""
        if self.status in (Status.OPTIMAL, Status.INFEASIBLE):
            return self.energy
        bound = self._answered.answer.lower_bound
        if bound is None or not bound[self._sample] > -math.inf:
            return None
        return min(float(bound[self._sample]), self.energy)

    @property
    def gap(self) -> float | None:
        """energy - lower_bound, nats; 0 where proved."""
        bound = self.lower_bound
        if bound is None:
            return None
        return 0.0 if bound == self.energy else self.energy - bound

    @property
    def feasible(self) -> bool:
        """Whether the assignment violates nothing: energy < inf."""
        return self.energy < math.inf

    def check(self) -> MinimizeResult:
        """Return this result, or raise if it is infeasible or did not converge. See `Result.check`."""
        super().check()
        if not self.feasible:
            raise InfeasibleError(
                f"the assignment that {self.method} found is forbidden{self._violation()}; "
                "that none is allowed is not proved."
            )
        return self

    def _violation(self) -> str:
        states = self._all_states()
        if (states < 0).any():
            return ""
        violated = violated_factor(self._graph, self._answered.values[self._sample], states)
        return f" by {violated}" if violated else ""

    def __repr__(self) -> str:
        lines = [f"<{type(self).__name__}: energy {self.energy:.6g}, {self._header()}"]
        if self.status is not Status.INFEASIBLE:
            for name, variable in self._graph.variables.items():
                if not variable.is_real:
                    said = "summed over" if self._summed(variable) else _one_line(self[name])
                    lines.append(f"  {name}  {said}")
        return "\n".join(lines) + ">"


class _Indices(Mapping[Any, npt.NDArray[np.intp]]):
    __slots__ = ("_result",)

    def __init__(self, result: MinimizeResult) -> None:
        self._result = result

    def __getitem__(self, key: Any) -> npt.NDArray[np.intp]:
        variable = self._result._find(key)
        if variable.is_real:
            raise KeyError(f'variable "{variable.name}" is real and has no states.')
        return self._result._indices_of(variable)[1].astype(np.intp, copy=False)

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._result if not self._result._graph[name].is_real)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _one_line(array: Array) -> str:
    text = np.array2string(array, threshold=12, edgeitems=3).replace("\n", "")
    return " ".join(text.split()) if array.ndim < 2 else f"{' '.join(text.split())} shape {array.shape}"
