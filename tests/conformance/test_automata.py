"""Every structure that can be read slot by slot: its automaton gives the energies of its own tables, exactly.

Rows of numbers are those of compiled graphs, whatever is given. A structure joins by defining `automaton`; the suite
then asks for one line in DRAWN.
"""

from __future__ import annotations

import itertools
import math
import time
import tracemalloc

import numpy as np
import pytest
from dice import Dice
from hypothesis import assume, given
from hypothesis import strategies as st

import factorgraph_ebm as fg
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.union import compile_union
from factorgraph_ebm.factors import STRUCTURES
from factorgraph_ebm.graph.automaton import (
    LARGEST_AUTOMATON,
    Representatives,
    end_states,
    fixed,
    minimised,
    width_of,
)
from factorgraph_ebm.graph.declaration import Factor
from factorgraph_ebm.inference.tables import number_rows, run_of, run_tables


def sparse(scope, states, lead, rng, count=None):
    count = int(rng.integers(1, 12)) if count is None else count
    rows = np.unique(np.array([rng.integers(0, k, count) for k in states]).T, axis=0)
    # Some that differ in few variables: alike in the others, once these are given.
    near = rows.copy()
    near[:, 0] = (near[:, 0] + 1) % states[0]
    rows = np.unique(np.concatenate([rows, near]), axis=0)
    return fg.SparseTable(scope, rng.permutation(rows), energies=forbid(rng.normal(size=(*lead, len(rows))), rng))


def linear(scope, states, lead, rng):
    low, high = [(0, 4), (-2, 3), (-3, 1)][rng.integers(3)]
    weights = rng.integers(low, high, (*lead, len(states)))
    sums = (weights * (np.array(states) - 1)).sum(axis=-1)
    return fg.LinearConstraint(scope, weights, rng.choice(["<=", "==", ">="]), np.round(sums * rng.random()))


def forbid(numbers, rng):
    return np.where(rng.random(np.shape(numbers)) < 0.15, np.inf, numbers)


def cardinality(scope, states, lead, rng):
    return fg.Cardinality(scope, forbid(rng.integers(0, 4, (*lead, len(states) + 1)) / 3, rng))


def without_numbers(kind):
    return lambda scope, states, lead, rng: getattr(fg, kind)(scope)


ON_OFF = ("And", "AtLeastOne", "AtMostOne", "Cardinality", "ExactlyOne", "Or", "Parity")
#: kind -> declaration, least and largest arity, least and largest number of states, arity and states where it is wide
DRAWN = {
    **{kind: (without_numbers(kind), 2, 8, 2, 2, 1000, 2) for kind in ON_OFF},
    "Cardinality": (cardinality, 2, 8, 2, 2, 1000, 2),
    "AllDifferent": (without_numbers("AllDifferent"), 2, 5, 1, 6, 9, 13),
    "LinearConstraint": (linear, 3, 6, 2, 4, 200, 3),
    "Maximum": (without_numbers("Maximum"), 2, 5, 1, 5, 400, 5),
    "SparseTable": (sparse, 2, 6, 1, 5, 300, 3),
    "Product": (lambda scope, states, lead, rng: fg.Product(scope, rng.normal(size=lead)), 2, 2, 5, 9, 2, 40),
}


def test_every_automaton_is_drawn():
    told = {kind for kind, s in STRUCTURES.items() if s.automaton.__func__ is not Factor.automaton.__func__}
    assert told == set(DRAWN)
    for kind in set(STRUCTURES) - told:
        assert STRUCTURES[kind].automaton((2, 2), np.zeros(4)) is None


