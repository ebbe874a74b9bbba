"""UAI: tables of probabilities, the last variable fastest."""

from __future__ import annotations

import gzip
import itertools

import numpy as np
import pytest
from same import assert_equal_tables, tables

import factorgraph_ebm as fg

PAIR = "MARKOV\n3\n2 3 1\n3\n2 1 0\n0\n1 2\n\n6\n1 2 3 4 5 6\n\n1\n0.5\n\n1\n0\n"


def test_last_variable_runs_fastest(tmp_path):
    (tmp_path / "m.uai").write_text(PAIR)
    graph = fg.read(tmp_path / "m.uai")
    assert list(graph.variables) == ["x"]
    assert graph["x"].shape == (3,)
    assert graph["x"].role == "output"
    assert graph["x"].n_states.tolist() == [2, 3, 1]
    (table,) = graph.factors
    assert table.kind == "Table"
    assert table.members == [[1, 0], [], [2]]
    first, second, third = table.table()
    np.testing.assert_array_equal(first, -np.log([[1, 2], [3, 4], [5, 6]]))
    assert second.shape == ()
    assert second == -np.log(0.5)
    assert third.tolist() == [np.inf]


def test_probability_one_is_plain_zero(tmp_path):
    (tmp_path / "m.uai").write_text("bayes 1 1 1 1 0 1 1.0")
    (energy,) = fg.read(tmp_path / "m.uai").factors[0].table()
    assert not np.signbit(energy[0])


@pytest.mark.parametrize("name", ["m.uai", "m.uai.gz", "m.UAI"])
def test_gzip_by_content(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(PAIR.encode()))
    assert fg.read(tmp_path / name).n_cells == 3


def test_gz_name_packs_the_same_bytes_every_time(tmp_path):
    (tmp_path / "m.uai").write_text(PAIR)
    graph = fg.read(tmp_path / "m.uai")
    fg.write(graph, tmp_path / "a.uai.gz")
    fg.write(graph, tmp_path / "b.uai.gz")
    assert (tmp_path / "a.uai.gz").read_bytes() == (tmp_path / "b.uai.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.uai.gz").read_bytes()).startswith(b"MARKOV\n3\n2 3 1\n3\n2 1 0\n0\n1 2\n")
    assert_equal_tables(tables(graph), tables(fg.read(tmp_path / "a.uai.gz")))


@pytest.mark.parametrize("text", ["MARKOV 0\n\n0", "MARKOV 0 1 0 1 0.25", "MARKOV 2 3 4 0"])
def test_almost_nothing(tmp_path, text):
    (tmp_path / "m.uai").write_text(text)
    graph = fg.read(tmp_path / "m.uai")
    fg.write(graph, tmp_path / "n.uai")
    again = fg.read(tmp_path / "n.uai")
    assert again.cell_states.tolist() == graph.cell_states.tolist()
    assert_equal_tables(tables(graph), tables(again))


def test_byte_order_mark_and_windows_line_ends(tmp_path):
    (tmp_path / "m.uai").write_bytes(b"\xef\xbb\xbf" + PAIR.replace("\n", "\r\n").encode())
    assert fg.read(tmp_path / "m.uai").n_cells == 3


@pytest.mark.parametrize("suffix", [".uai", ".fg"])
def test_every_energy_survives(tmp_path, suffix):
    energies = np.array(
        [0.0, np.inf, 1e-20, -1e-300, 5e-324, 2.3e-5, 0.1, -0.1, 700.0, 709.9, 745.5, 1e4, -1e6, 1e15, -3e17, 1.0]
    )
    y = fg.output("y", n_states=energies.size)
    graph = fg.FactorGraph([fg.Table([y], energies=energies)])
    fg.write(graph, tmp_path / f"m{suffix}")
    assert_equal_tables(tables(graph), tables(fg.read(tmp_path / f"m{suffix}")))


def test_energy_beyond_any_probability_is_refused(tmp_path):
    graph = fg.FactorGraph([fg.Table([fg.output("y", n_states=2)], energies=[0.0, 1e300])])
    with pytest.raises(fg.FormatError, match=r"1e\+300 nats cannot be written as a probability.*\.fgz"):
        fg.write(graph, tmp_path / "m.uai")
    assert not list(tmp_path.iterdir())


def test_words_beyond_float64_are_read_exactly(tmp_path):
    (tmp_path / "m.uai").write_text("MARKOV 1 4 1 1 0 4 1e-400 1e400 0.99999999999999999999 0e-999")
    (energies,) = fg.read(tmp_path / "m.uai").factors[0].table()
    expected = [400 * np.log(10), -400 * np.log(10), 1e-20, np.inf]
    np.testing.assert_allclose(energies, expected, rtol=1e-15)


