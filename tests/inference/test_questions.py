"""The verbs: their one signature, lists, options, starts, ranking, energies, and what each error says."""

from __future__ import annotations

import inspect
import math
import warnings

import numpy as np
import pytest
from checks import quietly
from oracle import brute

import factorgraph_ebm as fg


def chain(n=4, seed=0, labels=True):
    rng = np.random.default_rng(seed)
    y = fg.output("y", shape=n, states=["A", "B", "C"]) if labels else fg.output("y", shape=n, n_states=3)
    return fg.FactorGraph(
        [
            fg.Table([y], energies=rng.normal(size=(n, 3)), name="unary"),
            fg.Table([y[:-1], y[1:]], energies=rng.normal(size=(3, 3)), name="pair"),
        ]
    )


def grid(n=6, coupling=0.5, seed=0):
    rng = np.random.default_rng(seed)
    y = fg.output("y", shape=(n, n), n_states=2)
    return fg.FactorGraph(
        [
            fg.Table([y], energies=rng.normal(size=(n, n, 2))),
            fg.Potts([y[1:], y[:-1]], penalty=coupling, name="down"),
            fg.Potts([y[:, 1:], y[:, :-1]], penalty=coupling, name="right"),
        ]
    )


COMMON = ["asked", "beta", "parameters", "method", "start", "time_limit", "threads", "progress"]


def test_one_signature():
    for verb, extra in ((fg.minimize, ["latent"]), (fg.marginals, [])):
        names = list(inspect.signature(verb).parameters)
        assert names[:2] == ["graph", "given"] and names[-1] == "options"
        assert set(COMMON + extra) <= set(names)
    with pytest.raises(fg.MethodError, match="latent"):
        fg.marginals(chain(), latent="marginalize")
    with pytest.raises(fg.MethodError, match="marginalize"):
        fg.minimize(chain(), latent="sum")


def test_lists_in_lists_out():
    one, other = chain(4), chain(3, seed=1)
    given = [{"y": ["A", None, None, "C"]}, {"y": [None] * 4}, None]
    alone = [fg.minimize(one, each) for each in given]
    together = fg.minimize(one, given)
    assert [b.energy for b in together] == [b.energy for b in alone]
    assert [b["y"].tolist() for b in together] == [b["y"].tolist() for b in alone]
    assert fg.log_partition([one, other]) == [fg.log_partition(one), fg.log_partition(other)]
    assert fg.log_partition(one, given) == [fg.log_partition(one, each) for each in given]
    assert isinstance(fg.minimize([one]), list) and isinstance(fg.minimize(one, [{}]), list)
    assert fg.minimize([]) == fg.marginals(one, []) == fg.log_partition([]) == []
    with pytest.raises(fg.EvidenceError, match="2 graphs and 3 dicts"):
        fg.minimize([one, other], given)
    with pytest.raises(fg.EvidenceError, match="FactorGraph"):
        fg.minimize("graph")


def test_ten_thousand_results_are_slices():
    graph = chain(3, labels=False)
    given = [{"y": [i % 3, -1, -1]} for i in range(10_000)]
    many = fg.marginals(graph, given)
    for i in (0, 4, 9_999):
        np.testing.assert_array_equal(many[i]["y"], fg.marginals(graph, given[i])["y"])
        assert many[i].log_partition == pytest.approx(fg.log_partition(graph, given[i]), rel=1e-14)
        np.testing.assert_allclose(
            many[i].factor_marginals["pair"], fg.marginals(graph, given[i]).factor_marginals["pair"], atol=1e-14
        )


def test_one_warning_for_a_list():
    graphs = [chain(4), grid(seed=1), grid(seed=2, coupling=-2.0)]
    with pytest.warns(fg.ConvergenceWarning, match="2 of 3 not converged after 2 iterations.*Try damping") as caught:
        fg.marginals(graphs, method="bp", max_iterations=2)
    assert len(caught) == 1 and caught[0].filename == __file__


def test_a_forbidden_answer_names_a_factor():
    y = fg.output("y", shape=3, n_states=2)
    odd = fg.Table([y, y[[1, 2, 0]]], energies=[[math.inf, 0.0], [0.0, math.inf]], name="differ")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        best = fg.minimize(fg.FactorGraph([odd]), method="icm")
    said = [str(w.message) for w in caught if issubclass(w.category, fg.ConvergenceWarning)]
    assert len(said) == 1 and 'factor "differ" [' in said[0] and "without a proof" in said[0]
    assert best["y"].shape == (3,) and best.energy == math.inf and best.converged
    with pytest.raises(fg.InfeasibleError, match="not proved"):
        best.check()


