"""Every registered structure: its statistics are the expectations that its own table says, and the slope of log Z.

A structure joins by being registered, with its line in EXAMPLES of `test_structures.py`; one without a statistics
kernel is asked through its table.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
from conformance.test_structures import declare, examples
from oracle import brute

import factorgraph_ebm as fg
from factorgraph_ebm.arrays import Messages, Numbers
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.union import compile_union
from factorgraph_ebm.factors import STRUCTURES
from factorgraph_ebm.graph import as_numbers
from factorgraph_ebm.inference import run
from factorgraph_ebm.inference.conditionals import add_conditionals_transposed, conditional_energies
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.inference.statistics import add_assignment, add_beliefs, add_run, zeros
from factorgraph_ebm.inference.tables import add_messages, message_rows, run_of


def with_unary(y, factor, rng):
    """The structure over neighbours, and unary energies that make its messages real."""
    return fg.FactorGraph([factor, fg.Table([y], energies=rng.normal(size=(*y.shape, int(y.n_states))))])


def learned(factor):
    """The same declaration with a Parameter "w" in the place of its numbers, and their values (None: it has none)."""
    if not factor.slots:
        return factor, None
    slot = factor.slots[0]
    value = np.asarray(slot.source.evaluate({}))
    other = copy.copy(factor)
    other.slots = (slot._replace(source=as_numbers(fg.Parameter("w", value.shape))),)
    return other, value


def slopes_of_tables(factor, value, shape):
    """d table entry / d number of all factors of a group of 3, (numbers, 3, entries): tables are affine in them."""
    forbidden = np.where(np.isinf(value), np.inf, 0.0)

    def tables(w):
        return np.broadcast_to(factor.bound_table({"w": w.reshape(value.shape)}), (3, *shape)).reshape(3, -1)

    base = tables(forbidden)
    slopes = []
    for j in range(value.size):
        moved = forbidden.copy().ravel()
        moved[j] += 1.0
        after = tables(moved)
        finite = np.isfinite(after) & np.isfinite(base)
        slopes.append(np.subtract(after, base, out=np.zeros(base.shape), where=finite))
    return np.array(slopes).reshape(value.size, 3, -1)


@pytest.mark.parametrize("build, arity, domain, shared", list(examples()))
def test_statistics_are_expectations_of_the_table(build, arity, domain, shared, rng):
    """For messages of any kind, at rest or not: forbidden states, nothing known, 700 nats apart."""
    y, declared = declare(build, arity, domain, shared, rng)
    shape = (int(y.n_states),) * arity
    factor, value = learned(declared)
    values, given = {} if value is None else {"w": value}, np.zeros(y.size, np.int64)
    union = compile_union([Sample(fg.FactorGraph([factor]))], rewrite=False)
    numbers = union.bind([values], given)
    tables = np.broadcast_to(declared.table(), (3, *shape))
    member = {int(p): int(m) for place in union.places(0) for p, m in zip(place.position, place.members)}
    for kind in ("near", "apart", "forbidden", "chosen"):
        incoming = draw_messages(rng, union.compiled.message_size // shape[0], shape[0], kind)
        share = np.array([0.7, 0.0, -1.3])  # of the declared factors
        out, p = zeros(union), np.zeros((3, tables[0].size))
        for number in range(len(union.layout.kinds)):
            if not STRUCTURES[union.layout.kinds[number]].has_numbers:
                continue
            fields = run_of(union.compiled, number)
            rows = np.arange(fields.size)
            members = np.array([member[fields.factor + f] for f in rows])
            add_run(union, numbers, number, Messages(np.zeros(0), incoming), share[members], out)
            sent = [message_rows(union.compiled, incoming, number, s, rows) for s in range(arity)]
            for f, m in enumerate(members):
                p[m] = share[m] * probabilities(add_messages(tables[m : m + 1], [r[f : f + 1] for r in sent])[0])
        assert np.isfinite(out.store).all() and not out.unary.any()
        assert not out.store[numbers.store == np.inf].any()
        if value is not None:
            into = {"w": np.zeros(value.shape)}
            union.pullback([values], given, out, [into])
            expected = np.einsum("nfe,fe->n", slopes_of_tables(factor, value, shape), p).reshape(value.shape)
            np.testing.assert_allclose(into["w"], expected, rtol=1e-11, atol=1e-13, err_msg=kind)


def probabilities(energy):
    low = energy.min()
    weight = np.exp((0.0 if np.isinf(low) else low) - energy.ravel().astype(np.longdouble))
    return (weight / weight.sum() if weight.sum() > 0 else weight).astype(float)


def draw_messages(rng, n, k, kind):
    rows = rng.uniform(0.0, 700.0 if kind == "apart" else 3.0, (n, k))
    if kind == "forbidden":
        rows[rng.random((n, k)) < 0.4] = np.inf
    if kind == "chosen":
        rows = np.where(np.arange(k) == rng.integers(0, k, n)[:, None], 0.0, np.inf)
    low = rows.min(axis=1, keepdims=True)
    return (rows - np.where(np.isinf(low), 0.0, low)).ravel()


@pytest.mark.parametrize("build, arity, domain, shared", list(examples()))
def test_statistics_are_the_slope_of_log_partition(build, arity, domain, shared, rng):
    """Through `Union.pullback` to a Parameter in the place of the numbers, against differences of brute force."""
    y, declared = declare(build, arity, domain, shared, rng)
    factor, value = learned(declared)
    if value is None:  # nothing to learn
        return
    value = np.where(np.isfinite(value), value, 0.3)
    graph = with_unary(y, factor, rng)
    union = compile_union([Sample(graph)])
    given, values = np.zeros(y.size, np.int64), {"w": value}
    for beta in (0.4, 1.0, 5.0):
        problem = Problem(union, union.bind([values], given), beta, False, None, np.inf, None)
        method = "bp" if union.compiled.sample_forest.all() else "enumerate"
        out, into = zeros(union), {"w": np.zeros(value.shape)}
        add_beliefs(problem, run(method, problem, {}), np.ones(1), out)
        union.pullback([values], given, out, [into])
        for place in np.ndindex(value.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = value.copy()
                moved[place] += step
                ends.append(brute(graph, {}, {"w": moved}).free_energy(beta))
            assert into["w"][place] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-7, abs=1e-8)


@pytest.mark.parametrize("build, arity, domain, shared", list(examples()))
def test_the_table_is_the_fallback(build, arity, domain, shared, rng, monkeypatch):
    """Without its kernel a structure gets the same statistics, through its table."""
    y, factor = declare(build, arity, domain, shared, rng)
    union = compile_union([Sample(with_unary(y, factor, rng))])
    problem = Problem(union, union.bind([{}], np.zeros(y.size, np.int64)), 1.0, False, None, np.inf, None)
    answer = run("bp", problem, {"max_iterations": 3, "tolerance": 0.0})
    found = []
    for _ in range(2):
        out = zeros(union)
        add_beliefs(problem, answer, np.ones(1), out)
        found.append(out)
        if factor.kind != "Table":  # other structures can become tables when they are compiled
            monkeypatch.setattr(STRUCTURES[factor.kind], "accumulate_kernel", staticmethod(lambda states: None))
    for one, two in zip(*found):
        np.testing.assert_allclose(one, two, rtol=1e-11, atol=1e-13)


def test_a_structure_without_kernel_over_too_many_variables_is_refused(rng, monkeypatch):
    y = fg.output("y", shape=2, n_states=6)
    graph = with_unary(y, fg.Product([y[:1], y[1:]], weight=0.3), rng)
    union = compile_union([Sample(graph)])
    assert union.layout.kinds == ("Product",)
    problem = Problem(union, union.bind([{}], np.zeros(2, np.int64)), 1.0, False, None, np.inf, None)
    answer = run("bp", problem, {})
    monkeypatch.setattr(fg.Product, "accumulate_kernel", staticmethod(lambda states: None))
    monkeypatch.setattr("factorgraph_ebm.inference.number_maps.LARGEST_MAP", 35)
    with pytest.raises(fg.FactorError, match="Product over 2 variables has no statistics kernel"):
        add_beliefs(problem, answer, np.ones(1), Numbers(*map(np.copy, zeros(union))))


def test_a_structure_without_numbers_is_not_asked(rng, monkeypatch):
    y = fg.output("y", shape=3, n_states=2)
    graph = with_unary(y, fg.Potts([y[1:], y[:-1]], penalty=[0.3, 0.5]), rng)
    union = compile_union([Sample(graph)])
    assert set(union.layout.kinds) == {"Potts"}
    numbers, state = union.bind([{}], np.zeros(3, np.int64)), np.array([0, 1, 1, 0])
    problem = Problem(union, numbers, 1.0, False, None, np.inf, None)
    answer = run("bp", problem, {})

    def store():
        one, two, three = zeros(union), zeros(union), zeros(union)
        add_beliefs(problem, answer, np.ones(1), one)
        add_assignment(union, numbers, state, np.ones(1), two)
        add_conditionals_transposed(union, numbers, state, np.ones(len(three.unary)), three)
        assert all(out.unary.any() for out in (one, two, three))
        return [out.store.any() for out in (one, two, three)]

    assert store() == [True] * 3
    before = conditional_energies(union, numbers, state)
    monkeypatch.setattr(fg.Potts, "has_numbers", False)
    monkeypatch.setattr(fg.Potts, "accumulate_kernel", None)
    assert store() == [False] * 3
    np.testing.assert_allclose(conditional_energies(union, numbers, state), before, rtol=1e-14)
