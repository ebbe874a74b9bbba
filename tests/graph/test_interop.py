"""networkx: names, roles and tables there and back."""

import networkx as nx
import numpy as np
import pytest

import factorgraph_ebm as fg


def test_round_trip_keeps_names_roles_and_tables():
    rng = np.random.default_rng(0)
    y, x = fg.output("y", shape=(2, 3), n_states=2), fg.observed("x", shape=(2, 3), states=["a", "b", "c"])
    v, z = fg.latent("v", shape=3, n_states=[2, 3, 4]), fg.latent("z", n_states=5)
    graph = fg.FactorGraph(
        [
            fg.Potts([y[1:], y[:-1]], penalty=1.0, name="smooth"),
            fg.Table([y, x], energies=rng.normal(size=(2, 3, 2, 3))),
            fg.Table(v, members=[[0, 1], [2, 0, 1], []], energies=[np.eye(2, 3), rng.normal(size=(4, 2, 3)), 7.0]),
            fg.Table([v], energies=rng.normal(size=4)),
            fg.Table([y[0, 0], y[0, 0]], energies=[[0, np.inf], [1, 2]]),
        ],
        variables=[z],
    )
    net = fg.to_networkx(graph)
    assert nx.is_bipartite(net)
    assert net.nodes["x[1, 2]"]["role"] == "observed" and net.nodes["v[2]"]["n_states"] == 4
    assert net.edges["y[0, 0]", ("factor", 4, 0)]["slots"] == (0, 1)
    back = fg.from_networkx(net)
    assert dict(back.variables) == dict(graph.variables)
    assert back.keys == graph.keys and [f.size for f in back.factors] == [f.size for f in graph.factors]
    again = fg.to_networkx(back)
    assert set(again.nodes) == set(net.nodes)
    for node, data in net.nodes(data=True):
        if data["bipartite"]:
            assert again.nodes[node]["scope"] == data["scope"]
            np.testing.assert_array_equal(again.nodes[node]["table"], data["table"])


def test_a_graph_made_by_hand():
    net = nx.Graph()
    net.add_node("rain", bipartite=0, states=["no", "yes"])
    net.add_node("wet", bipartite=0, n_states=3, role="observed")
    net.add_node("f", bipartite=1, table=np.arange(6.0).reshape(3, 2), scope=["wet", "rain"])
    net.add_edges_from([("rain", "f"), ("wet", "f")])
    graph = fg.from_networkx(net)
    assert graph["wet"].role == "observed" and graph["rain"].states == ("no", "yes")
    assert graph.factors[0].table().tolist() == [[0, 1], [2, 3], [4, 5]]


def test_parameters_are_bound():
    y = fg.output("y", n_states=2)
    graph = fg.FactorGraph([fg.Table([y], energies=fg.Parameter("w", 2))])
    net = fg.to_networkx(graph, {"w": [1.0, 2.0]})
    assert net.nodes[("factor", 0, 0)]["table"].tolist() == [1, 2]
    with pytest.raises(fg.ParameterError, match="has no value"):
        fg.to_networkx(graph)


@pytest.mark.parametrize(
    ("node", "edges", "error", "message"),
    [
        ({"n_states": 2}, [], fg.VariableError, "bipartite=0"),
        ({"bipartite": 0}, [], fg.VariableError, "needs n_states= or states="),
        ({"bipartite": 0, "n_states": 2, "role": "input"}, [], fg.VariableError, "has role \"input\"|has role 'input'"),
        ({"bipartite": 0, "n_states": 2, "variable": "a", "shape": (3,)}, [], fg.VariableError, "has 1 nodes"),
        ({"bipartite": 1}, [], fg.ScopeError, "needs table="),
        ({"bipartite": 1, "table": [0, 1], "scope": ["y"]}, [], fg.ScopeError, "its neighbours are"),
    ],
)
def test_what_is_not_a_factor_graph(node, edges, error, message):
    net = nx.Graph()
    net.add_node("y", bipartite=0, n_states=2)
    net.add_node("strange", **node)
    net.add_edges_from(edges)
    with pytest.raises(error, match=message):
        fg.from_networkx(net)


def test_an_array_without_cells_comes_back():
    """It has no node, and a ragged declaration may still be over it."""
    y = fg.output("y", shape=0, states=["a", "b"])
    graph = fg.FactorGraph([fg.Table(y, members=[[]], energies=[np.array(3.0)])])
    again = fg.from_networkx(fg.to_networkx(graph))
    assert again["y"] == graph["y"] and again["y"].states == ("a", "b")
    assert fg.minimize(again).energy == 3.0
