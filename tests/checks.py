"""What every answer must satisfy, whatever the method: the statements that the conformance suites make.

Tolerances: marginals 1e-10 absolute, log_partition 1e-10 relative, minima 1e-12 relative, plus the rounding
that float64 makes unavoidable: a few eps times the sum of the factors' largest entries (times beta), which
matters only at 1e300 or beta = 1000.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from oracle import EPSILON, Joint, brute, is_forest, layout
from strategies import Case

import factorgraph_ebm as fg

BETAS = [0.0, 0.1, 1.0, 10.0, 1e3, math.inf]


def joint_of(case: Case) -> Joint:
    return brute(case.graph, case.known, case.values)


def betas_of(case: Case) -> list[float]:
    """At beta = inf ties decide, so only integer energies are asked there (API Q5)."""
    return BETAS if case.integral else BETAS[:-1]


def quietly(verb: Any, *args: Any, **options: Any) -> Any:
    """Call a verb on a graph where failing to converge is legal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fg.ConvergenceWarning)
        return verb(*args, **options)


def conditioned(joint: Joint) -> bool:
    """Can a plain sum in float64 tell the configurations that matter apart? Not where 1e300 enters one of them."""
    return not (joint.largest[joint.rest < 1e15] > 1e15).any() and (not joint.feasible or joint.rest.min() < 1e15)


def rounding(joint: Joint, beta: float = 1.0) -> float:
    """What rounding the energies costs. Small energies only: beside them, 1e300 is as good as +inf."""
    sizes = [np.abs(t.table[np.abs(t.table) < 1e200]).max(initial=0.0) for t in joint.factors]
    scale = beta if 0 < beta < math.inf else 1.0
    return 8 * EPSILON * scale * float(sum(sizes))


def check_minimum(case: Case, best: Any, joint: Joint, *, exact: bool = False) -> None:
    """`best` is honest about `joint`; with `exact`, it must have proved the minimum, or that none exists."""
    slack = 1e-12 * max(1.0, abs(joint.minimum) if joint.feasible else 1.0) + 8 * EPSILON * joint.mass
    assert isinstance(best.status, fg.Status)
    assert not math.isnan(best.energy)
    assert best.exact == (best.status is fg.Status.OPTIMAL)
    if best.lower_bound is not None:
        assert not math.isnan(best.lower_bound)
        assert best.lower_bound <= joint.minimum + slack, (best.lower_bound, joint.minimum)
    if exact:
        assert best.status is (fg.Status.OPTIMAL if joint.feasible else fg.Status.INFEASIBLE), best.status
    if best.status is fg.Status.INFEASIBLE:
        assert not joint.feasible, "an infeasible status without a proof"
        assert best.energy == math.inf
        return
    if best.status is fg.Status.OPTIMAL:
        assert joint.feasible
        assert abs(best.energy - joint.minimum) <= slack, (best.energy, joint.minimum)
    assert best.feasible == (best.energy < math.inf)
    states = states_of(case, best)
    for cell, state in joint.known.items():
        assert states[cell] == state
    expected = joint.energy_of(states)
    assert best.energy == expected or abs(best.energy - expected) <= slack, (best.energy, expected)
    assert best.energy >= joint.minimum - slack
    assert fg.energy(case.graph, best, parameters=case.parameters) == best.energy


def states_of(case: Case, best: Any) -> np.ndarray:
    """The state of every cell, in the oracle's order; also checks labels, shapes and ranges."""
    where, found = layout(case.graph), []
    for name, variable in where.variables.items():
        indices = np.asarray(best.indices[name])
        assert indices.shape == variable.shape
        assert np.issubdtype(indices.dtype, np.integer)
        answer = np.asarray(best[name])
        assert answer.shape == variable.shape
        for place, index in zip(np.ndindex(*variable.shape), indices.ravel(), strict=True):
            label = index if variable.states is None else variable.states[index]
            assert answer[place] == label
        found.append(indices.ravel())
    states = np.concatenate([np.zeros(0, int), *found])
    assert ((states >= 0) & (states < where.cell_states)).all()
    return states


def check_marginals(case: Case, belief: Any, joint: Joint, beta: float, *, exact: bool = False) -> None:
    """`belief` is honest about `joint` at `beta`; with `exact`, it must say so."""
    assert isinstance(belief.status, fg.Status)
    assert belief.exact == (belief.status is fg.Status.OPTIMAL)
    assert not math.isnan(belief.log_partition)
    assert not math.isnan(belief.free_energy)
    if exact:
        assert belief.status is (fg.Status.OPTIMAL if joint.feasible else fg.Status.INFEASIBLE), belief.status
    if belief.status is fg.Status.INFEASIBLE:
        assert not joint.feasible
        assert belief.log_partition == -math.inf
        return
    for name, variable in joint.where.variables.items():
        rows = np.asarray(belief[name])
        assert rows.shape == (*variable.shape, int(np.max(variable.n_states, initial=0)))
        assert not np.isnan(rows).any()
        assert (rows >= 0).all() and (rows <= 1 + 1e-9).all()
        if rows.size:
            assert np.allclose(rows.sum(-1), 1.0, atol=1e-9, rtol=0)
        for i, row in enumerate(rows.reshape(variable.size, rows.shape[-1])):
            cell = joint.where.cell(name, i)
            assert not row[joint.where.cell_states[cell] :].any(), "an absent state has probability 0"
            if cell in joint.known:
                assert row[joint.known[cell]] == 1.0
    if belief.exact:
        assert joint.feasible
        check_exact_marginals(belief, joint, beta)


def check_exact_marginals(belief: Any, joint: Joint, beta: float) -> None:
    """Equal to the oracle's: cells, factors, log_partition, free_energy."""
    if conditioned(joint):
        slack = 1e-10 + rounding(joint, beta)
        for name, rows in joint.marginals(beta).items():
            np.testing.assert_allclose(
                np.asarray(belief[name]), rows, atol=slack, rtol=0, err_msg=f"{name} at beta {beta}"
            )
        for (key, place), table in joint.factor_marginals(beta).items():
            found = belief.factor_marginals[key]
            shape = table.shape
            if not isinstance(found, list):
                found = np.asarray(found).reshape(-1, *np.asarray(found).shape[-len(shape) :])
            mine = np.asarray(found[place])[tuple(slice(k) for k in shape)]
            np.testing.assert_allclose(
                mine, table, atol=slack, rtol=0, err_msg=f"factor {key!r} [{place}] at beta {beta}"
            )
    close(belief.log_partition, joint.log_partition(beta), 1e-10, joint, beta)
    close(belief.free_energy, joint.free_energy(beta), 1e-10, joint, 1.0)


def close(found: float, expected: float, relative: float, joint: Joint, beta: float) -> None:
    scale = beta if 0 < beta < math.inf else 1.0
    slack = relative * max(1.0, abs(expected)) + 8 * EPSILON * scale * joint.mass
    assert found == expected or abs(found - expected) <= slack, (found, expected)


def expected_exact(case: Case) -> bool:
    return is_forest(case.graph, case.known)
