"""What a model learns from: what is given, right or latent, and every way in which lists of dicts can be wrong."""

import numpy as np
import pytest

import factorgraph_ebm as fg
from factorgraph_ebm.errors import EvidenceError, MethodError
from factorgraph_ebm.learning.data import graph_of, read_data

T = fg.Parameter("T", shape=(2, 2))


def graph(n=3):
    x = fg.observed("x", shape=n, n_states=2)
    y = fg.output("y", shape=n, n_states=2)
    return fg.FactorGraph([fg.Table([x, y], energies=T), fg.Table([y[:-1], y[1:]], energies=T)])


def named():
    color = fg.output("color", shape=2, states=["red", "green"])
    spin = fg.output("spin", states=[-1, 1])
    return fg.FactorGraph([fg.Table([color[0], color[1]], energies=T), fg.Table([color[0], spin], energies=T)])


def real():
    u, y = fg.observed("u", shape=2, dim=2), fg.output("y", shape=2, n_states=2)
    return fg.FactorGraph([fg.Table([y], energies=u), fg.Table([y[0], y[1]], energies=T)])


def test_what_is_given_right_and_latent():
    data = read_data(
        graph(), [{"x": [0, 1, 1]}, {"x": [0, 0, -1], "y": [1, -1, -1]}], [{"y": [1, 0, -1]}, {"y": [1, 0, 0]}]
    )
    assert data.graphs[0] is data.graphs[1]
    assert data.given[0].known.tolist() == [True] * 3 + [False] * 3
    assert data.labelled(0).tolist() == [False] * 3 + [True, True, False]
    assert data.targets[0].states[3:5].tolist() == [1, 0]
    # What is given and right is given.
    assert data.given[1].known.tolist() == [True, True, False, True, False, False]
    assert data.labelled(1).tolist() == [False] * 4 + [True, True]


def test_either_list_may_be_left_out():
    both = [{"x": [0, 1, 1], "y": [0, 0, 1]}]
    joint = read_data(graph(), None, both)
    assert joint.labelled(0).all() and not joint.given[0].known.any()
    held = read_data(graph(), both, None)
    assert held.given[0].known.all() and not held.labelled(0).any()
    with pytest.raises(MethodError, match="there is nothing to learn from: give samples, targets or both"):
        read_data(graph(), None, None)


def test_an_architecture_sees_the_whole_sample_and_names_of_its_variables_are_given():
    def architecture(sample):
        assert sample["length"] == len(sample["x"])
        return graph(sample["length"])

    data = read_data(
        architecture, [{"x": [0, 1], "length": 2, "image": object(), 7: "seven"}, {"x": [1], "length": 1}], None
    )
    assert [each.n_cells for each in data.graphs] == [4, 2]
    assert data.given[0].known.tolist() == [True, True, False, False]


def test_keys_may_be_variables_and_views():
    whole = graph()
    x, y = whole["x"], whole["y"]
    data = read_data(whole, [{x: [0, 1, 1]}], [{y[1:]: [1, 0]}])
    assert data.given[0].states[:3].tolist() == [0, 1, 1]
    assert data.labelled(0).tolist() == [False] * 4 + [True, True]


def test_labels_are_spoken_and_holes_are_latent():
    missing = np.ma.masked_array([1, -1], mask=[True, True])
    right = [{"color": ["green", None], "spin": -1}, {"color": ["red", "red"]}, {"spin": missing[0]}]
    data = read_data(named(), None, right)
    assert data.targets[0].states.tolist() == [1, 0, 0]
    assert [data.labelled(i).tolist() for i in range(3)] == [[True, False, True], [True, True, False], [False] * 3]


def test_real_values_are_given():
    data = read_data(real(), [{"u": np.eye(2)}], [{"y": [0, 1]}])
    assert (data.given[0].reals["u"] == np.eye(2)).all()


X = {"x": [0, 1, 1]}
REFUSED = {
    "a dict, not a list": (graph, X, None, "samples is a list of dicts, one for each sample, not dict"),
    "an array": (graph, None, np.zeros(3), "targets is a list of dicts, one for each sample, not ndarray"),
    "a word": (graph, "x", None, "samples is a list of dicts, one for each sample, not str"),
    "not dicts": (graph, [X, [0, 1, 1]], None, r"samples\[1\] is a dict of names and values, not list"),
    "lengths": (graph, [X, X], [{}], "2 samples and 1 targets: there must be a target for each"),
    "no key of an observed variable": (
        graph, [X, {}], None,
        'sample 1: observed variable "x" is in neither samples nor targets. Give it, or where it is not known give its '
        "name with what stands for a missing state",
    ),
    "unknown target": (graph, [X], [{"z": 1}], 'sample 0: given in targets: there is no variable "z" in this graph'),
    "a state too many": (graph, [X], [{"y": [0, 1, 2]}], r'sample 0: variable "y\[2\]" was given in targets state 2'),
    "shape": (graph, [{"x": [0, 1]}], None, r'sample 0: variable "x" has shape \(3,\), and what is given in samples'),
    "floats": (graph, [X], [{"y": [0.0, 1.0, 1.0]}], 'sample 0: variable "y" takes state indices, and was given in'),
    "clash": (
        graph, [X, {**X, "y": [1, 0, -1]}], [{}, {"y": [1, 1, 1]}],
        r'sample 1: variable "y\[1\]" is given in samples, and has another state in targets',
    ),
    "unknown label": (
        named, None, [{"color": ["red", "gren"]}],
        r'sample 0: variable "color\[1\]" was given in .*green',
    ),
    "an index for a label": (named, None, [{"color": [0, 1]}], "sample 0: .*It speaks labels, not indices"),
    "a hole of labels": (named, None, [{"color": ["red", -1]}], "sample 0: .*Write None, or a masked array"),
    "real target": (
        real, [{}], [{"u": np.eye(2)}],
        'sample 0: real variable "u" cannot be a target. Give it in samples',
    ),
    "real missing": (real, [{}], [{"y": [0, 1]}], 'sample 0: real variable "u" is not given. Put it in samples'),
    "real NaN": (real, [{"u": [[0, 1], [np.nan, 0]]}], None, 'sample 0: real variable "u" was given in samples NaN'),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_wrong_is_said_with_the_sample(what):
    architecture, samples, targets, message = REFUSED[what]
    with pytest.raises(EvidenceError, match=f"^{message}"):
        read_data(architecture(), samples, targets)


def test_an_observed_variable_may_be_a_target_or_missing_by_name():
    for samples, targets in [([{}], [X]), ([{"x": -1}], [{}]), ([{}], [{"x": np.ma.masked_all(3, int)}])]:
        assert not read_data(graph(), samples, targets).given[0].known.any()


def test_an_architecture_returns_a_graph():
    with pytest.raises(MethodError, match="the architecture returned list, not a FactorGraph"):
        graph_of(lambda sample: [], {})
