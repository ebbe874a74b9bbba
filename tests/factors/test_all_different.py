"""AllDifferent: kernels against tables, permanents and assignments, given cells, scopes that cannot differ."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.optimize
from oracle import brute
from rows import KINDS, Run, check_kernels, draw_messages

import factorgraph_ebm as fg


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("arity", [1, 2, 3, 4])
def test_kernels(k, arity, kind, rng):
    """Factors for which some states are taken by given cells, more variables than states among them."""
    n, states = 6, (k,) * arity
    incoming = draw_messages(rng, n, states, kind)
    rows = np.where(rng.random((n, k)) < 0.2, np.inf, 0.0)
    rows[0] = np.inf  # two given cells are in one state
    every = np.indices(states).reshape(arity, -1)
    differ = np.array([len(set(column)) == arity for column in every.T.tolist()])
    tables = np.array([np.where(differ & np.isfinite(row[every]).all(axis=0), 0.0, np.inf) for row in rows])
    tables = tables.reshape(n, *states)
    np.testing.assert_array_equal(fg.AllDifferent.dense_tables(rows, states, np.zeros(0)), tables)
    kernels, space = fg.AllDifferent.message_kernels(states), fg.AllDifferent.scratch_size(states, np.array([k]))
    check_kernels(lambda soft: Run(states, incoming, rows, soft=soft), kernels, tables, space)


@pytest.mark.parametrize("n, k", [(3, 3), (6, 6), (4, 7), (2, 40), (3, 25)])
def test_sums_are_permanents(n, k, rng):
    """Z = sum over injections of the product of exp(-energy): a permanent where n = k. Pairs of any domain."""
    y = fg.output("y", shape=n, n_states=k)
    energies = rng.uniform(0.0, 6.0, (n, k))
    belief = fg.marginals(fg.FactorGraph([fg.AllDifferent(y), fg.Table([y], energies=energies)]))
    injections = np.array(list(itertools.permutations(range(k), n)))
    weight = np.exp(-energies[np.arange(n), injections].sum(axis=1))
    assert belief.exact and belief.log_partition == pytest.approx(math.log(weight.sum()), rel=1e-12)
    for i in range(n):
        expected = np.bincount(injections[:, i], weight, k) / weight.sum()
        np.testing.assert_allclose(belief["y"][i], expected, rtol=1e-10)


@pytest.mark.parametrize("n, k", [(2, 500), (12, 12), (9, 16)])
def test_the_best_assignment(n, k, rng):
    y = fg.output("y", shape=n, n_states=k)
    energies = rng.normal(size=(n, k))
    best = fg.minimize(fg.FactorGraph([fg.AllDifferent(y), fg.Table([y], energies=energies)]))
    rows, columns = scipy.optimize.linear_sum_assignment(energies)
    assert best.exact and best.energy == pytest.approx(energies[rows, columns].sum(), rel=1e-12)
    assert best["y"].tolist() == columns.tolist()


@pytest.mark.parametrize("method", ["bp", "enumerate"])
@pytest.mark.parametrize("n, k", [(3, 2), (5, 1), (9, 2)])
def test_more_variables_than_states_cannot_differ(n, k, method):
    y = fg.output("y", shape=n, n_states=k)
    graph = fg.FactorGraph([fg.AllDifferent(y)])
    assert fg.minimize(graph, method=method).status is fg.Status.INFEASIBLE
    assert fg.log_partition(graph, method=method) == -math.inf
    assert fg.energy(graph, {"y": [0] * n}) == math.inf


def test_a_thousand_variables_of_two_states_are_infeasible_at_once():
    y = fg.output("y", shape=1000, n_states=2)
    assert fg.minimize(fg.FactorGraph([fg.AllDifferent(y)])).status is fg.Status.INFEASIBLE


@pytest.mark.filterwarnings("ignore::factorgraph_ebm.ConvergenceWarning")  # loops, some frustrated
@pytest.mark.parametrize("seed", range(30))
def test_given_cells(seed):
    """Any cells given, all of them too, and equal ones; a cell twice in a scope; ragged scopes."""
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, 5))
    x = fg.output("x", shape=6, n_states=k)
    members = [rng.permutation(6)[: rng.integers(0, 4)].tolist() for _ in range(3)]
    if seed % 5 == 0:
        members[0] = [1, 2, 1]
    graph = fg.FactorGraph([fg.AllDifferent(x, members=members), fg.Table([x], energies=rng.normal(size=(6, k)))])
    held = {("x", int(i)): int(rng.integers(0, k)) for i in rng.permutation(6)[: rng.integers(0, 7)]}
    joint = brute(graph, held)
    given = {x[i]: s for (_, i), s in held.items()}
    expected = [all(len({row[i] for i in m}) == len(m) == len(set(m)) for m in members) for row in joint.states]
    np.testing.assert_array_equal(np.isfinite(joint.energies), expected)
    for method in ("enumerate", "bp"):
        best = fg.minimize(graph, given=given, method=method)
        if not joint.feasible:
            assert not best.feasible
        elif best.exact:
            assert best.energy == pytest.approx(joint.minimum)
    if joint.feasible:
        belief = fg.marginals(graph, given=given, method="enumerate")
        assert belief.log_partition == pytest.approx(joint.log_partition(1.0))


def test_given_cells_leave_few_states_of_many(rng):
    """30 states are too many sets of them; with 22 cells given, 8 are left."""
    y = fg.output("y", shape=30, n_states=30)
    graph = fg.FactorGraph([fg.AllDifferent(y, name="row")])
    with pytest.raises(fg.FactorError, match=r"30 states are left to 30 free variables \(at most 20\)"):
        fg.minimize(graph)
    order = rng.permutation(30)
    best = fg.minimize(graph, given={y[:22]: order[:22]})
    assert best.feasible and sorted(best["y"].tolist()) == list(range(30))


def test_what_is_refused():
    y = fg.output("y", shape=(4, 2), n_states=3)
    with pytest.raises(fg.ScopeError, match="8 factors over 1 variable each"):
        fg.AllDifferent([y])
    with pytest.raises(fg.VariableError, match="one domain"):
        fg.AllDifferent([y[0, 0], fg.output("z", n_states=2)])
    assert fg.AllDifferent(y, axis=1).size == 4 and fg.AllDifferent(list(y[0])).size == 1
    assert fg.AllDifferent([y[:0, 0], y[:0, 1]]).size == 0