@pytest.mark.parametrize(
    "keywords, said",
    [
        ({"method": "bb"}, '"bp"'),
        ({"method": "bp", "damp": 0.5}, 'Did you mean "damping"'),
        ({"method": "enumerate", "damping": 0.5}, "It has: none"),
        ({"speed": 3}, 'method "auto" has no option "speed"'),
        ({"beta": -1}, "beta= is a number from 0 to inf"),
        ({"beta": "cold"}, "beta="),
        ({"beta": math.nan}, "beta="),
        ({"threads": 0}, "threads="),
        ({"threads": 1.5}, "threads="),
        ({"time_limit": -1}, "time_limit="),
        ({"start": 3}, "start="),
    ],
)
def test_options_are_checked(keywords, said):
    for verb in (fg.minimize, fg.marginals, fg.log_partition):
        with pytest.raises(fg.MethodError) as error:
            verb(chain(), **keywords)
        assert said in str(error.value)


def test_a_method_that_cannot_answer_says_which_can():
    with pytest.raises(fg.MethodError, match="cannot answer marginals.*'bp' or 'enumerate'"):
        fg.marginals(chain(), method="icm")
    y, z = fg.output("y", n_states=2), fg.latent("z", n_states=2)
    graph = fg.FactorGraph([fg.Table([y, z], energies=np.eye(2))])
    with pytest.raises(fg.MethodError, match="cannot sum"):
        fg.minimize(graph, latent="marginalize", method="icm")
    assert fg.minimize(graph, method="icm").energy == 0.0


def test_parameters_by_rule():
    y = fg.output("y", shape=2, n_states=2)
    graph = fg.FactorGraph([fg.Table([y], energies=fg.Parameter("w", 2)), fg.Potts([y[:1], y[1:]], fg.Parameter("c"))])
    with pytest.raises(fg.ParameterError, match='"w" has no value'):
        fg.minimize(graph)
    values = {"w": [1.0, 0.0], "c": 2.0}
    assert fg.minimize(graph, parameters=values)["y"].tolist() == [1, 1]
    assert fg.energy(graph, {"y": [0, 1]}, parameters=values) == 3.0
    with pytest.raises(fg.ParameterError, match='"v".*Did|"v"'):
        fg.minimize(graph, parameters={**values, "v": 1.0})
    # In a list, a parameter may belong to some of the graphs.
    half = fg.FactorGraph([fg.Table([y], energies=fg.Parameter("w", 2))])
    both = fg.minimize([graph, half], parameters=values)
    assert [b.energy for b in both] == [0.0, 0.0]


def test_real_variables_must_be_given():
    u, y = fg.observed("u", shape=2, dim=2), fg.output("y", shape=2, n_states=2)
    graph = fg.FactorGraph([fg.Table([y], energies=u)])
    with pytest.raises(fg.EvidenceError, match='"u"'):
        fg.minimize(graph)
    with pytest.raises(fg.EvidenceError, match='"u"'):
        fg.energy(graph, {"y": [0, 1]})
    values = np.array([[0.0, 1.0], [3.0, 2.0]])
    best = fg.minimize(graph, {"u": values})
    assert best["y"].tolist() == [0, 1] and best.energy == fg.energy(graph, best) == 2.0
    np.testing.assert_array_equal(best[u[1]], values[1])
    many = fg.minimize(graph, [{"u": values}, {"u": -values}])
    assert [b["y"].tolist() for b in many] == [[0, 1], [1, 0]]


def test_asking_about_x_instead():
    x, y = fg.observed("x", n_states=2), fg.output("y", n_states=2)
    graph = fg.FactorGraph([fg.Table([x, y], energies=[[0.0, 3.0], [1.0, 0.5]])])
    assert fg.minimize(graph, {"y": 1})["x"] == 1
    assert fg.minimize(graph, asked=[x, "y"]).energy == 0.0
    with pytest.raises(fg.EvidenceError, match='observed variable "x" is not given'):
        fg.minimize(graph, asked=["y"])
    with pytest.raises(fg.EvidenceError, match='"z"'):
        fg.minimize(graph, {"x": 0}, asked=["z"])


