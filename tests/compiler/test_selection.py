"""Some samples of a union are a union of their own, with the same numbers, messages and answers."""

from __future__ import annotations

import numpy as np
import pytest
from bound import bind
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import case_of, cases
from unions import Bound, bind_cases, dot

import factorgraph_ebm as fg
from factorgraph_ebm.arrays import Numbers
from factorgraph_ebm.compiler.selection import select_samples
from factorgraph_ebm.inference import run
from factorgraph_ebm.inference.energies import assignment_energies
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.inference.statistics import zeros


def draw_subset(n, rng):
    return rng.permutation(n)[: rng.integers(0, n + 1)]


def check(bound: Bound, rng):
    samples = draw_subset(bound.n, rng)
    chosen = select_samples(bound.union, samples)
    part = chosen.union.compiled
    numbers = chosen.take(bound.numbers)
    assert numbers.unary.shape == (part.unary_size,) and numbers.store.shape == (part.store_size,)
    np.testing.assert_array_equal(chosen.samples, samples)
    np.testing.assert_array_equal(part.sample_forest, bound.union.compiled.sample_forest[samples])
    check_arrays(part)

    state = bound.draw_states(rng)
    whole = assignment_energies(bound.union, bound.numbers, state)
    np.testing.assert_allclose(
        assignment_energies(chosen.union, numbers, state[chosen.variables]), whole[samples], rtol=1e-14
    )
    # take and add are transposes of each other
    other, gradient = bound.draw_numbers(rng), Numbers(*(rng.normal(size=n.shape) for n in numbers))
    out = zeros(bound.union)
    chosen.add(gradient, out)
    assert dot(out, other) == pytest.approx(dot(gradient, chosen.take(other)), rel=1e-11, abs=1e-11)

    for minimize in (True, False):
        options = {"max_iterations": 4}
        problem = Problem(bound.union, bound.numbers, 1.0, minimize, None, np.inf, None)
        all_answers = run("bp", problem, options)
        answer = run("bp", problem._replace(union=chosen.union, numbers=numbers), options)
        assert answer.status == tuple(all_answers.status[s] for s in samples)
        np.testing.assert_array_equal(answer.iterations, all_answers.iterations[samples])
        np.testing.assert_array_equal(answer.residual, all_answers.residual[samples])
        start = bound.union.compiled.variable_start.astype(int)
        elements = np.concatenate([np.arange(start[v], start[v + 1]) for v in chosen.variables] + [np.zeros(0, int)])
        if minimize:
            np.testing.assert_array_equal(answer.states, all_answers.states[chosen.variables])
        else:
            np.testing.assert_array_equal(answer.marginals, all_answers.marginals[elements])
            np.testing.assert_allclose(answer.log_partition, all_answers.log_partition[samples], rtol=1e-12, atol=1e-12)


def check_arrays(compiled):
    """The layout is whole: what `arrays.py` says of each array."""
    n = len(compiled.variable_cell)
    for name, array in zip(compiled._fields, compiled):
        if isinstance(array, np.ndarray):
            assert array.flags.c_contiguous and not array.flags.writeable, name
    assert len(compiled.variable_start) == len(compiled.variable_slot_start) == n + 1
    assert compiled.variable_start[-1] == compiled.unary_size
    assert compiled.variable_slot_start[-1] == len(compiled.slot_message) == len(compiled.scope)
    assert (compiled.variable_slot_split >= compiled.variable_slot_start[:-1]).all()
    assert (compiled.variable_slot_split <= compiled.variable_slot_start[1:]).all()
    assert (compiled.variable_component < max(n, 1)).all()
    own = compiled.variable_component.astype(int)
    assert (compiled.variable_sample[own] == compiled.variable_sample).all()
    free = np.flatnonzero(compiled.cell_variable >= 0)
    np.testing.assert_array_equal(compiled.variable_cell[compiled.cell_variable[free]], free)
    assert (compiled.variable_cell[compiled.ground] == -1).all()
    np.testing.assert_array_equal(compiled.variable_sample[compiled.ground], np.arange(len(compiled.ground)))


@given(cases(forest=False, limit=200), cases(forest=True, limit=200, prefix="b"), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_selections_of_drawn_unions(one, two, seed):
    rng = np.random.default_rng(seed)
    bound = bind_cases([one, two, one, two, two], rng)
    check(bound, rng)


@pytest.mark.parametrize("seed", range(40))
def test_selections_without_rewrites(seed):
    """Nothing is folded or merged: factors over one variable stay, tables each are derived for other structures."""
    rng = np.random.default_rng(seed)
    drawn = [case_of(seed, forest=False, limit=100), case_of(seed + 1, forest=True, limit=100, prefix="b")]
    check(bind_cases([*drawn, drawn[0]], rng, rewrite=False), rng)


def test_what_is_cut_out_does_not_grow_with_the_union(rng):
    """Two samples of 300, with tables each: as many numbers as two samples have."""

    def chain():
        y = fg.output("y", shape=6, n_states=3)
        return fg.FactorGraph(
            [
                fg.Table([y[1:], y[:-1]], energies=rng.normal(size=(5, 3, 3))),
                fg.Table([y], energies=rng.normal(size=(6, 3))),
                fg.Potts([y[2:], y[:-2]], penalty=rng.normal(size=4)),
            ]
        )

    union, numbers = bind(*(chain() for _ in range(300)))
    chosen = select_samples(union, [250, 3])
    assert chosen.union.compiled.store_size == 2 * (5 * 9 + 4)
    assert chosen.union.compiled.unary_size == 2 * (18 + 1)
    assert len(chosen.take(numbers).store) == 2 * (5 * 9 + 4)
    whole = select_samples(union)
    assert whole.union is union and whole.take(numbers) is numbers


def test_samples_that_are_not_there_or_named_twice():
    y = fg.output("y", shape=3, n_states=2)
    union, _ = bind(*[fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.0)])] * 2)
    with pytest.raises(fg.MethodError, match="sample 2 of 2"):
        select_samples(union, [0, 2])
    with pytest.raises(fg.MethodError, match="or a negative one"):
        select_samples(union, [-1])
    with pytest.raises(fg.MethodError, match="names a sample twice"):
        select_samples(union, [1, 0, 1])
    assert select_samples(union, []).union.n_samples == 0
