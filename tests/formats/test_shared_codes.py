"""Real codes: every parity-check matrix beside the repository is what its reference says. Skipped where absent."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from codes import reduced

import factorgraph_ebm as fg

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "ldpc"
CODES = sorted(DATA.glob("*.alist"))

if not CODES:
    pytest.skip(f"no codes at {DATA}", allow_module_level=True)


@pytest.mark.parametrize("path", CODES, ids=lambda path: path.stem)
def test_a_code_is_what_its_reference_says(path, tmp_path):
    graph = fg.read(path)
    reference = json.loads((DATA / "reference.json").read_text())[path.name]
    matrix = graph.factor("checks").members
    assert matrix.shape == (reference["m"], reference["n"]) == (graph.factor("checks").size, graph["bits"].size)
    assert matrix.nnz == reference["edges"] == reference["edges_rows"] == reference["ones_from_columns"]
    by_column, by_row = np.bincount(matrix.indices, minlength=reference["n"]), np.diff(matrix.indptr)
    assert (by_column.max(), by_row.max()) == (reference["max_col_degree"], reference["max_row_degree"])
    # The second and third lines of the file, or what they are but for comments, are the degrees.
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert [int(word) for word in lines[2].split()] == by_column.tolist()
    assert [int(word) for word in lines[3].split()] == by_row.tolist()
    rank = len(reduced(matrix.toarray())[1])
    assert (rank, reference["n"] - rank) == (reference["rank_gf2"], reference["k"])
    fg.write(graph, tmp_path / "again.alist")
    again = fg.read(tmp_path / "again.alist").factor("checks").members
    assert (again != matrix).nnz == 0
    if reference["zero_padded"]:
        # Written as it was, but for a comment and the order inside a list.
        mine, theirs = (words_by_line(each) for each in (tmp_path / "again.alist", path))
        assert mine == theirs


def words_by_line(path):
    lines = [sorted(line.split()) for line in path.read_text().splitlines() if not line.startswith("#")]
    return [line for line in lines if line]
