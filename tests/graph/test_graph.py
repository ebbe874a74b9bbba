"""FactorGraph: names, cells, keys, parameters' values; union; copies."""

import copy
import pickle

import numpy as np
import pytest

import factorgraph_ebm as fg
from factorgraph_ebm.graph import describe_cell, parameter_values

EMISSION = fg.Parameter("emission", shape=(5, 3))
TRANSITION = fg.Parameter("transition", shape=(3, 3))


def chain(n, features=None):
    y = fg.output("y", shape=n, states=["O", "B", "I"])
    x = np.ones((n, 5)) if features is None else features
    return fg.FactorGraph(
        [
            fg.Table([y], energies=fg.Linear(x, EMISSION), name="emission"),
            fg.Table([y[:-1], y[1:]], energies=TRANSITION),
        ]
    )


def test_names_keys_and_cells():
    x = fg.observed("x", shape=2, n_states=[2, 5])
    u = fg.observed("u", shape=3, dim=2)
    y = fg.output("y", shape=3, n_states=2)
    graph = fg.FactorGraph(
        [fg.Table([y], energies=u, name="unary"), fg.Potts([y[1:], y[:-1]], 1.0)],
        variables=[x],
    )
    assert list(graph.variables) == ["y", "u", "x"] and graph.reals == ("u",)
    assert graph.keys == ("unary", 1) and graph.factor("unary").size == 3 and graph.factor(1).kind == "Potts"
    assert dict(graph.cell_offset) == {"y": 0, "x": 3} and graph.n_cells == 5
    assert graph.cell_states.tolist() == [2, 2, 2, 2, 5]
    assert [describe_cell(graph, cell) for cell in (0, 4)] == ["y[0]", "x[1]"]
    assert graph["y"] is y
    assert graph.describe_factor(1, 1) == "factor 1 (Potts) [1] over y[2], y[1]"
    edited = fg.FactorGraph([*graph.factors, fg.Potts([y[0], y[2]], 1.0)])
    assert edited.keys == ("unary", 1, 2)


def test_print_has_one_line_per_declaration():
    lines = str(chain(4)).splitlines()
    assert lines[0].split("  ")[0] == "emission" and "4 factors, table 3" in lines[0]
    assert lines[1].startswith("1 ") and "Table(y, y) 3 factors, table 3 x 3 from transition" in lines[1]


def test_an_empty_graph_is_a_graph():
    graph = fg.FactorGraph([])
    assert (graph.n_cells, graph.keys, graph.cell_states.shape) == (0, (), (0,))
    assert str(graph) and repr(graph)


def test_the_key_is_structure_alone():
    rng = np.random.default_rng(0)
    assert chain(6).key == chain(6, rng.normal(size=(6, 5))).key
    assert hash(chain(6).key) == hash(chain(6).key)
    assert chain(6).key != chain(5).key
    y = fg.output("y", shape=3, n_states=2)
    assert fg.FactorGraph([fg.Potts([y[1:], y[:-1]], 1.0)]).key == fg.FactorGraph([fg.Potts([y[1:], y[:-1]], 2.0)]).key
    assert (
        fg.FactorGraph([fg.Potts([y[1:], y[:-1]], [1.0, 2.0])]).key
        != fg.FactorGraph([fg.Potts([y[1:], y[:-1]], 1.0)]).key
    )


def test_one_name_one_declaration():
    y, other = fg.output("y", n_states=2), fg.output("y", n_states=3)
    with pytest.raises(fg.VariableError, match='variable "y" is declared twice and differently'):
        fg.FactorGraph([fg.Table([y], [0, 1]), fg.Table([other], [0, 1, 2])])
    with pytest.raises(fg.ParameterError, match='parameter "w" is declared twice'):
        fg.FactorGraph([fg.Table([y], fg.Parameter("w", 2)), fg.Table([y], fg.Parameter("w", 3)[:2])])
    with pytest.raises(fg.FactorError, match='two factors are named "f": declarations 0 and 2'):
        fg.FactorGraph([fg.Table([y], [0, 1], name="f"), fg.Table([y], [0, 1]), fg.Table([y], [0, 1], name="f")])
    with pytest.raises(fg.FactorError, match="Write FactorGraph"):
        fg.FactorGraph(fg.Table([y], [0, 1]))
    with pytest.raises(fg.FactorError, match="element 0 of the factors is a Variable"):
        fg.FactorGraph([y])


