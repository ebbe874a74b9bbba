"""Bits known for certain beside bits erased: messages of +-inf in differences, and what they prove."""

from __future__ import annotations

import numpy as np
import pytest
from bound import bind
from checks import quietly

import factorgraph_ebm as fg
from factorgraph_ebm.compiler.schedules import flooding, sequential
from factorgraph_ebm.inference import forms
from factorgraph_ebm.inference.forms import Differences
from factorgraph_ebm.inference.passing import Passing


def checks(n, rng):
    """Rows of six bits of a (3, 6)-regular code, those that drew a bit twice left out."""
    rows = rng.permutation(np.repeat(np.arange(n), 3)).reshape(-1, 6)
    return rows[[len(set(row)) == 6 for row in rows.tolist()]]


def erased(n, share, rng, wrong=()):
    """The word of zeros, some bits erased, and some `wrong` ones that are 1 for certain."""
    energies = np.zeros((n, 2))
    energies[rng.random(n) >= share, 1] = np.inf
    energies[list(wrong)] = [np.inf, 0.0]
    y = fg.output("y", shape=n, n_states=2)
    return fg.FactorGraph([fg.Table([y], energies=energies), fg.Parity(y[checks(n, rng)], axis=1)])


@pytest.mark.parametrize("schedule", [flooding, sequential])
@pytest.mark.parametrize("damping", [0.0, 0.5])
def test_certain_bits_come_to_rest_as_in_energies(schedule, damping):
    union, numbers = bind(erased(120, 0.35, np.random.default_rng(0)))
    found = []
    for form in (Differences, Passing):
        passing = form(union.layout, numbers, minimize=True, repeated=True)
        steps = schedule(union.layout, passing.operators)
        residuals = [passing.run(steps, 0, len(steps.kernel), damping) for _ in range(60)]
        assert residuals[0] == np.inf and residuals[-1] == 0.0 and not np.isnan(residuals).any()
        found.append(passing.energies())
    for mine, theirs in zip(*found):
        np.testing.assert_array_equal(mine, theirs)


def test_an_erased_word_is_restored(monkeypatch):
    graph = erased(1200, 0.35, np.random.default_rng(1))
    fast = fg.minimize(graph, method="bp")
    monkeypatch.setattr(forms, "SMALL", 10**9)
    plain = fg.minimize(graph, method="bp")
    assert fast.energy == plain.energy == 0.0 and not fast["y"].any()
    assert (fast.iterations, fast.residual) == (plain.iterations, plain.residual)


@pytest.mark.parametrize("small", [0, 10**9])
def test_bits_that_contradict_the_checks_are_a_proof(small, monkeypatch):
    monkeypatch.setattr(forms, "SMALL", small)
    graph = erased(120, 0.2, np.random.default_rng(2), wrong=[0])
    best = quietly(fg.minimize, graph, method="bp")
    assert best.status is fg.Status.INFEASIBLE and not best.feasible


def test_a_state_forbidden_against_all_evidence_keeps_its_digits(monkeypatch):
    """Odds of e^-640 times weights of e^-100 have few digits left; their ratio has all."""
    monkeypatch.setattr(forms, "SMALL", 0)
    y, side, z = fg.output("y", n_states=2), fg.output("side", shape=3, n_states=2), fg.output("z", n_states=2)
    loop = fg.output("loop", shape=3, n_states=2)
    graph = fg.FactorGraph(
        [
            fg.Table([y], energies=[0.0, 160.0]),
            fg.Table([side, y], energies=[[0.0, 160.0], [1.0, 161.0]]),
            fg.Table([y, z], energies=[[np.inf, np.inf], [100.0, 101.0]]),
            fg.Potts([loop, loop[[1, 2, 0]]], penalty=0.5),
            fg.Potts([loop[:1], z], penalty=0.0),
        ]
    )
    belief = fg.marginals(graph, method="bp")
    np.testing.assert_allclose(belief["z", 1], 1 / (1 + np.exp(1.0)), rtol=1e-12)
    assert belief["y", 1] == 1.0