class Read:
    """A run of a compiled graph: its automaton, the rows of its factors, and their tables."""

    def __init__(self, union, numbers, run):
        self.kind, fields = union.layout.kinds[run], run_of(union.compiled, run)
        self.states = fields.states
        self.constants = union.compiled.constants[fields.constant :]
        self.structure = STRUCTURES[self.kind]
        n = 1 if fields.shared >= 0 else fields.size
        own = union.compiled.factor_number[fields.factor : fields.factor + n].astype(np.int64)
        number = np.full(1, fields.shared) if fields.shared >= 0 else own
        self.numbers = number_rows(union.compiled, numbers.store, self.kind, fields, number)
        self.rows = self.numbers.reshape(n, -1)
        self.automaton = self.structure.automaton(self.states, self.constants)
        self.tables = lambda: run_tables(union, numbers, run, np.arange(n)).reshape(n, -1)


def read_energies(automaton, rows, chosen):
    """Of factors with these rows in the assignments (slots, m): (rows, m)."""
    end = end_states(automaton, chosen)
    return np.where(end >= 0, automaton.energies.entries(rows)[:, end], np.inf)


def runs_of(factor, known, states):
    graph = fg.FactorGraph([factor])
    union = compile_union([Sample(graph, known.ravel())])
    numbers = union.bind([{}], states.ravel())
    kinds = enumerate(union.layout.kinds)
    return [Read(union, numbers, r) for r, kind in kinds if kind in DRAWN and run_of(union.compiled, r).size]


@st.composite
def readings(draw, kind):
    dice = Dice(lambda low, high: draw(st.integers(low, high)))
    build, least, most, fewest, states, _, _ = DRAWN[kind]
    arity, k, groups = dice.integer(least, most), dice.integer(fewest, states), dice.integer(1, 3)
    rng = dice.generator()
    share = dice.pick([0.0, 0.0, 0.3, 0.6])
    y = fg.output("y", shape=(groups, arity), n_states=k)
    lead = dice.pick([(), (groups,)])
    factor = build([y[:, s] for s in range(arity)], (k,) * arity, lead, rng)
    runs = runs_of(factor, rng.random(y.shape) < share, rng.integers(0, k, y.shape))
    assume(runs)
    return runs


def widths(automaton):
    """Of the helper variables after 0, 1, ... slots."""
    ends = automaton.energies
    after = ends.chosen.shape[1] if isinstance(ends, Representatives) else len(ends.index)
    return [*map(len, automaton.steps), after]


def check_form(automaton, states):
    w = widths(automaton)
    assert w[0] == 1 and min(w) >= 1
    assert automaton.entries == sum(a * k for a, k in zip(w, states)) and width_of(automaton) == max(w)
    for s, step in enumerate(automaton.steps):
        assert step.dtype == np.int64 and step.shape == (w[s], states[s])
        assert step.min() >= -1 and step.max() < w[s + 1]


def least_widths(table, states):
    """Distinct futures that are not forbidden, of the prefixes of each length."""
    found = []
    for s in range(len(states) + 1):
        futures = table.reshape(math.prod(states[:s]), -1)
        alive = futures[~np.isinf(futures).all(axis=1)]
        found.append(max(len(np.unique(alive, axis=0)), 1))
    return found


@pytest.mark.parametrize("kind", DRAWN)
def test_every_assignment_has_the_energy_of_the_table(kind):
    @given(readings(kind))
    def read(runs):
        for run in runs:
            every = np.indices(run.states).reshape(len(run.states), -1)
            table = run.tables()
            for automaton in (run.automaton, minimised(run.automaton)):
                check_form(automaton, run.states)
                np.testing.assert_array_equal(read_energies(automaton, run.rows, every), table)
                assert widths(automaton) == widths(minimised(run.automaton))
            for row, energies in zip(run.rows, table, strict=True):
                one = fixed(run.automaton, row)
                check_form(one, run.states)
                np.testing.assert_array_equal(read_energies(one, row[None], every)[0], energies)
                assert widths(one) == least_widths(energies, run.states)

    read()


