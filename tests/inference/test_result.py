"""What results say: reading by name, view and state; energies, bounds, messages; the words around a failure."""

from __future__ import annotations

import math

import numpy as np
import pytest
from checks import joint_of, quietly
from oracle import brute
from strategies import case_of

import factorgraph_ebm as fg

TAGS = ["NOUN", "VERB", "DET"]


def tagged(n=4):
    rng = np.random.default_rng(3)
    tag = fg.output("tag", shape=n, states=TAGS)
    word = fg.observed("word", shape=n, n_states=5)
    return fg.FactorGraph(
        [
            fg.Table([word, tag], energies=rng.normal(size=(5, 3)), name="emission"),
            fg.Table([tag[:-1], tag[1:]], energies=rng.normal(size=(3, 3)), name="transition"),
        ]
    )


GIVEN = {"word": [0, 3, 1, 4]}


def test_reading_by_name_variable_view_and_state():
    graph = tagged()
    tag = graph["tag"]
    best, belief = fg.minimize(graph, GIVEN), fg.marginals(graph, GIVEN)
    assert best["tag"].tolist() == best[tag].tolist() == [TAGS[i] for i in best.indices["tag"]]
    assert best[tag[3]] == best["tag"][3] and best[tag[::-2]].tolist() == best["tag"][::-2].tolist()
    assert best.indices[tag[3]] == best.indices["tag"][3]
    assert best.indices["tag"].dtype == np.intp
    np.testing.assert_array_equal(belief[tag[:2]], belief["tag"][:2])
    np.testing.assert_array_equal(belief[tag[1], "VERB"], belief["tag"][1, 1])
    np.testing.assert_array_equal(belief["tag", "NOUN"], belief["tag"][:, 0])
    np.testing.assert_array_equal(belief["word"], np.eye(5)[GIVEN["word"]])
    assert "tag" in best and tag[1] in belief and "tags" not in best
    with pytest.raises(KeyError, match='Did you mean "tag"'):
        best["tags"]
    with pytest.raises(fg.EvidenceError, match="NOUN"):
        belief["tag", "ADVERB"]
    with pytest.raises(fg.EvidenceError):
        belief["word", 5]
    assert best.get("nothing") is None
    assert best != fg.minimize(graph, GIVEN) and hash(best)


def test_results_are_frozen():
    best = fg.minimize(tagged(), GIVEN)
    with pytest.raises(AttributeError):
        best.energy = 0.0
    with pytest.raises(AttributeError):
        best.note = "mine"
    best["tag"][0] = "DET"  # a copy
    assert best["tag"].tolist() == fg.minimize(tagged(), GIVEN)["tag"].tolist()


def test_cells_of_different_cardinality_are_padded():
    y = fg.output("y", shape=3, n_states=[2, 3, 1])
    graph = fg.FactorGraph([fg.Table([y[0], y[1]], energies=np.arange(6.0).reshape(2, 3))], variables=[y])
    belief = fg.marginals(graph, {y[1]: 2})
    assert belief["y"].shape == (3, 3)
    assert belief["y"][1].tolist() == [0, 0, 1] and belief["y"][2].tolist() == [1, 0, 0]
    assert belief[y[0]].shape == (2,) and belief["y", 2].tolist() == [0, 1, 0]


def test_energy_is_the_declared_energy_to_the_last_bit():
    for seed in range(60):
        case = case_of(41_000 + seed, forest=seed % 2 == 0)
        best = quietly(fg.minimize, case.graph, case.given, parameters=case.parameters)
        if best.status is not fg.Status.INFEASIBLE:
            assert fg.energy(case.graph, best, parameters=case.parameters) == best.energy
            assert fg.energy(case.graph, dict(best), parameters=case.parameters) == best.energy
        if best.lower_bound is not None:
            assert best.lower_bound <= best.energy and best.gap >= 0
        if best.exact:
            assert best.lower_bound == best.energy and best.gap == 0.0


def test_what_was_summed_has_no_value():
    y, z = fg.output("y", n_states=2), fg.latent("z", shape=2, n_states=2)
    graph = fg.FactorGraph([fg.Table([y, z], energies=[[0.0, 1.0], [0.5, 0.2]])])
    best = fg.minimize(graph, latent="marginalize")
    assert best.energy == pytest.approx(min(brute(graph).eliminate([0], 1.0)[1]))
    assert list(best) == ["y"] and len(best) == 1 and list(best.indices) == ["y"]
    for read in (lambda: best["z"], lambda: best.indices["z"], lambda: best[z[0]]):
        with pytest.raises(KeyError, match="summed over: ask marginals"):
            read()
    with pytest.raises(fg.EvidenceError, match='"z"'):
        fg.energy(graph, best)
    assert "z  summed over" in repr(best)
    half = fg.minimize(graph, asked=["y", z[0]], latent="marginalize")
    assert half[z[0]] in (0, 1)
    with pytest.raises(KeyError, match="summed"):
        half["z"]
    cold = fg.minimize(graph, latent="marginalize", beta=math.inf)
    assert cold.energy == fg.minimize(graph).energy and cold["z"].shape == (2,)


