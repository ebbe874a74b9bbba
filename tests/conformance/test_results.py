"""What results promise, for every method that can answer: mappings, statuses, messages, starts, limits."""

from __future__ import annotations

import concurrent.futures
import math
import warnings

import numpy as np
import pytest
from checks import joint_of, quietly
from oracle import brute, is_forest
from strategies import case_of

import factorgraph_ebm as fg


def chain(n=4, seed=0):
    rng = np.random.default_rng(seed)
    y = fg.output("y", shape=n, states=["A", "B", "C"])
    return fg.FactorGraph(
        [
            fg.Table([y], energies=rng.normal(size=(n, 3)), name="emission"),
            fg.Table([y[:-1], y[1:]], energies=rng.normal(size=(3, 3)), name="transition"),
        ]
    )


def grid(n=5, seed=0, coupling=0.6):
    rng = np.random.default_rng(seed)
    y = fg.output("y", shape=(n, n), n_states=2)
    return fg.FactorGraph(
        [
            fg.Table([y], energies=rng.normal(size=(n, n, 2))),
            fg.Potts([y[1:], y[:-1]], penalty=coupling, name="down"),
            fg.Potts([y[:, 1:], y[:, :-1]], penalty=coupling, name="right"),
        ]
    )


def impossible():
    """An odd cycle whose neighbours must differ: infeasible, but every message is silent about it."""
    y = fg.output("y", shape=3, n_states=2)
    differ = [[np.inf, 0.0], [0.0, np.inf]]
    return fg.FactorGraph([fg.Table([y, y[[1, 2, 0]]], energies=differ, name="differ")])


def test_a_result_is_a_mapping_over_every_variable():
    u, x = fg.observed("u", shape=2, dim=3), fg.observed("x", shape=2, n_states=2)
    y, z = fg.output("y", shape=2, states=["a", "b", "c"]), fg.latent("z", n_states=2)
    w = fg.Parameter("w", (2, 3))
    graph = fg.FactorGraph(
        [fg.Table([y], energies=u), fg.Table([x, y], energies=w), fg.Table([z, y[0]], energies=np.eye(2, 3))]
    )
    given = {"u": np.arange(6.0).reshape(2, 3) % 4, "x": [1, 0]}
    parameters = {"w": np.array([[0.0, 1, 2], [3, 0, 1]])}
    best = fg.minimize(graph, given, parameters=parameters)
    assert set(best) == {"u", "x", "y", "z"} and len(best) == 4
    np.testing.assert_array_equal(best["u"], given["u"])
    assert best["x"].tolist() == [1, 0]
    assert fg.energy(graph, best, parameters=parameters) == best.energy
    assert best["y"][1] in "abc" and best[y[1]] == best["y"][1]
    with pytest.raises(KeyError):
        best["nothing"]
    belief = fg.marginals(graph, given, parameters=parameters)
    assert set(belief) >= {"x", "y", "z"}
    assert belief["x"].tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert belief["y"].shape == (2, 3)
    np.testing.assert_array_equal(belief["y", "b"], belief["y"][:, 1])
    with pytest.raises(fg.ParameterError, match="w"):
        fg.minimize(graph, given)


@pytest.mark.parametrize("verb", [fg.minimize, fg.marginals])
def test_unknown_methods_and_options_are_named(verb):
    with pytest.raises(fg.MethodError, match="bp"):
        verb(chain(), method="belief propagation")
    with pytest.raises(fg.MethodError, match="damping"):
        verb(chain(), method="bp", dampening=0.5)
    with pytest.raises(ValueError):
        verb(chain(), method="bp", schedule="random")


def test_proved_infeasible():
    y = fg.output("y", shape=2, n_states=2)
    graph = fg.FactorGraph(
        [fg.Table([y], energies=[np.inf, 0.0]), fg.Table([y[0], y[1]], energies=[[0, 0], [0, np.inf]])]
    )
    best, belief = fg.minimize(graph), fg.marginals(graph)
    assert best.status is belief.status is fg.Status.INFEASIBLE
    assert best.energy == math.inf and not best.feasible
    assert belief.log_partition == -math.inf == fg.log_partition(graph)
    for result in (best, belief):
        with pytest.raises(fg.InfeasibleError):
            result["y"]
        with pytest.raises(fg.InfeasibleError):
            result.check()