def test_energies_of_assignments():
    graph = chain(3)
    said = {"y": ["A", "C", "B"]}
    parts = fg.factor_energies(graph, said)
    assert list(parts) == ["unary", "pair"] and parts["unary"].shape == (3,) and parts["pair"].shape == (2,)
    assert fg.energy(graph, said) == pytest.approx(sum(part.sum() for part in parts.values()))
    assert fg.energy(graph, [said, said]) == [fg.energy(graph, said)] * 2
    with pytest.raises(fg.EvidenceError, match=r'"y" has none at y\[1\]'):
        fg.energy(graph, {"y": ["A", None, "B"]})
    with pytest.raises(fg.EvidenceError, match="not an assignment"):
        fg.energy(graph, fg.marginals(graph))
    large = fg.output("y", shape=3, n_states=2)
    huge = fg.FactorGraph([fg.Table([large], energies=[1e308, 0.0])])
    with pytest.raises(fg.FactorError, match="overflow"):
        fg.energy(huge, {"y": [0, 0, 0]})


def test_ranking():
    graph = chain(3)
    y, joint = graph["y"], brute(graph)
    candidates = [{"y": ["A", "B", "C"]}, {y[0]: "B"}, {"y": [None, "A", None]}]
    ranking = fg.rank(graph, candidates)
    rows, energies = joint.states, joint.energies
    expected = [
        energies[(rows == [0, 1, 2]).all(1)].min(),
        energies[rows[:, 0] == 1].min(),
        energies[rows[:, 1] == 0].min(),
    ]
    np.testing.assert_allclose(ranking.energies, expected, rtol=1e-12)
    assert ranking.order.tolist() == np.argsort(expected, kind="stable").tolist() and ranking.exact
    summed = fg.rank(graph, candidates[1:2], latent="marginalize", beta=0.5)
    _, free = joint.eliminate([0], 0.5)
    assert summed.energies[0] == pytest.approx(free[1], rel=1e-12)
    # A hole in a candidate is part of what is asked, so it is minimised over, and the rest is summed.
    rows, free = joint.eliminate([0, 1], 0.5)
    hole = fg.rank(graph, [{y[:2]: ["C", None]}], latent="marginalize", beta=0.5, method="enumerate")
    assert hole.energies[0] == pytest.approx(free[rows[:, 0] == 2].min(), rel=1e-12)
    many = fg.rank(graph, candidates, [{y[2]: "C"}, {}])
    assert len(many) == 2 and many[1].energies.tolist() == ranking.energies.tolist()
    with pytest.raises(fg.EvidenceError, match=r'candidates\[1\] contradicts.*y\[2\]'):
        fg.rank(graph, [{y[2]: "A"}, {y[2]: "B"}], {y[2]: "A"})
    assert fg.rank(graph, []).order.tolist() == []


def test_starts_are_used_or_refused():
    graph = grid(8)
    first = fg.marginals(graph, method="bp")
    assert fg.marginals(graph, method="bp", start=first).iterations < first.iterations
    warmer = fg.marginals(graph, method="bp", start=first, beta=0.9)  # messages are rescaled
    np.testing.assert_allclose(warmer["y"], fg.marginals(graph, method="bp", beta=0.9)["y"], atol=1e-6)
    many = fg.marginals([graph, graph], method="bp")
    again = fg.marginals([graph, graph], method="bp", start=many)
    assert again[0].iterations < many[0].iterations
    local = fg.minimize(graph, method="icm", start={"y": np.ones((8, 8), int)})
    assert local.energy <= fg.energy(graph, {"y": np.ones((8, 8), int)})
    some = fg.minimize(graph, method="icm", start={graph["y"][0]: np.ones(8, int)})
    assert some.converged
    assert fg.minimize(graph, {graph["y"][0, 0]: 1}, method="icm", start=local)["y"][0, 0] == 1
    with pytest.raises(fg.MethodError, match="another structure"):
        fg.marginals(grid(5), method="bp", start=first)
    with pytest.raises(fg.EvidenceError, match="start"):
        fg.minimize(graph, start={"nothing": 1})
    with pytest.raises(fg.MethodError, match="list of 3 for 2"):
        fg.minimize([graph, graph], start=[None, None, None])


def test_energies_that_beta_would_make_infinite_are_refused():
    y = fg.output("y", n_states=2)
    graph = fg.FactorGraph([fg.Table([y], energies=[0.0, 1e300])])
    assert fg.marginals(graph, beta=1e3)["y"].tolist() == [1.0, 0.0]
    with pytest.raises(fg.FactorError, match="beta=np.inf"):
        fg.marginals(graph, beta=1e20)
    assert fg.marginals(graph, beta=math.inf)["y"].tolist() == [1.0, 0.0]


