"""What is given: each variable in its own language, holes, views, and the silent failures (1) and (3)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import factorgraph_ebm as fg
from factorgraph_ebm.graph import default_asked, read_given, to_labels

NA = np.ma.masked


def graph_of(*variables):
    return fg.FactorGraph([], variables=variables)


def read(variable, value):
    """Return the state of each cell, -1 where not given."""
    found = read_given(graph_of(variable), {variable.name: value})
    return np.where(found.known, found.states, -1).tolist()


INDEX = fg.output("y", shape=4, n_states=3)
BINARY = fg.output("y", shape=4, n_states=2)
SPIN = fg.output("y", shape=4, states=[-1, +1])
TAG = fg.output("tag", shape=4, states=["NOUN", "VERB", "DET"])
HALF = fg.output("y", shape=4, states=[0.0, 0.5, 2.0])


def test_silent_failure_1_minus_one_is_a_label_where_states_are_named():
    assert read(SPIN, [-1, 1, -1, 1]) == [0, 1, 0, 1]
    assert read(SPIN, [-1, None, 1, None]) == [0, -1, 1, -1]
    assert read(INDEX, [-1, 1, -1, 2]) == [-1, 1, -1, 2]
    spins = np.where(np.arange(100) % 3, 1, -1)
    assert read(fg.output("y", shape=100, states=[-1, 1]), spins) == (spins > 0).astype(int).tolist()


def test_silent_failure_3_an_observed_variable_must_be_given():
    x, y = fg.observed("x", shape=2, n_states=2), fg.output("y", shape=2, n_states=2)
    graph = graph_of(x, y)
    forgotten = r'observed variable "x" is not given. Give it, or ask for it: asked=\["x", "y"\].'
    with pytest.raises(fg.EvidenceError, match=forgotten):
        default_asked(graph, read_given(graph, None))
    with pytest.raises(fg.EvidenceError, match=r'"x" is not given at x\[1\]'):
        default_asked(graph, read_given(graph, {"x": [0, -1]}))
    assert default_asked(graph, read_given(graph, {"x": 1})).tolist() == [False, False, True, True]
    assert default_asked(graph, read_given(graph, {"y": 0})).tolist() == [True, True, False, False]
    assert default_asked(graph, read_given(graph, None), ["x", y]).all()
    with pytest.raises(fg.EvidenceError, match='"x" is not given'):
        default_asked(graph, read_given(graph, None), ["y"])


def test_a_real_observed_variable_must_always_be_given():
    graph = graph_of(fg.observed("u", shape=2, dim=3), fg.output("y", n_states=2))
    with pytest.raises(fg.EvidenceError, match='"u" is not given. It is real'):
        default_asked(graph, read_given(graph, None), ["y"])
    with pytest.raises(fg.EvidenceError, match="cannot be asked for"):
        default_asked(graph, read_given(graph, {"u": np.zeros((2, 3))}), ["u"])


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        (INDEX, np.array([0, 1, 2, -1], dtype=np.int8), [0, 1, 2, -1]),
        (INDEX, np.ma.masked_array([9, 1, 2, -7], mask=[1, 0, 0, 1]), [-1, 1, 2, -1]),
        (INDEX, 2, [2, 2, 2, 2]),
        (INDEX, NA, [-1, -1, -1, -1]),
        (BINARY, [True, False, True, True], [1, 0, 1, 1]),
        (SPIN, np.ma.masked_array([0, 1, -1, 5], mask=[1, 0, 0, 1]), [-1, 1, 0, -1]),
        (SPIN, np.array([-1.0, 1, 1, 1]), [0, 1, 1, 1]),
        (SPIN, None, [-1, -1, -1, -1]),
        (TAG, ["DET", None, "NOUN", "VERB"], [2, -1, 0, 1]),
        (TAG, np.array(["DET", "NOUN", "NOUN", "VERB"]), [2, 0, 0, 1]),
        (TAG, "VERB", [1, 1, 1, 1]),
        (HALF, [0, 2, 0.5, 0.0], [0, 2, 1, 0]),
        (fg.output("b", shape=2, states=[True, False]), np.array([False, True]), [1, 0]),
        (fg.output("y", states=["a", "b"]), "b", [1]),
        (fg.output("y", shape=(2, 2), states=["a", "b"]), [["a", "b"], [None, "a"]], [0, 1, -1, 0]),
        (fg.output("y", shape=0, n_states=2), [], []),
    ],
)
def test_each_variable_speaks_its_own_language(variable, value, expected):
    assert read(variable, value) == expected


@given(st.lists(st.sampled_from([-1, 1, None]), min_size=4, max_size=4))
def test_labels_in_are_labels_out(labels):
    states = read(SPIN, labels)
    back = to_labels(SPIN, np.maximum(states, 0))
    assert [None if s < 0 else int(b) for s, b in zip(states, back, strict=True)] == labels


def test_answers_have_the_dtype_of_the_labels():
    assert to_labels(TAG, np.array([2, 0])).tolist() == ["DET", "NOUN"]
    assert to_labels(TAG, np.array([2, 0])).dtype.kind == "U"
    assert to_labels(SPIN, np.array([0, 1])).dtype.kind == "i"
    assert to_labels(INDEX, np.array([0, 1], np.int8)).dtype == np.intp


def test_views_are_keys_and_a_scalar_fills_one():
    found = read_given(graph_of(TAG), {TAG[0]: "DET", TAG[2:]: "VERB"})
    assert found.known.tolist() == [True, False, True, True] and found.states.tolist() == [2, 0, 1, 1]
    puzzle = np.array([0, 2, 0, 1])
    cell = fg.output("cell", shape=4, states=range(1, 4))
    found = read_given(graph_of(cell), {cell[puzzle > 0]: puzzle[puzzle > 0]})
    assert found.known.tolist() == [False, True, False, True] and found.states.tolist() == [0, 1, 0, 0]


def test_overlapping_keys_must_agree():
    graph = graph_of(TAG)
    assert read_given(graph, {TAG[:2]: ["NOUN", "VERB"], TAG[1:3]: ["VERB", "DET"]}).known.sum() == 3
    with pytest.raises(fg.EvidenceError, match=r"tag\[1\]\" was given twice and differently: 'VERB' and 'DET'"):
        read_given(graph, {TAG[:2]: ["NOUN", "VERB"], TAG[1]: "DET"})
    with pytest.raises(fg.EvidenceError, match="twice"):
        read_given(graph, {TAG[[0, 0]]: ["NOUN", "VERB"]})


def test_real_values():
    u = fg.observed("u", shape=2, dim=3)
    graph = graph_of(u)
    value = np.arange(6.0).reshape(2, 3)
    assert read_given(graph, {"u": value}).reals["u"] is value
    assert read_given(graph, {"u": 1}).reals["u"].tolist() == [[1, 1, 1], [1, 1, 1]]
    parts = read_given(graph, {u[0]: value[0], u[1]: value[1]})
    np.testing.assert_array_equal(parts.reals["u"], value)
    for wrong, message in [
        ({"u": value[0]}, r"takes a value of shape \(2, 3\)"),
        ({"u": np.full((2, 3), np.nan)}, 'NaN never means "missing"'),
        ({u[0]: value[0]}, r"only in part: u\[1\] is not"),
        ({"u": np.ma.masked_array(value, mask=value > 4)}, "masked"),
        ({"u": value, u[0]: value[1]}, "twice"),
        ({"u": "text"}, "not numbers"),
    ]:
        with pytest.raises(fg.EvidenceError, match=message):
            read_given(graph, wrong)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (INDEX, [0, 1, 3, 0], r'variable "y\[2\]" was given state 3, but has 3 states \(0-2\)'),
        (INDEX, [0, -2, 1, 0], r'variable "y\[1\]" was given state -2'),
        (INDEX, [0.0, 1.0, 1.0, 0.0], r"Write .astype\(int\)"),
        (INDEX, [True, False, True, True], "bool is for two"),
        (INDEX, [0, None, 1, 0], "Use -1 or a masked array"),
        (INDEX, [0, 1], r"has shape \(4,\), and what is given has shape \(2,\)"),
        (INDEX, "NOUN", "declare states="),
        (TAG, 1, "It speaks labels, not indices: write 'VERB'"),
        (TAG, ["NOUN", "VRB", "DET", "DET"], r"tag\[1\].*'NOUN', 'VERB', 'DET'. Did you mean \"VERB\""),
        (TAG, ["NOUN", -1, "DET", "DET"], "Write None"),
        (SPIN, [0, 1, 1, 1], r'"y\[0\]" was given 0, which is not one of its states: -1, 1'),
        (HALF, [np.nan, 0, 0, 0], "nan"),
        (fg.output("y", shape=2, n_states=[2, 3]), [2, 2], r'"y\[0\]" was given state 2, but has 2 states'),
    ],
)
def test_wrong_values_say_where_and_what_instead(variable, value, message):
    with pytest.raises(fg.EvidenceError, match=message):
        read(variable, value)


def test_unknown_keys():
    graph = graph_of(TAG)
    with pytest.raises(fg.EvidenceError, match='no variable "tags" in this graph. Did you mean "tag"'):
        read_given(graph, {"tags": "NOUN"})
    with pytest.raises(fg.EvidenceError, match="declared differently"):
        read_given(graph, {fg.output("tag", n_states=2): 1})
    with pytest.raises(fg.EvidenceError, match="must be a dict"):
        read_given(graph, ["NOUN"])
    with pytest.raises(fg.EvidenceError, match='targets: there is no variable "q"'):
        read_given(graph, {"q": 1}, what="targets")