def test_infeasible_without_a_proof():
    graph = impossible()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        best = fg.minimize(graph, method="bp")
    if best.status is fg.Status.INFEASIBLE:  # a proof would be welcome
        return
    assert best.energy == math.inf and not best.feasible and not best.exact
    assert any("differ" in str(w.message) for w in caught)
    assert best["y"].shape == (3,)
    with pytest.raises(fg.FactorGraphError):
        best.check()
    assert fg.minimize(graph, method="enumerate").status is fg.Status.INFEASIBLE
    assert fg.marginals(graph, method="enumerate").log_partition == -math.inf
    belief = quietly(fg.marginals, graph, method="bp")
    assert not belief.exact


def test_not_converging_warns_once_and_says_what_to_try():
    graphs = [grid(6, s, coupling=-3.0) for s in range(3)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        beliefs = fg.marginals(graphs, method="bp", schedule="flooding", max_iterations=2)
    said = [str(w.message) for w in caught if issubclass(w.category, fg.ConvergenceWarning)]
    assert len(said) == 1 and "of 3" in said[0] and "damping" in said[0]
    assert all(b.status is fg.Status.ITERATION_LIMIT and not b.converged and b.residual > 0 for b in beliefs)
    assert all(b.iterations == 2 for b in beliefs)
    with pytest.raises((fg.ConvergenceWarning, fg.FactorGraphError)):
        beliefs[0].check()


def test_tolerance_zero_never_stops_early():
    belief = quietly(fg.marginals, grid(), method="bp", tolerance=0, max_iterations=37)
    assert belief.iterations == 37
    assert len(belief.trace["residual"]) == 37


def test_threads_do_not_change_a_bit():
    for graph in (grid(12), chain(50)):
        one, two = (quietly(fg.marginals, graph, threads=n) for n in (1, 2))
        np.testing.assert_array_equal(one["y"], two["y"])
        assert one.log_partition == two.log_partition
        assert quietly(fg.minimize, graph, threads=1).energy == quietly(fg.minimize, graph, threads=2).energy
        again = quietly(fg.marginals, graph)
        np.testing.assert_array_equal(one["y"], again["y"])


def test_starts():
    graph = grid(8, coupling=0.4)
    first = quietly(fg.marginals, graph, method="bp", tolerance=1e-8)
    again = quietly(fg.marginals, graph, method="bp", tolerance=1e-8, start=first)
    assert again.iterations < first.iterations
    np.testing.assert_allclose(again["y"], first["y"], atol=1e-7)
    best = quietly(fg.minimize, graph, method="bp")
    assert quietly(fg.minimize, graph, method="icm", start=best).energy <= best.energy
    assert quietly(fg.minimize, graph, method="icm", start={"y": np.ones((8, 8), int)}).energy < fg.energy(
        graph, {"y": np.ones((8, 8), int)}
    )
    with pytest.raises(fg.FactorGraphError):
        quietly(fg.marginals, grid(5), method="bp", start=first)


def test_stop_when_feasible():
    rng = np.random.default_rng(0)
    y = fg.output("y", shape=8, n_states=2)
    even = np.where(np.indices((2, 2, 2)).sum(0) % 2, np.inf, 0.0)
    graph = fg.FactorGraph(
        [
            fg.Table([y], energies=rng.normal(size=(8, 2))),
            fg.Table(y[[[0, 1, 2], [2, 3, 4], [4, 5, 6], [6, 7, 0]]], axis=1, energies=even),
        ]
    )
    best = quietly(fg.minimize, graph, method="bp", stop="feasible")
    assert best.feasible
    assert best.status in (fg.Status.FEASIBLE, fg.Status.CONVERGED, fg.Status.OPTIMAL)
    with pytest.raises(fg.MethodError):
        fg.minimize(graph, method="bp", stop="never")


def test_time_limit_returns_the_best_so_far():
    best = quietly(fg.minimize, grid(60, coupling=-1.0), method="bp", tolerance=0, max_iterations=10**7, time_limit=0.3)
    assert best.status is fg.Status.TIME_LIMIT
    assert np.isfinite(best.energy)


def test_messages_are_readable():
    """F3: (*group shape, K of the slot), minimum 0, +inf kept; a folded unary sends its energies."""
    y = fg.output("y", shape=4, states=["A", "B", "C"])
    energies = np.array([[0.0, 1, np.inf], [2, 0, 1], [1, 1, 0]])
    unary = np.random.default_rng(0).normal(size=(4, 3))
    graph = fg.FactorGraph(
        [fg.Table([y[:-1], y[1:]], energies=energies, name="t"), fg.Table([y], energies=unary, name="u")]
    )
    belief = fg.marginals(graph)
    to_variable, to_factor = belief.messages.to_variable, belief.messages.to_factor
    assert [m.shape for m in to_variable["t"]] == [(3, 3), (3, 3)]
    np.testing.assert_allclose(to_variable["u"][0], unary - unary.min(-1, keepdims=True), atol=1e-12)
    for rows in [*to_variable["t"], *to_factor["t"], *to_factor["u"]]:
        np.testing.assert_allclose(rows.min(-1), 0, atol=1e-12)
    # belief of a factor = its energies + what comes in from both sides
    pair = energies + to_factor["t"][0][:, :, None] + to_factor["t"][1][:, None, :]
    joint = np.exp(-pair) / np.exp(-pair).sum((1, 2), keepdims=True)
    np.testing.assert_allclose(joint, belief.factor_marginals["t"], atol=1e-12)
    np.testing.assert_allclose(joint.sum(2), belief["y"][:-1], atol=1e-12)
    hard = fg.output("h", shape=2, n_states=2)
    must = fg.FactorGraph(
        [
            fg.Table([hard[0], hard[1]], energies=[[0, np.inf], [np.inf, 0]], name="same"),
            fg.Table([hard[0]], energies=[np.inf, 0.0]),
        ]
    )
    assert fg.marginals(must).messages.to_variable["same"][1].tolist() == [np.inf, 0.0]


def test_messages_of_members_come_as_a_list():
    y = fg.output("y", shape=3, n_states=[2, 3, 4])
    tables = [np.random.default_rng(0).normal(size=s) for s in [(2, 3), (3, 4)]]
    graph = fg.FactorGraph([fg.Table(y, members=[[0, 1], [1, 2]], energies=tables, name="pairs")])
    belief = fg.marginals(graph)
    joint = brute(graph)
    found = belief.factor_marginals["pairs"]
    for place in range(2):
        np.testing.assert_allclose(found[place], joint.factor_marginals(1.0)["pairs", place], atol=1e-12)
    assert isinstance(belief.messages.to_variable["pairs"], list)


def test_merged_and_absorbed_factors_keep_their_marginals():
    """C1 rewrites the graph; the user's keys and shapes stay."""
    rng = np.random.default_rng(1)
    y = fg.output("y", shape=3, n_states=2)
    graph = fg.FactorGraph(
        [
            fg.Table(y, energies=rng.normal(size=(2, 2, 2)), name="all"),
            fg.Table([y[2], y[0]], energies=rng.normal(size=(2, 2)), name="nested"),
            fg.Table([y[0], y[2]], energies=rng.normal(size=(2, 2)), name="turned"),
            fg.Table([y[1], y[1]], energies=rng.normal(size=(2, 2)), name="twice"),
            fg.Table([y[1]], energies=rng.normal(size=2), name="one"),
        ]
    )
    belief, joint = fg.marginals(graph), brute(graph)
    assert belief.exact
    for (key, _), table in joint.factor_marginals(1.0).items():
        np.testing.assert_allclose(belief.factor_marginals[key], table, atol=1e-12)
    best = fg.minimize(graph)
    assert sum(np.sum(v) for v in fg.factor_energies(graph, best).values()) == pytest.approx(best.energy, rel=1e-12)


def test_ties_go_to_the_lowest_state():
    y = fg.output("y", shape=(3, 3), n_states=3)
    graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.0), fg.Potts([y[:, 1:], y[:, :-1]], penalty=1.0)])
    for method in ("auto", "bp", "enumerate"):
        best = quietly(fg.minimize, graph, method=method)
        assert best.energy == 0.0 and not best["y"].any()
    anti = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=-1.0), fg.Potts([y[:, 1:], y[:, :-1]], penalty=-1.0)])
    assert quietly(fg.minimize, anti, method="bp").energy == -12.0  # ties without contradiction


