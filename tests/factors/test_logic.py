"""Logic and Cardinality: what they mean, said plainly; what they refuse; and small graphs against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse
from oracle import brute

import factorgraph_ebm as fg

MEANING = {
    "AtMostOne": lambda *s: sum(s) <= 1,
    "ExactlyOne": lambda *s: sum(s) == 1,
    "AtLeastOne": lambda *s: sum(s) >= 1,
    "Or": lambda *s: any(s[:-1]) == bool(s[-1]),
    "And": lambda *s: all(s[:-1]) == bool(s[-1]),
    "Implies": lambda *s: not s[0] or s[1],
    "Parity": lambda *s: sum(s) % 2 == 0,
}


def arities(kind):
    return (2,) if kind == "Implies" else range(1 if kind in ("Or", "And") else 0, 6)


@pytest.mark.parametrize("kind", MEANING)
def test_what_is_allowed(kind):
    x = fg.output("x", shape=6, n_states=2)
    for arity in arities(kind):
        factor = getattr(fg, kind)(x[:arity])
        table = factor.table()
        assert factor.size == 1 and table.shape == (2,) * arity
        for states in itertools.product(range(2), repeat=arity):
            allowed = bool(MEANING[kind](*states))
            assert table[states] == (0.0 if allowed else np.inf)
            found = factor.energies({}, np.array(states, int).reshape(arity, 1))
            assert found.tolist() == [table[states]]


def test_cardinality_counts():
    x = fg.output("x", shape=(2, 3), states=["out", "in"])
    energies = np.array([[0.0, 1.0, 2.0, np.inf], [5.0, 6.0, 7.0, 8.0]])
    factor = fg.Cardinality(x, energies, axis=1)
    for row in range(2):
        for states in itertools.product(range(2), repeat=3):
            assert factor.table()[(row, *states)] == energies[row, sum(states)]
    graph = fg.FactorGraph([factor])
    assert fg.factor_energies(graph, {"x": [["in", "out", "in"], ["in", "in", "in"]]})[0].tolist() == [2.0, 8.0]


def test_ragged_cardinality_reads_its_first_numbers():
    x = fg.output("x", shape=5, n_states=2)
    members = [[0, 1, 2, 3], [4], [], [2, 4]]
    own = np.arange(20.0).reshape(4, 5)
    for energies in (own[0], own):
        graph = fg.FactorGraph([fg.Cardinality(x, energies, members=members)])
        rows = np.broadcast_to(energies, (4, 5))
        states = np.array([1, 0, 1, 1, 1])
        expected = [rows[f, states[member].sum() if member else 0] for f, member in enumerate(members)]
        assert fg.factor_energies(graph, {"x": states})[0].tolist() == expected
        for given, known in ({}, {}), ({x[2]: 1, x[4]: 0}, {("x", 2): 1, ("x", 4): 0}):
            joint, belief = brute(graph, known), fg.marginals(graph, given)
            np.testing.assert_allclose(belief["x"], joint.marginals(1.0)["x"], atol=1e-12)
            assert belief.log_partition == pytest.approx(joint.log_partition(1.0), rel=1e-12)


def test_the_three_forms_of_scopes():
    match = fg.output("match", shape=(4, 3), n_states=2)
    assert fg.ExactlyOne(match).size == 1 and fg.ExactlyOne(match).arity == 12
    assert fg.ExactlyOne(match, axis=1).shape == (4,) and fg.AtMostOne(match[:, :-1], axis=0).shape == (2,)
    assert fg.Or([*match.T]).shape == (4,) and fg.Or([*match.T]).arity == 3
    assert fg.Parity(match[:0], axis=1).size == 0 and fg.Cardinality(match[:0], np.zeros(4), axis=1).size == 0
    flat = match.ravel()
    matrix = scipy.sparse.csr_matrix(np.eye(2, 12))
    assert fg.Parity(flat, members=matrix).arity.tolist() == [1, 1]
    one = fg.ExactlyOne([match[0, 0]])
    assert one.size == 1 and one.table().tolist() == [np.inf, 0.0]


@pytest.mark.parametrize("kind", [*MEANING, "Cardinality"])
def test_a_list_of_one_array_is_refused(kind):
    match = fg.output("match", shape=(4, 6), n_states=2)
    numbers = (np.zeros(7),) if kind == "Cardinality" else ()
    said = r"so this is 6 factors over 1 variable each\. Write match\[0\] for one factor, or match with axis=1"
    with pytest.raises(fg.ScopeError, match=said):
        getattr(fg, kind)([match[0]], *numbers)


@pytest.mark.parametrize("kind", [*MEANING, "Cardinality"])
def test_variables_have_two_states(kind):
    numbers = (np.zeros(3),) if kind == "Cardinality" else ()
    declare = getattr(fg, kind)
    three, mixed = fg.output("three", shape=2, n_states=3), fg.output("mixed", shape=4, n_states=np.array([2, 2, 3, 2]))
    with pytest.raises(fg.VariableError, match=rf'{kind} is over variables of two states.*"on".*three'):
        declare([three[0], three[1]], *numbers)
    with pytest.raises(fg.VariableError, match=r"mixed\[1\], mixed\[2\]"):
        declare([mixed[1:], mixed[:-1]][::-1], *numbers)
    with pytest.raises(fg.VariableError, match=r"mixed\[2\], mixed\[3\]"):
        declare(mixed, *numbers, members=[[0, 1], [2, 3]])
    assert declare([mixed[0], mixed[1]], *numbers).size == 1  # the cells that it touches have two
    with pytest.raises(fg.ScopeError):
        declare("mixed", *numbers)


def test_what_else_is_refused():
    x = fg.output("x", shape=4, n_states=2)
    with pytest.raises(fg.ScopeError, match="Implies takes 2 variables"):
        fg.Implies(x)
    for gate in (fg.Or, fg.And):
        with pytest.raises(fg.ScopeError, match="at least 1 variable"):
            gate(x, members=[[0, 1], []])
    with pytest.raises(fg.FactorError, match=r"must end with one for each number on, \(5,\)"):
        fg.Cardinality(x, np.zeros(4))
    with pytest.raises(fg.FactorError, match="nan"):
        fg.Cardinality(x, [0, 1, np.nan, 0, 0])


@pytest.mark.parametrize("kind", [*MEANING, "Cardinality"])
@pytest.mark.parametrize("beta", [0.0, 0.7, np.inf])
def test_given_repeated_and_merged_equals_brute_force(kind, beta, rng):
    """One factor with each set of given variables, with a variable twice, and with others on and in its scope."""
    arity = 2 if kind == "Implies" else 4
    x = fg.output("x", shape=arity, n_states=2)
    numbers = (rng.integers(-3, 4, size=arity + 1),) if kind == "Cardinality" else ()
    declare = getattr(fg, kind)
    unary = fg.Table([x], energies=rng.integers(-2, 3, size=(arity, 2)))
    pair = fg.Table([x[1], x[0]], energies=rng.integers(-2, 3, size=(2, 2)))
    scopes = [x, x[::-1], x[rng.permutation(arity)]] + ([[x[0], x[1], x[0], x[2]]] if arity > 2 else [])
    for scope in scopes:
        for others in ([], [pair], [pair, fg.AtLeastOne(x)], [fg.Parity(x), fg.AtLeastOne(x[::-1])]):
            graph = fg.FactorGraph([declare(scope, *numbers, name="it"), unary, *others])
            known = {("x", i): int(rng.integers(2)) for i in range(arity) if rng.random() < 0.4}
            joint = brute(graph, known)
            given = {x[i]: s for (_, i), s in known.items()}
            belief = fg.marginals(graph, given, beta=beta, method="bp")
            best = fg.minimize(graph, given, method="bp")
            if not joint.feasible:
                assert belief.status == best.status == fg.Status.INFEASIBLE
                continue
            assert best.energy == joint.minimum and best.status is fg.Status.OPTIMAL
            np.testing.assert_allclose(belief["x"], joint.marginals(beta)["x"], atol=1e-12)
            table = belief.factor_marginals["it"]
            np.testing.assert_allclose(table, joint.factor_marginals(beta)["it", 0], atol=1e-12)
            assert [m.shape for m in belief.messages.to_variable["it"]] == [(2,)] * arity
