"""The engine, paused: the same kernels, the same fixed points, one sweep or message at a time."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose

import factorgraph_ebm as fg


@pytest.fixture
def two():
    a, b = fg.output("a", states=["cold", "hot"]), fg.output("b", states=["off", "on"])
    prior = fg.Table([a], energies=[0.0, 1.0], name="prior")
    return fg.FactorGraph([prior, fg.Table([a, b], energies=[[0, 2], [2, 0]], name="agree")])


@pytest.fixture
def grid():
    y = fg.output("y", shape=(3, 4), n_states=3)
    unary = np.random.default_rng(0).normal(size=(3, 4, 3))
    vertical = fg.Potts([y[1:], y[:-1]], penalty=0.7, name="vertical")
    return fg.FactorGraph([fg.Table([y], energies=unary), vertical, fg.Potts([y[:, 1:], y[:, :-1]], penalty=0.4)])


def test_messages_of_two_variables_by_hand(two):
    steps = list(fg.steps(two, every="message"))
    assert [s.changed[0] for s in steps[:3]] == [("prior", "a"), ("a", "agree"), ("agree", "b")]
    # m(b) = -log sum over a of exp(-(E(a) + E(a, b))), shifted to minimum 0
    off = -np.log(np.exp(-0.0) + np.exp(-1.0 - 2.0))
    on = -np.log(np.exp(-2.0) + np.exp(-1.0))
    assert_allclose(steps[2].messages.to_variable["agree"][1], [0.0, on - off], atol=1e-15)
    assert_allclose(steps[2].residual, on - off, atol=1e-15)
    assert_allclose(steps[-1].beliefs["b"], fg.marginals(two)["b"], atol=1e-14)
    assert str(steps[2]) == "3  agree -> b   {off: 0.000, on: 0.735}   residual 0.735"


def test_a_step_keeps_what_it_saw(two):
    first, *_, last = fg.steps(two, every="message")
    assert_allclose(first.messages.to_variable["agree"][1], [0.0, 0.0])
    assert_allclose(first.beliefs["b"], [0.5, 0.5])
    assert not np.allclose(last.beliefs["b"], [0.5, 0.5])


@pytest.mark.parametrize("schedule", ["sequential", "flooding", "residual"])
@pytest.mark.parametrize("every", ["sweep", "message"])
def test_every_way_of_stepping_ends_where_marginals_does(grid, schedule, every):
    *_, last = fg.steps(grid, given={"y": np.full((3, 4), -1)}, schedule=schedule, every=every, tolerance=1e-11)
    whole = fg.marginals(grid, method="bp", schedule=schedule, tolerance=1e-11)
    assert_allclose(last.beliefs["y"], whole["y"], atol=1e-9)
    assert_allclose(last.messages.to_variable["vertical"][0], whole.messages.to_variable["vertical"][0], atol=1e-8)


def test_min_sum_shows_min_marginals(two):
    *_, last = fg.steps(two, beta=np.inf)
    assert_allclose(last.beliefs["b"], [0.0, 1.0])
    assert last.energy == 0.0


def test_given_cells_are_sliced_away(two):
    *_, last = fg.steps(two, {"b": "on"}, every="message")
    assert_allclose(last.beliefs["b"], [0.0, 1.0])
    assert_allclose(last.beliefs["a"], fg.marginals(two, {"b": "on"})["a"], atol=1e-14)


def test_it_can_be_left_and_is_lazy(grid):
    seen = [step.iteration for step in itertools.islice(fg.steps(grid, tolerance=0), 3)]
    assert seen == [1, 2, 3]


def test_bad_words_are_refused_at_the_call(two):
    with pytest.raises(fg.MethodError, match='every= is "sweep" or "message"'):
        fg.steps(two, every="edge")
    with pytest.raises(fg.MethodError, match="schedule= is one of"):
        fg.steps(two, schedule="random")
    with pytest.raises(fg.MethodError, match="not a list"):
        fg.steps([two, two])