def test_cells_are_numbered_in_the_order_of_the_graph(tmp_path):
    a = fg.output("a", shape=(2, 2), n_states=2)
    b = fg.latent("b", states=["x", "y", "z"])
    untouched = fg.observed("c", shape=2, n_states=[4, 2])
    graph = fg.FactorGraph([fg.Table([b, a[1, 0]], energies=np.arange(6.0).reshape(3, 2))], variables=[untouched])
    fg.write(graph, tmp_path / "m.uai")
    words = (tmp_path / "m.uai").read_text().split()
    assert words[:9] == ["MARKOV", "7", "3", "2", "2", "2", "2", "4", "2"]
    assert words[9:13] == ["1", "2", "0", "3"]


def test_structures_are_written_as_their_tables(tmp_path):
    y = fg.output("y", shape=3, states=[-1, 1])
    w = fg.Parameter("w", initial=0.5)
    graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=[1.0, np.inf]), fg.Product([y[0], y[2]], weight=w)])
    fg.write(graph, tmp_path / "m.uai", parameters={"w": 2.0})
    again = fg.read(tmp_path / "m.uai")
    assert_equal_tables(tables(graph, {"w": 2.0}), tables(again))
    fg.write(graph, tmp_path / "m.uai")
    assert_equal_tables(tables(graph), tables(fg.read(tmp_path / "m.uai")))


def test_variable_twice_in_a_scope_is_written_once(tmp_path):
    a, b = fg.output("a", n_states=2), fg.output("b", n_states=3)
    energies = np.arange(12.0).reshape(2, 3, 2)
    fg.write(fg.FactorGraph([fg.Table([a, b, a], energies=energies)]), tmp_path / "m.uai")
    ((cells, table),) = tables(fg.read(tmp_path / "m.uai"))
    assert cells == [0, 1]
    np.testing.assert_allclose(table, [[energies[i, j, i] for j in range(3)] for i in range(2)])


def test_padding_is_not_written(tmp_path):
    x = fg.output("x", shape=2, n_states=[2, 3])
    fg.write(fg.FactorGraph([fg.Table([x], energies=[[1.0, 2.0, 9.0], [3.0, 4.0, 5.0]])]), tmp_path / "m.uai")
    assert [table.size for _, table in tables(fg.read(tmp_path / "m.uai"))] == [2, 3]


def test_parameter_without_value(tmp_path):
    y = fg.output("y", n_states=2)
    graph = fg.FactorGraph([fg.Table([y], energies=fg.Parameter("theta", shape=2))])
    with pytest.raises(fg.ParameterError, match="theta"):
        fg.write(graph, tmp_path / "m.uai")


def test_observed_real_numbers_are_refused(tmp_path):
    y, u = fg.output("y", n_states=2), fg.observed("u", dim=2)
    with pytest.raises(fg.FormatError, match=r'observed real variable "u".*\.fgz'):
        fg.write(fg.FactorGraph([fg.Table([y], energies=u)]), tmp_path / "m.uai")


def test_table_too_large_to_write(tmp_path):
    y = fg.output("y", shape=40, n_states=2)
    matrix = np.ones((1, 40))
    scipy_sparse = pytest.importorskip("scipy.sparse")
    graph = fg.FactorGraph([fg.Product(y, members=scipy_sparse.csr_array(matrix), weight=1.0, name="all")])
    with pytest.raises(fg.FormatError, match=r'factor "all" would take 8,796,093,022,208 bytes \(8.00 TiB\)'):
        fg.write(graph, tmp_path / "m.uai")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "m.uai"
    path.write_text("precious")
    y = fg.output("y", n_states=2)
    with pytest.raises(fg.FormatError):
        fg.write(fg.FactorGraph([fg.Table([y], energies=[0, 1e300])]), path)
    assert path.read_text() == "precious"
    assert [each.name for each in tmp_path.iterdir()] == ["m.uai"]


def test_large_file_in_good_time(tmp_path):
    rng = np.random.default_rng(3)
    n = 200
    pairs = list(itertools.islice(itertools.combinations(range(n), 2), 3000))
    numbers = rng.random((len(pairs), 64))
    lines = ["MARKOV", str(n), " ".join(["8"] * n), str(len(pairs)), *(f"2 {a} {b}" for a, b in pairs)]
    lines += [f"64 {' '.join(map(repr, row))}" for row in numbers.tolist()]
    (tmp_path / "m.uai").write_text("\n".join(lines))
    graph = fg.read(tmp_path / "m.uai")
    np.testing.assert_array_equal(graph.factors[0].table()[-1].ravel(), -np.log(numbers[-1]))
