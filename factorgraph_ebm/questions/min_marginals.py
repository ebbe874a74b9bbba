"""Min-marginals: the least energy with one cell held in each of its states.

m(v, s) = min over assignments with v = s of E
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.answers.answered import Answered
from factorgraph_ebm.answers.result import MinimizeResult, Result
from factorgraph_ebm.questions.asking import (
    Asked,
    Evidence,
    Graphs,
    How,
    Parameters,
    answer_samples,
    asked_cells,
    read_samples,
    warn_of,
)


class MinMarginals(Result):
    """Least energies by state: `found["y"]` is (*shape, K), in nats.

    +inf where forbidden, where a cell is given another state, and for absent states. On loops they are estimates from
    min-sum messages; `exact` says which.
    """

    __slots__ = ("_best",)

    def __init__(self, answered: Answered, sample: int) -> None:
        super().__init__(answered, sample)
        self._best = MinimizeResult(answered, sample)

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        variable = self._find(key)
        if variable.is_real:
            return self._read_real(variable)
        self._refuse_infeasible()
        answered = self._answered
        cells = self._cells(variable)
        engine = answered.variables(self._sample)[cells]
        out = np.full((len(cells), variable.max_states), np.inf)
        least = self._best.energy
        given = np.flatnonzero(engine < 0)
        out[given, answered.given[self._sample].states[cells[given]]] = least
        excess = answered.excess
        count = np.where(engine < 0, 0, answered.start[engine + 1] - answered.start[engine])
        for k in np.unique(count[count > 0]).tolist():
            chosen = np.flatnonzero(count == k)
            out[chosen, :k] = least + excess[answered.start[engine[chosen]][:, None] + np.arange(k)]
        return out.reshape(*variable.shape, variable.max_states)

    def __repr__(self) -> str:
        return f"<MinMarginals: least energy {self._best.energy:.6g}, {self._header()}>"


def min_marginals(
    graph: Graphs,
    given: Evidence = None,
    *,
    asked: Asked = None,
    parameters: Parameters = None,
    **keywords: Any,
) -> Any:
    """Find the least energy with each cell held in each of its states.

    Parameters
    ----------
    graph, given, asked, parameters, keywords : as in `minimize`; everything that is not given is minimised over

    Returns
    -------
    MinMarginals, a Mapping of name -> (*shape, K) energies in nats; a list of them where `graph` or `given` is a list.

    Raises
    ------
    EvidenceError, ParameterError, MethodError : as in `minimize`.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> y = fg.output("y", shape=2, n_states=2)
    >>> graph = fg.FactorGraph([fg.Table([y[0]], energies=[0.0, 5.0]), fg.Potts([y[:1], y[1:]], penalty=2.0)])
    >>> fg.min_marginals(graph)["y"].tolist()
    [[0.0, 5.0], [0.0, 2.0]]
    """
    samples = read_samples(graph, given, parameters)
    for g, known in zip(samples.graphs, samples.given):
        asked_cells(g, known, asked)
    nothing_soft = [None] * len(samples.graphs)
    answered = answer_samples(samples, nothing_soft, minimize=True, beta=1.0, how=How.of(keywords), messages=True)
    results = [MinMarginals(answered, i) for i in range(len(samples.graphs))] if answered is not None else []
    warn_of(answered, results)
    return results if samples.is_list else results[0]
