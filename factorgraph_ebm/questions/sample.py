"""Drawing: assignments with their probabilities exp(-beta (E - F)), exact and independent, or nearly so by sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.answers.answered import cell_states
from factorgraph_ebm.answers.draws import read_draws
from factorgraph_ebm.errors import InfeasibleError, MethodError
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.inference import check_options, run_sample
from factorgraph_ebm.questions.asking import (
    Asked,
    Dict,
    Evidence,
    Graphs,
    How,
    Parameters,
    asked_cells,
    pose,
    read_beta,
    read_count,
    read_samples,
)

Draws = dict[str, npt.NDArray[Any]]


@overload
def sample(graph: FactorGraph, n: int, given: Dict = None, **keywords: Any) -> Draws: ...
@overload
def sample(graph: Sequence[FactorGraph], n: int, given: Evidence = None, **keywords: Any) -> list[Draws]: ...
@overload
def sample(graph: FactorGraph, n: int, given: Sequence[Dict], **keywords: Any) -> list[Draws]: ...


def sample(
    graph: Graphs,
    n: int,
    given: Evidence = None,
    *,
    asked: Asked = None,
    beta: float = 1.0,
    parameters: Parameters = None,
    method: str = "auto",
    rng: int | np.random.Generator | None = None,
    threads: int | None = None,
    **options: Any,
) -> Any:
    """Draw assignments from P = exp(-beta (E - F)), exactly and independently of each other, unless by "gibbs".

    Everything that is not given is drawn, together; what is given is the same in every draw. At beta = 0 all allowed
    assignments are equally likely, at beta = inf all of least energy.

    `method="gibbs"` draws approximately, from graphs of any size. Chains go from assignment to assignment: in a sweep
    each variable is drawn given all others. Nothing says when they have forgotten where they began, nor how much two
    draws of one chain have in common. Where hard constraints let no variable change alone, as between two that must be
    equal, a chain never leaves a part of what is allowed. Chains whose draws disagree are reported (ConvergenceWarning,
    from 50 draws of each on); that they agree proves nothing. Its options are `burn_in=100`, the sweeps before the
    first draw of a chain, `thin=10`, those between two, and `chains=4`: draw i is of chain i % chains.

    Parameters
    ----------
    n : number of draws, 0 or more
    beta : inverse temperature, 0 to inf
    method : "auto", "junction_tree" or "enumerate", which are exact, or "gibbs", which "auto" never chooses
    rng : a seed, or a numpy Generator, which moves on; None draws differently each time
    graph, given, asked, parameters, threads, options : as in `minimize`; draws do not depend on threads

    Returns
    -------
    dict of name -> array (n, *shape), labels where the variable names states, real variables as given; a list of them
    where `graph` or `given` is a list.

    Raises
    ------
    InfeasibleError : every assignment is forbidden.
    MethodError : the graph is too large for every method that draws exactly; "gibbs" at beta = inf, or where it finds
        no allowed assignment to begin from.
    EvidenceError, ParameterError : as in `minimize`.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> y = fg.output("y", shape=3, states=["a", "b"])
    >>> graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=2.0)])
    >>> drawn = fg.sample(graph, 1000, given={y[0]: "b"}, rng=0)["y"]
    >>> drawn.shape, (drawn[:, 0] == "b").all(), round(float((drawn[:, 1] == "b").mean()), 1)
    ((1000, 3), np.True_, 0.9)

    A grid that is too wide for exact methods:

    >>> y = fg.output("y", shape=(50, 50), n_states=2)
    >>> pairs = [fg.Potts([y[1:], y[:-1]], penalty=0.5), fg.Potts([y[:, 1:], y[:, :-1]], penalty=0.5)]
    >>> near = fg.sample(fg.FactorGraph(pairs), 20, method="gibbs", burn_in=50, rng=0)["y"]
    >>> near.shape, round(float((near[:, 1:] == near[:, :-1]).mean()), 1)
    ((20, 50, 50), 0.6)
    """
    if "latent" in options:
        raise MethodError("sample draws everything that is not given: it has no latent=. Leave it out.")
    check_options(method, options, "sample")
    n = read_count(n, "n, the number of draws, is an int", 0)
    beta = read_beta(beta)
    samples = read_samples(graph, given, parameters)
    for g, known in zip(samples.graphs, samples.given):
        asked_cells(g, known, asked)
    generator = _read_rng(rng)
    how = How(method, threads=threads, options=options)
    problem = pose(samples, [None] * len(samples.graphs), minimize=False, beta=beta, how=how)
    if problem is None:
        return []
    states = run_sample(method, problem, options, n, generator)
    forbidden = np.flatnonzero((states[:, problem.compiled.ground] < 0).any(axis=0))
    if len(forbidden):
        where = f" of sample {forbidden[0]}" if samples.is_list else ""
        raise InfeasibleError(
            f"every assignment{where} is forbidden (proved), so there is none to draw. See which energies are +inf."
        )
    found = [
        read_draws(g, known, cell_states(problem.compiled, i, known, states))
        for i, (g, known) in enumerate(zip(samples.graphs, samples.given))
    ]
    return found if samples.is_list else found[0]


def _read_rng(rng: Any) -> np.random.Generator:
    try:
        if isinstance(rng, (bool, np.bool_)):
            raise TypeError
        return np.random.default_rng(rng)
    except (TypeError, ValueError):
        raise MethodError(f"rng= is None, a seed (an int from 0) or a numpy Generator, not {rng!r}.") from None
