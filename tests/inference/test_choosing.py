"""What "auto" chooses, and what `plan` says of it."""

import numpy as np
import pytest
from checks import quietly

import factorgraph_ebm as fg
from factorgraph_ebm.compiler.union import Union
from factorgraph_ebm.inference import choosing, ways
from factorgraph_ebm.inference.ways import predict


def grid(height, width, n_states=2):
    rng = np.random.default_rng(7)
    y = fg.output("y", shape=(height, width), n_states=n_states)
    down, right = fg.Potts([y[1:], y[:-1]], penalty=0.7), fg.Potts([y[:, 1:], y[:, :-1]], penalty=-0.4)
    return fg.FactorGraph([fg.Table([y], energies=rng.normal(size=(height, width, n_states))), down, right])


def test_what_is_narrow_is_exact_without_a_word():
    graph = grid(6, 30)
    best, belief = fg.minimize(graph), fg.marginals(graph)
    assert best.method == belief.method == "junction_tree" and best.exact and belief.exact
    bound = fg.minimize(graph, method="icm")
    assert best.energy <= bound.energy + 1e-9
    plan = fg.plan(graph, "marginals")
    assert plan.exact and 6 < plan.width < 12 and 0 < plan.seconds < 1 and plan.bytes > 0
    assert [each.split(":")[0] for each in plan.ruled_out] == ["enumerate"]
    assert str(plan).startswith("junction_tree (exact): not a forest, and narrow") and "\nnot enumerate" in str(plan)


def test_what_is_wide_says_what_was_ruled_out():
    plan = fg.plan(grid(60, 60))
    assert (plan.method, plan.exact, plan.width, plan.seconds) == ("bp", False, np.inf, np.inf)
    assert [each.split(":")[0] for each in plan.ruled_out] == ["enumerate", "junction_tree"]


def test_a_forest_and_a_tiny_graph_look_for_no_tree():
    for graph, method in ((grid(1, 500), "bp"), (grid(3, 3), "enumerate")):
        plan = fg.plan(graph)
        assert (plan.method, plan.exact, plan.width, plan.ruled_out) == (method, True, None, ())


def test_what_would_take_too_long_is_not_chosen(monkeypatch):
    graph = grid(9, 40, 3)
    assert fg.plan(graph).method == "junction_tree"
    seconds = fg.plan(graph).seconds
    for late in (0, seconds / 2):
        plan = fg.plan(graph, time_limit=late)
        assert plan.method == "bp" and plan.seconds == seconds and "junction_tree: more than" in plan.ruled_out[1]
    assert fg.plan(graph, time_limit=2 * seconds).method == "junction_tree"
    with pytest.raises(fg.MethodError, match="time_limit="):
        fg.plan(graph, time_limit="soon")
    monkeypatch.setattr(choosing, "ROOM", 1000)
    assert "more than 1,000 bytes" in fg.plan(graph).ruled_out[1]


def test_what_no_tree_may_do_is_enumerated_while_it_is_small():
    plan = fg.plan(grid(4, 4), time_limit=0)
    assert plan.method == "enumerate" and plan.exact and plan.ruled_out[0].startswith("junction_tree")


def test_options_of_messages_are_taken_at_their_word():
    plan = fg.plan(grid(6, 30), damping=0.5)
    assert plan.method == "bp" and plan.ruled_out[1] == "junction_tree: it has no option damping"


def test_a_refusal_in_a_moment_is_no_refusal_of_who_insists():
    """auto gives up where the first order is hopeless; junction_tree by name looks further, on the same union."""
    y = fg.output("y", shape=(70, 2), n_states=2)
    rng = np.random.default_rng(3)
    pairs = np.array([(a, b) for a in range(70) for b in range(a)])
    chosen = pairs[rng.random(len(pairs)) < 0.9]
    graph = fg.FactorGraph([fg.Potts([y[chosen[:, 0], 0], y[chosen[:, 1], 1]], penalty=-0.1)])
    assert fg.plan(graph).method == "bp"
    with pytest.raises(fg.WidthTooLargeError):
        fg.minimize(graph, method="junction_tree")
    assert fg.plan(graph).method == "bp"


def test_tiny_graphs_are_ranked_and_drawn_by_enumeration():
    assert fg.k_best(grid(3, 3), 2)[0].method == "enumerate"
    assert fg.k_best(grid(4, 5), 2)[0].method == "junction_tree"


def learned_grid(attraction=None):
    """A grid that is wide, whose pairs attract where a parameter says so."""
    y = fg.output("y", shape=(30, 30), n_states=2)
    w, v = fg.Parameter("attraction", shape=(), initial=attraction), fg.Parameter("field", shape=(30, 30, 2))
    down, right = fg.Potts([y[1:], y[:-1]], penalty=w), fg.Potts([y[:, 1:], y[:, :-1]], penalty=w)
    return fg.FactorGraph([fg.Table([y], energies=v), down, right])


def test_a_plan_refuses_the_parameters_that_minimize_refuses():
    """A value may be missing: then it is planned from the structure. What is given must fit."""
    graph, field = learned_grid(), np.zeros((30, 30, 2))
    for plan in (fg.plan(graph), fg.plan(graph, parameters={"field": field})):
        assert plan.method == "bp" and "where all pairs attract, cut instead" in plan.reason
    for parameters in ({"fields": field}, {"field": field[0]}, {"attraction": [1.0, 2.0]}, [field]):
        with pytest.raises(fg.ParameterError) as planned:
            fg.plan(graph, parameters=parameters)
        full = parameters if isinstance(parameters, list) else {"field": field, "attraction": 1.0, **parameters}
        with pytest.raises(fg.ParameterError) as asked:
            fg.minimize(graph, parameters=full)
        assert str(planned.value) == str(asked.value)


@pytest.mark.parametrize("attraction, method", [(0.5, "cut"), (-0.5, "bp")])
def test_a_choice_is_made_once_and_numbers_are_bound_once(attraction, method, monkeypatch):
    """Whether a cut may do is known when numbers are: what comes instead is no choice from the beginning."""
    graph, calls = learned_grid(attraction), []
    field = np.random.default_rng(0).normal(size=(30, 30, 2))
    bind = Union.bind
    monkeypatch.setattr(Union, "bind", lambda *told: calls.append("bind") or bind(*told))
    for module in (choosing, ways):
        monkeypatch.setattr(module, "predict", lambda *told, **how: calls.append("predict") or predict(*told, **how))
    assert fg.plan(graph, parameters={"field": field}).method == method
    assert calls == ["predict", "bind"]
    calls.clear()
    assert quietly(fg.minimize, graph, parameters={"field": field}).method == method
    assert calls == ["bind", "predict"]
