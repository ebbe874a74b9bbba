"""The vector of free entries: there and back, bounds, starts, and when two vectors mean the same."""

import numpy as np
import pytest

import factorgraph_ebm as fg
from factorgraph_ebm.errors import ParameterError
from factorgraph_ebm.learning.layout import layout_of


def graph_with(*parameters):
    """A graph that reads these in this order, each by one declaration over its own variable."""
    factors = []
    for i, parameter in enumerate(parameters):
        y = fg.output(f"y{i}", n_states=parameter.declared.size)
        factors.append(fg.Table([y], energies=parameter.ravel()))
    return fg.FactorGraph(factors)


A = fg.Parameter("a", shape=(2, 3), initial=np.arange(6.0).reshape(2, 3), bounds=(0.0, np.inf))
B = fg.Parameter("b", shape=(), initial=4.0, frozen=True)
C = fg.Parameter("c", shape=4, bounds=(-1.0, 1.0))
D = fg.Parameter("d", shape=2, bounds=(0.5, 2.0))


def test_a_vector_and_values_there_and_back():
    layout = layout_of([graph_with(A, B, C)])
    assert layout.n_free == 10 and layout.names == ("a", "c")
    w = np.random.default_rng(0).normal(size=10)
    values = layout.values(w)
    assert (values["a"] == w[:6].reshape(2, 3)).all() and (values["c"] == w[6:]).all() and values["b"] == 4.0
    assert (layout.vector(values) == w).all()
    values["c"][0] = 7.0  # views
    assert w[6] == 7.0
    gradient = layout.gradient()
    assert set(gradient) == {"a", "c"} and not gradient.vector().any()
    gradient["a"][...] += 1.0
    gradient["c"][3] += 2.0
    assert gradient.vector().tolist() == [1.0] * 6 + [0.0] * 3 + [2.0]


def test_where_it_begins_and_its_bounds():
    layout = layout_of([graph_with(A, C, D)])
    assert layout.start.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5]  # 0 within bounds
    assert layout.lower.tolist() == [0.0] * 6 + [-1.0] * 4 + [0.5] * 2
    assert layout.upper.tolist() == [np.inf] * 6 + [1.0] * 4 + [2.0] * 2


def test_parameters_come_in_the_order_of_declaration_over_all_graphs_and_once():
    one, two = graph_with(A, C), graph_with(D, A)
    layout = layout_of([one, one, two])
    assert layout.names == ("a", "c", "d") and layout.offset == {"a": 0, "c": 6, "d": 10}
    views = fg.FactorGraph(
        [
            fg.Table([fg.output("y", n_states=3)], energies=A[1]),
            fg.Table([fg.output("z", n_states=2)], energies=A[:, 0]),
        ]
    )
    assert layout_of([views]).n_free == 6  # views are of the whole


def test_entries_of_a_parameter():
    entries = layout_of([graph_with(A, B, C)]).entries("c")
    assert entries.shape == (4,)
    assert [list(each) for each in entries[:2]] == [[6, 7, 8, 9], [0, 1, 2, 3]]
    with pytest.raises(ParameterError, match='no parameter "b" is learned here. Learned are: "a", "c"'):
        layout_of([graph_with(A, B, C)]).entries("b")


def test_fingerprints_are_equal_where_a_vector_means_the_same():
    def fingerprint(*parameters):
        return layout_of([graph_with(*parameters)]).fingerprint()

    same = fingerprint(A, C)
    assert same == fingerprint(A, C)
    assert same == fingerprint(fg.Parameter("a", shape=(2, 3), bounds=(0.0, np.inf)), C)  # another start
    others = [
        fingerprint(C, A),
        fingerprint(A, C, B),
        fingerprint(fg.Parameter("a", shape=(3, 2), bounds=(0.0, np.inf)), C),
        fingerprint(fg.Parameter("a", shape=(2, 3)), C),
        fingerprint(fg.Parameter("A", shape=(2, 3), bounds=(0.0, np.inf)), C),
        fingerprint(fg.Parameter("a", shape=(2, 3), initial=1.0, frozen=True), C),
    ]
    assert len({same, *others}) == 7


def test_what_is_refused():
    with pytest.raises(ParameterError, match='parameter "a" is declared differently in two graphs of the samples'):
        layout_of([graph_with(A), graph_with(fg.Parameter("a", shape=(2, 3)))])
    with pytest.raises(ParameterError, match='parameter "k" is frozen, and has no value. Write initial='):
        layout_of([graph_with(A, fg.Parameter("k", frozen=True))])
    for nothing in ([], [graph_with(B)]):
        with pytest.raises(ParameterError, match="there is nothing to learn: the graphs have no free parameter"):
            layout_of(nothing)
