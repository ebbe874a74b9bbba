"""Real files: every model beside the repository is read, written and read back. Skipped where they are absent."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from same import assert_equal_graphs, assert_equal_tables, tables

import factorgraph_ebm as fg
from factorgraph_ebm.formats import read_solution

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
MODELS = sorted(p for pattern in ("*/*.uai", "*/*.uai.gz", "libdai/**/*.fg") for p in DATA.glob(pattern))
NETWORKS = sorted(DATA.glob("bif/*.bif.gz"))

if not MODELS:
    pytest.skip(f"no benchmark data at {DATA}", allow_module_level=True)


def short(path: Path) -> str:
    return str(path.relative_to(DATA))


@pytest.mark.parametrize("path", MODELS + NETWORKS, ids=short)
def test_there_and_back(path, tmp_path):
    graph = fg.read(path)
    expected = tables(graph)
    for name in ("m.uai", "m.fg.gz"):
        fg.write(graph, tmp_path / name)
        again = fg.read(tmp_path / name)
        assert again.cell_states.tolist() == graph.cell_states.tolist()
        assert_equal_tables(expected, tables(again)[: len(expected)])
    fg.write(graph, tmp_path / "m.fgz")
    assert_equal_graphs(graph, fg.read(tmp_path / "m.fgz"))


@pytest.mark.parametrize("path", NETWORKS, ids=short)
def test_networks_equal_their_uai_conversions(path):
    network = fg.read(path)
    base = path.name.removesuffix(".bif.gz")
    uai = path.with_name(f"{base}.uai")
    converted = fg.read(uai if uai.exists() else path.with_name(f"{base}.uai.gz"))
    assert network.cell_states.tolist() == converted.cell_states.tolist()
    # The conversion lists the factors by child, the network in the order of its blocks.
    assert_equal_tables(
        sorted(tables(network), key=lambda t: t[0]), sorted(tables(converted), key=lambda t: t[0]), relative=0.0
    )


@pytest.mark.parametrize("name", ["alarm", "asia", "child", "insurance"])
def test_evidence_and_answers_of_networks(name):
    network = fg.read(DATA / "bif" / f"{name}.bif.gz")
    given = fg.read_evidence(DATA / "bif" / f"{name}.uai.evid", network)
    reference = json.loads((DATA / "bif" / "reference.json").read_text())[name]
    assert given == reference["evidence"]
    best = read_solution(DATA / "bif" / f"{name}.uai.MPE").assignment
    assert best is not None
    energy = sum(table[tuple(best[cells])] for cells, table in tables(network))
    assert -energy == pytest.approx(reference["exact_MPE_ln"], rel=1e-12)


@pytest.mark.parametrize("path", sorted(DATA.glob("libdai/*.fg")), ids=short)
def test_libdai_labels_are_those_of_the_references(path):
    graph = fg.read(path)
    reference = json.loads((DATA / "libdai" / "reference.json").read_text())[path.name]
    assert graph.n_cells == reference["n"]
    assert graph.cell_states.tolist() == [len(row) for row in reference["marginals"]]
    best = np.array(reference["an_optimal_assignment"])
    energy = sum(table[tuple(best[cells])] for cells, table in tables(graph))
    assert -energy == pytest.approx(reference["exact_MAP_ln"], rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("path", sorted(DATA.glob("uai*/*.evid")) + sorted(DATA.glob("bif/*.evid")), ids=short)
def test_every_evidence_file(path):
    model = path.with_suffix("")
    graph = fg.read(model if model.exists() else Path(f"{model}.gz"))
    words = path.read_text().split()
    if path.name in ("paskin.uai.evid", "simple5.uai.evid"):
        with pytest.warns(UserWarning, match='"2 0" is ignored'):
            assert fg.read_evidence(path, graph) == {}
        return
    given = fg.read_evidence(path, graph)
    known = int((given["x"] >= 0).sum()) if given else 0
    assert known == (int(words[0]) if words else 0)


@pytest.mark.parametrize(
    "path", sorted(p for s in ("PR", "MAR*", "MAP*", "MPE") for p in DATA.glob(f"*/*.uai.{s}")), ids=short
)
def test_every_solution_file(path):
    base = path.name.split(".uai.")[0]
    model = path.with_name(f"{base}.uai")
    graph = fg.read(model if model.exists() else path.with_name(f"{base}.uai.gz"))
    solution = read_solution(path)
    if solution.marginals is not None:
        assert [row.size for row in solution.marginals] == graph.cell_states.tolist()
    if solution.assignment is not None:
        assert (solution.assignment < graph.cell_states).all()
    if solution.log_partition is not None:
        assert np.isfinite(solution.log_partition)
