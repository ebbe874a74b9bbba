"""Local conditional energies against the energies of all single changes, and their transpose against them."""

from __future__ import annotations

import numpy as np
import pytest
from bound import bind
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import case_of, cases
from unions import bind_cases, dot

import factorgraph_ebm as fg
from factorgraph_ebm.arrays import Numbers
from factorgraph_ebm.inference import number_maps
from factorgraph_ebm.inference.conditionals import add_conditionals_transposed, conditional_energies
from factorgraph_ebm.inference.energies import assignment_energies
from factorgraph_ebm.inference.statistics import zeros

KINDS = ["normal", "integer", "forbidden", "integer forbidden", "tied", "denormal", "cold"]


def check_energies(bound, rng):
    compiled = bound.union.compiled
    state = bound.draw_states(rng)
    found = conditional_energies(bound.union, bound.numbers, state)
    assert not np.isnan(found).any()
    start = compiled.variable_start.astype(int)
    before = assignment_energies(bound.union, bound.numbers, state)
    scale = 1.0 + np.abs(np.concatenate([n[np.isfinite(n)] for n in bound.numbers])).max(initial=0.0)
    for v in range(len(start) - 1):
        row, sample = found[start[v] : start[v + 1]], compiled.variable_sample[v]
        whole = np.empty(len(row))
        for s in range(len(row)):
            changed = state.copy()
            changed[v] = s
            whole[s] = assignment_energies(bound.union, bound.numbers, changed)[sample]
        # What does not contain the variable is the same for all its states, and may be forbidden by itself.
        assert (whole[np.isinf(row)] == np.inf).all()
        finite = np.isfinite(whole)
        if np.isfinite(before[sample]):
            np.testing.assert_array_equal(np.isfinite(row), finite)
        if finite.any():
            left = whole[finite] - row[finite]
            np.testing.assert_allclose(left, left[0], rtol=0, atol=1e-12 * scale)


def check_transpose(bound, rng):
    """<A^T g, n> = <g, A n> for any finite n: numbers 0 are energies 0, or forbidden, where g is 0 as well."""
    state = bound.draw_states(rng)
    other = bound.draw_numbers(rng)
    image = conditional_energies(bound.union, other, state)
    none = (rng.random(len(image)) < 0.2) | np.isinf(image)
    gradient = np.where(none, 0.0, rng.normal(size=len(image)))
    out = zeros(bound.union)
    add_conditionals_transposed(bound.union, other, state, gradient, out)
    assert dot(out, other) == pytest.approx(gradient @ np.where(none, 0.0, image), rel=1e-11, abs=1e-11)
    twice = Numbers(*map(np.copy, out))
    add_conditionals_transposed(bound.union, other, state, gradient, twice)
    for one, two in zip(out, twice):
        np.testing.assert_allclose(two, 2 * one, rtol=1e-12, atol=1e-12)


@given(cases(forest=False, limit=200), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_drawn_graphs(case, seed):
    rng = np.random.default_rng(seed)
    for rewrite in (True, False):
        bound = bind_cases([case, case], rng, rewrite=rewrite)
        if case.kind != "huge":  # beside 1e300, single changes of small energies are rounded away
            check_energies(bound, rng)
        check_transpose(bound, rng)


@pytest.mark.parametrize("largest", [0, 1 << 16])
@pytest.mark.parametrize("seed", range(60))
def test_drawn_unions(seed, largest, monkeypatch):
    """Also where a table is too large to be made, and one state after another is tried."""
    monkeypatch.setattr(number_maps, "LARGEST_MAP", largest)
    rng = np.random.default_rng(seed)
    first = case_of(seed, forest=False, limit=100, kinds=KINDS, prefix="a")
    second = case_of(seed + 10_000, forest=True, limit=100, kinds=KINDS, prefix="b")
    bound = bind_cases([first, second, first], rng)
    check_energies(bound, rng)
    check_transpose(bound, rng)


def test_rows_are_the_energies_of_the_variable_alone(rng):
    """By hand: a chain of three with a penalty and a weight on one pair each."""
    y = fg.output("y", shape=3, n_states=5)
    u, t = rng.normal(size=(3, 5)), rng.normal(size=(5, 5))
    graph = fg.FactorGraph(
        [fg.Table([y], energies=u), fg.Table([y[0], y[1]], energies=t), fg.Product([y[1], y[2]], weight=0.7)]
    )
    union, numbers = bind(graph)
    state = np.zeros(4, np.int64)
    variable = union.compiled.cell_variable
    state[variable] = [4, 1, 3]
    found = conditional_energies(union, numbers, state)
    start = union.compiled.variable_start.astype(int)
    rows = [found[start[v] : start[v] + 5] for v in variable]
    np.testing.assert_allclose(rows[0], u[0] + t[:, 1])
    np.testing.assert_allclose(rows[1], u[1] + t[4] + 0.7 * 3 * np.arange(5))
    np.testing.assert_allclose(rows[2], u[2] + 0.7 * np.arange(5))


def test_parameters_get_the_slope_of_pseudo_likelihood(rng):
    """-sum over v of log P(y_v given all others): its slope through the transpose and `Union.pullback`."""
    y = fg.output("y", shape=(3, 3), n_states=3)
    table, penalty = fg.Parameter("t", (3, 3)), fg.Parameter("p", ())
    graph = fg.FactorGraph(
        [
            fg.Table([y[1:], y[:-1]], energies=table),
            fg.Potts([y[:, 1:], y[:, :-1]], penalty=penalty),
            fg.Table([y[0, 0], y[0, 1]], energies=table),
        ]
    )
    values = {"t": rng.normal(size=(3, 3)), "p": rng.normal(size=())}
    union, _ = bind(graph, values=values)
    none = np.zeros(9, np.int64)
    state = np.zeros(10, np.int64)
    state[union.compiled.cell_variable] = rng.integers(0, 3, 9)
    start = union.compiled.variable_start[:-1].astype(int)
    owner = np.repeat(np.arange(10), np.diff(union.compiled.variable_start.astype(int)))

    def loss(values):
        numbers = union.bind([values], none)
        row = conditional_energies(union, numbers, state)
        p = np.exp(-row)
        total = np.bincount(owner, p)
        slope = -p / total[owner]
        slope[start + state] += 1.0
        return float((row[start + state] + np.log(total)).sum()), numbers, slope

    _, numbers, slope = loss(values)
    out, into = zeros(union), {name: np.zeros(v.shape) for name, v in values.items()}
    add_conditionals_transposed(union, numbers, state, slope, out)
    union.pullback([values], none, out, [into])
    for name, value in values.items():
        for place in np.ndindex(value.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = value.copy()
                moved[place] += step
                ends.append(loss({**values, name: moved})[0])
            assert into[name][place] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-7, abs=1e-8)
