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
from factorgraph_ebm.compiler.binding import pull
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.union import compile_union
from factorgraph_ebm.factors import STRUCTURES
from factorgraph_ebm.graph import as_numbers
from factorgraph_ebm.inference import run
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.inference.statistics import add_beliefs, add_run, zeros
from factorgraph_ebm.inference.tables import add_messages, message_rows, run_of


def with_unary(y, factor, rng):
    """The structure over neighbours, and unary energies that make its messages real."""
    return fg.FactorGraph([factor, fg.Table([y], energies=rng.normal(size=(*y.shape, int(y.n_states))))])


def slopes_of_tables(factor, shape):
    """d table entry / d number, (entries, numbers), and what is left without numbers, (entries,)."""
    table = factor.table_map(shape, factor.state_values(shape))
    size = int(table.index.max(initial=-1)) + 1
    slope = np.zeros((len(table.index), size))
    used = (table.index >= 0) & (table.coefficient != 0)
    slope[np.flatnonzero(used), table.index[used]] = table.coefficient[used]
    return slope, table.constant


@pytest.mark.parametrize("build, arity, domain, shared", list(examples()))
def test_statistics_are_expectations_of_the_table(build, arity, domain, shared, rng):
    """For messages of any kind, at rest or not: forbidden states, nothing known, 700 nats apart."""
    y, factor = declare(build, arity, domain, shared, rng)
    k = int(y.n_states)
    union = compile_union([Sample(fg.FactorGraph([factor]))], rewrite=False)
    numbers = union.bind([{}], np.zeros(y.size, np.int64))
    slope, _ = slopes_of_tables(factor, (k,) * arity)
    tables = np.broadcast_to(factor.table(), (3, *(k,) * arity))
    for kind in ("near", "apart", "forbidden", "chosen"):
        incoming = draw_messages(rng, union.compiled.message_size // k, k, kind)
        messages = Messages(np.zeros(0), incoming)
        share = np.array([0.7, 0.0, -1.3])
        out, expected = zeros(union), np.zeros_like(numbers.store)
        for number in range(len(union.layout.kinds)):
            fields = run_of(union.compiled, number)
            first = fields.factor
            add_run(union, numbers, number, messages, share[first : first + fields.size].copy(), out)
            rows = np.arange(fields.size)
            sent = [message_rows(union.compiled, incoming, number, s, rows) for s in range(arity)]
            position = union.places(0)[0].position
            for f in range(fields.size):
                member = int(np.flatnonzero(position == first + f)[0])
                p = probabilities(add_messages(tables[member : member + 1], [r[f : f + 1] for r in sent])[0])
                at = 0 if shared else member * slope.shape[1]
                expected[at : at + slope.shape[1]] += share[first + f] * (p @ slope)
        assert not out.store[numbers.store == np.inf].any()
        pull(union.folds, np.zeros(y.size, np.int64), out.unary, out.store)  # from tables made when numbers are bound
        declared = slice(0, union.declared_size)
        np.testing.assert_allclose(out.store[declared], expected[declared], rtol=1e-11, atol=1e-13, err_msg=kind)
        assert not out.unary.any()


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
    y, factor = declare(build, arity, domain, shared, rng)
    slot = factor.slots[0]
    value = np.asarray(slot.source.evaluate({}))
    value = np.where(np.isfinite(value), value, 0.3)
    learned = copy.copy(factor)
    learned.slots = (slot._replace(source=as_numbers(fg.Parameter("w", value.shape))),)
    graph = with_unary(y, learned, rng)
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
