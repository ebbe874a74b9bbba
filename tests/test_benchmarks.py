"""The benchmarks run, on tiny sizes, and their references agree with the library. Nothing here is timed."""

import importlib
import json
import pathlib
import sys

import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "benchmarks"
NAMES = (
    "chains", "convergence", "cut", "declare", "exact", "grid_general", "grid_min_sum", "grid_shared",
    "grid_structured", "grid_sum_product", "learning", "segmentation", "sparse",
)  # fmt: skip


@pytest.fixture
def benchmark(request, monkeypatch):
    """A benchmark as a module, imported as its command imports it: with its folder on the path."""
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # they set these for themselves; this takes it back
    before = set(sys.modules)
    yield importlib.import_module(request.param)
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and pathlib.Path(file).parent == FOLDER:
            del sys.modules[name]


@pytest.mark.parametrize("benchmark", NAMES, indirect=True)
def test_runs(benchmark, capsys):
    benchmark.main(["--quick", "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows
    for row in rows:
        assert row["work"] and row["unit"] and row["threads"] == 1
    told = [row[name] for row in rows for name in ("numpy_ratio", "scipy_ratio") if name in row]
    assert told and all(ratio > 0 for ratio in told)


@pytest.mark.parametrize("benchmark", NAMES, indirect=True)
def test_reference_agrees(benchmark, capsys):
    benchmark.main(["--check"])
    assert "differ by" in capsys.readouterr().err


@pytest.mark.parametrize("benchmark", ["run_all"], indirect=True)
def test_table(benchmark, tmp_path):
    benchmark.main(["--quick", "--threads", "1", "--only", "sparse", "--output", str(tmp_path / "table.md")])
    lines = (tmp_path / "table.md").read_text().splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| random")]
    assert [row[0] for row in rows] == [
        f"| random {words}, 300 variables, 4 states, sum-product, flooding" for words in ("pairs", "triples")
    ]
    assert all(row[4].startswith("numpy ") and row[5].startswith("numpy ") for row in rows)


@pytest.mark.parametrize("benchmark", ["roofline"], indirect=True)
def test_limits(benchmark, capsys):
    benchmark.main(["--quick", "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = [row for row in rows if "share" in row]
    assert len(told) == 7 and all(0 < row["bound"] and 0 < row["share"] for row in told)
    assert len(rows) == 3 + 2 + 7


@pytest.mark.parametrize("benchmark", ["tagging"], indirect=True)
def test_tagging(benchmark, capsys):
    """Both on the same few sentences: the same objective."""
    pytest.importorskip("sklearn_crfsuite")
    benchmark.main(["--quick", "--json", "--only", "chunking", "pos", "fit", "answers"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["unit"] for row in rows} == {"s"} and all(row["crfsuite_ratio"] > 0.0 for row in rows)
    for row in rows:
        if "crfsuite_objective" in row:
            assert row["objective"] == pytest.approx(row["crfsuite_objective"], rel=1e-3)
    benchmark.main(["--check"])
    assert "differ by" in capsys.readouterr().err