def test_lists_are_lazy():
    graphs = [chain(3, s) for s in range(5)]
    many = [graphs[i % 5] for i in range(3000)]
    fg.marginals(many[:10])
    beliefs = fg.marginals(many)
    for i in (0, 1, 2999):
        np.testing.assert_array_equal(beliefs[i]["y"], fg.marginals(many[i])["y"])


def test_the_empty_graph():
    graph = fg.FactorGraph([])
    assert fg.minimize(graph).energy == 0.0
    assert fg.minimize(graph).exact
    assert fg.log_partition(graph) == 0.0
    assert dict(fg.marginals(graph)) == {}
    assert fg.energy(graph, {}) == 0.0


def test_untouched_cells_count():
    """V4: a free cell adds log K to log_partition; a wholly untouched array joins by `variables=`."""
    y, z = fg.output("y", shape=3, n_states=[2, 3, 4]), fg.output("z", n_states=5)
    graph = fg.FactorGraph([fg.Table([y[0]], energies=[0.0, 0.0])], variables=[z])
    for beta in (0.1, 1.0, 10.0):
        assert fg.log_partition(graph, beta=beta) == pytest.approx(math.log(2 * 3 * 4 * 5), rel=1e-12)
    assert fg.marginals(graph)["y"].tolist()[1] == pytest.approx([1 / 3] * 3 + [0.0])
    assert fg.minimize(graph)["z"] == 0