def test_what_a_result_prints():
    graph = tagged()
    best, belief = fg.minimize(graph, GIVEN), fg.marginals(graph, GIVEN)
    assert "optimal by bp in 1 iteration" in repr(best) and best["tag"][0] in repr(best)
    assert "NOUN: 0." in repr(belief) and "tag[3]" in repr(belief)
    assert len(repr(fg.minimize(tagged(1000), {"word": np.zeros(1000, int)}))) < 500
    inf = math.inf
    impossible = fg.FactorGraph([fg.Table([fg.output("y", n_states=2)], energies=[inf, inf])])
    assert "infeasible" in repr(fg.minimize(impossible)) and "infeasible" in repr(fg.marginals(impossible))


def test_infeasible_is_said_before_it_is_read():
    y = fg.output("y", n_states=2)
    graph = fg.FactorGraph([fg.Table([y], energies=[math.inf, math.inf])])
    best, belief = fg.minimize(graph), fg.marginals(graph)
    assert best.energy == best.lower_bound == math.inf and best.gap == 0.0 and not best.exact and best.converged
    assert belief.log_partition == -math.inf and belief.free_energy == math.inf and not belief.feasible
    assert belief.log_partition_bounds == (-math.inf, -math.inf)
    for read in (lambda: best["y"], lambda: belief["y", 0], lambda: belief.factor_marginals, best.check, belief.check):
        with pytest.raises(fg.InfeasibleError):
            read()


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0, 30.0])
def test_messages_and_marginals_agree_slot_by_slot(beta):
    """P(v) is proportional to exp(-beta (message from a factor + message to it)), for every factor that touches v."""
    scale = beta if beta else 1.0
    checked = 0
    for seed in range(120):
        case = case_of(42_000 + seed, forest=True, kinds=["normal", "integer", "forbidden"])
        if not joint_of(case).feasible:
            continue
        belief = fg.marginals(case.graph, case.given, parameters=case.parameters, method="bp", beta=beta)
        for position, key in enumerate(case.graph.keys):
            factor = case.graph.factors[position]
            if factor.scope.ragged or not factor.size:
                continue
            both = zip(belief.messages.to_variable[key], belief.messages.to_factor[key], strict=True)
            for slot, (one, two) in enumerate(both):
                assert one.shape == two.shape and one.shape[:-1] == factor.shape
                variable = factor.scope.slot_variables[slot]
                cells = np.broadcast_to(factor.scope.slots[slot], factor.shape)
                rows = belief[variable].reshape(variable.size, -1)[cells][..., : one.shape[-1]]
                total = one + two
                weight = np.exp(-scale * (total - total.min(-1, keepdims=True)))  # 36 * 30 nats would underflow
                checked += weight.size
                np.testing.assert_allclose(weight / weight.sum(-1, keepdims=True), rows, atol=1e-9)
    assert checked > 1000


def test_messages_in_given_slots_come_from_the_table():
    x, y = fg.observed("x", shape=2, n_states=3), fg.output("y", shape=2, n_states=2)
    energies = np.array([[0.0, 2.0], [1.0, 0.5], [math.inf, 3.0]])
    prior = np.array([0.3, 0.0])
    graph = fg.FactorGraph([fg.Table([x, y], energies=energies, name="xy"), fg.Table([y], energies=prior)])
    belief = fg.marginals(graph, {"x": [1, 0]}, method="bp")
    assert belief.messages.to_factor["xy"][0].tolist() == [[math.inf, 0, math.inf], [0, math.inf, math.inf]]
    message = -np.log(np.exp(-(energies + prior)).sum(1))
    np.testing.assert_allclose(belief.messages.to_variable["xy"][0][0], message - message.min(), atol=1e-12)
    np.testing.assert_allclose(belief.messages.to_variable["xy"][1], [[0.5, 0.0], [0.0, 2.0]], atol=1e-12)
    np.testing.assert_allclose(belief.messages.to_factor["xy"][1], [prior, prior], atol=1e-12)
    least = fg.minimize(graph, {"x": [1, 0]}, method="bp").messages.to_variable["xy"][0][0]
    np.testing.assert_allclose(least, (energies + prior).min(1) - (energies + prior).min(), atol=1e-12)
    with pytest.raises(KeyError, match='Did you mean "xy"'):
        belief.messages.to_factor["xyz"]
    with pytest.raises(fg.MethodError, match='method="bp"'):
        _ = fg.marginals(graph, {"x": [1, 0]}, method="enumerate").messages