def test_progress_shows_and_goes(capfd):
    quietly(fg.marginals, grid(), method="bp", progress=True)
    assert fg.minimize(chain(), progress=True).exact
    assert "iterations" in capfd.readouterr().err


def test_results_do_not_depend_on_threads():
    for threads in (1, 2, 64):
        assert fg.minimize(chain(), threads=threads).energy == fg.minimize(chain()).energy


def test_joints_of_cells_near_and_far():
    graph = chain(5)
    y, joint = graph["y"], brute(graph)
    pairs = [(y[0], y[4]), (y[4], y[2], y[0]), (y[1], y[1])]
    for beta in (0.0, 0.7, 1.0):
        for method in ("auto", "enumerate"):
            belief = fg.marginals(graph, joint=pairs, beta=beta, method=method)
            for pair, cells in zip(pairs, [[0, 4], [4, 2, 0], [1, 1]], strict=True):
                np.testing.assert_allclose(belief.joint[pair], joint.joint_marginal(cells, beta), atol=1e-12)
    some = fg.marginals(graph, [{y[4]: "B"}, {}], joint=pairs[:1])
    np.testing.assert_allclose(some[0].joint[y[0], y[4]][:, 1], some[0]["y"][0], atol=1e-12)
    assert list(some[1].joint) == pairs[:1] and some[1].joint[y[0], y[4]].shape == (3, 3)
    with pytest.raises(KeyError, match="was not asked for"):
        some[0].joint[y[0], y[1]]
    with pytest.raises(fg.EvidenceError, match="single"):
        fg.marginals(graph, joint=[("y", y[0])])
    loopy = fg.marginals(grid(8), method="bp", joint=[(grid(8)["y"][0, 0], grid(8)["y"][7, 7])])
    with pytest.raises(fg.MethodError, match="not exact"):
        loopy.joint[grid(8)["y"][0, 0], grid(8)["y"][7, 7]]


def test_min_marginals():
    graph = chain(4)
    y = graph["y"]
    joint = brute(graph, {("y", 1): 2})
    for method in ("bp", "enumerate"):
        found = fg.min_marginals(graph, {y[1]: "C"}, method=method)
        np.testing.assert_allclose(found["y"], joint.min_marginals()["y"], rtol=1e-12)
        np.testing.assert_array_equal(found[y[2:]], found["y"][2:])
        assert found["y"].min() == fg.minimize(graph, {y[1]: "C"}).energy and found.exact
    assert len(fg.min_marginals([graph, graph])) == 2
    with pytest.raises(fg.MethodError, match="min-marginals"):
        fg.min_marginals(graph, method="icm")["y"]
    one = fg.output("one", n_states=2)
    impossible = fg.FactorGraph([fg.Table([one], energies=[math.inf, math.inf])])
    with pytest.raises(fg.InfeasibleError):
        fg.min_marginals(impossible)["one"]


def test_a_plan_is_what_runs():
    for graph in (chain(), grid(3), grid(20)):
        for question, verb in (("minimize", fg.minimize), ("marginals", fg.marginals)):
            plan = fg.plan(graph, question)
            answer = quietly(verb, graph)
            assert plan.method == answer.method and plan.method in str(plan)
            assert answer.exact or not plan.exact
    assert "not a forest" in fg.plan(grid(20)).reason
    w = fg.Parameter("w", 2)
    assert fg.plan(fg.FactorGraph([fg.Table([fg.output("y", n_states=2)], energies=w)])).exact  # no number is read
    assert fg.plan(chain(), method="icm")[:3] == ("icm", "as was asked for", False)
    with pytest.raises(fg.MethodError, match="question="):
        fg.plan(chain(), "best")


def test_a_sum_without_any_allowed_completion_is_said():
    y, z = fg.output("y", shape=3, n_states=2), fg.latent("z", n_states=2)
    odd = fg.Table([y, y[[1, 2, 0]]], energies=[[math.inf, 0.0], [0.0, math.inf]])
    graph = fg.FactorGraph([odd, fg.Table([y[0], z], energies=np.eye(2))])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        best = fg.minimize(graph, latent="marginalize", method="bp")
    if best.status is not fg.Status.INFEASIBLE:
        assert len(caught) == 1 and "every completion is +inf" in str(caught[0].message)
        with pytest.raises(fg.InfeasibleError):
            best.check()
    assert fg.minimize(graph, latent="marginalize", method="enumerate").status is fg.Status.INFEASIBLE