def test_beta_at_its_ends():
    """Q5 to the letter."""
    y = fg.output("y", shape=2, n_states=2)
    graph = fg.FactorGraph([fg.Table([y[0], y[1]], energies=[[1.0, 1.0], [np.inf, 3.0]])])
    cold = fg.marginals(graph, beta=math.inf)
    np.testing.assert_array_equal(cold["y"], [[1, 0], [0.5, 0.5]])
    assert cold.free_energy == 1.0 and cold.log_partition == -math.inf and cold.exact
    hot = fg.marginals(graph, beta=0.0)
    np.testing.assert_allclose(hot["y"], [[2 / 3, 1 / 3], [1 / 3, 2 / 3]], atol=1e-15)
    assert hot.log_partition == pytest.approx(math.log(3)) and hot.free_energy == -math.inf
    only = fg.marginals(graph, {"y": [1, -1]}, beta=0.0)
    assert only.free_energy == 3.0 and only.log_partition == 0.0
    zero = fg.FactorGraph([fg.Table([y[0], y[1]], energies=[[0.0, 0.0], [np.inf, 3.0]])])
    assert fg.log_partition(zero, beta=math.inf) == pytest.approx(math.log(2))
    below = fg.FactorGraph([fg.Table([y[0], y[1]], energies=[[0.0, -1.0], [np.inf, 3.0]])])
    assert fg.log_partition(below, beta=math.inf) == math.inf
    with pytest.raises(ValueError):
        fg.marginals(graph, beta=-1.0)
    with pytest.raises(ValueError):
        fg.marginals(graph, beta=math.nan)


@pytest.mark.parametrize("every", ["sweep", "message"])
def test_steps_end_where_the_run_ends(every):
    """The generator is the engine paused, on the graph as declared: forests end exact, loops as the same run."""
    checked = 0
    for seed in range(15_000, 15_060):
        case = case_of(seed, forest=True, kinds=["normal", "forbidden"])
        joint = joint_of(case)
        if not joint.feasible or not is_forest(case.graph, case.known, rewrite=False):
            continue
        last = None
        for last in fg.steps(case.graph, case.given, every=every, parameters=case.parameters, beta=0.7):
            assert not math.isnan(last.residual) and "\n" not in str(last)
        if last is None:  # nothing to send
            continue
        checked += 1
        for name, rows in joint.marginals(0.7).items():
            np.testing.assert_allclose(last.beliefs[name], rows, atol=1e-10)
    assert checked > 10
    graph = grid(4)
    last = list(fg.steps(graph, every="sweep", max_iterations=5, tolerance=0))[-1]
    belief = quietly(fg.marginals, graph, method="bp", max_iterations=5, tolerance=0)
    assert last.iteration == belief.iterations == 5
    np.testing.assert_allclose(last.beliefs["y"], belief["y"], atol=1e-12)


def test_plan_tells_what_happens():
    """plan: the method that would run, and whether its answer would be exact."""
    for seed in range(16_000, 16_040):
        case = case_of(seed, forest=seed % 2 == 0)
        for question, verb in (("minimize", fg.minimize), ("marginals", fg.marginals)):
            plan = fg.plan(case.graph, question, case.given)
            result = quietly(verb, case.graph, case.given, parameters=case.parameters)
            assert result.method == plan.method
            if plan.exact:
                assert result.status in (fg.Status.OPTIMAL, fg.Status.INFEASIBLE)


def test_calls_from_many_threads_do_not_meet():
    """Eight Python threads, the same structures compiled and cached at once: each gets its own graph's answer."""
    drawn = [case_of(18_000 + i, forest=True) for i in range(60)]  # forests never warn, and warnings are global

    def ask(case):
        belief = fg.marginals(case.graph, case.given, parameters=case.parameters)
        return belief.log_partition, fg.minimize(case.graph, case.given, parameters=case.parameters).energy

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        together = list(pool.map(ask, drawn * 3))
    assert together == [ask(case) for case in drawn] * 3


def test_lists_do_not_depend_on_threads():
    graphs = [chain(3 + i % 7, i) for i in range(200)] + [grid(4, i) for i in range(20)]
    one, two = (quietly(fg.marginals, graphs, threads=n, method="bp") for n in (1, 4))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a["y"], b["y"])
        assert a.log_partition == b.log_partition and a.iterations == b.iterations
