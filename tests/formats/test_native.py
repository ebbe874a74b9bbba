"""The library's own format: what is read equals what was written, bit for bit."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import scipy.sparse
import strategies
from same import assert_equal_graphs, assert_equal_tables, tables

import factorgraph_ebm as fg


def through(graph, path):
    fg.write(graph, path)
    return fg.read(path)


@hypothesis.given(case=strategies.cases(forest=False))
def test_drawn_graphs_are_equal(case):
    with tempfile.TemporaryDirectory() as folder:
        if any(isinstance(slot.source, fg.Computed) for factor in case.graph.factors for slot in factor.slots):
            with pytest.raises(fg.FormatError, match="Computed"):
                fg.write(case.graph, Path(folder) / "m.fgz")
            return
        again = through(case.graph, Path(folder) / "m.fgz")
    assert_equal_graphs(case.graph, again)
    if not case.graph.reals:
        assert_equal_tables(tables(case.graph, case.parameters), tables(again, case.parameters), relative=0.0)


@hypothesis.given(case=strategies.cases(forest=False, constants_only=True))
def test_drawn_graphs_have_equal_tables_in_text(case):
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".uai", ".fg"):
            path = Path(folder) / f"m{suffix}"
            try:
                fg.write(case.graph, path)
            except fg.FormatError as error:
                assert case.kind == "huge" and "cannot be written as a probability" in str(error)
                continue
            again, expected = fg.read(path), tables(case.graph)
            assert again.cell_states.tolist() == case.graph.cell_states.tolist()
            assert_equal_tables(expected, tables(again)[: len(expected)])


def test_every_source_of_numbers(tmp_path):
    y = fg.output("y", shape=(3, 4), states=["NOUN", "VERB"])
    z = fg.latent("z", n_states=2)
    b = fg.observed("b", states=[False, True])
    real = fg.observed("u", shape=(3, 4), dim=2)
    scalar = fg.observed("v", shape=5, dim=())
    W = fg.Parameter("W", shape=(5, 2), initial=np.linspace(-1, 1, 10).reshape(5, 2), bounds=(-2, np.inf))
    theta = fg.Parameter("theta", shape=(4, 2, 2), frozen=True)
    features = scipy.sparse.random(12, 5, density=0.4, random_state=1, format="csc")
    graph = fg.FactorGraph(
        [
            fg.Table([y], energies=fg.Linear(features, W), name="sparse"),
            fg.Table([y], energies=fg.Linear(np.arange(60.0).reshape(3, 4, 5), W)),
            fg.Table([y], energies=real, name="real"),
            fg.Table([y[:, 0]], energies=real[::-1, 2]),
            fg.Table([y[1:], y[:-1]], energies=theta[[3, 0, 3, 1]]),
            fg.Table([y[:, ::-2], y[:, [0, 3]]], energies=theta[1:, None, ::-1]),
            fg.Table([y.T[1:3, 1], z], energies=theta[2].T),
            fg.Potts([z, z], penalty=W[4, 1]),
            fg.Potts(y[[[0, 1], [2, 2]], [[1, 2], [0, 3]]], penalty=scalar[[4, 1]], axis=1),
            fg.Table([b], energies=[0.0, np.inf]),
        ],
        variables=[fg.output("alone", shape=(0, 3), n_states=2), fg.latent("cold", shape=2, n_states=[1, 7])],
    )
    again = through(graph, tmp_path / "m.fgz")
    assert_equal_graphs(graph, again)
    assert again.parameters["W"].bounds == (-2.0, np.inf)
    assert again.parameters["theta"].frozen and again.parameters["theta"].initial is None
    assert again["b"].states == (False, True) and type(again["b"].states[0]) is bool


def test_every_scope(tmp_path):
    y = fg.output("y", shape=(4, 3), n_states=2)
    rows = scipy.sparse.csr_array(np.array([[0, 2.5, 1], [1, 0, 0]]))
    graph = fg.FactorGraph(
        [
            fg.Table(y, energies=np.zeros((2,) * 12), name="all"),
            fg.Table(y, energies=np.ones((2, 2, 2)), axis=1),
            fg.Table(y, energies=np.ones((2,) * 12), axis=(1, 0)),
            fg.Table(y, energies=np.ones((2, 2, 2, 2)), axis=-2),
            fg.Table(y[0], energies=[np.ones((2, 2)), np.zeros(2)], members=rows),
            fg.Table(y[:, 1], energies=[np.ones(2), np.ones((2, 2, 2)), np.array(1.5)], members=[[3], (0, -1, 2), []]),
            fg.Product(y.ravel()[2:], members=scipy.sparse.coo_matrix(np.eye(2, 10)), weight=[1.0, 2.0]),
            fg.Table(y[0], energies=[], members=[]),
            fg.Table([y[2:2]], energies=[0.0, 1.0]),
        ]
    )
    again = through(graph, tmp_path / "m.fgz")
    assert_equal_graphs(graph, again)
    assert again.factors[5].members == [[3], [0, -1, 2], []]


def test_slices_stay_slices(tmp_path):
    """A view is stored by its strides, so a file of a large grid is small and as cheap to read as to declare."""
    y = fg.output("y", shape=(1000, 1000), n_states=2)
    graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.0), fg.Potts([y[:, ::-1][:, 1:], y.T[:-1].T], 2.0)])
    again = through(graph, tmp_path / "m.fgz")
    assert (tmp_path / "m.fgz").stat().st_size < 4000
    assert again.key == graph.key


def test_labels_keep_their_types(tmp_path):
    for states in ([1, 2], [1.0, 2.0], [True, False], ["1", "2"], ["a", 1], [0.1, float("inf")], ["ä", "\n"]):
        graph = fg.FactorGraph([], variables=[fg.output("y", states=states)])
        assert_equal_graphs(graph, through(graph, tmp_path / "m.fgz"))


def test_parameters_become_initial_values(tmp_path):
    theta = fg.Parameter("theta", shape=2, bounds=(0, 5))
    graph = fg.FactorGraph([fg.Table([fg.output("y", n_states=2)], energies=theta)])
    fg.write(graph, tmp_path / "m.fgz", parameters={"theta": [1.0, 2.0]})
    assert fg.read(tmp_path / "m.fgz").parameters["theta"].initial.tolist() == [1.0, 2.0]
    with pytest.raises(fg.ParameterError, match='unknown parameter "thata". Did you mean "theta"?'):
        fg.write(graph, tmp_path / "m.fgz", parameters={"thata": [1.0, 2.0]})
    with pytest.raises(fg.ParameterError, match="bounds"):
        fg.write(graph, tmp_path / "m.fgz", parameters={"theta": [1.0, 7.0]})


def test_functions_are_refused(tmp_path):
    y = fg.output("y", n_states=2)
    graph = fg.FactorGraph([fg.Table([y], energies=fg.Computed(lambda: np.zeros(2), shape=2), name="f")])
    with pytest.raises(fg.FormatError, match='the numbers of factor "f" are Computed, a function'):
        fg.write(graph, tmp_path / "m.fgz")
    assert not list(tmp_path.iterdir())


def test_equal_graphs_give_equal_bytes_that_numpy_reads(tmp_path):
    y = fg.output("y", shape=3, n_states=2)
    graph = fg.FactorGraph([fg.Table([y], energies=[[0.5, 1.5]])])
    fg.write(graph, tmp_path / "a.fgz")
    fg.write(graph, tmp_path / "b.fgz")
    assert (tmp_path / "a.fgz").read_bytes() == (tmp_path / "b.fgz").read_bytes()
    with np.load(tmp_path / "a.fgz", allow_pickle=False) as arrays:
        assert arrays["a0"].tolist() == [[0.5, 1.5]]
    fg.write(graph, tmp_path / "c.fgz.gz")
    assert_equal_graphs(graph, fg.read(tmp_path / "c.fgz.gz"))


# Broken files: every field of a good one is replaced, one at a time.


@pytest.fixture
def parts(tmp_path):
    y = fg.output("y", shape=(2, 3), n_states=2)
    theta = fg.Parameter("theta", shape=(2, 2), initial=1.0)
    graph = fg.FactorGraph(
        [
            fg.Table([y[1:], y[:-1]], energies=theta, name="t"),
            fg.Table(y[0], energies=[np.ones(2), np.zeros((2, 2))], members=[[1], [0, 2]]),
            fg.Potts([y[0, [0, 1]], y[1, [1, 2]]], penalty=1.0),
        ]
    )
    fg.write(graph, tmp_path / "good.fgz")
    with zipfile.ZipFile(tmp_path / "good.fgz") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def broken(tmp_path, parts, change=None, **arrays):
    header = json.loads(parts["header.json"])
    if change:
        change(header)
    entries = {**parts, "header.json": json.dumps(header).encode()}
    for name, array in arrays.items():
        entry = io.BytesIO()
        np.save(entry, array, allow_pickle=True)
        entries[f"{name}.npy"] = entry.getvalue()
    with zipfile.ZipFile(tmp_path / "bad.fgz", "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return tmp_path / "bad.fgz"


def put(value, *path):
    def change(header):
        for step in path[:-1]:
            header = header[step]
        if value is None:
            del header[path[-1]]
        else:
            header[path[-1]] = value

    return change


BROKEN = [
    (put("other", "format"), '"format" must be "factorgraph_ebm"'),
    (put(2, "version"), "version 2 of the format; this library reads version 1"),
    (put(None, "variables"), '"variables" must be of type list, not None'),
    (put("input", "variables", 0, "role"), r'variables\[0\]: "role" must be one of observed, output, latent'),
    (put([10**6, 10**6], "variables", 0, "shape"), r"8,000,000,000,000 bytes \(7.28 TiB\)"),
    (put([-1], "variables", 0, "shape"), r'"shape" must be integers >= 0'),
    (put(0, "variables", 0, "n_states"), r"variables\[0\]: .*n_states >= 1"),
    (put([2, 10**12], "parameters", 0, "shape"), r"parameters\[0\]: shape \(2, 1000000000000\) takes"),
    (put([5.0, 1.0], "parameters", 0, "bounds"), r"parameters\[0\]: .*bounds"),
    (put("Pots", "factors", 2, "kind"), r'factors\[2\]: unknown structure "Pots"; known: '),
    (put("x", "factors", 0, "scope", "list", 0, "of"), r'factors\[0\]: there is no variable "x"'),
    (put(5, "factors", 0, "scope", "list", 0, "offset"), 'a view of "y" reaches outside its 6 cells'),
    (put([1], "factors", 0, "scope", "list", 0, "strides"), "one stride for each axis"),
    (put([10**7, 10**7], "factors", 0, "scope", "list", 0, "shape"), "takes 800,000,000,000,000 bytes"),
    (put({}, "factors", 0, "numbers", "energies"), "unknown source of numbers"),
    (put({"parameter": {"of": "W"}}, "factors", 0, "numbers", "energies"), 'there is no parameter "W"'),
    (put({"constant": "a99"}, "factors", 0, "numbers", "energies"), 'the archive has no entry "a99.npy"'),
    (put({}, "factors", 0, "numbers"), r"factors\[0\]: "),
    (put({"weird": {"constant": "a0"}}, "factors", 2, "numbers"), r"factors\[2\]: .*weird"),
    (put(7, "factors", 0, "name"), '"name" must be of type str'),
    (put(7, "factors"), '"factors" must be of type list, not 7'),
    (put([7], "factors"), r"factors\[0\]: must be an object"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN, ids=[message for _, message in BROKEN])
def test_broken_headers(tmp_path, parts, change, message):
    with pytest.raises(fg.FormatError, match=message) as caught:
        fg.read(broken(tmp_path, parts, change))
    assert "bad.fgz" in str(caught.value)


def test_broken_archives(tmp_path, parts):
    path = tmp_path / "bad.fgz"
    path.write_bytes(b"MARKOV 0 0")
    with pytest.raises(fg.FormatError, match="not an archive"):
        fg.read(path)
    path.write_bytes((tmp_path / "good.fgz").read_bytes()[:-40])
    with pytest.raises(fg.FormatError, match="not an archive"):
        fg.read(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.json", '{\n "format": "factorgraph_ebm",\n oops }')
    with pytest.raises(fg.FormatError, match="header.json, line 3: "):
        fg.read(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other", "")
    with pytest.raises(fg.FormatError, match='no entry "header.json"'):
        fg.read(path)
    data = bytearray((tmp_path / "good.fgz").read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(fg.FormatError, match='entry "header.json" cannot be unpacked'):
        fg.read(path)


def test_pickles_are_never_loaded(tmp_path, parts):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    with pytest.raises(fg.FormatError, match=r"a0\.npy: holds object, not numbers"):
        fg.read(broken(tmp_path, parts, a0=np.array([Trap()], dtype=object)))


def test_array_that_claims_more_than_it_holds(tmp_path, parts):
    entry = io.BytesIO()
    np.lib.format.write_array_header_1_0(entry, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    path = broken(tmp_path, {**parts, "a0.npy": entry.getvalue() + bytes(32)})
    with pytest.raises(
        fg.FormatError, match=r"says shape \(1000000000000,\), 8,000,000,000,000 bytes .*holds 32 bytes"
    ):
        fg.read(path)


def test_archive_that_unpacks_to_too_much(tmp_path, parts, monkeypatch):
    monkeypatch.setattr("factorgraph_ebm.formats.archive.LIMIT_BYTES", 1000)
    with pytest.raises(fg.FormatError, match="the archive unpacks to .* the limit is 1,000 bytes"):
        fg.read(tmp_path / "good.fgz")