def test_merged_factors_show_one_message_under_each_key():
    rng = np.random.default_rng(0)
    y = fg.output("y", shape=2, n_states=[2, 3])
    one, two = rng.normal(size=(2, 3)), rng.normal(size=(3, 2))
    graph = fg.FactorGraph(
        [fg.Table([y[0], y[1]], energies=one, name="one"), fg.Table([y[1], y[0]], energies=two, name="two")]
    )
    messages = fg.marginals(graph).messages.to_variable
    total = -np.log(np.exp(-(one + two.T)).sum(1))
    np.testing.assert_allclose(messages["one"][0], total - total.min(), atol=1e-12)
    np.testing.assert_array_equal(messages["one"][0], messages["two"][1])


def test_messages_of_members_are_lists_by_slot_and_factor():
    y = fg.output("y", shape=3, n_states=[2, 3, 2])
    tables = [np.arange(6.0).reshape(2, 3), np.array([0.0, 1.0]), np.arange(12.0).reshape(3, 2, 2) % 5]
    graph = fg.FactorGraph([fg.Table(y, members=[[0, 1], [2], [1, 2, 0]], energies=tables, name="f")])
    to_variable = quietly(fg.marginals, graph, method="bp").messages.to_variable["f"]
    assert [[None if m is None else m.shape for m in slot] for slot in to_variable] == [
        [(2,), (2,), (3,)],
        [(3,), None, (2,)],
        [None, None, (2,)],
    ]
    assert to_variable[0][1].tolist() == [0.0, 1.0]


def test_beta_scales_messages_back_to_nats():
    y = fg.output("y", shape=2, n_states=2)
    graph = fg.FactorGraph(
        [fg.Table([y[0]], energies=[0.0, 4.0], name="u"), fg.Potts([y[:1], y[1:]], penalty=9.0, name="p")]
    )
    cold = fg.marginals(graph, beta=50.0).messages.to_variable["p"][1][0]
    np.testing.assert_allclose(cold, [0.0, 4.0], atol=0.05)
    np.testing.assert_array_equal(fg.minimize(graph).messages.to_variable["p"][1][0], [0.0, 4.0])


def test_a_limit_is_named_by_check():
    y = fg.output("y", shape=(4, 4), n_states=2)
    graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=-1.0), fg.Potts([y[:, 1:], y[:, :-1]], penalty=1.0)])
    belief = quietly(fg.marginals, graph, method="bp", max_iterations=1, tolerance=0.0)
    with pytest.raises(fg.ConvergenceWarning, match="damping"):
        belief.check()
    assert fg.marginals(graph, method="enumerate").check()["y"].shape == (4, 4, 2)


def test_probabilities_of_cells_of_like_and_unlike_states():
    """Whole arrays are read at once; cells that are given, or have fewer states than others, one kind after another."""
    y, z = fg.output("y", shape=4, n_states=3), fg.output("z", shape=3, n_states=np.array([2, 4, 3]))
    energies = np.random.default_rng(0).normal(size=(4, 3))
    tables = [fg.Table([y], energies=energies), fg.Table([z[1]], energies=[0.0, 1.0, np.inf, 2.0])]
    graph = fg.FactorGraph(tables, variables=[y, z])
    shares = np.exp(-energies) / np.exp(-energies).sum(axis=1, keepdims=True)
    belief = fg.marginals(graph)
    np.testing.assert_allclose(belief["y"], shares, atol=1e-15)
    np.testing.assert_allclose(belief[y[2]], shares[2], atol=1e-15)
    np.testing.assert_allclose(belief["z"][[0, 2]], [[0.5, 0.5, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3, 0.0]], atol=1e-15)
    held = fg.marginals(graph, {y[1]: 2, z[2]: 1})
    np.testing.assert_allclose(held["y"], np.where(np.arange(4)[:, None] == 1, [0.0, 0.0, 1.0], shares), atol=1e-15)
    assert held["z"][2].tolist() == [0.0, 1.0, 0.0, 0.0] and held[y[1]].tolist() == [0.0, 0.0, 1.0]
    # What is read is a copy: writing to it changes no other answer.
    belief[y[2]][:] = 7.0
    belief["y"][:] = 7.0
    np.testing.assert_allclose(belief["y"], shares, atol=1e-15)
