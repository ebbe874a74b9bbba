"""Minimum cuts: energies over two-state variables whose pairs attract, minimised exactly, on any graph.

    E(x) = sum_v E_v(x_v) + sum_f E_f(x_u, x_v),    E_f(0, 0) + E_f(1, 1) <= E_f(0, 1) + E_f(1, 0)

D. Greig, B. Porteous and A. Seheult, "Exact maximum a posteriori estimation for binary images", J. Royal Statistical
Society B 51(2), 1989. Forbidden states and pairs may be among them. Of several minimisers the one with the lowest
states is found, which is the lowest of all in every variable.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from factorgraph_ebm.arrays import Compiled
from factorgraph_ebm.compiler.layout import sizes
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.inference.energies import assignment_energies
from factorgraph_ebm.inference.fusion import Fusion, single_states, started
from factorgraph_ebm.inference.icm import clamped
from factorgraph_ebm.inference.method import Answer, FactorRefused, Method, Problem, Status
from factorgraph_ebm.inference.passing import Passing
from factorgraph_ebm.inference.polish import improve
from factorgraph_ebm.inference.tables import run_of


def serves(compiled: Compiled) -> bool:
    """Whether the structure is one of cuts: two-state variables in pairs, nothing summed. No energy is looked at."""
    if compiled.variable_soft.any() or sizes(compiled.variable_start).max(initial=0) > 2:
        return False
    runs = (run_of(compiled, run) for run in range(len(compiled.run_field_start) - 1))
    return all(sum(k > 1 for k in run.states) <= 2 for run in runs)


def attracts(problem: Problem) -> bool:
    """Whether all pairs of a problem that cuts serve attract: `best` would not refuse."""
    try:
        Fusion(problem, "cut").refuse()
    except FactorRefused:
        return False
    return True


def best(problem: Problem, **options: Any) -> Answer:
    """One cut for all samples. Where time runs out, the best of what it has by then and one sweep of local search.

    Raises
    ------
    FactorRefused : a factor is over more than two variables, or repels.
    MethodError : a variable has three states or more.
    """
    compiled = problem.compiled
    states = sizes(compiled.variable_start)
    if len(states) and states.max() > 2:
        raise MethodError(
            f'method "cut" needs variables of two states, and one has {states.max()}. Write method="expansion".'
        )
    fused = Fusion(problem, "cut").cut()
    chosen = fused.takes.astype(np.int64)
    bound = np.full(len(fused.exact), -np.inf)
    if not (fused.finished and fused.exact.all()):
        energy = assignment_energies(problem.union, problem.numbers, chosen)
        if fused.finished:
            bound = energy - fused.loss
        else:
            none = assignment_energies(problem.union, problem.numbers, np.zeros_like(chosen))
            bound = none - fused.left - fused.loss
            for other in (single_states(problem), started(problem, chosen)):
                found = assignment_energies(problem.union, problem.numbers, other)
                chosen = np.where((found < energy)[compiled.variable_sample], other, chosen)
                energy = np.minimum(found, energy)
            passing = Passing(problem.union.layout, problem.numbers, minimize=True)
            improve(problem, passing, chosen, clamped(compiled, chosen), 0, len(chosen), sweeps=1)
    settled = Status.OPTIMAL if fused.finished else Status.TIME_LIMIT
    statuses = [settled if exact or not fused.finished else Status.CONVERGED for exact in fused.exact.tolist()]
    n = len(statuses)
    return Answer(
        method="cut",
        status=tuple(Status.INFEASIBLE if bad else s for bad, s in zip(fused.impossible.tolist(), statuses)),
        iterations=np.ones(n, np.int64),
        residual=np.zeros(n),
        states=chosen,
        lower_bound=np.where(np.isfinite(bound), bound, -np.inf),
    )


METHOD = Method(
    name="cut",
    summary="minimum cuts: exact where two-state variables attract in pairs",
    best=best,
    marginals=None,
    options={},
    needs_soft_free=True,
    min_marginals=False,
)
