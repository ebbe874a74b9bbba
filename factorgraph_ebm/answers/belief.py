"""Marginals in the words of the graph: probabilities of states, of factors, and the sum over all assignments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.answers.answered import Answered
from factorgraph_ebm.answers.declared import declared_energy
from factorgraph_ebm.answers.factor_marginals import FactorMarginals
from factorgraph_ebm.answers.joints import Joints
from factorgraph_ebm.answers.result import Result
from factorgraph_ebm.errors import EvidenceError
from factorgraph_ebm.graph.assignment import read_states
from factorgraph_ebm.graph.variables import Variable
from factorgraph_ebm.inference.method import Status

_SHOWN = 8
"cells of an array that `repr` prints"

Array = npt.NDArray[Any]


class MarginalsResult(Result):
    """Probabilities at beta. `belief["y"]` is (*shape, K); `belief["y", state]` is (*shape,).

    Attributes
    ----------
    log_partition : log sum exp(-beta E), nats; Bethe's approximation where not exact
    free_energy : -log_partition / beta, and its limits at beta 0 and inf
    log_partition_bounds : (lower, upper), None where unknown
    joint : Mapping, tuple of variables -> (*states,), those asked for with `joint=`
    factor_marginals : Mapping, factor key -> (*group shape, *state shape)
    status, method, iterations, residual, converged, exact, trace, messages : see `Result`

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> coin = fg.output("coin", states=["heads", "tails"])
    >>> belief = fg.marginals(fg.FactorGraph([fg.Table([coin], energies=[0.0, np.log(3.0)])]))
    >>> belief["coin"], float(belief["coin", "tails"])
    (array([0.75, 0.25]), 0.25)
    """

    __slots__ = ("_joint",)

    def __init__(self, answered: Answered, sample: int, joint: Joints | None = None) -> None:
        super().__init__(answered, sample)
        self._joint = joint

    def __getitem__(self, key: Any) -> Array:
        state: Any = None
        whole = not isinstance(key, tuple)
        if not whole:
            if len(key) != 2:
                raise KeyError(f"{key!r}: read a variable, or a variable and one of its states.")
            key, state = key
        variable = self._find(key)
        if variable.is_real:
            return self._read_real(variable)
        self._refuse_infeasible()
        rows = self._answered.probabilities(self._sample, self._cells(variable), variable.max_states)
        table = rows.reshape(*variable.shape, variable.max_states)
        return table if whole else table[..., self._state(variable, state)]

    def _state(self, variable: Variable, state: Any) -> int:
        if state is None or (variable.labels is None and isinstance(state, (int, np.integer)) and state < 0):
            raise EvidenceError(f'variable "{variable.name}" has no state {state!r}.')
        one = variable.ravel()[:1].reshape(())
        if variable.labels is None and not isinstance(variable.n_states, int):
            # Cells differ: a state that some of them lack has probability 0 there.
            if isinstance(state, (int, np.integer)) and state < variable.max_states:
                return int(state)
            raise EvidenceError(f'variable "{variable}" has states 0-{variable.max_states - 1}, not {state!r}.')
        return int(read_states(one, state, "asked"))

    @property
    def feasible(self) -> bool:
        """Whether some assignment is allowed, as far as is known."""
        return self.status is not Status.INFEASIBLE and self.free_energy < math.inf

    @property
    def log_partition(self) -> float:
        """log sum exp(-beta E); -inf where infeasible. At beta = inf its limit: see API Q5."""
        answer, sample = self._answered.answer, self._sample
        if self.status is Status.INFEASIBLE:
            return -math.inf
        if self.beta < math.inf:
            return float(answer.log_partitions()[sample])
        assert answer.least_energy is not None
        least = float(answer.least_energy[sample])
        if least != 0.0:
            return -math.inf if least > 0 else math.inf
        count = math.nan if answer.log_count is None else float(answer.log_count[sample])
        return self._entropy() if math.isnan(count) else count

    def _entropy(self) -> float:
        """Of the product of the marginals: the log of the number of tied assignments, where states tie one by one."""
        n = self._graph.n_cells
        rows = self._answered.probabilities(self._sample, np.arange(n), int(self._graph.cell_states.max(initial=1)))
        return -float(np.sum(rows * np.log(np.where(rows > 0, rows, 1.0))))

    @property
    def free_energy(self) -> float:
        """-log_partition / beta; the least energy at beta = inf; -inf at beta = 0 unless one assignment is allowed."""
        if self.status is Status.INFEASIBLE:
            return math.inf
        answered, sample = self._answered, self._sample
        if self.beta == math.inf:
            assert answered.answer.least_energy is not None
            return float(answered.answer.least_energy[sample])
        log_partition = self.log_partition
        if self.beta > 0:
            return -log_partition / self.beta
        if log_partition == -math.inf:
            return math.inf
        n = self._graph.n_cells
        rows = answered.probabilities(sample, np.arange(n), int(self._graph.cell_states.max(initial=1)))
        if n and rows.max(axis=1).min() < 1.0:
            return -math.inf
        return declared_energy(self._graph, answered.values[sample], rows.argmax(axis=1).astype(np.int64))

    @property
    def log_partition_bounds(self) -> tuple[float | None, float | None]:
        """Proved (lower, upper) bounds of log_partition; None where nothing is known."""
        if self.status in (Status.OPTIMAL, Status.INFEASIBLE):
            return self.log_partition, self.log_partition
        return None, None

    @property
    def factor_marginals(self) -> FactorMarginals:
        """Factor key -> (*group shape, *state shape), computed when read."""
        self._refuse_infeasible()
        return FactorMarginals(self._answered, self._sample)

    @property
    def joint(self) -> Joints:
        """Joint marginals asked for with `joint=`: tuple of variables -> (*states,), in their order."""
        self._refuse_infeasible()
        return Joints(self._graph, (), {}) if self._joint is None else self._joint

    def check(self) -> MarginalsResult:
        """Return this result, or raise if it is infeasible or did not converge. See `Result.check`."""
        super().check()
        return self

    def __repr__(self) -> str:
        lines = [f"<MarginalsResult: log_partition {self.log_partition:.6g} at beta {self.beta:g}, {self._header()}"]
        if self.status is not Status.INFEASIBLE:
            for name, variable in self._graph.variables.items():
                if not variable.is_real:
                    lines += [f"  {line}" for line in self._rows_of(name, variable)]
        return "\n".join(lines) + ">"

    def _rows_of(self, name: str, variable: Variable) -> list[str]:
        if variable.size > _SHOWN or variable.max_states > _SHOWN:
            return [f"{name}  probabilities of shape {(*variable.shape, variable.max_states)}"]
        counts = np.broadcast_to(np.asarray(variable.n_states), variable.shape).reshape(-1).tolist()
        rows = self[name].reshape(variable.size, variable.max_states).tolist()
        lines = []
        for cell, (row, count) in enumerate(zip(rows, counts)):
            labels = range(count) if variable.states is None else variable.states
            shares = ", ".join(f"{label}: {p:.4f}" for label, p in zip(labels, row))
            lines.append(f"{variable.declared.cell_name(cell)}  {shares}")
        return lines
