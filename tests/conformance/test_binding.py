"""Compile and bind: forests are found where they are, and a pullback is the binding transposed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from oracle import can_sum_first, is_forest, layout
from strategies import case_of, cases

import factorgraph_ebm as fg
from factorgraph_ebm.arrays import Numbers
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.union import compile_union

FINITE = ["normal", "integer"]


def sample_of(case):
    where = layout(case.graph)
    known, states = np.zeros(len(where.cell_states), bool), np.zeros(len(where.cell_states), np.int64)
    for cell, state in case.known.items():
        known[where.cell(*cell)] = True
        states[where.cell(*cell)] = state
    return Sample(case.graph, known), states


@given(cases(forest=True))
def test_drawn_forests_are_compiled_as_forests(case):
    sample, _ = sample_of(case)
    assert compile_union([sample]).compiled.sample_forest.all()


@pytest.mark.parametrize("block", range(4))
def test_forest_or_not_is_the_oracles_opinion(block):
    """One union of forty: each sample is a forest exactly where the plain definition says so."""
    drawn = [case_of(s, forest=False, given=60) for s in range(20_000 + 40 * block, 20_040 + 40 * block)]
    union = compile_union([sample_of(case)[0] for case in drawn])
    expected = [is_forest(case.graph, case.known) for case in drawn]
    assert union.compiled.sample_forest.tolist() == expected
    assert 0 < sum(expected) < len(expected)


def check_pullback(drawn, seed):
    """<gradient, bind(v + d) - bind(v - d)> / 2 = <pullback(gradient), d> for every direction d."""
    samples = [sample_of(case) for case in drawn]
    states = np.concatenate([s for _, s in samples])
    union = compile_union([s for s, _ in samples])
    values = [case.values for case in drawn]
    rng = np.random.default_rng(seed)
    numbers = union.bind(values, states)
    gradient = Numbers(rng.normal(size=numbers.unary.shape), rng.normal(size=numbers.store.shape))
    into = [{name: np.zeros(np.shape(v)) for name, v in case.values.items()} for case in drawn]
    union.pullback(values, states, gradient, into)
    for place, case in enumerate(drawn):
        for name, value in case.values.items():
            direction = rng.normal(size=np.shape(value))
            if name in case.graph.parameters and case.graph.parameters[name].bounds[0] == 0.0:
                direction = np.clip(direction, -value, value)  # neither end is negative
            ends = []
            for sign in (+1, -1):
                moved = list(values)
                moved[place] = {**case.values, name: value + sign * direction}
                bound = union.bind(moved, states)
                ends.append((bound.unary * gradient.unary).sum() + (bound.store * gradient.store).sum())
            slope = (into[place][name] * direction).sum()
            assert (ends[0] - ends[1]) / 2 == pytest.approx(slope, rel=1e-8, abs=1e-8), (place, name)


@pytest.mark.parametrize("block", range(5))
def test_pullback_is_bind_transposed(block):
    """Every source that is drawn is affine in each of its arrays, so central differences are exact."""
    for seed in range(30_000 + 30 * block, 30_030 + 30 * block):
        check_pullback([case_of(seed, forest=seed % 2 == 0, kinds=FINITE, given=50)], seed)


def test_pullback_of_a_union():
    for seed in range(31_000, 31_010):
        check_pullback([case_of(7 * seed + i, forest=i % 2 == 0, kinds=FINITE, given=50) for i in range(6)], seed)


def test_tied_parameters_receive_from_every_place():
    """One table in two declarations, transposed in one of them, of two samples that share their declaration."""
    w = fg.Parameter("w", (2, 2))

    def chain(n):
        y = fg.output("y", shape=n, n_states=2)
        return fg.FactorGraph([fg.Table([y[1:], y[:-1]], energies=w), fg.Table([y[0], y[-1]], energies=w.T)])

    graphs = [chain(3), chain(3), chain(4)]
    union = compile_union([Sample(g) for g in graphs])
    values = {"w": np.arange(4.0).reshape(2, 2)}
    numbers = union.bind([values] * 3, np.zeros(10, np.int64))
    into = {"w": np.zeros((2, 2))}
    rng = np.random.default_rng(0)
    gradient = Numbers(rng.normal(size=numbers.unary.shape), rng.normal(size=numbers.store.shape))
    union.pullback([values] * 3, np.zeros(10, np.int64), gradient, [into] * 3)
    for place in np.ndindex(2, 2):
        up = {"w": values["w"].copy()}
        up["w"][place] += 1.0
        moved = union.bind([up] * 3, np.zeros(10, np.int64))
        change = ((moved.unary - numbers.unary) * gradient.unary).sum() + (
            (moved.store - numbers.store) * gradient.store
        ).sum()
        assert into["w"][place] == pytest.approx(change, rel=1e-10)


def test_what_can_be_summed_first_is_the_oracles_opinion():
    """`sample_exact`: one sweep up sums what is soft before it minimises the rest, exactly where that is possible."""
    found, expected = [], []
    for seed in range(40_000, 40_300):
        case = case_of(seed, forest=True)
        sample, _ = sample_of(case)
        n = len(sample.known)
        soft = np.random.default_rng(seed).random(n) < 0.5
        if not (soft & ~sample.known).any():
            continue
        union = compile_union([sample._replace(soft=soft & ~sample.known)])
        found.append(bool(union.compiled.sample_exact[0]))
        expected.append(can_sum_first(case.graph, case.known, set(np.flatnonzero(soft & ~sample.known).tolist())))
    assert found == expected
    assert 20 < sum(expected) < len(expected) - 20
