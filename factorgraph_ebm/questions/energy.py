"""The energy of an assignment, whole or factor by factor."""

from __future__ import annotations

from typing import Any

import numpy as np

from factorgraph_ebm.answers.belief import MarginalsResult
from factorgraph_ebm.answers.declared import declared_energies, declared_energy
from factorgraph_ebm.answers.result import MinimizeResult
from factorgraph_ebm.errors import EvidenceError
from factorgraph_ebm.graph.assignment import describe_cell
from factorgraph_ebm.questions.asking import (
    Evidence,
    Graphs,
    Parameters,
    Samples,
    read_samples,
)


def energy(graph: Graphs, assignment: Evidence, *, parameters: Parameters = None) -> Any:
    """Return the energy of a full assignment in nats, +inf where it is forbidden.

    Parameters
    ----------
    assignment : dict of names or views and values, or a result of `minimize`; every variable must have a value
    graph, parameters : as in `minimize`

    Returns
    -------
    float; a list of floats where `graph` or `assignment` is a list.

    Raises
    ------
    EvidenceError : a variable has no value, or was summed over in the result.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> y = fg.output("y", shape=3, states=["a", "b"])
    >>> fg.energy(fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.5)]), {"y": ["a", "b", "a"]})
    3.0
    """
    samples = _read_assignments(graph, assignment, parameters)
    found = [declared_energy(g, v, a.states) for g, a, v in zip(samples.graphs, samples.given, samples.values)]
    return found if samples.is_list else found[0]


def factor_energies(graph: Graphs, assignment: Evidence, *, parameters: Parameters = None) -> Any:
    """Return the energy of each factor under a full assignment: factor key -> array of the group shape, in nats.

    Parameters, errors and lists as in `energy`.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> y = fg.output("y", shape=3, n_states=2)
    >>> graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.5, name="smooth")])
    >>> fg.factor_energies(graph, {"y": [0, 1, 1]})
    {'smooth': array([1.5, 0. ])}
    """
    samples = _read_assignments(graph, assignment, parameters)
    found = [declared_energies(g, v, a.states) for g, a, v in zip(samples.graphs, samples.given, samples.values)]
    return found if samples.is_list else found[0]


def _read_assignments(graph: Graphs, assignment: Evidence, parameters: Parameters) -> Samples:
    """Read full assignments; results are assignments, too."""
    if isinstance(assignment, (list, tuple)):
        assignment = [_without_summed(each) for each in assignment]
    else:
        assignment = _without_summed(assignment)
    samples = read_samples(graph, assignment, parameters, "assigned")
    for g, said in zip(samples.graphs, samples.given):
        if not said.known.all():
            missing = [name for name, o in g.cell_offset.items() if not said.known[o : o + g[name].size].all()]
            listed = ", ".join(f'"{name}"' for name in missing)
            cell = describe_cell(g, int(np.argmin(said.known)))
            raise EvidenceError(
                f"an energy needs a value for every variable, and {listed} has none at {cell}: "
                "give it, or minimise over it (a sum over it leaves none)."
            )
        for name in g.reals:
            if name not in said.reals:
                raise EvidenceError(f'an energy needs a value for every variable, and real "{name}" has none.')
    return samples


def _without_summed(assignment: Any) -> Any:
    """A result as a dict of what it can say; marginals say nothing."""
    if isinstance(assignment, MarginalsResult):
        raise EvidenceError("marginals are not an assignment. Ask minimize, or give a dict of states.")
    return dict(assignment) if isinstance(assignment, MinimizeResult) else assignment