def test_equal_declarations_of_one_parameter_are_one():
    y = fg.output("y", n_states=2)
    factors = [fg.Table([y], fg.Parameter("w", 2, initial=1.0)) for _ in range(2)]
    assert list(fg.FactorGraph(factors).parameters) == ["w"]


def test_unknown_keys_name_the_nearest():
    with pytest.raises(fg.VariableError, match='no variable "z"'):
        chain(2)["z"]
    with pytest.raises(fg.FactorError, match='Did you mean "emission"'):
        chain(2).factor("emision")


def test_values_are_given_else_initial_else_an_error():
    y = fg.output("y", n_states=2)
    w, v = fg.Parameter("w", 2, initial=0.5), fg.Parameter("emission", shape=(2,))
    graph = fg.FactorGraph([fg.Table([y], w), fg.Table([y], v)])
    values = parameter_values(graph, {"emission": [1, 2]})
    assert values["w"].tolist() == [0.5, 0.5] and values["emission"].dtype == np.float64
    assert parameter_values(graph, {"emission": [1, 2], "w": [3, 4]})["w"].tolist() == [3, 4]
    missing = r'parameter "emission" has no value. Pass parameters={"emission": array of shape \(2,\)}'
    with pytest.raises(fg.ParameterError, match=missing):
        parameter_values(graph)
    with pytest.raises(fg.ParameterError, match='Did you mean "emission"'):
        parameter_values(graph, {"emision": [1, 2]})
    with pytest.raises(fg.ParameterError, match=r"has shape \(2,\), but its value has shape \(1,\)"):
        parameter_values(graph, {"emission": [1]})
    with pytest.raises(fg.ParameterError, match=r"nan at \[1\]"):
        parameter_values(graph, {"emission": [1, np.nan]})


def test_union_renames_variables_and_factors_and_ties_parameters():
    u = fg.observed("u", shape=2, dim=2)
    y = fg.output("y", shape=2, n_states=2)
    w = fg.Parameter("w", (2, 2))
    graph = fg.FactorGraph([fg.Table([y], u, name="unary"), fg.Table([y[0], y[1]], w), fg.Potts(y, 1.0)])
    both = fg.union({"left": graph, "right": graph})
    assert list(both.variables) == ["left/y", "left/u", "right/y", "right/u"]
    assert both.keys == ("left/unary", "left/1", "left/2", "right/unary", "right/1", "right/2")
    assert list(both.parameters) == ["w"]
    assert both.factor("right/unary").slots[0].source.names == ("right/u",)
    np.testing.assert_array_equal(both.factor("right/1").scope.columns(both.cell_offset), [[2], [3]])
    assert list(fg.union([graph]).variables) == ["0/y", "0/u"]
    with pytest.raises(fg.FactorError, match="union takes graphs"):
        fg.union([1])


def test_writing_to_an_array_later_does_not_reach_the_graph():
    energies = np.array([0.0, 1.0])
    y = fg.output("y", shape=3, n_states=2)
    graph = fg.FactorGraph([fg.Table([y], energies=energies)])
    energies[0] = np.nan
    assert graph.factors[0].table()[0].tolist() == [0.0, 1.0]
    fixed = np.broadcast_to(np.array([0.0, 1.0]), (3, 2))  # read-only: kept as it is, not expanded
    assert fg.Table([y], energies=fixed).slots[0].source.array.strides == fixed.strides


def test_a_graph_can_be_copied_and_sent_to_another_process():
    y = fg.output("y", shape=3, states=["a", "b"])
    p = fg.Parameter("p", shape=(2, 2), initial=np.eye(2))
    chain = fg.Table([y[1:], y[:-1]], energies=p, name="chain")
    graph = fg.FactorGraph([chain], variables=[fg.latent("z", n_states=3)])
    for other in (copy.deepcopy(graph), pickle.loads(pickle.dumps(graph))):
        assert list(other.variables) == list(graph.variables)
        assert other.factor("chain").table().tolist() == graph.factor("chain").table().tolist()