@pytest.mark.parametrize("share", [0.0, 0.2])
@pytest.mark.parametrize("kind", DRAWN)
def test_many_variables(kind, share, rng):
    build, *_, arity, k = DRAWN[kind]
    y = fg.output("y", shape=(2, arity), n_states=k)
    factor = build([y[:, s] for s in range(arity)], (k,) * arity, (2,), rng)
    known, states = rng.random(y.shape) < share, rng.integers(0, k, y.shape)
    if kind == "AllDifferent":
        states = np.array([rng.permutation(k)[:arity] for _ in range(2)])
    if kind in ("AtMostOne", "ExactlyOne"):
        states[:] = 0
    if kind == "SparseTable":
        states = factor.configurations[rng.integers(0, len(factor.configurations), 2)]
    known = known if kind != "Product" else np.zeros(y.shape, bool)
    runs = runs_of(factor, known, states)
    assert runs and {run.kind for run in runs} == {kind}
    finite = 0
    for run in runs:
        began = time.process_time()
        automaton = run.structure.automaton(run.states, run.constants)
        assert time.process_time() - began < 0.5
        check_form(automaton, run.states)
        m = 60
        for on in (0.5, 1.0, 1 / len(run.states), 0.0):
            chosen = np.where(rng.random((len(run.states), m)) < on, rng.integers(0, k, (len(run.states), m)), 0)
            if kind == "AllDifferent":
                chosen = np.array([rng.permutation(k)[: len(run.states)] for _ in range(m)]).T
            if kind == "SparseTable" and on < 1.0:
                of = int(run.constants[1])
                listed = run.constants[2 + of : 2 + of + of * len(run.states)].reshape(of, -1).astype(np.int64)
                chosen = listed[rng.integers(0, of, m)].T.copy()
                chosen[rng.integers(0, len(chosen)), : m // 2] = 0
            found = read_energies(automaton, run.rows, chosen)
            for row, mine in zip(run.numbers, found, strict=True):
                each = np.repeat(row[None], m, axis=0)
                expected = run.structure.state_energies(each, chosen, run.states, run.constants)
                np.testing.assert_array_equal(mine, expected)
                finite += np.isfinite(mine).sum()
    assert finite


def counts(n):
    return list(range(1, n + 2))


def test_least_widths():
    """Of what is known of a structure before its numbers are, and after."""
    n = 7
    x = fg.output("x", shape=n, n_states=2)
    for kind in ("Parity", "AtMostOne", "ExactlyOne", "AtLeastOne", "Or", "And"):
        (run,) = runs_of(getattr(fg, kind)(x), np.zeros(n, bool), np.zeros(n, int))
        assert widths(run.automaton) == [1, *[2] * (n - 1), 3 if kind in ("Or", "And") else 2]
        assert widths(fixed(run.automaton, run.rows[0])) == [1, *[2] * (n - 1), 1]
    cardinality = STRUCTURES["Cardinality"].automaton((2,) * n, np.zeros(0))
    assert widths(cardinality) == counts(n) == widths(fixed(cardinality, np.arange(n + 1.0)))
    up_to_three = [min(s + 1, 4) for s in range(n + 1)]
    assert widths(fixed(cardinality, np.minimum(np.arange(n + 1.0), 3))) == up_to_three
    assert widths(fixed(cardinality, np.arange(n + 1.0) % 2)) == [1, *[2] * n]
    assert widths(fixed(cardinality, np.zeros(n + 1))) == [1] * (n + 1)
    nothing = fixed(cardinality, np.full(n + 1, np.inf))
    assert widths(nothing) == [1] * (n + 1) and all((step == -1).all() for step in nothing.steps)
    for k in (7, 9):
        different = STRUCTURES["AllDifferent"].automaton((k,) * n, np.array([float(k)]))
        assert widths(different) == [*(math.comb(k, s) for s in range(n)), 1]
        # Two states are taken: sets of the others.
        row = np.where(np.arange(k + 2) < 2, np.inf, 0.0)
        some = fixed(STRUCTURES["AllDifferent"].automaton((k + 2,) * n, np.array([float(k)])), row)
        assert widths(some) == widths(different)
    maximum = STRUCTURES["Maximum"].automaton((4,) * n, np.zeros(0))
    assert widths(maximum) == [1, *[4] * (n - 1), 16]
    assert widths(fixed(maximum, np.array([0.0, *[np.inf] * 3, 0, 0, 0, 0, 0.0]))) == [1, *[4] * (n - 1), 1]
    (run,) = runs_of(fg.LinearConstraint(x, np.ones(n), "<=", 2), np.zeros(n, bool), np.zeros(n, int))
    assert widths(run.automaton) == [1, 2, *[3] * (n - 1)]
    assert widths(fixed(run.automaton, run.rows[0])) == [1, 2, *[3] * (n - 3), 2, 1]
    rows = np.array(list(itertools.product([0, 1], repeat=3)))
    words = np.concatenate([rows, 1 - rows[:, :1], rows], axis=1)  # four bits that the last three repeat
    (run,) = runs_of(fg.SparseTable(x, words, np.zeros(8)), np.zeros(n, bool), np.zeros(n, int))
    assert widths(run.automaton) == [1, 2, 4, 8, 8, 8, 8, 8]
    assert widths(fixed(run.automaton, run.rows[0])) == [1, 2, 4, 8, 8, 4, 2, 1]


def test_large_ones_are_given_up_before_they_are_made():
    many = np.concatenate([[3e6, 1.0], 2.0 ** (np.arange(30) % 20)])
    asked = [
        ("Cardinality", (2,) * 3000, np.zeros(0)),
        ("AllDifferent", (20,) * 20, np.array([20.0])),
        ("AllDifferent", (100,) * 3, np.array([100.0])),
        ("Maximum", (200,) * 40, np.zeros(0)),
        ("LinearConstraint", (2,) * 30, many),
        ("Product", (2000, 2000), np.arange(4000.0)),
    ]
    for kind, states, constants in asked:
        tracemalloc.start()
        began = time.process_time()
        assert STRUCTURES[kind].automaton(states, constants) is None, kind
        seconds, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert seconds < 1.0 and peak < 8 * 8 * LARGEST_AUTOMATON, kind


@pytest.mark.parametrize("kind", DRAWN)
def test_the_chain_is_the_factor(kind, rng):
    """Declared with helper variables, as tables over two of them and a slot: a tree, summed and minimised."""
    build, *_, k = DRAWN[kind]
    arity, k = {"Product": (2, 9), "AllDifferent": (6, 7)}.get(kind, (12, min(k, 3)))
    y = fg.output("y", shape=arity, n_states=k)
    factor = build(list(y), (k,) * arity, (), rng)
    unary = fg.Table([y], rng.normal(size=(arity, k)))
    (run,) = runs_of(factor, np.zeros(arity, bool), np.zeros(arity, int))
    factors = [unary]
    helper = [fg.latent(f"h{s}", n_states=w) for s, w in enumerate(widths(run.automaton))]
    for s, step in enumerate(run.automaton.steps):
        following = np.arange(widths(run.automaton)[s + 1])
        factors.append(fg.Table([helper[s], y[s], helper[s + 1]], np.where(step[:, :, None] == following, 0.0, np.inf)))
    factors.append(fg.Table([helper[-1]], run.automaton.energies.entries(run.rows)[0]))
    chain, plain = fg.FactorGraph(factors), fg.FactorGraph([factor, unary])
    mine, expected = fg.marginals(chain), fg.marginals(plain)
    assert mine.exact and expected.exact
    assert mine.log_partition == pytest.approx(expected.log_partition, rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(mine["y"], expected["y"], atol=1e-12)
    assert fg.minimize(chain).energy == pytest.approx(fg.minimize(plain).energy, rel=1e-12)
